"""Recordings: what is written, when, how much, and what becomes of it when the disk takes nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from router.control import recording as module
from router.control import recording_checks
from router.control.ledger_file import Actual
from router.control.recorded import Recordings
from router.control.recorded_schema import FOLDER, folder_of
from router.control.recording import Recorder
from router.control.recording_checks import Checks
from router.control.recording_disk import Disk
from router.core.observation import Observation
from router.core.tensor import DTYPES
from router.errors import InvalidRequest
from router.model_settings import RecordingSettings
from tests.edge.test_observations import array

Array = np.ndarray[Any, Any]


class FullDisk(Disk):
    """Takes nothing while it is full."""

    full = True

    def write(self, path: Path, content: bytes) -> None:
        """Write, or not."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(path, content)


class World:
    """A recorder without its thread, and a clock that is moved by hand."""

    def __init__(self, folder: Path, disk: Disk | None = None, model: str = "m", **chosen: Any) -> None:
        self.now = 1_000_000.0
        self.model = model
        self.settings = {model: RecordingSettings(enabled=True, **chosen)}
        self.told: list[tuple[str, str]] = []
        self.folder = folder_of(folder, model)
        self.recorder = Recorder(
            folder, lambda: self.settings, lambda *line: self.told.append(line), lambda: self.now, disk
        )

    def put(self, *numbers: float, **about: Any) -> None:
        """A row for each number."""
        self.recorder.put(rows(self.model, np.array(numbers, np.float32), **about))

    def work(self, seconds: float = 0.0, *, last: bool = False) -> None:
        """The thread has its turn after so long."""
        self.now += seconds
        self.recorder.work(last=last)

    def numbers(self) -> list[float]:
        """What is recorded."""
        return [each for part in Recordings(self.folder).parts() for each in part.inputs["x"].tolist()]

    def files(self) -> list[str]:
        """By name."""
        return sorted(path.name for path in self.folder.glob("*"))


def rows(
    model: str, x: Array, ids: Sequence[str] = (), places: Sequence[int] = (), y: Array | None = None
) -> Observation:
    """Rows that a version answered."""
    count = len(x)
    y = x * 2 if y is None else y
    return Observation(
        model, "3", "champion", tuple(ids or [""] * count), tuple(range(10**15, 10**15 + count)), (7000,) * count,
        {"x": x}, {"y": y}, True, 0, tuple(places),
    )  # fmt: skip


def test_rows_are_read_back_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    """And joined to what came true, however late; by id and row, of what was said twice the later."""
    world = World(tmp_path)
    world.put(1, 2, 3, ids=["a", "a", "b"], places=[0, 1, 0])
    world.work(last=True)
    world.recorder.came_true("m", [Actual("a", 1, "cat"), Actual("a", 0, 4), Actual("b", 0, 1.5), Actual("", 0, 9)])
    world.recorder.came_true("other", [Actual("b", 0, 8)])
    world.work(5, last=True)
    (part,) = Recordings(world.folder).parts()
    assert (part.ids, part.rows, part.versions) == (["a", "a", "b"], [0, 1, 0], ["3"] * 3)
    assert (part.served_by, part.took_us.tolist()) == (["champion"] * 3, [7] * 3)
    assert part.at.tolist() == [1_000_000.0] * 3
    assert part.inputs["x"].tolist() == [1, 2, 3]
    assert part.outputs["y"].tolist() == [2, 4, 6]
    assert part.actuals == [4, "cat", 1.5]
    assert world.recorder.written == {"m": 3}


@settings(max_examples=40)
@given(st.sampled_from(sorted(DTYPES)), st.integers(1, 3), st.lists(st.integers(0, 3), max_size=2), st.integers(0, 99))
def test_every_tensor_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, datatype: str, count: int, tail: list[int], seed: int
) -> None:
    """Of every datatype and shape, bit for bit, empty ones too."""
    world = World(tmp_path_factory.mktemp("recordings"))
    x = array(datatype, (count, *tail), seed)
    world.recorder.put(rows("m", x, y=x[:, None]))
    world.work(last=True)
    (part,) = Recordings(world.folder).parts()
    for seen, sent in ((part.inputs["x"], x), (part.outputs["y"], x[:, None])):
        assert (seen.dtype, seen.shape) == (sent.dtype, sent.shape)
        if datatype == "BYTES":
            assert seen.tolist() == sent.tolist()
        else:
            assert seen.tobytes() == sent.tobytes()


