"""Durations, rates and shares as text."""

from __future__ import annotations

import pytest

from loadtest.sla.units import PartOf, duration, rate, rate_or_part, share, spoken


@pytest.mark.parametrize(
    ("text", "seconds"), [("250us", 250e-6), ("1.5ms", 0.0015), ("2s", 2), ("3 min", 180), ("1h", 3600)]
)
def test_a_duration_has_a_number_and_a_unit(text: str, seconds: float) -> None:
    """Blanks in between do no harm."""
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [5, 5.0, "5", "5 sec", "-1s", "s", "", None, "1e3s"])
def test_another_duration_is_refused_with_the_form(value: object) -> None:
    """A bare number has no unit, and nobody guesses one."""
    with pytest.raises(ValueError, match="250ms"):
        duration(value)


def test_a_rate_counts_seconds_or_minutes() -> None:
    """Requests per second come out."""
    assert rate("500/s") == 500
    assert rate("30 / min") == 0.5
    for bad in (500, "500", "500/h", "-1/s"):
        with pytest.raises(ValueError, match="500/s"):
            rate(bad)


def test_a_rate_may_be_a_part_of_another() -> None:
    """Of a phase by its name, which may have blanks; anything else is refused with both forms."""
    assert rate_or_part("500/s") == 500
    part = rate_or_part("12.5% of as much as it can")
    assert part == PartOf(0.125, "as much as it can")
    assert rate_or_part(str(part)) == part == rate_or_part(part)
    for bad in (500, "0% of it", "50 % of", "50%", "half of it", "-5% of it"):
        with pytest.raises(ValueError, match=r"500/s.*80% of capacity"):
            rate_or_part(bad)
    with pytest.raises(ValueError, match="greater than 0"):
        rate_or_part("0/s")


def test_a_share_is_a_percentage() -> None:
    """0 to 100."""
    assert share("99.9%") == pytest.approx(0.999)
    for bad in (0.99, "0.99", "101%", "-1%"):
        with pytest.raises(ValueError, match="percentage"):
            share(bad)


def test_times_are_spoken_in_their_own_unit() -> None:
    """Microseconds, milliseconds, seconds."""
    assert [spoken(each) for each in (250e-6, 0.00125, 3.4)] == ["250 µs", "1.25 ms", "3.4 s"]
