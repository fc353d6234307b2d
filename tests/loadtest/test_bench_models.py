"""The benchmark's models and requests, and the baseline's answers to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtest import bench_models
from loadtest.bench_models import Question
from loadtest.peers.aio_baseline import Model
from router.pb import inference_pb2 as pb


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with all three models."""
    path = tmp_path_factory.mktemp("models")
    bench_models.make(path)
    return path


def reply(values: np.ndarray, **changed: str) -> bytes:
    """A ModelInferResponse with one raw FP32 output."""
    response = pb.ModelInferResponse(model_name="tiny")
    response.outputs.add(**{"name": "y", "datatype": "FP32", "shape": values.shape} | changed)
    response.raw_output_contents.append(values.astype("<f4").tobytes())
    return response.SerializeToString()


@pytest.mark.parametrize(("name", "low", "high"), [("tiny", 25_000, 30_000), ("mid", 10e6, 11e6), ("large", 50, 500)])
def test_models_have_their_sizes(repository: Path, name: str, low: float, high: float) -> None:
    """About 25 KB, 10 MB and nothing at all."""
    assert low <= bench_models.model_path(repository, name).stat().st_size <= high


def test_models_are_the_same_every_time(repository: Path, tmp_path: Path) -> None:
    """Fixed seeds: two runs write the same bytes."""
    bench_models.make(tmp_path, ("tiny",))
    paths = [bench_models.model_path(each, "tiny") for each in (repository, tmp_path)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", bench_models.NAMES)
def test_the_baseline_answers_right(repository: Path, name: str) -> None:
    """The peer gives what a direct run gives, for every model, and calls itself version 1."""
    model = Model(name, bench_models.model_path(repository, name))
    for question in bench_models.questions(repository, name, 2):
        response = model.answer(pb.ModelInferRequest.FromString(question.request))
        assert question.wrong(response.SerializeToString()) is None
        assert (response.model_name, response.model_version, response.id) == (name, "1", "bench")


def test_answers_in_a_batch_are_within_the_tolerance(repository: Path) -> None:
    """A server that batches adds in another order; that is not a wrong answer."""
    asked = bench_models.questions(repository, "mid", 8)
    rows = [np.frombuffer(pb.ModelInferRequest.FromString(each.request).raw_input_contents[0], "<f4") for each in asked]
    together = pb.ModelInferRequest.FromString(bench_models.request("mid", np.stack(rows)))
    response = Model("mid", bench_models.model_path(repository, "mid")).answer(together)
    outputs = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(8, 10)
    for index, question in enumerate(asked):
        assert question.wrong(reply(outputs[index : index + 1])) is None


def test_somebody_elses_answer_is_wrong(repository: Path) -> None:
    """Questions differ so much that an answer given to the wrong caller is seen."""
    for name in bench_models.NAMES:
        mine, theirs = bench_models.questions(repository, name, 2)
        assert "differ from a direct run" in str(mine.wrong(reply(theirs.answer)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (reply(np.array([[1.0, np.nan]])), "differ"),
        (reply(np.array([[1.0, 2.0]]), datatype="FP64"), "FP64"),
        (reply(np.array([[1.0, 2.0]]), name="z"), "'z'"),
        (reply(np.array([1.0, 2.0])), "(2,)"),
        (pb.ModelInferResponse().SerializeToString(), "expected the output y"),
    ],
)
def test_wrong_answers_are_described(given: bytes, said: str) -> None:
    """Not a number, another type, name or shape, nothing at all."""
    assert said in str(Question(b"", np.array([[1.0, 2.0]], np.float32)).wrong(given))


def test_typed_contents_are_read_too() -> None:
    """A server may answer without raw contents."""
    response = pb.ModelInferResponse()
    output = response.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    output.contents.fp32_contents.extend([1.0, 2.0])
    assert Question(b"", np.array([[1.0, 2.0]], np.float32)).wrong(response.SerializeToString()) is None


def test_large_is_602112_bytes_in_raw_contents(repository: Path) -> None:
    """1 × 3 × 224 × 224 × 4 bytes, batch 1."""
    (question,) = bench_models.questions(repository, "large", 1)
    request = pb.ModelInferRequest.FromString(question.request)
    assert list(request.inputs[0].shape) == [1, 3, 224, 224]
    assert [len(raw) for raw in request.raw_input_contents] == [602_112]


def test_frame_of_grpc() -> None:
    """Not compressed, the length as four big-endian bytes, the message."""
    assert bench_models.frame(b"abc") == b"\x00\x00\x00\x00\x03abc"
    assert bench_models.frame(b"x" * 602_112)[:5] == b"\x00\x00\x09\x30\x00"


@pytest.mark.parametrize("name", ["z", "x"])
def test_the_baseline_refuses_what_it_cannot_run(repository: Path, name: str) -> None:
    """A request without raw contents or with another input is a ValueError, not a crash."""
    request = pb.ModelInferRequest(model_name="tiny")
    request.inputs.add(name=name, datatype="FP32", shape=[1, 30])
    if name != "x":
        request.raw_input_contents.append(bytes(120))
    with pytest.raises(ValueError, match="expected"):
        Model("tiny", bench_models.model_path(repository, "tiny")).answer(request)
