"""How values are kept: heads as MessagePack, messages as ``seq|tokens|stored_at|json``."""

from collections.abc import Sequence

import msgspec

from recollect.errors import StoreCorrupt
from recollect.stores.decoding import decode_rows
from recollect.stores.moments import to_moment
from recollect.stores.records import ConversationId, Damage, Head, Record, Written


class KeptHead(msgspec.Struct, array_like=True, gc=False):
    """A head as it is kept; times in microseconds."""

    generation: int
    version: int
    message_count: int
    token_count: int
    archived_count: int
    next_seq: int
    fence: int
    created_at: int
    updated_at: int
    expires_at: int | None
    folded_at: int | None
    live_bytes: int
    archive_bytes: int
    lease_until: int | None
    due: int | None
    broom: int | None
    holder: str
    owner: str
    has_deletes: bool

    def lives_at(self, now: int) -> bool:
        """Tell whether the deadline has not come."""
        return self.expires_at is None or now < self.expires_at

    def head(self, conversation: ConversationId) -> Head:
        """The head as callers see it."""
        created, updated = self.created_at, self.updated_at
        moment = to_moment(created)
        expires, folded = self.expires_at, self.folded_at
        return Head(
            conversation,
            self.owner or None,
            self.generation,
            self.version,
            self.message_count,
            self.token_count,
            self.archived_count,
            self.next_seq,
            self.fence,
            moment,
            moment if updated == created else to_moment(updated),
            None if expires is None else to_moment(expires),
            None if folded is None else to_moment(folded),
        )


_decode = msgspec.msgpack.Decoder(KeptHead).decode
_ARRAY = b"\xdc\x00\x13"  # the scripts pack its 19 parts one after the other, without this


def read_kept_head(conversation: ConversationId, data: bytes) -> KeptHead:
    """Return what a script has packed."""
    try:
        return _decode(_ARRAY + data)
    except msgspec.DecodeError:
        raise StoreCorrupt(
            f"the head of {conversation.id!r} in {conversation.namespace!r} is not as Recollect "
            "left it: restore a backup, or delete the conversation"
        ) from None


def read_head(conversation: ConversationId, data: bytes) -> Head:
    """Return the head that a script has packed."""
    return read_kept_head(conversation, data).head(conversation)


def read_written(conversation: ConversationId, answer: bytes) -> Written:
    """Return the result of a write that stored messages: a letter, first seq, removed, head."""
    first_seq, removed, text = answer[1:].split(b"\n", 2)
    return Written(
        read_head(conversation, text),
        int(first_seq) if first_seq else None,
        int(removed),
        replayed=answer.startswith(b"w"),
    )


def read_items(
    items: Sequence[bytes], *, are_archived: bool
) -> tuple[tuple[Record, ...], tuple[Damage, ...]]:
    """Return the records, and the damages of those that cannot be read.

    One whose front cannot be read is named by the seq that would be next.
    """
    rows: list[tuple[int, int, int, bytes, str | None]] = []
    unplaced: list[Damage] = []
    last = 0
    batch: str | None = None
    for item in items:
        text = item
        try:
            if are_archived:
                size, text = item.split(b":", 1)
                batch, text = text[: int(size)].decode(), text[int(size) :]
            front, tokens, stored_at, data = text.split(b"|", 3)
            last = int(front)
            rows.append((last, int(tokens), int(stored_at), data, batch))
        except ValueError:
            last += 1
            unplaced.append(Damage(last, "its front is not as Recollect left it"))
    records, damaged = decode_rows(rows)
    return records, tuple(sorted((*damaged, *unplaced), key=lambda damage: damage.seq))
