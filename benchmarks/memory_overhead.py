"""What a memory costs beside its store: privacy, counting, budget; large messages; many memories.

Run ``python -m benchmarks.memory_overhead [--rounds N] [--only NAMES] [--json] [--check]``. Names:
``overhead`` ``operations`` ``pair`` ``open`` ``large`` ``delay`` ``patterns`` ``breaker``. It starts
Redis servers of its own. Fewer than ten rounds also hold fewer memories; fewer than three leave out
the 50 callers.

The message has 200 characters and three metadata fields; the policy has five patterns, the seed's e-mail
address among them; tokens are counted exactly (gpt-4o); the memory has both limits. Overhead is the
difference between ``Memory.append`` and the ``Store.append`` of the same record beside it. What neither
waits nor writes is measured in processor time, so that a busy machine does not count.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import resource as rlimits
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, thread_time
from typing import Any, NamedTuple

from recollect.errors import StoreError
from recollect.memory.budget import limits_of
from recollect.memory.memory import Memory
from recollect.memory.operations import OPERATIONS, Operation, ReadConfig
from recollect.memory.privacy import Redactor
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.messages import Message, ToolCall, ToolCallFunction
from recollect.stores.base import Store
from recollect.stores.factory import make_store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import CallLimits, NewRecord
from tests.servers.redis_server import RedisServer

SEED_EMAIL = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"
PATTERNS = (SEED_EMAIL, "preset:card", "preset:ssn", "preset:phone", "preset:api_key")
TEXT = (
    "Hello, my order 4711 from last week has not arrived yet. Could you look into it, please? I am at "
    "home in the evenings, and the weather has been so fine that I would rather be out for a walk."
)
HIT = "My mail is jane.doe@example.com. " + TEXT
METADATA = {"channel": "web", "lang": "en", "turn": 7}
KIB, MIB = 1024, 1024 * 1024


# ---- results -------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One number; ``target`` is the most it may be, None if it is only told."""

    what: str
    value: float
    unit: str
    target: float | None = None

    @property
    def met(self) -> bool:
        """Whether the target is kept."""
        return self.target is None or self.value <= self.target

    def text(self) -> str:
        """The line that is printed."""
        line = f"{self.what:<62} {self.value:>10,.2f} {self.unit}"
        if self.target is None:
            return line
        return f"{line:<80} <= {self.target:<8,g} {'ok' if self.met else 'MISSED'}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


# ---- what is measured ----------------------------------------------------------------------------


def resource(**fields: Any) -> Resource:
    """The memory that is measured."""
    return Resource.model_validate(
        {
            "resource": "memory",
            "id": "talk",
            "type": "token_based",
            "max_tokens": 100_000_000,
            "max_messages": 1_000_000,
            "token_provider": {"provider": "openai", "model": "gpt-4o"},
            "privacy_policy": {"redact_patterns": PATTERNS},
            "persistence": {"ttl": "30d"},
            **fields,
        }
    )


def memories_of(store: Store) -> Memories:
    """The memories of a project over a store."""
    registry = Registry({"talk": Defined(resource=resource(), file=Path("m.yaml"))})
    return Memories(registry, durable=store, scratch=store, project_id="bench")


def small(text: str = TEXT) -> Message:
    """A message of 200 characters, each with an id of its own."""
    return Message("user", text[:200], metadata=METADATA)


Stores = dict[str, Store]


@asynccontextmanager
async def all_stores(folder: Path) -> AsyncIterator[Stores]:
    """In memory, SQLite, and Redis on a server of its own."""
    (folder / "redis").mkdir(exist_ok=True)
    limits = CallLimits(message_bytes=2 * MIB)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(RedisServer(folder / "redis"))
        urls = {"SQLite": "sqlite:///bench.db", "Redis": server.url}
        stores: Stores = {"in memory": InMemoryStore(call_limits=limits)}
        for name, url in urls.items():
            stores[name] = make_store(url, folder=folder, call_limits=limits)
        for store in stores.values():
            await stack.enter_async_context(store)
        yield stores


async def seconds(work: Awaitable[Any], clock: Callable[[], float] = perf_counter) -> float:
    """Return how long it takes."""
    start = clock()
    await work
    return clock() - start


# ---- overhead of one operation -------------------------------------------------------------------


