"""The search for a capacity, with servers that are functions."""

from __future__ import annotations

import copy
import io
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from loadtest.errors import ScenarioError
from loadtest.sla import capacity as capacities
from loadtest.sla.capacity import CLOSE, LEAST, Bench, Probe, at_rate, bounds, capacity, ceiling, search
from loadtest.sla.result import Document
from loadtest.sla.scenario import MOST_PER_SENDER, load
from loadtest.sla.subject import Subject
from tests.loadtest.sla.test_page import document


@given(st.floats(2 * LEAST, MOST_PER_SENDER))
def test_the_capacity_is_found(limit: float) -> None:
    """To within five percent, from below."""
    found = search(lambda rate: rate <= limit)
    assert limit * (1 - 2 * CLOSE) <= found <= limit


def test_a_server_that_keeps_the_level_at_no_rate_has_none() -> None:
    """And one that keeps it at all is told the bound of the search, which was tried."""
    assert search(lambda _: False) == 0
    tried = []
    assert search(lambda rate: bool(tried.append(rate)) or True, 777.0) == 777.0
    assert max(tried) == 777.0


def test_luck_is_not_capacity() -> None:
    """A server that keeps the level above its limit one time in five: what is told was confirmed, so that is rare."""
    lucky = 0
    for seed in range(200):
        source = random.Random(seed)
        found = search(lambda rate, source=source: rate <= 1000 or (rate < 1500 and source.random() < 0.2))  # type: ignore[misc]
        lucky += found > 1050
    assert lucky <= 10


def test_a_scenario_at_a_rate_is_its_requests_alone() -> None:
    """No actions, no limits on what they lead to, one measured phase."""
    for name in ("worker_kill", "swaps", "swaps_memory", "mirror"):
        made = at_rate(load(name), 123.0, 5.0)
        assert made.action == ()
        assert (made.sla.after, made.sla.resident, made.sla.availability) == ({}, None, load(name).sla.availability)
        assert [(phase.measured, phase.lasts, phase.against) for phase in made.phase] == [(False, 1, ""), (True, 5, "")]


def test_a_throughput_that_is_a_part_of_a_phase_is_left_out() -> None:
    """The phase is not run; the other limits stay."""
    made = at_rate(load("overload"), 123.0, 5.0)
    assert made.sla.throughput is None
    assert made.sla.told == load("overload").sla.told
    assert not made.parts


def test_a_rate_that_cannot_be_sent_is_refused() -> None:
    """Before it is sent; more senders send more, a long measurement less."""
    one = load("tiny")
    assert ceiling(one, 10) == MOST_PER_SENDER
    at_rate(one, MOST_PER_SENDER, 10)
    with pytest.raises(ScenarioError, match=r"20001/s for 10 s cannot be sent, at most 20000/s"):
        at_rate(one, MOST_PER_SENDER + 1, 10)
    four = one.model_copy(update={"senders": 4})
    at_rate(four, 4 * MOST_PER_SENDER, 10)
    assert ceiling(four, 600) < 4 * MOST_PER_SENDER


class Tried(Bench):
    """A server whose result at any rate is given."""

    def __init__(self, document: Document) -> None:
        super().__init__(load("tiny"), Subject("", "a [server]"), 1.0, ())
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


class Limited(Tried):
    """A server that keeps the level up to a rate; above it that or the sender fails, or somebody presses Ctrl-C."""

    def __init__(self, limit: float, above: str) -> None:
        super().__init__(document())
        self._limit, self._above = limit, above

    def run(self, rate: float) -> Document:
        """The result."""
        found = copy.deepcopy(self._document)
        if rate <= self._limit:
            return found
        if self._above == "interrupt":
            raise KeyboardInterrupt
        if self._above == "sender":
            found["invalid"] = ["the sender was late"]
        else:
            found["sla"][0] |= {"grade": "FAIL", "kept": False, "measured": "[red]61 ms"}
        return found


def shown(result: dict[str, Any]) -> str:
    """What a person sees."""
    console = Console(file=io.StringIO(), markup=False, width=100)
    capacities.show(console, [result])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("limit", "above", "by", "words"),
    [
        (1000, "server", "server", "a [server]: at 10"),
        (1000, "sender", "sender", "a [server]: at least that: at 10"),
        (
            MOST_PER_SENDER,
            "",
            "ceiling",
            "at least that: the level held at 20000/s and no more is sent: raise `senders`",
        ),
        (0, "server", "server", "p50 [red]61 ms"),
    ],
)
def test_what_bounds_a_capacity_is_told(limit: float, above: str, by: str, words: str) -> None:
    """In a word for programs, in the table, and in a sentence. Only the server's own bound is its capacity."""
    result = capacity(Limited(limit, above), lambda _: None)
    assert (result["bounded_by"], result["interrupted"]) == (by, False)
    text = shown(result)
    assert words in text
    (row,) = [line for line in text.splitlines() if line.rstrip().endswith(f" {by}")]
    assert ("≥" in row) is (by != "server")


def test_the_nearest_failure_is_the_bound() -> None:
    """Whatever failed far above says nothing; of two tries at one rate the last counts."""
    far, near = Probe(400, False, 0, 0, 0, "late", True), Probe(110, False, 0, 0, 0, "p99 1 s")
    lucky = Probe(110, True, 0, 0, 0)
    assert bounds(100, [far, lucky, near]) == ("server", "at 110/s p99 1 s")
    assert bounds(120, [far, lucky, near]) == ("sender", "at 400/s late")


def test_an_interrupted_search_keeps_its_tries() -> None:
    """And tells no capacity."""
    result = capacity(Limited(100, "interrupt"), lambda _: None)
    assert (result["interrupted"], result["capacity"], result["bounded_by"]) == (True, None, None)
    assert [probe["rate"] for probe in result["probes"]] == [50, 100]
    assert "interrupted" in shown(result)
