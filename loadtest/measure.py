"""One measurement: a server under a load, its answers compared, its CPU time taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest import bench_models, h2load
from loadtest.bench_models import Question
from loadtest.cells import Cell
from loadtest.cpu import CpuMeter
from loadtest.errors import BenchError
from loadtest.h2load import Load, Summary
from loadtest.servers import Server, ServerSpec, started
from loadtest.witness import Witness

WARM_UP: Final = 1.0
"""Seconds of load before each measurement, not counted."""
ASK_PER_SECOND: Final = {"tiny": 20.0, "mid": 20.0, "large": 5.0}
QUESTIONS: Final = {"tiny": 16, "mid": 16, "large": 4}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run gave: requests/s, latencies in µs, CPU µs of the server per request, answers compared."""

    server: str
    cell: str
    round: int
    per_second: float
    mean_us: float
    sd_us: float
    min_us: float
    max_us: float
    requests: int
    cpu_us: float
    compared: int


@dataclass(frozen=True, slots=True)
class Bench:
    """The models on disk, the load's request as a file for h2load, and the questions for the witness."""

    repository: Path
    bodies: dict[str, Path]
    questions: dict[str, list[Question]]

    @classmethod
    def build(cls, directory: Path, names: tuple[str, ...]) -> Bench:
        """Make the models `names` in `directory`."""
        repository = directory / "models"
        bench_models.make(repository, names)
        bodies, questions = {}, {}
        for name in names:
            load, *asked = bench_models.questions(repository, name, 1 + QUESTIONS[name])
            bodies[name] = directory / f"{name}.frame"
            bodies[name].write_bytes(bench_models.frame(load.request))
            # The load's own request comes first: its reply's size is what the bytes are checked against.
            questions[name] = [load, *asked]
        return cls(repository, bodies, questions)

    @property
    def names(self) -> tuple[str, ...]:
        """The models that were made."""
        return tuple(self.bodies)

    @contextmanager
    def servers(self, specs: list[ServerSpec]) -> Iterator[list[Server]]:
        """All servers, ready; all of them are ended on leaving."""
        with ExitStack() as stack:
            yield [stack.enter_context(started(spec, self.repository, self.names)) for spec in specs]

    def compare(self, server: Server, name: str) -> None:
        """Ask a server every question about a model once. Raises BenchError at a wrong answer."""
        with _blame(server, name), self._witness(server, name) as witness:
            witness.ask_all()

    def reply_sizes(self, server: Server, name: str) -> range:
        """The sizes in bytes of right replies, found by asking every question once."""
        with _blame(server, name), self._witness(server, name) as witness:
            witness.ask_all()
            return witness.reply_sizes()

    def warm(self, server: Server, name: str, load: Load, seconds: float = WARM_UP) -> None:
        """Load that is not measured."""
        with _blame(server, name):
            h2load.run(server.port, self.bodies[name], load, seconds)

    def run(
        self, server: Server, name: str, load: Load, seconds: float, log: Path | None = None
    ) -> tuple[Summary, float, int]:
        """One checked run: h2load's summary, CPU seconds of the server, answers compared.

        Raises BenchError when a call failed, an answer was wrong, or a process of the server ended.
        """
        with _blame(server, f"{name} with {load}"), self._witness(server, name) as witness:
            with witness.watching():
                before = CpuMeter.read(server.pids)
                summary = h2load.run(server.port, self.bodies[name], load, seconds, log)
                cpu = CpuMeter.read(server.pids).seconds_since(before)
            server.check_alive()
            witness.verdict()
            if witness.asked == 0:
                raise BenchError("no answer was compared during the run")
            summary.check(load, witness.reply_sizes())
        return summary, cpu, witness.asked

    def measure(self, server: Server, cell: Cell, number: int, seconds: float) -> Measurement:
        """Warm up, then one checked run, in round `number`."""
        self.warm(server, cell.model, cell.load)
        summary, cpu, compared = self.run(server, cell.model, cell.load, seconds)
        return Measurement(
            server=server.spec.name,
            cell=str(cell),
            round=number,
            per_second=summary.per_second,
            mean_us=summary.mean_us,
            sd_us=summary.sd_us,
            min_us=summary.min_us,
            max_us=summary.max_us,
            requests=summary.succeeded,
            cpu_us=cpu * 1e6 / (summary.succeeded + compared),
            compared=compared,
        )

    def _witness(self, server: Server, name: str) -> Witness:
        return Witness(server.port, self.questions[name], ASK_PER_SECOND[name])


@contextmanager
def _blame(server: Server, what: str) -> Iterator[None]:
    try:
        yield
    except BenchError as error:
        raise BenchError(f"{server.spec.title}, {what}: {error}\n{server.tail()}".rstrip()) from None
