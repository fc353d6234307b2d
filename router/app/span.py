"""How long something takes, for a person."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

from router.app.terminal import NOTHING

_UNITS: Final = (("day", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def span(seconds: float) -> str:
    """A time as people say it, in its two largest units: `59 min 58 s`, `1 h`, `2 days 4 h`; below a minute in seconds
    of two digits. Less than nothing is nothing; what is no number is not known."""
    if not math.isfinite(seconds):
        return NOTHING
    for (larger, size), (smaller, part) in pairwise(_UNITS):
        if seconds >= size:
            many, rest = divmod(round(seconds / part), size // part)
            return _counted(many, larger) + (f" {rest} {smaller}" if rest else "")
    return f"{max(seconds, 0.0):.2g} s"


def _counted(many: int, unit: str) -> str:
    return f"{many} {unit}{'s' if unit == 'day' and many != 1 else ''}"
