"""Elements to arrays, arrays to replies, for every datatype and for several callers in one run."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.request import Elements, Header, InputHeader, Request
from router.core.tensor import ANY, DTYPES, TensorSpec, encode_bytes
from router.errors import InvalidRequest
from tests.serving.fakes import Array, FakeReply, World, version

DATATYPES = sorted(DTYPES)


def world_of(datatype: str, dimensions: int = 2, **settings: Any) -> World:
    """A worker with a model whose output is its input, of any datatype."""
    spec = TensorSpec("x", datatype, (ANY,) * dimensions)
    world = World(version(inputs=[spec], outputs=[TensorSpec("y", datatype, (ANY,) * dimensions)], **settings))
    world.session.function = lambda feeds: [feeds["x"]]
    return world


def array_of(datatype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Different elements, of the datatype's numpy type."""
    count = int(np.prod(shape))
    numbers = np.arange(seed, seed + count) % 100
    if datatype == "BYTES":
        array = np.empty(count, object)
        array[:] = [f"größe {number}" * (number % 3) for number in numbers]
        return array.reshape(shape)
    return (numbers % 2 if datatype == "BOOL" else numbers).astype(DTYPES[datatype]).reshape(shape)


def raw(array: Array) -> bytes:
    """The raw form."""
    return encode_bytes(array) if array.dtype == object else array.tobytes()


def sent(datatype: str, array: Array, *, typed: bool = False) -> Request:
    """A request with the array, raw or as the decoder gives typed contents."""
    elements: Elements = array.ravel() if typed else memoryview(raw(array))
    return Request(Header("m", "", (InputHeader("x", datatype, array.shape),), ()), b"", {}, array.size, [elements])


def check_reply(reply: FakeReply, datatype: str, array: Array) -> None:
    """The reply is this array."""
    (output,) = reply.response.outputs
    assert (output.name, output.datatype, tuple(output.shape)) == ("y", datatype, array.shape)
    assert list(reply.response.raw_output_contents) == [raw(array)]


@pytest.mark.parametrize(
    ("datatype", "typed"),
    [(each, typed) for each in DATATYPES for typed in (False, True) if each != "BF16" or not typed],
)
@pytest.mark.parametrize("together", [(1,), (2, 2, 2), (1, 3, 2)])
def test_every_datatype_there_and_back(datatype: str, typed: bool, together: tuple[int, ...]) -> None:
    """Alone, with even and with uneven rows, raw and (but BF16) typed: each caller gets its own elements back."""
    world = world_of(datatype)
    arrays = [array_of(datatype, (rows, 2), 10 * index) for index, rows in enumerate(together)]
    replies = [
        world.send_request(sent(datatype, array, typed=typed and index != 1)) for index, array in enumerate(arrays)
    ]
    world.work()
    assert len(world.session.runs) == 1
    (feeds,) = world.session.runs
    assert feeds["x"].dtype == DTYPES[datatype]
    assert feeds["x"].tolist() == np.concatenate(arrays).tolist()
    for reply, array in zip(replies, arrays, strict=True):
        check_reply(reply, datatype, array)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0)])
@pytest.mark.parametrize("together", [1, 2])
def test_empty_tensors_of_every_datatype(datatype: str, shape: tuple[int, ...], together: int) -> None:
    """No rows, or rows without elements: alone or joined, the shape comes back."""
    world = world_of(datatype)
    array = array_of(datatype, shape)
    replies = [world.send_request(sent(datatype, array)) for _ in range(together)]
    world.work()
    assert len(world.session.runs) == (together if shape[0] == 0 else 1)
    for reply in replies:
        check_reply(reply, datatype, array)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_scalars_of_every_datatype(datatype: str) -> None:
    """They have no rows: never joined."""
    world = world_of(datatype, 0)
    array = array_of(datatype, (), 7)
    replies = [world.send_request(sent(datatype, array)) for _ in range(2)]
    world.work()
    assert len(world.session.runs) == 2
    for reply in replies:
        check_reply(reply, datatype, array)


def test_any_byte_but_zero_is_true() -> None:
    """Booleans are made clean before a model sees them."""
    world = world_of("BOOL", 1)
    replies = [
        world.send_request(
            Request(Header("m", "", (InputHeader("x", "BOOL", (3,)),), ()), b"", {}, 3, [memoryview(raw_bytes)])
        )
        for raw_bytes in (b"\0\1\2", b"\xff\0\x80")
    ]
    world.work()
    assert world.session.runs[0]["x"].view(np.uint8).tolist() == [0, 1, 1, 1, 0, 1]
    assert [reply.response.raw_output_contents[0] for reply in replies] == [b"\0\1\1", b"\1\0\1"]


def test_a_model_gets_text_as_text() -> None:
    """ONNX Runtime takes `str`; bytes would arrive as their Python spelling."""
    world = world_of("BYTES", 1)
    world.send_request(sent("BYTES", array_of("BYTES", (2,), 1)))
    world.work()
    assert [type(each) for each in world.session.runs[0]["x"]] == [str, str]


