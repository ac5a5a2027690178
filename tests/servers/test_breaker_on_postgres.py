"""PostgreSQL behind a circuit breaker keeps every promise."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from recollect.clock import Clock
from recollect.stores.breaker import BreakerStore
from recollect.stores.postgres import PostgresStore
from recollect.testing import MakeStore, StoreSuite

pytest_plugins = ["tests.servers.postgres_server"]


class TestAroundPostgres(StoreSuite):
    histories = 15  # they are tried without a breaker too

    @pytest.fixture
    def make_store(self, postgres_url: str, postgres_table: Callable[[], str]) -> MakeStore:
        def make(clock: Clock) -> BreakerStore:
            name = postgres_table()
            inner = PostgresStore(postgres_url, table_name=name, clock=clock)
            return BreakerStore(inner, timeout=timedelta(minutes=1))  # the machine may be busy

        return make
