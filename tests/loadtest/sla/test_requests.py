"""What is sent, and what must come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.errors import ScenarioError
from loadtest.sla.requests import pool, with_id, wrong
from loadtest.sla.scenario import Mix
from router import client
from router.client import ModelMetadata, TensorMetadata
from router.core.tensor import BYTES, DTYPES
from router.pb import inference_pb2 as pb
from tests.server import MODELS

DIGITS = ModelMetadata("digits", ("1", "2"), "onnx", (TensorMetadata("pixels", "FP32", (-1, 64)),), ())
EVERYTHING = ModelMetadata(
    "all", ("1",), "onnx", tuple(TensorMetadata(kind.lower(), kind, (-1, 2)) for kind in DTYPES), ()
)


def made(mix: Mix, metadata: ModelMetadata = DIGITS, repository: Path | None = None, seed: int = 1) -> Any:
    """A pool."""
    return pool(mix, metadata, repository, np.random.default_rng(seed), compared=True)


def test_random_inputs_follow_the_signature() -> None:
    """Every datatype, the rows asked for; the same seed makes the same."""
    mix = Mix(model="all", rows=3, inputs=5)
    first, again = made(mix, EVERYTHING), made(mix, EVERYTHING)
    assert first.messages == again.messages
    assert len(set(first.messages)) == 5
    request = pb.ModelInferRequest.FromString(first.messages[0])
    assert [tensor.datatype for tensor in request.inputs] == list(DTYPES)
    assert all(tuple(tensor.shape) == (3, 2) for tensor in request.inputs)
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if tensor.datatype != BYTES:
            assert len(raw) == 6 * DTYPES[tensor.datatype].itemsize


def test_values_are_drawn_from_those_given() -> None:
    """And a name that the model does not know is told."""
    mix = Mix(model="digits", values={"pixels": (0.0, 7.0)}, inputs=2)
    request = pb.ModelInferRequest.FromString(made(mix).messages[0])
    assert set(np.frombuffer(request.raw_input_contents[0], "<f4").tolist()) == {0.0, 7.0}
    with pytest.raises(ScenarioError, match="'pixel'; digits takes pixels"):
        made(Mix(model="digits", values={"pixel": (0.0,)}))


def test_golden_inputs_come_with_what_they_must_give() -> None:
    """From the version's own files; what the other version gives is worked out."""
    found = made(Mix(model="digits", input="golden"), repository=MODELS)
    assert len(found.messages) == 8
    assert set(found.expected) == {"1", "2"}
    stored = np.load(MODELS / "digits/2/golden/smoke.npz")
    assert [each["label"].tolist() for each in found.expected["2"]] == [[label] for label in stored["output:label"]]


def test_a_recording_is_sent_again(tmp_path: Path) -> None:
    """Rows of a file; one that is none is told."""
    path = tmp_path / "recorded.npz"
    np.savez(path, **{"input:pixels": np.arange(640, dtype=np.float32).reshape(10, 64)})
    found = made(Mix(model="digits", input=str(path), rows=2))
    assert len(found.messages) == 5
    path.write_text("no")
    with pytest.raises(ScenarioError, match=r"recorded.npz cannot be read"):
        made(Mix(model="digits", input=str(path)))


def test_an_id_goes_behind_the_message() -> None:
    """Nothing else changes."""
    message = made(Mix(model="digits", parameters={"route_key": "a", "priority": 1})).messages[0]
    request = pb.ModelInferRequest.FromString(with_id(message, 12345))
    assert request.id == "12345"
    request.ClearField("id")
    assert request == pb.ModelInferRequest.FromString(message)


def answer(**outputs: Any) -> client.Reply:
    """A reply with these outputs."""
    return client.Reply("m", "1", "", {name: np.asarray(value) for name, value in outputs.items()}, {})


@pytest.mark.parametrize(
    ("outputs", "is_wrong"),
    [
        ({"y": np.float32([1, 2])}, False),
        ({"y": np.float32([1, 2.001])}, False),
        ({"y": np.float32([1, 2.1])}, True),
        ({"y": np.float32([1, np.nan])}, True),
        ({"y": np.float32([[1, 2]])}, True),
        ({"z": np.float32([1, 2])}, True),
        ({}, True),
        ({"n": np.int64([3])}, False),
        ({"n": np.int64([4])}, True),
        ({"t": np.array([b"a", b"b"], object)}, False),
        ({"t": np.array([b"a", b"c"], object)}, True),
    ],
)
def test_a_wrong_answer_is_seen(outputs: dict[str, Any], is_wrong: bool) -> None:
    """Another name, shape or value; numbers may differ as kernels do."""
    expected = {"y": np.float32([1, 2]), "n": np.int64([3]), "t": np.array(["a", "b"], object)}
    assert wrong(answer(**outputs), expected) is is_wrong
