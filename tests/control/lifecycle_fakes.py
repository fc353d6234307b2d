"""A lifecycle's surroundings: workers with gates, a store that fails, trials that say what they are told."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from router.control import artefact
from router.control.inspection import Request, Result
from router.control.lifecycle import Lifecycle
from router.control.records import AuditRecord, Case, Change, Entry, Order, Stored, VersionRecord
from router.control.room import Room
from router.control.swap import Refusal, Swap
from router.control.warmup import Wanted
from router.core.audit import Verified
from router.core.gate import Outcome, Report, Verdict
from router.core.table import Route, Version, VersionState, VersionTable
from router.core.tensor import Signature, TensorSpec
from router.core.vitals import Vitals
from router.core.warmup import Figures
from router.model_settings import ModelSettings, SessionsSettings
from tests.control.ledger_fakes import FakeLedger

ADA, BOB = Order("ada", "it is better"), Order("bob", "it is worse")
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1,), ("n",)),), (TensorSpec("y", "FP32", (-1,), ("n",)),))


class House:
    """A repository on disk, fakes around it, and the order of what happened in `events`."""

    def __init__(self, root: Path, *models: str) -> None:
        self.root = root / "models"
        self.root.mkdir()
        self.events: list[str] = []
        self.broken: set[str] = set()
        self.stored = VersionTable(0, {})
        self.records: dict[tuple[str, str], VersionRecord] = {}
        self.frozen: frozenset[str] = frozenset()
        self.every_case: dict[int, Case] = {}
        self.importance: Mapping[str, str] = {}
        self.ledger = FakeLedger()
        self.vitals: dict[tuple[str, str], Vitals] = {}
        self.wanted: Wanted = {}
        """What is to run on copies."""
        self.figures: dict[tuple[str, str, str], Figures] = {}
        """What is seen of those: by model, number and reference."""
        self.up = 0.0
        """Seconds of the clock that never jumps."""
        self.entries: list[Entry] = []
        self.kept: list[Report] = []
        self.failing: dict[str, str] = {}
        self.warmth = asyncio.Event()
        self.now = 1000.0
        self.memory = 1 << 30
        self.takes = 0
        self.evidence: dict[str, Report] = {}
        self.tested: list[tuple[str, str, str]] = []
        self.store_error: Exception | None = None
        self.word = 0
        self.open: set[int] = set()
        self.fenced: list[int] = []
        self.processes: dict[int, FakeWorker] = {}
        self.closed = 0
        self.signatures: dict[str, Signature] = {}
        self.trying = threading.Event()
        """A gate is being tried."""
        self.go_on = threading.Event()
        """Gates end once this is set, which it is unless a test clears it."""
        self.go_on.set()
        for model in models:
            self.put(model)

    def put(self, model: str, version: int = 1, content: str = "weights", *, complete: bool = True) -> None:
        """A version on disk; `complete`: with the empty file that says so."""
        directory = self.root / model / str(version)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_text(f"{content} of {model} {version}")
        if complete:
            (directory / artefact.COMPLETE).touch()

    def drop(self, model: str, version: int) -> None:
        """A version goes."""
        shutil.rmtree(self.root / model / str(version))

    def rename(self, version: str, output: str) -> None:
        """Have the output of `MODEL/NUMBER` go by another name."""
        self.signatures[version] = Signature(SIGNATURE.inputs, (TensorSpec(output, "FP32", (-1,), ("n",)),))

    def toml(self, model: str, text: str) -> None:
        """A model.toml."""
        (self.root / model / "model.toml").write_text(text)

    def reboot(self) -> None:
        """Every process of the server has ended, and it is started again."""
        self.word = 0
        self.open.clear()
        self.events.clear()

    # The word.
    @property
    def generation(self) -> int:
        """What the word says."""
        return self.word

    @generation.setter
    def generation(self, generation: int) -> None:
        assert generation >= self.word, "the word went back"
        self.events.append(f"word {generation}")
        self.word = generation

    # The store.
    def load(self) -> Stored:
        """What is stored."""
        if self.store_error is not None:
            raise self.store_error
        cases = tuple(each for each in self.every_case.values() if each.open)
        return Stored(
            self.stored, dict(self.records), self.frozen, cases, max(self.every_case, default=0), self.importance
        )

    def save(self, change: Change) -> None:
        """Store."""
        if self.store_error is not None:
            raise self.store_error
        if change.table is not None:
            self.events.append(f"stored {change.table.generation}")
            self.stored = change.table
        self.records |= {(each.model, each.number): each for each in change.records}
        self.kept += change.reports
        self.entries += change.entries
        if change.frozen is not None:
            self.frozen = change.frozen
        self.every_case |= {each.id: each for each in change.cases}
        if change.importance is not None:
            self.importance = change.importance

    def cases(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> list[Case]:
        """Those that were ever stored, newest first."""
        found = [
            each
            for each in sorted(self.every_case.values(), key=lambda case: -case.id)
            if model in {"", each.model} and number in {"", each.number} and kind in {"", each.kind}
        ]
        return found[:last] if last else found

    def champions(self, model: str) -> list[str]:
        """Those that the entries name, the latest first."""
        crowned = [each.after.get("champion") for each in self.entries if each.model == model]
        return [str(number) for number in dict.fromkeys(reversed(crowned)) if number]

    def audit(self, model: str = "", last: int = 100) -> list[AuditRecord]:
        """The entries, without their hashes."""
        mine = [each for each in self.entries if not model or each.model in {"", model}]
        return [AuditRecord(place, each, "", "") for place, each in enumerate(mine, 1)][-last:]

    def verify(self, head: str = "") -> Verified:  # noqa: ARG002
        """All is well."""
        return Verified(True, len(self.entries), "")

    def reports(self, model: str, number: str = "", kind: str = "", last: int = 0) -> list[Report]:  # noqa: ARG002
        """Those of a version."""
        return [each for each in self.kept if (each.model, each.number) == (model, number)]

    # The gates.
    def test(
        self,
        candidate: Version,
        champion: Version | None,
        settings: ModelSettings,  # noqa: ARG002
        exam: Path | None,  # noqa: ARG002
        told: Callable[[Outcome], None],
    ) -> Report:
        """What is in `failing` does."""
        self.tested.append((candidate.model, candidate.number, champion.number if champion else ""))
        self.trying.set()
        assert self.go_on.wait(10)
        reason = self.failing.get(f"{candidate.model}/{candidate.number}")
        verdict = Verdict.PASS if reason is None else Verdict.FAIL
        outcome = Outcome("exam", verdict, reason or "well", blocks=True)
        told(outcome)
        memory = Outcome("memory", Verdict.PASS, "", figures={"session_bytes": self.takes})
        return Report("test", candidate.model, candidate.number, candidate.digest, (outcome, memory), self.now, 1.0)

    # The evidence.
    def recall(self, version: Version, settings: ModelSettings, exam: Path | None) -> Report | None:  # noqa: ARG002
        """That of `keep`."""
        return self.evidence.get(version.digest)

    def keep(self, report: Report, version: Version, settings: ModelSettings, exam: Path | None) -> None:
        """Nothing is kept."""

    # The warm-up.
    async def warm(
        self,
        version: Version,
        champion: Version | None,  # noqa: ARG002
        settings: ModelSettings,  # noqa: ARG002
        told: Callable[[Any], None],
    ) -> Report:
        """As long as `warmth` is not set."""
        told("one sample")
        await self.warmth.wait()
        reason = self.failing.get(f"warm {version.model}/{version.number}")
        verdict = Verdict.PASS if reason is None else Verdict.FAIL
        outcome = Outcome("agreement", verdict, reason or "well", blocks=True)
        return Report("warm", version.model, version.number, version.digest, (outcome,), self.now, 1.0)

    def set_observed(self, wanted: Wanted) -> None:
        """Remember."""
        self.wanted = wanted

    def observed(self, model: str, number: str, reference: str) -> Figures | None:
        """What is in `figures`."""
        return self.figures.get((model, number, reference))

    async def seen(self) -> Mapping[tuple[str, str], Vitals]:
        """What callers had of all versions."""
        return self.vitals

    # The trials.
    def inspect(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Everything is well but what is in `broken`."""
        for request in requests:
            name = f"{request.model}/{request.number}"
            ok = name not in self.broken and request.directory.is_dir()
            reason = "" if ok else "it is broken"
            digest = artefact.digest(request.directory) if ok else ""
            signature = self.signatures.get(name, SIGNATURE)
            yield Result(request.model, request.number, ok, reason, digest, signature, request.batching)

    def close(self) -> None:
        """Count."""
        self.closed += 1

    # The crew.
    def serving(self) -> set[int]:
        """Those whose port is open."""
        return set(self.open)

    def fence(self, index: int) -> None:
        """End one."""
        if index in self.open:
            self.fenced.append(index)
            self.open.discard(index)
            self.processes[index].gone = True

    def lifecycle(
        self,
        *wanted: str,
        explicit: bool = False,
        patience_s: float = 5.0,
        store: Any = None,
        word: Any = None,
        **more: Any,
    ) -> Lifecycle:
        """A controller's lifecycle, with another store or word if one is given, and whatever else it may take."""
        return Lifecycle(
            self.root,
            store=store or self,
            word=word or self,
            trials=self,
            gates=self,
            evidence=self,
            warmups=self,
            pairs=self.ledger,
            vitals=self.seen,
            crew=self,
            room=Room(lambda: self.memory, workers=2),
            explicit=explicit,
            wanted=wanted,
            patience_s=patience_s,
            clock=lambda: self.now,
            monotonic=lambda: self.up,
            **more,
        )

    def worker(self, index: int = 0) -> FakeWorker:
        """A worker that has not joined yet."""
        self.processes[index] = FakeWorker(self, index)
        return self.processes[index]


