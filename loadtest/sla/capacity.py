"""The highest rate at which a service level holds, and what servers do at the same rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from loadtest.errors import BenchError, ScenarioError
from loadtest.servers import ServerSpec, started
from loadtest.sla import compare
from loadtest.sla.requests import Pool
from loadtest.sla.run import Document, Run, lines
from loadtest.sla.scenario import Constant, Scenario
from loadtest.sla.subject import Subject, check_features, lay_out, named

FIRST: Final = 50.0
"""Requests/s that the search begins with."""
LEAST: Final = 0.5
MOST: Final = 20_000.0
CLOSE: Final = 0.05
"""The search ends when the bounds are this close."""
CONFIRMATIONS: Final = 2
"""So often in a row the level must hold at the rate that is told."""

Holds = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Probe:
    """One try at a rate: whether the level held, the latencies in seconds, and why it did not hold."""

    rate: float
    holds: bool
    p50: float
    p99: float
    answered: float
    why: str = ""


def search(holds: Holds, first: float = FIRST, most: float = MOST) -> float:
    """The highest rate at which `holds` says yes, to within `CLOSE`; 0 when it says no at `LEAST` too.

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
    """A rate that holds and one that does not, or the bounds of the search."""
    if not holds(first):
        low = _below(holds, first)
        return low, min(first, low * 2)
    low = first
    while low * 2 <= most:
        if not holds(low * 2):
            return low, low * 2
        low *= 2
    return low, most


def _below(holds: Holds, rate: float) -> float:
    """A rate that holds, found by halving; 0 when there is none."""
    while (rate := rate / 2) >= LEAST:
        if holds(rate):
            return rate
    return 0.0


def at_rate(scenario: Scenario, rate: float, seconds: float) -> Scenario:
    """The scenario's requests at one constant rate (Poisson), after a second to warm up, and without its actions."""
    phases = (
        Constant(name="warm-up", lasts="1s", measured=False, arrivals="poisson", rate=f"{rate:.6f}/s"),
        Constant(name="constant", lasts=f"{seconds}s", arrivals="poisson", rate=f"{rate:.6f}/s"),
    )
    return scenario.model_copy(update={"phase": phases, "action": ()})


class Bench:
    """One server at rates of our choice."""

    def __init__(self, scenario: Scenario, subject: Subject, seconds: float, kinds: tuple[Pool, ...]) -> None:
        self.subject = subject
        self._scenario = scenario
        self._seconds = seconds
        self._kinds = kinds
        self.probes: list[Probe] = []

    def run(self, rate: float) -> Document:
        """One run at a rate. Raises BenchError when it was interrupted."""
        scenario = at_rate(self._scenario, rate, self._seconds)
        with TemporaryDirectory(prefix="sla-run-") as folder:
            document = Run(scenario, self.subject, Path(folder), self._kinds).execute()
        if document["interrupted"]:
            raise BenchError("interrupted")
        return document

    def holds(self, rate: float) -> bool:
        """Whether the figures keep the level at a rate. A try is too short to be certain of them: that would let
        anything pass. With a sender that is late they say nothing, and nothing answered keeps nothing."""
        document = self.run(rate)
        measured = document["measured"]
        latency = measured["latency"]
        broken = [f"{line.name} {line.measured}" for line in lines(document) if not line.kept]
        good = not document["invalid"] and not broken and measured["counts"]["answered"] > 0
        why = "" if good else ", ".join(document["invalid"] or broken or ["nothing was answered"])
        answered = measured["counts"]["answered"] / measured["seconds"]
        self.probes.append(Probe(rate, good, latency["p50"], latency["p99"], answered, why))
        return good


def capacity(bench: Bench, progress: Callable[[Probe], None]) -> dict[str, Any]:
    """The capacity of a server under the scenario's level, with all tries."""

    def holds(rate: float) -> bool:
        good = bench.holds(rate)
        progress(bench.probes[-1])
        return good

    found = search(holds)
    return {"server": bench.subject.title, "capacity": found, "probes": [asdict(probe) for probe in bench.probes]}


@contextmanager
def servers(scenario: Scenario, specs: list[ServerSpec], targets: tuple[str, ...]) -> Iterator[list[Subject]]:
    """Servers to be compared, all up at once on one copy of the models."""
    with ExitStack() as stack:
        found = [stack.enter_context(named(target)) for target in targets]
        if specs:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sla-")))
            repository = folder / "models"
            lay_out(scenario.server, repository, folder / "withheld", scenario)
            names = tuple(dict.fromkeys(mix.model for mix in scenario.mix))
            for spec in specs:
                try:
                    server = stack.enter_context(started(spec, repository, names))
                except BenchError as error:
                    raise ScenarioError(f"{spec.title} does not start: {' '.join(str(error).split())}") from None
                found.append(Subject(f"127.0.0.1:{server.port}", spec.title, repository))
        for subject in found:
            check_features(scenario, subject)
        yield found


def latency(benches: list[Bench], rates: list[float], rounds: int, progress: Callable[[str], None]) -> list[Any]:
    """All servers at the same rates, in turn: the result of each server at each rate, the rounds put together."""
    table = []
    for rate in rates:
        documents: list[list[Document]] = [[] for _ in benches]
        for number in range(rounds):
            for index in _turned(len(benches), number):
                progress(f"{rate:.0f}/s  round {number + 1}/{rounds}  {benches[index].subject.title}")
                documents[index].append(benches[index].run(rate))
        table.append({"rate": rate, "rows": [merged(each) for each in documents]})
    return table


def merged(documents: list[Document]) -> dict[str, Any]:
    """Several runs of the same as one row: percentiles over all their requests."""
    hists = compare.whole([text for document in documents for text in document["slices"]])
    counts = [document["measured"]["counts"] for document in documents]
    return {
        "server": documents[0]["server"]["title"],
        "due": sum(each["due"] for each in counts),
        "answered": sum(each["answered"] for each in counts),
        "wrong": sum(each["wrong"] for each in counts),
        **hists,
    }


def _turned(count: int, number: int) -> list[int]:
    order = list(range(count))
    return order[number % count :] + order[: number % count]
