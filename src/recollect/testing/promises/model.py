"""The contract once more, as simply as it can be said: lists and dicts, no backend.

A store and this model are given the same calls and must give the same answers. It shares no code
with any store but the values they return.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from recollect.errors import KeyReused, LeaseLost, VersionConflict
from recollect.stores.records import (
    ConversationId,
    Full,
    Head,
    Lease,
    Limits,
    Totals,
    Written,
)

SEVEN_DAYS = timedelta(days=7)

Said = tuple[str, int]  # text, tokens
Given = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One message, live or archived."""

    seq: int
    text: str
    tokens: int
    batch: str | None = None


@dataclass(frozen=True)
class Known:
    """What a key was used for, and what came of it."""

    body: object
    result: Any
    until: datetime


@dataclass
class Talk:
    """One generation of a conversation."""

    address: ConversationId
    generation: int
    created: datetime
    updated: datetime
    owner: str | None = None
    version: int = 0
    next_seq: int = 1
    fence: int = 0
    deadline: datetime | None = None
    folded: datetime | None = None
    lease: tuple[str, datetime] | None = None
    live: list[Line] = field(default_factory=list)
    archive: list[Line] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, Known] = field(default_factory=dict)

    def head(self) -> Head:
        """Return the head a store must show."""
        return Head(
            conversation=self.address,
            owner=self.owner,
            generation=self.generation,
            version=self.version,
            message_count=len(self.live),
            token_count=sum(line.tokens for line in self.live),
            archived_count=len(self.archive),
            next_seq=self.next_seq,
            fence=self.fence,
            created_at=self.created,
            updated_at=self.updated,
            expires_at=self.deadline,
            folded_at=self.folded,
        )


