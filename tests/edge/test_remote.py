"""Models on other servers: what travels, how replies are read, and what becomes of a question on a real wire."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.core.request import Header, InputHeader, check
from router.core.tensor import ANY, DTYPES, Signature, TensorSpec, encode_bytes
from router.edge.codec import Decoder
from router.edge.remote import Remote, RemoteModel, Remotes, RemoteWords
from router.errors import Cancelled, ModelFailed, RouterError, TooLate
from router.pb.inference_pb2 import ModelInferRequest, ModelInferResponse
from tests.fake_inference import FakeServer, serving
from tests.server import free_port

BOUND_S = 10.0
ID = ModelInferRequest(id="a").SerializeToString()


def words(datatype: str, shape: tuple[int, ...] = (ANY,), given_shape: tuple[int, ...] = (2,)) -> RemoteWords:
    """Those of a model with x and y of this datatype."""
    x, y = (TensorSpec(name, datatype, shape) for name in "xy")
    header = Header("m", "", (InputHeader("x", datatype, given_shape),), ())
    return RemoteModel(unasked, "theirs").words(check(header, Signature((x,), (y,))), (y,))


def unasked(*_: Any) -> Any:
    """The other server of tests that ask none."""
    raise AssertionError


def reply(datatype: str, raw: bytes, shape: tuple[int, ...] = (2,), **about: Any) -> bytes:
    """A reply with the output y."""
    response = ModelInferResponse(raw_output_contents=[raw], **about)
    response.outputs.add(name="y", datatype=datatype, shape=shape)
    return response.SerializeToString()


NUMBERS = sorted(set(DTYPES) - {"BYTES", "BF16"})


@pytest.mark.parametrize("datatype", NUMBERS)
@given(data=st.data())
@settings(max_examples=20)
def test_numbers_travel_as_they_are(datatype: str, data: st.DataObject) -> None:
    """There and back, from the views that a request holds and from arrays of typed contents."""
    array = data.draw(arrays(DTYPES[datatype], (2,)))
    put = words(datatype)
    views = [memoryview(array.tobytes())], [array]
    for elements in views:
        asked = ModelInferRequest.FromString(put.request(ID, elements))
        assert (asked.model_name, asked.model_version, asked.id) == ("theirs", "", "a")
        assert list(asked.raw_input_contents) == [array.tobytes()]
        assert (asked.inputs[0].name, asked.inputs[0].datatype, list(asked.inputs[0].shape)) == ("x", datatype, [2])
    (back,) = put.outputs(ID, reply(datatype, array.tobytes()))
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


def test_text_and_bfloat16_travel_too() -> None:
    """As ONNX Runtime takes and gives them."""
    text = np.array(["a", "é"], dtype=object)
    asked = words("BYTES").request(b"", [text])
    assert ModelInferRequest.FromString(asked).raw_input_contents[0] == encode_bytes(text)
    (back,) = words("BYTES").outputs(b"", reply("BYTES", encode_bytes(text)))
    assert back.tolist() == ["a", "é"]
    halves = np.array([1, 2], ml_dtypes.bfloat16)
    (back,) = words("BF16").outputs(b"", reply("BF16", halves.tobytes()))
    assert back.dtype == halves.dtype
    assert back.tolist() == [1, 2]


def test_our_own_decoder_reads_what_is_asked() -> None:
    """The other server may be one of ours."""
    array = np.array([1, 2], np.float32)
    decoder = Decoder()
    for _ in range(3):
        request = decoder.decode(words("FP32").request(ID, [memoryview(array.tobytes())]))
        assert (request.header.model, request.header.outputs, request.id_field) == ("theirs", ("y",), ID)
        assert bytes(request.elements[0]) == array.tobytes()


@pytest.mark.parametrize(
    ("datatype", "raw", "shape"),
    [
        ("BYTES", b"\xff\xff\xff\xff", (1,)),
        ("BYTES", b"", (2**40,)),
        ("BYTES", b"\x01\x00\x00\x00\xff", (1,)),
        ("FP32", b"", (0, 2**40)),
        ("FP32", b"", (2**62, 2**62)),
        ("FP32", b"", (-1,)),
        ("BOOL", b"\x01", (2,)),
    ],
)
def test_elements_that_cannot_be_are_refused(datatype: str, raw: bytes, shape: tuple[int, ...]) -> None:
    """Before any memory is taken for them."""
    with pytest.raises(ModelFailed):
        words(datatype, (ANY,) * len(shape), (1,) * len(shape)).outputs(b"", reply(datatype, raw, shape))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_whole_reply_or_refused(message: bytes) -> None:
    """Nothing else is raised."""
    with pytest.raises(ModelFailed):
        words("FP32").outputs(ID, b"\x2a\x05\x0a\x01q" + message)


# ---- on a real wire ----


class Answers:
    """Waits for what becomes of questions."""

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[bytes | RouterError] = queue.SimpleQueue()
        self.take = self._came.put

    def one(self) -> bytes | RouterError:
        """The next."""
        return self._came.get(timeout=BOUND_S)


@contextmanager
def remote(fake: FakeServer) -> Iterator[Callable[..., Any]]:
    """A way to ask a server."""
    with serving(fake) as address:
        far = Remote(address, 64 << 20)
        try:
            yield far.ask
        finally:
            far.close()


def question(model: str) -> bytes:
    """A request with an empty input."""
    request = ModelInferRequest(model_name=model, id="a", raw_input_contents=[b""])
    request.inputs.add(name="y", datatype="FP32", shape=[0])
    return request.SerializeToString()


def test_a_question_is_answered() -> None:
    """With the bytes of the reply."""
    answers = Answers()
    with remote(FakeServer()) as ask:
        ask(question("echo"), BOUND_S, answers.take)
        told = answers.one()
    assert isinstance(told, bytes)
    assert ModelInferResponse.FromString(told).id == "a"


def test_an_error_is_a_failure_that_repeats_nothing_of_the_other_server() -> None:
    """But the code."""
    answers = Answers()
    with remote(FakeServer()) as ask:
        ask(question("unknown"), BOUND_S, answers.take)
        told = answers.one()
    assert isinstance(told, ModelFailed)
    assert str(told) == "it answered NOT_FOUND"


def test_silence_ends() -> None:
    """By the time that was given."""
    answers = Answers()
    with remote(FakeServer()) as ask:
        ask(question("slow"), 0.05, answers.take)
        assert isinstance(answers.one(), TooLate)


def test_a_question_can_be_taken_back() -> None:
    """The other server learns of it."""
    answers = Answers()
    fake = FakeServer()
    with remote(fake) as ask:
        take_back = ask(question("slow"), BOUND_S, answers.take)
        take_back()
        assert isinstance(answers.one(), Cancelled)


def test_nobody_there_is_a_failure() -> None:
    """At once."""
    answers = Answers()
    far = Remote(f"127.0.0.1:{free_port()}", 1 << 20)
    far.ask(question("echo"), BOUND_S, answers.take)
    told = answers.one()
    assert isinstance(told, ModelFailed)
    assert str(told) == "it answered UNAVAILABLE"
    far.close()


def test_channels_are_shared_and_closed_when_nobody_needs_them() -> None:
    """A question later opens them again."""
    answers = Answers()
    with serving(FakeServer()) as address:
        remotes = Remotes(1 << 20)
        models = [remotes.model(f"grpc://{address}/{name}") for name in ("echo", "other")]
        (far,) = remotes._known.values()
        assert far._channel is None
        models[0].ask(question("echo"), BOUND_S, answers.take)
        assert isinstance(answers.one(), bytes)
        remotes.keep([f"grpc://{address}/other"])
        assert far._channel is not None
        remotes.keep([])
        assert far._channel is None
        models[0].ask(question("echo"), BOUND_S, answers.take)
        assert isinstance(answers.one(), bytes)
        remotes.keep([])
