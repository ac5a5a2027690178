"""From payloads of every shape to messages."""

from datetime import UTC, datetime, timedelta

import pytest

from recollect.errors import InvalidMessage
from recollect.memory.payload import messages_of
from recollect.messages import ToolCall, ToolCallFunction

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_mapping_is_one_message() -> None:
    (message,) = messages_of({"role": "assistant", "content": "Hi", "metadata": {"a": 1}}, NOW)
    assert (message.role, message.content, message.metadata) == ("assistant", "Hi", {"a": 1})


def test_the_default_role_is_user() -> None:
    assert [m.role for m in messages_of(["a", {"content": "b"}], NOW)] == ["user", "user"]


def test_a_list_keeps_its_order() -> None:
    messages = messages_of([{"content": str(i)} for i in range(5)], NOW)
    assert [m.content for m in messages] == ["0", "1", "2", "3", "4"]


def test_a_message_without_a_timestamp_gets_the_time_of_its_rendering() -> None:
    assert messages_of("x", NOW)[0].timestamp == NOW


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31 12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T14:00:00+02:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (
            "2026-11-20 17:08:22.098055919 +0000 UTC m=+0.002127057",
            datetime(2026, 11, 20, 17, 8, 22, 98055, tzinfo=UTC),
        ),
        (1700000000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("", NOW),
    ],
)
def test_timestamps_come_in_many_forms(given: object, meant: datetime) -> None:
    """Row 34 of specs/memory.md section 13."""
    (message,) = messages_of({"content": "x", "timestamp": given}, NOW)
    assert message.timestamp is not None
    assert abs(message.timestamp - meant) < timedelta(microseconds=1)


def test_a_mapping_without_message_fields_is_kept_as_json() -> None:
    (message,) = messages_of({"user_id": 7, "preferences": {"b": 1, "a": 2}}, NOW)
    assert message.content == '{"preferences":{"a":2,"b":1},"user_id":7}'
    assert message.metadata == {"structured": True}


def test_a_content_that_a_template_made_a_list_of_is_kept_as_json() -> None:
    (message,) = messages_of({"content": [1, {"b": 2}]}, NOW)
    assert message.content == '[1,{"b":2}]'


def test_typed_parts_stay_typed() -> None:
    (message,) = messages_of({"content": [{"type": "text", "text": "Hi"}]}, NOW)
    assert message.text == "Hi"
    assert not isinstance(message.content, str)


def test_an_assistant_message_with_tool_calls_needs_no_content() -> None:
    call = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
    (message,) = messages_of({"role": "assistant", "tool_calls": [call]}, NOW)
    assert message.tool_calls == (ToolCall("c1", ToolCallFunction("f", "{}")),)


def test_json_text_stays_text() -> None:
    assert messages_of({"content": "[1,2]"}, NOW)[0].content == "[1,2]"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (None, "payload is missing"),
        (5, "payload is a number"),
        (True, "payload is true or false"),
        ([], "messages cannot be empty"),
        ("", "payload: content is empty"),
        ({}, "payload is empty"),
        ({"role": "user"}, "payload: content is empty or missing"),
        ({"role": "user", "content": ""}, "payload: content is empty or missing"),
        ({"role": "king", "content": "x"}, "user, assistant, system, tool"),
        ({"role": ["user"], "content": "x"}, "payload: role is"),
        (["ok", {"role": "king", "content": "x"}], r"message\[1\]: role"),
        (["ok", 7], r"message\[1\] is a number"),
        ([["x"]], r"message\[0\] is a list"),
        ({"content": "x", "metadata": "y"}, "metadata is a text"),
        ({"content": "x", "metadata": {1: 2}}, "a key of type int"),
        ({"content": "x", "colour": "red"}, "unknown fields: colour"),
        ({"content": "x", "timestamp": "yesterday"}, "timestamp is not a time"),
        ({"content": "x", "timestamp": -5}, "timestamp is out of range"),
        ({"content": "x", "timestamp": True}, "timestamp is true or false"),
        ({"content": "x", "timestamp": ["y"]}, "timestamp is a list"),
        ({"content": "x", "tool_calls": "f"}, "tool_calls is a str"),
        ({"content": "\ud800"}, "lone surrogate"),
        ({"content": {1, 2}}, "nothing that JSON can hold"),
    ],
)
def test_a_wrong_shape_is_refused_and_named(payload: object, says: str) -> None:
    with pytest.raises(InvalidMessage, match=says):
        messages_of(payload, NOW)


def test_no_refusal_quotes_the_content() -> None:
    secret = "my secret text"
    for payload in ({"content": secret, "x": 1}, {"content": secret, "role": 5}, [secret, None]):
        with pytest.raises(InvalidMessage) as refused:
            messages_of(payload, NOW)
        assert secret not in str(refused.value)
