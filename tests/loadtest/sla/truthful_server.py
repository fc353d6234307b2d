"""A server that knows the truth: it answers when a script says, and writes down when each request came and went."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from router.edge.core_transport import CoreTransport
from router.edge.transport import Methods, Rpc
from router.errors import TooLate
from router.pb import inference_pb2 as pb
from router.serving.timers import Timers
from tests.loadtest.sla.fakes import reply

SERVICE = "/inference.GRPCInferenceService/"


@dataclass(slots=True)
class Deal:
    """What happens to one request: answered after `delay` seconds (never, if None), and how."""

    delay: float | None = 0.0
    value: float = 0.0
    id: str | None = None
    refused: bool = False


@dataclass
class Truthful:
    """`script(number, seconds)` deals with the request of a number, which came so long after the first one."""

    script: Callable[[int, float], Deal]
    target: str = ""
    times: list[tuple[float, float]] = field(default_factory=list)
    """When each answered request came and went (seconds of the monotonic clock)."""
    _first: float | None = None
    _dropped: list[Rpc] = field(default_factory=list)

    def infer(self, rpc: Rpc) -> None:
        """Deal with a request."""
        came = time.monotonic()
        if self._first is None:
            self._first = came
        asked = pb.ModelInferRequest.FromString(rpc.message)
        deal = self.script(int(asked.id), came - self._first)
        if deal.delay is None:
            self._dropped.append(rpc)  # let go of, the core would end the call
            return

        def answer() -> None:
            if deal.refused:
                rpc.fail(TooLate("too late, says the server"))
                return
            rpc.finish(reply(int(asked.id), value=deal.value, id=asked.id if deal.id is None else deal.id))
            self.times.append((came, time.monotonic()))

        self.timers.at(came + deal.delay, answer)

    def __post_init__(self) -> None:
        self.timers = Timers()

    @contextmanager
    def serving(self) -> Iterator[Truthful]:
        """On a free port of this machine."""

        def answers(message: bytes) -> Callable[[Rpc], None]:
            return lambda rpc: rpc.finish(message)

        metadata = pb.ModelMetadataResponse(name="m", versions=["1"])
        metadata.inputs.add(name="x", datatype="FP32", shape=[-1])
        unary = {
            "ModelInfer": self.infer,
            "ServerMetadata": answers(pb.ServerMetadataResponse(name="truthful").SerializeToString()),
            "ModelMetadata": answers(metadata.SerializeToString()),
        }
        transport = CoreTransport(Methods({SERVICE + name: each for name, each in unary.items()}, {}), lambda: False)
        self.target = f"127.0.0.1:{transport.bind('127.0.0.1:0', None)}"
        self.timers.start()
        thread = threading.Thread(target=transport.run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            transport.drain(0.1)
            thread.join(5)
            self.timers.stop()
