"""A stand-in for a language-model vendor: an OpenAI-compatible server on the loopback interface.

In a test::

    with FakeOpenAI() as server:
        server.reply("Your name is Ada.")
        ...  # call with base_url=server.base_url
        assert server.requests[0]["messages"][-1]["role"] == "user"

By hand or from a test of the command line: ``python tests/fake_openai.py --port 8080`` prints the base
URL, then every request body as one line of JSON, until it is interrupted.
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How one request goes wrong: an HTTP status, a cut connection, an odd body, or silence.

    ``silent`` keeps the connection open without an answer until ``release`` or the end of the server.
    """

    status: int = 200
    body: str = '{"error": {"message": "the fake server was told to fail", "type": "fake"}}'
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False


class FakeOpenAI:
    """Answers ``POST /v1/chat/completions``, and keeps what it was sent.

    Attributes:
        requests: the JSON bodies received, oldest first, also of those that were made to fail.
        headers: the headers of each, with names in lower case.
    """

    def __init__(
        self, *, port: int = 0, on_request: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._replies: deque[str | None] = deque()
        self._failures: deque[Failure] = deque()
        self._released = threading.Event()
        self._on_request = on_request
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)

    @property
    def base_url(self) -> str:
        """What to give as ``base_url`` or ``OPENAI_BASE_URL``."""
        return f"http://{self.host}/v1"

    @property
    def host(self) -> str:
        """``127.0.0.1:<port>``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def reply(self, *texts: str | None) -> None:
        """Answer the next requests with these texts (None: no content); after them it echoes again."""
        self._replies.extend(texts)

    def fail(self, times: int = 1, **how: Any) -> None:
        """Let the next requests fail; ``how`` are the fields of ``Failure``."""
        self._failures.extend([Failure(**how)] * times)

    def release(self) -> None:
        """Let the requests that are kept waiting end, without an answer."""
        self._released.set()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._server.open):  # those that a client keeps for its next request
            _hang_up(connection)
        self._server.server_close()

    # ---- for the handler ------------------------------------------------------------------------

    def receive(self, body: dict[str, Any], headers: dict[str, str]) -> Failure:
        """Keep a request and say what becomes of it."""
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
        if self._on_request:
            self._on_request(body)
        with self._lock:
            if self._failures:
                return self._failures.popleft()
            answer = json.dumps(self._completion(body), ensure_ascii=False)
        return Failure(body=answer)

    def wait(self) -> None:
        """Keep a silent request waiting."""
        self._released.wait()

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        said = [message for message in body["messages"] if message["role"] == "user"]
        text = self._replies.popleft() if self._replies else f"echo: {said[-1]['content']}"
        prompt = sum(_words(message.get("content")) for message in body["messages"])
        return {
            "id": f"chatcmpl-fake-{len(self.requests)}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
            ],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": _words(text),
                "total_tokens": prompt + _words(text),
            },
        }


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _words(text: object) -> int:
    return len(str(text).split()) if text else 0


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for the handlers, so that no socket is left behind
    request_queue_size = 128  # a connection beyond it would try again only after a second

    def __init__(self, address: tuple[str, int], fake: FakeOpenAI) -> None:
        super().__init__(address, _Handler)
        self.fake = fake
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection before its handler starts, so that ``shutdown`` has seen them all."""
        self.open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that hang up; anything else is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("content-length", 0)))
        if urlsplit(self.path).path != "/v1/chat/completions":  # a proxy gets a whole URL
            self._send(Failure(status=404))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        outcome = self.server.fake.receive(json.loads(text), headers)
        if outcome.silent:
            self.server.fake.wait()
        if outcome.silent or outcome.cut:
            self.close_connection = True
            _hang_up(self.connection)
        else:
            self._send(outcome)

    def _send(self, outcome: Failure) -> None:
        body = outcome.body.encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **outcome.headers,
        }
        head = [f"HTTP/1.1 {outcome.status} {HTTPStatus(outcome.status).phrase}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        # One write: head and body apart would wait 40 ms for a delayed acknowledgement.
        self.wfile.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Stay quiet."""


def _print_line(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server that echoes.")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    port: int = parser.parse_args().port
    with (
        contextlib.suppress(KeyboardInterrupt),
        FakeOpenAI(port=port, on_request=lambda body: _print_line(json.dumps(body))) as server,
    ):
        _print_line(server.base_url)
        threading.Event().wait()


if __name__ == "__main__":
    main()
