"""The rounds of the benchmark: every cell, every server in turn, and the ratios that come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

from loadtest.cells import TARGETS
from loadtest.measure import Bench, Measurement
from loadtest.plan import Plan
from loadtest.ratio import Ratio, ratio
from loadtest.servers import baseline

BASELINES: Final = (baseline(1), baseline(2))


@dataclass(frozen=True, slots=True)
class Figure:
    """What the rounds say about one server in one cell: medians, and the ratio to the better baseline."""

    per_second: float
    mean_us: float
    cpu_us: float
    ratio: Ratio | None
    target: float | None

    @property
    def missed(self) -> bool:
        """Whether there is a target and the ratio stays below it."""
        return self.target is not None and self.ratio is not None and not self.ratio.meets(self.target)


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements, and the figures by server and cell."""

    titles: dict[str, str]
    cells: list[str]
    measurements: list[Measurement]

    def figure(self, server: str, cell: str) -> Figure:
        """The figure of one server in one cell."""
        mine = self._of(server, cell)
        peers = [self._rates(spec.name, cell) for spec in BASELINES]
        is_peer = server in {spec.name for spec in BASELINES}
        return Figure(
            per_second=median(each.per_second for each in mine),
            mean_us=median(each.mean_us for each in mine),
            cpu_us=median(each.cpu_us for each in mine),
            ratio=None if is_peer else ratio(self._rates(server, cell), *peers),
            target=TARGETS.get(server, {}).get(cell),
        )

    def missed(self) -> list[str]:
        """The targets that were measured and not reached, one line each."""
        lines = []
        for server in self.titles:
            for cell in self.cells:
                figure = self.figure(server, cell)
                if figure.missed:
                    lines.append(f"{server} {cell}: {figure.ratio}, target {figure.target}")
        return lines

    def _of(self, server: str, cell: str) -> list[Measurement]:
        return [each for each in self.measurements if (each.server, each.cell) == (server, cell)]

    def _rates(self, server: str, cell: str) -> list[float]:
        return [each.per_second for each in self._of(server, cell)]


def play(bench: Bench, plan: Plan, progress: Callable[[str], None]) -> Results:
    """Measure every server in every cell, once a round. The baselines are always among them.

    All servers stay up; one is loaded at a time. Whoever went first goes last in the next round. `progress` is told
    what comes next, once per measurement.
    """
    every = [*plan.specs, *BASELINES]
    measurements = []
    with bench.servers(every) as servers:
        for server in servers:
            for name in bench.names:
                bench.compare(server, name)
        for number in range(plan.rounds):
            turn = number % len(servers)
            for cell in plan.cells:
                for server in servers[turn:] + servers[:turn]:
                    progress(f"round {number + 1}/{plan.rounds}  {cell}  {server.spec.title}")
                    measurements.append(bench.measure(server, cell, number, plan.seconds))
    return Results({spec.name: spec.title for spec in every}, [str(cell) for cell in plan.cells], measurements)
