"""A memory: a resource opened at one key. Its eight operations, over one conversation of a store.

Every operation returns plain JSON with ``success``, ``operation``, ``memory_ref`` and ``key``;
``message_count`` and ``token_count`` are of the live messages right after it. Each is written beside
this file, next to what it is made of.
"""

from recollect.memory import adding, flush, reading, removing
from recollect.memory.opened import Json, Opened

__all__ = ["Json", "Memory"]


class Memory(Opened, frozen=True, kw_only=True):
    """One conversation as its resource wants it kept, with all that can be done to it."""

    append = adding.append
    write = adding.write

    read = reading.read
    view = reading.view
    stats = reading.stats
    health = reading.health

    flush = flush.flush
    clear = removing.clear
    delete = removing.delete
