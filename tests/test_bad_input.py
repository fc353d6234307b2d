"""Whatever a caller sends, on either transport: an answer or a clear error, and the next good request is answered."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterator

import grpc
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from router.core.tensor import DTYPES
from router.pb import inference_pb2 as pb
from tests.server import Server, eventually, pixels, put, running

SERVICE = "inference.GRPCInferenceService"
INTERNAL = re.compile(r"0x[0-9a-fA-F]{4,}|Traceback|(?<![\w.`])/\w+/|\.py\b|onnxruntime::|line \d+")
MANY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
METHODS = [
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryRegister",
    "CudaSharedMemoryStatus",
    "TraceSetting",
]
OF_THE_CALLER = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.FAILED_PRECONDITION,
}
SIZES = st.one_of(st.integers(-3, 70), st.sampled_from([-1, -(2**63), 2**31, 2**32, 2**62, 2**63 - 1, 1 << 40]))


class Line:
    """One connection to a server, and the question whether it still answers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.channel = grpc.insecure_channel(server.grpc)

    def call(self, method: str, message: bytes) -> bytes:
        """Bytes to bytes. Raises grpc.RpcError."""
        return bytes(self.channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=10))

    def tell(self, method: str, message: bytes, also: set[grpc.StatusCode] = frozenset()) -> None:  # type: ignore[assignment]
        """Send; an error must be the caller's and its text for a person. Then a good request is answered."""
        code, text = None, ""
        try:
            self.call(method, message)
        except grpc.RpcError as error:
            code, text = error.code(), error.details()
        if code is not None:
            assert code in OF_THE_CALLER | also, (code, text)
            assert text
            assert not INTERNAL.search(text), text
            assert len(text) < 2000
        self.good()

    def good(self) -> None:
        """A good request has the right answer."""
        reply = pb.ModelInferResponse.FromString(self.call("ModelInfer", good().SerializeToString()))
        assert [tuple(tensor.shape) for tensor in reply.outputs] == [(2,), (2, 10)]
        assert reply.raw_output_contents[0] == self.expected()

    def expected(self) -> bytes:
        """The labels, computed once without the router."""
        if not hasattr(Line, "_labels"):
            import onnxruntime as ort

            session = ort.InferenceSession("models/digits/2/model.onnx", providers=["CPUExecutionProvider"])
            Line._labels = session.run(["label"], {"pixels": pixels(2)})[0].tobytes()  # type: ignore[attr-defined]
        return bytes(Line._labels)  # type: ignore[attr-defined]


def good() -> pb.ModelInferRequest:
    """A request that every server of this file can answer."""
    request = pb.ModelInferRequest(model_name="digits", id="good")
    request.inputs.add(name="pixels", datatype="FP32", shape=(2, 64))
    request.raw_input_contents.append(pixels(2).tobytes())
    return request


