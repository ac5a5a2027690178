"""Messages: immutable, checked at construction, the same after a trip through JSON."""

import copy
import enum
import json
import pickle
import re
from collections import OrderedDict, UserDict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import InvalidMessage
from recollect.frozen import EMPTY, FrozenDict, FrozenList, freeze
from recollect.messages import (
    ROLES,
    Attachment,
    ContentPart,
    Message,
    ToolCall,
    ToolCallFunction,
    Unit,
    body,
    decode,
    decode_all,
    encode,
    new_message_id,
    to_json,
    units,
)

CALL = ToolCall("call-1", ToolCallFunction("weather", '{"city": "Rome"}'))
FULL = Message(
    "assistant",
    (
        ContentPart("text", "look"),
        ContentPart("image_url", image_url={"url": "http://x", "sizes": [1, {"a": None}]}),
    ),
    (Attachment("image", "image/png", "a.png", url="http://x/a.png"),),
    "call-0",
    (CALL,),
    "m-1",
    datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    {"nested": {"list": [1, 2.5, None, True, "x"]}},
)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Loud(str):
    """A text whose str() lies."""

    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"


# ---- construction --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_role_is_accepted(role: Any) -> None:
    assert Message(role, "x").role == role


@pytest.mark.parametrize("role", ["User", "", "function", None, 1, ["user"], "user\x00"], ids=repr)
def test_another_role_is_refused_and_the_known_ones_are_named(role: Any) -> None:
    with pytest.raises(InvalidMessage, match="user, assistant, system, tool"):
        Message(role, "x")


def test_a_role_may_be_a_member_of_an_enum_of_texts() -> None:
    class Speaker(enum.StrEnum):
        USER = "user"

    message = Message(Speaker.USER, "x")  # type: ignore[arg-type]
    assert type(message.role).__name__ == "str"
    assert decode(encode(message)) == message


def test_id_and_timestamp_are_set_at_construction() -> None:
    before = datetime.now(UTC)
    message = Message("user", "x")
    assert re.fullmatch(r"msg_\d{13}_[0-9a-f]{8}", message.message_id)
    assert before <= message.at <= datetime.now(UTC)
    assert message.timestamp == message.at
    assert message.at.tzinfo is UTC


def test_ids_differ() -> None:
    """Also those of one millisecond. Of 1,000 two would be equal in one run of 10,000."""
    assert len({new_message_id() for _ in range(20)}) == 20


def test_given_id_and_timestamp_are_kept() -> None:
    assert (FULL.message_id, FULL.timestamp) == (
        "m-1",
        datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    )


def test_the_rest_is_empty_by_default() -> None:
    message = Message("user")
    assert (message.content, message.attachments, message.tool_call_id, message.tool_calls) == (
        "",
        None,
        None,
        None,
    )
    assert message.metadata == {}


def test_a_time_of_another_zone_becomes_utc() -> None:
    moment = datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    message = Message("user", "x", timestamp=moment)
    assert message.timestamp == moment
    assert message.at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000000Z"]
)
def test_a_time_may_be_iso_8601_text(text: str) -> None:
    message = Message("user", "x", timestamp=text)  # type: ignore[arg-type]
    assert message.timestamp == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 1, 1), "2026-01-01T00:00:00", "yesterday", "", 0, date(2026, 1, 1)],  # noqa: DTZ001
    ids=["naive", "naive text", "words", "empty", "number", "date"],
)
def test_a_time_that_is_none_is_refused(moment: Any) -> None:
    with pytest.raises(InvalidMessage, match="timestamp"):
        Message("user", "x", timestamp=moment)


@pytest.mark.parametrize("content", [None, 5, b"x", {"a": 1}, {"x"}, Ellipsis], ids=repr)
def test_content_that_is_neither_text_nor_parts_is_refused(content: Any) -> None:
    with pytest.raises(InvalidMessage, match="content"):
        Message("user", content)


def test_content_may_be_parts_as_plain_json() -> None:
    content: Any = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "u"}},
        ContentPart("text", "b"),
    ]
    assert Message("user", content).content == (
        ContentPart("text", "a"),
        ContentPart("image_url", image_url={"url": "u"}),
        ContentPart("text", "b"),
    )