@pytest.mark.parametrize("bad", [b"\1\0\0\0\xff", b"\1\0\0\0", b"", b"\0\0\0\0\0\0\0\0"])
def test_bad_text_is_refused_before_it_waits(bad: bytes) -> None:
    """INVALID_ARGUMENT for its sender, nothing for others."""
    world = world_of("BYTES", 1)
    request = sent("BYTES", array_of("BYTES", (1,)))
    request.elements[0] = memoryview(bad)
    assert isinstance(world.send_request(request).error, InvalidRequest)
    assert world.lane.pending == 0


@pytest.mark.parametrize("datatype", [each for each in DATATYPES if each != "BYTES"])
def test_wrong_sizes_are_refused_before_they_wait(datatype: str) -> None:
    """One byte too few or too many, of every datatype."""
    for change in (-1, 1):
        world = world_of(datatype)
        request = sent(datatype, array_of(datatype, (2, 2)))
        request.elements[0] = memoryview(bytes(4 * DTYPES[datatype].itemsize + change))
        error = world.send_request(request).error
        assert isinstance(error, InvalidRequest)
        assert f"{datatype} of shape [2, 2] needs {4 * DTYPES[datatype].itemsize}" in str(error)


SPECS = (
    TensorSpec("a", "FP32", (ANY, 2)),
    TensorSpec("t", "BYTES", (ANY, 1)),
    TensorSpec("h", "FP16", (ANY,), optional=True),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_several_inputs_and_outputs_are_split_by_rows(data: st.DataObject) -> None:
    """Inputs in any order, optional ones left out, outputs chosen: every caller gets what it would get alone."""
    outputs = (
        TensorSpec("sum", "FP32", (ANY,)),
        TensorSpec("text", "BYTES", (ANY, 2)),
        TensorSpec("half", "BF16", (ANY, 1)),
    )
    world = World(version(max_size=data.draw(st.integers(1, 12)), inputs=SPECS, outputs=outputs))

    def model(feeds: Any) -> dict[str, Array]:
        half = feeds["h"] if "h" in feeds else np.zeros(len(feeds["a"]), np.float16)
        return {
            "sum": feeds["a"].sum(axis=1) + half.astype(np.float32),
            "text": np.concatenate([feeds["t"], feeds["t"] + "!"], axis=1),
            "half": feeds["a"][:, :1].astype(DTYPES["BF16"]),
        }

    def run(names: Any, feeds: Any, stop: Any = None) -> list[Array]:  # noqa: ARG001
        world.session.runs.append(feeds)
        return [model(feeds)[name] for name in names]

    world.session.run = run  # type: ignore[method-assign]
    sent_feeds, replies = [], []
    chosen = data.draw(st.lists(st.permutations(["sum", "text", "half"]).map(lambda o: tuple(o[:2])), max_size=2))
    for index in range(data.draw(st.integers(1, 6))):
        rows = data.draw(st.integers(0, 4))
        feeds = {spec.name: array_of(spec.datatype, (rows, *spec.shape[1:]), 7 * index) for spec in SPECS}
        if data.draw(st.booleans()):
            del feeds["h"]
        order = data.draw(st.permutations(list(feeds)))
        datatypes = {spec.name: spec.datatype for spec in SPECS}
        header = Header(
            "m",
            "",
            tuple(InputHeader(name, datatypes[name], feeds[name].shape) for name in order),
            data.draw(st.sampled_from([(), *chosen])),
        )
        request = Request(header, b"", {}, 10, [memoryview(raw(feeds[name])) for name in order])
        sent_feeds.append((feeds, header.outputs or ("sum", "text", "half")))
        replies.append(world.send_request(request))
    world.work()
    for reply, (feeds, names) in zip(replies, sent_feeds, strict=True):
        alone = model(feeds)
        assert [output.name for output in reply.response.outputs] == list(names)
        for output, given_raw in zip(reply.response.outputs, reply.response.raw_output_contents, strict=True):
            assert tuple(output.shape) == alone[output.name].shape
            assert given_raw == raw(alone[output.name])


def test_outputs_that_are_not_contiguous_go_out_row_by_row() -> None:
    """A transposed or sliced output is written in the order that the protocol has."""
    world = world_of("INT32")
    world.session.function = lambda feeds: [np.ascontiguousarray(feeds["x"].T).T[:, ::-1]]
    replies = [world.send_request(sent("INT32", array_of("INT32", (2, 3), 10 * index))) for index in range(2)]
    alone = world.send_request(sent("INT32", array_of("INT32", (9, 3))))
    world.work()
    for index, reply in enumerate(replies):
        assert reply.response.raw_output_contents[0] == array_of("INT32", (2, 3), 10 * index)[:, ::-1].tobytes()
    assert alone.response.raw_output_contents[0] == array_of("INT32", (9, 3))[:, ::-1].tobytes()


def test_text_that_a_model_gives_as_bytes_goes_out_as_it_is() -> None:
    """Both kinds of elements are known."""
    world = world_of("BYTES", 1)
    world.session.function = lambda feeds: [np.array([b"\xff"] * len(feeds["x"]), object)]
    reply = world.send_request(sent("BYTES", array_of("BYTES", (2,))))
    world.work()
    assert reply.response.raw_output_contents[0] == (struct.pack("<I", 1) + b"\xff") * 2
