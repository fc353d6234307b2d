"""Stretches in which something happens, and the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.sla.flips import Flip
from loadtest.sla.happenings import STRETCH_S, Span, happenings, merged, pieces, within, without
from loadtest.sla.moves import Move
from loadtest.sla.timeline import Deed

TENTHS = st.integers(0, 200).map(lambda tenth: tenth / 10)
SPANS = st.lists(st.tuples(TENTHS, st.integers(1, 30).map(lambda tenth: tenth / 10)), max_size=8).map(
    lambda rows: [(start, start + length) for start, length in rows]
)


def length(spans: list[Span]) -> float:
    """All of them together."""
    return sum(end - start for start, end in spans)


@given(SPANS)
def test_what_is_left_and_what_is_taken_are_the_whole(spans: list[Span]) -> None:
    """Nothing twice, nothing lost, whatever overlaps or lies outside."""
    whole = (5.0, 15.0)
    taken, left = within(merged(spans), whole), without(whole, spans)
    assert length(taken) + length(left) == pytest.approx(10.0)
    assert all(not (a[0] < b[1] and b[0] < a[1]) for a in taken for b in left)


@given(SPANS)
def test_pieces_are_the_same_stretches(spans: list[Span]) -> None:
    """Cut into parts that are alike in length."""
    cut = pieces(merged(spans))
    assert length(cut) == pytest.approx(length(merged(spans)))
    assert all(end - start <= 1.5 * STRETCH_S for start, end in cut)


def test_a_deed_is_until_its_flip_and_then_two_seconds() -> None:
    """One without a flip is until its end."""
    deeds = [Deed("Rollback m", 10, 10, 13, True, "", 4), Deed("kill worker-0", 20, 20, 20.5, False, "no")]
    found = {(each.what.value, each.about): each.spans for each in happenings(deeds, [Flip(4, 12.5, 12.6)], [])}
    assert found == {
        ("doing", "Rollback m"): [(10, 12.5)],
        ("flip", "Rollback m"): [(12.5, 14.5)],
        ("doing", "kill worker-0"): [(20, 20.5)],
        ("after", "kill worker-0"): [(20.5, 22.5)],
    }


def test_a_retirement_is_from_draining_to_two_seconds_after_the_end() -> None:
    """Of each version by itself; one whose beginning was not heard is told from its end."""
    moves = [
        Move(1.0, "m", "1", "draining"), Move(2.0, "n", "1", "draining"), Move(3.0, "m", "1", "retired"),
        Move(4.0, "n", "1", "retired"), Move(9.0, "m", "2", "retired"), Move(9.5, "m", "3", "champion"),
    ]  # fmt: skip
    found = {(each.what.value, each.about): each.spans for each in happenings([], [], moves)}
    assert found == {("retirement", "m"): [(1.0, 5.0), (9.0, 11.0)], ("retirement", "n"): [(2.0, 6.0)]}
