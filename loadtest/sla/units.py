"""Durations, rates and shares as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer

_NUMBER: Final = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(us|ms|s|min|h)")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_RATE = re.compile(rf"{_NUMBER}\s*/\s*(s|min)")
_PART = re.compile(rf"{_NUMBER}\s*%\s+of\s+(.+)")
_SHARE = re.compile(rf"{_NUMBER}\s*%")


def duration(value: object) -> float:
    """Seconds from a text such as `250ms`. Raises ValueError, which shows the form."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a duration is a text of a number and us, ms, s, min or h, such as "250ms"')
    return float(match[1]) * _SECONDS[match[2]]


def rate(value: object) -> float:
    """Requests per second from a text such as `500/s`. Raises ValueError, which shows the form."""
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a rate is a text of a number and /s or /min, such as "500/s"')
    return float(match[1]) / (60.0 if match[2] == "min" else 1.0)


@dataclass(frozen=True, slots=True)
class PartOf:
    """A rate that is not known before: `share` of what the callers of the closed phase `phase` are answered in time."""

    share: float
    phase: str

    def __str__(self) -> str:
        return f"{self.share * 100:g}% of {self.phase}"


def rate_or_part(value: object) -> float | PartOf:
    """Requests per second, or a part of what a closed phase gives, such as `300% of capacity`. Raises ValueError."""
    if isinstance(value, PartOf):
        return value
    match = _PART.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None and float(match[1]):
        return PartOf(float(match[1]) / 100, match[2])
    try:
        found = rate(value)
    except ValueError as error:
        raise ValueError(f'{error}, or a part of what a closed phase gives, such as "80% of capacity"') from None
    if not found:
        raise ValueError("a rate should be greater than 0")
    return found


def share(value: object) -> float:
    """A number from 0 to 1 from a text such as `99.9%`. Raises ValueError, which shows the form."""
    match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or float(match[1]) > 100:
        raise ValueError('a share is a text of a percentage from 0 to 100, such as "99.9%"')
    return float(match[1]) / 100


def spoken(seconds: float) -> str:
    """A duration for people: `250 µs`, `1.25 ms`, `3.4 s`."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s"


Duration = Annotated[float, BeforeValidator(duration)]
"""Seconds; written as text with a unit."""
Rate = Annotated[float, BeforeValidator(rate)]
"""Requests per second; written as text with a unit."""
RateOrPart = Annotated[
    float | PartOf,
    BeforeValidator(rate_or_part),
    PlainSerializer(lambda value: str(value) if isinstance(value, PartOf) else value),
]
"""Requests per second, or a part of those of a closed phase."""
Share = Annotated[float, BeforeValidator(share)]
"""From 0 to 1; written as text with a percent sign."""
