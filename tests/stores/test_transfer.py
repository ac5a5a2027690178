"""Export and import: what goes into a file comes out of it, on every backend, whatever happens."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from recollect.clock import ManualClock, SystemClock
from recollect.errors import InvalidInput, VersionConflict
from recollect.memory.data.copying import MARK
from recollect.memory.data.export_format import Kept, Line, Trailer, Writer
from recollect.memory.data.transfer import Imported, export, export_file, import_file
from recollect.messages import Message, ToolCall, ToolCallFunction, to_json
from recollect.stores.base import Store
from recollect.stores.factory import make_store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import (
    CallLimits,
    Conversation,
    ConversationId,
    NewRecord,
    Slice,
)
from tests.servers.redis_server import RedisServer
from tests.stores.backends import BACKENDS, Make

pytest_plugins = [
    "tests.servers.postgres_server",
    "tests.servers.redis_fixtures",
    "tests.stores.backend_fixtures",
]

HERE, ELSEWHERE = "acme/chat", "acme/notes"
START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def say(text: str, role: Any = "user", **fields: Any) -> NewRecord:
    return NewRecord(Message(role, text, **fields), 3)


CALL = ToolCall("call_1", ToolCallFunction("search", '{"q": "ü"}'))
TALK = [
    say("hello \0 wörld 😀"),
    say("", "assistant", tool_calls=[CALL], metadata={"n": [1, 2.5, None, {"ä": True}]}),
    say("found", "tool", tool_call_id="call_1"),
    say("parts", attachments=[{"kind": "image", "url": "https://x/y.png"}]),
]


async def filled(store: Store, clock: ManualClock) -> None:
    """Put every kind of conversation into a store."""
    first = ConversationId(HERE, "talk: 1 {x} 😀")
    await store.append(first, TALK, owner="ann", metadata={"topic": "ü", "rich": {"a": [1]}})
    clock.advance(HOUR)
    await store.append(first, [say("a"), say("b"), say("c")], owner="ann", ttl=9 * HOUR)
    await store.fold(first, [1, 2, 3], [say("summary", "system")], archive_as="summary:1")
    await store.fold(first, [4], archive_as="flush")
    await store.replace(
        first, [say("new"), say("newer")], owner="ann", archive_as="write", ttl=HOUR
    )
    clock.advance(HOUR / 2)
    await store.append(ConversationId(HERE, "empty"), [], owner="bob", metadata={"only": "this"})
    await store.append(ConversationId(HERE, "cleared"), [say("gone")])
    await store.replace(ConversationId(HERE, "cleared"), [], archive_as="clear")
    await store.append(ConversationId(ELSEWHERE, "note"), [say("remember")], owner="ann")


def shown(found: Conversation) -> Any:
    """What an import has to keep of a conversation."""
    head = found.head
    return (
        (head.owner, head.message_count, head.token_count, head.archived_count),
        (head.created_at, head.updated_at, head.expires_at),
        found.decoded_metadata(),
        [(r.batch, r.tokens, to_json(r.message)) for r in found.records],
    )


async def contents(store: Store, *namespaces: str) -> dict[str, Any]:
    found = {}
    for namespace in namespaces or (HERE, ELSEWHERE):
        for head in (await store.find(namespace, order="created", limit=1000)).heads:
            live = await store.load(head.conversation)
            archive = await store.load(head.conversation, source="archive")
            assert live is not None
            assert archive is not None
            name = f"{namespace}:{head.conversation.id}"
            found[name] = (shown(live), shown(archive))
    return found


async def exported(store: Store, path: Path, **options: Any) -> Path:
    await export_file(store, path, [HERE, ELSEWHERE], **options)
    return path


# ---- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", BACKENDS)
@pytest.mark.parametrize("source", BACKENDS)
async def test_what_one_backend_exports_every_backend_imports(
    source: str, target: str, make: Make, folder: Path
) -> None:
    clock = ManualClock(START)
    async with make(source, clock=clock) as first, make(target, clock=clock) as second:
        await filled(first, clock)
        path = await exported(first, folder / "all.jsonl")
        clock.advance(timedelta(minutes=10))
        done = await import_file(second, path)
        before, after = await contents(first), await contents(second)
        assert after == before
        assert len(after) == 4
        assert done == Imported(stored=4, messages=3, archived=9)
        # what follows an import is as it would have been: places are given on, heads agree
        written = await second.append(ConversationId(ELSEWHERE, "note"), [say("more")])
        found = await second.load(ConversationId(ELSEWHERE, "note"))
        assert found is not None
        assert found.head == written.head
        assert [m.text for m in found.messages] == ["remember", "more"]


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_second_import_changes_nothing(backend: str, make: Make, folder: Path) -> None:
    clock = ManualClock(START)
    async with make(backend, clock=clock) as store, make("memory", clock=clock) as source:
        await filled(source, clock)
        path = await exported(source, folder / "all.jsonl")
        await import_file(store, path)
        before = [head for ns in (HERE, ELSEWHERE) for head in (await store.find(ns)).heads]
        assert await import_file(store, path) == Imported(present=4)
        after = [head for ns in (HERE, ELSEWHERE) for head in (await store.find(ns)).heads]
        assert after == before


@pytest.mark.parametrize("backend", BACKENDS)
async def test_what_is_there_with_another_content_is_left(
    backend: str, make: Make, folder: Path
) -> None:
    clock = ManualClock(START)
    async with make(backend, clock=clock) as store, make("memory", clock=clock) as source:
        await filled(source, clock)
        path = await exported(source, folder / "all.jsonl")
        await store.append(ConversationId(ELSEWHERE, "note"), [say("of my own")])
        assert (await import_file(store, path)).kept == 1
        found = await store.load(ConversationId(ELSEWHERE, "note"))
        assert found is not None
        assert [m.text for m in found.messages] == ["of my own"]


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_dry_run_says_what_would_be_and_stores_nothing(
    backend: str, make: Make, folder: Path
) -> None:
    clock = ManualClock(START)
    async with make(backend, clock=clock) as store, make("memory", clock=clock) as source:
        await filled(source, clock)
        path = await exported(source, folder / "all.jsonl")
        done = await import_file(store, path, dry_run=True)
        assert done == Imported(stored=4, messages=3, archived=9)
        assert await contents(store) == {}


async def test_one_users_conversations_are_exported_alone(make: Make, folder: Path) -> None:
    clock = ManualClock(START)
    async with make("sqlite", clock=clock) as store, make("memory", clock=clock) as target:
        await filled(store, clock)
        path = await exported(store, folder / "ann.jsonl", owner="ann")
        assert (await import_file(target, path)).stored == 2
        assert set(await contents(target)) == {
            f"{HERE}:talk: 1 {{x}} 😀",
            f"{ELSEWHERE}:note",
        }
        assert "bob" not in path.read_text()


async def test_namespaces_can_be_given_other_names(make: Make, folder: Path) -> None:
    clock = ManualClock(START)
    async with make("memory", clock=clock) as source, make("sqlite", clock=clock) as target:
        await filled(source, clock)
        path = await exported(source, folder / "all.jsonl")
        await import_file(target, path, namespaces={HERE: "other/chat"})
        assert len(await contents(target, "other/chat")) == 3
        assert await contents(target, HERE) == {}


@pytest.mark.parametrize("backend", BACKENDS)
async def test_what_has_expired_is_not_brought_back(backend: str, make: Make, folder: Path) -> None:
    clock = ManualClock(START)
    async with make(backend, clock=clock) as store, make("memory", clock=clock) as source:
        await filled(source, clock)
        path = await exported(source, folder / "all.jsonl")
        clock.advance(HOUR)
        assert (await import_file(store, path)).expired == 1
        assert len(await contents(store)) == 3


@pytest.mark.parametrize("backend", BACKENDS)
async def test_an_import_takes_the_place_of_what_has_expired_there(
    backend: str, make: Make, folder: Path
) -> None:
    clock = ManualClock(START)
    note = ConversationId(ELSEWHERE, "note")
    async with make(backend, clock=clock) as store, make("memory", clock=clock) as source:
        await filled(source, clock)
        path = await exported(source, folder / "all.jsonl")
        # it lived when the note was made, and is gone now
        await store.append(note, [say("old")], ttl=HOUR / 4)
        clock.advance(HOUR / 4)
        assert (await import_file(store, path)).stored == 4
        found = await store.load(note)
        assert found is not None
        assert [m.text for m in found.messages] == ["remember"]


# ---- long ones -----------------------------------------------------------------------------------


class Watched(InMemoryStore):
    """Knows how many messages were in memory at once for one call."""

    most = 0

    @override
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        found = await super()._load(conversation, part, now)
        self.most = max(self.most, len(found.records) if found else 0)
        return found


async def test_a_long_conversation_is_never_in_memory_whole(folder: Path) -> None:
    store, target = Watched(), Watched()
    long = ConversationId(HERE, "long")
    for start in range(0, 20_000, 500):
        await store.append(long, [say(f"m{n}") for n in range(start, start + 500)])
    await store.fold(long, range(1, 5001), archive_as="old")
    path = await exported(store, folder / "long.jsonl")
    assert store.most <= 1000
    assert await import_file(target, path) == Imported(stored=1, messages=15_000, archived=5_000)
    live = await target.load(long)
    assert live is not None
    assert [m.text for m in live.messages] == [f"m{n}" for n in range(5000, 20_000)]


async def test_small_call_limits_of_the_target_are_kept(make: Make, folder: Path) -> None:
    limits = CallLimits(call_messages=2, call_bytes=700)
    clock = ManualClock(START)
    async with (
        make("memory", clock=clock) as source,
        make("sqlite", clock=clock, call_limits=limits) as target,
    ):
        await filled(source, clock)
        path = await exported(source, folder / "all.jsonl")
        await import_file(target, path)
        assert await contents(target) == await contents(source)
        small = CallLimits(message_bytes=100)
        async with make("memory", clock=clock, call_limits=small) as tiny:
            with pytest.raises(InvalidInput, match="longer than 100 bytes"):
                await import_file(tiny, path)
            assert await contents(tiny) == {}


# ---- while others write --------------------------------------------------------------------------


class Disturbed(InMemoryStore):
    """Lets something happen before the third page that is read."""

    def __init__(self, disturb: Callable[["Disturbed"], Any], clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.disturb: Callable[[Disturbed], Any] | None = disturb
        self.loads = 0

    @override
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        self.loads += 1
        if self.loads == 3 and self.disturb:
            await self.disturb(self)
        return await super()._load(conversation, part, now)


LONG = ConversationId(HERE, "long")
DISTURBANCES: dict[str, tuple[Callable[[Store], Any], list[str]]] = {
    "append": (
        lambda store: store.append(LONG, [say("late")]),
        [f"m{n}" for n in range(200)],
    ),
    "flush": (
        lambda store: store.fold(LONG, range(1, 101), archive_as="old"),
        [f"m{n}" for n in range(100, 200)],
    ),
    "clear": (lambda store: store.replace(LONG, []), []),
    "rewrite": (
        lambda store: store.fold(LONG, range(1, 3), [say("x"), say("y")]),
        ["x", "y", *(f"m{n}" for n in range(2, 200))],
    ),
    "replace": (
        lambda store: store.replace(LONG, [say(f"w{n}") for n in range(200)]),
        [f"w{n}" for n in range(200)],
    ),
}


@pytest.mark.parametrize("name", DISTURBANCES)
async def test_an_export_shows_a_conversation_as_of_one_moment(name: str, folder: Path) -> None:
    disturb, expected = DISTURBANCES[name]
    clock = ManualClock(START)
    store = Disturbed(disturb, clock)
    await store.append(LONG, [say(f"m{n}") for n in range(200)])
    clock.advance(HOUR)
    path = await exported(store, folder / "all.jsonl")
    target = InMemoryStore(clock=clock)
    done = await import_file(target, path)
    assert done.stored == 1
    found = await target.load(LONG)
    assert found is not None
    assert [m.text for m in found.messages] == expected
    assert found.head.archived_count == (100 if name == "flush" else 0)


async def test_what_is_deleted_meanwhile_is_not_in_the_file(folder: Path) -> None:
    store = Disturbed(lambda store: store.delete(LONG), ManualClock(START))
    await store.append(LONG, [say(f"m{n}") for n in range(200)])
    path = await exported(store, folder / "all.jsonl")
    assert await import_file(InMemoryStore(), path) == Imported()


async def test_an_import_does_not_mix_with_what_others_write(folder: Path) -> None:
    source = InMemoryStore()
    await source.append(LONG, [say(f"m{n}") for n in range(700)])
    path = await exported(source, folder / "all.jsonl")

    class Busy(InMemoryStore):
        @override
        async def _append(self, change: Any) -> Any:
            if change.key is not None:
                await self.append(LONG, [say("in between")])
            return await super()._append(change)

    with pytest.raises(VersionConflict, match="being imported"):
        await import_file(Busy(), path)


# ---- interrupted ---------------------------------------------------------------------------------

IMPORT = """
import asyncio, os, signal, sys
from pathlib import Path
from recollect.memory.data.transfer import import_file
from recollect.stores.factory import make_store

