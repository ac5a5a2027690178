"""What stands in place of a match, and that it settles: redacting twice changes nothing."""

import json
import re
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import ConfigError
from recollect.memory.privacy import Redactor, Strategy
from recollect.messages import Attachment, ContentPart, Message, ToolCall, ToolCallFunction, encode

EMAIL = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"
SSN = r"\b\d{3}-\d{2}-\d{4}\b"
TOKEN = r"sk-[A-Za-z0-9]+"
MAIL = "jane.doe@example.com"
KEY = bytes(range(32))
HASH = r"\[hash:[b-v]{16}\]"


def made(strategy: Strategy, *patterns: str) -> Redactor:
    return Redactor(patterns or (EMAIL, SSN, TOKEN), strategy=strategy, hash_key=KEY)


# ---- mask ----------------------------------------------------------------------------------------


def test_mask_keeps_the_length_and_the_last_four() -> None:
    assert made("mask").redact_text(f"to {MAIL}!") == (f"to {'*' * 16}.com!", 1)
    assert made("mask", "preset:card").redact_text("4111 1111 1111 1111")[0] == "*" * 15 + "1111"


def test_mask_shows_nothing_of_eight_characters_or_fewer() -> None:
    assert made("mask").redact_text("sk-12345 sk-123456")[0] == "******** *****3456"


def test_mask_counts_characters_not_bytes() -> None:
    assert made("mask", r"\p{Han}{5,}").redact_text("漢字漢字漢字漢字漢字!")[0] == "******漢字漢字!"


def test_what_a_mask_leaves_visible_is_masked_again_where_a_pattern_matches_it() -> None:
    assert made("mask", r"\d+").redact_text("123456789 and 12")[0] == "********* and **"


def test_a_mask_that_a_pattern_matches_stays() -> None:
    assert made("mask", r"\S+").redact_text("secret-data") == ("*******data", 1)


# ---- hash ----------------------------------------------------------------------------------------


def test_equal_texts_have_equal_hashes_and_others_have_others() -> None:
    text, count = made("hash").redact_text(f"{MAIL} {MAIL} other@example.com")
    first, second, third = text.split(" ")
    assert count == 3
    assert re.fullmatch(HASH, first)
    assert first == second != third


def test_hashes_of_another_project_are_others() -> None:
    other = Redactor([EMAIL], strategy="hash", hash_key=b"another key")
    assert other.redact_text(MAIL) != made("hash").redact_text(MAIL)


def test_the_hash_is_a_keyed_one() -> None:
    """HMAC-SHA-256, worked out from its definition (RFC 2104)."""
    padded = KEY.ljust(64, b"\0")
    inner = sha256(bytes(b ^ 0x36 for b in padded) + MAIL.encode()).digest()
    digest = sha256(bytes(b ^ 0x5C for b in padded) + inner).digest()
    letters = digest[:8].hex().translate(str.maketrans("0123456789abcdef", "bcdfghjkmnpqrstv"))
    assert made("hash").redact_text(MAIL)[0] == f"[hash:{letters}]"


def test_hash_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="strategy hash needs the project's key"):
        Redactor([EMAIL], strategy="hash")


def test_patterns_that_would_redact_hashes_are_refused() -> None:
    with pytest.raises(ConfigError, match="hashes, such as"):
        Redactor(["[a-z]{10,}"], strategy="hash", hash_key=KEY)


# ---- drop ----------------------------------------------------------------------------------------


def test_drop_stores_nothing_of_a_message_with_a_match() -> None:
    screened = made("drop").screen(Message("user", f"I am {MAIL}"))
    assert (screened.message, screened.reason) == (None, "match")
    clean = Message("user", "hello")
    assert made("drop").screen(clean).message is clean


def test_drop_finds_matches_wherever_a_message_has_text() -> None:
    call = ToolCall("c", ToolCallFunction("f", json.dumps({"to": MAIL})))
    for message in (
        Message("user", "x", metadata={"a": [{"b": MAIL}]}),
        Message("assistant", tool_calls=(call,)),
        Message("user", attachments=(Attachment("file", name=MAIL, url="https://x.y"),)),
    ):
        assert made("drop").screen(message).message is None


