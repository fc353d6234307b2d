"""The verdict over an outage, and what is written down."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadtest import outage
from loadtest.errors import BenchError
from loadtest.tally import tally


def found(**other: Any) -> dict[str, Any]:
    """An outage in which all went well, but for what is other."""
    counted = tally((), (), (), ())
    kill = {"at": 1.0, "meanwhile": "its port was closed", "away_seconds": 1.5}
    made = {**asdict(counted), "kept": counted.kept, "audit_whole": True, "given_up": 0, "dropped": 0, "acts": 9}
    made |= {"requests": 7, "answered": 7, "killed_delivery_came_again": True, "kills": [kill], "down_seconds": 600.0}
    return made | {"last_after_seconds": 8.25, "waiting": 40, "store_bytes_most": 1_500_000} | other


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({}, 0),
        ({"kept": False}, 1),
        ({"audit_whole": False}, 1),
        ({"given_up": 1}, 1),
        ({"dropped": 1}, 1),
        ({"answered": 6}, 1),
        ({"acts": 0}, 1),
        ({"killed_delivery_came_again": False}, 1),
    ],
)
def test_the_exit_code_says_whether_all_was_kept(
    other: dict[str, Any], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are written in any case, and shown."""
    monkeypatch.setattr(outage, "measure", lambda *_: found(**other))
    path = tmp_path / "results" / "outage.json"
    told = CliRunner().invoke(outage.main, ["--json", str(path)])
    assert told.exit_code == code, told.output
    assert json.loads(path.read_text())["down_seconds"] == 600.0
    assert "the last of them came 8.2 s later" in " ".join(told.output.replace("│", "").split())


def test_what_cannot_be_measured_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is written."""

    def measure(*_: object) -> Any:
        raise BenchError("the controller was not back within 30 s")

    monkeypatch.setattr(outage, "measure", measure)
    told = CliRunner().invoke(outage.main, ["--json", str(tmp_path / "outage.json")])
    assert (told.exit_code, told.output) == (1, "Error: the controller was not back within 30 s\n")
    assert list(tmp_path.iterdir()) == []
