"""Nothing a pattern matches stays, in no encoding; and what does not match is not touched."""

import base64
import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import ConfigError, MissingExtra, PrivacyError
from recollect.memory.privacy import Redactor, check_pattern, merged
from recollect.messages import (
    Attachment,
    ContentPart,
    Message,
    ToolCall,
    ToolCallFunction,
    encode,
    to_json,
)

EMAIL = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"  # the seed's own
SSN = r"\b\d{3}-\d{2}-\d{4}\b"
CARD = r"\b(?:\d{4}[ -]?){3}\d{4}\b"
TOKEN = r"sk-[A-Za-z0-9]+"
PATTERNS = (EMAIL, SSN, CARD, TOKEN)
REDACTOR = Redactor(PATTERNS)
PRIVATE = "jane.doe@example.com"

bits = [PRIVATE, "a@b.co", "@", "123-45-6789", "4111 1111 1111 1111", "sk-", "a1", ".", "-", " "]
bits += [
    "é",
    "字",
    "😀",
    "\x00",
    '"',
    "\\",
    "\\n",
    "\\u0040",
    "\\u002e",
    "[REDACTED]",
    "]",
    "com",
    "{",
]
texts = st.lists(st.sampled_from(bits) | st.text(max_size=3), max_size=8).map("".join)
data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def matches(text: str) -> list[str]:
    """What the patterns find; none of these four needs RE2 to be fast."""
    return [found for p in PATTERNS for found in re.findall(p, text, re.ASCII)]


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in (*value, *value.values()) for text in leaves(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in leaves(item)]
    return [str(value)]


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(item) for item in value.values()]
    if isinstance(value, list):
        return [[shape(item) for item in value]]
    return None


# ---- texts ---------------------------------------------------------------------------------------


def test_replaces_the_seeds_example() -> None:
    text = "Contact jane.doe@example.com now"
    assert Redactor([EMAIL]).redact_text(text) == ("Contact [REDACTED] now", 1)


def test_counts_every_match_of_every_pattern() -> None:
    text = f"{PRIVATE}, {PRIVATE} and 123-45-6789"
    assert REDACTOR.redact_text(text) == ("[REDACTED], [REDACTED] and [REDACTED]", 3)


def test_patterns_are_applied_in_their_order() -> None:
    assert Redactor(["ab", "abc"]).redact_text("abcd") == ("[REDACTED]cd", 1)
    assert Redactor(["abc", "ab"]).redact_text("abcd") == ("[REDACTED]d", 1)


def test_groups_and_backslashes_in_a_replacement_are_plain_text() -> None:
    redactor = Redactor(["(se)(cret)"], replacement=r"\1 $1 \g<1>")
    assert redactor.redact_text("my secret") == (r"my \1 $1 \g<1>", 1)


def test_finds_private_data_between_nul_and_any_script() -> None:
    text = f"\x00{PRIVATE}\x00字{PRIVATE}😀\u202e{PRIVATE}"
    assert REDACTOR.redact_text(text) == (text.replace(PRIVATE, "[REDACTED]"), 3)


def test_matches_unicode_classes() -> None:
    assert Redactor([r"\p{Han}+"]).redact_text("a漢字b") == ("a[REDACTED]b", 1)


@pytest.mark.parametrize(
    "written",
    [
        r"jane.doe\u0040example.com",
        r"jane.doe\\u0040example\\\\u002ecom",
        r"\u006aane.doe@example.com",
    ],
)
def test_finds_private_data_behind_json_escapes(written: str) -> None:
    assert REDACTOR.redact_text(f"x {written} y") == ("x [REDACTED] y", 1)


def test_escapes_that_hide_nothing_stay_as_written() -> None:
    text = r"C:\users \u00e9 \ud83d \u0022 \u0040"
    assert REDACTOR.redact_text(text)[0] is text


