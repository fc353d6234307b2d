"""What a run brings: looked at, and put into the repository in one step."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from router.control import artefact
from router.control.retraining_files import KEPT, LOG, Brought, StateFiles
from router.errors import ModelBroken


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    """In a state directory of their own."""
    return StateFiles(tmp_path / "state")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with a version."""
    (tmp_path / "models/a/1").mkdir(parents=True)
    return tmp_path / "models/a"


def test_what_is_brought_becomes_a_version(files: StateFiles, folder: Path) -> None:
    """Whole, readable, with the digest that was told, and after it was told which number it gets."""
    output = files.begin("a", 7)
    (output / "model.onnx").write_text("weights")
    (output / "golden").mkdir()
    (output / "golden/one.npz").write_text("rows")
    brought = files.brought("a", 7, "model.onnx")
    assert (brought.files, brought.model) == (2, True)
    told: list[tuple[int, bool]] = []
    placed = files.place("a", 7, folder, 2, lambda number: told.append((number, (folder / "2").exists())))
    assert (placed, told) == (2, [(2, False)])
    assert artefact.digest(folder / "2") == brought.digest
    assert artefact.complete(folder / "2")
    assert (folder / "2").stat().st_mode & 0o777 == 0o755
    files.end("a", 7, b"the last words")
    assert not files.output("a", 7).exists()
    assert (files.output("a", 7).parent / LOG).read_bytes() == b"the last words"


def test_a_number_that_somebody_has_taken_is_passed_over(files: StateFiles, folder: Path) -> None:
    """Nothing of theirs is touched."""
    (folder / "2").mkdir()
    (folder / "3").write_text("a file")
    output = files.begin("a", 1)
    (output / "model.onnx").write_text("weights")
    assert files.place("a", 1, folder, 2, lambda number: None) == 4  # noqa: ARG005
    assert sorted(os.listdir(folder)) == ["1", "2", "3", "4"]
    assert not os.listdir(folder / "2")


def test_nothing_is_brought(files: StateFiles) -> None:
    """Or other things than a model."""
    output = files.begin("a", 1)
    assert files.brought("a", 1, "model.onnx") == Brought(0, model=False)
    (output / "model.onnx").mkdir()
    (output / "model.onnx/x").touch()
    assert files.brought("a", 1, "model.onnx") == Brought(1, model=False)


def test_what_can_be_no_version_is_told(files: StateFiles, tmp_path: Path) -> None:
    """A link that leads out of it; settings, which are not the trainer's."""
    output = files.begin("a", 1)
    (output / "model.onnx").write_text("weights")
    (output / "more").symlink_to(tmp_path)
    with pytest.raises(ModelBroken, match="symbolic link"):
        files.brought("a", 1, "model.onnx")
    (output / "more").unlink()
    (output / "model.toml").touch()
    with pytest.raises(ModelBroken, match=r"`model\.toml` lies beside the model"):
        files.brought("a", 1, "model.onnx")


def test_a_repository_on_another_file_system_gets_a_copy(
    files: StateFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its name when it is whole; a full disk leaves nothing of it."""
    output = files.begin("a", 1)
    (output / "model.onnx").write_text("weights")
    real = Path.stat

    class Elsewhere:
        st_dev = -1

    monkeypatch.setattr(Path, "stat", lambda self, **how: Elsewhere() if self == output else real(self, **how))

    def full(*_: object, **__: object) -> None:
        raise shutil.Error([("from", "to", f"[Errno 28] {os.strerror(errno.ENOSPC)}")])

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", full)
        with pytest.raises(OSError, match="No space left") as caught:
            files.place("a", 1, folder, 2, lambda number: None)  # noqa: ARG005
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(folder) == ["1"]
    assert files.place("a", 1, folder, 2, lambda number: None) == 2  # noqa: ARG005
    assert sorted(os.listdir(folder)) == ["1", "2"]
    assert (folder / "2/model.onnx").read_text() == "weights"


def test_folders_of_old_runs_go(files: StateFiles) -> None:
    """The last ones stay, by their numbers; names of models are no paths."""
    for run in range(1, KEPT + 5):
        files.begin("../a b", run)
    home = files.output("../a b", 1).parents[1]
    assert home.parent.name == "retraining"
    assert sorted(map(int, os.listdir(home))) == list(range(5, KEPT + 5))


def test_when_there_are_recordings(files: StateFiles, tmp_path: Path) -> None:
    """From the first to the last that is whole; none are none, and one that goes meanwhile is none."""
    place, seen = files.recordings("a")
    assert (place, seen) == (tmp_path / "state/recordings/a", None)
    place.mkdir(parents=True)
    (place / "gone.parquet").symlink_to("nowhere")
    for name, second in (("x.parquet", 100), ("y.parquet", 300), ("z.parquet", 200), ("half.parquet.part", 400)):
        (place / name).touch()
        os.utime(place / name, (second, second))
    assert files.recordings("a") == (place, (100.0, 300.0))