@pytest.mark.parametrize(
    "part",
    [{"type": "video"}, {"text": "x"}, "x", None, {"type": "text", "text": 5}],
    ids=["unknown type", "no type", "text", "none", "text that is a number"],
)
def test_a_part_that_is_none_is_refused(part: Any) -> None:
    with pytest.raises(InvalidMessage, match="content"):
        Message("user", [part])  # type: ignore[arg-type]


def test_the_text_of_parts_is_joined_by_blanks() -> None:
    parts = (ContentPart("text", "a"), ContentPart("file", file={}), ContentPart("text", "b"))
    assert Message("user", parts).text == "a b"
    assert Message("user", "a").text == "a"
    assert Message("user", ()).text == ""


def test_tool_calls_may_be_plain_json() -> None:
    calls: Any = [{"id": "c", "function": {"name": "f"}, "type": "function"}]
    assert Message("assistant", tool_calls=calls).tool_calls == (
        ToolCall("c", ToolCallFunction("f", "{}")),
    )


def test_arguments_of_a_tool_call_stay_as_the_model_wrote_them() -> None:
    call = ToolCall("c", ToolCallFunction("f", '{"a" :1,  not json'))
    assert decode(encode(Message("assistant", tool_calls=(call,)))).tool_calls == (call,)


@pytest.mark.parametrize(
    "calls", ["x", 5, [5], [{}], [{"id": 5, "function": {"name": "f"}}], {"id": "x"}], ids=repr
)
def test_tool_calls_that_are_none_are_refused(calls: Any) -> None:
    with pytest.raises(InvalidMessage, match="tool_calls"):
        Message("assistant", tool_calls=calls)


def test_an_attachment_needs_a_url_or_data() -> None:
    with pytest.raises(InvalidMessage, match="url or data"):
        Message("user", "x", (Attachment("file", name="a.txt"),))
    for fine in ({"url": "u"}, {"data": "d"}, {"url": "", "data": None}):
        attachments: Any = [{"kind": "file", **fine}]
        assert Message("user", "x", attachments).attachments == (Attachment("file", **fine),)


@pytest.mark.parametrize("value", [[{"kind": "video", "url": "u"}], [5], "x"], ids=repr)
def test_attachments_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage, match="attachments"):
        Message("user", "x", value)


@pytest.mark.parametrize("name", ["tool_call_id", "message_id"])
def test_an_id_is_text(name: str) -> None:
    with pytest.raises(InvalidMessage, match=name):
        Message("tool", "x", **{name: 5})  # type: ignore[arg-type]


WITH_TEXT: dict[str, Callable[[str], dict[str, Any]]] = {
    "content": lambda text: {"content": text},
    "part": lambda text: {"content": [{"type": "text", "text": text}]},
    "file": lambda text: {"content": [{"type": "file", "file": {"a": text}}]},
    "name in a file": lambda text: {"content": [{"type": "file", "file": {text: "a"}}]},
    "attachment": lambda text: {"attachments": [{"kind": "file", "url": text}]},
    "tool_call_id": lambda text: {"tool_call_id": text},
    "tool_calls": lambda text: {"tool_calls": [{"id": text, "function": {"name": "f"}}]},
    "message_id": lambda text: {"message_id": text},
    "metadata": lambda text: {"metadata": {"a": {"b": [text]}}},
    "name in metadata": lambda text: {"metadata": {text: 1}},
}


@pytest.mark.parametrize("fields", WITH_TEXT.values(), ids=WITH_TEXT)
def test_a_lone_surrogate_is_refused_everywhere(
    fields: Callable[[str], dict[str, Any]],
) -> None:
    Message("user", **fields("fine \U0001f600 \x00"))
    with pytest.raises(InvalidMessage, match="surrogate") as caught:
        Message("user", **fields("secret\ud800"))
    assert "secret" not in str(caught.value)
    str(caught.value).encode()


