"""The suites that a store must pass: ``StoreSuite`` and ``DurableStoreSuite``.

What belongs here: every promise of ``recollect.stores.base`` as a test, for our stores and for those
of others. What does not: tests of one backend. Development only: it needs ``pytest``,
``pytest-asyncio`` and ``hypothesis``, which Recollect itself does not install.

A store is put under test by a class with one fixture. Both suites run whole; nothing in them sleeps,
skips, or asks which backend it has before it::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def make_store(self) -> MakeStore:
            return lambda clock: MyStore(fresh_place(), clock=clock)

A store whose data outlive it passes the second suite too, which needs three fixtures: ``reopen``
(a further, unopened store on the same data), ``damage`` and ``raise_schema_version``.
"""

import pytest

pytest.register_assert_rewrite("recollect.testing.promises")  # before the suites are imported

from recollect.testing.promises.building import MakeStore  # noqa: E402
from recollect.testing.promises.durability import Damage, DurableStoreSuite, RaiseSchemaVersion  # noqa: E402
from recollect.testing.promises.suite import StoreSuite  # noqa: E402

__all__ = ["Damage", "DurableStoreSuite", "MakeStore", "RaiseSchemaVersion", "StoreSuite"]
