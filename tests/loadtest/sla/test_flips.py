"""Flips, as callers see them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.sla.flips import Flip, flip_of, flips, handovers
from loadtest.sla.timeline import Deed
from tests.loadtest.sla.fakes import figures


def answers(*rows: tuple[float, int]) -> Any:
    """Answers that were received at these instants, of these generations."""
    return figures([{"due": done - 0.001, "done": done, "generation": generation} for done, generation in rows])


def deed(began: float, ended: float, generation: int = 0, *, ok: bool = True) -> Deed:
    """Something that was done."""
    return Deed("Rollback m", began, began, ended, ok, "", generation)


def test_a_flip_is_from_the_first_new_answer_to_the_last_old_one() -> None:
    """By when they were received; where none comes after, it took no time."""
    seen = flips(answers((1.0, 3), (2.0, 4), (2.1, 3), (2.2, 4), (2.5, 3), (3.0, 4), (4.0, 5), (5.0, 5)))
    assert seen == [Flip(4, 2.0, 2.5), Flip(5, 4.0, 4.0)]


def test_what_says_nothing_or_failed_is_no_answer() -> None:
    """A generation of 0 is none, and an error has none."""
    rows = [
        {"due": 0.0, "done": 0.1, "generation": 2},
        {"due": 0.1, "done": 0.2, "generation": 9, "code": 14},
        {"due": 0.2, "done": 0.3, "generation": 0},
        {"due": 0.3, "done": 0.4, "generation": 2},
    ]
    assert flips(figures(rows)) == []
    assert flips(figures([{"due": 0.0, "code": 14}])) == []


def test_a_table_that_never_answered_is_seen_as_the_next() -> None:
    """Two flips in short order: the answers go from the first to the last."""
    seen = flips(answers((1.0, 3), (2.0, 6), (2.2, 3)))
    assert seen == [Flip(6, 2.0, 2.2)]
    assert flip_of(deed(1.9, 1.95, generation=5), seen) == seen[0]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), min_size=1, max_size=40))
def test_flips_are_those_of_the_plain_definition(rows: list[tuple[int, int]]) -> None:
    """For each new highest generation: when it came, and when the last of a lower one did."""
    received = sorted(((at + place / 100) / 10, generation) for place, (at, generation) in enumerate(rows))
    told = [row for row in received if row[1]]
    expected, newest = [], told[0][1] if told else 0
    for at, generation in told:
        if generation > newest:
            older = max(done for done, other in told if other < generation)
            expected.append((generation, pytest.approx(at), pytest.approx(max(at, older))))
            newest = generation
    assert [(flip.generation, flip.at, flip.last) for flip in flips(answers(*received))] == expected


def test_a_flip_belongs_to_the_deed_that_was_told_its_generation() -> None:
    """Else to the one during which it was seen; one that came before it is not its own."""
    seen = [Flip(4, 2.0, 2.0), Flip(5, 2.3, 2.4), Flip(6, 9.0, 9.0)]
    assert flip_of(deed(1.5, 2.1, generation=4), seen) == seen[0]
    assert flip_of(deed(1.5, 2.5, generation=5), seen) == seen[1]
    assert flip_of(deed(1.5, 2.5), seen) == seen[1]
    assert flip_of(deed(2.5, 2.6, generation=5), seen) is None
    assert flip_of(deed(2.5, 2.6), seen) is None
    assert flip_of(deed(2.5, 2.6, generation=7), seen) is None
    assert flip_of(deed(2.5, 2.6, generation=6), seen) is None


def test_how_flips_went_is_told_from_the_command_on() -> None:
    """To its answer, to the first answer of the new table, to the last of the old, and between these two."""
    seen = [Flip(4, 2.0, 2.004), Flip(5, 3.0, 3.0)]
    done = [deed(1.9, 2.1, 4), deed(2.8, 3.1, 5), deed(5.0, 6.0, 5, ok=False), deed(7.0, 8.0)]
    went: Any = handovers(done, seen)
    assert went["count"] == 2
    assert went["told"]["max"] == pytest.approx(0.3)
    assert went["first"]["max"] == pytest.approx(0.2)
    assert went["all"]["p50"] == pytest.approx(0.152)
    assert went["handover"]["max"] == pytest.approx(0.004)
    assert handovers(done[2:], seen) is None
