"""The commands as a person has them: real servers, exit codes, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.server import ROOT, eventually

SHORT = """
title = "Short"
deadline = "2s"
lag = "10s"
[server]
workers = 1
[[mix]]
model = "digits"
input = "golden"
[[phase]]
name = "warm-up"
arrivals = "constant"
rate = "20/s"
lasts = "1s"
measured = false
[[phase]]
name = "it"
arrivals = "poisson"
rate = "150/s"
lasts = "{lasts}"
{more}
[sla]
{sla}
"""


def scenario(folder: Path, lasts: str = "2s", sla: str = 'p50 = "1s"\nwrong = 0', more: str = "") -> str:
    """A scenario in a file."""
    path = folder / "short.toml"
    path.write_text(SHORT.format(lasts=lasts, sla=sla, more=more))
    return str(path)


def call(*words: str, seconds: float = 90) -> subprocess.CompletedProcess[str]:
    """One command."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *words],
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=ROOT,
        check=False,
    )


def test_a_run_ends_with_a_result_a_page_and_a_code(tmp_path: Path) -> None:
    """The level is kept; every answer is right; the page needs nothing from outside."""
    done = call("run", scenario(tmp_path), "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    document: dict[str, Any] = json.loads((tmp_path / "r.json").read_text())
    counts = document["measured"]["counts"]
    assert counts["due"] == counts["answered"] > 200
    assert counts["checked"] > 0
    assert counts["wrong"] == 0
    assert counts["sources"] == {"champion": counts["answered"]}
    page = (tmp_path / "r.html").read_text()
    assert page.count("Plotly.newPlot(") >= 3
    assert 'src="http' not in page
    again = call("compare", str(tmp_path / "r.json"), str(tmp_path / "r.json"), "--json")
    rows = json.loads(again.stdout)
    assert [row["p50"]["ratio"] for row in rows] == [1.0, 1.0]


def test_a_level_that_is_not_kept_fails_and_a_dead_server_ends_in_a_report(tmp_path: Path) -> None:
    """The server is killed in the middle: exit code 1, the errors counted, no traceback."""
    kill = '[[action]]\nat = "2s"\ndo = "kill"\nwhat = "supervisor"\n'
    done = call("run", scenario(tmp_path, "3s", 'availability = "99%"', kill), "--json", str(tmp_path / "r.json"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    counts = json.loads((tmp_path / "r.json").read_text())["measured"]["counts"]
    assert counts["errors"]["UNAVAILABLE"] > 50
    assert counts["due"] == counts["answered"] + counts["unsent"] + sum(counts["errors"].values())


def test_an_interrupt_leaves_a_valid_result(tmp_path: Path) -> None:
    """Ctrl-C: what was measured until then is written, and nothing is left running."""
    words = [sys.executable, "-m", "loadtest", "run", scenario(tmp_path, "60s"), "--json", str(tmp_path / "r.json")]
    with (tmp_path / "out").open("w+") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, cwd=ROOT, start_new_session=True)
        eventually(lambda: " it " in (tmp_path / "out").read_text(), bound_s=60)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["interrupted"]
    counts = document["measured"]["counts"]
    assert counts["answered"] > 0
    assert counts["unsent"] > 0
    until = time.monotonic() + 10
    while subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False).returncode == 0:
        assert time.monotonic() < until, "something is left running"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "stedy"], "did you mean steady"),
        (["run", "hang"], "needs 'isolation'"),
        (["run", "cached"], "needs 'fallback_cached'"),
        (["run", "steady", "--target", "127.0.0.1:1"], "no server of the protocol answers at 127.0.0.1:1"),
        (["compare", "pyproject.toml"], "cannot be read as a result"),
        (["capacity", "steady"], "name servers with"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(words: list[str], told: str) -> None:
    """Exit code 2, before any load."""
    done = call(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_model_is_told_before_any_load(tmp_path: Path) -> None:
    """With what there is."""
    path = tmp_path / "it.toml"
    path.write_text(SHORT.format(lasts="2s", sla="", more="").replace('"digits"', '"digit"'))
    done = call("run", str(path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "names the model 'digit'; there are digits, digits-small, wine" in done.stderr
