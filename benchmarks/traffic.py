"""The bytes that an append moves: over the wire, and into the log of a database."""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from benchmarks.lines import SIZES, conversations, spread

Add = Callable[[int], Awaitable[None]]
Counter = Callable[[], Awaitable[int]]


async def moved(add: Add, count: Counter, rounds: int) -> tuple[float, float]:
    """Return bytes an append, to small conversations and to large ones."""
    found = []
    for size in (SIZES[0], SIZES[-1]):
        values = []
        for round_ in range(rounds):
            numbers = conversations(size, round_)
            for conversation in numbers:
                await add(conversation)  # the first touch of a page writes it whole
            before = await count()
            each = spread(size)[1]
            for conversation in numbers:
                for _ in range(each):
                    await add(conversation)
            values.append((await count() - before) / (each * len(numbers)))
        found.append(median(values))
    return found[0], found[1]


class Wire:
    """A wire to a server that counts what passes, both ways.

    Args:
        path: the server's socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()
        self.passed = 0

    async def __aenter__(self) -> "Wire":
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def count(self) -> int:
        """Return the bytes that have passed."""
        return self.passed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._path)
        for source, target in ((reader, server_writer), (server_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.passed += len(data)
                writer.write(data)
        writer.close()


class Wal:
    """The write-ahead log of an SQLite file, whose frames are counted even when it begins again.

    Args:
        path: the database.
        add: appends to it.
    """

    def __init__(self, path: Path, add: Add) -> None:
        self._index = path.with_name(path.name + "-shm")
        self._add = add
        self._frames = 0
        self._last = self._in_log()

    async def add(self, conversation: int) -> None:
        """Append, and count."""
        await self._add(conversation)
        now = self._in_log()
        self._frames += now - self._last if now >= self._last else now
        self._last = now

    async def count(self) -> int:
        """Return the bytes that have been written."""
        return self._frames * (4096 + 24)

    def _in_log(self) -> int:
        """Return mxFrame of the WAL-index header (sqlite.org/walformat.html)."""
        with self._index.open("rb") as file:
            frames: int = struct.unpack_from("=I", file.read(20), 16)[0]
        return frames