class FakeWorker:
    """Prepares what it is told, at its `gate`; refuses what is in `refuses` and not loaded; lets go at its `leases`."""

    def __init__(self, house: House, index: int) -> None:
        self.house = house
        self.index = index
        self.refuses: dict[str, str] = {}
        self.prepared: list[int] = []
        self.tables: dict[int, VersionTable] = {}
        self.retired: list[int] = []
        self.gate: asyncio.Event | None = None
        self.at_gate = asyncio.Event()
        self.leases: asyncio.Event | None = None
        self.preloaded: list[Route] = []
        self.loads: asyncio.Event | None = None
        self.gone = False
        self.fails: Exception | None = None

    @property
    def holds(self) -> set[str]:
        """What is loaded here."""
        versions = [version for table in self.tables.values() for version, _ in lanes(table)]
        return {f"{version.model}/{version.number}" for version in versions}

    def answers(self, model: str) -> str | None:
        """Which version answers for a model."""
        return self.tables[self.house.word].routes[model].champion

    async def preload(self, route: Route) -> Sequence[Refusal]:
        """Say what is refused; waits at `loads`, which is no other's gate."""
        if self.gone:
            raise ConnectionError
        self.preloaded.append(route)
        if self.loads is not None:
            await self.loads.wait()
        if self.gone:
            raise ConnectionError
        return self._refused(VersionTable(0, {route.model: route}))

    def _refused(self, table: VersionTable) -> list[Refusal]:
        loaded = set().union(*(lanes(each) for each in self.tables.values()))
        return [
            Refusal(version.model, version.number, self.refuses[name])
            for version, _ in sorted(lanes(table) - loaded, key=lambda lane: lane[0].path)
            if (name := f"{version.model}/{version.number}") in self.refuses
        ]

    async def prepare(self, table: VersionTable) -> Sequence[Refusal]:
        """Wait at the gate, then say what is refused."""
        if self.gone:
            raise ConnectionError
        self.house.events.append(f"worker {self.index} prepares {table.generation}")
        if self.gate is not None:
            self.at_gate.set()
            await self.gate.wait()
        if self.gone:
            raise ConnectionError
        if self.fails is not None:
            raise self.fails
        refusals = self._refused(table)
        if not refusals:
            self.prepared.append(table.generation)
            serves = {number: each for number, each in self.tables.items() if number <= self.house.word}
            self.tables = {**serves, table.generation: table}
        return refusals

    async def retire(self, before: int) -> None:
        """Let go once the leases have come back."""
        if self.leases is not None:
            await self.leases.wait()
        if self.gone:
            raise ConnectionError
        self.retired.append(before)
        self.tables = {number: table for number, table in self.tables.items() if number >= before}

    async def bind(self) -> None:
        """Open the port."""
        if self.gone:
            raise ConnectionError
        assert self.house.word in self.tables, "it would serve what it has not prepared"
        self.house.open.add(self.index)

    def die(self, lifecycle: Lifecycle | Swap) -> None:
        """As by kill -9."""
        self.gone = True
        self.house.open.discard(self.index)
        lifecycle.leave(self)
        for waiting in (self.gate, self.leases):
            if waiting is not None:
                waiting.set()