def test_a_subclass_of_text_becomes_its_plain_text() -> None:
    message = Message("user", Loud("quiet"), metadata={"x": Loud("quiet")})
    assert (message.content, type(message.content)) == ("quiet", str)
    assert message.metadata == {"x": "quiet"}


# ---- metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        (date(2026, 1, 1), "2026-01-01"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (UserDict({"a": 1}), {"a": 1}),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (-0.0, -0.0),
        (True, True),
        (None, None),
    ],
    ids=["tuples", "time", "date", "enum of text", "enum of int", "ordered dict", "proxy",
         "user dict", "least int", "largest int", "minus zero", "true", "none"],
)  # fmt: skip
def test_metadata_become_json(value: object, expected: object) -> None:
    frozen = freeze({"x": value})
    assert frozen == {"x": expected}
    assert json.loads(json.dumps(frozen)) == {"x": expected}
    assert type(frozen["x"]) in {str, int, float, bool, type(None), FrozenDict, FrozenList}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({1}, "metadata.a[0]"),
        (float("nan"), "metadata.a[0]"),
        (float("inf"), "metadata.a[0]"),
        (2**64, "metadata.a[0]"),
        (-(2**63) - 1, "metadata.a[0]"),
        (object(), "metadata.a[0]"),
        (b"x", "metadata.a[0]"),
        ({1: "x"}, "metadata.a[0]"),
        ({None: "x"}, "metadata.a[0]"),
        ({"b": {"c": 1j}}, "metadata.a[0].b.c"),
        (timedelta(1), "metadata.a[0]"),
    ],
    ids=["set", "NaN", "infinity", "too large", "too small", "object", "bytes", "int as key",
         "none as key", "complex, deep", "duration"],
)  # fmt: skip
def test_metadata_json_has_no_place_for_are_refused_by_place(value: object, where: str) -> None:
    with pytest.raises(InvalidMessage, match=re.escape(where)):
        Message("user", "x", metadata={"a": [value]})


@pytest.mark.parametrize("metadata", [None, [], "x", 5, [("a", 1)]], ids=repr)
def test_metadata_are_a_mapping(metadata: Any) -> None:
    with pytest.raises(InvalidMessage, match="metadata"):
        Message("user", "x", metadata=metadata)


def test_nesting_is_limited() -> None:
    value: Any = "bottom"
    for _ in range(49):
        value = [value]
    assert decode(encode(Message("user", "x", metadata={"a": value}))).metadata == {"a": value}
    with pytest.raises(InvalidMessage, match="nested deeper than 50"):
        Message("user", "x", metadata={"a": [value]})


def test_metadata_that_contain_themselves_are_refused() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(InvalidMessage, match="nested deeper"):
        Message("user", "x", metadata=loop)


