"""The highest rate at which a service level holds, and what keeps it from being higher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.errors import ScenarioError
from loadtest.servers import ServerSpec
from loadtest.sla.requests import Pool
from loadtest.sla.result import Document, lines
from loadtest.sla.run import Run, pools
from loadtest.sla.scenario import MOST_PER_SENDER, MOST_REQUESTS, Constant, Scenario
from loadtest.sla.subject import Subject, check_features, lay_out, named, peer
from loadtest.sla.units import PartOf, spoken

FIRST: Final = 50.0
"""Requests/s that the search begins with."""
LEAST: Final = 0.5
CLOSE: Final = 0.05
"""The search ends when the bounds are this close."""
CONFIRMATIONS: Final = 2
"""So often in a row the level must hold at the rate that is told."""
WARM_UP_S: Final = 1.0

Holds = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Probe:
    """One try at a rate: whether the level held, the latencies in seconds, and why it did not hold.

    An `invalid` one has shown nothing of the server.
    """

    rate: float
    holds: bool
    p50: float
    p99: float
    answered: float
    why: str = ""
    invalid: bool = False


def search(holds: Holds, most: float = MOST_PER_SENDER, first: float = FIRST) -> float:
    """The highest rate up to `most` at which `holds` says yes, to within `CLOSE`; 0 when it says no at `LEAST` too.

    Doubling (or halving), then halving the gap; the rate that is told was confirmed anew, for one try may be luck.
    `holds` may be of two minds near the limit: a rate that fails its confirmation becomes the upper bound.
    """
    low, high = _bounds(holds, first, most)
    while low > 0:
        while high - low > CLOSE * high:
            middle = (low + high) / 2
            if holds(middle):
                low = middle
            else:
                high = middle
        if all(holds(low) for _ in range(CONFIRMATIONS)):
            return low
        # It was luck: look below.
        high, low = low, _below(holds, low)
    return 0.0


def _bounds(holds: Holds, first: float, most: float) -> tuple[float, float]:
    """A rate that holds and one that does not, or twice the highest that is tried."""
    if not holds(first):
        low = _below(holds, first)
        return low, min(first, low * 2)
    low = first
    while low < most:
        higher = min(low * 2, most)
        if not holds(higher):
            return low, higher
        low = higher
    return most, most


def _below(holds: Holds, rate: float) -> float:
    """A rate that holds, found by halving; 0 when there is none."""
    while (rate := rate / 2) >= LEAST:
        if holds(rate):
            return rate
    return 0.0


def ceiling(scenario: Scenario, seconds: float) -> float:
    """The highest rate that can be sent for so long."""
    return min(MOST_PER_SENDER * scenario.senders, MOST_REQUESTS / (WARM_UP_S + seconds))


def at_rate(scenario: Scenario, rate: float, seconds: float) -> Scenario:
    """The scenario's requests at one constant rate (Poisson), after a second to warm up, and without its actions.

    Raises ScenarioError when that is more than the senders manage.
    """
    if rate > (most := ceiling(scenario, seconds)):
        raise ScenarioError(
            f"{rate:.0f}/s for {seconds:g} s cannot be sent, at most {most:.0f}/s: lower the rate or raise `senders`"
        )
    phases = (
        Constant(name="warm-up", lasts=f"{WARM_UP_S}s", measured=False, arrivals="poisson", rate=f"{rate:.6f}/s"),
        Constant(name="constant", lasts=f"{seconds}s", arrivals="poisson", rate=f"{rate:.6f}/s"),
    )
    # Without actions there is nothing that could be held against the rest, and a try is too short for memory.
    left_out: dict[str, Any] = {"after": {}, "resident": None, "remembered": None, "age": None}
    if isinstance(scenario.sla.throughput, PartOf):  # of a phase that is not run
        left_out["throughput"] = None
    limits = scenario.sla.model_copy(update=left_out)
    return scenario.model_copy(update={"phase": phases, "action": (), "sla": limits})


class Bench:
    """One server at rates of our choice."""

    def __init__(self, scenario: Scenario, subject: Subject, seconds: float, kinds: tuple[Pool, ...]) -> None:
        self.subject = subject
        self.ceiling = ceiling(scenario, seconds)
        self._scenario = scenario
        self._seconds = seconds
        self._kinds = kinds
        self.probes: list[Probe] = []

    def at(self, rate: float) -> Scenario:
        """What is run at a rate. Raises ScenarioError when it cannot be sent."""
        return at_rate(self._scenario, rate, self._seconds)

    def run(self, rate: float) -> Document:
        """One run at a rate. Raises KeyboardInterrupt when it was interrupted: half a run says nothing of a rate."""
        with TemporaryDirectory(prefix="sla-run-") as folder:
            document = Run(self.at(rate), self.subject, Path(folder), self._kinds).execute()
        if document["interrupted"]:
            raise KeyboardInterrupt
        return document

    def holds(self, rate: float) -> bool:
        """Whether the figures keep the level at a rate. A try is too short to be certain of them: that would let
        anything pass. With a sender that is late they say nothing, and nothing answered keeps nothing."""
        document = self.run(rate)
        measured = document["measured"]
        latency = measured["latency"]
        broken = [f"{line.name} {line.measured}" for line in lines(document) if not line.kept]
        invalid = bool(document["invalid"])
        good = not invalid and not broken and measured["counts"]["answered"] > 0
        why = "" if good else ", ".join(document["invalid"] or broken or ["nothing was answered"])
        answered = measured["counts"]["answered"] / measured["seconds"]
        self.probes.append(Probe(rate, good, latency["p50"], latency["p99"], answered, why, invalid))
        return good


@contextmanager
def benches(
    scenario: Scenario, specs: list[ServerSpec], targets: tuple[str, ...], seconds: float
) -> Iterator[list[Bench]]:
    """Servers to be compared, all up at once on one copy of the models; those that run already first.

    All are asked the same, and what is expected comes from the models at hand, if any of the servers has them.
    Raises ScenarioError or Lacking when one of them cannot answer.
    """
    requests = scenario.model_copy(update={"action": ()})
    with ExitStack() as stack:
        found = [stack.enter_context(named(target)) for target in targets]
        if specs:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sla-")))
            lay_out(requests.server, folder / "models", folder / "withheld", requests)
            found += [stack.enter_context(peer(spec, folder / "models", requests)) for spec in specs]
        for subject in found:
            check_features(requests, subject)
            for mix in requests.mix:
                subject.metadata(mix.model, mix.version)
        kinds = pools(requests, next((each for each in found if each.repository is not None), found[0]))
        yield [Bench(requests, subject, seconds, kinds) for subject in found]


def capacity(bench: Bench, progress: Callable[[Probe], None]) -> dict[str, Any]:
    """The capacity of a server under the scenario's level, what bounds it, and all tries.

    An interrupt ends the search: then there are the tries, and no capacity.
    """

    def holds(rate: float) -> bool:
        good = bench.holds(rate)
        progress(bench.probes[-1])
        return good

    found = None
    with suppress(KeyboardInterrupt):
        found = search(holds, bench.ceiling)
    by, why = ("", "interrupted") if found is None else bounds(found, bench.probes)
    return {
        "server": bench.subject.title,
        "capacity": found,
        "bounded_by": by or None,
        "why": why,
        "interrupted": found is None,
        "probes": [asdict(probe) for probe in bench.probes],
    }


def bounds(found: float, probes: list[Probe]) -> tuple[str, str]:
    """What keeps a capacity from being higher, and how that showed: `server`, `sender` or `ceiling`.

    Only the first is the server's: with the others its capacity is at least so much.
    """
    failed = [probe for probe in probes if not probe.holds and probe.rate > found]
    if not failed:
        return "ceiling", f"the level held at {found:.0f}/s and no more is sent: raise `senders`"
    nearest = min(reversed(failed), key=lambda probe: probe.rate)
    return "sender" if nearest.invalid else "server", f"at {nearest.rate:.0f}/s {nearest.why}"


def told(result: dict[str, Any]) -> str:
    """A capacity as people read it."""
    if result["capacity"] is None:
        return "–"
    return ("" if result["bounded_by"] == "server" else "≥ ") + f"{result['capacity']:.0f}"


def tell(console: Console, probe: Probe) -> None:
    """A line for a try."""
    word = Text("holds", "green") if probe.holds else Text("fails", "red")
    line = Text.assemble(f"  {probe.rate:8.0f}/s  ", word, f"  p50 {spoken(probe.p50)}  p99 {spoken(probe.p99)}")
    console.print(line.append(f"  {probe.why}"), soft_wrap=True)


def show(console: Console, results: list[dict[str, Any]]) -> None:
    """The table for people, and for each server a sentence that says what the figure means."""
    table = Table(title="Capacity", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column("requests/s", justify="right")
    table.add_column("bounded by")
    for result in results:
        table.add_row(Text(result["server"]), told(result), result["bounded_by"] or "–")
    console.print(table)
    for result in results:
        least = "" if result["bounded_by"] in {"server", None} else "at least that: "
        console.print(Text(f"{result['server']}: {least}{result['why']}"), soft_wrap=True)
