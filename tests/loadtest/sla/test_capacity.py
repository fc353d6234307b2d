"""The search for a capacity, with servers that are functions."""

from __future__ import annotations

import copy
import random

from hypothesis import given
from hypothesis import strategies as st

from loadtest.sla.capacity import CLOSE, LEAST, MOST, Bench, at_rate, search
from loadtest.sla.run import Document
from loadtest.sla.scenario import load
from loadtest.sla.subject import Subject
from tests.loadtest.sla.test_page import document


@given(st.floats(2 * LEAST, MOST))
def test_the_capacity_is_found(limit: float) -> None:
    """To within five percent, from below."""
    found = search(lambda rate: rate <= limit)
    assert limit * (1 - 2 * CLOSE) <= found <= limit


def test_a_server_that_keeps_the_level_at_no_rate_has_none() -> None:
    """And one that keeps it at all is told the bound of the search."""
    assert search(lambda _: False) == 0
    assert search(lambda _: True) >= MOST / 2


def test_luck_is_not_capacity() -> None:
    """A server that keeps the level above its limit one time in five: what is told was confirmed, so that is rare."""
    lucky = 0
    for seed in range(200):
        source = random.Random(seed)
        found = search(lambda rate, source=source: rate <= 1000 or (rate < 1500 and source.random() < 0.2))  # type: ignore[misc]
        lucky += found > 1050
    assert lucky <= 10


def test_a_scenario_at_a_rate_is_its_requests_alone() -> None:
    """No actions, one measured phase."""
    made = at_rate(load("worker_kill"), 123.0, 5.0)
    assert made.action == ()
    assert [(phase.measured, phase.lasts) for phase in made.phase] == [(False, 1.0), (True, 5.0)]


class Tried(Bench):
    """A server whose result at any rate is given."""

    def __init__(self, document: Document) -> None:
        super().__init__(load("tiny"), Subject("", ""), 1.0, ())
        self._document = document

    def run(self, rate: float) -> Document:  # noqa: ARG002
        """The result."""
        return self._document


def test_a_level_holds_when_its_figures_do() -> None:
    """Not for want of samples, not when nothing was answered, not when the sender was late."""
    good = document()
    assert Tried(good).holds(100)
    broken = copy.deepcopy(good)
    broken["sla"][0] |= {"grade": "INCONCLUSIVE", "kept": False}
    silent = copy.deepcopy(good)
    silent["measured"]["counts"]["answered"] = 0
    late = {**good, "invalid": ["the sender was late"]}
    for each in (broken, silent, late):
        tried = Tried(each)
        assert not tried.holds(100)
        assert tried.probes[0].why
