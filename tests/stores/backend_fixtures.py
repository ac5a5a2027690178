"""The four backends side by side, for what is derived from the contract: a plugin."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from recollect.clock import Clock
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import CallLimits
from recollect.stores.redis import RedisStore
from recollect.stores.sqlite import SqliteStore
from tests.servers.redis_server import RedisServer
from tests.stores.backends import Make

_numbers = count()


@pytest.fixture
def make(
    folder: Path,
    redis_server: RedisServer,
    postgres_url: str,
    postgres_table: Callable[[], str],
) -> Make:
    """Make an unopened, empty store of a backend."""

    def make(
        backend: str, *, clock: Clock | None = None, call_limits: CallLimits | None = None
    ) -> Store:
        number = next(_numbers)
        match backend:
            case "memory":
                return InMemoryStore(clock=clock, call_limits=call_limits)
            case "sqlite":
                path = folder / f"backend-{number}.db"
                return SqliteStore(path, clock=clock, call_limits=call_limits)
            case "redis":
                prefix = f"backend-{number}:"
                return RedisStore(
                    redis_server.url,
                    prefix=prefix,
                    timeout=timedelta(minutes=1),  # the machine may be busy
                    clock=clock,
                    call_limits=call_limits,
                )
        name = postgres_table()
        return PostgresStore(postgres_url, table_name=name, clock=clock, call_limits=call_limits)

    return make
