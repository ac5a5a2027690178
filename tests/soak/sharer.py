"""Appends numbered messages to a memory that many share, until its time is over; flushes now and then.

usage: sharer.py DATABASE NAME SECONDS STRATEGY

Prints how many messages were stored, and the largest number of tokens and messages it ever saw.
"""

import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

from recollect.errors import FlushPending
from recollect.memory.budget import held_tokens
from recollect.memory.memory import Memory
from recollect.memory.operations import FlushConfig
from recollect.memory.registry import Defined, Memories, Registry
from recollect.memory.resource import Resource
from recollect.messages import Message
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.sqlite import SqliteStore

MAX_TOKENS, MAX_MESSAGES = 2000, 60


def shared_memory(store: SqliteStore, strategy: str) -> Memory:
    """The one memory that all share."""
    resource = Resource.model_validate(
        {
            "id": "shared",
            "type": "token_based",
            "max_tokens": MAX_TOKENS,
            "max_messages": MAX_MESSAGES,
            "flushing": {"type": strategy},
        }
    )
    registry = Registry({"shared": Defined(resource=resource, file=Path("shared.yaml"))})
    memories = Memories(registry, durable=store, scratch=InMemoryStore(), project_id="soak")
    return memories.open("shared", "all")


async def main(path: str, name: str, seconds: float, strategy: str) -> None:
    dice = random.Random(name)
    number = most_tokens = most_messages = 0
    async with SqliteStore(Path(path)) as store:
        memory = shared_memory(store, strategy)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            text = f"{name} {number} My code is {name}-{number}. " + "word " * dice.randrange(60)
            await memory.append([Message("user", text)], idempotency_key=f"{name}-{number}")
            number += 1
            if dice.random() < 0.05:
                with suppress(FlushPending):  # another one is at it
                    await memory.flush(FlushConfig(force=dice.random() < 0.5))
            loaded = await store.load(memory.address, last=0)
            assert loaded is not None
            head = loaded.head
            most_messages = max(most_messages, head.message_count)
            most_tokens = max(most_tokens, held_tokens(head.message_count, head.token_count))
    print(json.dumps({"stored": number, "tokens": most_tokens, "messages": most_messages}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
