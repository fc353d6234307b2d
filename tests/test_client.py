"""The client, against a real server of the protocol in this process."""

from __future__ import annotations

import asyncio
import math
import pickle
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    Duration,
    InferenceError,
    ModelMetadata,
    ModelState,
    Reply,
    Request,
    ServerMetadata,
    TensorMetadata,
    Unavailable,
    datatype,
    tls,
)
from router.core.tensor import DTYPES
from router.pb import inference_pb2 as pb
from tests.fake_inference import FakeServer, Output, Tensor, authority, serving

NUMERIC = [name for name in DTYPES if name != "BYTES"]
WAIT = 10.0


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    """A client of a server that only echoes: it may serve many tests."""
    with serving(FakeServer()) as target, Client(target) as client:
        yield client


@pytest.fixture
def fake() -> FakeServer:
    """A server's answers, to be set up by the test."""
    return FakeServer()


@pytest.fixture
def target(fake: FakeServer) -> Iterator[str]:
    """Where `fake` is served."""
    with serving(fake) as where:
        yield where


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    """A client of `fake`."""
    with Client(target) as made:
        yield made


def echo(client: Client, value: Any) -> Any:
    """What comes back for `value`."""
    return client.infer("echo", {"x": value}, deadline=WAIT)["x"]


def reply_of(tensor: Output, *raw: bytes, **parameters: Any) -> pb.ModelInferResponse:
    """An answer with one output."""
    reply = pb.ModelInferResponse(model_name="given", outputs=[tensor], raw_output_contents=raw)
    for name, value in parameters.items():
        reply.parameters[name].CopyFrom(value)
    return reply


