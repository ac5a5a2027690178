"""Conversations from a store to a file and back: backups, moves, and what a user may ask for.

See ``export_format`` for the format, and ``copying`` for what an import keeps.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from recollect.errors import InvalidInput, StoreUnavailable, VersionConflict
from recollect.memory.data.copying import Copy, Outcome, Part, Whole, copied, part_of, restore
from recollect.memory.data.export_format import (
    FORMAT,
    VERSION,
    End,
    Header,
    Reader,
    Section,
    Trailer,
    Void,
    Writer,
)
from recollect.memory.data.new_file import publish
from recollect.stores.arguments import MAX_PAGE
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Head

Progress = Callable[[int, int], None]
"""Told of (conversations, messages) so far, after each conversation."""

_ATTEMPTS = 5
_BUFFER_BYTES = 1024 * 1024


def _unheard(conversations: int, messages: int) -> None:
    """Listen to no progress."""


# ---- export --------------------------------------------------------------------------------------


async def export(
    store: Store,
    namespaces: Sequence[str],
    *,
    owner: str | None = None,
    on_progress: Progress = _unheard,
) -> AsyncIterator[bytes]:
    """Yield the lines of an export; a conversation never sits in memory whole.

    Every conversation that exists throughout is in it once, as it was at some moment meanwhile; with
    ``owner`` only those of that owner.

    Raises:
        VersionConflict: a conversation kept being flushed or rewritten while it was read.
        StoreError: the store failed; what was yielded lacks its last line, so no import takes it.
    """
    writer = Writer()
    now = store.clock.now()
    yield writer.line(Header(FORMAT, VERSION, now, tuple(namespaces), owner))
    sums = Trailer(0, 0, 0, 0, "")
    for namespace in namespaces:
        async for head in conversations_of(store, namespace, owner=owner):
            async for record in _settled(store, head.conversation):
                yield writer.line(record)
                if isinstance(record, End):
                    sums = _added(sums, record)
                    on_progress(sums.conversations, sums.messages + sums.archived)
    yield writer.line(msgspec.structs.replace(sums, digest=writer.digest))


async def conversations_of(
    store: Store, namespace: str, *, owner: str | None = None, prefix: str | None = None
) -> AsyncIterator[Head]:
    """Walk a namespace in order of creation."""
    cursor: str | None = None
    while True:
        page = await store.find(
            namespace, owner=owner, prefix=prefix, order="created", cursor=cursor, limit=MAX_PAGE
        )
        for head in page.heads:
            yield head
        cursor = page.cursor
        if cursor is None:
            return


async def _settled(store: Store, conversation: ConversationId) -> AsyncIterator[Copy]:
    """Copy a conversation; from the beginning again if it changed too much meanwhile."""
    for _ in range(_ATTEMPTS):
        is_void = False
        async for record in copied(store, conversation):
            is_void = isinstance(record, Void)
            yield record
        if not is_void:
            return
    raise VersionConflict(
        "a conversation keeps being flushed or rewritten while it is read: export at a quieter time"
    )


def _added(sums: Trailer, end: End) -> Trailer:
    return msgspec.structs.replace(
        sums,
        conversations=sums.conversations + 1,
        messages=sums.messages + end.messages,
        archived=sums.archived + end.archived,
        damaged=sums.damaged + end.damaged,
    )


async def export_file(
    store: Store,
    path: Path,
    namespaces: Sequence[str],
    *,
    owner: str | None = None,
    on_progress: Progress = _unheard,
) -> Trailer:
    """Write an export to a new file (mode 0600), which appears when it is whole; return its sums.

    Raises:
        InvalidInput: there is such a file already, or the folder cannot be written.
        StoreError, VersionConflict: as ``export``; there is no file.
    """
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    file = await asyncio.to_thread(_created, path, draft)
    try:
        with file:
            buffer: list[bytes] = []
            size, line = 0, b""
            async for line in export(store, namespaces, owner=owner, on_progress=on_progress):
                buffer.append(line)
                size += len(line)
                if size > _BUFFER_BYTES:
                    await asyncio.to_thread(file.writelines, buffer)
                    buffer, size = [], 0
            await asyncio.to_thread(_finish, file, buffer)
        await asyncio.to_thread(publish, draft, path)
    except FileExistsError:
        raise InvalidInput(f"{path} was made by somebody else meanwhile: name another") from None
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return msgspec.json.decode(line, type=_TrailerLine).record


class _TrailerLine(msgspec.Struct):
    record: Trailer


def _created(path: Path, draft: Path) -> IO[bytes]:
    if path.exists():
        raise InvalidInput(f"{path} is there already: name another file, an export overwrites none")
    try:
        return os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}") from None


def _finish(file: IO[bytes], lines: Sequence[bytes]) -> None:
    file.writelines(lines)
    file.flush()
    os.fsync(file.fileno())


# ---- import --------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of the conversations of a file.

    Attributes:
        stored: those that are in the store now, and were not.
        present: those that were there already, the same.
        kept: those that are there with another content, and were left as they are.
        expired: those whose deadline has come.
        messages, archived: of those that were stored.
        damaged: messages that were lost before the file was written.
    """

    stored: int = 0
    present: int = 0
    kept: int = 0
    expired: int = 0
    messages: int = 0
    archived: int = 0
    damaged: int = 0

    @property
    def conversations(self) -> int:
        """All."""
        return self.stored + self.present + self.kept + self.expired

    def count(self, outcome: Outcome, end: End) -> None:
        """Take note of one more."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        self.damaged += end.damaged
        if outcome == "stored":
            self.messages += end.messages
            self.archived += end.archived


async def import_file(
    store: Store,
    path: Path,
    *,
    namespaces: Mapping[str, str] | None = None,
    dry_run: bool = False,
    on_progress: Progress = _unheard,
) -> Imported:
    """Bring the conversations of an export into a store; do it again after any interruption.

    The whole file is checked before anything is stored. What the store has already is never
    overwritten, so a second import changes nothing. Between the first and the last write of a long
    conversation it is there in part; an interrupted one is finished by the next import of the file.

    ``namespaces`` gives the file's namespaces other names. With ``dry_run`` the file is only checked,
    and the result says what would become of each conversation.

    Raises:
        InvalidInput: the file is damaged, cut, or no export; its line is named and nothing was stored.
        VersionConflict: somebody writes to a conversation that is being imported.
        StoreError: the store failed; what is finished stays, the rest waits for the next import.
    """
    limit = store.call_limits.message_bytes
    async for _ in _sections(Reader(path, limit)):
        pass
    done = Imported()
    async for section in _sections(Reader(path, limit)):
        whole = _whole(section, path, limit, namespaces or {})
        done.count(await restore(store, whole, dry_run=dry_run), section.end)
        on_progress(done.conversations, done.messages + done.archived)
    return done


async def file_header(path: Path) -> Header:
    """Return what a file says of itself.

    Raises:
        InvalidInput: it is no export.
    """
    return await asyncio.to_thread(Reader(path, 0).header)


async def _sections(reader: Reader) -> AsyncIterator[Section]:
    sections = reader.sections()
    while section := await asyncio.to_thread(next, sections, None):
        yield section


def _whole(section: Section, path: Path, limit: int, namespaces: Mapping[str, str]) -> Whole:
    begin = section.begin
    namespace = namespaces.get(begin.namespace, begin.namespace)
    return Whole(
        conversation=ConversationId(namespace, begin.id),
        owner=begin.owner,
        created_at=begin.created_at,
        updated_at=begin.updated_at,
        expires_at=begin.expires_at,
        metadata={name: msgspec.json.decode(raw) for name, raw in begin.metadata.items()},
        digest=section.end.digest,
        parts=partial(_parts, section, path, limit),
    )


def _parts(section: Section, path: Path, limit: int) -> Iterator[Part]:
    for kept, message in Reader(path, limit).messages(section):
        yield part_of(kept, message)
