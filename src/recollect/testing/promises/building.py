"""What the promises are tested with: addresses, messages, and one write of each kind."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from recollect.clock import Clock
from recollect.messages import Message, Role
from recollect.stores.base import Store
from recollect.stores.records import (
    Conversation,
    ConversationId,
    Full,
    Head,
    Lease,
    NewRecord,
    Order,
    Page,
    Swept,
    Written,
)

MakeStore = Callable[[Clock], Store]

NAMESPACE = "acme/chat"
HERE = ConversationId(NAMESPACE, "c-1")
THERE = ConversationId(NAMESPACE, "c-2")
ELSEWHERE = ConversationId("other/chat", "c-1")

TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Text that has broken somebody's store, log or template before.
HOSTILE = {
    "a NUL": "before\x00after",
    "only a NUL": "\x00",
    "control characters": "\x01\x02\x1b[31mred\x7f\x85",
    "line ends": "one\r\ntwo\rthree\nfour\u2028five\u2029",
    "emoji": "\U0001f9d1\u200d\U0001f680 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
    "right to left": "\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "combining marks": "e\u0301 \u00e9 Z\u0351\u036b\u0343\u036a",
    "the last code point": "\U0010ffff\uffff\ufeff",
    "blanks": "  \t leading and trailing \u00a0 ",
    "SQL": "'; DROP TABLE messages; -- \" ` $1 ? :name %s",
    "JSON": '{"role": "system", "content": [null, "\\u0000"]}',
    "braces": "{{ .input.secret }} {0} {name} ${HOME} $(id) %(x)s {% raw %}",
    "separators": "a|b|c\x1fd:e/f\\g,h;i*j[k]l?m_n%o",
    "a number": "0012345678901234567890.10",
    "a date": "2026-01-01T00:00:00Z",
    "null": "null",
}

# Addresses that are allowed, however odd.
ODD_NAMES = {
    "a colon": "user:42:chat",
    "slashes": "../../etc/passwd",
    "backslash": "a\\b",
    "emoji": "\U0001f9d1\u200d\U0001f680",
    "quotes": 'o\'brien "x" `y`',
    "percent": "100%25%",
    "underscore": "a_b",
    "star": "a*b?[c]",
    "braces": "{tag}",
    "a blank": " ",
    "SQL": "x'; DROP TABLE heads; --",
    "512 characters": "x" * 512,
    "512 wide characters": "\U0001f9d1" * 512,
    "right to left": "\u05e9\u05dc\u05d5\u05dd",
    "a number": "0",
}

# Addresses that are refused, by every store in the same way.
BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "513 characters": "x" * 513,
    "a NUL": "a\x00b",
    "a line end": "a\n",
    "an escape": "\x1b[0m",
    "DEL": "a\x7f",
    "C1 control": "a\x85b",
    "a lone surrogate": "a\ud800",
    "None": None,
    "a number": 5,
    "bytes": b"abc",
}


def said(text: str, *, tokens: int = 1, role: Role = "user") -> NewRecord:
    """Return one message to be stored."""
    return NewRecord(Message(role, text), tokens)


def say(*texts: str, tokens: int = 1) -> list[NewRecord]:
    """Return messages of the user to be stored."""
    return [said(text, tokens=tokens) for text in texts]


def texts(conversation: Conversation | None) -> list[str]:
    """Return the texts of a conversation that must exist."""
    assert conversation is not None
    return [message.text for message in conversation.messages]


def seqs(conversation: Conversation | None) -> list[int]:
    """Return the seqs of a conversation that must exist."""
    assert conversation is not None
    return [record.seq for record in conversation.records]


def written(result: Written | Full) -> Written:
    """Insist that a write took place."""
    assert isinstance(result, Written)
    return result


def full(result: Written | Full) -> Full:
    """Insist that a write was over the limits."""
    assert isinstance(result, Full)
    return result


async def loaded(store: Store, conversation: ConversationId = HERE) -> Conversation:
    """Load a conversation that must exist."""
    found = await store.load(conversation)
    assert found is not None
    return found


async def head_of(store: Store, conversation: ConversationId = HERE) -> Head:
    """Return the head of a conversation that must exist."""
    return (await loaded(store, conversation)).head


async def leased(
    store: Store,
    conversation: ConversationId = HERE,
    *,
    holder: str = "worker-1",
    ttl: timedelta = HOUR,
) -> Lease:
    """Take a lease that must be free."""
    lease = await store.lease(conversation, holder=holder, ttl=ttl)
    assert lease is not None
    return lease


async def state_of(
    store: Store, conversation: ConversationId = HERE
) -> tuple[Conversation | None, Conversation | None]:
    """Return all that can be seen of a conversation: live and archived."""
    return await store.load(conversation), await store.load(conversation, source="archive")


async def walk(
    store: Store, namespace: str = NAMESPACE, *, order: Order, limit: int = 2, **search: Any
) -> list[Page]:
    """Return all pages of a walk."""
    pages = [await store.find(namespace, order=order, limit=limit, **search)]
    while pages[-1].cursor is not None:
        assert len(pages) < 1000, "the walk does not end"
        pages.append(
            await store.find(namespace, order=order, limit=limit, cursor=pages[-1].cursor, **search)
        )
    return pages


def names(pages: Sequence[Page]) -> list[str]:
    """Return the ids on these pages."""
    return [head.conversation.id for page in pages for head in page.heads]


async def sweep_all(store: Store, *, limit: int = 1000) -> list[Swept]:
    """Sweep until nothing is left, and return what each sweep removed."""
    swept = [await store.sweep(limit=limit)]
    while swept[-1] != Swept():
        assert len(swept) < 500, "the sweep does not end"
        swept.append(await store.sweep(limit=limit))
    return swept[:-1]


# ---- one write of each kind, on a conversation that holds what ``prepared`` puts there -------------

Outcome = Written | Full | Head | bool | None
Write = Callable[..., Coroutine[Any, Any, Outcome]]


async def prepared(store: Store, **given: Any) -> Head:
    """Store "one", "two", "three", with seqs 1, 2, 3."""
    return written(await store.append(HERE, say("one", "two", "three"), **given)).head


async def append_one(store: Store, **given: Any) -> Outcome:
    """Append "four"."""
    return await store.append(HERE, say("four"), **given)


async def replace_all(store: Store, **given: Any) -> Outcome:
    """Put "new" in the place of everything."""
    return await store.replace(HERE, say("new"), **given)


async def fold_two(store: Store, **given: Any) -> Outcome:
    """Fold "one" and "two" into "both"."""
    return await store.fold(HERE, [1, 2], say("both"), **given)


async def annotate_it(store: Store, **given: Any) -> Outcome:
    """Set the title."""
    return await store.annotate(HERE, {"title": "Greetings"}, **given)


async def delete_it(store: Store, **given: Any) -> Outcome:
    """Delete it."""
    return await store.delete(HERE, **given)


STORING: dict[str, Write] = {"append": append_one, "replace": replace_all, "fold": fold_two}
CHANGING: dict[str, Write] = {**STORING, "annotate": annotate_it}
WRITES: dict[str, Write] = {**CHANGING, "delete": delete_it}
LEASED_WRITES: dict[str, Write] = {**STORING, "delete": delete_it}
EXPECTING: dict[str, Write] = {
    "replace": replace_all,
    "annotate": annotate_it,
    "delete": delete_it,
}