class TestTensors:
    """Arrays go out and come back as they were."""

    @pytest.mark.parametrize("name", NUMERIC)
    def test_every_datatype_and_shape_makes_the_round_trip(self, shared: Client, name: str) -> None:
        """Any array of any numeric datatype, 0-d and empty ones too, comes back with the same bytes and type."""

        @settings(max_examples=25, deadline=None)
        @given(st.data())
        def round_trip(data: st.DataObject) -> None:
            shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
            if name == "BF16":
                bits = data.draw(hnp.arrays(np.uint16, shape))
                array = np.asarray(bits).view(ml_dtypes.bfloat16)
            else:
                array = np.asarray(data.draw(hnp.arrays(DTYPES[name], shape)))
            back = echo(shared, array)
            assert back.dtype == DTYPES[name]
            assert back.shape == shape
            assert back.tobytes() == array.tobytes()

        round_trip()

    @settings(max_examples=50, deadline=None)
    @given(
        hnp.arrays(
            object,
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
            elements=st.binary(max_size=8) | st.text(max_size=8),
        )
    )
    def test_bytes_and_text_make_the_round_trip(self, shared: Client, array: np.ndarray) -> None:
        """Elements of any length come back as bytes, text in UTF-8, NUL bytes at the end included."""
        array = np.asarray(array, dtype=object)
        back = echo(shared, array)
        assert back.shape == array.shape
        assert back.ravel().tolist() == [e.encode() if isinstance(e, str) else e for e in array.ravel()]

    @pytest.mark.parametrize("name", [n for n in NUMERIC if DTYPES[n].itemsize > 1 and n != "BF16"])
    def test_big_endian_arrays_are_turned(self, shared: Client, name: str) -> None:
        """An array in the other byte order has the same values at the other end."""
        array = np.arange(6).astype(DTYPES[name].newbyteorder(">")).reshape(2, 3)
        back = echo(shared, array)
        assert back.dtype == DTYPES[name]
        np.testing.assert_array_equal(back, array)

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(24, dtype="f4").reshape(4, 6)[::2, ::-3],
            np.arange(24, dtype="f4").reshape(4, 6).T,
            np.asfortranarray(np.arange(24, dtype=ml_dtypes.bfloat16).reshape(4, 6)),
            np.broadcast_to(np.float32(3), (2, 2)),
            np.array([["a", "bb"], ["c", "dd"]], dtype=object).T,
        ],
        ids=["strided", "transposed", "fortran", "broadcast", "objects"],
    )
    def test_arrays_of_any_layout_go_out_row_by_row(self, shared: Client, array: np.ndarray) -> None:
        """Views that are not contiguous keep their values and places."""
        back = echo(shared, array)
        expected = [[e.encode() for e in row] for row in array] if array.dtype == object else array
        np.testing.assert_array_equal(back, np.asarray(expected))

    @pytest.mark.parametrize(
        ("value", "kind", "back"),
        [
            ([1, 2], "INT64", [1, 2]),
            ((1.5, 2.0), "FP64", [1.5, 2.0]),
            ([[True], [False]], "BOOL", [[True], [False]]),
            (7, "INT64", 7),
            (["é", "b"], "BYTES", ["é".encode(), b"b"]),
            ([b"a\0", b""], "BYTES", [b"a\0", b""]),
            (["a", b"\xff"], "BYTES", [b"a", b"\xff"]),
            ("text", "BYTES", b"text"),
            (np.array(["a", "bc"]), "BYTES", [b"a", b"bc"]),
            (np.array([b"a", b"bc"]), "BYTES", [b"a", b"bc"]),
            (np.array(["a", "bc"], dtype=np.dtypes.StringDType()), "BYTES", [b"a", b"bc"]),
            (np.array([b"x", bytearray(b"y")], dtype=object), "BYTES", [b"x", b"y"]),
        ],
    )
    def test_what_is_no_array_is_made_one(
        self, fake: FakeServer, client: Client, value: Any, kind: str, back: Any
    ) -> None:
        """Lists, tuples, numbers and text take the datatype that numpy would give them."""
        assert echo(client, value).tolist() == back
        assert fake.seen[-1].inputs[0].datatype == kind

    @pytest.mark.parametrize(
        ("value", "error", "text"),
        [
            (np.array([1j]), TypeError, "complex128"),
            (np.array(["2020-01-01"], dtype="M8[D]"), TypeError, "datetime64"),
            (np.zeros(1, np.longdouble), TypeError, "no datatype"),
            (np.zeros(2, ml_dtypes.float8_e4m3fn), TypeError, "float8"),
            ([1, None], TypeError, "element 0 is of type int"),
            (["a", 1], TypeError, "element 1 is of type int"),
            ([[1], [1, 2]], ValueError, "inhomogeneous"),
            (["\ud800"], ValueError, "surrogates"),
        ],
    )
    def test_what_the_protocol_cannot_carry_is_refused_here(
        self, fake: FakeServer, client: Client, value: Any, error: type[Exception], text: str
    ) -> None:
        """The error names the input and what was wrong; nothing is sent."""
        with pytest.raises(error, match=rf"(?s)input 'x': .*{text}"):
            echo(client, value)
        assert fake.seen == []

    def test_outputs_are_read_only_views(self, shared: Client) -> None:
        """An output is a view of the received bytes: writing into it is refused."""
        back = echo(shared, np.zeros(3))
        assert back.base is not None
        with pytest.raises(ValueError, match="read-only"):
            back[0] = 1

    def test_every_numpy_integer_has_a_datatype(self) -> None:
        """Types that differ in name only (C's long and long long) are one datatype."""
        for code in "bBhHiIlLqQ":
            dtype = np.dtype(code)
            assert DTYPES[datatype(dtype)] == dtype

    def test_large_tensors_pass(self, shared: Client) -> None:
        """Far more than gRPC's own limit of 4 MiB passes both ways."""
        array = np.arange(3 << 20, dtype="f8")
        assert echo(shared, array).tobytes() == array.tobytes()

    def test_a_message_over_the_limit_is_refused(self, target: str) -> None:
        """The limit is the caller's to set, and the refusal says so."""
        with Client(target, max_message_bytes=1000) as client, pytest.raises(InferenceError) as caught:
            echo(client, np.zeros(1000))
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


