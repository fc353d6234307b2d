"""The commands as a person has them: real servers, exit codes, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from loadtest.cli import loadtest
from tests.server import ROOT, eventually, running

SHORT = """
title = "{title}"
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


def scenario(
    folder: Path, lasts: str = "2s", sla: str = 'p50 = "1s"\nwrong = 0', more: str = "", title: str = "Short"
) -> str:
    """A scenario in a file."""
    path = folder / "short.toml"
    path.write_text(SHORT.format(lasts=lasts, sla=sla, more=more, title=title))
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


@pytest.mark.story
def test_a_rate_that_is_a_part_of_what_the_server_can_do_is_measured_first(tmp_path: Path) -> None:
    """Whatever the machine: a twentieth of it is asked for, and answered."""
    closed = '[[phase]]\nname = "all"\narrivals = "closed"\nin_flight = 2\nlasts = "1s"\nmeasured = false'
    path = scenario(tmp_path, more=closed, sla='throughput = "4% of all"')
    done = call("run", path, "--set", "phase.it.rate=5% of all", "--json", str(tmp_path / "r.json"))
    assert done.returncode in {0, 1}, done.stdout + done.stderr  # the cores of the test may be busy with others
    document = json.loads((tmp_path / "r.json").read_text())
    rate = document["scenario"]["phase"][1]["rate"]
    assert document["phases"][1]["counts"]["due"] == pytest.approx(2 * rate, rel=0.5)
    assert document["phases"][2]["counts"]["answered"] > 4 * rate
    assert "throughput is a part of what phase 'all' was answered in time" in done.stdout


