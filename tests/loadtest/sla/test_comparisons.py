"""Latencies around what happened, against the rest of the phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.sla.comparisons import Answered, by_happening, by_phase, read
from loadtest.sla.happenings import Happening, Span, What
from tests.loadtest.sla.fakes import figures

FLIPS = tuple(float(at) for at in range(10, 100, 10))


def kinds(slow: float = 1.0, spans: tuple[Span, ...] = ()) -> dict[str, Answered]:
    """Two kinds of requests over 100 s, each 50/s; those of the first that are due in `spans` take `slow` times as
    long."""
    random = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    for number in range(10_000):
        due = number / 100
        took = 0.004 * float(random.lognormal(0, 0.3))
        if number % 2 == 0 and any(start <= due < end for start, end in spans):
            took *= slow
        rows.append({"due": due, "done": due + took, "kind": number % 2, "code": 14 if number % 500 == 0 else 0})
    made = figures(rows)
    return {"0:small": Answered.of(made, 0), "1:large": Answered.of(made, 1)}


def flip(*at: float) -> Happening:
    """The time after these flips."""
    return Happening(What.FLIP, "Rollback m", [(each, each + 2.0) for each in at])


def test_slow_requests_after_a_flip_show_for_the_model_that_they_are_of() -> None:
    """Twice as slow for two seconds after each: a ratio of two for the one, of one for the other."""
    spans = tuple((at, at + 2.0) for at in FLIPS)
    (row,) = by_happening(kinds(2.0, spans), (0.0, 100.0), [flip(*FLIPS)])
    assert (row["what"], row["about"], row["times"], row["took"]["max"]) == ("flip", "Rollback m", 9, 0.0)
    small, large = read(row["models"]["0:small"]), read(row["models"]["1:large"])
    assert small.ratio == pytest.approx(2, rel=0.2)
    assert small.low is not None
    assert small.low > 1.5
    assert large.ratio == pytest.approx(1, rel=0.2)
    assert (small.count, small.base_count) == (900 - 9, 4100 - 11)  # but for those that failed


def test_what_is_slow_while_something_else_happens_is_no_part_of_the_rest() -> None:
    """A load that disturbs makes the time after its flip look no better."""
    loading = Happening(What.DOING, "Rollback m", [(at - 3.0, at) for at in FLIPS])
    spans = tuple(loading.spans)
    rows = by_happening(kinds(50.0, spans), (0.0, 100.0), [loading, flip(*FLIPS)])
    assert read(rows[0]["models"]["0:small"]).ratio == pytest.approx(50, rel=0.2)
    assert read(rows[1]["models"]["0:small"]).ratio == pytest.approx(1, rel=0.2)


def test_a_phase_without_a_rest_has_no_ratio() -> None:
    """A flip every second: what there was is told, and compared with nothing; requests count once."""
    (row,) = by_happening(kinds(), (20.0, 40.0), [flip(*np.arange(0.0, 100.0, 1.0))])
    found = read(row["models"]["0:small"])
    assert found.ratio is None
    assert found.seconds == pytest.approx(0.008, rel=0.3)
    assert found.count == 1000 - 4


def test_what_happened_in_another_phase_is_not_told() -> None:
    """And yet it may reach into this one, which then is not undisturbed there."""
    assert by_happening(kinds(), (50.0, 60.0), [flip(10.0)]) == []
    (row,) = by_happening(kinds(), (50.0, 60.0), [flip(49.0)])
    assert read(row["models"]["1:large"]).base_count == 450


def test_a_phase_is_compared_with_another() -> None:
    """By kind of request."""
    found = by_phase(kinds(3.0, ((50.0, 100.0),)), (50.0, 100.0), (0.0, 50.0))
    assert read(found["0:small"]).ratio == pytest.approx(3, rel=0.1)
    assert read(found["1:large"]).ratio == pytest.approx(1, rel=0.2)
