"""What a text must hold to carry a user, and who keeps such texts beside the conversations."""

import re
from dataclasses import dataclass
from typing import Protocol

from recollect.memory.lifecycle import HowEnded, Uses
from recollect.stores.base import Store
from recollect.templates import escape_key_part

# Letters, digits and what joins them in names: "ada" is neither in "adam" nor in "ada@example.com".
_BEFORE, _AFTER = r"(?<![\w@.-])", r"(?![\w@-]|\.\w)"


@dataclass(frozen=True, slots=True)
class Carries:
    """Tells whether a text names a user, or one of the conversations that were the user's."""

    user: str
    ids: frozenset[str] = frozenset()

    def __call__(self, text: str) -> bool:
        """Tell it of one text."""
        if text in self.ids:
            return True
        names = {self.user, escape_key_part(self.user)}
        return any(re.search(_BEFORE + re.escape(name) + _AFTER, text) for name in names)


class Traces(Protocol):
    """What is kept beside the conversations and may carry a user, such as the records of runs."""

    kind: str

    async def erase(self, carries: Carries) -> int:
        """Remove what carries the user; return how many."""
        ...

    async def count(self, carries: Carries) -> int:
        """Return how many are left that do."""
        ...


class UseTraces:
    """What runs have noted of the conversations they use (``lifecycle``), as an erasure sees it.

    A use names its conversation as the store does. One whose conversation is there has still to be
    settled. One whose conversation is gone is removed, if its run has ended; a run that goes on may
    write there again, and has to clean up then: its use is left, and counted.
    """

    kind = "uses"

    def __init__(self, uses: Uses, store: Store, how_ended: HowEnded) -> None:
        self._uses = uses
        self._store = store
        self._how_ended = how_ended

    async def erase(self, carries: Carries) -> int:
        """Remove those of ended runs; return how many."""
        removed = 0
        for use in await self._uses.left_over(self._store, carries):
            if use.due is not None or self._how_ended(use.run_id) is not None:
                removed += await self._store.delete(use.record)
        return removed

    async def count(self, carries: Carries) -> int:
        """Return how many there are, those of living runs among them."""
        return len(await self._uses.left_over(self._store, carries))