# ---- immutability --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Message.__struct_fields__)
def test_a_field_cannot_be_set(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(FULL, name, None)


DICT_CHANGES: dict[str, Any] = {
    "setitem": lambda d: d.__setitem__("a", 1),
    "delitem": lambda d: d.__delitem__("a"),
    "ior": lambda d: d.__ior__({"a": 1}),
    "clear": lambda d: d.clear(),
    "pop": lambda d: d.pop("a"),
    "popitem": lambda d: d.popitem(),
    "setdefault": lambda d: d.setdefault("b", 1),
    "update": lambda d: d.update(b=1),
}
LIST_CHANGES: dict[str, Any] = {
    "setitem": lambda x: x.__setitem__(0, 9),
    "delitem": lambda x: x.__delitem__(0),
    "iadd": lambda x: x.__iadd__([9]),
    "imul": lambda x: x.__imul__(2),
    "append": lambda x: x.append(9),
    "clear": lambda x: x.clear(),
    "extend": lambda x: x.extend([9]),
    "insert": lambda x: x.insert(0, 9),
    "pop": lambda x: x.pop(),
    "remove": lambda x: x.remove(1),
    "reverse": lambda x: x.reverse(),
    "sort": lambda x: x.sort(reverse=True),
}


@pytest.mark.parametrize("change", DICT_CHANGES.values(), ids=DICT_CHANGES)
def test_a_map_inside_cannot_be_changed(change: Any) -> None:
    frozen = Message("user", "x", metadata={"a": 0}).metadata
    with pytest.raises(TypeError, match="does not change"):
        change(frozen)
    assert frozen == {"a": 0}


@pytest.mark.parametrize("change", LIST_CHANGES.values(), ids=LIST_CHANGES)
def test_a_list_inside_cannot_be_changed(change: Any) -> None:
    frozen = Message("user", "x", metadata={"a": [1, 2]}).metadata["a"]
    with pytest.raises(TypeError, match="does not change"):
        change(frozen)
    assert frozen == [1, 2]


def test_every_method_that_changes_a_dict_or_list_is_closed() -> None:
    for frozen, plain, changes in (
        (FrozenDict, dict, DICT_CHANGES),
        (FrozenList, list, LIST_CHANGES),
    ):
        opened = {
            name
            for name in vars(plain)
            if not name.startswith("__") or name in {"__ior__", "__iadd__", "__imul__"}
        } - {"copy", "count", "index", "get", "items", "keys", "values", "fromkeys"}
        assert opened <= {*changes, *(f"__{name}__" for name in changes)}
        assert all(name in vars(frozen) for name in opened)


def test_maps_inside_parts_cannot_be_changed() -> None:
    part = FULL.content[1]
    assert isinstance(part, ContentPart)
    assert part.image_url is not None
    with pytest.raises(TypeError):
        part.image_url["url"] = "other"
    with pytest.raises(TypeError):
        part.image_url["sizes"].append(3)


def test_the_callers_objects_are_not_kept() -> None:
    metadata: dict[str, Any] = {"tags": ["a"]}
    url: dict[str, Any] = {"url": "u", "more": [1]}
    parts: Any = [{"type": "image_url", "image_url": url}]
    message = Message("user", parts, metadata=metadata)
    metadata["tags"].append("b")
    metadata["new"] = 1
    url["more"].append(2)
    parts.clear()
    assert message.metadata == {"tags": ["a"]}
    assert message.content == (ContentPart("image_url", image_url={"url": "u", "more": [1]}),)


def test_a_frozen_map_is_taken_as_it_is() -> None:
    frozen = freeze({"a": [1]})
    assert Message("user", "x", metadata=frozen).metadata is frozen
    assert freeze(frozen) is frozen


def test_copies_are_equal_and_frozen() -> None:
    for made in (copy.copy(FULL), copy.deepcopy(FULL), pickle.loads(pickle.dumps(FULL))):
        assert made == FULL
        with pytest.raises(TypeError):
            made.metadata["new"] = 1
        with pytest.raises(TypeError):
            made.metadata["nested"]["list"].append(1)


def test_a_frozen_map_can_be_copied_into_a_plain_one() -> None:
    plain = dict(freeze({"a": 1}))
    plain["b"] = 2
    assert plain == {"a": 1, "b": 2}


def test_empty_metadata_are_shared() -> None:
    assert Message("user").metadata is Message("user", metadata={}).metadata is EMPTY


# ---- JSON ----------------------------------------------------------------------------------------

USUAL = Message("user", "hi", metadata={"a": 1})


def read(data: bytes) -> Message:
    """Read a message in every way there is, and see that they agree."""
    ways = [decode_all([data])[0], decode_all([encode(USUAL), data, encode(FULL)])[1]]
    for way in ways:
        if isinstance(way, InvalidMessage):
            with pytest.raises(InvalidMessage, match=f"^{re.escape(str(way))}$"):
                decode(data)
            continue
        found = decode(data)
        assert (type(way), way, repr(way)) == (Message, found, repr(found))
        assert type(way.metadata) is type(found.metadata) is FrozenDict
    return decode(data)


def test_a_message_comes_back_equal() -> None:
    assert decode(encode(FULL)) == FULL
    assert decode(encode(FULL).decode()) == FULL


def test_a_decoded_message_cannot_be_changed_either() -> None:
    found = decode(encode(FULL))
    with pytest.raises(TypeError):
        found.metadata["nested"]["list"].append(1)
    part = found.content[1]
    assert isinstance(part, ContentPart)
    assert part.image_url is not None
    with pytest.raises(TypeError):
        part.image_url["new"] = 1


def test_json_is_compact_and_leaves_out_what_is_not_given() -> None:
    message = Message("user", "hi", message_id="m", timestamp=datetime(2026, 1, 1, tzinfo=UTC))
    assert json.loads(encode(message)) == {
        "role": "user",
        "content": "hi",
        "message_id": "m",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    assert b" " not in encode(message)
    assert b"\n" not in encode(message)


def test_json_is_utf_8_not_escapes() -> None:
    assert "\u20ac\U0001f600".encode() in encode(Message("user", "\u20ac\U0001f600"))


def test_a_message_can_be_built_from_its_json() -> None:
    assert Message(**to_json(FULL)) == FULL
    assert Message(**json.loads(encode(FULL))) == FULL


def test_to_json_is_plain_data() -> None:
    assert json.loads(json.dumps(to_json(FULL))) == to_json(FULL)


def test_fields_it_does_not_know_are_ignored() -> None:
    data = {**to_json(FULL), "from_the_future": {"a": 1}}
    assert decode(json.dumps(data)) == FULL


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"5", b'"x"', b"{}", b'{"role":"user"',
     b'{"role":"king","content":"top secret"}', b'{"role":"user","content":5}',
     b"\xff\xfe", b'{"role":"user","content":"\xff"}', b'{"role":"user","content":"\\ud800"}',
     b'{"role":"user","timestamp":"top secret"}', b'{"role":"user","metadata":[]}',
     b'{"role":"user","metadata":null}', b"[" * 100_000],
    ids=["empty", "open", "null", "list", "number", "text", "no role", "cut", "wrong role",
         "wrong content", "not UTF-8", "not UTF-8 inside", "surrogate", "wrong time",
         "list as metadata", "null as metadata", "deep"],
)  # fmt: skip
def test_bytes_that_are_no_message_are_refused_without_quoting_them(data: bytes) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(data)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [f'"metadata": {{"k": {value}}}' for value in (
        "1", "-0.0", "1.0", "1e3", "9223372036854775808", "18446744073709551616", "null", "true",
        "-9223372036854775809", '"\\u00e9"', "[1]", '{"a": [{"b": 1}]}', "[" * 60 + "]" * 60,
    )] + [
        '"metadata": {}', '"content": []', '"content": [{"type": "text", "text": "a"}]',
        '"attachments": []', '"attachments": [{"kind": "file"}]',
        '"attachments": [{"kind": "file", "url": "u"}]', '"tool_call_id": "t"',
        '"tool_calls": []', '"tool_calls": [{"id": "a", "function": {"name": "f"}}]',
        '"timestamp": "2026-01-01T01:00:00+01:00"', '"timestamp": "2026-01-01T00:00:00"',
    ],
)  # fmt: skip
def test_what_is_read_is_what_would_be_built_of_it(part: str) -> None:
    plain = {"role": "user", "message_id": "m", "timestamp": "2026-01-01T00:00:00Z"}
    data = f"{json.dumps(plain)[:-1]}, {part}}}".encode()  # a later field wins
    try:
        built = Message(**json.loads(data))
    except InvalidMessage:
        with pytest.raises(InvalidMessage):
            read(data)
        return
    found = read(data)
    assert found == built
    assert type(found) is Message
    assert repr(found) == repr(built)  # 1, 1.0 and True are equal
    assert type(found.metadata) is FrozenDict
    assert [type(v) for v in found.metadata.values()] == [type(v) for v in built.metadata.values()]
    assert found.at.tzinfo is UTC


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(st.text(), json_values, max_size=3)
parts = st.one_of(
    st.builds(ContentPart, st.just("text"), st.text()),
    st.builds(ContentPart, st.just("image_url"), image_url=maps),
    st.builds(ContentPart, st.just("file"), st.none() | st.text(), file=maps),
)
messages = st.builds(
    Message,
    role=st.sampled_from(sorted(ROLES)),
    content=st.text() | st.lists(parts, max_size=3).map(tuple),
    attachments=st.none()
    | st.lists(
        st.builds(Attachment, st.just("file"), url=st.text(), name=st.text()), max_size=2
    ).map(tuple),
    tool_call_id=st.none() | st.text(),
    tool_calls=st.none()
    | st.lists(
        st.builds(ToolCall, st.text(), st.builds(ToolCallFunction, st.text(), st.text())),
        max_size=2,
    ).map(tuple),
    message_id=st.text(),
    timestamp=st.none() | st.datetimes(timezones=st.just(UTC)),
    metadata=maps,
)


