"""``hybrid_summary``: the oldest units leave, and a summary stands where they stood.

Rules: specs/memory.md §5.8. The new summary takes up the earlier one, so there is only ever one and
nothing is a summary of a summary. Everything here is pure and depends on the messages alone.
"""

import hashlib
from collections.abc import Sequence
from math import ceil
from typing import Protocol

import msgspec

from recollect.memory.counting.tokens import MESSAGE_OVERHEAD_TOKENS
from recollect.memory.flushing.allocation import caps_of
from recollect.memory.flushing.digest import HEADING, cut_to, digest
from recollect.memory.flushing.priority import is_summary
from recollect.memory.flushing.stock import NOTHING, Piece, Rules, Size, Stock
from recollect.messages import Message, Role
from recollect.stores.records import NewRecord, Record

_FEWEST = 2  # messages worth a summary
_STEP = 0.1


class Summarizer(Protocol):
    """Writes a summary in place of the rules; may ask a model, so it is never called under a lease."""

    async def summarize(self, messages: Sequence[Message], *, earlier: str, max_tokens: int) -> str:
        """Return a summary of ``messages`` that takes up the ``earlier`` one (empty if there is none).

        Whatever it raises, the rules write the summary instead; what is too long is cut.
        """
        ...


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary and the units it stands for, an earlier summary included."""

    record: NewRecord
    pieces: tuple[Piece, ...]


def summarised(stock: Stock) -> Summary | None:
    """Return the summary that a flush puts in place of the oldest units; None if it gains nothing.

    It covers ``summarize_oldest_percent`` of the messages, and ten points more each time until the
    low-water mark is reached; never what is critical or open, nor the newest unit.
    """
    newest = len(stock.records) - 1
    free = [piece for piece in stock.free() if newest not in piece.positions]
    earlier = [piece for piece in free if piece.is_summary]
    talk = [piece for piece in free if not piece.is_summary]
    left = stock.size - sum((piece.size for piece in earlier), NOTHING) + Size(1, 0)
    most = left.messages - stock.least
    share = stock.rules.resource.flushing.summarize_oldest_percent
    best: Summary | None = None
    covered = 0
    while covered < len(talk):
        slice_ = _oldest(talk, share * len(stock.records), most)
        share += _STEP
        if len(slice_) <= covered:
            if share > 1 + _STEP:
                break
            continue
        covered = len(slice_)
        made = _made(stock, [*earlier, *slice_])
        if made is None:
            continue
        best = made
        if stock.is_low(_left(stock, made)):
            break
    return best if best and stock.fits(_left(stock, best)) else None


def _oldest(talk: Sequence[Piece], share: float, most: int) -> list[Piece]:
    """Return the first units that have so many messages together, at least two, never more than most."""
    wanted = max(ceil(share - 1e-9), _FEWEST)
    taken: list[Piece] = []
    count = 0
    for piece in talk:
        if count >= wanted or count + piece.size.messages > most:
            break
        taken.append(piece)
        count += piece.size.messages
    return taken if count >= _FEWEST else []


def _left(stock: Stock, summary: Summary) -> Size:
    gone = sum((piece.size for piece in summary.pieces), NOTHING)
    return stock.size - gone + Size(1, summary.record.tokens)


def _made(stock: Stock, pieces: Sequence[Piece]) -> Summary | None:
    """Summarise these units by rules; None if that takes as many tokens as they do."""
    records = [stock.records[i] for i in sorted(i for piece in pieces for i in piece.positions)]
    rules, longest = stock.rules, longest_summary(stock.rules)
    talk, earlier = parts(records)
    text = digest(talk, earlier, max_tokens=longest, count=rules.count)
    record = None if text is None else sealed(rules, text, records, longest)
    return None if record is None else Summary(record=record, pieces=tuple(pieces))


def longest_summary(rules: Rules) -> int:
    """Return the tokens a summary may have: ``summary_tokens``, or less by a cap that holds for it."""
    of_kind = Message("system", metadata={"kind": "summary"}, message_id="x")
    caps = [cap.tokens for cap in caps_of(rules.resource) if cap.has(of_kind)]
    most = rules.resource.flushing.summary_tokens
    return min([most, *(cap - MESSAGE_OVERHEAD_TOKENS for cap in caps)])


def parts(records: Sequence[Record]) -> tuple[list[Message], list[str]]:
    """Return the messages, and the texts of earlier summaries among them."""
    talk = [record.message for record in records if not is_summary(record.message)]
    earlier = [record.message.text for record in records if is_summary(record.message)]
    return talk, earlier


def from_model(rules: Rules, text: str, records: Sequence[Record]) -> NewRecord | None:
    """Return what a model wrote as a summary of these records, cut to length; None if unusable."""
    body = text.strip()
    longest = longest_summary(rules)
    cut = cut_to(f"{HEADING}\n{body}", longest, rules.count) if body else ""
    return sealed(rules, cut, records, longest) if len(cut) > len(HEADING) else None


def sealed(rules: Rules, text: str, records: Sequence[Record], longest: int) -> NewRecord | None:
    """Return a summary ready to be stored: redacted and counted; None if it saves no tokens.

    Its id, time and metadata come from what it covers, so the same messages give the same summary.
    """
    draft = rules.seal(_message(rules, text, records, saved=0))
    if draft is None or draft.tokens > longest:
        return None
    size = sum((Size(1, record.tokens) for record in records), NOTHING)
    saved = size.held - Size(1, draft.tokens).held
    if saved <= 0 or draft.tokens >= size.tokens:
        return None
    return rules.seal(_message(rules, text, records, saved=saved))


def _message(rules: Rules, text: str, records: Sequence[Record], *, saved: int) -> Message:
    messages = [record.message for record in records]
    earlier = [m.metadata for m in messages if is_summary(m)]
    talk = [m for m in messages if not is_summary(m)]
    ids = "\n".join(message.message_id for message in messages)
    last = max(message.at for message in messages)
    return Message(
        role=_role(rules),
        content=text,
        message_id=f"summary_{hashlib.sha256(ids.encode()).hexdigest()[:16]}",
        timestamp=last,
        metadata={
            "kind": "summary",
            "summarized_count": len(talk) + sum(_number(m, "summarized_count") for m in earlier),
            "from": _first(earlier) or min(message.at for message in messages).isoformat(),
            "to": last.isoformat(),
            "tokens_saved": saved + sum(_number(m, "tokens_saved") for m in earlier),
        },
    )


def _role(rules: Rules) -> Role:
    """``system``, which vendors accept anywhere, unless the memory does not keep it."""
    roles: tuple[Role, ...] = ("system", "assistant")
    for role in roles:
        probe = Message(role=role, content="x", message_id="x", metadata={"kind": "summary"})
        if rules.seal(probe) is not None:
            return role
    return "user"


def _number(metadata: dict[str, object], name: str) -> int:
    value = metadata.get(name)
    return value if isinstance(value, int) else 0


def _first(earlier: Sequence[dict[str, object]]) -> str | None:
    return min((str(m["from"]) for m in earlier if m.get("from")), default=None)
