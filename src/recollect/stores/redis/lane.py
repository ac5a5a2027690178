"""A connection shared by many tasks: what is asked for at the same moment goes together.

A command is sent at once when nothing is in flight, else with others, a few to a packet: the server
works on these while the next ones are made. The driver makes the connection (TLS, passwords) and reads
answers from it; it never sends anything a second time. A caller that is cancelled only stops waiting;
the connection goes on.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from recollect.stores.redis.failures import Lost, NotSent, is_refusal, unreachable

Command = tuple[bytes | str | int, ...]
Connect = Callable[[], Awaitable[AbstractConnection]]

_BUFFER = 64 * 1024  # bytes that asyncio takes without making the sender wait
_GROUP = 4  # commands that are worth a packet while the server works on others
_LARGEST_GROUP = 1024
_LINGER = 0.1  # seconds
_GRACE = 0.1  # seconds for what came while the loop stood still and nobody read it


class Lane:
    """One connection, made when it is first needed and again when it has broken.

    Args:
        connect: makes and connects a new one.
        where: what it leads to, for errors.
        timeout: seconds within which an answer must come.
    """

    def __init__(self, connect: Connect, where: str, timeout: float) -> None:
        self._connect = connect
        self._where = where
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._flight: deque[tuple[asyncio.Future[Any], int]] = deque()  # with the bytes it took
        self._flying = 0  # bytes in flight
        self._waiting: deque[tuple[bytes, list[asyncio.Future[Any]]]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._due: float | None = None  # when the answers that are awaited must be here
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self._idle: asyncio.Future[bool] | None = None
        self._idle_until = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    async def call(self, command: Command) -> Any:
        """Send a command and return its answer; an error the server answers is raised.

        Raises:
            Lost: it may have taken place. NotSent: it has not. ResponseError: it has not.
        """
        return await self._ask(_packed(command), 1)

    async def transact(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands as one transaction; return the answers, errors of the server among them.

        Raises:
            Lost, NotSent: as ``call``. ResponseError: the server has run none of them.
        """
        packet = b"".join(map(_packed, (("MULTI",), *commands, ("EXEC",))))
        answers: list[Any] = await self._ask(packet, len(commands) + 2)
        return answers

    async def _ask(self, payload: bytes, count: int) -> Any:
        """Send a packet with that many answers; return the last one."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        futures = [future]
        if count > 1:
            unread: asyncio.Future[Any] = loop.create_future()
            unread.cancel()
            futures = [*(unread for _ in range(count - 1)), future]
        await self._send(payload, futures)
        return await future

    async def call_together(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands as one packet; return the answers, errors of the server among them."""
        if not commands:
            return []
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in commands]
        await self._send(b"".join(map(_packed, commands)), futures)
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, ResponseError):
                raise answer
        return answers

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    async def connect(self) -> None:
        """Connect now rather than with the first command."""
        async with self._connecting:  # whoever else asks for it waits for this one
            if self._is_cared_for():
                return
            connection = await self._connected()
            if self._is_cared_for():  # a command came first
                await connection.disconnect(nowait=True)
            else:
                self._connection = connection

    def _is_cared_for(self) -> bool:
        """Tell whether there is a connection, or a task that makes one."""
        return self._connection is not None or self._pump is not None

    async def drain(self) -> None:
        """Wait until every answer has come."""
        while self._flight or self._waiting:
            last = self._waiting[-1][1][-1] if self._waiting else self._flight[-1][0]
            await asyncio.wait([last])

    async def close(self) -> None:
        """Finish what was asked for, then disconnect."""
        await self.drain()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        for timer in (self._timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._idle_timer = None
        await self._disconnect()

    # ---- sending ---------------------------------------------------------------------------------

    async def _send(self, payload: bytes, futures: list[asyncio.Future[Any]]) -> None:
        """Send a packet now or soon. It never waits for the socket: a caller may be cancelled."""
        self._waiting.append((payload, futures))
        connection = self._connection
        if (
            connection is not None
            and self._is_due_now()
            and (self._flight or not await _is_stale(connection))
        ):
            await self._send_waiting(connection)
        elif self._flight and self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_more())
        self._start_pump()

    def _is_due_now(self) -> bool:
        """Tell whether what waits is the only one there is, or enough, and need wait for no buffer."""
        if len(self._waiting) != (_GROUP if self._flight else 1):
            return False
        return self._flying + sum(len(payload) for payload, _ in self._waiting) <= _BUFFER

    async def _send_more(self) -> None:
        """Send what has come while others were in flight."""
        if self._flight and self._connection is not None:
            await self._send_waiting(self._connection)
        self._sender = None

    async def _send_waiting(self, connection: AbstractConnection) -> None:
        packets: list[bytes] = []
        while self._waiting and len(self._flight) < _LARGEST_GROUP:
            payload, futures = self._waiting.popleft()
            packets.append(payload)
            self._flight.extend((future, 0) for future in futures[:-1])
            self._flight.append((futures[-1], len(payload)))
            self._flying += len(payload)
        if not packets:  # others have sent them; nothing at all would stay in asyncio's buffer
            return
        # When this fails, reading meets the same failure and tells it.
        with contextlib.suppress(RedisError, OSError):
            await connection.send_packed_command(b"".join(packets), check_health=False)

    # ---- the task that reads ---------------------------------------------------------------------

    def _start_pump(self) -> None:
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(True)

    async def _run(self) -> None:
        """Read until nothing has been asked for a while: an idle store leaves no task behind."""
        try:
            while self._flight or self._waiting or await self._is_asked_again():
                while self._flight or self._waiting:
                    await self._go_round()
        finally:
            self._pump = self._idle = None

    async def _is_asked_again(self) -> bool:
        """Wait for the next command; a new task for each would cost more than one that lingers."""
        loop = asyncio.get_running_loop()
        self._idle = loop.create_future()
        self._idle_until = loop.time() + _LINGER
        if self._idle_timer is None:
            self._idle_timer = loop.call_at(self._idle_until, self._end_idleness)
        asked = await self._idle
        return asked or bool(self._flight or self._waiting)

    def _end_idleness(self) -> None:
        """Let the task end if it has been idle for long; one timer serves many commands."""
        self._idle_timer = None
        loop = asyncio.get_running_loop()
        if self._idle is None or self._idle.done():
            return
        if loop.time() < self._idle_until:
            self._idle_timer = loop.call_at(self._idle_until, self._end_idleness)
        else:
            self._idle.set_result(False)

    async def _go_round(self) -> None:
        """Send what is waiting, unless something has been sent already, and read the answers."""
        try:
            connection = self._connection if self._flight else await self._ready()
            if connection is None:
                self._fail(ConnectionResetError())
                return
            self._watch()
            if not self._flight:
                await self._send_waiting(connection)
            is_group = len(self._flight) > 1
            await self._read(connection)
            self._due = None
            if is_group:
                await asyncio.sleep(0)  # those who have their answer may ask again
        except NotSent as error:
            self._refuse_waiting(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers must hear of it
            await self._break_off(error)
        except asyncio.CancelledError as error:
            if not self._is_late or self._pump is None or self._pump.uncancel():
                self._fail(error)
                raise
            await self._break_off(TimeoutError())

    async def _break_off(self, error: Exception) -> None:
        self._due, self._is_late = None, False
        self._fail(error)
        await self._disconnect()

    # ---- the time an answer may take -------------------------------------------------------------

    def _watch(self) -> None:
        """Set the time for the answers that are now awaited; one timer serves many of them."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._timeout
        if self._timer is None:
            self._timer = loop.call_at(self._due, self._look)

    def _look(self, *, has_waited: bool = False) -> None:
        """Break the pump off if its answers are late, after a grace; look again if there are newer."""
        self._timer = None
        loop = asyncio.get_running_loop()
        if self._due is None:
            return
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look)
        elif not has_waited:
            self._timer = loop.call_later(_GRACE, partial(self._look, has_waited=True))
        elif self._pump is not None:
            self._is_late = True
            self._pump.cancel()

    async def _ready(self) -> AbstractConnection:
        if self._connection is not None and await _is_stale(self._connection):
            await self._disconnect()
        if self._connection is None:
            self._connection = await self._connected()
        return self._connection

    async def _read(self, connection: AbstractConnection) -> None:
        flight = self._flight
        time = asyncio.get_running_loop().time
        while flight:
            answer: Any
            try:
                answer = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                answer = error
            future, size = flight.popleft()
            self._flying -= size
            self._due = time() + self._timeout
            if future.done():
                continue  # cancelled: nobody waits
            if isinstance(answer, ResponseError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _connected(self) -> AbstractConnection:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect()
        except (RedisError, OSError) as error:
            raise NotSent(unreachable(error, self._where)) from error

    def _fail(self, error: BaseException) -> None:
        """Tell all whose command is on its way."""
        told: Exception
        if is_refusal(error):
            told = NotSent(unreachable(error, self._where))
        else:
            told = Lost(f"{self._where}: the connection broke before the answer came")
        told.__cause__ = error
        self._flying = 0
        while self._flight:
            future, _ = self._flight.popleft()
            if not future.done():
                future.set_exception(told)

    def _refuse_waiting(self, error: Exception) -> None:
        while self._waiting:
            for future in self._waiting.popleft()[1]:
                if not future.done():
                    future.set_exception(error)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub knows no tuples
    return packed


async def _is_stale(connection: AbstractConnection) -> bool:
    """Tell whether the server has hung up, or has said something nobody asked for."""
    try:
        return not connection.is_connected or await connection.can_read()
    except (RedisError, OSError):
        return True