def test_new_matches_that_replacing_forms_are_replaced_too() -> None:
    assert Redactor(["ab"], replacement="").redact_text("xaaabbby") == ("xy", 3)
    assert Redactor([r"a\[R", "b"]).redact_text("ab") == ("[REDACTED]EDACTED]", 2)


def test_a_match_that_reads_like_the_replacement_stays() -> None:
    redactor = Redactor([r"\[[A-Z]+\]", "secret"])
    assert redactor.redact_text("[REDACTED]") == ("[REDACTED]", 0)
    assert redactor.redact_text("[NAME] secret") == ("[REDACTED] [REDACTED]", 2)


@given(texts)
def test_no_match_is_left_and_a_second_time_changes_nothing(text: str) -> None:
    safe, count = REDACTOR.redact_text(text)
    assert matches(safe) == []
    assert REDACTOR.redact_text(safe) == (safe, 0)
    assert (safe is text) == (count == 0)


@given(st.text())
def test_a_text_without_matches_is_returned_as_it_is(text: str) -> None:
    if not matches(text):
        assert Redactor(PATTERNS[:3]).redact_text(text)[0] is text


def test_without_patterns_everything_is_returned_as_it_is() -> None:
    redactor, message = Redactor(), Message("user", PRIVATE)
    assert redactor.redact(message) == (message, 0)
    assert redactor.redact_text(PRIVATE) == (PRIVATE, 0)
    assert redactor.redact_json([PRIVATE, "\ud800"]) == [PRIVATE, "\ud800"]


# ---- hostile patterns and texts ------------------------------------------------------------------

EVIL = [
    (r"^(a+)+$", "a" * 100_000 + "!", 0),
    (r"^(a+)+$", "a" * 100_000, 1),
    (r"(a|a)*b", "a" * 100_000, 0),
    (r"(a|a)*b", "a" * 100_000 + "b", 1),
    (r"(x+x+)+y", "x" * 100_000, 0),
    (r"(.*a){10,}", "b" * 100_000, 0),
    (r"([a-zA-Z]+)*1", "z" * 100_000, 0),
    (r"a+a+a+a+a+a+$", "a" * 100_000 + "!", 0),
    (r"(.*?,){11}P", "1," * 50_000, 0),
    (r"(?:a|b)*a(?:a|b){20}c", "ab" * 50_000, 0),
]


@pytest.mark.parametrize(("pattern", "text", "hits"), EVIL)
def test_evil_patterns_finish(pattern: str, text: str, hits: int) -> None:
    assert Redactor([pattern]).redact_text(text)[1] == hits


@pytest.mark.parametrize(
    "text", ["\\" * 2**20 + "u", "\\u0041" * 170_000, "a@" * 2**19, '"\\"' * 350_000]
)
def test_texts_made_to_be_slow_finish(text: str) -> None:
    call = ToolCall("call_1", ToolCallFunction("f", text))
    message = Message("assistant", text, tool_calls=(call,))
    assert REDACTOR.redact(message) == (message, 0)


def test_a_mebibyte_full_of_private_data_is_redacted() -> None:
    assert REDACTOR.redact_text(f"{PRIVATE} " * 50_000) == ("[REDACTED] " * 50_000, 50_000)


def test_twenty_thousand_keys_that_become_equal_stay_apart() -> None:
    value = {f"{n}@example.com": n for n in range(20_000)}
    safe = REDACTOR.redact_json(value)
    assert sorted(safe.values()) == list(range(20_000))
    assert not any("@" in key for key in safe)


