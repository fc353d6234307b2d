"""What a version says to live copies goes to the ledger, beside what the champion said to its callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from router.app.warmup import noting
from router.core.prediction import MIRROR, Form
from router.core.table import Version
from router.core.tensor import ANY, TensorSpec
from router.core.warmup import Source
from router.model_settings import LedgerSettings, ModelSettings
from router.serving.candidate import Candidate
from router.serving.inflight import REGION, InFlight
from router.serving.predictions import Handed, Predictions
from tests.server import eventually
from tests.serving.fakes import FakeSession, version
from tests.serving.test_candidate import CHAMPION, copy

SCORES = TensorSpec("scores", "FP32", (ANY, 2))


def noted(
    ledger: Mapping[str, Any], runs: Sequence[Any], candidate: Version | None = None, source: Source = Source.LIVE
) -> list[tuple[Any, ...]]:
    """What is handed over when a version has run these copies."""
    handed: list[Handed] = []
    predictions = Predictions(handed.append)
    made = candidate or version("2")

    def loaded(wanted: Version) -> FakeSession:
        outputs = len(wanted.signature.outputs)
        return FakeSession(lambda feeds: [feeds["x"] * 3, np.stack([feeds["x"], 1 - feeds["x"]], axis=1)][:outputs])

    inflight = InFlight(memoryview(bytearray(REGION * 8)).cast("Q"))
    note = noting(made, LedgerSettings.model_validate(ledger), predictions)
    warmed = Candidate(made, CHAMPION, ModelSettings(), loaded, inflight, note=note)
    warmed.start()
    if source is Source.LIVE:
        for run in runs:
            warmed.put(run)
    else:
        warmed.replay(source, iter(runs))
    eventually(lambda: warmed.figures().total >= sum(len(run.calls) for run in runs))
    assert warmed.stop(10)
    predictions.work()
    for _ in range(len(runs)):
        if handed:
            predictions.kept(handed[-1].number)
    sheets = [each.sheet for each in handed]
    assert all(sheet.served_by == MIRROR and sheet.version == "2" and sheet.model == "m" for sheet in sheets)
    return [(each.request_id, each.row, each.value, each.form) for sheet in sheets for each in sheet]


def test_what_a_version_says_to_copies_is_noted() -> None:
    """By the ids of the requests, row by row, as a mirror's."""
    found = noted({"enabled": True}, [copy([1], [2, 3]), copy([4])])
    n = Form.NUMBER
    assert sorted(found) == [("0", 0, 3.0, n), ("0", 0, 12.0, n), ("1", 0, 6.0, n), ("1", 1, 9.0, n)]


def test_what_is_predicted_may_be_another_output() -> None:
    """Of scores the place of the highest."""
    made = version("2", outputs=[TensorSpec("y", "FP32", (ANY,)), SCORES])
    scores = np.zeros((1, 2), np.float32)
    asked = copy([1], outputs={"y": np.ones(1, np.float32), "scores": scores})
    ledger = {"enabled": True, "output": "scores"}
    assert noted(ledger, [asked], made) == [("0", 0, 0, Form.INTEGER)]


@pytest.mark.parametrize(
    ("ledger", "source"), [({"enabled": False}, Source.LIVE), ({"enabled": True}, Source.RECORDED)]
)
def test_what_nobody_will_ask_for_is_not_noted(ledger: dict[str, Any], source: Source) -> None:
    """A model without a ledger, and requests of another day."""
    assert noted(ledger, [copy([1])], source=source) == []
