"""What two versions said of recent requests, held against what came true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.mirrored import Foretold
from router.core.warmup import Accuracy


def test_what_came_true_is_counted_for_both() -> None:
    """By request and row; a label may come as a number or as its text."""
    foretold = Foretold()
    foretold.said("a", [1, 2], [1, 3])
    foretold.said("b", ["x"], ["y"])
    assert foretold.came_true("a", 0, 1)
    assert foretold.came_true("a", 1, "3")
    assert foretold.came_true("b", 0, "x")
    assert foretold.accuracy() == Accuracy(3, 2, 2, 1, 1)


def test_what_is_not_known_counts_for_nothing() -> None:
    """Another request, or a row that it did not have."""
    foretold = Foretold()
    foretold.said("a", [1], [1])
    assert not foretold.came_true("b", 0, 1)
    assert not foretold.came_true("a", 1, 1)
    assert not foretold.came_true("a", -1, 1)
    assert foretold.accuracy().joined == 0


@given(st.lists(st.text(max_size=2)))
def test_the_oldest_are_forgotten_first(ids: list[str]) -> None:
    """Never more are kept than was said."""
    foretold = Foretold(remembered=3)
    for each in ids:
        foretold.said(each, [1], [1])
    assert len(foretold._said) <= 3
    assert not ids or foretold.came_true(ids[-1], 0, 1)
