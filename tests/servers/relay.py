"""A wire between a store and its server that tests can cut."""

import asyncio
import contextlib
from urllib.parse import urlsplit


class Relay:
    """A wire to a server that can be cut after a command went through, before its answer comes.

    Args:
        host: of the server; or the folder of its socket, as PostgreSQL names it.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.drops_answers = False  # the next one, and the connection with it
        self.holds_answers = False  # until it is told otherwise
        self.held = asyncio.Event()  # an answer has come and is held
        self._let_go = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    def instead_of(self, url: str) -> str:
        """Return a URL of the server that leads through the relay."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    def let_go(self) -> None:
        """Pass on what was held, and what comes."""
        self.holds_answers = False
        self._let_go.set()

    async def __aenter__(self) -> "Relay":
        self.listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        for writer in self.writers:
            writer.close()
        await self.listener.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host.startswith("/"):
            path = f"{self._host}/.s.PGSQL.{self._port}"
            server_reader, server_writer = await asyncio.open_unix_connection(path)
        else:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        self.writers += [writer, server_writer]
        await asyncio.gather(
            self._pass_on(reader, server_writer, are_answers=False),
            self._pass_on(server_reader, writer, are_answers=True),
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, are_answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if are_answers and self.drops_answers:
                    self.drops_answers = False
                    break
                if are_answers and self.holds_answers:
                    self.held.set()
                    await self._let_go.wait()
                writer.write(data)
        writer.close()