writes = 0

def dying(inner, kill_at):
    async def primitive(change):
        global writes
        result = await inner(change)
        writes += 1
        if writes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return primitive

async def main(url, path, here, elsewhere, kill_at):
    store = make_store(url, folder=Path())
    for name in ("_append", "_replace", "_annotate"):
        setattr(store, name, dying(getattr(store, name), int(kill_at)))
    async with store:
        names = {"acme/chat": here, "acme/notes": elsewhere}
        await import_file(store, Path(path), namespaces=names)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("backend", ["sqlite", "redis", "postgres"])
async def test_a_killed_import_is_finished_by_the_next_and_doubles_nothing(
    backend: str, folder: Path, redis_server: RedisServer, postgres_url: str
) -> None:
    clock = ManualClock(SystemClock().now() - 1.6 * HOUR)  # the process that dies has the real one
    source = InMemoryStore(clock=clock)
    await filled(source, clock)
    await source.append(LONG, [say(f"m{n}") for n in range(900)])
    await source.append(LONG, [say(f"m{n}") for n in range(900, 1800)])
    await source.fold(LONG, range(1, 1201), archive_as="old")
    path = await exported(source, folder / "all.jsonl")
    expected = [found for _, found in sorted((await contents(source)).items())]
    urls = {"sqlite": f"sqlite:///{folder}/kill.db", "redis": redis_server.url}
    url = urls.get(backend, postgres_url)
    kill_at = 0
    killed = True
    while killed:  # after every write there is, each time in namespaces of its own
        kill_at += 1
        names = {name: f"{name}/{kill_at}" for name in (HERE, ELSEWHERE)}
        command = [sys.executable, "-c", IMPORT, url, str(path), *names.values(), str(kill_at)]
        code = subprocess.run(command, check=False).returncode
        assert code in {0, -signal.SIGKILL}
        killed = code != 0
        async with make_store(url, folder=folder, clock=clock) as store:
            again = await import_file(store, path, namespaces=names)
            assert again.kept == 0
            assert killed or again.stored == 0
            found = await contents(store, *names.values())
            assert [one for _, one in sorted(found.items())] == expected
    assert kill_at > 12


