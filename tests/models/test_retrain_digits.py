"""The program that trains digits anew: from the recordings of a server to a version's directory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from pyarrow import parquet

from router.app.demo_world import Pictures, World, world
from router.control.own_reference import own_reference
from router.control.pedigree import pedigree
from router.control.recorded_schema import column, truths
from router.core.lineage import RETRAINED, lineage_gate
from router.core.reference_text import from_text

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="module")
def program() -> Any:
    """The program as a module: it lies beside the models, in no package."""
    spec = importlib.util.spec_from_file_location("retrain_digits", MODELS / "retrain_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pictures() -> World:
    """The bundled ones."""
    return world(MODELS / "digits")


@pytest.fixture(scope="module")
def model(program: Any, pictures: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's directory with a first version, trained on the pictures of the first scanner."""
    folder = tmp_path_factory.mktemp("digits")
    np.savez(folder / "training.npz", pixels=pictures.first.pixels, label=pictures.first.labels)
    words = ["--first", "--training", str(folder / "training.npz"), "--out", str(folder / "1")]
    assert program.main(words) == 0
    return folder


def record(folder: Path, pictures: Pictures, known: int | None = None) -> Path:
    """Recordings of these pictures; of the first `known` it came true what they show, without it of all."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = len(pictures)
    field, pixels = column("input.pixels", pictures.pixels)
    columns: dict[str, Any] = {
        "id": pa.array([f"r{number}" for number in range(rows)]),
        "row": pa.array([0] * rows, pa.uint32()),
        "at": pa.array(range(rows), pa.timestamp("us")),
        "version": pa.array(["1"] * rows),
        "served_by": pa.array(["champion"] * rows),
        "took_us": pa.array([100] * rows, pa.uint32()),
    }
    schema = pa.schema([*(pa.field(name, each.type) for name, each in columns.items()), field])
    parquet.write_table(pa.table([*columns.values(), pixels], schema), folder / "rows-1.parquet")
    said = [(f"r{number}", 0, int(label)) for number, label in enumerate(pictures.labels[:known])]
    parquet.write_table(truths(said), folder / "actuals-1.parquet")
    return folder


def environment(model: Path, recordings: Path, out: Path) -> dict[str, str]:
    """As a server starts the program."""
    return {
        "ROUTER_PARENT_VERSION": "1",
        "ROUTER_MODEL_DIR": str(model),
        "ROUTER_RECORDINGS": str(recordings),
        "ROUTER_OUTPUT_DIR": str(out),
    }


def accuracy(version: Path, pictures: Pictures) -> float:
    """By ONNX Runtime."""
    session = onnxruntime.InferenceSession(version / "model.onnx", providers=["CPUExecutionProvider"])
    (labels,) = session.run(["label"], {"pixels": pictures.pixels})
    return float(np.mean(labels == pictures.labels))


def test_a_version_is_trained_anew_on_what_was_recorded(
    program: Any, model: Path, pictures: World, tmp_path: Path
) -> None:
    """It is right on pictures of the new scanner that no training has seen, where its parent is wrong half of the
    time; it has not forgotten the old one; it brings what drift is seen by; it counts as its parent trained anew."""
    recordings = record(tmp_path / "recordings", pictures.daily.scanned())
    told = program.retrain(program.told(environment(model, recordings, tmp_path / "out")), None)
    assert told == "version 1 trained anew on 600 recorded pictures and 400 original ones"
    unseen = pictures.later.scanned()
    assert accuracy(model / "1", pictures.later) > 0.9
    assert accuracy(model / "1", unseen) < 0.6
    assert accuracy(tmp_path / "out", unseen) > 0.9
    assert accuracy(tmp_path / "out", pictures.exam) > 0.9
    reference = from_text(own_reference(tmp_path / "out"))
    assert (reference.rows, len(reference.features)) == (400, 64)
    assert reference.features[0].column.name == "pixels[0]"
    child, parent = (pedigree(onnx.load(at / "model.onnx")) for at in (tmp_path / "out", model / "1"))
    assert child.hyperparameters["algorithm"] == "one hidden layer, Adam"
    gate = lineage_gate(child, parent, ("1", "a digest"))
    assert gate.facts["path"] == RETRAINED, gate.reason


def test_its_golden_rows_are_what_the_trainer_computed(model: Path) -> None:
    """ONNX Runtime gives the same: the file says what was learned."""
    with np.load(model / "1/golden/smoke.npz") as golden:
        session = onnxruntime.InferenceSession(model / "1/model.onnx", providers=["CPUExecutionProvider"])
        label, probabilities = session.run(None, {"pixels": golden["input:pixels"]})
        assert label.tolist() == golden["output:label"].tolist()
        np.testing.assert_allclose(probabilities, golden["output:probabilities"], rtol=1e-4, atol=1e-5)


def test_training_twice_gives_the_same_file(program: Any, model: Path, tmp_path: Path) -> None:
    """It is seeded: a server tells that the same came back."""
    words = ["--first", "--training", str(model / "training.npz"), "--out", str(tmp_path / "1")]
    assert program.main(words) == 0
    assert (tmp_path / "1/model.onnx").read_bytes() == (model / "1/model.onnx").read_bytes()


def test_a_picture_counts_once_with_what_was_said_last(program: Any) -> None:
    """However often it was asked."""
    pixels = np.array([[1.0], [2.0], [1.0]], np.float32)
    kept, labels = program.once(pixels, np.array([3, 4, 5]))
    assert kept.tolist() == [[1.0], [2.0]]
    assert labels.tolist() == [5, 4]


def test_of_many_recordings_the_original_rows_are_not_needed(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of yesterday."""
    monkeypatch.setattr(program, "ENOUGH", 150)
    many = np.arange(200 * 64, dtype=np.float32).reshape(200, 64), np.zeros(200, np.int64)
    pixels, _ = program.learned(many, (np.zeros((5, 64), np.float32), np.zeros(5, np.int64)))
    assert len(pixels) == 200


