"""A split model behind both transports, over real connections: what a caller sends decides who answers it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc
import numpy as np
import pytest

from router.core.split import NO_SPLIT, PLACES, Match, Split, moved, place
from router.core.table import Route, VersionTable
from router.edge.inference import SERVICE, Inference
from router.edge.reply_encoder import ReplyEncoder
from router.edge.telemetry import telemetry
from router.edge.transport import Methods
from router.pb import inference_pb2 as pb
from router.serving.executor import Executor
from router.serving.lanes import Lane
from router.serving.loop import Loop
from router.serving.router import Router
from router.serving.serving_table import ServingTable
from router.serving.timers import Timers
from tests.edge.test_transports import TRANSPORTS, WAIT_S
from tests.serving.fakes import FakeSession, new_word, version
from tests.serving.test_fallback import tripled

SPLIT: Final = Split(moved(NO_SPLIT, {"2": 50.0}).intervals, (Match("x-cohort", "beta", "2"),))
Pairs = tuple[tuple[str, str], ...]
BETA: Final[Pairs] = (("x-other", "1"), ("x-cohort", "beta"))


def key_at(low: int, high: int) -> str:
    """A key that stands there."""
    return next(f"user-{each}" for each in range(1000) if low <= place("m", b"user-%d" % each) < high)


CHALLENGERS, CHAMPIONS = key_at(0, PLACES // 2), key_at(PLACES // 2, PLACES)


def asked(request_id: str = "", named: str = "", route_key: str | int | float | None = None) -> bytes:
    """A request, as it travels."""
    message = pb.ModelInferRequest(model_name="m", model_version=named, id=request_id)
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    message.raw_input_contents.append(np.ones(1, np.float32).tobytes())
    match route_key:
        case str():
            message.parameters["route_key"].string_param = route_key
        case int():
            message.parameters["route_key"].int64_param = route_key
        case float():
            message.parameters["route_key"].double_param = route_key
    return message.SerializeToString()


class Divided:
    """The model `m` with the champion 1 (y = 2x) and the challenger 2 (y = 3x)."""

    def __init__(self, kind: Any) -> None:
        self.timers = Timers()
        self.timers.start()
        self.executor = Executor()
        loop = Loop(self.timers)
        self.lanes = {
            number: Lane(version(number), [session], self.executor, self.timers, loop)
            for number, session in (("1", FakeSession()), ("2", FakeSession(tripled)))
        }
        router = Router(new_word(), loop)
        route = Route("m", "1", {number: lane.version for number, lane in self.lanes.items()}, split=SPLIT)
        lanes = {("m", number): lane for number, lane in self.lanes.items()}
        router.install(ServingTable(VersionTable(1, {"m": route}), lanes, ReplyEncoder))
        inference = Inference(router, lambda *_: lambda: None, lambda: True)
        self.transport = kind(Methods(inference.unary(), inference.stream()), router.work)
        port = self.transport.bind("127.0.0.1:0", None)
        self.thread = threading.Thread(target=self.transport.run, daemon=True)
        self.thread.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),))

    def close(self) -> None:
        """Part from it."""
        self.channel.close()
        self.transport.drain(0.0)
        self.thread.join(WAIT_S)
        self.executor.stop()
        self.timers.stop()

    def infer(self, message: bytes, metadata: Pairs = ()) -> str:
        """One call; who served it."""
        call: Any = self.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        return told(pb.ModelInferResponse.FromString(call(message, metadata=metadata, timeout=WAIT_S)))

    def stream(self, messages: Sequence[bytes], metadata: Pairs = ()) -> list[str]:
        """All on one stream; who served each."""
        call: Any = self.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        replies = call(iter(messages), metadata=metadata, timeout=WAIT_S)
        return [told(pb.ModelStreamInferResponse.FromString(each).infer_response) for each in replies]


def told(response: pb.ModelInferResponse) -> str:
    """Who served, by the marks; the numbers are that version's."""
    factor = {"1": 2, "2": 3}[response.model_version]
    assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [factor]
    return response.parameters["served_by"].string_param


@pytest.fixture(params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[Divided]:
    """Behind each transport."""
    made = Divided(TRANSPORTS[request.param])
    yield made
    made.close()


def test_what_a_caller_sends_decides_who_answers(server: Divided) -> None:
    """Metadata, then the key, then the id; a version that is named is not split."""
    for message, metadata, expected in (
        (asked(CHALLENGERS), (), "challenger"),
        (asked(CHAMPIONS), (), "champion"),
        (asked(CHAMPIONS, route_key=CHALLENGERS), (), "challenger"),
        (asked(CHALLENGERS, route_key=CHAMPIONS), (("x-cohort", "alpha"),), "champion"),
        (asked(CHAMPIONS), BETA, "challenger"),
        (asked(), BETA, "challenger"),
        (asked(CHALLENGERS, named="1"), BETA, "champion"),
        (asked(CHAMPIONS, named="2"), (), "version"),
    ):
        assert [server.infer(message, metadata) for _ in range(3)] == [expected] * 3


def test_metadata_of_a_stream_count_for_all_its_requests(server: Divided) -> None:
    """Keys are each request's own; answers leave in the order of requests."""
    messages = [asked(key) for key in (CHALLENGERS, CHAMPIONS, CHALLENGERS, CHAMPIONS)]
    assert server.stream(messages) == ["challenger", "champion"] * 2
    assert server.stream(messages, BETA) == ["challenger"] * 4


def test_requests_without_a_key_are_counted(server: Divided) -> None:
    """They go by chance, to both."""
    found = [server.infer(asked()) for _ in range(40)]
    assert set(found) == {"champion", "challenger"}
    (gauge, _) = telemetry(server.lanes.values()).gauges
    assert (gauge.version, gauge.keyless) == ("1", 40)


def test_a_key_of_another_kind_is_refused(server: Divided) -> None:
    """INVALID_ARGUMENT, in one line."""
    with pytest.raises(grpc.RpcError) as raised:
        server.infer(asked(route_key=1.5))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "parameter 'route_key' is '1.5': it takes a text or a whole number"
    assert server.infer(asked(route_key=7)) == server.infer(asked("7"))
