"""Times for people."""

from __future__ import annotations

import pytest

from router.app.span import span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1.0, "0 s"),
        (0.0, "0 s"),
        (0.1234567, "0.12 s"),
        (9.87, "9.9 s"),
        (59.3, "59 s"),
        (60.0, "1 min"),
        (90.2, "1 min 30 s"),
        (3598.2, "59 min 58 s"),
        (3599.9, "60 min"),
        (3600.0, "1 h"),
        (5400.0, "1 h 30 min"),
        (86_370.0, "24 h"),
        (86_400.0, "1 day"),
        (90_000.0, "1 day 1 h"),
        (604_800.0, "7 days"),
        (1e9, "11574 days 2 h"),
        (float("inf"), "–"),
        (float("nan"), "–"),
    ],
)
def test_a_time_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    """The second one whole and only where there is some of it; no `59.97 min`."""
    assert span(seconds) == said
