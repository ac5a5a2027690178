# ruff: noqa: D102 - the name of a test is its sentence
"""Many tasks at once: nothing lost, nothing twice, nothing half seen."""

import asyncio

from recollect.errors import VersionConflict
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Full, Limits
from recollect.testing.promises.building import (
    HERE,
    NAMESPACE,
    head_of,
    loaded,
    names,
    prepared,
    said,
    say,
    texts,
    walk,
    written,
)


class Concurrency:
    """Each write is one step, whoever else writes."""

    async def test_many_writers_lose_nothing_and_double_nothing(self, store: Store) -> None:
        await _storm(store, writers=20, calls=10, batch=3)
        expected = sorted(f"{w}.{c}.{n}" for w in range(20) for c in range(10) for n in range(3))
        assert sorted(texts(await store.load(HERE))) == expected

    async def test_many_writers_keep_the_counts_exact(self, store: Store) -> None:
        await _storm(store, writers=20, calls=10, batch=3)
        found = await loaded(store)
        assert (found.head.message_count, found.head.version) == (600, 200)
        assert found.head.token_count == sum(record.tokens for record in found.records)
        assert [record.seq for record in found.records] == list(range(1, 601))

    async def test_the_order_of_each_writer_is_kept(self, store: Store) -> None:
        await _storm(store, writers=10, calls=20, batch=2)
        stored = texts(await store.load(HERE))
        for writer in range(10):
            own = [text for text in stored if text.startswith(f"{writer}.")]
            assert own == [f"{writer}.{c}.{n}" for c in range(20) for n in range(2)]

    async def test_the_messages_of_one_call_stay_adjacent(self, store: Store) -> None:
        await _storm(store, writers=10, calls=10, batch=5)
        stored = texts(await store.load(HERE))
        for start in range(0, len(stored), 5):
            writer, call, _ = stored[start].split(".")
            assert stored[start : start + 5] == [f"{writer}.{call}.{n}" for n in range(5)]

    async def test_each_result_tells_its_own_place(self, store: Store) -> None:
        results = await asyncio.gather(
            *(store.append(HERE, say(f"{n}", f"{n}!")) for n in range(50))
        )
        by_seq = {record.seq: record.message.text for record in (await loaded(store)).records}
        for n, result in enumerate(results):
            seq = written(result).first_seq
            assert seq is not None
            assert (by_seq[seq], by_seq[seq + 1]) == (f"{n}", f"{n}!")
        assert sorted(written(r).head.version for r in results) == list(range(1, 51))

    async def test_many_first_writes_create_one_conversation(self, store: Store) -> None:
        results = await asyncio.gather(*(store.append(HERE, say(str(n))) for n in range(20)))
        assert len({written(r).head.generation for r in results}) == 1
        assert names(await walk(store, order="created")) == [HERE.id]

    async def test_writers_on_many_conversations_do_not_mix(self, store: Store) -> None:
        ids = [ConversationId(NAMESPACE, f"c-{n}") for n in range(10)]
        await asyncio.gather(*(store.append(one, say(one.id)) for one in ids * 10))
        for one in ids:
            assert texts(await store.load(one)) == [one.id] * 10

    async def test_hard_limits_hold_for_all_writers_together(self, store: Store) -> None:
        limits = Limits(max_messages=25)
        results = await asyncio.gather(
            *(store.append(HERE, say("a", "b"), limits=limits) for _ in range(50))
        )
        assert sum(isinstance(r, Full) for r in results) == 38
        assert (await head_of(store)).message_count == 24

    async def test_only_one_of_many_replaces_of_a_version_happens(self, store: Store) -> None:
        version = (await prepared(store)).version
        results = await asyncio.gather(
            *(store.replace(HERE, say(str(n)), expect_version=version) for n in range(10)),
            return_exceptions=True,
        )
        conflicts = [r for r in results if isinstance(r, VersionConflict)]
        assert len(conflicts) == 9
        assert (await head_of(store)).version == version + 1

    async def test_only_one_of_many_folds_of_a_message_happens(self, store: Store) -> None:
        await prepared(store)
        results = await asyncio.gather(
            *(store.fold(HERE, [1, 2], say(str(n)), archive_as="old") for n in range(10)),
            return_exceptions=True,
        )
        assert len([r for r in results if isinstance(r, VersionConflict)]) == 9
        found = await loaded(store)
        assert (found.head.message_count, found.head.archived_count) == (2, 2)

    async def test_a_fold_loses_nothing_that_is_appended_meanwhile(self, store: Store) -> None:
        await prepared(store)
        await asyncio.gather(
            *(store.append(HERE, say(str(n))) for n in range(20)),
            store.fold(HERE, [1, 2, 3], say("summary"), archive_as="old"),
            *(store.append(HERE, say(str(n))) for n in range(20, 40)),
        )
        stored = texts(await store.load(HERE))
        assert stored[0] == "summary"
        assert sorted(stored[1:], key=int) == [str(n) for n in range(40)]

    async def test_all_kinds_of_writes_at_once_keep_the_counts_exact(self, store: Store) -> None:
        await prepared(store)
        await asyncio.gather(*(_one_of_each(store, n) for n in range(15)))
        found, archive = await loaded(store), await store.load(HERE, source="archive")
        assert archive is not None
        assert found.head.message_count == len(found.records)
        assert found.head.token_count == sum(record.tokens for record in found.records)
        assert found.head.archived_count == len(archive.records)

    async def test_cancelled_writes_are_whole_or_not_there(self, store: Store) -> None:
        tasks = [
            asyncio.ensure_future(store.append(HERE, say(f"{n}.a", f"{n}.b"), key=f"k-{n}"))
            for n in range(40)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        again = [await store.append(HERE, say(f"{n}.a", f"{n}.b"), key=f"k-{n}") for n in range(40)]
        assert [written(r).replayed for r in again[1::2]] == [True] * 20
        for first, second in zip(results, again, strict=True):
            assert isinstance(first, asyncio.CancelledError) or written(second).replayed
        found = await loaded(store)
        pairs = [
            (a.split(".")[0], b.split(".")[0])
            for a, b in zip(*[iter(texts(found))] * 2, strict=True)
        ]
        assert all(a == b for a, b in pairs)
        assert sorted(int(a) for a, _ in pairs) == list(range(40))
        assert (found.head.message_count, found.head.version) == (80, 40)

    async def test_a_read_sees_head_and_messages_of_one_moment(self, store: Store) -> None:
        await prepared(store)
        done = asyncio.Event()

        async def read() -> int:
            reads = 0
            while not done.is_set() or reads == 0:
                found = await loaded(store)
                assert found.head.message_count == len(found.records)
                assert found.head.token_count == sum(r.tokens for r in found.records)
                assert found.head.next_seq > found.records[-1].seq
                assert found.decoded_metadata().get("count", 3) == len(found.records)
                reads += 1
                await asyncio.sleep(0)
            return reads

        async def write() -> None:
            for n in range(2, 60):
                new = [said("x", tokens=n)] * (n % 7 + 1)
                await store.replace(HERE, new, metadata={"count": len(new)})
                await asyncio.sleep(0)
            done.set()

        *reads, _ = await asyncio.gather(read(), read(), read(), write())
        assert all(reads)


async def _storm(store: Store, *, writers: int, calls: int, batch: int) -> None:
    async def write(writer: int) -> None:
        for call in range(calls):
            new = [said(f"{writer}.{call}.{n}", tokens=writer + n) for n in range(batch)]
            await store.append(HERE, new)

    await asyncio.gather(*(write(writer) for writer in range(writers)))


async def _one_of_each(store: Store, n: int) -> None:
    await store.append(HERE, [said("a", tokens=n), said("b", tokens=n)])
    first = (await loaded(store)).records[0].seq
    try:
        await store.fold(HERE, [first], [said("s", tokens=3)], archive_as="fold")
    except VersionConflict:
        await store.append(HERE, [said("c", tokens=5)])
    if n % 3 == 0:
        await store.replace(HERE, [said("r", tokens=n)] * n or say("x"), archive_as="replace")
    await store.append(HERE, [said("d", tokens=n)], key=f"k-{n % 4}-{n}")
