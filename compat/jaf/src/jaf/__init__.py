"""The import name ``jaf`` for Recollect (seed 004); re-exports and nothing else."""

from jaf import memory as _memory
from jaf.core import types as _types
from jaf.core.types import *  # noqa: F403 - the same names, whatever they are
from jaf.memory import *  # noqa: F403 - the same names, whatever they are
from recollect import approve, function_tool, reject, run

__all__ = [
    *_types.__all__,
    *_memory.__all__,
    "approve",
    "function_tool",
    "reject",
    "run",
]
