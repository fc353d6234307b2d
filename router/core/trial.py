"""The trial: whether a challenger is right more often than the champion, found out while anybody may look at any time.

The test is by betting (I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", JRSS-B
86, 2024, section 4: capital processes; a mixture of fixed bets is its "diversified Kelly"). Against a claim that the
challenger's advantage is at most m, one stakes a part of what one has on each comparison to come. Where the claim is
true this is at best a fair game: from 1 one comes to 1/alpha at any time at all with a chance of alpha at most (Ville).
The lowest m against which one did *not* come so far is the lower end of the interval, and likewise the upper end. So
each end errs in at most a share `alpha` of the trials, over the whole trial, however often it is looked at.

Nobody knows the best stake beforehand, so a twelfth is bet by each of `STAKES`. What one has then depends on how often
each difference was seen and not on their order: the state of a trial is a table of counts. To tell 90 from 93 % right
(independent errors) it takes 2,000 requests in the median where both run each, and the plug-in empirical Bernstein
sequence of section 3 takes 4,200; where each request went to one of both it takes 5,100, half of them to either.

What is compared. *Paired*, where both ran the same requests: the difference of both on each request, which cancels what
makes requests hard. *Unpaired*, where each request went to one of them: each request of the one that has fewer is
compared with those that the other has answered meanwhile. So both always stand for the same minutes, and a share that
is raised while requests become easier makes nobody better. What rows of one request say hangs together, so a request
counts once, by the mean of its rows that came true together.

Unpaired, there are as many comparisons as the two follow each other, so their order has to mix them: a block of a
hundred answers of one and then a hundred of the other is one comparison and no hundred. And the order must be settled
without a look at what came true. That of `control/ledger_since` is both: by what came true together, then by the second
of the answer, then by lot. Within a second any request may be the next, so whatever was seen before, the next one is in
the mean as hard for the one as for the other: the bet on it is fair. An order that does not mix costs comparisons; it
makes no false winner.

What it takes for granted: whether requests are hard does not depend on who answers them. In a split by `route_key` this
is so of keys: where a few of them make most of the requests, only a shadow is compared fairly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

import numpy as np

from router.errors import InvalidRequest

Array = np.ndarray[Any, Any]

STEPS: Final = 840
"""Differences are counted in so many steps from -1 to 1: means of up to eight rows are exact. What lies between two
steps is taken for the one that speaks against whatever is to be shown."""
STAKES: Final = np.geomspace(0.01, 0.95, 12)
"""Parts of what one has that are bet."""
UNIT: Final = 10**9
"""The sum of the differences is kept in whole parts of this size: it is the same in whatever order they come."""
_HALVINGS: Final = 30
_NEAR: Final = 1e-6


class Judge(StrEnum):
    """When a row is right."""

    LABEL = "label"
    """It is what came true."""
    WITHIN = "within"
    """It is a number close enough to it."""
    CLOSER = "closer"
    """It is a number closer to it than the other's; only for pairs."""


class Pair(NamedTuple):
    """One row that both versions ran: how far each was off (`core/prediction`). Rows of a request that came true
    together have the same `turn`."""

    turn: int
    request: str
    champion: float
    challenger: float


class Answer(NamedTuple):
    """One row that one of both answered, and how far it was off."""

    turn: int
    request: str
    by_challenger: bool
    off: float


