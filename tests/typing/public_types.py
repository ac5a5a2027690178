"""What a type checker knows of seed 004's face; checked by mypy as part of ``make lint``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Dict, List, Optional, assert_type  # noqa: UP035  # as the seed writes it

from recollect.memory import (
    ConversationMemory,
    Failure,
    InMemoryConfig,
    MemoryConfig,
    MemoryError,  # noqa: A004  # seed 004's name
    MemoryNotFoundError,
    MemoryProvider,
    MemoryProviderConfig,
    MemoryQuery,
    MemoryStorageError,
    PostgresConfig,
    RedisConfig,
    Result,
    SQLiteConfig,
    StoreProvider,
    Success,
    create_in_memory_provider,
    create_memory_provider_from_env,
    create_postgres_provider,
    create_redis_provider,
    create_sqlite_provider,
    get_memory_provider_info,
    test_memory_provider_connection,
)
from recollect.messages import Message


async def factories() -> None:
    assert_type(create_in_memory_provider(), StoreProvider)
    assert_type(create_in_memory_provider(InMemoryConfig(max_messages=5)), StoreProvider)
    assert_type(await create_sqlite_provider(SQLiteConfig(path="x.db")), StoreProvider)
    assert_type(await create_redis_provider(RedisConfig()), StoreProvider)
    assert_type(await create_redis_provider(RedisConfig(), object()), StoreProvider)
    assert_type(await create_postgres_provider(PostgresConfig()), StoreProvider)
    assert_type(await create_memory_provider_from_env(), StoreProvider)
    assert_type(await create_memory_provider_from_env({"redis": object()}), StoreProvider)
    assert_type(get_memory_provider_info(), dict[str, Any])
    assert_type(await test_memory_provider_connection(), dict[str, Any])


async def methods(provider: StoreProvider, messages: list[Message]) -> None:
    assert_type(await provider.store_messages("c", messages), Result[None, MemoryError])
    assert_type(await provider.append_messages("c", messages, {"x": 1}), Result[None, MemoryError])
    assert_type(await provider.get_conversation("c"), ConversationMemory | None)
    assert_type(await provider.get_recent_messages("c", limit=20), list[Message])
    assert_type(await provider.find_conversations(MemoryQuery()), list[ConversationMemory])
    assert_type(await provider.delete_conversation("c"), bool)
    assert_type(await provider.clear_user_conversations("u"), int)
    assert_type(await provider.get_stats(user_id="u"), dict[str, Any])
    assert_type(await provider.health_check(), dict[str, Any])
    assert_type(await provider.truncate_conversation_after("c", "m"), Result[int, MemoryError])
    assert_type(
        await provider.get_conversation_until_message("c", "m"),
        Result[ConversationMemory | None, MemoryError],
    )
    assert_type(await provider.mark_regeneration_point("c", "m", {}), Result[None, MemoryError])
    await provider.close()


async def results(provider: StoreProvider) -> None:
    result = await provider.truncate_conversation_after("c", "m")
    if isinstance(result, Success):
        assert_type(result.data, int)
    else:
        assert_type(result, Failure[MemoryError])
        assert_type(result.error, MemoryError)


def values(conversation: ConversationMemory, query: MemoryQuery, message: Message) -> None:
    assert_type(conversation.messages, Sequence[Message])
    assert_type(conversation.messages[0], Message)
    assert_type(conversation.user_id, str | None)
    assert_type(conversation.created_at, datetime | None)
    assert_type(query.limit, int | None)
    assert_type(message.dict(), dict[str, Any])


def errors(missing: MemoryNotFoundError, storage: MemoryStorageError) -> None:
    assert_type(missing.conversation_id, str)
    assert_type(storage.operation, str)
    assert_type(storage.provider, str)
    assert_type(storage.cause, BaseException | None)


def configs(config: MemoryProviderConfig) -> None:
    if config.type == "redis":
        assert_type(config, RedisConfig)
    InMemoryConfig(max_mesages=5)  # type: ignore[call-arg]
    RedisConfig(port="6379")  # type: ignore[arg-type]


class MyCustomProvider:
    """As the seed shows it: six methods, a bare ``Result``, the types of ``typing``."""

    async def store_messages(
        self,
        conversation_id: str,
        messages: List[Message],  # noqa: UP006
        metadata: Optional[Dict[str, Any]] = None,  # noqa: UP006, UP045
    ) -> Result:
        return Success(None)

    async def get_conversation(self, conversation_id: str) -> Optional[ConversationMemory]:  # noqa: UP045
        return None

    async def append_messages(
        self,
        conversation_id: str,
        messages: List[Message],  # noqa: UP006
        metadata: Optional[Dict[str, Any]] = None,  # noqa: UP006, UP045
    ) -> Result:
        return Failure("full")

    async def get_recent_messages(self, conversation_id: str, limit: int = 50) -> List[Message]:  # noqa: UP006
        return []

    async def delete_conversation(self, conversation_id: str) -> bool:
        return False

    async def health_check(self) -> Dict[str, Any]:  # noqa: UP006
        return {"healthy": True}


def protocol(provider: StoreProvider) -> None:
    ours: MemoryProvider = provider
    theirs: MemoryProvider = MyCustomProvider()
    for one in (ours, theirs):
        assert_type(MemoryConfig(provider=one, ttl=86400).provider, MemoryProvider)
    MemoryConfig(provider=object())  # type: ignore[arg-type]
