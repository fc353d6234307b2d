"""A canary's surroundings: callers who are divided as the table says, and a clock that goes when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.control.lifecycle import Lifecycle
from router.control.records import Case
from router.control.rollout import Rollouts
from router.control.succession import Succession
from router.core.comparison import Kind, OutputFigures
from router.core.latency import BUCKETS, bucket
from router.core.standing import CaseKind
from router.core.table import Route, Version
from router.core.vitals import Vitals
from router.core.warmup import Figures, Source
from tests.control.lifecycle_fakes import ADA, House

QUICK = "[canary]\nsteps = [10, 50, 100]\nbake_seconds = 20\nmin_requests = 100\nmax_seconds = 300\n"


@dataclass
class Habit:
    """How a version does: shares of its requests that fail or are answered otherwise, seconds, share of equal rows."""

    failing: float = 0.0
    falling: float = 0.0
    seconds: float = 0.004
    alike: float = 1.0


@dataclass
class Callers:
    """`per_second` of each model; what they had of each version so far is in `vitals`."""

    table: Callable[[], Mapping[str, Route]]
    per_second: float = 400.0
    habits: dict[str, Habit] = field(default_factory=dict)
    vitals: dict[tuple[str, str], Vitals] = field(default_factory=dict)
    rows: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    failed: dict[tuple[str, str, str], str] = field(default_factory=dict)
    away: bool = False
    """The warm-up worker is."""
    crashes: dict[str, list[float]] = field(default_factory=dict)
    """When workers crashed in runs of a version."""
    error: Exception | None = None
    asked: int = 0

    def call(self, seconds: float) -> None:
        """Call for so long: each version gets its share, and does as it is wont to."""
        for model, route in self.table().items():
            shares = dict(route.split.shares)
            if route.champion is not None:
                shares[route.champion] = 100.0 - sum(shares.values())
            for number, share in shares.items():
                self._answered(model, number, round(self.per_second * seconds * share / 100))

    def _answered(self, model: str, number: str, requests: int) -> None:
        habit = self.habits.get(f"{model}/{number}", Habit())
        failures, fallbacks = round(requests * habit.failing), round(requests * habit.falling)
        buckets = [0] * BUCKETS
        answered = requests - failures - fallbacks
        for times, part in ((1.0, 0.9), (1.8, 0.09), (4.0, 0.01)):
            buckets[bucket(int(habit.seconds * times * 1e9))] += round(answered * part)
        key = (model, number)
        self.vitals[key] = self.vitals.get(key, Vitals()) + Vitals(requests, failures, fallbacks, tuple(buckets))
        rows, alike = self.rows.get(key, (0, 0))
        copies = self.vitals[key].requests // 2 - rows
        self.rows[key] = (rows + copies, alike + round(copies * habit.alike))

    async def ask(self) -> Mapping[tuple[str, str], Vitals]:
        """As workers say it."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return dict(self.vitals)

    def figures(self, model: str, number: str, reference: str) -> Figures | None:
        """Of the old champion beside the candidate: what that one did is compared, unless it is away. Of a shadow:
        whether it failed."""
        if failed := self.failed.get((model, number, reference)):
            return Figures(failed=failed)
        rows, alike = self.rows.get((model, reference), (0, 0))
        if self.table()[model].champion != number or self.away:
            return None
        outputs = (OutputFigures("label", Kind.LABEL, rows, alike),)
        return Figures(loaded=True, samples={Source.LIVE: rows}, rows=rows, outputs=outputs)

    def crashed(self, version: Version, since: float) -> int:
        """How often, since then."""
        return sum(each >= since for each in self.crashes.get(f"{version.model}/{version.number}", ()))


class Canary:
    """Rollouts of a lifecycle, with callers, and time that passes when `passes` is called."""

    def __init__(self, house: House, lifecycle: Lifecycle, callers: Callers | None = None) -> None:
        self.house = house
        self.lifecycle = lifecycle
        self.seconds = 0.0
        self.callers = callers or Callers(lambda: lifecycle.table.routes)
        self.callers.table = lambda: lifecycle.table.routes
        changes, planning, examination = lifecycle._changes, lifecycle._planning, lifecycle._examination
        self.rollouts = Rollouts(
            changes,
            planning,
            Succession(changes, planning, examination),
            examination,
            self.callers.ask,
            self.callers.figures,
            lambda: self.seconds,
            self.callers.crashed,
        )

    async def passes(self, seconds: float, upto: Callable[[], bool] = lambda: False) -> float:
        """So many seconds, second by second, or until then; how many it were."""
        began = self.seconds
        while self.seconds < began + seconds and not upto():
            self.seconds += 1.0
            self.house.now += 1.0
            self.callers.call(1.0)
            await self.rollouts.look()
        return self.seconds - began

    @property
    def case(self) -> Case:
        """The newest rollout of model a, as it is stored."""
        return self.house.cases("a", kind=CaseKind.ROLLOUT)[0]

    def share(self, number: str = "2") -> float:
        """What a version of model a has by now."""
        return self.lifecycle.table.routes["a"].split.shares.get(number, 0.0)


async def candidate(house: House, lifecycle: Lifecycle, number: int = 2, toml: str = QUICK, **more: Any) -> Canary:
    """A canary whose candidate is ready: version 2 of model a."""
    house.toml("a", toml)
    house.put("a", number)
    await lifecycle.refresh()
    await lifecycle.test("a", str(number), ADA)
    return Canary(house, lifecycle, **more)
