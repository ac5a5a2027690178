"""Whether a store can be used: asked within a second, reported, never raised."""

import asyncio
from typing import Any

from recollect.errors import StoreError, StoreUnavailable
from recollect.memory.operations import HealthConfig
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Head

Json = dict[str, Any]

HEALTH_TIMEOUT_SECONDS = 1.0


async def store_health(
    store: Store, config: HealthConfig | None, namespace: str, address: ConversationId | None
) -> tuple[Json, Head | None]:
    """Probe a store within a second; returns the fields of a health report, and the head if asked."""
    config = config or HealthConfig()
    head = None
    output: Json = {"healthy": True, "store_status": "unchecked"}
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
            if config.check_connectivity:
                info = await store.ping()
                output |= {
                    "store_status": "connected",
                    "store": info.backend,
                    "durability": info.durability,
                }
            if address is not None:
                conversation = await store.load(address, last=0)
                head = conversation.head if conversation else None
            if config.include_stats:
                output["memory_stats"] = await _memory_stats(store, namespace)
    except TimeoutError:
        output = unhealthy(
            StoreUnavailable(f"the store did not answer within {HEALTH_TIMEOUT_SECONDS:g} s")
        )
    except StoreError as error:
        output = unhealthy(error)
    return output, head


def unhealthy(error: StoreError) -> Json:
    """Return the fields that report a store which cannot be used."""
    status = "degraded" if "breaker" in error.details else "disconnected"
    return {"healthy": False, "store_status": status, "error": error.as_json()}


async def _memory_stats(store: Store, namespace: str) -> Json:
    totals = await store.measure(namespace)
    return {
        "total_keys": totals.conversations,
        "total_messages": totals.messages,
        "total_tokens": totals.tokens,
        "archived_messages": totals.archived,
        "stored_bytes": totals.stored_bytes,
        "average_tokens_per_key": round(totals.tokens / totals.conversations, 2)
        if totals.conversations
        else 0,
    }