async def test_half_an_import_cannot_be_exported(folder: Path) -> None:
    store = InMemoryStore()
    await store.append(LONG, [say("x")], metadata={MARK: {"of": "…", "done": 1}})
    with pytest.raises(InvalidInput, match="finish that import"):
        await exported(store, folder / "all.jsonl")
    assert not any(os.scandir(folder))


# ---- bad files -----------------------------------------------------------------------------------


async def good_lines(folder: Path) -> list[str]:
    clock = ManualClock(START)
    store = InMemoryStore(clock=clock)
    await filled(store, clock)
    path = await exported(store, folder / "good.jsonl")
    return path.read_text().splitlines(keepends=True)


async def refused(lines: list[str] | str | bytes, folder: Path, match: str) -> None:
    path = folder / "bad.jsonl"
    text = "".join(lines) if isinstance(lines, list) else lines
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    store = InMemoryStore(clock=ManualClock(START))
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match=match):
            await import_file(store, path, dry_run=dry_run)
    assert await contents(store) == {}


async def test_a_file_cut_anywhere_is_refused_and_nothing_is_stored(folder: Path) -> None:
    lines = await good_lines(folder)
    for count in range(1, len(lines)):
        await refused(lines[:count], folder, match=f"bad.jsonl:{count + 1}: the file was cut")
    data = "".join(lines).encode()
    for end in range(0, len(data) - 1, 97):
        await refused(data[:end], folder, match="was cut")