# ---- patterns that are refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", [*PATTERNS, r"a\b", r"\bx+\b", "(?i)secret", r"\Qa.b", "^a*b$", r"\\C"]
)
def test_usable_patterns_have_no_reason_against_them(pattern: str) -> None:
    assert check_pattern(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?=a)b", r"RE2 \(linear time\) has no look-around \('\(\?='\)"),
        (r"a(?!b)", r"RE2 \(linear time\) has no look-around"),
        (r"(?<=a)b", r"RE2 \(linear time\) has no look-around"),
        (r"(?<!a)b", r"RE2 \(linear time\) has no look-around"),
        (r"(a)\1", r"RE2 \(linear time\) has no back-references"),
        (r"(?P<n>a)(?P=n)", r"RE2 \(linear time\) has no back-references"),
        (r"(?<n>a)\k<n>", r"RE2 \(linear time\) has no back-references"),
        (r"(?>a)b", r"RE2 \(linear time\) has no atomic groups or possessive"),
        (r"a++b", r"RE2 \(linear time\) has no atomic groups or possessive"),
        (r"a(?#x)", r"RE2 \(linear time\) has no comments"),
        (r"a{1001}", r"at most 1000 times"),
        (r"((a{100}){100})", r"at most 1000 times"),
        (r"a\Z", r"write \\z"),
        (r"(?P", r"RE2 cannot read it"),
        (r"(a", r"RE2 cannot read it: missing \)"),
        (r"[a", r"RE2 cannot read it: missing \]"),
        (r"*a", r"RE2 cannot read it"),
        (r"\p{Klingon}", r"RE2 cannot read it"),
        (r"a\C", r"\\C matches half a character"),
        (r"\\\C", r"\\C matches half a character"),
        ("\ud800", r"lone surrogate"),
    ],
)
def test_unusable_patterns_are_refused_with_the_reason(pattern: str, reason: str) -> None:
    found = check_pattern(pattern)
    assert found is not None
    assert re.search(reason, found)


EMPTY = [
    "",
    "a*",
    "a?",
    "(a|)",
    "^",
    "$",
    r"\b",
    r"\B",
    "(?m)^",
    "(?m)$",
    r"a|\b",
    r"\bx*\b",
    r"^\b",
]
EMPTY += [r"\b$", r"\Ba{0}", r"x*\z", r"(?m)^a*$", r"\Q", "(?i)(?:)"]


@pytest.mark.parametrize("pattern", EMPTY)
def test_patterns_that_match_the_empty_text_are_refused(pattern: str) -> None:
    assert "empty" in str(check_pattern(pattern))


def test_the_redactor_refuses_what_the_check_refuses() -> None:
    with pytest.raises(ConfigError, match=r"pattern 1: .*look-around"):
        Redactor([EMAIL, r"(?<=x)y"])


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("RED", "[REDACTED]"),
        ("a", "aa"),
        (SSN, "is 123-45-6789"),
        ("b", "\ud800"),
        (r"\[", r"\u005b"),
    ],
)
def test_a_replacement_that_would_be_redacted_is_refused(pattern: str, replacement: str) -> None:
    with pytest.raises(ConfigError, match="the replacement"):
        Redactor([pattern], replacement=replacement)


def test_patterns_too_large_to_match_together_are_refused_or_work() -> None:
    patterns = [rf"[\w.]{{1,{300 + n}}}@x{n}\.com" for n in range(40)]
    assert Redactor(patterns).redact_text("to q@x39.com!") == ("to [REDACTED]!", 1)


def test_a_missing_re2_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(MissingExtra, match=r"recollect\[workflows\]"):
        Redactor([EMAIL])
    assert Redactor().redact_text(PRIVATE) == (PRIVATE, 0)


# ---- JSON ----------------------------------------------------------------------------------------


def test_redacts_texts_keys_and_numbers_at_any_depth() -> None:
    value = {PRIVATE: [{"a": ["x", {"b": PRIVATE}]}, 4111111111111111, 1, 2.5, True, None]}
    assert REDACTOR.redact_json(value) == {
        "[REDACTED]": [{"a": ["x", {"b": "[REDACTED]"}]}, "[REDACTED]", 1, 2.5, True, None]
    }


