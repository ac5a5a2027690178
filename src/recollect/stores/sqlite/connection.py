"""The connection that writes, and the heads that its transaction has changed."""

import sqlite3
from typing import Any

from recollect.stores.records import ConversationId
from recollect.stores.sqlite.rows import HeadRow
from recollect.stores.sqlite.statements import SQL

_MOST_HEADS = 1_000


class WritingConnection(sqlite3.Connection):
    """Knows heads that it has written, and writes each of them once a transaction.

    They are true until another connection commits. Who reads or writes the table ``heads`` by anything
    but an address calls ``save_heads`` before; who removes a head there calls ``forget_head``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heads: dict[ConversationId, HeadRow] = {}
        self._changed: dict[ConversationId, HeadRow] = {}
        self._data_version = -1

    def begun(self) -> None:
        """Forget the heads if another connection may have changed them; a transaction has begun."""
        (version,) = self.execute("PRAGMA data_version").fetchone()
        if version != self._data_version or len(self._heads) > _MOST_HEADS:
            self._data_version = version
            self._heads.clear()

    def forget_heads(self) -> None:
        """Forget all; the transaction has failed."""
        self._heads.clear()
        self._changed.clear()

    def head(self, conversation: ConversationId) -> HeadRow | None:
        """Return the row, which may be changed in place if it is then handed to ``change_head``."""
        head = self._heads.get(conversation)
        if head is None:
            row = self.execute(SQL["head"], conversation).fetchone()
            if row is not None:
                head = self._heads[conversation] = HeadRow(*row)
        return head

    def change_head(self, conversation: ConversationId, head: HeadRow) -> None:
        """Take note of a changed head; ``save_heads`` will write it."""
        self._changed[conversation] = head

    def forget_head(self, conversation: ConversationId) -> None:
        """Take note that the head has been removed."""
        self._heads.pop(conversation, None)
        self._changed.pop(conversation, None)

    def save_heads(self) -> None:
        """Write what has changed."""
        for head in self._changed.values():
            self._save_head(head)
        self._changed.clear()

    def _save_head(self, head: HeadRow) -> None:
        self.execute(
            SQL["save_head"],
            (
                head.owner,
                head.version,
                head.message_count,
                head.token_count,
                head.archived_count,
                head.stored_bytes,
                head.next_seq,
                head.updated_at,
                head.expires_at,
                head.folded_at,
                head.uid,
            ),
        )
        if head.sweep_at != head.sweep_due:
            head.sweep_at = head.sweep_due
            self.execute(SQL["save_sweep_at"], (head.sweep_at, head.uid))