class TestAnswers:
    """What the server says reaches the caller."""

    def test_a_reply_says_who_answered(self, fake: FakeServer, client: Client) -> None:
        """Model, version, id and the marks of the router are at hand."""
        fake.replies["given"] = reply_of(
            Output(name="y", datatype="INT64", shape=[1]),
            bytes(8),
            served_by=pb.InferParameter(string_param="failover"),
            generation=pb.InferParameter(int64_param=7),
            degraded=pb.InferParameter(bool_param=True),
            model_version=pb.InferParameter(string_param="4"),
            nothing=pb.InferParameter(),
        )
        reply = client.infer("given", {}, deadline=WAIT)
        assert (reply.model, reply.version, reply.served_by, reply.generation) == ("given", "4", "failover", 7)
        assert reply.degraded is True
        assert reply.parameters["model_version"] == "4"
        assert "nothing" not in reply.parameters

    def test_a_server_that_says_nothing_leaves_the_marks_empty(self, shared: Client) -> None:
        """Servers of others send no marks: None, and not degraded."""
        reply = shared.infer("echo", {"x": [1]}, id="a", deadline=WAIT)
        assert (reply.version, reply.id) == ("3", "a")
        assert (reply.served_by, reply.generation, reply.degraded) == (None, None, False)

    def test_an_output_that_is_not_there_is_named(self, shared: Client) -> None:
        """The error says which outputs there are."""
        with pytest.raises(KeyError, match=r"no output 'z'; it has \['x'\]"):
            shared.infer("echo", {"x": [1]}, deadline=WAIT)["z"]

    def test_only_the_wanted_outputs_come(self, shared: Client) -> None:
        """`outputs` names what is sent back."""
        reply = shared.infer("echo", {"x": [1], "y": [2]}, outputs=["y"], deadline=WAIT)
        assert list(reply.outputs) == ["y"]

    def test_a_request_carries_everything(self, fake: FakeServer, client: Client) -> None:
        """Version, id and parameters arrive, each parameter in the field of its type."""
        parameters = {
            "timeout": 1000,
            "priority": 1,
            "big": 2**64 - 1,
            "neg": np.int8(-1),
            "f": 0.5,
            "s": "x",
            "b": True,
        }
        reply = client.infer("echo", {"x": [1]}, version="3", id="me", parameters=parameters, deadline=WAIT)
        seen = fake.seen[-1]
        assert (seen.model_version, seen.id) == ("3", "me")
        fields = {name: value.WhichOneof("parameter_choice") for name, value in seen.parameters.items()}
        assert fields == {
            "timeout": "int64_param",
            "priority": "uint64_param",
            "big": "uint64_param",
            "neg": "int64_param",
            "f": "double_param",
            "s": "string_param",
            "b": "bool_param",
        }
        assert reply.parameters == parameters

    @pytest.mark.parametrize(("value", "error"), [(None, TypeError), ([1], TypeError), (2**64, ValueError)])
    def test_a_parameter_that_cannot_be_sent_is_named(self, shared: Client, value: Any, error: type[Exception]) -> None:
        """The error names the parameter."""
        with pytest.raises(error, match="parameter 'p'"):
            shared.infer("echo", {}, parameters={"p": value})

    @pytest.mark.parametrize(
        ("kind", "field", "values"),
        [
            ("BOOL", "bool_contents", [True, False]),
            ("INT8", "int_contents", [-128, 127]),
            ("INT16", "int_contents", [-1, 300]),
            ("INT32", "int_contents", [-1, 2**31 - 1]),
            ("INT64", "int64_contents", [-1, 2**62]),
            ("UINT8", "uint_contents", [0, 255]),
            ("UINT16", "uint_contents", [0, 65535]),
            ("UINT32", "uint_contents", [0, 2**32 - 1]),
            ("UINT64", "uint64_contents", [0, 2**64 - 1]),
            ("FP32", "fp32_contents", [0.5, -2.0]),
            ("FP64", "fp64_contents", [0.1, -2.0]),
            ("BYTES", "bytes_contents", [b"a\0", b""]),
        ],
    )
    def test_typed_contents_are_read_too(
        self, fake: FakeServer, client: Client, kind: str, field: str, values: list[Any]
    ) -> None:
        """Servers that do not send raw contents are understood."""
        contents = pb.InferTensorContents(**{field: values})
        fake.replies["given"] = reply_of(Output(name="y", datatype=kind, shape=[2, 1], contents=contents))
        array = client.infer("given", {}, deadline=WAIT)["y"]
        assert array.dtype == DTYPES[kind]
        assert array.tolist() == [[v] for v in values]

    @pytest.mark.parametrize(
        ("reply", "text"),
        [
            (reply_of(Output(name="y", datatype="FP32", shape=[2]), bytes(4)), "1 elements came, the shape needs 2"),
            (reply_of(Output(name="y", datatype="FP32", shape=[1]), bytes(3)), "multiple of element size"),
            (reply_of(Output(name="y", datatype="FP32", shape=[1])), "0 elements came"),
            (reply_of(Output(name="y", datatype="FP16", shape=[1])), "FP16 must come as raw contents"),
            (reply_of(Output(name="y", datatype="FP9", shape=[1]), bytes(4)), "'FP9' is not one of the protocol"),
            (reply_of(Output(name="y", datatype="FP32", shape=[-1]), bytes(4)), "a size is negative"),
            (reply_of(Output(name="y", datatype="BYTES", shape=[1]), b"\1\0"), "ends within the length"),
            (reply_of(Output(name="y", datatype="BYTES", shape=[1]), b"\2\0\0\0a"), "beyond its end"),
            (reply_of(Output(name="y", datatype="FP32", shape=[1]), b"", b""), "1 outputs with 2 raw contents"),
            (
                reply_of(
                    Output(name="y", datatype="INT8", shape=[1], contents=pb.InferTensorContents(int_contents=[300]))
                ),
                "out of bounds",
            ),
        ],
    )
    def test_a_malformed_answer_is_an_error(
        self, fake: FakeServer, client: Client, reply: pb.ModelInferResponse, text: str
    ) -> None:
        """What cannot be read is never guessed at: INTERNAL, with the reason."""
        fake.replies["given"] = reply
        with pytest.raises(InferenceError, match=f"malformed answer: .*{text}") as caught:
            client.infer("given", {}, deadline=WAIT)
        assert caught.value.code is grpc.StatusCode.INTERNAL