async def overhead(stores: Stores, rounds: int) -> list[Row]:
    """Compare a memory's append with the bare append of the same record, one beside the other."""
    rows = []
    for name, store in stores.items():
        for kind, text in (("", TEXT), (", a match", HIT)):
            ours, bare = await _appends(memories_of(store), text, 400 * rounds)
            over = [(a - b) * 1e6 for a, b in zip(ours, bare, strict=True)]
            what = f"append over its store call, {name}{kind}"
            rows += [
                Row(f"{what}, p50", percentile(over, 0.5), "us", 150),
                Row(f"{what}, p99", percentile(over, 0.99), "us", 1_000),
            ]
    return rows


async def _appends(memories: Memories, text: str, times: int) -> tuple[list[float], list[float]]:
    memory, other = memories.open("talk", "ours"), memories.open("talk", "bare")
    await memory.append([small(text)])
    limits, ttl = limits_of(memory.resource), memory.resource.persistence.ttl
    counter = memory.counter()
    ours, bare = [], []
    for _ in range(times):
        message = small(text)
        ours.append(await seconds(memory.append([message]), process_time))
        record = NewRecord(message, counter.count(message.text))
        call = memory.store.append(other.address, [record], limits=limits, ttl=ttl)
        bare.append(await seconds(call, process_time))
    await memory.store.delete(memory.address)
    await memory.store.delete(other.address)
    return ours, bare


# ---- every operation -----------------------------------------------------------------------------

CALLERS = 50
_SAID = {"payload": {"role": "user", "content": TEXT, "metadata": METADATA}}
ASKED: dict[Operation, dict[str, Any]] = {
    "read": {},
    "write": _SAID,
    "append": _SAID,
    "delete": {},
    "flush": {"config": {"force": True}},
    "health": {"config": {"include_stats": True}},
    "clear": {"config": {"confirm": True, "backup": True}},
    "stats": {"config": {"include_content": True}},
}


