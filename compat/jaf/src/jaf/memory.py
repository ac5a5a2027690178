"""Conversation memory, under jaf's name for it: all that ``recollect.memory`` has."""

from recollect import memory as _memory
from recollect.memory import *  # noqa: F403 - the same names, whatever they are

__all__ = _memory.__all__