class TestErrors:
    """One class of errors, with code, text and when to come back."""

    def test_the_servers_code_and_text_arrive(self, client: Client) -> None:
        """An unknown model is NOT_FOUND, in the server's words; the error survives pickling."""
        with pytest.raises(InferenceError) as caught:
            client.infer("absent", {}, deadline=WAIT)
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.code, error.message) == (grpc.StatusCode.NOT_FOUND, "no model 'absent'")
        assert str(error) == "NOT_FOUND: no model 'absent'"
        assert error.retry_after_ms is None

    @pytest.mark.parametrize(("trailer", "after"), [("250", 250), ("-1", None), ("soon", None)])
    def test_a_push_back_says_when_to_come_back(
        self, fake: FakeServer, client: Client, trailer: str, after: int | None
    ) -> None:
        """`retry_after_ms` is the server's push-back; none when it forbids a retry or writes nonsense."""
        fake.errors["busy"] = (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "the queue is full",
            (("grpc-retry-pushback-ms", trailer),),
        )
        with pytest.raises(InferenceError, match="the queue is full") as caught:
            client.infer("busy", {}, deadline=WAIT)
        assert caught.value.retry_after_ms == after

    def test_both_kinds_of_too_late_are_told_apart(self, fake: FakeServer, client: Client) -> None:
        """`by_client` is True when this side gave up, False when the server said so."""
        fake.errors["late"] = (grpc.StatusCode.DEADLINE_EXCEEDED, "12 ms were not enough", ())
        with pytest.raises(DeadlineExceeded) as theirs:
            client.infer("late", {}, deadline=WAIT)
        with pytest.raises(DeadlineExceeded) as ours:
            client.infer("slow", {}, deadline=0.05)
        assert (theirs.value.by_client, ours.value.by_client) == (False, True)

    def test_nobody_there_is_unavailable(self) -> None:
        """A server that cannot be reached is `Unavailable`, for `live` too."""
        with serving(FakeServer()) as target:
            pass
        with Client(target) as client, pytest.raises(Unavailable):
            client.live(deadline=WAIT)

    def test_a_server_of_another_protocol_is_an_error(self) -> None:
        """An answer that is no message of this protocol is INTERNAL, not a protobuf error."""
        handler = grpc.method_handlers_generic_handler(
            "inference.GRPCInferenceService",
            {"ServerLive": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"\xff")},
        )
        with (
            serving(FakeServer(), handlers=(handler,)) as target,
            Client(target) as client,
            pytest.raises(InferenceError, match="not a message of this protocol"),
        ):
            client.live(deadline=WAIT)