def test_values_of_redacted_tensors_are_not_kept(tmp_path: Path) -> None:
    """Neither numbers nor texts, also when recording has been switched off meanwhile."""
    world = World(tmp_path, redact=("x", "t"))
    texts = np.array([b"secret"], object)
    world.recorder.put(rows("m", np.array([[4.0, 2.0]], np.float32), y=np.array([5], np.int64)))
    world.recorder.put(
        Observation("m", "3", "champion", ("r",), (1,), (1,), {"t": texts}, {"y": np.array([6])}, recorded=True)
    )
    world.work()
    world.settings = {}
    world.work()
    first, second = Recordings(world.folder).parts()
    assert (first.inputs["x"].tolist(), first.outputs["y"].tolist()) == ([[0, 0]], [5])
    assert (second.inputs["t"].tolist(), second.outputs["y"].tolist()) == ([b""], [6])
    assert all(b"secret" not in path.read_bytes() for path in world.folder.iterdir())


def test_a_file_is_finished_after_a_time_or_when_it_is_large(tmp_path: Path) -> None:
    """What is gathered until then is one file."""
    world = World(tmp_path, rotate_s=60, rotate_mib=0.01)
    world.put(1)
    world.work()
    world.put(2)
    world.work(59)
    assert world.files() == []
    world.work(1)
    assert world.numbers() == [1, 2]
    world.put(*range(200))
    world.work(1)
    assert len(world.files()) == 2


def test_rows_of_other_shapes_are_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many side by side; when there are more, those that are there are finished."""
    monkeypatch.setattr(module, "MOST_KINDS", 2)
    world = World(tmp_path)
    for size in (1, 2, 3):
        world.recorder.put(rows("m", np.zeros((1, size), np.float32)))
    world.work()
    assert len(world.files()) == 2
    assert world.recorder.lost == {"m": 1}
    with pytest.raises(InvalidRequest, match="different"):
        Recordings(world.folder).arrays()


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    """Beyond `max_mib`, and those that are too old."""
    world = World(tmp_path, max_mib=1, keep_s=3600)
    noise = np.random.default_rng(1)
    for number in range(3):
        x = noise.random((1, 60_000)).astype(np.float32)
        x[0, 0] = number
        world.recorder.put(rows("m", x, y=np.zeros(1)))
        world.work(1, last=True)
        for path in world.folder.glob("*.parquet"):
            if path.stat().st_mtime > world.now:
                os.utime(path, (world.now, world.now))
    assert sum(path.stat().st_size for path in world.folder.iterdir()) <= 1 << 20
    assert len(world.files()) == 3
    for _ in range(3):
        world.recorder.put(rows("m", noise.random((1, 60_000)).astype(np.float32), y=np.zeros(1)))
        world.work(1, last=True)
    kept = [part.inputs["x"][0, 0] for part in Recordings(world.folder).parts()]
    assert 3 <= len(kept) <= 4
    assert 0 not in kept
    for path in world.folder.iterdir():
        os.utime(path, (world.now, world.now))
    world.put(5)
    world.work(3601, last=True)
    assert world.numbers() == [5]


def test_a_file_larger_than_all_that_is_allowed_is_not_written(tmp_path: Path) -> None:
    """Its rows are counted as lost; the files that are there stay."""
    world = World(tmp_path, max_mib=1)
    world.put(1)
    world.work(last=True)
    world.recorder.put(rows("m", np.random.default_rng(1).random((1, 400_000)), y=np.zeros(1)))
    world.work(last=True)
    assert world.numbers() == [1]
    assert world.recorder.lost == {"m": 1}


def test_a_full_disk_is_told_once_and_tried_again(tmp_path: Path) -> None:
    """Nothing is raised; what was gathered is written when it has room again."""
    disk = FullDisk()
    world = World(tmp_path, disk, rotate_s=1)
    world.put(1)
    world.work()
    world.work(1)
    world.work(1)
    world.put(2)
    world.work(module.RETRY_S)
    pauses = "recording pauses: No space left on device; free some room for the folder `recordings` of the state"
    assert world.told == [("", f"{pauses} directory, and it goes on by itself")]
    assert world.recorder.trouble
    disk.full = False
    world.work(1)
    assert world.files() == []  # it is tried now and then, not always
    world.work(module.RETRY_S)
    assert [line for _, line in world.told][1:] == ["recording goes on"]
    assert world.numbers() == [1, 2]
    assert not world.recorder.trouble


def test_what_the_disk_refuses_of_one_model_holds_up_no_other(tmp_path: Path) -> None:
    """It is told of that model, once, though it is tried again."""

    class Refusing(Disk):
        """Of one folder."""

        refused = "m"

        def write(self, path: Path, content: bytes) -> None:
            """Write, or not."""
            if path.parent.name == self.refused:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            super().write(path, content)

    disk = Refusing()
    world = World(tmp_path, disk, rotate_s=1)
    world.settings["other"] = world.settings["m"]
    for _ in range(3):
        world.put(1)
        world.recorder.put(rows("other", np.array([2], np.float32)))
        world.work()
        world.work(module.RETRY_S)
    pauses = "recording pauses: Permission denied; let the server write into the folder `recordings` of the state"
    assert world.told == [("m", f"{pauses} directory, and it goes on by itself")]
    assert (world.recorder.written, world.recorder.trouble) == ({"other": 3}, "Permission denied")
    disk.refused = ""
    world.now -= 1e6  # a clock that was set back keeps nothing waiting
    world.work()
    world.work(module.RETRY_S)
    assert world.told[1:] == [("m", "recording goes on")]
    assert (world.numbers(), world.recorder.trouble) == ([1, 1, 1], "")


def test_a_folder_that_cannot_be_made_is_the_same(tmp_path: Path) -> None:
    """Whatever the disk says."""
    (tmp_path / "file").touch()
    world = World(tmp_path / "file")
    world.put(1)
    world.work(last=True)
    assert len(world.told) == 1
    assert world.recorder.trouble


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the queue, and while the disk takes nothing; what finds no room is counted."""
    world = World(tmp_path, FullDisk(), rotate_s=1)
    monkeypatch.setattr(module, "MOST_BYTES", 500)
    for number in range(10):
        world.put(number)
    assert world.recorder.lost == {"m": 6}
    for _ in range(5):
        world.work(1)
        world.put(1)
    assert world.recorder._bytes <= 500
    assert world.recorder.lost["m"] > 6
    monkeypatch.setattr(module, "MOST_ACTUALS", 1)
    world.recorder.came_true("m", [Actual("a", 0, 1)] * 2)
    assert world.recorder._truths_waiting == 0


