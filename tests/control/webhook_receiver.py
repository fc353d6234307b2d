"""A receiver of events for tests: a real HTTP server that answers as it is told to, and remembers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A sender was killed."""


class Receiver:
    """`answer` is given the event and writes the reply; what came is in `events` and `headers`, in order."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.came = threading.Condition()
        self.answer: Callable[[BaseHTTPRequestHandler, dict[str, Any]], None] = status(204)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                event = json.loads(body)
                with receiver.came:
                    receiver.events.append(event)
                    receiver.bodies.append(body)
                    receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                    receiver.came.notify_all()
                receiver.answer(self, event)

            def do_GET(self) -> None:
                with receiver.came:
                    receiver.events.append({"method": "GET"})
                status(200)(self, {})

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port: int = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    def until(self, what: Callable[[], bool], bound_s: float = 20.0) -> None:
        """Wait until something has come."""
        with self.came:
            assert self.came.wait_for(what, bound_s), f"did not come: {self.events[-3:]}"

    def close(self) -> None:
        """Let the port go."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(10)


def status(code: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]:
    """An answer; underscores in names of headers are dashes."""

    def answer(handler: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:  # noqa: ARG001
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        if code != 204:
            handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextmanager
def receiving() -> Iterator[Receiver]:
    """One that listens."""
    made = Receiver()
    try:
        yield made
    finally:
        made.close()
