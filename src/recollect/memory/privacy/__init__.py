"""What must not be kept: patterns whose matches are replaced, and messages that are not stored.

Patterns are RE2 expressions, the dialect of Go, or names of presets (``preset:email``). Everything here
is pure; nothing here logs, and no error quotes what it was reading. ``patterns`` is the only module that
knows google-re2. What walks messages is in ``redactor``, what a message says of itself in ``flags``.
"""

from recollect.memory.privacy.patterns import check_pattern
from recollect.memory.privacy.presets import PRESETS
from recollect.memory.privacy.redactor import Redactor, Screened, merged
from recollect.memory.privacy.replacing import DEFAULT_REPLACEMENT, Strategy

__all__ = [
    "DEFAULT_REPLACEMENT",
    "PRESETS",
    "Redactor",
    "Screened",
    "Strategy",
    "check_pattern",
    "merged",
]
