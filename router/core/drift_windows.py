"""Windows over the rows that come by: short ones, hours and days, each compared with the reference when it is full.

A short window finds what has changed at once. An hour has so many rows that little of what it shows is chance. Slow
drift is for the day: the 24 hours before, looked at anew every hour, have no time of day in them, and so half of each
threshold is enough for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from router.core.drift import GREEN, RED, YELLOW, Measures, confirmed, effects, measures
from router.core.drift_kept import UNREADABLE, Forgotten, packed, unpacked
from router.core.features import Array, Cells, Column, joined
from router.core.reference import Counts, Reference, made
from router.model_settings import DriftSettings

HOUR_S: Final = 3600.0
HOURS: Final = 24
DAYS_SHARE: Final = 0.5
"""Of the thresholds, for a day."""
SHORT, HOUR, DAY = "window", "hour", "day"
HORIZONS: Final = (SHORT, HOUR, DAY)


@dataclass(frozen=True, slots=True)
class Judged:
    """A window that was compared. `seconds` is how long it took; `window` holds its counts."""

    measures: Measures
    window: Counts
    seconds: float
    levels: Array


class _Horizon:
    """The last window of one length, and the status that it and the one before make."""

    def __init__(self, features: int) -> None:
        self.last: Judged | None = None
        self.status = np.zeros(features, np.int8)

    def judge(self, reference: Reference, window: Counts, seconds: float, yellow: float, red: float) -> None:
        found = measures(reference, window)
        window.varied = found.effects * window.rows  # for the hour and the day that it becomes a part of
        levels = found.levels(yellow, red)
        before = self.last.levels if self.last is not None else np.zeros_like(levels)
        self.status = confirmed(self.status, before, levels)
        self.last = Judged(found, window, seconds, levels)


class DriftWindows:
    """The windows of one side of a model. Times are in seconds of a clock that never jumps."""

    def __init__(self, reference: Reference, settings: DriftSettings, now: float) -> None:
        self.reference = reference
        self.settings = settings
        self._now = Counts(reference)
        self._began = now
        self._hour = Counts(reference)
        self._hour_began = now
        self._day: deque[tuple[Counts, float]] = deque(maxlen=HOURS)
        self._horizons = {name: _Horizon(len(reference.features)) for name in HORIZONS}
        self.closed = 0
        """Short windows so far."""
        self._hours = 0

    @property
    def last(self) -> Judged | None:
        """The last short window that was compared."""
        return self._horizons[SHORT].last

    @property
    def rows(self) -> int:
        """In the window that is not full yet."""
        return self._now.rows

    @property
    def since(self) -> float:
        """When that window began."""
        return self._began

    def add(self, piece: Counts) -> None:
        """Rows that came together."""
        self._now.add(self.reference, piece)

    def look(self, now: float) -> bool:
        """Compare what is full. Whether anything was."""
        terms = self.settings
        took = now - self._began
        if took < terms.window_s or self._now.rows < terms.min_samples:
            return False
        full, self._now, self._began = self._now, Counts(self.reference), now
        self._horizons[SHORT].judge(self.reference, full, took, terms.yellow, terms.red)
        self.closed += 1
        self._hour.add(self.reference, full)
        if now - self._hour_began >= HOUR_S:
            self._close_hour(now)
        return True

    def _close_hour(self, now: float) -> None:
        terms, took = self.settings, now - self._hour_began
        full, self._hour, self._hour_began = self._hour, Counts(self.reference), now
        self._hours += 1
        self._horizons[HOUR].judge(self.reference, full, took, terms.yellow, terms.red)
        self._day.append((_light(full), took))
        if len(self._day) == HOURS:
            day = Counts(self.reference)
            for each, _ in self._day:
                day.add(self.reference, each)
            seconds = sum(each for _, each in self._day)
            yellow, red = terms.yellow * DAYS_SHARE, terms.red * DAYS_SHARE
            self._horizons[DAY].judge(self.reference, day, seconds, yellow, red)

    # ---- what outlives the process ----

    @property
    def mark(self) -> tuple[int, bytes]:
        """Another one when there is more that is worth being kept: an hour is over, or the status of a feature has
        changed."""
        return self._hours, np.stack([each.status for each in self._horizons.values()]).tobytes()

    def kept(self, now: float) -> dict[str, Array]:
        """The hours, what there is of the next one, and how each horizon stands; not the short window that goes on."""
        lasts = [each.last for each in self._horizons.values() if each.last is not None]
        levels = [each.levels for each in lasts]
        return {
            **packed("hours", [each for each, _ in self._day]),
            **packed("hour", [self._hour]),
            **packed("last", [each.window for each in lasts]),
            "took": np.array([*(took for _, took in self._day), now - self._hour_began]),
            "there": np.array([each.last is not None for each in self._horizons.values()]),
            "seconds": np.array([each.seconds for each in lasts]),
            "levels": np.stack(levels) if levels else np.zeros((0, len(self.reference.features)), np.int8),
            "status": np.stack([each.status for each in self._horizons.values()]),
        }

    def resume(self, arrays: Mapping[str, Array], now: float) -> None:
        """Go on from what was kept. Raises Forgotten where it is none or of another reference; nothing changes then."""
        try:
            features = len(self.reference.features)
            hours = [_light(each) for each in unpacked("hours", arrays, self.reference)]
            (hour,) = unpacked("hour", arrays, self.reference)
            *took, began = arrays["took"].astype(np.float64).tolist()
            status, levels = arrays["status"].astype(np.int8), arrays["levels"].astype(np.int8)
            whole = status.shape == (len(HORIZONS), features) and levels.shape[1:] == (features,)
            if not whole or len(took) != len(hours) or not _are_levels(status) or not _are_levels(levels):
                raise ValueError("windows")
            lasts: dict[str, Judged] = {}
            windows, seconds = unpacked("last", arrays, self.reference), arrays["seconds"].tolist()
            for name, there in zip(HORIZONS, arrays["there"].tolist(), strict=True):
                if there:
                    at = len(lasts)
                    found = measures(self.reference, windows[at])
                    lasts[name] = Judged(found, windows[at], float(seconds[at]), levels[at])
        except UNREADABLE as error:
            raise Forgotten("the windows of drift that were kept cannot be read") from error
        self._day.extend(zip(hours, took, strict=True))
        self._hour, self._hour_began = hour, now - began
        for place, (name, horizon) in enumerate(self._horizons.items()):
            horizon.status, horizon.last = status[place], lasts.get(name)

    # ---- how it stands ----

    @property
    def status(self) -> Array:
        """Of each feature, the worst of all horizons."""
        worst: Array = np.max([each.status for each in self._horizons.values()], axis=0)
        return worst

    def shown(self) -> list[tuple[str, Judged | None]]:
        """For each feature the horizon that says most of it, and its last window: the one that makes its status, the
        shortest of several; the short window where all is well."""
        status = self.status
        made: list[tuple[str, Judged | None]] = []
        for place, level in enumerate(status.tolist()):
            name = SHORT
            if level > GREEN:
                name = next(each for each in HORIZONS if self._horizons[each].status[place] == level)
            made.append((name, self._horizons[name].last))
        return made


def _are_levels(levels: Array) -> bool:
    return bool(np.isin(levels, (GREEN, YELLOW, RED)).all())


def _light(counts: Counts) -> Counts:
    """Counts of an hour, in as little memory as they need; what they came in is not asked any more."""
    counts.bins = counts.bins.astype(np.uint32) if counts.rows < 1 << 32 else counts.bins
    counts.spread = np.zeros(0)
    return counts


def learned(columns: list[Column], pieces: list[Cells]) -> Reference:
    """The reference that rows make which came in several pieces, of which there is one at least; with it how much more
    their counts vary than those of independent rows."""
    plain = made(columns, joined(pieces))
    whole = Counts(plain)
    for each in pieces:
        whole.add(plain, plain.counted(each))
    found = effects(plain, whole).tolist()
    return plain.with_effects(found)
