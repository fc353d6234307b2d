"""What the server tells of its versions during a run: which stage each has moved to, and when."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import grpc

from router.pb import admin_pb2, admin_pb2_grpc

AGAIN_S: Final = 0.5
"""Who does not tell any more is asked again so soon: it may be another process by then."""
LEAVE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Move:
    """A version has come to a stage. `at` is in seconds since the start of the run."""

    at: float
    model: str
    version: str
    stage: str


class Moves:
    """Listens to the admin service at `target`, from `begin` to `end`."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._start = 0.0
        self._over = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="moves", daemon=True)
        self.seen: list[Move] = []

    def begin(self, start: float) -> None:
        """Listen from now on. `start` is the run's, an instant of the monotonic clock in seconds."""
        self._start = start + time.time() - time.monotonic()  # as the server's clock has it
        self._thread.start()

    def end(self) -> list[Move]:
        """Listen no more; what was heard."""
        self._over.set()
        if self._call is not None:
            self._call.cancel()
        if self._thread.ident:
            self._thread.join(LEAVE_S)
        return self.seen

    def _run(self) -> None:
        with grpc.insecure_channel(self._target) as channel:
            stub: Any = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
            while not self._over.is_set():
                self._call = stub.Watch(admin_pb2.WatchRequest(), wait_for_ready=True)
                if self._over.is_set():
                    self._call.cancel()
                try:
                    for event in self._call:
                        self._hear(event)
                except grpc.RpcError:
                    self._over.wait(AGAIN_S)

    def _hear(self, event: admin_pb2.Event) -> None:
        if event.kind == "moved":
            stage = event.facts["stage"]
            self.seen.append(Move(event.seconds - self._start, event.model, event.version, stage))
