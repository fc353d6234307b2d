"""Actions as a result shows them."""

from __future__ import annotations

import json

import pytest

from loadtest.sla.deeds import OFTEN, TOLD, invalid, often, repeated, single
from loadtest.sla.schedule import Span
from loadtest.sla.timeline import Deed
from tests.loadtest.sla.fakes import figures

SPANS = (Span("slow", 0, 50, True, 0, 500), Span("fast", 50, 100, True, 500, 1000))
FIGURES = figures(
    [
        {"due": at / 10, "done": at / 10 + (0.3 if 700 <= at < 710 else 0.002), "code": 14 if at % 100 == 1 else 0}
        for at in range(1000)
    ]
)


def deed(label: str, due: float, *, ok: bool = True, took: float = 0.1) -> Deed:
    """Something that was done a moment after its time."""
    return Deed(label, due, due + 0.01, due + 0.01 + took, ok, "" if ok else "no")


MANY = [deed("Rollback m", float(at), ok=at not in (60, 61)) for at in range(0, 100, 2)]
FEW = [deed("kill worker-0", 33.0)]


def test_what_is_repeated_often_is_one_row_a_phase() -> None:
    """How many, how long, the worst time after one, the errors once; a single one is a row of its own."""
    deeds = sorted([*MANY, *FEW], key=lambda each: each.began)
    assert often(deeds) == {"Rollback m"}
    slow, fast = repeated(deeds, FIGURES, SPANS)
    assert (slow["phase"], slow["count"], slow["ok"]) == ("slow", 25, 25)
    assert (fast["phase"], fast["count"], fast["ok"]) == ("fast", 25, 24)
    assert slow["took"]["max"] == pytest.approx(0.1)
    assert slow["late"]["max"] == pytest.approx(0.01)
    assert slow["worst_p99"] == pytest.approx(0.002, rel=0.01)
    assert fast["worst_p99"] == pytest.approx(0.3, rel=0.01)
    assert fast["worst_at"] in {68.01, 70.01}
    assert (slow["errors"], fast["errors"]) == (5, 5)
    assert [each["at"] for each in fast["failures"]] == [60.01]
    (row,) = single(deeds, FIGURES, 100.0)
    assert (row["label"], row["after"]["counts"]["due"]) == ("kill worker-0", 20)
    json.dumps([slow, fast, row], allow_nan=False)


def test_many_deeds_are_few_rows() -> None:
    """Of those that failed some are told, and one reason why the run is not valid."""
    deeds = [deed("Rollback m", at / 5, ok=False) for at in range(500)]
    rows = repeated(deeds, FIGURES, SPANS)
    assert [len(row["failures"]) for row in rows] == [TOLD, TOLD]
    assert invalid(deeds) == ["the action 'Rollback m' could not be done 500 times, first at 0.0 s: no"]
    assert invalid(FEW) == []
    assert invalid([deed("it", 3.0, ok=False)]) == ["the action 'it' could not be done: no"]


def test_what_is_done_a_few_times_is_told_each_time() -> None:
    """Up to a handful."""
    deeds = [deed("kill worker-0", float(at)) for at in range(OFTEN)]
    assert repeated(deeds, FIGURES, SPANS) == []
    assert len(single(deeds, FIGURES, 100.0)) == OFTEN