def test_keys_that_become_equal_keep_their_values() -> None:
    value = {"a@b.co": 1, "[REDACTED]": 2, "c@d.co": 3, "[REDACTED]_2": 4}
    assert list(REDACTOR.redact_json(value).values()) == [1, 2, 3, 4]
    digits = Redactor([r"\d"]).redact_json({"1": "a", "2": "b", "3": "c"})
    assert sorted(digits.values()) == ["a", "b", "c"]
    assert not re.search(r"\d", "".join(digits))


@given(data)
def test_redacting_json_keeps_its_shape_and_leaves_no_match(value: Any) -> None:
    safe = REDACTOR.redact_json(value)
    assert shape(safe) == shape(value)
    assert [found for text in leaves(safe) for found in matches(text)] == []
    assert REDACTOR.redact_json(safe) is safe


# ---- messages ------------------------------------------------------------------------------------


def holds(message: Message) -> bool:
    """Whether the private address is in what a store would write, in any encoding tried here."""
    written = encode(message)
    coded = (run[: len(run) // 4 * 4] for run in re.findall(rb"[A-Za-z0-9+/]{8,}=*", written))
    inner = b" ".join(base64.b64decode(run) for run in coded)
    return any(PRIVATE.encode() in text for text in (written, inner))


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def called(arguments: str, name: str = "f") -> Message:
    return Message("assistant", tool_calls=(ToolCall("c1", ToolCallFunction(name, arguments)),))


def arguments_of(message: Message) -> str:
    assert message.tool_calls
    return message.tool_calls[0].function.arguments


PLACES = [
    Message("user", f"I am {PRIVATE}"),
    Message("user", (ContentPart("text", text=f"I am {PRIVATE}"),)),
    Message("user", (ContentPart("image_url", image_url={"url": f"https://x.y/?m={PRIVATE}"}),)),
    Message("user", (ContentPart("image_url", image_url={"nested": {"list": [PRIVATE]}}),)),
    Message("user", (ContentPart("file", file={"filename": f"{PRIVATE}.pdf"}),)),
    Message(
        "user", (ContentPart("file", file={"file_data": f"data:text/plain;base64,{b64(PRIVATE)}"}),)
    ),
    Message("user", (ContentPart("file", file={PRIVATE: 1}),)),
    Message("user", attachments=(Attachment("file", name=PRIVATE, url="https://x.y"),)),
    Message("user", attachments=(Attachment("file", url=f"mailto:{PRIVATE}"),)),
    Message("user", attachments=(Attachment("file", data=b64(f"mail {PRIVATE}")),)),
    Message("user", attachments=(Attachment("file", data=PRIVATE),)),
    Message("user", attachments=(Attachment("file", url=f"DATA:;base64,{b64(PRIVATE)}"),)),
    Message("user", attachments=(Attachment("file", url="https://x.y", mime_type=PRIVATE),)),
    Message("user", "x", message_id=f"mail-{PRIVATE}"),
    Message("user", "x", metadata={"a": [{"b": PRIVATE}]}),
    Message("user", "x", metadata={"a": {PRIVATE: 1}}),
    called(json.dumps({"to": PRIVATE})),
    called(json.dumps({PRIVATE: ["x"]})),
    called(f'{{"to": "{PRIVATE}", "cut'),
    called("{}", name=PRIVATE),
]


@pytest.mark.parametrize("message", PLACES)
def test_private_data_are_found_wherever_a_message_has_text(message: Message) -> None:
    assert holds(message)
    safe, count = REDACTOR.redact(message)
    assert count == 1
    assert not holds(safe)
    assert REDACTOR.redact(safe) == (safe, 0)
    assert (safe.role, safe.timestamp) == (message.role, message.timestamp)


def test_a_message_without_matches_is_returned_as_it_is() -> None:
    message = Message(
        "assistant",
        (ContentPart("text", "hello"), ContentPart("image_url", image_url={"url": "https://x.y"})),
        attachments=(
            Attachment("image", data=b64(bytes(range(256)))),
            Attachment("file", data="?"),
        ),
        tool_calls=(ToolCall("c1", ToolCallFunction("f", '{"n": 1.0,  "n": 1e400}')),),
        metadata={"a": [1, {"b": None}]},
    )
    safe, count = REDACTOR.redact(message)
    assert (safe is message, count) == (True, 0)


def test_pictures_are_not_taken_for_text() -> None:
    picture = b64(bytes(range(256)) * 40)
    message = Message(
        "user",
        (ContentPart("image_url", image_url={"url": f"data:image/png;base64,{picture}"}),),
        attachments=(Attachment("image", data=picture),),
    )
    assert Redactor([r"[A-Za-z0-9]{10,}"]).redact(message)[0] is message


def test_ids_that_pair_calls_and_results_stay() -> None:
    call = ToolCall("call-123-45-6789", ToolCallFunction("f", "{}"))
    asks = Message("assistant", tool_calls=(call,), message_id="1")
    answers = Message("tool", "x", tool_call_id="call-123-45-6789", message_id="2")
    assert REDACTOR.redact(asks) == (asks, 0)
    assert REDACTOR.redact(answers) == (answers, 0)


def test_message_ids_of_our_own_making_stay() -> None:
    message = Message("user", "x")
    assert Redactor([r"\d{3}"]).redact(message) == (message, 0)


def test_escaped_arguments_are_redacted_and_stay_json() -> None:
    written = r'{"to": "Jane\njane.doe\u0040example.com", "n": 4111111111111111, "k": [true, null]}'
    safe, count = REDACTOR.redact(called(written))
    assert count == 2
    assert json.loads(arguments_of(safe)) == {
        "to": "Jane\n[REDACTED]",
        "n": "[REDACTED]",
        "k": [True, None],
    }


def test_a_replacement_with_quotes_keeps_arguments_json() -> None:
    redactor = Redactor([EMAIL], replacement='<"gone">')
    safe, _ = redactor.redact(called(json.dumps({"to": PRIVATE})))
    assert json.loads(arguments_of(safe)) == {"to": '<"gone">'}


def test_matches_across_the_punctuation_of_arguments_are_redacted() -> None:
    redactor = Redactor([r'"password":\s*"[^"]*"'])
    safe, count = redactor.redact(called('{"user": "jane", "password": "hunter2"}'))
    assert (arguments_of(safe), count) == ('{"user": "jane", [REDACTED]}', 1)


def test_patterns_that_look_at_a_texts_ends_find_values_of_arguments() -> None:
    for pattern in ("^secret$", r"\Asecret\z"):
        safe, count = Redactor([pattern]).redact(called('{"a": ["secret", "no secret"]}'))
        assert (arguments_of(safe), count) == ('{"a": ["[REDACTED]", "no secret"]}', 1)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"\bsecret\b", "a\nsecret"),
        (r"a\nb", "a\nb"),
        ('x"y', 'x"y'),
        (r"a\\b", "a\\b"),
        ("a/b", "a/b"),
    ],
)
def test_values_of_arguments_are_found_behind_short_escapes(pattern: str, value: str) -> None:
    for written in (json.dumps({"k": value}), json.dumps({"k": value}).replace("/", "\\/")):
        safe, _ = Redactor([pattern]).redact(called(written))
        assert not re.search(pattern, json.loads(arguments_of(safe))["k"])
        assert "[REDACTED]" in arguments_of(safe)