class TestTheServersBooks:
    """Everything besides inference, blocking and awaited."""

    def test_life_and_readiness(self, client: Client) -> None:
        """The server's own words."""
        assert client.live(deadline=WAIT)
        assert client.ready(deadline=WAIT)
        assert client.model_ready("echo", "3", deadline=WAIT)
        assert not client.model_ready("echo", "9", deadline=WAIT)

    def test_metadata_are_values(self, fake: FakeServer, client: Client) -> None:
        """Metadata come as frozen dataclasses."""
        fake.models["m"] = pb.ModelMetadataResponse(
            name="m",
            versions=["1", "2"],
            platform="onnxruntime_onnx",
            inputs=[Tensor(name="x", datatype="FP32", shape=[-1, 4])],
            outputs=[Tensor(name="y", datatype="INT64", shape=[-1])],
        )
        assert client.metadata(deadline=WAIT) == ServerMetadata("fake", "1", ("model_repository",))
        assert client.model_metadata("m", deadline=WAIT) == ModelMetadata(
            "m",
            ("1", "2"),
            "onnxruntime_onnx",
            (TensorMetadata("x", "FP32", (-1, 4)),),
            (TensorMetadata("y", "INT64", (-1,)),),
        )

    def test_statistics_are_values(self, client: Client) -> None:
        """Counters and durations, by version and by batch size."""
        (one,) = client.statistics("echo", deadline=WAIT)
        assert (one.name, one.version, one.inference_count, one.execution_count) == ("echo", "3", 5, 2)
        assert one.last_inference_ms == 12
        assert one.success == Duration(4, 8_000_000)
        assert one.success.mean_seconds == pytest.approx(0.002)
        assert one.fail.mean_seconds == 0
        assert [(b.batch_size, b.compute_infer.count) for b in one.batches] == [(2, 1)]

    def test_the_index_is_whole_or_only_what_is_ready(self, client: Client) -> None:
        """Every model with state and reason; `ready` leaves the others out."""
        assert client.index(deadline=WAIT)[1] == ModelState("old", "1", "UNAVAILABLE", "unloaded")
        assert [m.name for m in client.index(ready=True, deadline=WAIT)] == ["echo"]

    def test_load_and_unload_name_the_model(self, fake: FakeServer, client: Client) -> None:
        """The model's name, the configuration as JSON and the wish to unload dependents arrive."""
        client.load("m", config={"max_batch_size": 4}, deadline=WAIT)
        client.load("m", deadline=WAIT)
        client.unload("m", dependents=True, deadline=WAIT)
        load, plain, unload = fake.asked
        assert (load.model_name, load.parameters["config"].string_param) == ("m", '{"max_batch_size": 4}')
        assert not plain.parameters
        assert (unload.model_name, unload.parameters["unload_dependents"].bool_param) == ("m", True)

    def test_awaited_it_is_the_same(self, fake: FakeServer, target: str) -> None:
        """`AsyncClient` has every method of `Client`, with the same answers."""
        fake.models["m"] = pb.ModelMetadataResponse(name="m")

        async def ask() -> list[Any]:
            async with AsyncClient(target) as client:
                await client.load("m", deadline=WAIT)
                await client.unload("m", deadline=WAIT)
                return [
                    await client.live(deadline=WAIT),
                    await client.ready(deadline=WAIT),
                    await client.model_ready("echo", deadline=WAIT),
                    await client.metadata(deadline=WAIT),
                    await client.model_metadata("m", deadline=WAIT),
                    await client.statistics("echo", deadline=WAIT),
                    await client.index(deadline=WAIT),
                ]

        with Client(target) as client:
            assert asyncio.run(ask()) == [
                client.live(),
                client.ready(),
                client.model_ready("echo"),
                client.metadata(),
                client.model_metadata("m"),
                client.statistics("echo"),
                client.index(),
            ]
        public = {name for name in vars(Client) if not name.startswith("_")}
        assert public <= set(vars(AsyncClient))


