"""What becomes of an event after an answer to it: it is delivered, tried again later, or refused.

Pauses are exponential with full jitter: a number between 0 and what the back-off allows, so that many senders that
failed together do not come back together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from enum import StrEnum
from typing import Final

FIRST_S: Final = 1.0
"""The longest first pause."""
LONGEST_S: Final = 60.0
"""No pause is longer, but for one that the receiver asks for."""
ASKED_S: Final = 3600.0
"""A receiver may ask for so much at most."""
REFUSALS: Final = 8
"""An event that is refused so often is not sent any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said. `status` is that of HTTP, 0 where none came; `error` is one line for a person.

    `retry_after` is the header of that name, as it came.
    """

    status: int
    error: str = ""
    retry_after: str = ""


class Fate(StrEnum):
    """What an answer means."""

    DELIVERED = "delivered"
    LATER = "later"
    """The receiver is not there, or cannot take anything now: no fault of the event."""
    REFUSED = "refused"
    """The receiver does not want this event; another may go through."""


def fate(status: int) -> Fate:
    """What a status of HTTP means; 0: there was none. A redirect is not followed: it is a refusal."""
    if 200 <= status < 300:
        return Fate.DELIVERED
    if status in {0, 408, 425, 429} or status >= 500 or status < 200:
        return Fate.LATER
    return Fate.REFUSED


def pause(failures: int, chance: float) -> float:
    """Seconds until the next try after so many failures in a row, the first is 1; `chance` lies in [0, 1)."""
    return chance * min(LONGEST_S, FIRST_S * 2.0 ** min(max(failures - 1, 0), 32))


def asked(retry_after: str, now: float) -> float:
    """Seconds that a receiver asks for by `Retry-After`: a number, or a date of HTTP (RFC 9110, section 10.2.3).

    `now` is in seconds since 1970. 0 for what cannot be read.
    """
    words = retry_after.strip()
    if words.isascii() and words.isdigit():
        return min(ASKED_S, float(words[:10]))
    date = parsedate_tz(words) if len(words) <= 64 else None
    if date is None:
        return 0.0
    try:
        return min(ASKED_S, max(0.0, mktime_tz(date) - now))
    except (ValueError, OverflowError):  # no day that a calendar has
        return 0.0
