"""The file of an export: JSON Lines, each with the checksum of what it says.

A line is ``{"sha256": "...", "record": {"kind": ..., ...}}``; the checksum is that of the bytes of the
record as they stand. A file is a header, conversations, and a trailer that sums up; a conversation is
its head, its archived messages in the order of archiving, its live ones in order of seq, and an end
with counts and a digest of its content. A conversation that changed while it was read ends with ``void``
in place of ``end`` and comes again. Readers refuse what they do not know.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import IO, NoReturn

import msgspec

from recollect.errors import InvalidInput, InvalidMessage
from recollect.messages import Message, decode
from recollect.stores.records import ConversationId, Record

FORMAT = "recollect-export"
VERSION = 1
_LONGEST_LINE = 64 * 1024 * 1024  # bytes


class Header(msgspec.Struct, tag_field="kind", tag="header", frozen=True):
    """Where the file comes from: ``owner`` is set when it holds one user's conversations only."""

    format: str
    version: int
    created_at: datetime
    namespaces: tuple[str, ...]
    owner: str | None = None


class Begin(msgspec.Struct, tag_field="kind", tag="conversation", frozen=True):
    """The head of a conversation; ``metadata`` maps a top-level name to any JSON."""

    namespace: str
    id: str
    owner: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    metadata: dict[str, msgspec.Raw]

    @property
    def conversation(self) -> ConversationId:
        """Its address."""
        return ConversationId(self.namespace, self.id)


class Kept(msgspec.Struct, tag_field="kind", tag="message", frozen=True):
    """A message as it was stored; ``batch`` is the label of an archived one."""

    seq: int
    tokens: int
    stored_at: datetime
    message: msgspec.Raw
    batch: str | None = None


class Lost(msgspec.Struct, tag_field="kind", tag="damaged", frozen=True):
    """A message that could not be read when the file was written."""

    seq: int


class End(msgspec.Struct, tag_field="kind", tag="end", frozen=True):
    """The sums of the conversation that ends here; ``digest`` is that of its content."""

    messages: int
    archived: int
    damaged: int
    digest: str


class Void(msgspec.Struct, tag_field="kind", tag="void", frozen=True):
    """The conversation changed while it was read: what stands here of it does not count."""


class Trailer(msgspec.Struct, tag_field="kind", tag="trailer", frozen=True):
    """The sums of the file; ``digest`` is that of the checksums of all lines before."""

    conversations: int
    messages: int
    archived: int
    damaged: int
    digest: str


Line = Header | Begin | Kept | Lost | End | Void | Trailer


class _Envelope(msgspec.Struct):
    sha256: str
    record: msgspec.Raw


_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(_Envelope)
_lines = msgspec.json.Decoder(Line)


class Digest:
    """A running digest of a conversation's content: what an import has to bring about.

    Places and times of storing are not in it, since every store gives its own.
    """

    def __init__(self, begin: Begin) -> None:
        parts = (begin.id, begin.owner, sorted(begin.metadata.items()))
        self._hash = hashlib.sha256(_encoder.encode(parts))

    def add(self, kept: Kept) -> None:
        """Take one more message into account."""
        self._hash.update(_encoder.encode((kept.batch, kept.tokens)))
        self._hash.update(bytes(kept.message))

    def text(self) -> str:
        """Return it so far."""
        return self._hash.hexdigest()


class Writer:
    """Turns records into the lines of one file."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The digest of all lines so far."""
        return self._hash.hexdigest()

    def line(self, record: Line) -> bytes:
        """Return the next line."""
        data = _encoder.encode(record)
        sha256 = hashlib.sha256(data).hexdigest().encode()
        self._hash.update(sha256)
        return b'{"sha256":"%s","record":%s}\n' % (sha256, data)


class Section(msgspec.Struct, frozen=True):
    """A whole conversation in a file, every line of it checked.

    Attributes:
        number: of its first line, from 1.
        start: byte at which its messages begin.
    """

    begin: Begin
    end: End
    number: int
    start: int


