"""What happened lately, added up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.window import Window


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 60))), st.floats(0, 10), st.integers(1, 12))
def test_the_sum_is_of_the_last_whole_slices(added: list[tuple[int, float]], after: float, slices: int) -> None:
    """The second of `now` and those before it, as many as there are slices."""
    window = Window(slices)
    for amount, at in sorted(added, key=lambda each: each[1]):
        window.add(amount, at)
    now = max((at for _, at in added), default=0.0) + after
    assert window.sum(now) == sum(amount for amount, at in added if int(now) - int(at) < slices)
    window.add(5, now)
    window.clear()
    assert window.sum(now) == 0


def test_time_does_not_go_back() -> None:
    """What comes late counts in the newest slice."""
    window = Window(2)
    window.add(1, 10.0)
    window.add(1, 3.0)
    assert window.sum(5.0) == 2
    assert window.sum(11.9) == 2
    assert window.sum(12.0) == 0