def test_a_process_that_is_killed_leaves_no_torn_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has its name when it is whole; what was half written goes at the next start."""
    world = World(tmp_path)
    world.put(1)

    class Killed(BaseException):
        """No handler sees a SIGKILL."""

    def kill(_: int) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", kill)
        with pytest.raises(Killed):
            world.work(last=True)
    assert [path.suffix for path in world.folder.iterdir()] == [".part"]
    assert Recordings(world.folder).files() == []
    again = World(tmp_path)
    again.put(2)
    again.work(last=True)
    assert again.numbers() == [2]
    assert len(again.files()) == 1


def test_damaged_files_are_named_and_left_out(tmp_path: Path) -> None:
    """All others are read."""
    world = World(tmp_path)
    world.put(1)
    world.work(last=True)
    for name in ("rows-0.parquet", "actuals-0.parquet"):
        (world.folder / name).write_bytes(b"PAR1 and no more")
    found = Recordings(world.folder)
    assert [(part.inputs["x"].tolist(), part.actuals) for part in found.parts()] == [([1], [None])]
    assert sorted(found.damaged) == ["actuals-0.parquet", "rows-0.parquet"]
    assert [each.damaged for each in found.files()] == [True, True, False]


def test_a_file_that_cannot_be_read_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another is written: cut off, garbage, without rights; again when it was changed and is still no good."""
    world = World(tmp_path, rotate_s=1)

    def record() -> list[str]:
        world.put(1)
        world.work(1)
        world.work(1)
        lines, world.told = [line for model, line in world.told if model == "m"], []
        return lines

    assert record() == []
    (first,) = world.files()
    whole = (world.folder / first).read_bytes()
    (world.folder / first).write_bytes(whole[:-20])
    why = "whoever reads them leaves it out: remove what is damaged or put back a copy"
    assert record() == [f"a file of the recordings cannot be read: {first} (damaged); {why}"]
    assert record() == []
    (world.folder / first).write_bytes(whole)
    assert record() == []
    for number in range(5):
        (world.folder / f"rows-{number}.parquet").write_bytes(b"garbage" * number)
    (line,) = record()
    assert line.startswith("5 files of the recordings cannot be read: rows-0.parquet (damaged), ")
    assert line.endswith(" and 2 more; whoever reads them leaves them out: remove what is damaged or put back a copy")
    assert record() == []
    assert Checks().look(world.folder) == []  # nor by the next process
    (world.folder / recording_checks.NOTES).write_text("[[1], 2")
    assert len(Checks().look(world.folder)) == 5
    real = parquet.read_metadata

    def refusing(path: Path) -> Any:
        if path.name == "rows-9.parquet":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path)

    monkeypatch.setattr(parquet, "read_metadata", refusing)
    (world.folder / "rows-9.parquet").touch()
    (line,) = record()
    assert line.endswith("(Permission denied); whoever reads them leaves it out: let the server's user read it")


