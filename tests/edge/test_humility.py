"""A model with humility rules behind both transports, over real connections: replies say which rule fired and where."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import grpc
import numpy as np
import pytest

from router.core.table import Route, VersionTable
from router.edge.inference import SERVICE, Inference
from router.edge.reply_encoder import ReplyEncoder
from router.edge.transport import Methods
from router.model_settings import ModelSettings
from router.pb import inference_pb2 as pb
from router.serving.executor import Executor
from router.serving.lanes import Lane
from router.serving.loop import Loop
from router.serving.router import Router
from router.serving.serving_table import ServingTable
from router.serving.timers import Timers
from tests.edge.test_transports import TRANSPORTS, WAIT_S
from tests.serving.fakes import FakeSession, new_word, version

RULES: Final = [
    {"name": "far", "kind": "outlying", "input": "x", "high": 10, "then": "override", "override": {"y": -1.0}},
    {"name": "low", "kind": "outlying", "input": "x", "low": 0, "then": "error"},
]


def asked(*values: float) -> bytes:
    """A request, as it travels."""
    message = pb.ModelInferRequest(model_name="m", id="r")
    message.inputs.add(name="x", datatype="FP32", shape=[len(values)])
    message.raw_input_contents.append(np.array(values, np.float32).tobytes())
    return message.SerializeToString()


class Served:
    """The model `m` (y = 2x) with rules, behind a transport."""

    def __init__(self, kind: Any) -> None:
        self.timers = Timers()
        self.timers.start()
        self.executor = Executor()
        loop = Loop(self.timers)
        lane = Lane(version(), [FakeSession()], self.executor, self.timers, loop)
        router = Router(new_word(), loop)
        settings = ModelSettings.model_validate({"humility": {"rules": RULES}})
        route = Route("m", "1", {"1": lane.version}, settings)
        router.install(ServingTable(VersionTable(1, {"m": route}), {("m", "1"): lane}, ReplyEncoder))
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

    def infer(self, *values: float) -> tuple[list[float], dict[str, str]]:
        """One call: the output, and the marks of humility."""
        call: Any = self.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        return told(pb.ModelInferResponse.FromString(call(asked(*values), timeout=WAIT_S)))

    def stream(self, *requests: tuple[float, ...]) -> list[pb.ModelStreamInferResponse]:
        """All on one stream."""
        call: Any = self.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        replies = call(iter([asked(*values) for values in requests]), timeout=WAIT_S)
        return [pb.ModelStreamInferResponse.FromString(each) for each in replies]


def told(response: pb.ModelInferResponse) -> tuple[list[float], dict[str, str]]:
    """The output, and the marks of humility."""
    marks = {name: value.string_param for name, value in response.parameters.items() if name.startswith("humility")}
    return np.frombuffer(response.raw_output_contents[0], np.float32).tolist(), marks


@pytest.fixture(params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Behind each transport."""
    made = Served(TRANSPORTS[request.param])
    yield made
    made.close()


def test_replies_say_which_rule_fired(server: Served) -> None:
    """A call alone has the mark, or the status and the words of the rule that holds its answer back."""
    assert server.infer(1, 2) == ([2, 4], {})
    assert server.infer(1, 20, 3, 40) == ([2, -1, 6, -1], {"humility": "far", "humility_rows": "1,3"})
    with pytest.raises(grpc.RpcError) as raised:
        server.infer(1, -2)
    error: Any = raised.value
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "model 'm': rule 'low' holds back the answer: input 'x' is beyond its bounds in row 1"


def test_a_stream_goes_on_behind_an_answer_that_is_held_back(server: Served) -> None:
    """Each message has its own word."""
    first, held, last = server.stream((1,), (-1,), (20,))
    assert told(first.infer_response) == ([2], {})
    assert "rule 'low' holds back the answer" in held.error_message
    assert told(last.infer_response) == ([-1], {"humility": "far", "humility_rows": "0"})
