# ruff: noqa: D102 - the name of a test is its sentence
"""Contents: whatever a message may hold comes back exactly."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.messages import Attachment, ContentPart, Message, ToolCall, ToolCallFunction
from recollect.stores.base import Store
from recollect.stores.records import NewRecord
from recollect.testing.promises.building import (
    HERE,
    HOSTILE,
    NAMESPACE,
    head_of,
    loaded,
    say,
    state_of,
    texts,
)

hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)

MESSAGES: dict[str, Message] = {
    "plain": Message("user", "hello"),
    "empty": Message("assistant", ""),
    "system": Message("system", "be kind"),
    "tool result": Message("tool", '{"temp": 20}', tool_call_id="call-1"),
    "tool calls": Message(
        "assistant",
        "",
        tool_calls=(
            ToolCall("call-1", ToolCallFunction("weather", '{"city":  "K\u00f6ln"}')),
            ToolCall("call-2", ToolCallFunction("time", "not { json"), type="custom"),
        ),
    ),
    "typed parts": Message(
        "user",
        (
            ContentPart("text", "look:"),
            ContentPart("image_url", image_url={"url": "http://x/y.png", "detail": "low"}),
            ContentPart("file", file={"file_id": "f-1", "nested": {"a": [1, None, True]}}),
        ),
    ),
    "no parts": Message("user", ()),
    "attachments": Message(
        "user",
        "see",
        (
            Attachment("image", "image/png", "a.png", url="http://x/a.png"),
            Attachment("document", data="aGVsbG8=", format="base64"),
        ),
    ),
    "no attachments, no calls": Message("assistant", "x", (), tool_calls=()),
    "given id and time": Message(
        "user", "x", message_id="m-1", timestamp=datetime(1999, 12, 31, 23, 59, 59, 999999, UTC)
    ),
    "time of another zone": Message(
        "user", "x", timestamp=datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=9)))
    ),
}

VALUES: dict[str, Any] = {
    "nested": {"a": {"b": {"c": [1, [2, [3, {}]], []]}}},
    "numbers": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 0.1, -0.0, 1e300, 5e-324],
    "truth": [True, False, None],
    "empty": ["", {}, []],
    "odd names": {"": 1, " ": 2, "a.b": 3, "$": 4, "\u00e9": 5, "\x00": 6, "__proto__": 7},
    "like JSON": '{"a": 1}',
    "deep": [[[[[[[[[["bottom"]]]]]]]]]],
}


class Contents:
    """Messages and metadata come back as they were given."""

    @hostile
    async def test_hostile_text_comes_back_exactly(self, store: Store, text: str) -> None:
        await store.append(HERE, say(text, text + text))
        assert texts(await store.load(HERE)) == [text, text + text]

    @hostile
    async def test_hostile_text_comes_back_from_the_archive(self, store: Store, text: str) -> None:
        await store.append(HERE, say(text))
        await store.replace(HERE, say("x"), archive_as="old")
        assert texts(await store.load(HERE, source="archive")) == [text]

    @hostile
    async def test_hostile_text_comes_back_from_every_part_of_a_message(
        self, store: Store, text: str
    ) -> None:
        message = Message(
            "assistant",
            (ContentPart("text", text), ContentPart("file", file={text: text})),
            (Attachment("file", text, text, url=text, data=text, format=text),),
            tool_call_id=text,
            tool_calls=(ToolCall(text, ToolCallFunction(text, text), text),),
            message_id=text,
            metadata={text: {text: [text]}},
        )
        await store.append(HERE, [NewRecord(message)])
        assert (await loaded(store)).messages == (message,)

    @hostile
    async def test_hostile_metadata_come_back_exactly(self, store: Store, text: str) -> None:
        await store.append(HERE, [], metadata={text: text, "x": {text: [text]}})
        assert (await loaded(store)).decoded_metadata() == {text: text, "x": {text: [text]}}
        await store.annotate(HERE, {text: None})
        assert (await loaded(store)).decoded_metadata() == {"x": {text: [text]}}

    @pytest.mark.parametrize("text", [t for n, t in HOSTILE.items()], ids=HOSTILE)
    async def test_a_hostile_label_keeps_its_batch(self, store: Store, text: str) -> None:
        await store.append(HERE, say("a", "b"))
        await store.fold(HERE, [1], archive_as=text)
        await store.fold(HERE, [2], archive_as="other")
        archive = await store.load(HERE, source="archive", batch=text)
        assert texts(archive) == ["a"]
        assert archive is not None
        assert archive.records[0].batch == text

    @pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
    async def test_a_message_comes_back_equal(self, store: Store, message: Message) -> None:
        await store.append(HERE, [NewRecord(message, 3)])
        live = (await loaded(store)).messages[0]
        assert live == message
        assert (live.message_id, live.timestamp) == (message.message_id, message.timestamp)
        await store.replace(HERE, [], archive_as="old")
        _, archive = await state_of(store)
        assert archive is not None
        assert archive.messages == (message,)

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    async def test_message_metadata_come_back_equal(self, store: Store, value: Any) -> None:
        message = Message("user", "x", metadata={"value": value})
        await store.append(HERE, [NewRecord(message)])
        found = (await loaded(store)).messages[0]
        assert found == message
        assert repr(found.metadata["value"]) == repr(value)

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    async def test_conversation_metadata_come_back_equal(self, store: Store, value: Any) -> None:
        await store.append(HERE, [], metadata={"value": value, **_as_names(value)})
        found = (await loaded(store)).decoded_metadata()
        assert found == {"value": value, **_as_names(value)}

    async def test_a_megabyte_comes_back_exactly(self, store: Store) -> None:
        text = ("0123456789abcde\u20ac" * 70_000)[
            : (store.call_limits.message_bytes - 200) * 7 // 8
        ]
        await store.append(HERE, say("before", text, "after"))
        assert texts(await store.load(HERE)) == ["before", text, "after"]

    async def test_thousands_of_messages_come_back_in_order(self, store: Store) -> None:
        for start in range(0, 3000, 1000):
            await store.append(HERE, say(*map(str, range(start, start + 1000))))
        assert texts(await store.load(HERE)) == [str(n) for n in range(3000)]
        assert texts(await store.load(HERE, last=3)) == ["2997", "2998", "2999"]

    async def test_large_token_counts_are_exact(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", tokens=2**40))
        assert (await head_of(store)).token_count == 2**41
        assert (await store.measure(NAMESPACE)).tokens == 2**41

    @pytest.mark.parametrize(
        "moment",
        [
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
            datetime(2038, 1, 19, 3, 14, 8, 1, UTC),
            datetime(2199, 12, 31, 23, 59, 59, 999999, UTC),
        ],
        ids=["the epoch", "a change to summer time", "beyond 32 bits", "far away"],
    )
    async def test_times_are_exact_to_the_microsecond(
        self, store: Store, clock: ManualClock, moment: datetime
    ) -> None:
        clock.advance(moment - clock.now())
        await store.append(HERE, say("a"), ttl=timedelta(microseconds=123_457))
        found = await loaded(store)
        assert found.head.created_at == found.head.updated_at == moment
        assert found.head.expires_at == moment + timedelta(microseconds=123_457)
        assert found.records[0].stored_at == moment
        assert found.head.created_at.utcoffset() == timedelta(0)
        assert found.records[0].stored_at.utcoffset() == timedelta(0)


def _as_names(value: Any) -> dict[str, Any]:
    return {f"_{name}": item for name, item in value.items()} if isinstance(value, dict) else {}