def test_quotes_written_as_numbers_in_arguments_hide_nothing() -> None:
    safe, count = Redactor(['x"y']).redact(called(r'{"k": "x\u0022y"}'))
    assert (json.loads(arguments_of(safe)), count) == ({"k": "[REDACTED]"}, 1)


def test_numbers_with_exponents_in_arguments_are_found_as_they_are_read() -> None:
    safe, _ = REDACTOR.redact(called('{"n": 4.111111111111111e15}'))
    assert arguments_of(safe) == '{"n": "[REDACTED].0"}'


def test_repeated_names_in_arguments_hide_nothing() -> None:
    safe, _ = REDACTOR.redact(called(f'{{"a": "{PRIVATE}", "a": "x"}}'))
    assert arguments_of(safe) == '{"a": "[REDACTED]", "a": "x"}'


def test_arguments_that_escape_half_a_character_are_redacted_as_text() -> None:
    safe, count = REDACTOR.redact(called(r'{"a": "\ud83d", "to": "jane.doe@example.com"}'))
    assert (arguments_of(safe), count) == (r'{"a": "\ud83d", "to": "[REDACTED]"}', 1)


@given(data, texts)
def test_no_match_is_left_in_a_redacted_message(value: Any, text: str) -> None:
    call = ToolCall("c1", ToolCallFunction(text, json.dumps(value)))
    part = ContentPart("file", text=text, file={"file_data": text})
    metadata = {"value": value}
    message = Message("assistant", (part,), tool_calls=(call,), metadata=metadata)
    safe, count = REDACTOR.redact(message)
    assert [m for text in leaves(to_json(safe)["content"]) for m in matches(text)] == []
    assert [m for text in leaves(to_json(safe)["metadata"]) for m in matches(text)] == []
    assert matches(arguments_of(safe)) == []
    assert REDACTOR.redact(safe) == (safe, 0)
    assert (safe is message) == (count == 0)


