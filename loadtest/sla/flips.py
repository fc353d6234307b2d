"""When a new table began to answer, and when an old one ceased to, by what callers have received."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtest.sla.figures import Figures
from loadtest.sla.timeline import Deed

SLACK_S: Final = 0.5
"""An answer of the new table may be seen so long after what made it has ended."""


@dataclass(frozen=True, slots=True)
class Flip:
    """Seconds since the start: `at` the first answer of this generation, or of a later one, was here; `last` the last
    one of an earlier generation, which is `at` where none came after it.
    """

    generation: int
    at: float
    last: float


def flips(figures: Figures) -> list[Flip]:
    """All that were seen, in their order. A table that was replaced before it had answered is seen as the next."""
    records = figures.records
    told = np.flatnonzero(figures.ok & (records["generation"] > 0))
    if not len(told):
        return []
    told = told[np.argsort(records["done"][told], kind="stable")]
    generations, done = records["generation"][told], records["done"][told] / 1e9
    newest = np.maximum.accumulate(generations)
    first = np.flatnonzero(newest[1:] > newest[:-1]) + 1
    known, places = np.unique(generations, return_inverse=True)
    lasts = np.zeros(len(known))
    np.maximum.at(lasts, places, done)
    until = np.maximum.accumulate(lasts)  # the last answer of a generation up to each
    found = []
    for place in first:
        at = float(done[place])
        older = float(until[np.searchsorted(known, generations[place]) - 1])
        found.append(Flip(int(generations[place]), at, max(at, older)))
    return found


def flip_of(deed: Deed, seen: Sequence[Flip]) -> Flip | None:
    """The flip that a deed has led to; None where none is seen.

    By the generation that it was told, else by the time: the last one while it was being done.
    """
    if deed.generation:
        place = bisect_left(seen, deed.generation, key=lambda flip: flip.generation)
        found = seen[place] if place < len(seen) else None
        return found if found is not None and deed.began <= found.at <= deed.ended + SLACK_S else None
    during = [flip for flip in seen if deed.began <= flip.at <= deed.ended]
    return during[-1] if during else None


def handovers(deeds: Sequence[Deed], seen: Sequence[Flip]) -> Mapping[str, object] | None:
    """How long the flips of these deeds took, in seconds; None without one.

    `told`: from the command to its answer. `first`: from the command to the first answer of the new table; `all`: to
    the last one of the old. `handover`: from the first of the new to the last of the old.
    """
    pairs = [(deed, flip) for deed in deeds if deed.ok and (flip := flip_of(deed, seen)) is not None]
    if not pairs:
        return None
    times = {
        "told": [deed.ended - deed.began for deed, _ in pairs],
        "first": [flip.at - deed.began for deed, flip in pairs],
        "all": [flip.last - deed.began for deed, flip in pairs],
        "handover": [flip.last - flip.at for _, flip in pairs],
    }
    return {"count": len(pairs), **{name: spread(each) for name, each in times.items()}}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and largest of some values."""
    found = {name: float(np.quantile(values, share)) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {**found, "max": float(max(values))}
