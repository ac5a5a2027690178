"""The table of issue 3: what each store must reach, in ratios to the bare line of the same run."""

from typing import NamedTuple

GROWTH = 1.15  # from few messages or conversations to many, against the bare line's own growth
IMPORT = 0.2  # seconds


class Targets(NamedTuple):
    """What one store must reach; None where the table names no target.

    Attributes:
        append: a lone append, with owner and deadline.
        keyed: the same with an idempotency key.
        last: reading the last 50.
        all: reading all of 1,000.
        many: appends of 64 tasks to 64 conversations, share of the bare rate at least.
        one: appends of 16 tasks to one conversation, share of the bare rate at least.
        heads: heads of a user's 10 newest conversations, against the bare read of 50.
        stored: bytes a message.
    """

    append: float
    keyed: float | None
    last: float
    all: float | None
    many: float
    one: float
    heads: float | None
    stored: float | None


REDIS = Targets(append=1.6, keyed=1.8, last=2, all=8, many=1.4, one=1.15, heads=4, stored=1.25)
CLUSTER = 2.2  # a lone append
POSTGRES = Targets(append=1.4, keyed=1.55, last=2, all=4.5, many=0.65, one=1, heads=2.5, stored=1.4)
SQLITE = Targets(append=2.3, keyed=2.4, last=7, all=6.5, many=3.5, one=3, heads=5, stored=1.2)
MEMORY = Targets(
    append=3, keyed=None, last=3, all=None, many=0.15, one=0.15, heads=None, stored=None
)
"""In memory, ``append`` and ``last`` are microseconds."""
