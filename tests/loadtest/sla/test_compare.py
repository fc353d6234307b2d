"""Results side by side."""

from __future__ import annotations

import pytest

from loadtest.sla.compare import against, comparison, whole
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