def test_what_is_no_message_has_its_matches_replaced_under_drop_too() -> None:
    assert made("drop").redact_text(MAIL) == ("[REDACTED]", 1)
    assert made("drop").redact_json({"a": MAIL}) == {"a": "[REDACTED]"}


# ---- laws ----------------------------------------------------------------------------------------

bits = [
    MAIL,
    "a@b.co",
    "@",
    "123-45-6789",
    "sk-a1",
    "sk-",
    ".",
    "-",
    " ",
    "é",
    "字",
    "😀",
    '"',
    "\\",
]
bits += ["\\u0040", "*", "**", ".com", "[hash:", "]", "{", "1", "\n"]
texts = st.lists(st.sampled_from(bits) | st.text(max_size=3), max_size=8).map("".join)
data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
strategies = st.sampled_from(["redact", "mask", "hash", "drop"])
SEARCHES = [re.compile(pattern, re.ASCII) for pattern in (EMAIL, SSN, TOKEN)]
REDACTORS = {name: made(name) for name in ("redact", "mask", "hash", "drop")}


def strings(value: Any) -> list[str]:
    """Every text and number in JSON data; JSON inside a text is opened as well."""
    if isinstance(value, dict):
        return [text for item in (*value, *value.values()) for text in strings(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings(item)]
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
        return [value, *(strings(inner) if inner != value else [])]
    return [json.dumps(value)]


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize(
    "before", ["\n", "\r", "\t", "\b", "\f", "\x1f", "\x00", "\x7f", "/", "\\", "é "]
)
def test_an_escape_before_a_match_does_not_hide_it(before: str, levels: int) -> None:
    """To a pattern, the ``n`` of ``\\n123`` would be the beginning of a word."""
    text = f"call{before}123-45-6789{before}now"
    for _ in range(levels):
        text = json.dumps({"said": text})
    safe, count = made("redact").redact_text(text)
    assert count == 1
    assert "6789" not in safe
    for _ in range(levels):
        safe = json.loads(safe)["said"]
    assert safe == f"call{before}[REDACTED]{before}now"


def test_what_looks_like_an_escape_stays_where_nothing_matches() -> None:
    text = r"C:\new\table and 1\n2"
    assert made("redact").redact_text(text) == (text, 0)
    assert made("redact").redact_text(text + " 123-45-6789") == (text + " [REDACTED]", 1)


@given(strategies, texts)
def test_no_match_is_left_and_a_second_time_changes_nothing(strategy: str, text: str) -> None:
    redactor = REDACTORS[strategy]
    safe, count = redactor.redact_text(text)
    assert not any(search.search(safe) for search in SEARCHES)
    assert redactor.redact_text(safe) == (safe, 0)
    assert (safe is text) == (count == 0)


@given(strategies, data, texts)
def test_no_match_survives_anywhere_in_the_stored_json(
    strategy: str, value: Any, text: str
) -> None:
    redactor = REDACTORS[strategy]
    message = Message(
        "assistant",
        (ContentPart("text", text=text), ContentPart("file", file={"name": text, "deep": value})),
        attachments=(Attachment("file", name=text, url=f"https://x.y/{text}"),),
        tool_calls=(
            ToolCall("c1", ToolCallFunction("f", json.dumps(value))),
            ToolCall("c2", ToolCallFunction(f"g{text}", json.dumps({"nested": json.dumps(value)}))),
            ToolCall("c3", ToolCallFunction("h", f'{{"cut": {text}')),
        ),
        metadata={"value": value, "text": text, text: 1},
    )
    screened = redactor.screen(message)
    if strategy == "drop":
        assert screened.message is None or screened.message is message
    if screened.message is None:
        return
    stored = json.loads(encode(screened.message))
    del stored["message_id"], stored["timestamp"]
    for found in strings(stored):
        assert not any(search.search(found) for search in SEARCHES)
    assert redactor.redact(screened.message) == (screened.message, 0)
