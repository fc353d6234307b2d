"""Results as figures, tables, JSON and a picture."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from loadtest import bench, chart, h2load, machine, report
from loadtest.measure import Measurement
from loadtest.open_loop import BesideReport, Cost, CpuReport
from loadtest.ratio import interval
from loadtest.rounds import Results

RATES = {"default": (450.0, 400.0, 330.0), "baseline-1": (100.0, 80.0, 60.0), "baseline-2": (90.0, 100.0, 50.0)}
FACTS: dict[str, str | int | float] = {"cpu": "a processor", "cores": 2}


@pytest.fixture
def results() -> Results:
    """One of our rows and both baselines in `tiny:16`, three rounds: 4.5, 4.0 and 5.5 times as fast."""
    measurements = [
        Measurement(server, "tiny:16", number, rate, 100, 1, 1, 9, 1000, 25.0, 40)
        for server, rates in RATES.items()
        for number, rate in enumerate(rates)
    ]
    return Results({name: name for name in RATES}, ["tiny:16"], measurements)


def test_a_figure_is_made_of_medians(results: Results) -> None:
    """The ratio is that of the rounds, not that of the medians."""
    figure = results.figure("default", "tiny:16")
    assert figure.ratio is not None
    assert figure.ratio.rounds == pytest.approx((4.5, 4.0, 5.5))
    assert (figure.per_second, figure.cpu_us, figure.target) == (400.0, 25.0, 4.4)
    assert not figure.missed


def test_baselines_have_no_ratio(results: Results) -> None:
    """They are what is divided by."""
    assert results.figure("baseline-1", "tiny:16").ratio is None
    assert results.missed() == []


def test_a_missed_target_is_named(results: Results) -> None:
    """Row, cell, ratio and target in one line."""
    slow = [m for m in results.measurements if m.server != "default"]
    slow += [Measurement("default", "tiny:16", n, 100.0, 100, 1, 1, 9, 1000, 25.0, 40) for n in range(3)]
    (line,) = Results(results.titles, results.cells, slow).missed()
    assert line == "default tiny:16: 1.00 [1.00–1.67], target 4.4"


def test_tables_show_ratio_interval_and_target(results: Results) -> None:
    """And say with how much certainty."""
    console = Console(file=io.StringIO(), width=100)
    report.print_results(console, results, rounds=3)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "4.50 ✓  ≥ 4.4" in text
    assert "4.00–5.50" in text
    assert "75%" in text


def test_everything_goes_into_the_json(results: Results) -> None:
    """Machine, figures, each measurement, and both reports below capacity."""
    cpu = CpuReport({"tiny": 1000.0}, [Cost("spin on", "tiny", 100.0, 99.0, 40.0, 200.0, 400.0)], {"spin on": 0.5})
    beside = BesideReport("default", 500.0, 300.0, 600.0, interval([2.0]))
    whole = json.loads(json.dumps(report.document(FACTS, results=results, cpu=cpu, beside=[beside])))
    assert whole["machine"] == FACTS
    assert whole["cells"]["default"]["tiny:16"]["met"] is True
    assert len(whole["measurements"]) == 9
    assert whole["cpu"]["idle_percent"] == {"spin on": 0.5}
    assert whole["beside"][0]["ratio"]["median"] == 2.0


def test_reports_below_capacity_are_tables() -> None:
    """Shares of the capacity, idle CPU, and the tail beside a neighbour with its verdict."""
    console = Console(file=io.StringIO(), width=120)
    cpu = CpuReport({"tiny": 1000.0}, [Cost("spin on", "tiny", 100.0, 99.0, 40.0, 200.0, 1400.0)], {"spin on": 0.5})
    report.print_cpu(console, cpu)
    report.print_beside(console, [BesideReport("default", 500.0, 300.0, 1200.0, interval([4.0]))])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "tiny at 10%" in text
    assert "1.40 ms" in text
    assert "idle, spin on: 0.5 %" in text
    assert "4.00 [4.00–4.00] ✗" in text


def test_the_picture_is_small(results: Results, tmp_path: Path) -> None:
    """A PNG below 200 KB."""
    path = tmp_path / "ratios.png"
    chart.draw(path, results, "a processor, 2 cores")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 200_000


def test_without_h2load_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, before anything is started."""
    monkeypatch.setattr(h2load, "version", lambda: None)
    outcome = CliRunner().invoke(bench.main, [])
    assert outcome.exit_code == 2
    assert "nghttp2-client" in outcome.output
    assert len(outcome.output.splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--cells", "huge:1"],
        ["--servers", "standby"],
        ["--other", "mine"],
        ["--other", "default=serve {port}"],
        ["--rounds", "0"],
    ],
)
def test_bad_options_are_refused_before_anything_starts(options: list[str]) -> None:
    """Exit code 2."""
    assert CliRunner().invoke(bench.main, options).exit_code == 2


def test_facts_of_the_machine() -> None:
    """What a reader needs to compare figures."""
    assert {"cpu", "cores", "python", "grpcio", "onnxruntime", "load_average"} <= set(machine.facts())
    assert machine.cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n") == "Some CPU @ 2 GHz"
