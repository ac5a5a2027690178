"""PostgreSQL behind a circuit breaker keeps every promise."""

from itertools import count

import pytest

from recollect.clock import Clock
from recollect.stores.breaker import BreakerStore
from recollect.stores.postgres import PostgresStore
from recollect.testing import MakeStore, StoreSuite

pytest_plugins = ["tests.servers.postgres_server"]

_tables = count()


class TestAroundPostgres(StoreSuite):
    @pytest.fixture
    def make_store(self, postgres_url: str, postgres_schema: str) -> MakeStore:
        def make(clock: Clock) -> BreakerStore:
            name = f"{postgres_schema}.t{next(_tables)}"
            return BreakerStore(PostgresStore(postgres_url, table_name=name, clock=clock))

        return make
