"""The names of the four backends, and how a test makes a store of one; see ``backend_fixtures``."""

from collections.abc import Callable

from recollect.stores.base import Store

BACKENDS = ("memory", "sqlite", "redis", "postgres")
Make = Callable[..., Store]
