"""Stretches of a run in which something happens, and those in which nothing does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from loadtest.sla.figures import AROUND_S
from loadtest.sla.flips import Flip, flip_of
from loadtest.sla.moves import Move
from loadtest.sla.timeline import Deed

STRETCH_S: Final = AROUND_S
"""A long stretch is looked at in pieces of this length."""

Span = tuple[float, float]
"""From and to, in seconds since the start."""


class What(StrEnum):
    """What happens in a stretch."""

    DOING = "doing"
    """From an action to its flip, or to its end."""
    FLIP = "flip"
    """The time after a flip."""
    AFTER = "after"
    """The time after an action that has led to none."""
    RETIREMENT = "retirement"
    """From when a version has no more to do until it is gone, and the time after that."""


@dataclass(slots=True)
class Happening:
    """What has happened several times: `about` is an action or a model, `spans` are its stretches."""

    what: What
    about: str
    spans: list[Span] = field(default_factory=list)

    def lasted(self, span: Span) -> float:
        """How long it took by itself, in seconds, without the time after it."""
        after = 0.0 if self.what is What.DOING else AROUND_S
        return span[1] - span[0] - after


def happenings(deeds: Sequence[Deed], seen: Sequence[Flip], moves: Sequence[Move]) -> list[Happening]:
    """What deeds have led to, those that failed included, and the retirements."""
    found: dict[tuple[What, str], Happening] = {}

    def put(what: What, about: str, start: float, end: float) -> None:
        found.setdefault((what, about), Happening(what, about)).spans.append((start, end))

    for deed in deeds:
        flip = flip_of(deed, seen)
        if flip is None:
            put(What.DOING, deed.label, deed.began, deed.ended)
            put(What.AFTER, deed.label, deed.ended, deed.ended + AROUND_S)
        else:
            put(What.DOING, deed.label, deed.began, flip.at)
            put(What.FLIP, deed.label, flip.at, flip.at + AROUND_S)
    draining: dict[tuple[str, str], float] = {}
    for move in moves:
        key = (move.model, move.version)
        if move.stage == "draining":
            draining[key] = move.at
        elif move.stage == "retired":
            put(What.RETIREMENT, move.model, draining.pop(key, move.at), move.at + AROUND_S)
    return list(found.values())


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same stretches without overlaps, in their order."""
    made: list[Span] = []
    for start, end in sorted(spans):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def within(spans: Iterable[Span], whole: Span) -> list[Span]:
    """Of stretches that do not overlap what lies in `whole`."""
    clipped = ((max(start, whole[0]), min(end, whole[1])) for start, end in spans)
    return [(start, end) for start, end in clipped if start < end]


def without(whole: Span, spans: Iterable[Span]) -> list[Span]:
    """What `spans` leave of a stretch."""
    left, at = [], whole[0]
    for start, end in within(merged(spans), whole):
        if at < start:
            left.append((at, start))
        at = end
    return [*left, (at, whole[1])] if at < whole[1] else left


def pieces(spans: Iterable[Span]) -> list[Span]:
    """Stretches cut into pieces of `STRETCH_S` at most."""
    made: list[Span] = []
    for start, end in spans:
        count = max(1, round((end - start) / STRETCH_S))
        edges = [start + (end - start) * number / count for number in range(count + 1)]
        made += pairwise(edges)
    return made
