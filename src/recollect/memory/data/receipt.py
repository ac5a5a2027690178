"""What is said of an erasure afterwards: in numbers and salted hashes, with no content."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was read again after the erasure, and how much was still found.

    Attributes:
        conversations: addresses of erased conversations that were loaded, live and archive.
        walks: walks over the indexes (by owner, by activity and by creation) and sums.
        traces: kinds of traces that were searched.
        found: conversations and traces of the user that are there nevertheless.
    """

    conversations: int
    walks: int
    traces: tuple[str, ...]
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an erasure did.

    Attributes:
        namespaces: where it looked, and looked again; in a project: tenant/project/memory.
        removed: how many of each kind; conversations, messages, archived messages, names of metadata,
            tokens, leases given out, and the kinds of the traces.
        salt, hashes: sha256(salt + namespace + NUL + id) of each removed conversation, so that who
            knows an address can tell that it is among them, and nobody else.
        rounds: how often everything was gone through; more than 2 says that somebody was writing.
        of_others: conversations below a given prefix that belong to somebody else, and were left.
        medium: what may still lie on the medium, in words.
    """

    user: str
    began_at: datetime
    ended_at: datetime
    namespaces: tuple[str, ...]
    removed: dict[str, int]
    salt: str
    hashes: tuple[str, ...]
    rounds: int
    of_others: int
    verified: Verified
    medium: str

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the user was found at the end."""
        return self.verified.found == 0

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "complete": self.is_complete,
            "user": self.user,
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "namespaces": list(self.namespaces),
            "removed": self.removed,
            "rounds": self.rounds,
            "of_others": self.of_others,
            "verified": {
                "conversations": self.verified.conversations,
                "walks": self.verified.walks,
                "traces": list(self.verified.traces),
                "found": self.verified.found,
            },
            "medium": self.medium,
            "salt": self.salt,
            "hashes": list(self.hashes),
        }
