"""Runs as they travel: with their lineage, and without what a case of another release does not say."""

from __future__ import annotations

import pytest

from router.app.retrain import shown
from router.config import RetrainingSettings
from router.control.records import Case
from router.control.retraining import Run, Shown
from router.core.retraining import Trigger
from router.core.standing import CaseKind
from router.edge.retraining_service import _model
from tests.rendering import rendered

BODY = {
    "trigger": "drift",
    "why": "feature [bold]x[/] has moved",
    "parent": "1",
    "parent_digest": "a" * 64,
    "window": [1000.0, 2000.0],
    "declared": {"alpha": "0.5"},
    "lineage": "retrained",
    "lineage_reason": "the same graph",
    "output": ["trained on 900 rows"],
    "took_s": 90.0,
    "text": "version 2 is ready",
}


def run_of(body: object) -> Run:
    """One that is done."""
    case = Case(7, CaseKind.RETRAINING, "a", "2", "b" * 64, "router", 3000.0, 3100.0, "done", body)  # type: ignore[arg-type]
    return Run(case, "champion")


def test_a_run_is_told_with_its_lineage() -> None:
    """And shown; words of others are text."""
    settings = RetrainingSettings(schedule="0 3 * * *", on_drift="red", command=("train", "--all"))
    message = _model(Shown("a", settings, 4000.0, {Trigger.DRIFT: "moved"}, 60.0, (run_of(BODY),)))
    (run,) = message.runs
    assert (run.first_recorded_seconds, run.last_recorded_seconds, dict(run.declared)) == (1000, 2000, {"alpha": "0.5"})
    words = " ".join("".join(rendered(each) for each in shown(message)).split())
    for each in ("0 3 * * * (UTC)", "drift is red", "train --all", "[bold]x[/]", "alpha 0.5", "champion", "retrained"):
        assert each in words


@pytest.mark.parametrize("body", [{}, {"window": 3, "declared": [], "output": "x", "took_s": "y", "trigger": None}])
def test_what_a_body_does_not_say_is_left_out(body: object) -> None:
    """Whatever it says instead."""
    message = _model(Shown("a", None, None, {}, 0.0, (run_of(body),)))
    assert (message.runs[0].trigger, message.runs[0].last_recorded_seconds) == ("", 0)
    assert [*shown(message)]
