"""Results side by side."""

from __future__ import annotations

import copy
import io
import json

import pytest
from rich.console import Console

from loadtest.sla.compare import against, comparison, show, whole
from tests.loadtest.sla.test_page import document


def test_a_result_against_itself_is_one() -> None:
    """And the interval holds 1."""
    made = document()
    for name in ("p50", "p90", "p99"):
        compared = against(made, made, name)
        assert compared.ratio == 1
        assert compared.low is not None
        assert compared.high is not None
        assert compared.low <= 1 <= compared.high


def test_twice_the_time_is_a_ratio_of_two() -> None:
    """The interval holds it and does not hold 1."""
    compared = against(document(slower=2.0), document(), "p50")
    assert compared.ratio == pytest.approx(2, rel=0.01)
    assert compared.low is not None
    assert compared.low > 1.5


def test_slices_are_whole_when_added() -> None:
    """Their percentiles together are those of the run."""
    made = document()
    latency = made["measured"]["latency"]
    assert whole(made["slices"])["p99"] == pytest.approx(latency["p99"], rel=0.005)


def test_programs_get_rows() -> None:
    """With verdict, rate and availability."""
    first, second = comparison([document(), document(slower=3.0)])
    assert first["verdict"] == "PASS"
    assert first["availability"] == pytest.approx(0.999)
    assert second["p50"]["ratio"] == pytest.approx(3, rel=0.01)


def test_a_result_without_answers_has_no_figures() -> None:
    """No measured phase, or a dead server: dashes for people, null for programs, first or second."""
    dead = copy.deepcopy(document("[red]dead"))
    dead["measured"]["latency"] = dict.fromkeys(dead["measured"]["latency"], 0)
    dead["measured"]["counts"] |= {"due": 0, "answered": 0}
    dead["measured"]["seconds"] = 0
    dead["slices"] = []
    for documents in ([dead, document()], [document(), dead], [dead, dead]):
        rows = json.loads(json.dumps(comparison(documents), allow_nan=False))
        assert all(row["p50"]["ratio"] is None for row, each in zip(rows, documents, strict=True) if each is dead)
        assert {row["availability"] for row, each in zip(rows, documents, strict=True) if each is dead} == {None}
        console = Console(file=io.StringIO(), markup=False, width=160)
        show(console, documents)
        assert isinstance(console.file, io.StringIO)
        assert "[red]dead" in console.file.getvalue()
        assert "–" in console.file.getvalue()
    assert str(against(document(), dead, "p50")).endswith("×–")