def lanes(table: VersionTable) -> set[tuple[Version, SessionsSettings]]:
    """What a table needs loaded."""
    return {
        (version, route.settings.sessions)
        for route in table.routes.values()
        for version in route.versions.values()
        if version.state is VersionState.READY
    }


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, soon."""

    async def bounded() -> None:
        await asyncio.wait_for(work, 20)

    asyncio.run(bounded())


async def settled(*conditions: Callable[[], bool]) -> None:
    """Let everything go on until the conditions hold."""
    for condition in conditions:
        for _ in range(2000):
            if condition():
                break
            await asyncio.sleep(0.001)
        assert condition()


async def started(house: House, workers: int = 2, **more: Any) -> tuple[Lifecycle, list[FakeWorker]]:
    """A lifecycle with workers that serve."""
    lifecycle = house.lifecycle(**more)
    await lifecycle.start()
    crew = [house.worker(i) for i in range(workers)]
    for worker in crew:
        await lifecycle.join(worker)
    await settled(lambda: all(worker.retired for worker in crew))
    house.events.clear()
    for worker in crew:
        worker.retired.clear()
    return lifecycle, crew


def stage(lifecycle: Lifecycle, model: str, number: str) -> str:
    """Where a version stands."""
    return record(lifecycle, model, number).stage.value


def record(lifecycle: Lifecycle, model: str, number: str) -> VersionRecord:
    """All that is known of a version."""
    (view,) = lifecycle.versions(model)
    return next(each for each in view.records if each.number == number)


def stages(lifecycle: Lifecycle, model: str) -> dict[str, str]:
    """Where all versions of a model stand, newest first."""
    (view,) = lifecycle.versions(model)
    return {each.number: each.stage.value for each in view.records}


async def promoted(house: House, lifecycle: Lifecycle, *models: str, version: int = 2) -> None:
    """A new version of each of these models, tested and promoted."""
    for model in models:
        house.put(model, version)
        await lifecycle.test(model, str(version), ADA)
        await lifecycle.promote(model, str(version), ADA)


def champions(lifecycle: Lifecycle) -> dict[str, str | None]:
    """Who answers for each model."""
    return {name: route.champion for name, route in lifecycle.table.routes.items()}
