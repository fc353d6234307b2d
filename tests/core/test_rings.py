"""Rings of counts, against sums made by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.rings import Rings

WINDOWS = (2, 5, 8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), min_size=2, max_size=2), max_size=25))
def test_sums_are_those_of_the_newest_moments(rows: list[list[int]]) -> None:
    """Over every window, the longest as long as the ring itself, however often it has gone round."""
    rings = Rings(3, 8, 2, np.uint32, WINDOWS)
    for row in rows:
        rings.put(np.array([row, [1, 0]]))
    for window in WINDOWS:
        newest = rows[-window:]
        assert rings.sums(window)[0].tolist() == [sum(each[column] for each in newest) for column in (0, 1)]
        assert rings.sums(window)[1].tolist() == [len(newest), 0]
        assert rings.sums(window)[2].tolist() == [0, 0]
    kept = [*([[0, 0]] * 8), *rows][-8:]
    assert rings.newest(0, 8).tolist() == kept
    assert rings.newest(0, 3).tolist() == kept[-3:]


def test_what_does_not_fit_is_the_largest_that_does() -> None:
    """And it falls out of the sums as what it was taken for."""
    rings = Rings(1, 4, 1, np.uint16, (2,))
    rings.put(np.array([[70_000]]))
    assert rings.sums(2).tolist() == [[65_535]]
    rings.put(np.array([[1]]))
    rings.put(np.array([[1]]))
    assert rings.sums(2).tolist() == [[2]]


def test_one_that_is_forgotten_begins_anew() -> None:
    """The others go on; a subject that comes later has a past of nothing."""
    rings = Rings(3, 4, 1, np.uint32, (4,))
    rings.put(np.array([[5], [7]]))
    rings.clear(0)
    rings.put(np.array([[1], [2], [3]]))
    assert rings.sums(4).tolist() == [[1], [9], [3]]
    assert rings.newest(0, 2).tolist() == [[0], [1]]
    assert rings.subject_bytes == 4 * 4 + 8
