"""Replies are what protobuf reads, whatever the encoder remembers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.tensor import TensorSpec, encode_bytes
from router.edge import reply_encoder
from router.edge.reply_encoder import ReplyEncoder
from router.pb.inference_pb2 import ModelInferRequest, ModelInferResponse

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[1, 2]], np.uint32),
    "UINT64": np.array([[1, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-1, 1]], np.int16),
    "INT32": np.array([[-1, 1]], np.int32),
    "INT64": np.array([[-(2**63), 1]], np.int64),
    "FP16": np.array([[0.5, -2]], np.float16),
    "BF16": np.array([[0.5, -2]], ml_dtypes.bfloat16),
    "FP32": np.array([[0.5, np.nan]], np.float32),
    "FP64": np.array([[0.5, np.inf]], np.float64),
    "BYTES": np.array([["", "größe\0"]], object),
}


def raw_of(datatype: str, array: np.ndarray[Any, Any]) -> bytes:
    """The raw form of an array, element by element."""
    if datatype != "BYTES":
        return b"".join(array[index].tobytes() for index in np.ndindex(array.shape))
    return b"".join(struct.pack("<I", len(each.encode())) + each.encode() for each in array.ravel())


def replies_to(
    ids: Sequence[str], outputs: Sequence[tuple[str, str, np.ndarray[Any, Any]]]
) -> list[ModelInferResponse]:
    """The replies with the same outputs for each id."""
    encoder = ReplyEncoder(
        "modèle", "3", {"served_by": "champion", "generation": 4, "degraded": False},
        [TensorSpec(name, datatype, (-1,) * array.ndim) for name, datatype, array in outputs],
    )  # fmt: skip
    fields = [ModelInferRequest(id=each).SerializeToString() for each in ids]
    elements = [
        [encode_bytes(array) if datatype == "BYTES" else array.tobytes() for _ in ids] for _, datatype, array in outputs
    ]
    shapes = tuple([array.shape for _, _, array in outputs])
    once = encoder.replies(fields, shapes, elements)
    assert encoder.replies(fields, shapes, elements) == once  # from the cache
    return [ModelInferResponse.FromString(each) for each in once]


@pytest.mark.parametrize("datatype", ARRAYS)
@pytest.mark.parametrize("form", ["matrix", "empty", "scalar"])
def test_a_reply_of_every_datatype_is_what_protobuf_reads(datatype: str, form: str) -> None:
    """Name, datatype, shape and raw elements arrive, of matrices, empty tensors and scalars, for several ids."""
    array = ARRAYS[datatype]
    array = {"matrix": array, "empty": array[:0], "scalar": array[0, 1:].reshape(())}[form]
    for ids in (["1"], ["", "ü", "3" * 200]):
        for reply, request_id in zip(replies_to(ids, [("größe", datatype, array)]), ids, strict=True):
            assert (reply.model_name, reply.model_version, reply.id) == ("modèle", "3", request_id)
            assert reply.parameters["served_by"].string_param == "champion"
            assert reply.parameters["generation"].int64_param == 4
            assert reply.parameters["degraded"].WhichOneof("parameter_choice") == "bool_param"
            (output,) = reply.outputs
            assert (output.name, output.datatype, tuple(output.shape)) == ("größe", datatype, array.shape)
            assert list(reply.raw_output_contents) == [raw_of(datatype, array)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=4), st.sampled_from(sorted(ARRAYS)), st.integers(0, 3)), max_size=4),
    st.lists(st.text(max_size=200), min_size=1, max_size=3),
)
def test_a_reply_of_several_outputs_is_what_protobuf_reads(chosen: list[tuple[str, str, int]], ids: list[str]) -> None:
    """Any outputs in any order, text among them, keep their order and their elements."""
    outputs = [(name, datatype, np.concatenate([ARRAYS[datatype]] * 3)[:rows]) for name, datatype, rows in chosen]
    for reply, request_id in zip(replies_to(ids, outputs), ids, strict=True) if outputs else ():
        assert reply.id == request_id
        assert [(o.name, o.datatype, tuple(o.shape)) for o in reply.outputs] == [
            (name, datatype, array.shape) for name, datatype, array in outputs
        ]
        assert list(reply.raw_output_contents) == [raw_of(datatype, array) for _, datatype, array in outputs]


def test_an_encoder_remembers_few_shapes() -> None:
    """A model whose outputs have ever new shapes does not fill the memory."""
    encoder = ReplyEncoder("m", "1", {}, [TensorSpec("y", "UINT8", (-1,))])
    for size in range(1000):
        reply = ModelInferResponse.FromString(encoder.replies([b""], ((size,),), [[bytes(size)]])[0])
        assert (list(reply.outputs[0].shape), reply.raw_output_contents) == ([size], [bytes(size)])
    assert len(encoder._cached) <= reply_encoder._MAX_SHAPES


def test_marks_of_one_reply_are_part_of_its_body() -> None:
    """Its other bytes stay as they are; what is remembered of it has them too. Few marks are kept."""
    encoder = ReplyEncoder("m", "1", {"served_by": "champion"}, [TensorSpec("y", "UINT8", (-1,))])
    id_field = ModelInferRequest(id="a").SerializeToString()
    plain = encoder.replies([id_field], ((2,),), [[b"ab"]])[0]
    marks = {"humility": "far", "humility_rows": "0,1"}
    marked = encoder.marked(id_field, plain, marks)
    reply = ModelInferResponse.FromString(marked)
    assert {name: value.string_param for name, value in reply.parameters.items()} == {"served_by": "champion", **marks}
    for name in marks:
        del reply.parameters[name]
    assert reply == ModelInferResponse.FromString(plain)
    again = ModelInferResponse.FromString(encoder.remembered(b"", 5, encoder.body(id_field, marked)))
    assert (again.parameters["humility"].string_param, again.raw_output_contents) == ("far", [b"ab"])
    for row in range(1000):
        encoder.marked(id_field, plain, {"humility_rows": str(row)})
    assert len(encoder._marks) <= reply_encoder._MAX_SHAPES
