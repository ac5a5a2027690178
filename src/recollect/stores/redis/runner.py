"""Running scripts: by hash, in full when the server does not know them; what went wrong becomes ours."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from recollect.errors import OutcomeUnknown, StoreUnavailable
from recollect.stores.redis.failures import Lost, NotSent, refusal
from recollect.stores.redis.lane import Command
from recollect.stores.redis.names import FAMILY
from recollect.stores.redis.places import Kind, Place, Server
from recollect.stores.redis.scripts import SCRIPTS

T = TypeVar("T")


class _UnderWay:
    """How many calls there are, entered and left by each."""

    def __init__(self) -> None:
        self._count = 0
        self._ended = asyncio.Event()

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._ended.set()

    async def end(self) -> None:
        """Wait until there are none."""
        while self._count:
            self._ended.clear()
            await self._ended.wait()


class Runner:
    """Runs scripts and commands at a place.

    Args:
        place: where.
        wait_replicas: how many replicas must have a write before it counts as done.
        timeout: seconds to wait for them.
    """

    def __init__(self, place: Place, wait_replicas: int, timeout: float) -> None:
        self.place = place
        self._wait: Command = ("WAIT", wait_replicas, max(1, int(timeout * 500)))
        self._wait_replicas = wait_replicas
        self._under_way = _UnderWay()

    async def rest(self) -> None:
        """Wait for all calls, with those that their callers make as soon as they have an answer."""
        await self._under_way.end()

    async def open(self) -> None:
        """Connect."""
        await self._reading(self.place.open)

    def _keys(self, name: str, key: str, args: Command) -> Command:
        """Return the number and names of the keys a script is declared to use.

        A Cluster must know of all, so that it runs no script while only some of them have moved to
        another node. Elsewhere one is enough for the scripts, and cheaper.
        """
        if not self.place.is_cluster:
            return (1, key)
        if name in {"enter", "leave"}:
            return (2, key, args[2])
        return (len(FAMILY), *(key + part for part in FAMILY))

    # ---- writes ----------------------------------------------------------------------------------

    async def write(self, name: str, key: str, args: Command, *, may_repeat: bool) -> Any:
        """Run a script that writes.

        Raises:
            OutcomeUnknown: it may have taken place; unless it may be repeated: then it was, once.
            StoreUnavailable, StoreCorrupt.
        """
        with self._under_way:
            try:
                return await self._write(name, key, args)
            except Lost as error:
                if not may_repeat:
                    raise OutcomeUnknown(
                        f"{error}: the write was stored or not. Read before you repeat it, or give "
                        "writes a key"
                    ) from error
                return await self._repeat(name, key, args)
            except NotSent as error:
                raise error.told from error
            except ResponseError as error:
                raise refusal(error, self.place.where) from error

    async def _repeat(self, name: str, key: str, args: Command) -> Any:
        try:
            return await self._write(name, key, args)
        except Lost as error:
            raise self._repeatable(str(error)) from error
        except NotSent as error:
            raise self._repeatable(str(error.told)) from error
        except ResponseError as error:
            raise refusal(error, self.place.where) from error

    def _repeatable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(f"{why}; the write was stored or not, with its key repeat it")

    async def _write(self, name: str, key: str, args: Command) -> Any:
        script = SCRIPTS[name]
        try:
            return await self._acknowledged(
                key, ("EVALSHA", script.sha, *self._keys(name, key, args), *args)
            )
        except NoScriptError:
            return await self._acknowledged(
                key, ("EVAL", script.text, *self._keys(name, key, args), *args)
            )

    async def _acknowledged(self, key: str, command: Command) -> Any:
        if not self._wait_replicas:
            return await self.place.call("write", key, command)
        answer, replicas = await self.place.call_together("write", key, (command, self._wait))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(replicas, Exception) or replicas < self._wait_replicas:
            raise Lost(
                f"{self.place.where}: fewer than {self._wait_replicas} replicas have confirmed"
            )
        return answer

    # ---- reads, which may always be repeated -----------------------------------------------------

    async def read(self, kind: Kind, name: str, key: str, args: Command) -> Any:
        """Run a script that only reads, or may be repeated for another reason."""
        script = SCRIPTS[name]

        async def run() -> Any:
            try:
                return await self.place.call(
                    kind, key, ("EVALSHA", script.sha, *self._keys(name, key, args), *args)
                )
            except NoScriptError:
                return await self.place.call(
                    kind, key, ("EVAL", script.text, *self._keys(name, key, args), *args)
                )

        return await self._reading(run)

    async def transact(self, commands: Sequence[Command]) -> list[Any] | None:
        """Run commands that only read, all at one moment; None if a script has to do it.

        A script would copy each item of a long answer twice. On a Cluster only a script can follow a
        slot that moves; and when the server refuses a command, the script finds out why.
        """
        place = self.place
        if not isinstance(place, Server):
            return None

        async def run() -> list[Any] | None:
            try:
                answers = await place.transact("read", commands)
            except ResponseError:
                return None
            return None if any(isinstance(a, ResponseError) for a in answers) else answers

        return await self._reading(run)

    async def read_many(
        self, kind: Kind, name: str, requests: Sequence[tuple[str, Command]]
    ) -> list[Any]:
        """Run a script that may be repeated for many keys."""
        script = SCRIPTS[name]

        async def run() -> list[Any]:
            asked = [
                (key, ("EVALSHA", script.sha, *self._keys(name, key, args), *args))
                for key, args in requests
            ]
            answers = await self.place.call_many(kind, asked)
            for at, answer in enumerate(answers):
                if isinstance(answer, NoScriptError):
                    key, args = requests[at]
                    command = ("EVAL", script.text, *self._keys(name, key, args), *args)
                    answers[at] = await self.place.call(kind, key, command)
                elif isinstance(answer, Exception):
                    raise answer
            return answers

        return await self._reading(run)

    async def command(self, kind: Kind, key: str, command: Command) -> Any:
        """Send a command that may be repeated."""
        return await self._reading(lambda: self.place.call(kind, key, command))

    async def commands(self, kind: Kind, requests: Sequence[tuple[str, Command]]) -> list[Any]:
        """Send (key, command) pairs that may be repeated; errors are among the answers."""
        return await self._reading(lambda: self.place.call_many(kind, requests))

    async def texts(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the strings under these keys."""
        if not keys:
            return []
        if not self.place.is_cluster:
            found: list[bytes | None] = await self.command("walk", keys[0], ("MGET", *keys))
            return found
        requests: list[tuple[str, Command]] = [(key, ("GET", key)) for key in keys]
        answers = await self.commands("walk", requests)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise refusal(answer, self.place.where)
        return answers

    async def _reading(self, run: Callable[[], Awaitable[T]]) -> T:
        with self._under_way:
            try:
                try:
                    return await run()
                except Lost:
                    return await run()
            except Lost as error:
                raise StoreUnavailable(str(error)) from error
            except NotSent as error:
                raise error.told from error
            except ResponseError as error:
                raise refusal(error, self.place.where) from error
