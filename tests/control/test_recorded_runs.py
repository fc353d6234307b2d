"""Recorded requests as runs: the newest ones that a version takes, whatever else lies in the folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from router.control import recorded_runs as module
from router.control.recorded_runs import RecordedRuns
from router.core.mirrored import MirroredRun
from router.core.tensor import ANY, BYTES, Signature, TensorSpec, decode_bytes
from tests.control.test_recording import World, rows

X, Y = TensorSpec("x", "FP32", (ANY,)), TensorSpec("y", "FP32", (ANY,))
SIGNATURE = Signature((X,), (Y,))


def numbers(run: MirroredRun) -> list[float]:
    """What a run asks."""
    (call,) = run.calls
    assert (call.id_field, call.inputs[0].name, call.inputs[0].shape) == (b"", "x", (len(call.elements[0]) // 4,))
    return np.frombuffer(call.elements[0], np.float32).tolist()


def runs(world: World, most: int = 100, signature: Signature = SIGNATURE, **about: Any) -> RecordedRuns:
    """The newest of what is recorded there."""
    return RecordedRuns(world.folder, "m", signature, most=most, **about)


def test_the_newest_requests_come_first_file_by_file(tmp_path: Path) -> None:
    """Rows of one request are one again; no more than are wanted, and it is said what they are."""
    world = World(tmp_path)
    world.put(1, 2, 3)
    world.work(last=True)
    world.put(4, 5, 6, 7, ids=["a", "a", "b", "b"], places=[0, 2, 0, 1])
    world.work(60, last=True)
    found = runs(world, 4)
    assert [numbers(run) for run in found] == [[4, 5], [6, 7], [2], [3]]
    assert (found.sent, found.files, found.left_out) == (4, 2, "")
    assert found.words == (
        "4 of the recorded ones are from 2 files of its recordings, the newest of 1970-01-12 13:46:40 UTC"
    )
    one = runs(world, 1)
    assert [(run.model, run.champion, run.outputs, numbers(run)) for run in one] == [("m", "", {}, [6, 7])]
    assert "from 1 file of" in one.words


def test_a_model_without_recordings_has_none(tmp_path: Path) -> None:
    """Nothing is said of them."""
    found = RecordedRuns(tmp_path / "nobody", "m", SIGNATURE)
    assert list(found) == []
    assert (found.words, found.left_out) == ("", "")


@pytest.mark.parametrize("by", ["file", "settings"])
def test_what_is_redacted_is_not_sent(tmp_path: Path, by: str) -> None:
    """Neither what was not kept, nor what is not to be used any more; another file may do. Outputs are not needed."""
    world = World(tmp_path, redact=("y",))
    world.put(1)
    world.work(last=True)
    assert [numbers(run) for run in runs(world)] == [[1]]
    if by == "file":
        world.settings["m"] = world.settings["m"].model_copy(update={"redact": ("x", "y")})
        world.put(2)
        world.work(60, last=True)
        found = runs(world)
        assert [numbers(run) for run in found] == [[1]]
    else:
        found = runs(world, redacted=("x",))
        assert list(found) == []
    assert found.left_out.startswith("1 file of recordings has the input 'x' redacted: rows-")


def test_a_change_of_what_is_redacted_begins_another_file(tmp_path: Path) -> None:
    """So each file says of all of its rows whether values were kept."""
    world = World(tmp_path)
    world.put(1)
    world.work()
    world.settings["m"] = world.settings["m"].model_copy(update={"redact": ("x",)})
    world.put(2)
    world.work(last=True)
    assert len(world.files()) == 2
    assert [numbers(run) for run in runs(world)] == [[1]]


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged, foreign, too large, of another model, no file at all; the others are sent."""
    world = World(tmp_path)
    world.put(1)
    world.work(last=True)
    for number in range(5):
        (world.folder / f"rows-{number}.parquet").write_bytes(b"PAR1 and no more")
    parquet.write_table(pa.table({"x": [1]}), world.folder / "rows-5.parquet")
    os.mkfifo(world.folder / "rows-6.parquet")
    (world.folder / "rows-7.parquet").symlink_to(world.folder / "nobody")
    (world.folder / "actuals-8.parquet").write_bytes(b"")
    found = runs(world)
    assert [numbers(run) for run in found] == [[1]]
    assert found.left_out == (
        "7 files of recordings cannot be read: rows-6.parquet, rows-5.parquet, rows-4.parquet and 4 more"
    )
    other = runs(world, signature=Signature((TensorSpec("z", "FP32", (ANY,)),), (Y,)))
    assert list(other) == []
    assert "; 1 file of recordings holds other requests than it takes: rows-0001" in f"; {other.left_out}"
    more = runs(world, signature=Signature((X, TensorSpec("z", "FP32", (ANY,))), (Y,)))
    assert list(more) == []
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    large = runs(world)
    assert list(large) == []
    assert "2 files of recordings have more than 0 MiB: rows-5.parquet, rows-0001" in large.left_out