@dataclass(frozen=True, slots=True)
class Differences:
    """How often each difference was seen, from -1 to 1 (the challenger's advantage on one request).

    `counts` is by half steps: even ones lie on a step, odd ones between two. `total` is their sum times UNIT.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    total: int = 0

    @property
    def seen(self) -> int:
        """Comparisons."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """Of all differences; 0 where there are none."""
        return self.total / (UNIT * self.seen) if self.counts else 0.0

    def added(self, differences: Iterable[float]) -> Differences:
        """With these as well. Raises InvalidRequest for one that there cannot be."""
        counts, total = dict(self.counts), self.total
        for each in differences:
            if not -1.0 <= each <= 1.0:  # also what is no number
                raise InvalidRequest(f"a difference of {each:g} in a trial: it lies from -1 to 1")
            place = (1.0 + each) / 2.0 * STEPS
            near = round(place)
            half = 2 * near if abs(place - near) < _NEAR else 2 * math.floor(place) + 1
            counts[half] = counts.get(half, 0) + 1
            total += round(each * UNIT)
        return Differences(counts, total)

    def low(self, alpha: float) -> float:
        """What their true mean is not below, but for a share `alpha` of all trials."""
        if not self.counts:
            return -1.0
        places = np.array([half // 2 for half in self.counts]) / STEPS
        return 2.0 * _floor(places, np.array(list(self.counts.values())), alpha) - 1.0

    def high(self, alpha: float) -> float:
        """What it is not above, but for as many."""
        if not self.counts:
            return 1.0
        places = 1.0 - np.array([(half + 1) // 2 for half in self.counts]) / STEPS
        return 1.0 - 2.0 * _floor(places, np.array(list(self.counts.values())), alpha)

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"counts": sorted([half, count] for half, count in self.counts.items()), "total": self.total}


def capital(places: Array, counts: Array, claimed: float) -> Any:
    """The logarithm of what one has who began with 1 and bet that the mean of values from 0 to 1 is above `claimed`.

    `places` [k] are the values, `counts` [..., k] how often each came.
    """
    gains = np.log1p(STAKES[:, None] * (places / claimed - 1.0))  # [stakes, k]
    logs = counts @ gains.T  # [..., stakes]
    most = logs.max(axis=-1)
    return most + np.log(np.exp(logs - most[..., None]).mean(axis=-1))


def _floor(places: Array, counts: Array, alpha: float) -> float:
    """The lowest claim that cannot be rejected: what one has falls as the claim rises."""
    wanted = -math.log(alpha)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if middle > 0.0 and capital(places, counts, middle) >= wanted:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class Score:
    """How right a version was: `rows` that were compared, in `requests`, and the sum of the requests' shares of right
    rows."""

    rows: int = 0
    requests: int = 0
    right: float = 0.0

    @property
    def share(self) -> float | None:
        """Of the requests; None without any."""
        return self.right / self.requests if self.requests else None

    def __add__(self, other: Score) -> Score:
        return Score(self.rows + other.rows, self.requests + other.requests, self.right + other.right)


NOTHING: Final = Score()


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial has seen. `champion` and `challenger` hold what was compared, `waiting` what only one of both has
    answered since the last comparison: the champion's, the challenger's."""

    differences: Differences = field(default_factory=Differences)
    champion: Score = NOTHING
    challenger: Score = NOTHING
    waiting: tuple[Score, Score] = (NOTHING, NOTHING)

    @property
    def rows(self) -> int:
        """That came true and were compared, of the one that has fewer."""
        return min(self.champion.rows, self.challenger.rows)

    def paired(self, pairs: Sequence[Pair], judge: Judge, within: float | None = None) -> Trial:
        """With these pairs as well, in their order; all of a request that came true together. Raises InvalidRequest."""
        made, champion, challenger = [], self.champion, self.challenger
        by_request: dict[tuple[int, str], list[Pair]] = {}
        for pair in pairs:
            by_request.setdefault((pair.turn, pair.request), []).append(pair)
        for rows in by_request.values():
            scores = [_both(pair, judge, within) for pair in rows]
            first, second = (math.fsum(column) / len(rows) for column in zip(*scores, strict=True))
            made.append(second - first)
            champion += Score(len(rows), 1, first)
            challenger += Score(len(rows), 1, second)
        return replace(self, differences=self.differences.added(made), champion=champion, challenger=challenger)

    def separate(self, answers: Sequence[Answer], judge: Judge, within: float | None = None) -> Trial:
        """With these answers as well, in an order that mixes both and that no outcome has a part in; all of a request
        that came true together. Raises InvalidRequest."""
        if judge is Judge.CLOSER:
            raise InvalidRequest("who is closer can be told only where both ran the same requests")
        made: list[float] = []
        champion, challenger, waiting = self.champion, self.challenger, list(self.waiting)
        by_request: dict[tuple[int, str, bool], list[float]] = {}
        for turn, request, by_challenger, off in answers:
            by_request.setdefault((turn, request, by_challenger), []).append(_right(off, judge, within))
        for (_, _, second), rights in by_request.items():
            waiting[second] += Score(len(rights), 1, math.fsum(rights) / len(rights))
            shares = [score.share for score in waiting]
            if shares[0] is not None and shares[1] is not None:
                made.append(shares[1] - shares[0])
                champion, challenger, waiting = champion + waiting[0], challenger + waiting[1], [NOTHING, NOTHING]
        differences = self.differences.added(made)
        return Trial(differences, champion, challenger, (waiting[0], waiting[1]))

    def plain(self) -> dict[str, Any]:
        """As plain JSON values, from which `trial_of` makes the same."""
        scores = (self.champion, self.challenger, *self.waiting)
        return {**self.differences.plain(), "scores": [[each.rows, each.requests, each.right] for each in scores]}


def trial_of(plain: Mapping[str, Any]) -> Trial:
    """The trial of which these are the plain values. Raises InvalidRequest."""
    try:
        counts = {_whole(half): _whole(count) for half, count in plain["counts"]}
        total = plain["total"]
        scores = [Score(_whole(rows), _whole(requests), _share(right)) for rows, requests, right in plain["scores"]]
        champion, challenger, first, second = scores
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidRequest("the state of a trial is damaged: stop the trial and start it anew") from error
    fits = all(0 <= half <= 2 * STEPS for half in counts) and type(total) is int
    if not fits or abs(total) > UNIT * sum(counts.values()):
        raise InvalidRequest("the state of a trial contradicts itself: stop the trial and start it anew")
    return Trial(Differences(counts, total), champion, challenger, (first, second))


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _share(value: Any) -> float:
    if not 0 <= float(value) < math.inf:
        raise ValueError
    return float(value)


def _both(pair: Pair, judge: Judge, within: float | None) -> tuple[float, float]:
    """How right the champion was, and the challenger."""
    if judge is not Judge.CLOSER:
        return _right(pair.champion, judge, within), _right(pair.challenger, judge, within)
    for off in (pair.champion, pair.challenger):
        _check(off)
    return float(pair.champion < pair.challenger), float(pair.challenger < pair.champion)


def _right(off: float, judge: Judge, within: float | None) -> float:
    _check(off)
    if judge is Judge.LABEL:
        return float(off == 0)
    if within is None:
        raise InvalidRequest("how close a number has to be is not said: set `trial.within` in model.toml")
    return float(off <= within)


def _check(off: float) -> None:
    if not off >= 0:  # also what is no number
        raise InvalidRequest(f"a prediction that is off by {off:g}: it takes a distance of at least 0")
