"""What an agent may do with a memory that it shares with others.

The memory itself refuses, so it does not matter who forgets to look at the mode (specs/memory.md §6.2).
"""

from typing import Final, Literal

from recollect.errors import MemoryReadOnly
from recollect.memory.operations import Operation

Mode = Literal["read-write", "read-only", "append-only"]

_REFUSED: Final[dict[Mode, frozenset[Operation]]] = {
    "read-write": frozenset(),
    "read-only": frozenset({"append", "write", "delete", "clear", "flush"}),
    "append-only": frozenset({"write", "delete", "clear", "flush"}),
}


def check_allowed(mode: Mode, operation: Operation, memory_ref: str) -> None:
    """Refuse an operation that a mode does not allow.

    Raises:
        MemoryReadOnly: nothing was read or stored.
    """
    if operation in _REFUSED[mode]:
        raise MemoryReadOnly(
            f"memory {memory_ref!r} is {mode} here, so {operation} is refused: give the reference "
            "mode: read-write, or leave it to somebody who has that",
            memory_ref=memory_ref,
            operation=operation,
            mode=mode,
        )
