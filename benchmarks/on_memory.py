"""The store in memory, beside ``list.append`` behind an async method."""

from benchmarks import measures
from benchmarks.lines import Bare, Ours, seeded
from benchmarks.report import Report
from benchmarks.targets import MEMORY
from recollect.stores.in_memory import InMemoryStore


class Listing(Bare):
    """The least that could be called a store in memory."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.lists: dict[int, list[object]] = {n: [] for n in (*range(64), 999)}
        self.lists |= {conversation: [object()] * size for conversation, size in seeded(rounds)}

    async def add(self, conversation: int) -> None:
        self.lists[conversation].append(self.data)


async def measure(report: Report, rounds: int, wanted: set[str]) -> None:
    """Run the lines of this store."""
    async with InMemoryStore() as store:
        run = measures.Run("Memory", Listing(rounds), Ours(store), MEMORY, rounds, report)
        await run.ours.seed(rounds)
        if wanted & {"append", "read"}:
            await measures.in_microseconds(run)
        await measures.measure(run, wanted & {"crowds", "order"}, {}, None)