async def operations(stores: Stores, rounds: int) -> list[Row]:
    """Time every operation on memories of 100 messages, asked by one caller and by 50 at once.

    The whole of it, the store's work too, which is more than the overhead that the seed limits. Of 50
    callers it is only told: they share a processor, and wait for each other most of the time.
    """
    rows = []
    for name, store in stores.items():
        memories = memories_of(store)
        for operation in OPERATIONS:
            for callers, times in ((1, 10 * rounds), (CALLERS, rounds // 3)):
                if not times:
                    continue
                taken: list[float] = []
                for _ in range(times):
                    taken += await _asked(memories, operation, callers)
                what = f"{operation}, {callers} at once, 100 messages, {name}, p95"
                target = 50 if callers == 1 else None
                rows.append(Row(what, percentile(taken, 0.95) * 1e3, "ms", target))
    return rows


async def _asked(memories: Memories, operation: Operation, callers: int) -> list[float]:
    """Ask for an operation on that many memories at once; return how long each took."""
    kept = [memories.open("talk", f"caller-{n}") for n in range(callers)]
    for memory in kept:
        await memory.store.delete(memory.address)
        await memory.append([small() for _ in range(100)])
    now = memories.durable.clock.now()
    requests = (
        Request(operation=operation, memory_ref="talk", key=memory.key, **ASKED[operation])
        for memory in kept
    )
    return await asyncio.gather(*(seconds(memories.perform(r, now=now)) for r in requests))


# ---- append and read -----------------------------------------------------------------------------


async def pair(stores: Stores, rounds: int) -> list[Row]:
    """Time an append and a read of the whole of a memory that has 100 messages."""
    rows = []
    targets = {"SQLite": 2.0, "Redis": 1.5}
    for name, store in stores.items():
        memory = memories_of(store).open("talk", "pair")
        await memory.append([small() for _ in range(99)])
        times = []
        for n in range(100 * rounds):
            message = small(HIT if n % 4 == 0 else TEXT)
            taken = await seconds(memory.append([message]))
            taken += await seconds(memory.read(ReadConfig(last=100)))
            times.append(taken * 1e3)
            if n % 10 == 9:
                await store.delete(memory.address)
                await memory.append([small() for _ in range(99)])
        what = f"append and read of 100 messages, {name}"
        rows.append(Row(f"{what}, p50", percentile(times, 0.5), "ms"))
        rows.append(Row(f"{what}, p95", percentile(times, 0.95), "ms", targets.get(name)))
        await store.delete(memory.address)
    return rows


# ---- many memories -------------------------------------------------------------------------------

OPEN = 10_000


async def open_many(stores: Stores, rounds: int) -> list[Row]:
    """Hold 10,000 memories with a message each, then 1,000 with 100; a process for each store."""
    rows = []
    many = OPEN if rounds >= 10 else 200 * rounds
    for name in ("in memory", "SQLite"):
        held = ((many, 1), (many // 10, 100))
        out = await asyncio.to_thread(
            subprocess.run,
            [
                sys.executable,
                "-m",
                "benchmarks.memory_overhead",
                "--hold",
                json.dumps([name, held]),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        for (memories, messages), told in zip(held, out.stdout.splitlines(), strict=True):
            before, after, peak = map(float, told.split())
            what = f"{memories:,} open memories, {messages} messages in each, {name}"
            rows.append(Row(f"{what}, the process", peak, "MB", 300))
            rows.append(Row(f"{what}, each", (after - before) * 1e3 / memories, "kB", 10_000))
    return rows


async def hold(name: str, held: Sequence[tuple[int, int]]) -> None:
    """Hold memories with messages; print a line for each kind.

    In it are the megabytes of this process before, with all of them, and at most so far.
    """
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if name == "in memory" else "sqlite:///many.db"
        async with make_store(url, folder=Path(folder)) as store:
            opened = memories_of(store)
            await opened.open("talk", "first").append([small()])
            kept: list[Memory] = []
            for memories, messages in held:
                gc.collect()
                before = _megabytes()
                for n in range(memories):
                    kept.append(opened.open("talk", f"user-{n}:session-{messages}"))
                    await kept[-1].append([small() for _ in range(messages)])
                gc.collect()
                print(before, _megabytes(), _peak_megabytes())


def _megabytes() -> float:
    """Return what the process has in memory now; where only Linux tells, the most it has had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return _peak_megabytes()
    return pages * rlimits.getpagesize() / MIB


def _peak_megabytes() -> float:
    kilobytes = rlimits.getrusage(rlimits.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1)


# ---- large messages ------------------------------------------------------------------------------


def _filled(unit: str, size: int) -> str:
    return (unit * (size // len(unit.encode()) + 1)).encode()[:size].decode(errors="ignore")


def _arguments(size: int) -> Message:
    item = json.dumps({"to": "someone", "n": 12, "text": "a \\n line"}) + ","
    body = "[" + item * (size // len(item)) + "1]"
    call = ToolCall("c1", ToolCallFunction("send", body))
    return Message("assistant", tool_calls=(call,), metadata=METADATA)


LARGE: dict[str, Callable[[int], Message]] = {
    "prose": lambda size: Message("user", _filled(TEXT + " ", size)),
    "a match a line": lambda size: Message("user", _filled(HIT[:60] + "\n", size)),
    "one word": lambda size: Message("user", _filled("a", size)),
    "blanks": lambda size: Message("user", _filled(" ", size)),
    "Chinese": lambda size: Message("user", _filled("你好，世界！今天天气怎么样？", size)),
    "emoji": lambda size: Message("user", _filled("👩\u200d👩\u200d👧 😀", size)),
    "no card numbers": lambda size: Message("user", _filled("4444 ", size)),
    "arguments": _arguments,
}


async def large(stores: Stores, rounds: int) -> list[Row]:
    """Compare the append of a megabyte with that of 100 KB, for texts of many kinds."""
    memory = memories_of(stores["in memory"]).open("talk", "large")
    rows = []
    for kind, make in LARGE.items():
        hundred, thousand = make(100 * KIB), make(1_000 * KIB)
        shorter, longer = [], []
        for _ in range(max(3, rounds // 3)):
            shorter.append(await seconds(memory.append([hundred]), process_time))
            longer.append(await seconds(memory.append([thousand]), process_time))
        await memory.store.delete(memory.address)
        what = f"append of 1 MB ({min(longer) * 1e3:,.0f} ms) over 100 KB, {kind}"
        rows.append(Row(what, min(longer) / min(shorter), "x", 12))
    return rows


# ---- delay of others -----------------------------------------------------------------------------


async def delay(stores: Stores, rounds: int) -> list[Row]:
    """Append small messages all the while, beside appends of 1 MB, and alone for as long.

    Told is by how much the slowest is slower, as a median of rounds: other processes delay both. The
    processor time of the loop's thread is what no other process changes.
    """
    rows = []
    for name, store in stores.items():
        memories = memories_of(store)
        heavy = memories.open("talk", "heavy")
        for make in LARGE.values():  # what is loaded once
            await heavy.append([make(200 * KIB)])
        for kind, make in LARGE.items():
            alone, beside, held = [], [], []
            for _ in range(max(3, rounds)):
                await store.delete(heavy.address)
                held.append(await seconds(heavy.append([make(1_000 * KIB)]), thread_time))
                times, length = await _beside(memories, make(1_000 * KIB), None)
                beside.append(max(times))
                times, _ = await _beside(memories, None, length)
                alone.append(max(times))
            slower = (median(beside) - median(alone)) * 1e3
            what = f"1 MB keeps the loop's thread busy in all, {name}, {kind}"
            rows.append(Row(what, median(held) * 1e3, "ms", 20))
            rows.append(Row(f"append delayed by 1 MB, {name}, {kind}", slower, "ms", 20))
        await store.delete(heavy.address)
    return rows


async def _beside(
    memories: Memories, heavy: Message | None, length: float | None
) -> tuple[list[float], float]:
    """Append small messages while a large one is appended, or for some seconds; return the times."""
    light, other = memories.open("talk", "light"), memories.open("talk", "heavy")
    times: list[float] = []
    start = perf_counter()
    task = asyncio.ensure_future(
        other.append([heavy]) if heavy is not None else asyncio.sleep(length or 0)
    )
    while not task.done():
        times.append(await seconds(_turn_and(light.append([small()]))))
    await task
    length = perf_counter() - start
    await light.store.delete(light.address)
    return times, length


async def _turn_and(work: Awaitable[Any]) -> None:
    """Give way once, so that whatever keeps the loop is seen."""
    await asyncio.sleep(0)
    await work


# ---- evil patterns -------------------------------------------------------------------------------

EVIL = (
    (r"^(a+)+$", "a", "!"),
    (r"(a|a)*b", "a", ""),
    (r"(x+x+)+y", "x", ""),
    (r"(.*a){10,}", "b", ""),
    (r"([a-zA-Z]+)*1", "z", ""),
    (r"(.*?,){11}P", "1,", ""),
    (r"(?:a|b)*a(?:a|b){20}c", "ab", ""),
)


async def patterns(stores: Stores, rounds: int) -> list[Row]:
    """Compare 1 MB with 100 KB for patterns that take a backtracking engine for ever."""
    rows = []
    for pattern, unit, end in EVIL:
        redactor = Redactor([pattern])
        taken = {}
        for size in (100 * KIB, 1_000 * KIB):
            text = unit * (size // len(unit)) + end
            times = []
            for _ in range(max(3, rounds // 3)):
                start = process_time()
                redactor.redact_text(text)
                times.append(process_time() - start)
            taken[size] = min(times)
        what = f"1 MB ({taken[1_000 * KIB] * 1e3:,.1f} ms) over 100 KB, pattern {pattern}"
        rows.append(Row(what, taken[1_000 * KIB] / taken[100 * KIB], "x", 12))
    return rows


# ---- a store that does not answer ----------------------------------------------------------------


async def breaker(stores: Stores, rounds: int) -> list[Row]:
    """Time appends while the circuit breaker is open, because a Redis server is paused."""
    persistence = {
        "type": "redis",
        "circuit_breaker": {"enabled": True, "max_failures": 3, "reset_timeout": "1h"},
    }
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        async with make_store(server.url, folder=Path(folder)) as store:
            defined = Defined(resource=resource(persistence=persistence), file=Path("m.yaml"))
            memory = Memories(
                Registry({"talk": defined}), durable=store, scratch=store, project_id="bench"
            ).open("talk", "breaker")
            await memory.append([small()])
            server.pause()
            while len(taken) < 3 + 100 * rounds:
                start = perf_counter()
                with suppress(StoreError):
                    await memory.append([small()])
                taken.append(perf_counter() - start)
            server.resume()
    what = "append while the circuit breaker is open, p99"
    return [Row(what, percentile(taken[3:], 0.99) * 1e3, "ms", 5)]


# ---- main ----------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Stores, int], Awaitable[list[Row]]]] = {
    "overhead": overhead,
    "operations": operations,
    "pair": pair,
    "open": open_many,
    "large": large,
    "delay": delay,
    "patterns": patterns,
    "breaker": breaker,
}


async def measure(names: Sequence[str], rounds: int, *, shows: bool) -> list[Row]:
    """Measure the parts, and print each when it is done."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        async with all_stores(Path(folder)) as stores:
            for name in names:
                done = await PARTS[name](stores, rounds)
                rows += done
                if shows:
                    print("\n".join(row.text() for row in done), flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit 1 on a missed target")
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold:
        asyncio.run(hold(*json.loads(options.hold)))
        return
    if not options.json:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    names = [name.strip() for name in options.only.split(",")]
    rows = asyncio.run(measure(names, options.rounds, shows=not options.json))
    if options.json:
        print(json.dumps([{**row._asdict(), "met": row.met} for row in rows], indent=1))
    if options.check and not all(row.met for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