class Reader:
    """Reads a file from its beginning to its end, once; blocking, so used from a thread.

    Args:
        path: the file.
        message_bytes: the longest message to expect.
    """

    def __init__(self, path: Path, message_bytes: int) -> None:
        self._path = path
        self._message_bytes = message_bytes
        self._number = self._place = 0
        self._hash = hashlib.sha256()

    def header(self) -> Header:
        """Return the first line.

        Raises:
            InvalidInput: the file is no export, or one of a newer version.
        """
        with closing(self._open()) as file:
            return self._header(file)

    def sections(self) -> Iterator[Section]:
        """Yield each conversation once it has been read to its end; check the trailer at last.

        Raises:
            InvalidInput: from here on the file is damaged, cut, or not in order.
        """
        sums = [0, 0, 0, 0]
        with closing(self._open()) as file:
            self._header(file)
            while not isinstance(record := self._read(file), Trailer):
                if not isinstance(record, Begin):
                    self._refuse("a conversation begins, or the file ends, with another record")
                section = self._section(file, record)
                if section is not None:
                    end = section.end
                    for place, number in enumerate((1, end.messages, end.archived, end.damaged)):
                        sums[place] += number
                    yield section
            self._check_trailer(file, record, sums)

    def messages(self, section: Section) -> Iterator[tuple[Kept, Message]]:
        """Yield the messages of a section."""
        with closing(self._open()) as file:
            file.seek(section.start)
            self._number = section.number
            while True:
                record = self._read(file)
                if isinstance(record, Kept):
                    yield record, self._message(record)
                elif not isinstance(record, Lost):
                    return

    # ---- checking --------------------------------------------------------------------------------

    def _open(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise InvalidInput(f"{self._path} cannot be read: {error.strerror}") from None

    def _header(self, file: IO[bytes]) -> Header:
        header = self._read(file)
        if not isinstance(header, Header) or header.format != FORMAT:
            self._refuse("this is not a file that `recollect export` wrote")
        if header.version > VERSION:
            self._refuse(
                f"the file has version {header.version}, and this Recollect reads up to {VERSION}: "
                "use the one that wrote it, or a newer one"
            )
        return header

    def _section(self, file: IO[bytes], begin: Begin) -> Section | None:
        """Read a conversation to its end; None if it is void."""
        number, start = self._number, self._place
        digest = Digest(begin)
        counts = {Kept: 0, Lost: 0}
        archived = last_seq = 0
        while isinstance(record := self._read(file), Kept | Lost):
            counts[type(record)] += 1
            if isinstance(record, Lost):
                continue
            self._message(record)
            digest.add(record)
            if record.batch is not None:
                archived += 1
                if counts[Kept] > archived:
                    self._refuse("an archived message stands behind a live one")
            elif record.seq <= last_seq:
                self._refuse("the messages are not in order")
            else:
                last_seq = record.seq
        if isinstance(record, Void):
            return None
        if not isinstance(record, End):
            self._refuse(f"the conversation that begins in line {number} has no end")
        found = End(counts[Kept] - archived, archived, counts[Lost], digest.text())
        if found != record:
            self._refuse(
                f"the conversation that begins in line {number} is not what was exported: lines are "
                "missing, doubled or in another order"
            )
        return Section(begin, record, number, start)

    def _message(self, kept: Kept) -> Message:
        data = bytes(kept.message)
        if len(data) > self._message_bytes:
            self._refuse(
                f"the message is longer than {self._message_bytes:,} bytes, the store's limit"
            )
        try:
            return decode(data)
        except InvalidMessage as error:
            self._refuse(str(error))

    def _check_trailer(self, file: IO[bytes], trailer: Trailer, sums: list[int]) -> None:
        if [trailer.conversations, trailer.messages, trailer.archived, trailer.damaged] != sums:
            self._refuse("the sums are not those of the file: conversations are missing or doubled")
        if file.readline(1):
            self._refuse("something follows what should be the last line")

    def _read(self, file: IO[bytes]) -> Line:
        line = file.readline(_LONGEST_LINE)
        self._number += 1
        self._place += len(line)
        if not line.endswith(b"\n"):
            self._refuse("the file was cut: it ends here, before its last line")
        former = self._hash.hexdigest()
        try:
            envelope = _envelopes.decode(line)
            if hashlib.sha256(envelope.record).hexdigest() != envelope.sha256:
                self._refuse("the checksum is not that of the line: the file is damaged")
            record: Line = _lines.decode(envelope.record)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._refuse("this is not a line of an export: the file is damaged, or another one")
        self._hash.update(envelope.sha256.encode())
        if isinstance(record, Trailer) and record.digest != former:
            self._refuse("lines are missing, doubled or in another order")
        return record

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidInput(f"{self._path}:{self._number}: {why}")


def kept_of(record: Record, data: bytes) -> Kept:
    """Return a stored message as a line says it."""
    return Kept(record.seq, record.tokens, record.stored_at, msgspec.Raw(data), record.batch)
