"""What tests of providers share; their fixtures are in ``provider_fixtures``."""

from collections.abc import Awaitable, Callable

from recollect.memory import ConversationMemory, StoreProvider
from recollect.messages import Message

OpenProvider = Callable[..., Awaitable[StoreProvider]]

PLUGINS = [
    "tests.servers.postgres_server",
    "tests.servers.redis_fixtures",
    "tests.stores.backend_fixtures",
    "tests.stores.provider_fixtures",
]


def said(*texts: str) -> list[Message]:
    return [Message("user", text) for text in texts]


def texts(conversation: ConversationMemory | None) -> list[str]:
    assert conversation is not None
    return [message.text for message in conversation.messages]
