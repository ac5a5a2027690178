"""Runs the Python snippets of seed 004 as they are written, one by one, each in a namespace of its own.

``seed_004_snippets.txt`` has the snippets, each under a line ``===== number``. Only the addresses of
servers are replaced. What a snippet uses and does not define is here, in ``Snippet``.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any, Dict, List, Optional  # noqa: UP035  # the snippets' names

from recollect import Message
from recollect.memory import StoreProvider, Success
from tests.agent_parts import ScriptedModel
from tests.servers.redis_server import GivenRedis

FILE = Path(__file__).with_name("seed_004_snippets.txt")
TEXT = FILE.read_text(encoding="utf-8")
NUMBERS = [int(number) for number in re.findall(r"^===== (\d+)$", TEXT, re.MULTILINE)]
FIRST_WITH_PROVIDER = 9  # from this one on, a snippet finds a `provider` with conversations
USER, SESSION, OTHER = "user-123", "user-123-session-1", "other-user-conv"
TIMEOUT_SECONDS = 30.0


class Servers:
    """Where the servers are that a snippet reaches under an address of the document."""

    def __init__(self, redis: GivenRedis, postgres_url: str) -> None:
        self._redis = redis
        self._postgres_url = postgres_url

    def put_into(self, source: str) -> str:
        """Replace the addresses in a snippet, and nothing else."""
        source = source.replace(
            "postgresql://user:pass@localhost/jaf_memory", self._postgres_url
        ).replace("redis://localhost:6379/0", f"{self._redis.url}/0")
        real = rf'host="{self._redis.host}",\1port={self._redis.port}'
        return re.sub(r'host="localhost",(\s+)port=6379', real, source)


class Namespace(dict[str, Any]):
    """The names of a snippet; remembers what each stood for before it was bound anew."""

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names)
        self._bound: dict[str, list[Any]] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        self._bound.setdefault(name, []).append(value)
        super().__setitem__(name, value)

    def bound(self, name: str) -> list[Any]:
        """All that was bound to the name, in order."""
        return self._bound.get(name, [])


class Snippet:
    """A snippet of the document, and what came of running it.

    Attributes:
        backend: the one that the environment asks for.
        names: its namespace.
        printed: what the latest ``run`` or ``call`` printed.
        alerts, archived, audit: what it handed to ``send_alert``, ``archive_conversation`` and
            ``audit_log``, in order.
    """

    def __init__(self, number: int, backend: str, servers: Servers) -> None:
        self.backend = backend
        self.printed = ""
        self.alerts: list[str] = []
        self.archived: list[Any] = []
        self.audit: list[str] = []
        self.names = Namespace(self._taken_for_granted())
        self._code = _compiled(servers.put_into(source_of(number)))

    @property
    def provider(self) -> StoreProvider:
        """What it calls ``provider``, its own one or ours."""
        return self.providers[-1]

    @property
    def providers(self) -> list[StoreProvider]:
        """All that it called ``provider``, in order."""
        return self.names.bound("provider")

    async def run(self) -> None:
        """Run it to its end, the tasks that it starts as well."""
        async with self._watched():
            result = FunctionType(self._code, self.names)()
            if inspect.iscoroutine(result):
                await result

    async def call(self, name: str, *args: object) -> Any:
        """Call an async function that it has defined."""
        async with self._watched():
            return await self.names[name](*args)

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        before = asyncio.all_tasks()
        with contextlib.redirect_stdout(io.StringIO()) as out:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                yield
                await asyncio.gather(*filter(_is_of_a_snippet, asyncio.all_tasks() - before))
        self.printed = out.getvalue()

    def _taken_for_granted(self) -> dict[str, Any]:
        async def send_alert(text: str) -> None:
            self.alerts.append(text)

        async def archive_conversation(conversation: Any) -> None:
            self.archived.append(conversation)

        memory = import_module("jaf.memory")
        shown_before = ("MemoryConfig", "MemoryQuery", "Result", "test_memory_provider_connection")
        return {
            "__name__": "snippet",
            **{name: getattr(memory, name) for name in shown_before},
            "Message": import_module("jaf.core.types").Message,
            "Any": Any,
            "Dict": Dict,  # noqa: UP006
            "List": List,  # noqa: UP006
            "Optional": Optional,
            "datetime": datetime,
            "timedelta": timedelta,
            "your_model_provider": ScriptedModel(),
            "send_alert": send_alert,
            "should_archive": lambda conversation: True,
            "archive_conversation": archive_conversation,
            "verify_deletion_consent": lambda user_id: True,
            "audit_log": SimpleNamespace(info=self.audit.append),
            "conversation_id": "one-more",
            "messages": turns(2),
        }

    async def close(self) -> None:
        """Close what it leaves open, providers before the clients they were given."""
        for name in ("provider", "memory_provider", "connection"):
            for opened in self.names.bound(name):
                await opened.close()
        for client in self.names.bound("redis_client"):
            await client.aclose()


@contextlib.asynccontextmanager
async def snippet_after_its_run(
    number: int, backend: str, servers: Servers
) -> AsyncIterator[Snippet]:
    """Run a snippet; the environment says how a provider of ``backend`` is made.

    From ``FIRST_WITH_PROVIDER`` on it finds 60 messages of ``USER`` and 2 of somebody else.
    """
    snippet = Snippet(number, backend, servers)
    try:
        if number >= FIRST_WITH_PROVIDER:
            provider = await import_module("jaf.memory").create_memory_provider_from_env()
            snippet.names["provider"] = provider
            for conversation, count, user in ((SESSION, 60, USER), (OTHER, 2, "someone-else")):
                stored = await provider.store_messages(
                    conversation, turns(count), {"user_id": user}
                )
                assert stored == Success(None)
        await snippet.run()
        yield snippet
    finally:
        await snippet.close()


def turns(count: int) -> list[Message]:
    """So many messages, of a user and an assistant in turn, no two with the same text."""
    return [Message(("user", "assistant")[n % 2], f"turn {n}") for n in range(count)]


def source_of(number: int) -> str:
    """A snippet, behind as many empty lines as there are lines before it in ``FILE``."""
    before, _, rest = TEXT.partition(f"===== {number}\n")
    return "\n" * (before.count("\n") + 1) + re.split(r"^===== ", rest, flags=re.MULTILINE)[0]


def _compiled(source: str) -> CodeType:
    """Compile with ``await`` allowed anywhere; tracebacks show the lines of ``FILE``."""
    code: CodeType = compile(
        source, str(FILE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    return code


def _is_of_a_snippet(task: "asyncio.Task[Any]") -> bool:
    coroutine = task.get_coro()
    return inspect.iscoroutine(coroutine) and coroutine.cr_code.co_filename == str(FILE)