REQUESTS = [
    Request("echo", {"x": [1]}, id="a"),
    Request("absent", {"x": [2]}, id="b"),
    Request("echo", {"x": [3]}, id="c"),
]


def told(answers: list[Reply | InferenceError]) -> list[Any]:
    """A stream's answers as plain values."""
    return [(a.request_id, a.message) if isinstance(a, InferenceError) else (a.id, a["x"].tolist()) for a in answers]


EXPECTED = [("a", [1]), ("b", "no model 'absent'"), ("c", [3])]


class TestStreams:
    """Many inferences on one stream."""

    def test_every_request_has_its_answer(self, client: Client) -> None:
        """A request that fails gives its error as a value; the stream lives on."""
        answers = list(client.stream(REQUESTS, deadline=WAIT))
        assert told(answers) == EXPECTED
        assert isinstance(answers[1], InferenceError)
        assert answers[1].code is grpc.StatusCode.UNKNOWN

    def test_an_answer_that_cannot_be_read_is_an_error_of_its_request(self, fake: FakeServer, client: Client) -> None:
        """A malformed answer does not end the stream."""
        fake.replies["given"] = reply_of(Output(name="y", datatype="FP32", shape=[2]), bytes(4))
        bad, good = client.stream([Request("given", {}), REQUESTS[0]], deadline=WAIT)
        assert isinstance(bad, InferenceError)
        assert isinstance(good, Reply)

    def test_what_ends_the_stream_is_raised(self, client: Client) -> None:
        """A server that goes away raises, after the answers that it gave."""
        stream = client.stream([REQUESTS[0], Request("break", {})], deadline=WAIT)
        assert told([next(stream)]) == EXPECTED[:1]
        with pytest.raises(Unavailable, match="going away"):
            next(stream)

    def test_what_the_requests_raise_is_raised_here(self, client: Client) -> None:
        """An error of the caller's own iterable comes out of the loop, after the answers to what went before."""

        def requests() -> Iterator[Request]:
            yield REQUESTS[0]
            raise LookupError("no more data")

        stream = client.stream(requests(), deadline=WAIT)
        assert told([next(stream)]) == EXPECTED[:1]
        with pytest.raises(LookupError, match="no more data"):
            next(stream)

    def test_a_request_that_cannot_be_sent_is_raised_here(self, client: Client) -> None:
        """So does a value that the protocol cannot carry."""
        with pytest.raises(TypeError, match="input 'x'"):
            list(client.stream([Request("echo", {"x": [1j]})], deadline=WAIT))

    def test_leaving_the_loop_cancels(self, fake: FakeServer, client: Client) -> None:
        """A caller that stops reading leaves nothing open at the server."""

        def forever() -> Iterator[Request]:
            while True:
                yield REQUESTS[0]

        stream = client.stream(forever(), deadline=WAIT)
        next(stream)
        stream.close()
        assert fake.ended.wait(WAIT)

    def test_a_stream_has_a_deadline(self, client: Client) -> None:
        """The deadline is that of the stream as a whole."""
        with pytest.raises(DeadlineExceeded) as caught:
            for _ in client.stream(iter(lambda: REQUESTS[0], None), deadline=0.05):
                pass
        assert caught.value.by_client

    @pytest.mark.parametrize("awaited", [False, True])
    def test_awaited_it_is_the_same(self, target: str, awaited: bool) -> None:
        """`AsyncClient.stream` takes plain and asynchronous iterables."""

        async def later() -> AsyncIterator[Request]:
            for request in REQUESTS:
                yield request

        async def ask() -> list[Reply | InferenceError]:
            async with AsyncClient(target) as client:
                return [a async for a in client.stream(later() if awaited else REQUESTS, deadline=WAIT)]

        assert told(asyncio.run(ask())) == EXPECTED

    def test_awaited_errors_come_out_of_the_loop(self, fake: FakeServer, target: str) -> None:
        """What the iterable raises, what ends the stream and an early end behave as in `Client`."""

        async def broken() -> AsyncIterator[Request]:
            yield REQUESTS[0]
            raise LookupError("no more data")

        async def endless() -> AsyncIterator[Request]:
            yield REQUESTS[0]
            yield Request("break", {})
            await asyncio.Event().wait()

        async def early(client: AsyncClient) -> None:
            fake.ended.clear()
            stream = client.stream(endless(), deadline=WAIT)
            assert told([await anext(stream)]) == EXPECTED[:1]
            await stream.aclose()  # type: ignore[attr-defined]
            assert await asyncio.to_thread(fake.ended.wait, WAIT)

        async def ask() -> None:
            async with AsyncClient(target) as client:
                with pytest.raises(LookupError, match="no more data"):
                    [a async for a in client.stream(broken(), deadline=WAIT)]
                with pytest.raises(Unavailable, match="going away"):
                    [a async for a in client.stream(endless(), deadline=WAIT)]
                await early(client)

        asyncio.run(ask())


