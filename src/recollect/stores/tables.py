"""What stores on SQL tables share: the row of a head, checks, and where a walk begins."""

import msgspec

from recollect.errors import LeaseLost, VersionConflict
from recollect.stores.cursors import read_cursor
from recollect.stores.moments import to_moment
from recollect.stores.records import Change, ConversationId, Head, Lease, Search

MOST = 2**63 - 1
"""The largest number of a column."""


class StoredHead(msgspec.Struct):
    """A row of the table of heads, column by column; changed in place, then saved."""

    uid: int
    namespace: str
    name: str
    owner: str | None
    version: int
    message_count: int
    token_count: int
    archived_count: int
    stored_bytes: int
    next_seq: int
    fence: int
    lease_holder: str | None
    lease_until: int | None
    created_at: int
    updated_at: int
    expires_at: int | None
    folded_at: int | None

    def lives_at(self, now: int) -> bool:
        """Tell whether the deadline has not come."""
        return self.expires_at is None or now < self.expires_at

    def is_leased_at(self, now: int) -> bool:
        """Tell whether somebody holds the lease."""
        return self.lease_until is not None and now < self.lease_until

    def head(self) -> Head:
        """The head as callers see it."""
        return Head(
            ConversationId(self.namespace, self.name),
            self.owner,
            self.uid,
            self.version,
            self.message_count,
            self.token_count,
            self.archived_count,
            self.next_seq,
            self.fence,
            to_moment(self.created_at),
            to_moment(self.updated_at),
            None if self.expires_at is None else to_moment(self.expires_at),
            None if self.folded_at is None else to_moment(self.folded_at),
        )


# ---- checks, in the contract's order -------------------------------------------------------------


def check(change: Change, live: StoredHead | None, now: int) -> None:
    """Refuse a change whose lease or version is no longer that of the conversation.

    Raises:
        LeaseLost, VersionConflict: in this order.
    """
    if change.lease is not None and (live is None or not holds(change.lease, live, now)):
        raise LeaseLost("the lease of this conversation is no longer held: take it again")
    version = live.version if live else 0
    if change.expect_version is not None and change.expect_version != version:
        raise VersionConflict(
            f"the conversation has version {version}, not {change.expect_version}: read again"
        )


def holds(lease: Lease, head: StoredHead, now: int) -> bool:
    """Tell whether this very lease is still held."""
    same = (head.uid, head.fence) == (lease.generation, lease.fence)
    return same and head.is_leased_at(now)


# ---- cursors -------------------------------------------------------------------------------------


def place_of(search: Search) -> tuple[int, int]:
    """Return (updated_at, uid) of the last conversation that this walk has met.

    Raises:
        InvalidInput: the cursor is none, or that of another walk.
    """
    beginning = (MOST, MOST) if search.order == "active" else (0, 0)
    return read_cursor(search, int) or beginning
