"""What a memory means: resources, their policies, and the eight operations over a store.

Policies (keys, payload, privacy, tokens, budget, flush) are pure: messages and settings in, a plan or
a new value out. All I/O is in ``memory.py``. Nothing here knows YAML files, workflows or backends.

The names below are the library's face for Python programs (seed 004). Each is loaded when it is first
used, so that importing the package loads no driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recollect.errors import (
        MemoryConnectionError,
        MemoryError,  # noqa: A004  # seed 004's name
        MemoryNotFoundError,
        MemoryStorageError,
    )
    from recollect.memory.providers.config import (
        InMemoryConfig,
        MemoryProviderConfig,
        PostgresConfig,
        RedisConfig,
        SQLiteConfig,
    )
    from recollect.memory.providers.environment import get_memory_provider_info
    from recollect.memory.providers.factories import (
        create_in_memory_provider,
        create_memory_provider_from_env,
        create_postgres_provider,
        create_redis_provider,
        create_sqlite_provider,
        test_memory_provider_connection,
    )
    from recollect.memory.providers.provider import StoreProvider
    from recollect.memory.providers.types import (
        ConversationMemory,
        Failure,
        MemoryConfig,
        MemoryProvider,
        MemoryQuery,
        Result,
        Success,
    )

__all__ = [
    "ConversationMemory",
    "Failure",
    "InMemoryConfig",
    "MemoryConfig",
    "MemoryConnectionError",
    "MemoryError",
    "MemoryNotFoundError",
    "MemoryProvider",
    "MemoryProviderConfig",
    "MemoryQuery",
    "MemoryStorageError",
    "PostgresConfig",
    "RedisConfig",
    "Result",
    "SQLiteConfig",
    "StoreProvider",
    "Success",
    "create_in_memory_provider",
    "create_memory_provider_from_env",
    "create_postgres_provider",
    "create_redis_provider",
    "create_sqlite_provider",
    "get_memory_provider_info",
    "test_memory_provider_connection",
]

_HOMES = {
    "recollect.errors": (
        "MemoryConnectionError",
        "MemoryError",
        "MemoryNotFoundError",
        "MemoryStorageError",
    ),
    "recollect.memory.providers.config": (
        "InMemoryConfig",
        "MemoryProviderConfig",
        "PostgresConfig",
        "RedisConfig",
        "SQLiteConfig",
    ),
    "recollect.memory.providers.environment": ("get_memory_provider_info",),
    "recollect.memory.providers.factories": (
        "create_in_memory_provider",
        "create_memory_provider_from_env",
        "create_postgres_provider",
        "create_redis_provider",
        "create_sqlite_provider",
        "test_memory_provider_connection",
    ),
    "recollect.memory.providers.provider": ("StoreProvider",),
    "recollect.memory.providers.types": (
        "ConversationMemory",
        "Failure",
        "MemoryConfig",
        "MemoryProvider",
        "MemoryQuery",
        "Result",
        "Success",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