@given(messages)
def test_any_message_comes_back_equal(message: Message) -> None:
    assert read(encode(message)) == message
    assert encode(decode(encode(message))) == encode(message)
    assert Message(**to_json(message)) == message
    assert body(decode(encode(message))) == body(message)


@given(st.binary() | st.text())
def test_any_bytes_are_a_message_or_refused(data: bytes | str) -> None:
    try:
        found = read(data.encode(errors="replace") if isinstance(data, str) else data)
    except InvalidMessage:
        return
    assert found.role in ROLES


@given(st.lists(messages, max_size=8), st.integers(1, 40))
def test_many_come_back_in_order(some: list[Message], times: int) -> None:
    assert decode_all([encode(message) for message in some * times]) == some * times


def test_one_that_is_cut_in_two_is_two_damages() -> None:
    whole = encode(USUAL)
    cut = [whole, whole[:20], whole[20:], whole]
    found = decode_all(cut)
    assert [type(one) for one in found] == [Message, InvalidMessage, InvalidMessage, Message]
    assert [type(one) for one in decode_all([b"%b,%b" % (whole, whole)])] == [InvalidMessage]
    two_as_one = decode_all([b"%b,%b" % (whole, whole[:-1]), b"}"])
    assert [type(one) for one in two_as_one] == [InvalidMessage, InvalidMessage]