# ---- failing closed ------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = PRIVATE
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [f"{PRIVATE} \ud800", {"\udfff": PRIVATE}, nested(5_000)])
def test_what_cannot_be_redacted_is_refused_without_quoting_it(value: Any) -> None:
    with pytest.raises(PrivacyError) as caught:
        REDACTOR.redact_json(value)
    assert PRIVATE not in f"{caught.value} {caught.value.details}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_replacing_that_does_not_come_to_an_end_is_refused() -> None:
    redactor = Redactor(["ab"], replacement="")
    with pytest.raises(PrivacyError):
        redactor.redact(Message("user", "a" * 100 + "b" * 100))


# ---- which messages are kept ---------------------------------------------------------------------


def test_roles_and_types_that_are_not_kept_are_told_whatever_their_case() -> None:
    redactor = Redactor(non_persistable=["System", " payment_info "])
    assert redactor.screen(Message("system", "x")).reason == "type"
    paid = Message("user", "x", metadata={"type": "PAYMENT_INFO"})
    assert redactor.screen(paid).reason == "type"
    for kept in (
        Message("user", "system"),
        Message("user", "x", metadata={"type": ["payment_info"]}),
    ):
        assert redactor.screen(kept).message is kept
    given = Message("system", "x")
    assert Redactor().screen(given).message is given


# ---- several memories ----------------------------------------------------------------------------


def test_merged_redactors_hide_what_each_of_them_hides() -> None:
    both = merged([Redactor([EMAIL, SSN], replacement="***"), Redactor(), Redactor([SSN, TOKEN])])
    assert both.patterns == (EMAIL, SSN, TOKEN)
    assert both.redact_text(f"{PRIVATE} 123-45-6789 sk-1") == ("*** *** ***", 3)
    assert both.screen(Message("system", "x")).message is not None


def test_merged_redactors_use_a_replacement_that_none_of_them_matches() -> None:
    both = merged([Redactor(["x"], replacement="as sk-0"), Redactor([TOKEN], replacement="-")])
    assert both.replacement == "-"
    crossed = [Redactor(["x"], replacement="my"), Redactor(["y"], replacement="ox")]
    assert merged(crossed).replacement == "[REDACTED]"


def test_merging_nothing_redacts_nothing() -> None:
    assert merged([]).redact_text(PRIVATE) == (PRIVATE, 0)