@pytest.mark.story
def test_a_run_ends_with_a_result_a_page_and_a_code(tmp_path: Path) -> None:
    """The level is kept; every answer is right; the page needs nothing from outside."""
    path = scenario(tmp_path, title="[red]Short[/] :smile:")
    done = call("run", path, "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    assert done.stdout.count("[red]Short[/] :smile:") == 2
    document: dict[str, Any] = json.loads((tmp_path / "r.json").read_text())
    counts = document["measured"]["counts"]
    assert counts["due"] == counts["answered"] > 200
    assert counts["checked"] > 0
    assert counts["wrong"] == 0
    assert counts["sources"] == {"champion": counts["answered"]}
    page = (tmp_path / "r.html").read_text()
    assert page.count("Plotly.newPlot(") >= 3
    assert 'src="http' not in page
    picture = tmp_path / "tail.png"
    again = call("compare", str(tmp_path / "r.json"), str(tmp_path / "r.json"), "--json", "--png", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(again.stdout)
    assert [row["p50"]["ratio"] for row in rows] == [1.0, 1.0]


@pytest.mark.story
def test_a_level_that_is_not_kept_fails_and_a_dead_server_ends_in_a_report(tmp_path: Path) -> None:
    """The server is killed in the middle: exit code 1, the errors counted, no traceback."""
    kill = '[[action]]\nat = "2s"\ndo = "kill"\nwhat = "supervisor"\n'
    done = call("run", scenario(tmp_path, "3s", 'availability = "99%"', kill), "--json", str(tmp_path / "r.json"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    counts = json.loads((tmp_path / "r.json").read_text())["measured"]["counts"]
    assert counts["errors"]["UNAVAILABLE"] > 50
    assert counts["due"] == counts["answered"] + counts["unsent"] + sum(counts["errors"].values())


class Command:
    """A command that runs in a terminal's foreground group of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._out = folder / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "loadtest", *words], stdout=out, stderr=out, cwd=ROOT, start_new_session=True
            )
        self._family: dict[int, psutil.Process] = {}

    @property
    def out(self) -> str:
        """What it has said so far."""
        return self._out.read_text()

    def running(self, module: str) -> list[int]:
        """The processes below it that run a module."""
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.process.pid).children(recursive=True):
                self._family[each.pid] = each
        found = []
        for pid, each in self._family.items():
            with suppress(psutil.NoSuchProcess):
                if each.status() != psutil.STATUS_ZOMBIE and any(word.startswith(module) for word in each.cmdline()):
                    found.append(pid)
        return found

    def ends(self, how: str) -> int:
        """Ctrl-C goes to the whole group, SIGTERM to the command alone. Its exit code; nothing may be left."""
        self.running("")
        if how == "Ctrl-C":
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.process.terminate()
        return self.ended()

    def ended(self) -> int:
        """Its exit code, once it has ended; nothing may be left."""
        code = self.process.wait(60)
        eventually(lambda: not self.running(""), "something is left running", bound_s=10)
        return code


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Commands that are ended whatever the test finds."""
    made: list[Command] = []

    def start(*words: str) -> Command:
        made.append(Command(tmp_path, *words))
        return made[-1]

    yield start
    for each in made:
        for pid in each.running(""):
            os.kill(pid, signal.SIGKILL)
        each.process.kill()
        each.process.wait()


HOW = pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])


@pytest.mark.story
@HOW
def test_an_interrupt_leaves_a_valid_result(tmp_path: Path, command: Callable[..., Command], how: str) -> None:
    """What was due until then is judged and written, nothing of it is lost, and nothing is left running."""
    test = command("run", scenario(tmp_path, "60s"), "--json", str(tmp_path / "r.json"))
    eventually(lambda: " it " in test.out, bound_s=60)
    assert test.ends(how) == 130
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["interrupted"]
    measured = document["measured"]
    counts = measured["counts"]
    assert counts["answered"] == counts["due"] > 0
    assert counts["unsent"] == 0
    assert 0 < measured["seconds"] < 60
    assert len(document["seconds"]) < 61
    assert "INTERRUPTED" in test.out


@HOW
def test_an_interrupt_before_the_load_is_one_line(tmp_path: Path, command: Callable[..., Command], how: str) -> None:
    """And leaves no server."""
    test = command("run", scenario(tmp_path))
    eventually(lambda: test.running("router.app"), bound_s=60)
    assert test.ends(how) == 130
    assert test.out.splitlines()[1:] == ["Interrupted"]


@pytest.mark.story
def test_senders_end_before_an_action_does(tmp_path: Path, command: Callable[..., Command]) -> None:
    """An interrupt ends the load at once; what is being done to the server is waited for."""
    gate = tmp_path / "gate"
    words = f"touch {gate}.begun; while [ ! -e {gate} ]; do sleep 0.05; done"
    action = f"[[action]]\nat = '1s'\ndo = 'shell'\ncommand = '{words}'\n"
    test = command("run", scenario(tmp_path, "60s", more=action), "--json", str(tmp_path / "r.json"))
    eventually(Path(f"{gate}.begun").exists, bound_s=60)
    assert test.running("loadtest.sla.sender")
    test.process.terminate()
    eventually(lambda: not test.running("loadtest.sla.sender"), "a sender is left")
    assert test.process.poll() is None
    gate.touch()
    assert test.ended() == 130
    (deed,) = json.loads((tmp_path / "r.json").read_text())["actions"]
    assert deed["ok"]


@pytest.mark.story
@HOW
def test_an_interrupted_search_keeps_its_tries(tmp_path: Path, command: Callable[..., Command], how: str) -> None:
    """Of `capacity`, and of `latency` that begins with one."""
    path = tmp_path / "r.json"
    test = command("capacity", "tiny", "--servers", "baseline-1", "--seconds", "1s", "--json", str(path))
    eventually(lambda: "/s  " in test.out, bound_s=60)
    assert test.ends(how) == 130
    document = json.loads(path.read_text())
    assert document["interrupted"]
    (server,) = document["servers"]
    assert (server["capacity"], server["bounded_by"]) == (None, None)
    assert server["probes"][0]["answered"] > 0


@pytest.mark.story
def test_an_interrupt_between_two_runs_keeps_the_first(tmp_path: Path, command: Callable[..., Command]) -> None:
    """`latency` tells what it has measured so far."""
    path = tmp_path / "r.json"
    words = ["--capacity", "200", "--seconds", "1s", "--rounds", "50", "--json", str(path)]
    test = command("latency", "tiny", "--servers", "baseline-1", *words)
    eventually(lambda: "round 2/" in test.out, bound_s=60)
    assert test.ends("SIGTERM") == 130
    document = json.loads(path.read_text())
    assert document["interrupted"]
    (row,) = document["rates"][0]["rows"]
    assert 1 <= row["runs"] < 50
    assert row["answered"] == row["due"] > 0


@pytest.mark.story
def test_a_search_takes_the_requests_and_leaves_the_actions(tmp_path: Path) -> None:
    """Also against a server that runs already: it comes first, and what is expected comes from the one at hand."""
    kill = '[[action]]\nat = "1s"\ndo = "kill"\nwhat = "worker-0"\n'
    path = scenario(tmp_path, more=kill)
    with running(tmp_path / "target") as there:
        target = there.grpc
        words = ["--target", target, "--servers", "workers-1", "--seconds", "1s", "--capacity", "200"]
        done = call("latency", path, *words, "--rounds", "1", "--json", str(tmp_path / "r.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    for table in json.loads((tmp_path / "r.json").read_text())["rates"]:
        assert [row["server"] for row in table["rows"]] == [target, "router, 1 worker"]
        assert all(row["checked"] > 0 and row["wrong"] == 0 for row in table["rows"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "stedy"], "did you mean steady"),
        (["run", "steady", "--target", "127.0.0.1:1"], "no server of the protocol answers at 127.0.0.1:1"),
        (["run", "steady", "--target", "[::1]:1"], "no server of the protocol answers at [::1]:1"),
        (["compare", "pyproject.toml"], "cannot be read as a result"),
        (["capacity", "steady"], "name servers with"),
        (["run"], "Missing argument 'SCENARIO'; `python -m loadtest run --help` shows"),
        (["capacity", "steady", "--servers", "x"], "expected default, workers-N or bare-N"),
        (["capacity", "steady", "--servers", "default", "--seconds", "5"], "such as"),
        (["capacity", "steady", "--servers", "default", "--seconds", "0.5s"], "not between 1s and 600s"),
        (["capacity", "steady", "--servers", "default", "--seconds", "601s"], "not between 1s and 600s"),
        (["latency", "steady", "--servers", "default", "--capacity", "0"], "0.0 is not in the range x>=0.5"),
        (["latency", "steady", "--servers", "default", "--capacity", "-1"], "not in the range"),
        (["latency", "steady", "--servers", "default", "--capacity", "nan"], "nan is no number of requests/s"),
        (["latency", "steady", "--servers", "default", "--capacity", "inf"], "inf is no number of requests/s"),
        (["latency", "steady", "--servers", "default", "--of", "1"], "there are 1 servers, counted from 0"),
        (["run", "steady", "--json", "README.md/r.json"], "README.md/r.json cannot be written"),
        (["run", "steady", "--html", "/proc/r.html"], "/proc/r.html cannot be written"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, words: list[str], told: str) -> None:
    """Exit code 2, before any load."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(loadtest, words, prog_name="python -m loadtest")
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("words", [["run"], ["capacity", "--target", "127.0.0.1:1"], ["latency"]])
@pytest.mark.parametrize(
    "target", ["", "localhost", "127.0.0.1:0", "127.0.0.1:70000", "::1:8001", "http://127.0.0.1:8001"]
)
def test_a_target_that_is_no_address_is_told_in_one_line(words: list[str], target: str) -> None:
    """Exit code 2, before the scenario is looked for."""
    done = CliRunner().invoke(loadtest, [*words, "nothing", "--target", target])
    assert done.exit_code == 2
    assert f"Invalid value for '--target': {target!r} is no address: expected HOST:PORT" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "needs 'time_travel', which this router does not have"),
        (["capacity", "--servers", "workers-1"], "'time_travel', which router, 1 worker does not have"),
    ],
)
def test_a_feature_that_is_lacking_is_told_before_any_load(tmp_path: Path, words: list[str], told: str) -> None:
    """With the features that there are."""
    path = tmp_path / "it.toml"
    text = SHORT.format(lasts="2s", sla="p50 = '1s'", more="", title="Short")
    path.write_text(f'requires = ["time_travel"]\n{text}')
    done = CliRunner().invoke(loadtest, [words[0], str(path), *words[1:]])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert told in done.stderr


@pytest.mark.parametrize("sla", ["", 'throughput = "90% of all"'])
def test_a_search_without_a_limit_at_its_rates_is_refused(tmp_path: Path, sla: str) -> None:
    """Every rate would do: also where the only limit is a part of a phase that is not run."""
    closed = '[[phase]]\nname = "all"\narrivals = "closed"\nin_flight = 2\nlasts = "1s"\nmeasured = false'
    path = scenario(tmp_path, more=closed, sla=sla)
    done = CliRunner().invoke(loadtest, ["capacity", path, "--servers", "default"])
    assert done.exit_code == 2
    assert "has no `sla` that says what a rate must keep" in done.output


def test_an_unknown_model_is_told_before_any_load(tmp_path: Path) -> None:
    """With what there is."""
    path = tmp_path / "it.toml"
    path.write_text(SHORT.format(lasts="2s", sla="", more="", title="Short").replace('"digits"', '"digit"'))
    done = CliRunner().invoke(loadtest, ["run", str(path)])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "names the model 'digit'; there are digits, digits-small, wine" in done.stderr