@pytest.mark.parametrize("known", [0, 99])
def test_too_few_labelled_pictures_are_refused(
    program: Any, model: Path, pictures: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, known: int,
) -> None:  # fmt: skip
    """In one line that says how many there are and what to do; nothing is brought, and the exit status is 1."""
    recordings = record(tmp_path / "recordings", pictures.daily, known)
    for name, value in environment(model, recordings, tmp_path / "out").items():
        monkeypatch.setenv(name, value)
    assert program.main([]) == 1
    said = capsys.readouterr().err
    assert f"hold {known} different pictures" in said
    assert "router actuals" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_no_picture_or_no_digit_is_left_out(program: Any, pictures: World, tmp_path: Path) -> None:
    """Pixels that are no numbers, and labels that no digit has."""
    wrong = Pictures(pictures.daily.pixels[:20].copy(), pictures.daily.labels[:20].copy())
    wrong.pixels[3, 5] = np.nan
    wrong.labels[7] = 12
    pixels, labels = program.recorded(record(tmp_path / "recordings", wrong))
    assert len(pixels) == len(labels) == 18


def test_files_that_cannot_be_read_are_named_and_left_out(
    program: Any, pictures: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the others teach is learned."""
    folder = record(tmp_path / "recordings", pictures.daily)
    for number in range(4):
        (folder / f"rows-0{number}.parquet").write_bytes(b"garbage")
    assert len(program.recorded(folder)[1]) == len(pictures.daily)
    said = (
        "files of recordings that cannot be read are left out: rows-00.parquet, rows-01.parquet, rows-02.parquet, …\n"
    )
    assert capsys.readouterr().out == said


def test_another_parent_is_refused(program: Any, tmp_path: Path) -> None:
    """One that says nothing of its tuning was made by another program, and cannot be trained anew by this one."""
    given = program.told(environment(MODELS / "digits", tmp_path, tmp_path / "out"))
    with pytest.raises(program.Refused, match="the parent declares no algorithm"):
        program.retrain(given, None)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/model.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(program.Refused, match="cannot be read"):
        program.tuning_of(tmp_path / "1/model.onnx")


def test_what_the_server_has_not_said_is_named(program: Any) -> None:
    """With what to do instead."""
    with pytest.raises(program.Refused, match=r"ROUTER_RECORDINGS and ROUTER_OUTPUT_DIR are not set.*--first"):
        program.told({"ROUTER_PARENT_VERSION": "1", "ROUTER_MODEL_DIR": "x"})
