"""`router report`: what a version was put through, as text, as JSON, as a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.app.report_text import ROWS, chart, gates, joined
from router.pb.admin_pb2 import Distribution, Outcome
from tests.fake_admin import Served, served
from tests.rendering import rendered


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own."""
    with served() as made:
        yield made


def test_the_newest_of_a_version(service: Served) -> None:
    """Named in both ways, by a role too; the exit code does not judge."""
    for words in (("a:2",), ("a", "2")):
        told = service.router("report", *words)
        assert told.exit_code == 0
        assert "passed: test of a 2 (dddddddddddd) against champion 1 (cccccccccccc), exam eeeeeeeeeeee" in told.output
    latest = service.router("report", "a:latest")
    assert (latest.exit_code, "failed: warm-up of a 3" in latest.output) == (0, True)
    assert service.router("report", "a").output.count("against champion") == 2
    assert "test of" not in service.router("report", "a", "--kind", "warm").output


def test_for_programs(service: Served) -> None:
    """All that was found, as JSON that any reader takes."""
    told = json.loads(service.router("report", "a", "--last", "5", "--json").output)
    assert [(each["version"], each["passed"]) for each in told["reports"]] == [("2", True), ("3", False)]


def test_where_there_is_none(service: Served) -> None:
    """The command that makes one is named."""
    assert service.router("report", "a:1").output == (
        "version 1 of model 'a' has not been tested or warmed up yet: `router test a 1` does that\n"
    )
    assert service.router("report", "b", "--kind", "test").output == (
        "no version of model 'b' has been tested yet: `router test b VERSION` does that\n"
    )
    assert service.router("report", "a:9").exit_code == 1


def test_a_page(service: Served, tmp_path: Path) -> None:
    """It needs no network, and words of others are text in it."""
    page = tmp_path / "report.html"
    told = service.router("report", "a:3", "--html", str(page))
    assert (told.exit_code, told.output) == (0, f"written to {page}\n")
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "NaN in [red]y[/]" in text
    assert "difference" in text
    assert 'src="http' not in text
    assert service.router("report", "a:1", "--html", str(tmp_path / "empty.html")).exit_code == 1
    assert not (tmp_path / "empty.html").exists()
    missing = service.router("report", "a:3", "--html", str(tmp_path / "none" / "x.html"))
    assert (missing.exit_code, "cannot be written" in missing.output) == (1, True)


def test_a_page_without_the_library(service: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to install."""
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    monkeypatch.delitem(sys.modules, "router.app.report_page", raising=False)
    told = service.router("report", "a:3", "--html", str(tmp_path / "x.html"))
    assert told.exit_code == 1
    assert "pip install 'inference-router[loadtest]'" in told.output


def test_a_gate_that_fails_and_does_not_block_says_so() -> None:
    """It is no reason for the verdict."""
    shown = rendered(gates([Outcome(gate="lineage", verdict="fail", reason="\x07new", facts={"b": "2", "a": "1"})]))
    assert "fail (does not block)" in shown
    assert "a: 1, b: 2" in shown
    assert "\x07" not in shown


def test_bars_are_as_long_as_their_counts() -> None:
    """Ends without values are left out; bounds that are infinite are a dash."""
    bounds = [float("-inf"), 0, 1, 2, 3, float("inf")]
    shown = rendered(chart(Distribution(name="d", unit="ms", bounds=bounds, counts=[0, 10, 20, 0, 10])))
    lines = shown.splitlines()
    assert lines[0].strip() == "d, ms: 40 values"
    assert [line.count("█") for line in lines[2:]] == [20, 40, 0, 20]
    assert lines[2].split()[:2] == ["0", "1"]
    assert lines[-1].split()[:2] == ["3", "–"]


@given(st.lists(st.integers(0, 5), max_size=300))
def test_a_chart_has_few_rows_and_loses_no_value(counts: list[int]) -> None:
    """Neighbours are joined, in order and without a gap."""
    bars = joined([float(at) for at in range(len(counts) + 1)], counts)
    assert len(bars) <= ROWS
    assert sum(count for _, _, count in bars) == sum(counts)
    assert all(before[1] == after[0] for before, after in pairwise(bars))
