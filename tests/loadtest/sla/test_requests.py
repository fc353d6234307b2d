"""What is sent, and what must come back."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import ScenarioError
from loadtest.sla.requests import pool, with_id, wrong
from loadtest.sla.scenario import Mix
from router import client
from router.client import ModelMetadata, TensorMetadata
from router.core.observation import Observation
from router.core.tensor import BYTES, DTYPES
from router.pb import inference_pb2 as pb
from tests.control.test_recording import World
from tests.server import MODELS, put

DIGITS = ModelMetadata("digits", ("1", "2"), "onnx", (TensorMetadata("pixels", "FP32", (-1, 64)),), ())
EVERYTHING = ModelMetadata(
    "all", ("1",), "onnx", tuple(TensorMetadata(kind.lower(), kind, (-1, 2)) for kind in DTYPES), ()
)


def made(mix: Mix, metadata: ModelMetadata = DIGITS, *folders: Path) -> Any:
    """A pool."""
    return pool(mix, metadata, folders, np.random.default_rng(1), compared=True)


def one_input(datatype: str, *shape: int) -> ModelMetadata:
    """A model that takes `x`."""
    return ModelMetadata("m", ("1",), "onnx", (TensorMetadata("x", datatype, shape),), ())


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
    found = made(Mix(model="digits", input="golden"), DIGITS, MODELS)
    assert len(found.messages) == 8
    assert set(found.expected) == {"1", "2"}
    stored = np.load(MODELS / "digits/2/golden/smoke.npz")
    assert [each["label"].tolist() for each in found.expected["2"]] == [[label] for label in stored["output:label"]]


def test_a_version_that_is_withheld_is_compared_with_too(tmp_path: Path) -> None:
    """One pool of golden inputs, whichever folder a version lies in."""
    put(tmp_path / "models", "digits:2")
    put(tmp_path / "withheld", "digits:1")
    found = made(Mix(model="digits", input="golden"), DIGITS, tmp_path / "models", tmp_path / "withheld")
    assert {version: len(each) for version, each in found.expected.items()} == {"1": 8, "2": 8}


@pytest.mark.parametrize("outputs", [{}, {"output:label": np.arange(3)}], ids=["none", "fewer"])
def test_golden_files_that_do_not_say_all_outputs_leave_the_reference(
    tmp_path: Path, outputs: dict[str, np.ndarray[Any, Any]]
) -> None:
    """Where a file gives no output for each of its inputs, a session of our own does."""
    models = put(tmp_path / "models", "digits")
    golden = models / "digits/2/golden"
    with np.load(golden / "smoke.npz") as stored:
        inputs = stored["input:pixels"].astype(np.float64)
        labels = stored["output:label"]
    np.savez(golden / "smoke.npz", **({"input:pixels": inputs} | outputs))
    found = made(Mix(model="digits", input="golden"), DIGITS, models)
    assert [each["label"].tolist() for each in found.expected["2"]] == [[label] for label in labels]


def test_a_golden_output_is_laid_over_the_reference(tmp_path: Path) -> None:
    """A file that says one output of two leaves the other to the reference."""
    models = put(tmp_path / "models", "digits")
    golden = models / "digits/2/golden"
    with np.load(golden / "smoke.npz") as stored:
        np.savez(golden / "smoke.npz", **{"input:pixels": stored["input:pixels"], "output:label": np.full(8, 77)})
    found = made(Mix(model="digits", input="golden"), DIGITS, models)
    assert [each["label"].tolist() for each in found.expected["2"]] == [[77]] * 8
    assert all(len(each) > 1 for each in found.expected["2"])


@pytest.mark.parametrize(
    ("datatype", "values", "told"),
    [
        (BYTES, (1.0,), "which is BYTES: leave it out"),
        ("UINT8", (3.0, 300.0), "gives 300 for 'x', which UINT8 cannot hold"),
        ("INT64", (1.5,), "gives 1.5 for 'x'"),
        ("FP16", (1e6,), "gives 1e+06 for 'x'"),
    ],
)
def test_values_that_an_input_cannot_take_are_told(datatype: str, values: tuple[float, ...], told: str) -> None:
    """Rather than sent as something else."""
    with pytest.raises(ScenarioError) as error:
        made(Mix(model="m", values={"x": values}), one_input(datatype, -1))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("mix", "metadata", "told"),
    [
        (Mix(model="m", parameters={"a": 1 << 70}), one_input("FP32", -1), "parameter 'a'"),
        (Mix(model="m"), one_input("FP32", -1, 1 << 40), "too much to keep: lower `mix.rows`"),
        (Mix(model="m", inputs=1), one_input("FP64", -1, 9 << 20), "at most 64 MB are sent"),
        (Mix(model="m"), one_input("FP8", -1), "'FP8'"),
    ],
)
def test_requests_that_cannot_be_made_are_told(mix: Mix, metadata: ModelMetadata, told: str) -> None:
    """In one line, before any load."""
    with pytest.raises(ScenarioError) as error:
        made(mix, metadata)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def recording(**arrays: Any) -> bytes:
    """The bytes of an .npz file; `__` in a name is `:`."""
    with BytesIO() as file:
        np.savez(file, **{name.replace("__", ":"): np.asarray(array) for name, array in arrays.items()})
        return file.getvalue()


SOUND = recording(input__pixels=np.zeros((2, 64), np.float32))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "cannot be read: a sound .npz file is expected"),
        (SOUND[:-30], "cannot be read: a sound .npz file is expected"),
        (SOUND[:200] + b"junk" + SOUND[204:], "cannot be read: a sound .npz file is expected"),
        (recording(input__pixel=np.zeros((2, 64))), "gives the input 'pixel'; digits takes pixels"),
        (recording(input__pixels=1.0), "rows are expected"),
        (recording(input__pixels=["a", "b"]), "do not fit its datatypes"),
        (recording(pixels=np.zeros((2, 64))), "its arrays are named input:NAME"),
    ],
)
def test_a_recording_that_cannot_be_sent_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    """Whatever is wrong with it."""
    path = tmp_path / "it.npz"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as error:
        made(Mix(model="digits", input=str(path)))
    assert told in str(error.value)
    assert str(tmp_path) not in str(error.value)


@given(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_broken_recording_is_told_whatever_its_bytes_are(at: int, junk: bytes, whole: bool) -> None:
    """Cut off or written over: a ScenarioError or a pool, never anything else."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "it.npz"
        path.write_bytes(SOUND[:at] + junk + (SOUND[at + len(junk) :] if whole else b""))
        try:
            told = f"{len(made(Mix(model='digits', input=str(path))).messages)} messages"
        except ScenarioError as error:
            told = str(error)
        assert "\n" not in told