# ---- body ----------------------------------------------------------------------------------------


def test_id_and_timestamp_are_not_of_the_body() -> None:
    assert body(Message("user", "x", message_id="a")) == body(Message("user", "x", message_id="b"))
    later = datetime(2030, 1, 1, tzinfo=UTC)
    assert body(Message("user", "x")) == body(Message("user", "x", timestamp=later))


@pytest.mark.parametrize(
    "change",
    [
        {"role": "system"},
        {"content": "other"},
        {"attachments": None},
        {"tool_call_id": "other"},
        {"tool_calls": None},
        {"metadata": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_is_of_the_body(change: dict[str, Any]) -> None:
    assert body(Message(**{**to_json(FULL), **change})) != body(FULL)


# ---- units ---------------------------------------------------------------------------------------


def _conversation(text: str) -> list[Message]:
    """Build messages from words: ``u``, ``a``, ``s``; ``a:x,y`` calls x and y; ``t:x`` answers x."""
    made = []
    for word in text.split():
        kind, _, ids = word.partition(":")
        if kind == "a" and ids:
            calls = tuple(ToolCall(i, ToolCallFunction("f")) for i in ids.split(","))
            made.append(Message("assistant", tool_calls=calls))
        elif kind == "t":
            made.append(Message("tool", "r", tool_call_id=ids or None))
        else:
            made.append(Message({"u": "user", "a": "assistant", "s": "system"}[kind], "x"))  # type: ignore[arg-type]
    return made


UNITS: dict[str, tuple[str, str]] = {
    "nothing": ("", ""),
    "plain messages": ("s u a u", "0 1 2 3"),
    "a call and its result": ("u a:x t:x a", "0 1,2 3"),
    "parallel calls": ("u a:x,y t:x t:y a", "0 1,2,3 4"),
    "parallel calls in another order": ("u a:x,y t:y t:x a", "0 1,2,3 4"),
    "an open call at the end": ("u a:x", "0 1*"),
    "half answered": ("u a:x,y t:y", "0 1,2*"),
    "closed by a later user message": ("u a:x,y t:y u", "0 1,2 3"),
    "a late result joins": ("u a:x u t:x", "0 1,3 2"),
    "an assistant message does not close": ("u a:x a", "0 1* 2"),
    "a system message does not close": ("u a:x s", "0 1* 2"),
    "two calls in a row": ("a:x t:x a:y t:y", "0,1 2,3"),
    "interleaved": ("a:x a:y t:x t:y", "0,2 1,3"),
    "an id used again belongs to the latest": ("a:x t:x a:x t:x", "0,1 2,3"),
    "an id used again before it was answered": ("a:x a:x t:x t:x", "0,3 1,2"),
    "one message that calls an id twice": ("a:x,x t:x t:x", "0,1,2"),
    "one message that calls an id twice, answered once": ("a:x,x t:x", "0,1*"),
    "a result that answers nothing": ("u t:z a", "0 1 2"),
    "a result before its call": ("t:x a:x", "0 1*"),
    "a second result": ("a:x t:x t:x", "0,1 2"),
    "a result without an id": ("a:x t", "0* 1"),
}


@pytest.mark.parametrize(("text", "expected"), UNITS.values(), ids=UNITS)
def test_units_of(text: str, expected: str) -> None:
    assert units(_conversation(text)) == [
        Unit(tuple(int(n) for n in word.strip("*").split(",")), word.endswith("*"))
        for word in expected.split()
    ]


def test_only_an_assistant_calls() -> None:
    made = [
        Message("user", "x", tool_calls=(CALL,)),
        Message("tool", "r", tool_call_id="call-1"),
    ]
    assert units(made) == [Unit((0,)), Unit((1,))]


words = st.sampled_from(["u", "a", "s", "t", "a:x", "a:y", "a:x,y", "a:x,x", "t:x", "t:y", "t:z"])


@given(st.lists(words, max_size=12))
def test_every_message_is_in_one_unit(chosen: list[str]) -> None:
    made = _conversation(" ".join(chosen))
    found = units(made)
    assert sorted(p for unit in found for p in unit.positions) == list(range(len(made)))
    assert [unit.positions[0] for unit in found] == sorted(unit.positions[0] for unit in found)
    for unit in found:
        assert list(unit.positions) == sorted(unit.positions)
        first, *rest = (made[p] for p in unit.positions)
        assert all(message.role == "tool" for message in rest)
        if rest:
            assert first.role == "assistant"
        users = [p for p, m in enumerate(made) if m.role == "user" and p > unit.positions[0]]
        asked = [call.id for call in first.tool_calls or ()] if first.role == "assistant" else []
        answered = [message.tool_call_id for message in rest]
        assert unit.open == (sorted(asked) != sorted(map(str, answered)) and not users)


@given(st.lists(words, max_size=12), st.lists(words, max_size=6))
def test_more_messages_never_take_a_unit_apart(first: list[str], more: list[str]) -> None:
    before = units(_conversation(" ".join(first)))
    after = {unit.positions[0]: unit for unit in units(_conversation(" ".join(first + more)))}
    for unit in before:
        grown = after[unit.positions[0]]
        assert grown.positions[: len(unit.positions)] == unit.positions
        if not unit.open:
            assert grown.open is False


# ---- seed 004's plain form -----------------------------------------------------------------------


def test_the_plain_form_of_seed_004_gives_an_equal_message_back() -> None:
    messages = [
        Message("user", "a", metadata={"x": {"y": [1, None]}}),
        Message("assistant", "", tool_calls=[{"id": "t", "function": {"name": "look"}}]),  # type: ignore[arg-type]
        Message("tool", "42", tool_call_id="t", message_id="m-1"),
        Message("user", [{"type": "image_url", "image_url": {"url": "x"}}]),  # type: ignore[arg-type]
        Message("user", "a", attachments=[{"kind": "file", "data": "aGk=", "name": "n"}]),  # type: ignore[arg-type]
    ]
    for message in messages:
        plain = message.dict()
        assert Message(**json.loads(json.dumps(plain))) == message
        assert {"role", "content", "message_id"} <= set(plain)


def test_a_role_prints_as_a_bare_word() -> None:
    class ContentRole(str, enum.Enum):  # noqa: UP042  # as the original has it
        USER = "user"

    message = Message(role=ContentRole.USER, content="a")  # type: ignore[arg-type]
    assert f"{message.role}: {message.content}" == "user: a"
