"""The suite that every store and every wrapper of a store must pass."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.stores.base import Store
from recollect.testing.promises.addressing import Addressing, BadAddresses
from recollect.testing.promises.appending import Aliasing, Appending, Refusing
from recollect.testing.promises.building import MakeStore
from recollect.testing.promises.concurrency import Concurrency
from recollect.testing.promises.contents import Contents
from recollect.testing.promises.finding import Filtering, Ordering, Paging, Walking
from recollect.testing.promises.history import Histories
from recollect.testing.promises.keys import (
    KeyedDeletes,
    KeyLife,
    KeyScope,
    OtherBodies,
    Recalling,
    Replays,
    UnusedKeys,
)
from recollect.testing.promises.leasing import LeasedWrites, Leasing, Releasing
from recollect.testing.promises.limiting import Limiting
from recollect.testing.promises.reading import Loading, LoadingMany, Measuring, ReadsNeverWrite
from recollect.testing.promises.replacing import (
    Annotating,
    Archiving,
    Deleting,
    Expecting,
    Folding,
    Replacing,
)
from recollect.testing.promises.timing import Dated, Expiry, Retention, SteppingBack
from recollect.testing.promises.upkeep import OpeningAndClosing, Scrubbing, Sweeping


@pytest.mark.asyncio
class StoreSuite(
    Appending, Refusing, Aliasing,
    Replacing, Folding, Archiving, Annotating, Deleting, Expecting,
    Loading, LoadingMany, Measuring, ReadsNeverWrite,
    Ordering, Paging, Walking, Filtering,
    Expiry, Retention, SteppingBack, Dated,
    Replays, OtherBodies, KeyScope, KeyLife, KeyedDeletes, UnusedKeys, Recalling,
    Limiting, Leasing, Releasing, LeasedWrites,
    Sweeping, Scrubbing, OpeningAndClosing,
    Addressing, BadAddresses, Contents, Concurrency, Histories,
):  # fmt: skip
    """Subclass it with a fixture ``make_store``: from a clock to a new, empty, unopened store."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The time of the store under test; it stands still until a test moves it."""
        return ManualClock()

    @pytest_asyncio.fixture
    async def store(self, make_store: MakeStore, clock: ManualClock) -> AsyncIterator[Store]:
        """Yield the store under test: open and empty."""
        async with make_store(clock) as store:
            yield store