class Model:
    """What a store must answer. ``new_generation`` is what the store calls the next new one."""

    def __init__(self) -> None:
        self.talks: dict[ConversationId, Talk] = {}
        self.deletes: dict[tuple[ConversationId, str], Known] = {}
        self.new_generation = 0
        self.generations: set[tuple[ConversationId, int]] = set()

    # ---- writes ----------------------------------------------------------------------------------

    def append(
        self, now: datetime, one: ConversationId, said: Sequence[Said], given: Given
    ) -> Written | Full:
        """Add lines."""
        body = ("append", [text for text, _ in said], given.get("metadata") or {})
        talk, known = self._begin(now, one, given, body)
        if known is not None:
            return self._again(known)
        live = talk.live if talk else []
        if self._over(given, [line.tokens for line in live] + [tokens for _, tokens in said]):
            return Full(talk.head() if talk else None)
        talk = talk or self._create(now, one)
        first = talk.next_seq
        self._add(talk, said)
        return self._done(now, talk, given, body, first if said else None, 0)

    def replace(
        self, now: datetime, one: ConversationId, said: Sequence[Said], given: Given
    ) -> Written | Full:
        """Make the lines exactly these."""
        body = ("replace", [text for text, _ in said], given.get("metadata") or {})
        talk, known = self._begin(now, one, given, body)
        if known is not None:
            return self._again(known)
        if self._over(given, [tokens for _, tokens in said]):
            return Full(talk.head() if talk else None)
        talk = talk or self._create(now, one)
        removed, talk.live = talk.live, []
        self._move(talk, removed, given)
        first = talk.next_seq
        self._add(talk, said)
        return self._done(now, talk, given, body, first if said else None, len(removed))

    def fold(
        self,
        now: datetime,
        one: ConversationId,
        remove: Sequence[int],
        said: Sequence[Said],
        given: Given,
    ) -> Written | Full:
        """Put lines in the place of others."""
        remove = sorted(remove)
        body = ("fold", [text for text, _ in said])
        talk, known = self._begin(now, one, given, body)
        if known is not None:
            return self._again(known)
        if talk is None or not set(remove) <= {line.seq for line in talk.live}:
            raise VersionConflict("not live")
        removed = [line for line in talk.live if line.seq in remove]
        kept = [line for line in talk.live if line.seq not in remove]
        added = [Line(seq, *new) for seq, new in zip(remove, said, strict=False)]
        if self._over(given, [line.tokens for line in kept + added]):
            return Full(talk.head())
        talk.live = sorted(kept + added, key=lambda line: line.seq)
        self._move(talk, removed, given)
        talk.version += 1
        talk.updated = talk.folded = max(talk.updated, now)
        result = Written(talk.head(), remove[0] if said else None, len(removed))
        self._remember(now, talk, given, body, result)
        return result

    def annotate(self, now: datetime, one: ConversationId, given: Given) -> Head | None:
        """Change what is known of a conversation."""
        body = ("annotate", given.get("metadata") or {})
        talk, known = self._begin(now, one, given, body)
        if known is not None:
            return known.result  # type: ignore[no-any-return]
        if talk is None:
            return None
        return self._done(now, talk, given, body, None, 0).head

    def delete(self, now: datetime, one: ConversationId, given: Given) -> bool:
        """Leave nothing but the record of the delete."""
        key = given.get("key")
        past = self.deletes.get((one, key or ""))
        if past is not None and now < past.until:
            return bool(past.result)
        talk, known = self._begin(now, one, given, ("delete",))
        assert known is None, "a key of a living conversation was never one of a delete"
        self.talks.pop(one, None)
        if key is not None:
            self.deletes[one, key] = Known(("delete",), talk is not None, now + SEVEN_DAYS)
        return talk is not None

    def recall(self, now: datetime, one: ConversationId, key: str) -> Written | None:
        """Return what a keyed write did."""
        talk = self.living(now, one)
        known = talk.keys.get(key) if talk else None
        if known is None or known.until <= now or not isinstance(known.result, Written):
            return None
        return self._again(known)

    # ---- leases ----------------------------------------------------------------------------------

    def lease(
        self, now: datetime, one: ConversationId, holder: str, ttl: timedelta
    ) -> Lease | None:
        """Take or renew."""
        talk = self.living(now, one)
        if talk is None:
            return None
        if talk.lease is None or talk.lease[1] <= now:
            talk.fence += 1
        elif talk.lease[0] != holder:
            return None
        talk.lease = (holder, now + ttl)
        return Lease(one, holder, talk.generation, talk.fence, now + ttl)

    def release(self, now: datetime, lease: Lease) -> bool:
        """Give back."""
        talk = self.living(now, lease.conversation)
        if talk is None or not self._holds(now, talk, lease):
            return False
        talk.lease = None
        return True

    # ---- reads -----------------------------------------------------------------------------------

    def living(self, now: datetime, one: ConversationId) -> Talk | None:
        """Return the conversation unless it is missing."""
        talk = self.talks.get(one)
        if talk is None or (talk.deadline is not None and talk.deadline <= now):
            return None
        return talk

    def heads(self, now: datetime) -> list[Head]:
        """Return the heads of all that are not missing."""
        return [talk.head() for one, talk in self.talks.items() if self.living(now, one)]

    def totals(self, now: datetime) -> Totals:
        """Sum up; but for the bytes, which only messages have."""
        heads = self.heads(now)
        return Totals(
            conversations=len(heads),
            messages=sum(head.message_count for head in heads),
            tokens=sum(head.token_count for head in heads),
            archived=sum(head.archived_count for head in heads),
            oldest=min((head.created_at for head in heads), default=None),
            newest=max((head.created_at for head in heads), default=None),
        )

    def deadlines(self) -> list[datetime]:
        """Return every moment at which something ends."""
        ends = [known.until for known in self.deletes.values()]
        for talk in self.talks.values():
            ends += [known.until for known in talk.keys.values()]
            ends += [talk.deadline] if talk.deadline else []
            ends += [talk.lease[1]] if talk.lease else []
        return ends

    # ---- steps -----------------------------------------------------------------------------------

    def _begin(
        self, now: datetime, one: ConversationId, given: Given, body: object
    ) -> tuple[Talk | None, Known | None]:
        """Check in the contract's order: key, lease, version."""
        talk = self.living(now, one)
        known = talk.keys.get(given.get("key") or "") if talk else None
        if known is not None and now < known.until:
            if known.body != body:
                raise KeyReused("k")
            return talk, known
        lease = given.get("lease")
        if lease is not None and (talk is None or not self._holds(now, talk, lease)):
            raise LeaseLost("lost")
        expected = given.get("expect_version")
        if expected is not None and expected != (talk.version if talk else 0):
            raise VersionConflict("another version")
        return talk, None

    def _holds(self, now: datetime, talk: Talk, lease: Lease) -> bool:
        return (
            talk.lease is not None
            and now < talk.lease[1]
            and (talk.generation, talk.fence) == (lease.generation, lease.fence)
        )

    def _over(self, given: Given, tokens: list[int]) -> bool:
        limits: Limits = given.get("limits") or Limits()
        total = sum(tokens) + limits.message_overhead_tokens * len(tokens)
        return (limits.max_messages is not None and len(tokens) > limits.max_messages) or (
            limits.max_tokens is not None and total > limits.max_tokens
        )

    def _create(self, now: datetime, one: ConversationId) -> Talk:
        assert (one, self.new_generation) not in self.generations, "a generation came again"
        self.generations.add((one, self.new_generation))
        self.talks.pop(one, None)
        self.talks[one] = Talk(one, self.new_generation, now, now)
        return self.talks[one]

    def _add(self, talk: Talk, said: Sequence[Said]) -> None:
        for text, tokens in said:
            talk.live.append(Line(talk.next_seq, text, tokens))
            talk.next_seq += 1

    def _move(self, talk: Talk, removed: list[Line], given: Given) -> None:
        label = given.get("archive_as")
        if label is not None:
            talk.archive += [Line(x.seq, x.text, x.tokens, label) for x in removed]

    def _done(
        self,
        now: datetime,
        talk: Talk,
        given: Given,
        body: object,
        first: int | None,
        removed: int,
    ) -> Written:
        for name, value in (given.get("metadata") or {}).items():
            talk.metadata.pop(name, None)
            if value is not None:
                talk.metadata[name] = value
        talk.owner = given.get("owner") or talk.owner
        talk.version += 1
        talk.updated = max(talk.updated, now)
        talk.deadline = now + given["ttl"] if given.get("ttl") else None
        result = Written(talk.head(), first, removed)
        is_annotate = isinstance(body, tuple) and body[0] == "annotate"
        self._remember(now, talk, given, body, result.head if is_annotate else result)
        return result

    def _remember(
        self, now: datetime, talk: Talk, given: Given, body: object, result: object
    ) -> None:
        if given.get("key"):
            until = max(now + SEVEN_DAYS, talk.deadline or now)
            talk.keys[given["key"]] = Known(body, result, until)

    def _again(self, known: Known) -> Written:
        first: Written = known.result
        return Written(first.head, first.first_seq, first.removed, replayed=True)