def identities() -> onnx.ModelProto:
    """A model with an input and an output of most datatypes."""
    kinds = {"t": TensorProto.STRING, "b": TensorProto.BOOL, "h": TensorProto.FLOAT16, "i": TensorProto.INT64}
    infos = [helper.make_tensor_value_info(name, kind, ["N", "M"]) for name, kind in kinds.items()]
    outs = [helper.make_tensor_value_info(f"{name}_out", kind, ["N", "M"]) for name, kind in kinds.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds]
    graph = helper.make_graph(nodes, "identities", infos, outs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="module", params=["core", "aio"])
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A server on each transport; at the end it is still the same process and no fault of ours is in its log."""
    folder = tmp_path_factory.mktemp("server")
    models = put(folder / "models", "digits", "wine")
    (models / "kinds" / "1").mkdir(parents=True)
    onnx.save(identities(), str(models / "kinds" / "1" / "model.onnx"))
    with running(folder, models=models, transport=request.param) as server:
        line = Line(server)
        line.good()
        worker = server.worker(0)
        yield line
        line.good()
        line.channel.close()
        assert server.worker(0) == worker
        faults = [each for each in server.log if each.get("level") in {"error", "critical"}]
        assert not faults, faults[:3]


@MANY
@given(st.binary(max_size=300))
def test_random_bytes(line: Line, junk: bytes) -> None:
    """Bytes that are no message."""
    line.tell("ModelInfer", junk)


@MANY
@given(st.data())
def test_messages_that_are_cut_or_changed(line: Line, data: st.DataObject) -> None:
    """A good message that lost its end, or has some bytes changed, put in or left out."""
    message = bytearray(good().SerializeToString())
    head = len(message) - 512  # what the elements say is the caller's business
    for _ in range(data.draw(st.integers(1, 3))):
        if not message:
            break
        at = data.draw(st.integers(0, min(head + 4, len(message) - 1)))
        how = data.draw(st.sampled_from(("cut", "change", "insert", "remove")))
        if how == "cut":
            del message[at + 1 :]
        elif how == "change":
            message[at] = data.draw(st.integers(0, 255))
        elif how == "insert":
            message[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            del message[at : at + data.draw(st.integers(1, 8))]
    line.tell("ModelInfer", bytes(message))


@MANY
@given(
    st.sampled_from(("digits", "kinds", "wine", "nobody", "")),
    st.sampled_from(("", "1", "2", "3", "01", "-1", "champion", "9" * 400)),
    st.lists(
        st.tuples(
            st.sampled_from(("pixels", "t", "b", "h", "i", "alcohol", "color", "", "x" * 3000)),
            st.sampled_from((*DTYPES, "", "fp32", "FP8", "é" * 100)),
            st.lists(SIZES, max_size=5),
            st.one_of(st.none(), st.binary(max_size=600)),
        ),
        max_size=5,
    ),
    st.lists(st.sampled_from(("label", "t_out", "probabilities", "nothing", "")), max_size=3),
    st.booleans(),
)
def test_requests_that_do_not_fit(
    line: Line,
    model: str,
    version: str,
    tensors: list[tuple[str, str, list[int], bytes | None]],
    outputs: list[str],
    typed: bool,
) -> None:
    """Names, versions, datatypes, shapes, sizes and outputs at random: duplicates, gaps and contradictions."""
    request = pb.ModelInferRequest(model_name=model, model_version=version)
    for name, datatype, shape, raw in tensors:
        tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
        if typed:
            tensor.contents.fp32_contents.extend([1.0, 2.0])
        if raw is not None:
            request.raw_input_contents.append(raw)
    for name in outputs:
        request.outputs.add(name=name)
    line.tell("ModelInfer", request.SerializeToString(), {grpc.StatusCode.UNAVAILABLE})


@MANY
@given(st.binary(max_size=60), st.lists(st.integers(0, 4), min_size=2, max_size=2))
def test_texts_with_bad_lengths(line: Line, raw: bytes, shape: list[int]) -> None:
    """BYTES elements whose lengths lie."""
    request = pb.ModelInferRequest(model_name="kinds")
    elements = {"t": raw, "b": bytes(shape[0] * shape[1]), "h": bytes(shape[0] * shape[1] * 2)}
    elements["i"] = bytes(shape[0] * shape[1] * 8)
    for name, datatype in (("t", "BYTES"), ("b", "BOOL"), ("h", "FP16"), ("i", "INT64")):
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(elements[name])
    line.tell("ModelInfer", request.SerializeToString())


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_empty_tensors_are_answered(line: Line, rows: int) -> None:
    """No rows, or rows without elements, are a request like any other."""
    request = pb.ModelInferRequest(model_name="kinds")
    for name, datatype in (("t", "BYTES"), ("b", "BOOL"), ("h", "FP16"), ("i", "INT64")):
        request.inputs.add(name=name, datatype=datatype, shape=(rows, 0))
        request.raw_input_contents.append(b"")
    reply = pb.ModelInferResponse.FromString(line.call("ModelInfer", request.SerializeToString()))
    assert {tuple(tensor.shape) for tensor in reply.outputs} == {(rows, 0)}
    request = good()
    request.inputs[0].shape[0] = 0
    request.raw_input_contents[0] = b""
    with pytest.raises(grpc.RpcError) as refused:  # this model cannot do it, which is no fault of the server
        line.call("ModelInfer", request.SerializeToString())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot run on empty input 'pixels', shape [0, 64]" in refused.value.details()
    line.good()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.raw_input_contents.__setitem__(0, b"abc"), ("pixels", "3", "512")),
        (lambda r: r.inputs[0].shape.__setitem__(0, -2), ("pixels", "negative")),
        (lambda r: r.inputs[0].shape.__setitem__(1, 63), ("pixels", "[2,63]", "[-1,64]")),
        (lambda r: r.inputs[0].shape.__setitem__(0, 2**62), ("pixels", "raw bytes")),
        (lambda r: r.inputs[0].contents.fp32_contents.append(1), ("mixed",)),
        (lambda r: r.inputs.add(name="pixels", datatype="FP32", shape=(2, 64)), ("raw_input_contents", "2 inputs")),
        (lambda r: r.inputs[0].__setattr__("name", "pixel"), ("pixel", "unknown input", "'pixels'")),
        (lambda r: r.outputs.add(name="scores"), ("unknown output", "scores", "probabilities")),
        (lambda r: r.inputs[0].__setattr__("datatype", "FP64"), ("pixels", "FP64", "FP32")),
        (lambda r: r.parameters["timeout"].__setattr__("string_param", "soon"), ("timeout", "microseconds")),
        (lambda r: r.parameters["timeout"].__setattr__("int64_param", -5), ("timeout", "-5")),
        (lambda r: r.ClearField("inputs"), ("raw_input_contents", "0 inputs")),
    ],
)
def test_the_error_names_tensor_expected_and_given(line: Line, change: object, says: tuple[str, ...]) -> None:
    """A person can mend the request from the text alone."""
    request = good()
    change(request)  # type: ignore[operator]
    with pytest.raises(grpc.RpcError) as raised:
        line.call("ModelInfer", request.SerializeToString())
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert all(word in raised.value.details() for word in says), raised.value.details()
    line.good()


@settings(parent=MANY, max_examples=60)
@given(st.sampled_from(METHODS), st.binary(max_size=60))
def test_every_other_method_bears_random_bytes(line: Line, method: str, junk: bytes) -> None:
    """No method falls over what is no message of it."""
    line.tell(method, junk)


@settings(parent=MANY, max_examples=40)
@given(st.lists(st.one_of(st.just(None), st.binary(max_size=80)), max_size=8))
def test_a_stream_outlives_bad_requests(line: Line, messages: list[bytes | None]) -> None:
    """Each bad request has its error, each good one (None) its answer, in order; the stream ends in order."""
    sent = [good().SerializeToString() if message is None else message for message in messages]
    stream = line.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter(sent), timeout=10)
    answers = [pb.ModelStreamInferResponse.FromString(answer) for answer in stream]
    assert len(answers) == len(sent)
    for message, answer in zip(messages, answers, strict=True):
        if message is None:
            assert not answer.error_message
            assert answer.infer_response.raw_output_contents[0] == line.expected()
        else:
            assert answer.error_message
            assert not INTERNAL.search(answer.error_message)
    line.good()


def test_half_closed_streams_and_callers_that_vanish(line: Line) -> None:
    """A stream without a request, one that is left open, one that is cancelled while it is answered."""
    stream = line.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    assert list(stream(iter(()), timeout=10)) == []
    for _ in range(20):
        call = stream(iter([good().SerializeToString()] * 50), timeout=10)
        next(call)
        call.cancel()
    line.good()


def test_a_flood_of_metadata_is_refused(line: Line) -> None:
    """More than the server takes ends that call, not the server."""
    flood = tuple((f"x-{index}", "v" * 500) for index in range(100))
    with pytest.raises(grpc.RpcError) as raised:
        line.channel.unary_unary(f"/{SERVICE}/ModelInfer")(good().SerializeToString(), metadata=flood, timeout=10)
    assert raised.value.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
    eventually(lambda: answers(line))


def answers(line: Line) -> bool:
    """Whether a good request is answered now; the connection may have to be made again."""
    with contextlib.suppress(grpc.RpcError):
        line.good()
        return True
    return False


def test_an_oversize_message_is_refused(line: Line) -> None:
    """More than the bound of 64 MiB is refused with RESOURCE_EXHAUSTED."""
    with grpc.insecure_channel(line.server.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/{SERVICE}/ModelInfer")(bytes((64 << 20) + 1), timeout=20)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    line.good()


@settings(parent=MANY, max_examples=60)
@given(st.booleans(), st.binary(max_size=200), st.booleans())
def test_connections_that_send_junk_or_reset(line: Line, preface: bool, junk: bytes, reset: bool) -> None:
    """Bytes that are no HTTP/2, frames that are none, and resets in the middle concern that connection only."""
    host, _, port = line.server.grpc.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            connection.sendall((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if preface else b"") + junk)
    line.good()


def test_values_that_are_not_numbers_are_answered(line: Line) -> None:
    """NaN and infinity are values like others to the server; what the model makes of them is its own business."""
    request = good()
    odd = np.full((2, 64), np.nan, np.float32)
    odd[1] = np.inf
    request.raw_input_contents[0] = odd.tobytes()
    with contextlib.suppress(grpc.RpcError):
        line.call("ModelInfer", request.SerializeToString())
    line.good()