class TestAwaited:
    """What only the awaited client has to prove."""

    def test_many_at_once(self, target: str) -> None:
        """Calls in flight together each get their own answer."""

        async def ask() -> list[int]:
            async with AsyncClient(target) as client:
                replies = await asyncio.gather(*(client.infer("echo", {"x": i}, deadline=WAIT) for i in range(32)))
            return [int(reply["x"]) for reply in replies]

        assert asyncio.run(ask()) == list(range(32))

    def test_errors_are_the_same(self, fake: FakeServer, target: str) -> None:
        """Codes, push-backs and the two kinds of too late are those of `Client`."""
        fake.errors["busy"] = (grpc.StatusCode.RESOURCE_EXHAUSTED, "full", (("grpc-retry-pushback-ms", "9"),))
        fake.errors["late"] = (grpc.StatusCode.DEADLINE_EXCEEDED, "12 ms were not enough", ())

        async def ask() -> None:
            async with AsyncClient(target) as client:
                with pytest.raises(InferenceError) as busy:
                    await client.infer("busy", {}, deadline=WAIT)
                assert busy.value.retry_after_ms == 9
                with pytest.raises(DeadlineExceeded) as theirs:
                    await client.infer("late", {}, deadline=WAIT)
                with pytest.raises(DeadlineExceeded) as ours:
                    await client.infer("slow", {}, deadline=0.05)
                assert (theirs.value.by_client, ours.value.by_client) == (False, True)

        asyncio.run(ask())

    def test_a_cancelled_task_cancels_its_call(self, fake: FakeServer, target: str) -> None:
        """Cancelling the awaiting task reaches the server."""

        async def ask() -> None:
            async with AsyncClient(target) as client:
                task = asyncio.create_task(client.infer("slow", {}, deadline=WAIT))
                async with asyncio.timeout(WAIT):
                    while not fake.seen:
                        await client.live()
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    assert await asyncio.to_thread(fake.release.wait, WAIT)

        asyncio.run(ask())

    def test_it_needs_a_running_loop(self) -> None:
        """Made outside an event loop it says so at once."""
        with pytest.raises(RuntimeError, match="no running event loop"):
            AsyncClient("127.0.0.1:1")


