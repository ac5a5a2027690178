"""``delete`` and ``clear``."""

import asyncio
import random

from recollect.errors import FlushPending, InvalidInput, VersionConflict
from recollect.memory.flush import MAX_ROUNDS
from recollect.memory.keys import backup_label
from recollect.memory.leases import LEASE_WAIT
from recollect.memory.opened import Json, Opened
from recollect.memory.operations import ClearConfig
from recollect.stores.records import Lease, Written


async def delete(memory: Opened, *, idempotency_key: str | None = None) -> Json:
    """Remove everything under this key, archive included; ``deleted`` tells if there was any.

    Raises:
        MemoryReadOnly: the mode forbids it; nothing changed.
    """
    memory.allow("delete")
    deleted = await memory.store.delete(memory.address, key=idempotency_key)
    return memory.output("delete", None, deleted=deleted)


async def clear(
    memory: Opened, config: ClearConfig | None = None, *, idempotency_key: str | None = None
) -> Json:
    """Remove all messages but keep the conversation; with ``backup`` they stay in the archive.

    A backup is named after the version that it is of, which takes two steps. They hold the lease, so
    that no flush comes in between again and again.

    Raises:
        InvalidInput: ``confirm`` is not true; nothing changed.
        LeaseTaken: somebody else works on the conversation and did not end in time.
        MemoryReadOnly: the mode forbids it; nothing changed.
    """
    memory.allow("clear")
    config = config or ClearConfig()
    if not config.confirm:
        raise InvalidInput(
            "confirm flag must be true to clear memory: clear_config: {confirm: true}"
        )
    if not config.backup:
        return await _clear(memory, config, idempotency_key, None)
    ttl = memory.resource.locking.clear_ttl
    async with memory.held("clear", ttl, wait=LEASE_WAIT) as lease:
        return await _clear(memory, config, idempotency_key, lease)


async def _clear(
    memory: Opened, config: ClearConfig, idempotency_key: str | None, lease: Lease | None
) -> Json:
    for _ in range(MAX_ROUNDS):
        known = await memory.recall(idempotency_key)
        if known is not None:
            return _cleared(memory, known, config)
        head = await memory.head()
        if head is None or not head.message_count:
            return memory.output("clear", head, messages_cleared=0, backup_created=False)
        label = backup_label(memory.address.id, head.version)
        try:
            result = await memory.store.replace(
                memory.address,
                (),
                ttl=memory.ttl("clear"),
                expect_version=head.version,
                archive_as=label if config.backup else None,
                key=idempotency_key,
                lease=lease,
            )
        except VersionConflict:
            await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - jitter
            continue
        if isinstance(result, Written):
            return _cleared(memory, result, config)
    raise FlushPending("other writers keep changing this memory: try again")


def _cleared(memory: Opened, written: Written, config: ClearConfig) -> Json:
    label = backup_label(memory.address.id, written.head.version - 1) if config.backup else None
    return memory.output(
        "clear",
        written.head,
        messages_cleared=written.removed,
        backup_created=label is not None,
        backup_key=label,
    )
