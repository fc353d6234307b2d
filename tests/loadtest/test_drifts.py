"""What so many days without an alarm say of all days."""

from __future__ import annotations

import pytest

from loadtest.drifts import SEEDS, at_most


@pytest.mark.parametrize(("days", "of", "share"), [(0, 100, 0.0295), (0, 299, 0.01), (1, 473, 0.01), (5, 5, 1.0)])
def test_a_share_is_hardly_more_than_what_was_seen_allows(days: int, of: int, share: float) -> None:
    """As the rule of three has it where none was seen: there the bound is the share at which all would be missed once
    in twenty times."""
    assert at_most(days, of) == pytest.approx(share, rel=0.01)
    assert at_most(0, of) == pytest.approx(1 - 0.05 ** (1 / of))


def test_so_many_days_are_enough_for_one_in_a_hundred() -> None:
    """Also where one of them has an alarm."""
    assert at_most(1, SEEDS) <= 0.01
