"""When requests are due: arrival processes as instants, drawn before anything is sent.

Every process is a rate over time, in pieces that are straight lines. Evenly spaced arrivals are where the integral of
the rate passes 1/2, 3/2, …; random ones where it passes the points of a Poisson process of rate 1 (inversion of the
cumulative rate; Çinlar, Introduction to Stochastic Processes, 1975, section 4.7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, assert_never

import numpy as np
import numpy.typing as npt

from loadtest.errors import ScenarioError
from loadtest.sla.scenario import Bursts, Closed, Constant, Ramp, Replay, Step, known

MOST_TRACE_BYTES: Final = 128 << 20
Instants = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Piece:
    """From `start` for `length` seconds the rate goes straight from `first` to `last` (requests/s)."""

    start: float
    length: float
    first: float
    last: float

    @property
    def area(self) -> float:
        """Requests in it."""
        return self.length * (self.first + self.last) / 2


def pieces(phase: Constant | Ramp | Step | Bursts) -> list[Piece]:
    """The rate of a phase, from its own start."""
    rate = known(phase.rate)
    match phase:
        case Constant():
            return [Piece(0.0, phase.lasts, rate, rate)]
        case Ramp():
            return [Piece(0.0, phase.lasts, rate, known(phase.to))]
        case Step():
            length = phase.lasts / phase.steps
            levels = np.linspace(rate, known(phase.to), phase.steps).tolist()
            return [Piece(number * length, length, level, level) for number, level in enumerate(levels)]
        case Bursts():
            made = []
            at = 0.0
            while at < phase.lasts:
                for level, lasts in ((rate, phase.on), (phase.quiet_rate, phase.off)):
                    length = min(lasts, phase.lasts - at)
                    if length > 0:
                        made.append(Piece(at, length, level, level))
                        at += length
            return made
        case _:
            assert_never(phase)


def instants(phase: Any, random: np.random.Generator) -> Instants:
    """The instants of a phase in seconds from its start, ascending; none for callers that wait for each other.

    Raises ScenarioError when a trace cannot be read.
    """
    if isinstance(phase, Closed):
        return np.zeros(0)
    if isinstance(phase, Replay):
        return _traced(phase)
    spread = "poisson" if phase.arrivals == "poisson" else phase.spacing
    return _invert(pieces(phase), spread, random)


def _invert(parts: list[Piece], spacing: str, random: np.random.Generator) -> Instants:
    bounds = np.concatenate(([0.0], np.cumsum([part.area for part in parts])))
    total = float(bounds[-1])
    points: Instants
    if spacing == "poisson":
        points = np.cumsum(random.exponential(size=math.ceil(total + 10 * math.sqrt(total) + 10)))
        points = points[points < total]
    else:
        points = np.arange(math.floor(total + 0.5), dtype=np.float64) + 0.5
        points = points[points < total]
    places = np.searchsorted(bounds, points, side="right") - 1
    start = np.array([part.start for part in parts])[places]
    length = np.array([part.length for part in parts])[places]
    first = np.array([part.first for part in parts])[places]
    slope = (np.array([part.last for part in parts])[places] - first) / length
    area = points - bounds[places]
    # The root of slope/2 · s² + first · s = area, in the form that does not cancel.
    found: Instants = start + 2 * area / (first + np.sqrt(np.maximum(first**2 + 2 * slope * area, 0.0)))
    return found


def _traced(phase: Replay) -> Instants:
    path = Path(phase.trace)
    try:
        if not path.is_file():
            raise _unusable(path, "it is no file" if path.exists() else "No such file or directory")
        if path.stat().st_size > MOST_TRACE_BYTES:
            raise _unusable(path, f"it has more than {MOST_TRACE_BYTES >> 20} MB: cut it")
        text = path.read_text(encoding="utf-8")
        found = np.sort(np.array([float(line) for line in text.split()])) / phase.speed
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "each line holds one number of seconds"
        raise _unusable(path, str(reason)) from None
    if not np.isfinite(found).all():
        raise _unusable(path, "an instant is no finite number")
    found = found - (found[0] if len(found) else 0.0)
    return found[found < phase.lasts]


def _unusable(path: Path, reason: str) -> ScenarioError:
    return ScenarioError(f"the trace {path} cannot be used: {reason}")
