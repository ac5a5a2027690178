"""Appends numbered messages to one limited memory until it is killed; prints each acknowledged one.

usage: writer.py DATABASE NAME FIRST_NUMBER
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from recollect.errors import FlushPending
from recollect.memory.memory import Memory
from recollect.memory.operations import FlushConfig
from recollect.memory.registry import Defined, Memories, Registry
from recollect.memory.resource import Resource
from recollect.messages import Message
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.sqlite import SqliteStore

MAX_TOKENS, MAX_MESSAGES = 2000, 100
KEY = "storm"


def storm_memory(store: SqliteStore) -> Memory:
    """The one memory that all writers share."""
    resource = Resource.model_validate(
        {
            "id": "storm",
            "type": "token_based",
            "max_tokens": MAX_TOKENS,
            "max_messages": MAX_MESSAGES,
        }
    )
    registry = Registry({"storm": Defined(resource=resource, file=Path("storm.yaml"))})
    memories = Memories(registry, durable=store, scratch=InMemoryStore(), project_id="soak")
    return memories.open("storm", KEY)


async def main(path: str, name: str, first: int) -> None:
    async with SqliteStore(Path(path)) as store:
        memory = storm_memory(store)
        number = first
        while True:
            message = Message(role="user", content=f"{name} {number} " + "word " * (number % 40))
            output = await memory.append([message], idempotency_key=f"{name}-{number}")
            assert output["message_count"] <= MAX_MESSAGES
            print(number, flush=True)
            if number % 97 == 0:
                with suppress(FlushPending):  # another writer is at it
                    await memory.flush(FlushConfig(force=True))
            number += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