async def test_a_changed_byte_is_found_wherever_it_is(folder: Path) -> None:
    data = bytearray("".join(await good_lines(folder)).encode())
    for place in range(5, len(data), 61):
        changed = bytearray(data)
        changed[place] ^= 1
        await refused(bytes(changed), folder, match=r"bad.jsonl:\d+: ")


def record_of(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)["record"]
    return found


async def test_missing_doubled_and_exchanged_lines_are_found(folder: Path) -> None:
    lines = await good_lines(folder)
    for place in range(len(lines) - 1):
        await refused(lines[:place] + lines[place + 1 :], folder, match=r"bad.jsonl:\d+: ")
        await refused(lines[: place + 1] + lines[place:], folder, match=r"bad.jsonl:\d+: ")
        swapped = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
        await refused(swapped, folder, match=r"bad.jsonl:\d+: ")
    await refused([*lines, lines[-1]], folder, match="follows")


async def test_conversations_that_changed_places_are_found(folder: Path) -> None:
    store = InMemoryStore(clock=ManualClock(START))
    for name in ("a", "b"):
        await store.append(ConversationId(HERE, name), [say(name)])
    path = await exported(store, folder / "good.jsonl")
    head, *lines, trailer = path.read_text().splitlines(keepends=True)
    await refused([head, *lines[3:], *lines[:3], trailer], folder, match="in another order")


