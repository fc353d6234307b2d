"""A webhook's receiver, as a process of its own: it verifies what comes, writes it down, and answers as it is told to.

`python -m loadtest.receiver PORT SECRET NOTES MANNER`. It is what another program would be: it verifies by the words of
the README, with nothing of the router's, and notes an event before it answers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

OLDEST_S: Final = 300.0
LARGEST: Final = 1 << 20
"""Bytes of a body that are read."""
LISTENS: Final = "listens"
"""What it prints when it does."""


class Manner(StrEnum):
    """How it answers."""

    TAKES = "takes"
    FAILS = "fails"
    """Status 500; the event is not taken."""
    SILENT = "silent"
    """Not at all: it takes the event, and whoever sent it does not know."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came, at `at` seconds since 1970. `genuine`: signed with the secret, just now; `event` is empty for no JSON.

    `named`: the header `X-Router-Event` is the event's id.
    """

    at: float
    manner: Manner
    genuine: bool
    named: bool
    event: Mapping[str, Any]


def genuine(secret: bytes, header: str, body: bytes, now: float) -> bool:
    """Whether a body was signed by whoever has the secret, within five minutes of `now` in seconds since 1970."""
    fields = dict(part.partition("=")[::2] for part in header.split(","))
    stamp = fields.get("t", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 15):
        return False
    digest = hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    same = hmac.compare_digest(digest.encode(), fields.get("v1", "").encode("utf-8", "replace"))
    return same and abs(now - int(stamp)) <= OLDEST_S


class Receiver(ThreadingHTTPServer):
    """Listens on 127.0.0.1; a `port` of 0 is any. Notes are lines of JSON, which `arrivals` reads."""

    daemon_threads = True

    def __init__(self, port: int, secret: bytes, notes: Path, manner: Manner) -> None:
        self.secret = secret
        self.manner = manner
        self._notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        super().__init__(("127.0.0.1", port), _Handler)

    def note(self, arrival: Arrival) -> None:
        """Write it down, as a whole: whoever is killed has noted it or has not."""
        os.write(self._notes, (json.dumps(asdict(arrival)) + "\n").encode())

    def server_close(self) -> None:
        """Let the port and the notes go."""
        super().server_close()
        os.close(self._notes)

    def handle_error(self, *_: object) -> None:
        """The sender has hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        """An event."""
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > LARGEST:
            self._answer(413)
            return
        body, now = self.rfile.read(int(length)), time.time()
        header = self.headers.get("x-router-signature", "")
        try:
            event = json.loads(body)
        except ValueError:
            event = {}
        event = event if isinstance(event, dict) else {}
        named = self.headers.get("x-router-event", "") == event.get("id")
        signed = genuine(self.server.secret, header, body, now)
        self.server.note(Arrival(now, self.server.manner, signed, named, event))
        if self.server.manner is Manner.SILENT:
            self.rfile.read(1)  # until the sender hangs up
            self.close_connection = True
        else:
            self._answer(204 if self.server.manner is Manner.TAKES else 500)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: what came is in the notes."""


def arrivals(notes: Path) -> list[Arrival]:
    """All that came, in order."""
    if not notes.exists():
        return []
    read = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    return [Arrival(**{**each, "manner": Manner(each["manner"])}) for each in read]


def main() -> None:
    """Until it is ended."""
    port, secret, notes, manner = sys.argv[1:]
    receiver = Receiver(int(port), Path(secret).read_bytes().strip(), Path(notes), Manner(manner))
    print(LISTENS, flush=True)
    receiver.serve_forever()


if __name__ == "__main__":
    main()
