"""Lines of cron: whether one ever fires, and when it does next."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_SOME_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""From which on a line is tried: it fires within 50 years or never."""
_NO_DAY: Final = "no such day is in any of its months; give another day or month, or `*` for all of them"
_FIELDS: Final = "five fields are meant (minute, hour, day of the month, month, day of the week), such as `0 3 * * *`"


def wrong_line(line: str) -> str:
    """Why a line of cron is none, or never fires; empty for one that does."""
    if len(line.split()) != 5:
        return f"it is no line of cron: {_FIELDS}"
    try:
        next(CronSim(line, _SOME_DAY))
    except CronSimError as error:
        minute, hour, day, _, weekday = line.split()
        with contextlib.suppress(CronSimError):  # in another month there is such a day
            CronSim(f"{minute} {hour} {day} * {weekday}", _SOME_DAY)
            return f"it never fires: {_NO_DAY}"
        return f"it is no line of cron ({str(error).lower()}): {_FIELDS}"
    except StopIteration:
        return f"it never fires: {_NO_DAY}"
    return ""


def wrong_zone(name: str) -> str:
    """Why a time zone is none; empty for one that is known here."""
    try:
        _zone(name)
    except (KeyError, ValueError, OSError):
        return "no such time zone is known here: a name such as UTC or Europe/Berlin is meant"
    return ""


def next_after(line: str, zone: str, seconds: float) -> float:
    """When a line of cron fires next after an instant; both in seconds since 1970.

    In a time zone that changes its clocks as Debian's cron does it: nothing is left out, nothing is done twice. The
    line and the zone are ones of which nothing is wrong.
    """
    return next(CronSim(line, datetime.fromtimestamp(seconds, _zone(zone)))).timestamp()


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