def test_an_array_that_is_no_archive_is_told(tmp_path: Path) -> None:
    """A lone .npy, and a file that is not there."""
    path = tmp_path / "it.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(ScenarioError, match=r"it.npy cannot be read: a sound .npz file"):
        made(Mix(model="digits", input=str(path)))
    with pytest.raises(ScenarioError, match=r"absent.npz cannot be read: No such file"):
        made(Mix(model="digits", input=str(tmp_path / "absent.npz")))


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
        ({}, False),
        ({"y": np.float32([1, 2.001])}, False),
        ({"y": np.float32([1, 2.1])}, True),
        ({"y": np.float32([1, np.nan])}, True),
        ({"y": np.float32([[1, 2]])}, True),
        ({"z": np.float32([1, 2])}, True),
        ({"y": np.array([b"1", b"2"], object)}, True),
        ({"t": np.float32([1, 2])}, True),
        ({"n": np.int64([3])}, False),
        ({"n": np.int64([4])}, True),
        ({"t": np.array([b"a", b"b"], object)}, False),
        ({"t": np.array([b"a", b"c"], object)}, True),
    ],
)
def test_a_wrong_answer_is_seen(outputs: dict[str, Any], is_wrong: bool) -> None:
    """Another name, shape or value; numbers may differ as kernels do."""
    expected = {"y": np.float32([1, 2]), "n": np.int64([3]), "t": np.array(["a", "b"], object)}
    assert wrong(answer(**{**expected, "t": np.array([b"a", b"b"], object), **outputs}), expected) is is_wrong


def test_an_answer_that_lacks_an_output_is_wrong() -> None:
    """What is there may be right."""
    expected = {"y": np.float32([1, 2]), "n": np.int64([3])}
    assert wrong(answer(y=expected["y"]), expected)
    assert wrong(answer(), expected)


def test_what_a_server_has_recorded_is_sent_again(tmp_path: Path) -> None:
    """In its order, as many rows to a request as are asked for; damaged files are left out, and named."""
    world = World(tmp_path)
    shown = np.arange(5 * 64, dtype=np.float32).reshape(5, 64)
    world.recorder.put(Observation("m", "1", "champion", ("",) * 5, (1,) * 5, (1,) * 5, {"pixels": shown}, {}))
    world.work(last=True)
    (world.folder / "rows-0.parquet").write_bytes(b"no")
    found = made(Mix(model="digits", input=str(world.folder), rows=2))
    sent = [pb.ModelInferRequest.FromString(each).raw_input_contents[0] for each in found.messages]
    assert sent == [shown[:2].tobytes(), shown[2:4].tobytes()]
    assert len(made(Mix(model="digits", input=str(world.folder), inputs=3)).messages) == 3
    with pytest.raises(ScenarioError, match=r"no request of 6 rows; rows-0.parquet cannot be read"):
        made(Mix(model="digits", input=str(world.folder), rows=6))
