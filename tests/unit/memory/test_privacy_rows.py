"""Rows 19, 21 and 60 of memory.md §13, through a memory; row 20 is in test_privacy_at_rest.py."""

import asyncio
import time
from collections.abc import Callable

import pytest
import tiktoken

from recollect.errors import ConfigError
from recollect.memory.counting.tokens import counter_for
from recollect.memory.memory import Memory
from recollect.memory.registry import Memories
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore

OpenMemory = Callable[..., Memory]
MAIL = "jane.doe@example.com"
SEED = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"


async def test_row_19_the_seeds_model_is_counted_as_cl100k_and_says_so(
    open_memory: OpenMemory,
) -> None:
    texts = ["hello world", "你好，世界！", "👩‍👩‍👧 café", "def f(x): return x"]
    counts = [2, 7, 14, 6]  # tiktoken 0.14.0, made once
    counter = counter_for("openai", "gpt-3.5-turbo")
    assert counter.method == "tiktoken:cl100k_base"
    assert tiktoken.encoding_name_for_model("gpt-3.5-turbo") == "cl100k_base"
    memory = open_memory(token_provider={"provider": "openai", "model": "gpt-3.5-turbo"})
    output = await memory.append([Message("user", text) for text in texts])
    assert [counter.count(text) for text in texts] == counts
    assert output["token_count"] == sum(counts)
    assert (await memory.stats())["token_method"] == "tiktoken:cl100k_base"


async def test_a_memory_is_counted_by_the_estimate_it_names(open_memory: OpenMemory) -> None:
    memory = open_memory(token_provider={"provider": "openai", "model": "estimate:unicode"})
    assert (await memory.append([Message("user", "四个汉字吗")]))["token_count"] == 3
    assert (await memory.stats())["token_method"] == "estimate:unicode"


async def test_row_21_system_messages_are_not_stored_and_others_are(
    open_memory: OpenMemory,
) -> None:
    memory = open_memory(privacy_policy={"non_persistable_message_types": ["System"]})
    output = await memory.append([Message("system", "be brief"), Message("user", "hello")])
    assert (output["messages_added"], output["dropped_by_policy"]) == (1, 1)
    assert "1 for the role or type" in output["warning"]
    stored = (await memory.read())["messages"]
    assert [(m["role"], m["content"]) for m in stored] == [("user", "hello")]


async def test_every_field_of_a_privacy_policy_has_its_effect(open_memory: OpenMemory) -> None:
    async def kept(**policy: object) -> list[str]:
        memory = open_memory(privacy_policy=policy)
        await memory.write([Message("user", f"I am {MAIL}"), Message("user", "hello")])
        return [message["content"] for message in (await memory.read())["messages"]]

    seed = {"redact_patterns": [SEED]}
    assert await kept(**seed) == ["I am [REDACTED]", "hello"]
    assert await kept(redact_patterns=["preset:email"]) == ["I am [REDACTED]", "hello"]
    assert await kept(**seed, default_redaction_string="<gone>") == ["I am <gone>", "hello"]
    assert await kept(**seed, strategy="mask") == [f"I am {'*' * 16}.com", "hello"]
    assert await kept(**seed, strategy="drop") == ["hello"]


def test_strategy_hash_hashes_with_the_projects_key_and_needs_it(
    store: Store, make_memories: Callable[..., Memories]
) -> None:
    policy = {"redact_patterns": [SEED], "strategy": "hash"}
    without = make_memories({"id": "talk", "privacy_policy": policy}, hash_key=None)
    with pytest.raises(ConfigError, match="strategy hash needs the project's key"):
        without.open("talk", "k")

    def hashed(key: bytes) -> str:
        memories = Memories(
            without.registry,
            durable=store,
            scratch=InMemoryStore(),
            project_id="demo",
            hash_key=lambda: key,
        )
        return memories.open("talk", "k").redactor.redact_text(MAIL)[0]

    assert hashed(b"one") == hashed(b"one") != hashed(b"two")


async def test_row_60_a_thousand_appends_leave_the_loop_free_and_the_counts_exact(
    open_memory: OpenMemory,
) -> None:
    """Among them 20 of 100 KB with private data, which would each stop the loop for 50 ms or more."""
    memory = open_memory(privacy_policy={"redact_patterns": [SEED, "preset:card"]})
    large = f"the mail of {MAIL} and so on with many more words; " * 2_000
    texts = [large if n % 50 == 0 else f"message {n} of {MAIL}" for n in range(1_000)]
    await memory.append([Message("user", "first")])  # loads the ranks
    lags: list[float] = []

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)  # the gauge: how much later than asked for it wakes up
            lags.append(time.perf_counter() - start)

    watching = asyncio.create_task(watch())
    for first in range(0, 1_000, 50):
        await asyncio.gather(
            *(memory.append([Message("user", text)]) for text in texts[first : first + 50])
        )
    watching.cancel()
    count = memory.counter().count
    expected = sum(count(text.replace(MAIL, "[REDACTED]")) for text in [*texts, "first"])
    stats = await memory.stats()
    assert (stats["message_count"], stats["token_count"]) == (1_001, expected)
    assert sorted(lags)[len(lags) * 9 // 10] < 0.1