def test_what_is_sent_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in files that are looked into."""
    world = World(tmp_path)
    for number in range(6):
        world.put(number)
        world.work(60, last=True)
    monkeypatch.setattr(module, "MOST_FILES", 3)
    assert [numbers(run) for run in runs(world)] == [[5], [4], [3]]
    monkeypatch.setattr(module, "MOST_FILES", 100)
    found = runs(world)
    found._room = 11  # for two numbers
    assert [numbers(run) for run in found] == [[5], [4]]


@pytest.mark.parametrize(
    ("shape", "asked", "wanted"),
    [
        ((4, 3), (ANY, 3), [(4, 3)]),  # rows of their own
        ((1, 6), (2, 3), [(2, 3)]),  # a whole request, flat
        ((1, 6), (ANY, 3), [(2, 3)]),
        ((1, 7), (ANY, 3), []),
        ((1, 6), (ANY, ANY, 3), []),  # nobody knows which
        ((2, 6), (2, 3), []),
        ((1, 1), (), [()]),
    ],
)
def test_requests_have_the_shape_that_they_had(
    tmp_path: Path, shape: tuple[int, ...], asked: tuple[int, ...], wanted: list[tuple[int, ...]]
) -> None:
    """Also where one was recorded as a whole, since not all of its tensors have the same rows."""
    world = World(tmp_path)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    world.recorder.put(rows("m", x, places=range(shape[0]), ids=["a"] * shape[0]))
    world.work(last=True)
    output = TensorSpec("y", "FP32", (ANY, 3) if shape == (4, 3) else (7,))
    found = list(runs(world, signature=Signature((TensorSpec("x", "FP32", asked),), (output,))))
    assert [run.calls[0].inputs[0].shape for run in found] == wanted
    assert all(bytes(run.calls[0].elements[0]) == x.tobytes() for run in found)


def test_texts_are_sent_as_they_travel(tmp_path: Path) -> None:
    """With their lengths."""
    world = World(tmp_path)
    x = np.array([b"a", "ü".encode()], object)
    world.recorder.put(rows("m", x, places=[0, 1], y=np.zeros(2, np.float32)))
    world.work(last=True)
    (run,) = runs(world, signature=Signature((TensorSpec("x", BYTES, (ANY,)),), (Y,)))
    assert decode_bytes("x", run.calls[0].elements[0], 2).tolist() == ["a", "ü"]


@settings(max_examples=25)
@given(st.data())
def test_whatever_lies_there_is_no_fault_of_ours(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file of ours with some bytes changed, or columns of any kind: it is sent or left out."""
    world = World(tmp_path_factory.mktemp("recordings"))
    world.put(1, 2)
    world.work(last=True)
    (path,) = world.folder.iterdir()
    if data.draw(st.booleans()):
        content = bytearray(path.read_bytes())
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
    else:
        table = parquet.read_table(path)
        name = data.draw(st.sampled_from(table.column_names))
        metadata = data.draw(st.dictionaries(st.sampled_from(["datatype", "shape"]), st.text(max_size=5)))
        values = data.draw(st.sampled_from([[None, None], ["a", "b"], [1.5, float("nan")], [[1], [2, 3]], [b"", b"x"]]))
        field = pa.field(name, pa.array(values).type, metadata=metadata)
        parquet.write_table(table.set_column(table.column_names.index(name), field, pa.array(values)), path)
    found = runs(world)
    sent = len(list(found))
    assert sent == found.sent
    assert isinstance(found.words, str)
