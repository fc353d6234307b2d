"""The bundled model repository: what `models/train.py` made and the repository carries."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from router.model_settings import model_settings

MODELS = Path(__file__).parents[2] / "models"
TRAIN = MODELS / "train.py"
VERSIONS = ("digits/1", "digits/2", "digits-small/1", "wine/1")

Array = npt.NDArray[Any]
Signature = dict[str, tuple[str, list[str | int]]]

PIXELS: Signature = {"pixels": ("tensor(float)", ["N", 64])}
DIGIT: Signature = {"label": ("tensor(int64)", ["N"]), "probabilities": ("tensor(float)", ["N", 10])}
BOTTLE: Signature = {
    "alcohol": ("tensor(float)", ["N", 1]),
    "flavanoids": ("tensor(float)", ["N", 1]),
    "proline": ("tensor(float)", ["N", 1]),
    "color": ("tensor(string)", ["N", 1]),
}
CULTIVAR: Signature = {"label": ("tensor(string)", ["N"]), "probabilities": ("tensor(float)", ["N", 3])}


def session(version: str) -> onnxruntime.InferenceSession:
    """`digits/2` and the like, loaded."""
    return onnxruntime.InferenceSession(MODELS / version / "model.onnx", providers=["CPUExecutionProvider"])


def arrays(path: Path, kind: str) -> dict[str, Array]:
    """The arrays of an .npz whose names start with `kind:`, without it."""
    with np.load(path, allow_pickle=False) as file:
        return {name.removeprefix(f"{kind}:"): file[name] for name in file.files if name.startswith(f"{kind}:")}


def accuracy(version: str) -> float:
    """The share of its model's exam that a version answers correctly."""
    path = (MODELS / version).parent / "exam" / "exam.npz"
    with np.load(path, allow_pickle=False) as file:
        labels = file["label"]
    (answers,) = session(version).run(["label"], arrays(path, "input"))
    return float(np.mean(answers == labels))


def data_files(root: Path) -> dict[str, bytes]:
    """Everything below a model repository that is neither a program nor its by-products."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix in {".onnx", ".npz", ".toml"}
    }


def test_repository_holds_exactly_these_versions() -> None:
    """Each version is a directory with a positive number and a model in it; there are no others."""
    found = {str(path.parent.relative_to(MODELS)) for path in MODELS.rglob("model.onnx")}
    assert found == set(VERSIONS)


@pytest.mark.parametrize(
    ("version", "inputs", "outputs"),
    [
        ("digits/1", PIXELS, DIGIT),
        ("digits/2", PIXELS, DIGIT),
        ("digits-small/1", PIXELS, DIGIT),
        ("wine/1", BOTTLE, CULTIVAR),
    ],
)
def test_signature(version: str, inputs: Signature, outputs: Signature) -> None:
    """A version names its inputs and outputs, their types and shapes; the same symbol stands for the rows in all."""
    loaded = session(version)
    assert {each.name: (each.type, each.shape) for each in loaded.get_inputs()} == inputs
    assert {each.name: (each.type, each.shape) for each in loaded.get_outputs()} == outputs


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_outputs_are_reproduced(version: str) -> None:
    """A version gives the outputs that its training library gave for the golden rows."""
    path = MODELS / version / "golden" / "smoke.npz"
    expected = arrays(path, "output")
    given = session(version).run(list(expected), arrays(path, "input"))
    for (name, wanted), got in zip(expected.items(), given, strict=True):
        assert len(wanted) == 8
        if name == "label":
            assert got.tolist() == wanted.tolist()
        else:
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_do_not_depend_on_each_other(version: str) -> None:
    """A row has the same answer alone as among others, so that requests may share a run."""
    inputs = arrays(MODELS / version / "golden" / "smoke.npz", "input")
    loaded = session(version)
    together = loaded.run(["label", "probabilities"], inputs)
    for row in range(8):
        label, probabilities = loaded.run(
            ["label", "probabilities"], {name: values[row : row + 1] for name, values in inputs.items()}
        )
        assert label[0] == together[0][row]
        np.testing.assert_allclose(probabilities[0], together[1][row], rtol=1e-4, atol=1e-5)


def test_exam_tells_the_digits_apart() -> None:
    """On the same exam, digits 2 is better than digits 1, and digits 1 better than digits-small."""
    exams = [(MODELS / model / "exam" / "exam.npz").read_bytes() for model in ("digits", "digits-small")]
    assert exams[0] == exams[1]
    assert accuracy("digits/2") > accuracy("digits/1") > accuracy("digits-small/1")


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_rows_are_not_in_the_exam(version: str) -> None:
    """What lies in a version directory tells nothing about the exam."""
    golden = arrays(MODELS / version / "golden" / "smoke.npz", "input")
    exam = arrays((MODELS / version).parent / "exam" / "exam.npz", "input")
    known = set(zip(*(values.tolist() for values in map(_rows, exam.values())), strict=True))
    assert known.isdisjoint(zip(*(values.tolist() for values in map(_rows, golden.values())), strict=True))


def _rows(values: Array) -> Array:
    """Each row as one string, `[rows]`."""
    return np.array([repr(row.tolist()) for row in values])


def test_wine_takes_a_color_it_has_never_seen() -> None:
    """A color outside the training data counts for none: an answer, not an error."""
    inputs = arrays(MODELS / "wine" / "1" / "golden" / "smoke.npz", "input")
    inputs["color"] = np.full((8, 1), "orange")
    labels, probabilities = session("wine/1").run(["label", "probabilities"], inputs)
    assert set(labels) <= {"barolo", "grignolino", "barbera"}
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_settings() -> None:
    """Both versions of digits are loaded; the settings of every model are valid."""
    assert model_settings(MODELS / "digits" / "model.toml").versions == "all"
    assert model_settings(MODELS / "wine" / "model.toml").versions == "latest"


def test_repository_is_small() -> None:
    """Models and data together stay below 600 KB."""
    assert sum(map(len, data_files(MODELS).values())) < 600_000


def test_check_accepts_the_committed_models() -> None:
    """`train.py --check` finds that every version keeps its promise, and trains nothing."""
    before = data_files(MODELS)
    done = subprocess.run([sys.executable, TRAIN, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert data_files(MODELS) == before


def check(out: Path) -> int:
    """The exit status of `train.py --check` on a repository, without a process of its own: that takes its time."""
    status: int = runpy.run_path(str(TRAIN))["main"](["--check", "--out", str(out)])
    return status


def test_check_refuses_a_model_that_fails_its_exam(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A worse model in the place of a version makes `train.py --check` fail and show which promise is broken."""
    for name, content in data_files(MODELS).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    worse = (MODELS / "digits-small" / "1" / "model.onnx").read_bytes()
    (tmp_path / "digits" / "2" / "model.onnx").write_bytes(worse)
    assert check(tmp_path) == 1
    assert "97%, broken" in capsys.readouterr().out


def test_check_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without models, `train.py --check` fails with one line."""
    assert check(tmp_path) == 1
    told = capsys.readouterr().err
    assert "is missing" in told
    assert told.count("\n") == 1


@pytest.mark.story
def test_training_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two runs of `train.py` write the same files, byte for byte."""
    for name in ("first", "second"):
        subprocess.run([sys.executable, TRAIN, "--out", tmp_path / name], capture_output=True, check=True)
    first = data_files(tmp_path / "first")
    assert first.keys() == data_files(MODELS).keys()
    assert first == data_files(tmp_path / "second")