def test_many_files_are_looked_at_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in the end, though their times are the same."""
    monkeypatch.setattr(recording_checks, "AT_ONCE", 2)
    for number in range(7):
        (tmp_path / f"rows-{number}.parquet").touch()
    checks, found = Checks(), []
    for _ in range(7):
        found += checks.look(tmp_path)
    assert sorted(each.name for each in found) == [f"rows-{number}.parquet" for number in range(7)]
    with pytest.raises(FileNotFoundError):
        checks.look(tmp_path / "none")


def test_a_file_whose_time_is_over_while_it_is_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as if it had not been there."""
    world = World(tmp_path)
    for number in (1, 2):
        world.put(number, ids=["a"])
        world.recorder.came_true("m", [Actual("a", 0, number)])
        world.work(1, last=True)
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*real(path), "rows-0.parquet", "actuals-0.parquet"])
    found = Recordings(world.folder)
    assert [part.inputs["x"].tolist() for part in found.parts()] == [[1], [2]]
    assert (found.table().num_rows, len(found.files()), found.damaged) == (2, 4, [])


def test_values_that_the_disk_has_changed_are_damage(tmp_path: Path) -> None:
    """Though all else of the file is well: each page has a checksum."""
    world = World(tmp_path)
    x = np.random.default_rng(3).random((1, 50_000)).astype(np.float32)
    world.recorder.put(rows("m", x))
    world.work(last=True)
    (path,) = world.folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = Recordings(world.folder)
    assert list(found.parts()) == []
    assert found.damaged == [path.name]


def test_recordings_are_training_data(tmp_path: Path) -> None:
    """Rows with what came true; all rows as arrays without pickles; a span of time."""
    world = World(tmp_path)
    world.put(1, 2, ids=["a", "b"])
    world.recorder.came_true("m", [Actual("b", 0, 7)])
    world.work(last=True)
    found = Recordings(world.folder)
    x, truth = found.labelled("x")
    assert (x.tolist(), truth.tolist()) == ([2], [7])
    assert [each.size for each in found.labelled("z")] == [0, 0]
    assert next(iter(found.parts(since=2e6))).ids == []
    arrays = found.arrays()
    assert arrays["input:x"].tolist() == [1, 2]
    np.testing.assert_equal(arrays["actual"], [np.nan, 7])
    assert all(not array.dtype.hasobject for array in arrays.values())
    assert found.table()["actual"].to_pylist() == [None, "7"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_every_model_has_a_folder_of_its_own_inside(one: str, other: str) -> None:
    """Whatever its name is; a plain one keeps it."""
    below = Path("/state") / FOLDER
    made = folder_of(below, one)
    assert made.parent == below
    assert made.name not in {"", ".", ".."}
    assert len(made.name) <= 80
    assert made.name.isascii()
    assert (made == folder_of(below, other)) == (one == other)
    assert folder_of(below, "digits-2.small").name == "digits-2.small"
    assert "/" not in folder_of(below, "../etc").name


def test_a_fault_of_ours_costs_what_was_gathered_and_not_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next rows are recorded."""
    world = World(tmp_path)
    world.put(1)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_table", lambda parts: parts[99])
        world.recorder._safely(last=True)
    assert world.recorder.lost == {"m": 1}
    world.put(2)
    world.recorder._safely(last=True)
    assert world.numbers() == [2]