class TestConnection:
    """How the connection is made."""

    @pytest.mark.parametrize("deadline", [math.nan, math.inf, 1e300])
    def test_a_deadline_is_finite(self, target: str, deadline: float) -> None:
        """gRPC would take it for "at once"; the mend is None."""

        async def awaited() -> None:
            async with AsyncClient(target) as client:
                with pytest.raises(ValueError, match="or None to wait"):
                    await client.live(deadline=deadline)

        asyncio.run(awaited())
        with Client(target) as client:
            with pytest.raises(ValueError, match="or None to wait"):
                client.live(deadline=deadline)
            with pytest.raises(ValueError, match="or None to wait"):
                list(client.stream([], deadline=deadline))

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
    def test_a_server_may_ask_for_a_certificate(self, tmp_path: Path) -> None:
        """Both clients show theirs; without one there is no connection."""
        _, certificate = authority(tmp_path)
        key, pem = (tmp_path / "key.pem").read_bytes(), certificate.read_bytes()
        mutual = grpc.ssl_server_credentials([(key, pem)], pem, require_client_auth=True)

        async def awaited(target: str) -> bool:
            async with AsyncClient(target, credentials=tls(pem, key, pem)) as client:
                return await client.live(deadline=WAIT)

        with serving(FakeServer(), mutual) as target:
            with Client(target, credentials=tls(pem, key, pem)) as client:
                assert client.live(deadline=WAIT)
            assert asyncio.run(awaited(target))
            with Client(target, credentials=tls(pem)) as client, pytest.raises(Unavailable):
                client.live(deadline=WAIT)

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
    def test_tls(self, tmp_path: Path) -> None:
        """With the authority's certificate the server is trusted, without it it is not."""
        credentials, certificate = authority(tmp_path)

        async def awaited(target: str) -> bool:
            async with AsyncClient(target, credentials=tls(certificate.read_bytes())) as client:
                return await client.live(deadline=WAIT)

        with serving(FakeServer(), credentials) as target:
            with Client(target, credentials=tls(certificate.read_bytes())) as client:
                assert client.live(deadline=WAIT)
            assert asyncio.run(awaited(target))
            with Client(target, credentials=tls()) as client, pytest.raises(Unavailable):
                client.live(deadline=WAIT)

    def test_options_reach_the_channel(self, target: str) -> None:
        """gRPC's own options win over the defaults."""
        options = {"grpc.max_send_message_length": 100}
        with Client(target, options=options) as client, pytest.raises(InferenceError, match="larger than max"):
            echo(client, np.zeros(100))

    def test_it_needs_no_more_than_it_says(self) -> None:
        """Importing the client imports nothing of the server: no onnxruntime, no pydantic, no router.edge."""
        foreign = ["onnxruntime", "pydantic", "uvloop", "click", "rich"]
        foreign += [f"router.{part}" for part in ("app", "config", "control", "edge", "serving")]
        text = f"import sys, router.client; print(sorted(set({foreign}) & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "[]\n"

    def test_an_empty_shape_is_a_single_value(self, shared: Client) -> None:
        """0-d arrays stay 0-d."""
        assert echo(shared, math.pi).shape == ()