async def test_a_conversation_that_is_not_what_its_end_says_is_found(folder: Path) -> None:
    """Even where every line and the file as a whole are as somebody wrote them."""
    lines = await good_lines(folder)
    records = [msgspec.json.decode(json.dumps(record_of(line)), type=Line) for line in lines]
    place = next(n for n, record in enumerate(records) if isinstance(record, Kept))
    for changed in (
        records[:place] + records[place + 1 :],
        [*records[: place + 1], *records[place:]],
        [*records[:place], Kept(9, 9, START, msgspec.Raw(b'{"role":"user"}')), *records[place:]],
    ):
        writer = Writer()
        text = b"".join(writer.line(record) for record in changed[:-1])
        trailer = records[-1]
        assert isinstance(trailer, Trailer)
        text += writer.line(msgspec.structs.replace(trailer, digest=writer.digest))
        await refused(text, folder, match=r"not what was exported|in order|behind a live")


async def test_another_file_and_a_newer_version_are_refused(folder: Path) -> None:
    await refused('{"conversations": []}\n', folder, match="1: this is not a line of an export")
    lines = await good_lines(folder)
    record = json.dumps(record_of(lines[0]) | {"version": 2})
    sum_ = hashlib.sha256(record.encode()).hexdigest()
    newer = f'{{"sha256": "{sum_}", "record": {record}}}\n'
    await refused([newer, *lines[1:]], folder, match="version 2, and this Recollect reads up to 1")
    await refused(lines[1:], folder, match="1: this is not a file that")


async def test_an_export_overwrites_nothing(folder: Path) -> None:
    path = folder / "all.jsonl"
    path.write_text("precious")
    with pytest.raises(InvalidInput, match="there already"):
        await exported(InMemoryStore(), path)
    assert path.read_text() == "precious"


async def test_a_file_is_for_its_owner_only(folder: Path) -> None:
    path = await exported(InMemoryStore(), folder / "all.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600


async def test_lines_hold_conversations_in_order_of_creation() -> None:
    store = InMemoryStore()
    for name in ("b", "c", "a"):
        await store.append(ConversationId(HERE, name), [say(name)])
    await store.append(ConversationId(HERE, "b"), [say("later")])
    records = [json.loads(line)["record"] async for line in export(store, [HERE])]
    assert [r["id"] for r in records if r["kind"] == "conversation"] == ["b", "c", "a"]
