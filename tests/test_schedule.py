"""Lines of cron: what is none is refused, and when the others fire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from router.schedule import next_after, wrong_line, wrong_zone


def instant(text: str) -> float:
    """In seconds since 1970, of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("line", "zone", "now", "then"),
    [
        ("0 3 * * *", "UTC", "2026-05-01T02:59:59", "2026-05-01T03:00:00"),
        ("0 3 * * *", "UTC", "2026-05-01T03:00:00", "2026-05-02T03:00:00"),
        ("*/15 * * * *", "UTC", "2026-05-01T03:00:01", "2026-05-01T03:15:00"),
        ("0 0 29 2 *", "UTC", "2026-05-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 3 * * mon", "UTC", "2026-05-01T00:00:00", "2026-05-04T03:00:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-07-01T00:00:00", "2026-07-01T01:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00", "2026-03-29T01:00:00"),  # there is no 2:30 on that day
    ],
)
def test_it_fires_next(line: str, zone: str, now: str, then: str) -> None:
    """After an instant, in a time zone."""
    assert next_after(line, zone, instant(now)) == instant(then)
    assert wrong_line(line) == ""
    assert wrong_zone(zone) == ""


@pytest.mark.parametrize("line", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_line_that_never_fires_is_told(line: str) -> None:
    """There is no such day in any year."""
    assert wrong_line(line).startswith("it never fires: no such day is in any of its months")


@pytest.mark.parametrize(
    "line", ["", "@daily", "* * * *", "* * * * * *", "61 * * * *", "a b c d e", "0 3 * * * rm -rf /"]
)
def test_what_is_no_line_of_cron_is_told(line: str) -> None:
    """With what is meant."""
    assert "five fields are meant" in wrong_line(line)


@pytest.mark.parametrize("zone", ["", "Berlin", "../../etc/passwd", "Europe", "/etc/localtime", "a\0b"])
def test_what_is_no_time_zone_is_told(zone: str) -> None:
    """Whatever stands there."""
    assert "no such time zone" in wrong_zone(zone)
