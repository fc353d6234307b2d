"""`router recordings`: what a real server has recorded is shown and exported; folders of others are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from router.app.cli import main
from router.control.recorded import Recordings
from router.control.recorded_schema import FOLDER
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Actual
from tests.control.test_recording import World
from tests.server import eventually, pixels, put, router, running


@pytest.mark.story
def test_what_is_asked_and_answered_and_comes_true_is_recorded(tmp_path: Path) -> None:
    """By every worker; a row can be told by its request's id, and is training data when it has come true."""
    models = put(tmp_path / "models", "digits:1", "wine")
    with (models / "digits/model.toml").open("a") as settings:
        settings.write("\n[ledger]\nenabled = true\n[recording]\nenabled = true\nshare = 1\nrotate_s = 1\n")
    with running(tmp_path, models=models, workers=2) as server:
        for number in range(12):
            server.client(number % 4).infer("digits", {"pixels": pixels()}, id=f"r{number}", deadline=10)
        with AdminClient(server.admin) as client:
            client.submit_actuals("digits", [Actual(request_id="r3", label=4)])
        folder = server.state / FOLDER / "digits"

        def labels() -> list[int]:
            return [int(each) for each in Recordings(folder).labelled("pixels")[1]] if folder.is_dir() else []

        eventually(lambda: labels() == [4])
        eventually(lambda: sum(len(part.ids) for part in Recordings(folder).parts()) == 12)
        shown = router("recordings", "digits", "--admin", server.admin)
        assert shown.exit_code == 0, shown.output
        assert "12 rows in " in shown.output
        told = json.loads(router("recordings", "digits", "--admin", server.admin, "--json").output)
        assert (told["rows"], told["written"], told["lost"], told["enabled"]) == (12, 12, 0, True)
        target = tmp_path / "digits.npz"
        assert "12 rows" in router("recordings", "digits", "--admin", server.admin, "--export", str(target)).output
        with np.load(target) as arrays:
            assert sorted(arrays["id"]) == sorted(f"r{number}" for number in range(12))
            assert arrays["input:pixels"].tolist() == pixels().tolist() * 12
            assert arrays["actual"][arrays["id"] == "r3"].tolist() == [4]
        assert "nothing is recorded of wine" in router("recordings", "wine", "--admin", server.admin).output
        unknown = router("recordings", "other", "--admin", server.admin)
        assert (unknown.exit_code, unknown.output) == (1, "Error: unknown model 'other'\n")


def test_a_copy_is_read_without_a_server(tmp_path: Path) -> None:
    """As a table, as JSON, as files; what is damaged is named."""
    world = World(tmp_path)
    world.put(1, 2, ids=["a", "b"])
    world.work(last=True)
    (world.folder / "rows-0.parquet").write_bytes(b"no")
    shown = router("recordings", "m", "--folder", str(world.folder))
    assert shown.exit_code == 0, shown.output
    assert "damaged" in shown.output
    assert "left out: rows-0.parquet is damaged" in shown.output
    told = json.loads(CliRunner().invoke(main, ["recordings", "m", "--folder", str(world.folder), "--json"]).stdout)
    assert [each["damaged"] for each in told["files"]] == [True, False]
    target = tmp_path / "rows.parquet"
    assert router("recordings", "m", "--folder", str(world.folder), "--export", str(target)).exit_code == 0
    assert parquet.read_table(target)["input.x"].to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("target", "said", "code"),
    [
        ("rows.txt", "rows.txt: give a .npz or a .parquet file", 2),
        ("none/rows.npz", "cannot be written (No such file or directory)", 1),
    ],
)
def test_what_cannot_be_exported_is_said(tmp_path: Path, target: str, said: str, code: int) -> None:
    """In one line, and nothing is left behind."""
    world = World(tmp_path)
    world.put(1)
    world.work(last=True)
    done = router("recordings", "m", "--folder", str(world.folder), "--export", str(tmp_path / target))
    assert (done.exit_code, said in done.output, done.output.count("\n")) == (code, True, 1)


def test_an_empty_folder_has_nothing_to_export(tmp_path: Path) -> None:
    """That is said, and so is how to come by something."""
    done = router("recordings", "m", "--folder", str(tmp_path), "--export", str(tmp_path / "x.npz"))
    assert (done.exit_code, done.output) == (1, "Error: nothing is recorded yet\n")
