"""Versions put through their gates, each in a process of its own that lives no longer than its test.

The process (router/app/gate_trial.py) is given what a version may take of time and memory. If the version takes it
along, or does not let it go, that is the gate's finding; what comes after is not tried any more.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
from pydantic import TypeAdapter

from router.control import artefact
from router.control.example_file import exam_digest
from router.control.trial_process import Ended, Silent, TrialProcess
from router.core.consistency import CONSISTENCY
from router.core.exam import EXAM
from router.core.gate import Distribution, Outcome, Report, Verdict
from router.core.growth import MEMORY
from router.core.invariance import BATCH
from router.core.likeness import signature_gate
from router.core.lineage import LINEAGE
from router.core.promises import CONTRACT
from router.core.robustness import ROBUSTNESS
from router.core.speed import SPEED
from router.core.table import Version
from router.errors import ModelBroken, Refused, RouterError
from router.model_settings import ModelSettings
from router.version_settings import GatesSettings

log = structlog.get_logger()

LOAD: Final = "load"
"""Told of only when it fails."""
SMOKE: Final = "smoke"
TRIED: Final = (SMOKE, LINEAGE, EXAM, CONTRACT, CONSISTENCY, BATCH, SPEED, MEMORY, ROBUSTNESS)
"""In this order: what is cheap comes first, what may take the process along comes last."""
BLOCKING: Final = frozenset({LOAD, SMOKE, EXAM, CONTRACT, BATCH, SPEED, MEMORY, ROBUSTNESS})
MEMORY_BYTES: Final = 1 << 30
MEMORY_FILES: Final = 4
"""Without `memory_limit_mib` a test may take so much, and the files of its versions so many times."""

_COMMAND: Final = (sys.executable, "-X", "faulthandler", "-m", "router.app.gate_trial")
_MIB: Final = 1 << 20

Told = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What the process is to find out. `alike`: the signatures are, so that both versions may be given the same."""

    candidate: Version
    champion: Version | None
    settings: ModelSettings
    exam: str | None
    gates: tuple[str, ...]
    limit_s: float
    memory_bytes: int
    alike: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """One line of the process: a gate that was `begun`, one that has an `outcome`, or the end.

    Of a gate that was begun: `what` is being tried, how long that may take (`within_s`, 0: as long as there is time),
    and whether it is the champion that runs. `fault` is one of ours.
    """

    begun: str = ""
    what: str = ""
    within_s: float = 0.0
    champion: bool = False
    outcome: Outcome | None = None
    distributions: tuple[Distribution, ...] = ()
    fault: str = ""
    done: bool = False


QUESTION: Final = TypeAdapter(Question)
REPLY: Final = TypeAdapter(Reply)


@dataclass(frozen=True, slots=True)
class _Loss:
    """The process is lost: what it had begun, and how it went."""

    last: Reply
    how: str


class Gates:
    """Puts versions through their gates, one after another. `start_limit_s` is how long the process may take to start.

    May be called from any thread.
    """

    def __init__(self, *, command: Sequence[str] = _COMMAND, start_limit_s: float = 60.0) -> None:
        self._command = tuple(command)
        self._start_limit_s = start_limit_s
        self._testing = threading.Lock()
        self._lock = threading.Lock()
        self._child: TrialProcess | None = None
        self._closed = 0

    def close(self) -> None:
        """End the test that runs now, if there is one: it raises Refused. Does not wait for it."""
        with self._lock:
            self._closed += 1
            if self._child is not None:
                self._child.kill()

    def test(
        self,
        candidate: Version,
        champion: Version | None,
        settings: ModelSettings,
        exam: Path | None,
        told: Told = lambda outcome: None,  # noqa: ARG005
    ) -> Report:
        """The report; `told` of each gate as it ends, on this thread. Blocks for `settings.gates.limit_s` at most.

        What is wrong with the version is an outcome. Raises RouterError for what is not: the process cannot start, or
        `close` was called.
        """
        with self._testing:
            return _Test(self, candidate, champion, settings, exam, told).report()

    @property
    def closed(self) -> int:
        """How often `close` was called."""
        return self._closed

    def started(self, closed: int) -> TrialProcess:
        """A process that listens. Raises RouterError; Refused when `close` was called since it had been so often."""
        try:
            with self._lock:
                if self._closed != closed:
                    raise Refused("the test was ended")
                child = self._child = TrialProcess(self._command)
            child.receive(self._start_limit_s)  # its greeting
        except (Ended, Silent, OSError, ValueError) as error:
            lines = self.ended()
            if self._closed != closed:
                raise Refused("the test was ended") from error
            why = lines[-1] if lines else str(error)
            raise RouterError(f"the process for the gates cannot start: {artefact.shown(why, 200)}") from error
        return child

    def ended(self) -> tuple[str, ...]:
        """End the process; the last lines it wrote."""
        with self._lock:
            child, self._child = self._child, None
        return child.end() if child is not None else ()


class _Test:
    """One version on its way through the gates."""

    def __init__(
        self,
        gates: Gates,
        candidate: Version,
        champion: Version | None,
        settings: ModelSettings,
        exam: Path | None,
        told: Told,
    ) -> None:
        self._gates = gates
        self._closed = gates.closed
        self._candidate = candidate
        self._champion = champion
        self._settings = settings
        self._exam = exam if exam is not None and exam.is_dir() else None
        self._told = told
        self._outcomes: list[Outcome] = []
        self._distributions: list[Distribution] = []
        self._until = time.monotonic() + settings.gates.limit_s
        self._note = ""
        """Why the champion takes no part any more."""

    def report(self) -> Report:
        """Try everything; what came of it."""
        began, started = time.time(), time.monotonic()
        digest = self._exam_digest()
        alike = signature_gate(self._candidate.signature, self._champion.signature if self._champion else None)
        self._tell(alike)
        wrong = self._changed()
        if wrong:
            self._lost(TRIED, LOAD, wrong)
        else:
            self._try(alike.verdict is not Verdict.FAIL)
            if wrong := self._changed():
                self._tell(Outcome(LOAD, Verdict.FAIL, wrong, blocks=True))
        if digest != self._exam_digest():
            reason = "the exam's files changed while they were read: test again when they are complete"
            self._tell(Outcome(EXAM, Verdict.FAIL, reason, blocks=True))
        champion = self._champion
        return Report(
            "test",
            self._candidate.model,
            self._candidate.number,
            self._candidate.digest,
            tuple(self._outcomes),
            began,
            time.monotonic() - started,
            champion.number if champion is not None else "",
            champion.digest if champion is not None else "",
            digest,
            tuple(self._distributions),
        )

    def _exam_digest(self) -> str:
        """Empty where there is no exam, or it cannot be read: that gate will say why."""
        if self._exam is None:
            return ""
        try:
            return exam_digest(self._exam)
        except OSError:
            return ""

    def _changed(self) -> str:
        """Whether the version's files are not what its digest names any more."""
        try:
            if self._candidate.digest in ("", artefact.digest(Path(self._candidate.path).parent)):
                return ""
        except ModelBroken as error:
            return str(error)
        return "its files have changed since it was found: put changed files under a new number"

    def _tell(self, outcome: Outcome) -> None:
        if outcome.gate in self._settings.gates.warn_only:
            verdict = Verdict.WARN if outcome.verdict is Verdict.FAIL else outcome.verdict
            outcome = replace(outcome, blocks=False, verdict=verdict)
        self._outcomes.append(outcome)
        self._told(outcome)

    def _try(self, alike: bool) -> None:
        """All gates that need runs. A champion that takes the process along takes no further part."""
        gates: Sequence[str] = TRIED
        champion = self._champion
        while gates:
            loss = self._ask(gates, champion, alike)
            if loss is None:
                return
            gate, left = loss.last.begun, self._until - time.monotonic()
            gates = gates[gates.index(gate) :] if gate in gates else gates
            if not loss.last.champion or left <= 0:
                what = f"{loss.last.what}: " if loss.last.what else ""
                self._lost(gates, gate, f"{what}{loss.how}")
                return
            self._note = f"the champion takes no part: {loss.how}"
            champion = None

    def _ask(self, gates: Sequence[str], champion: Version | None, alike: bool) -> _Loss | None:
        """Have a process try some gates; None when it came to its end. Raises RouterError."""
        settings = self._settings.gates
        child = self._gates.started(self._closed)
        last = Reply()
        how = ""
        try:
            question = Question(
                self._candidate,
                champion,
                self._settings,
                str(self._exam) if self._exam is not None else None,
                tuple(gates),
                max(self._until - time.monotonic(), 1.0),
                self._memory_bytes(settings),
                alike,
            )
            child.send(QUESTION.dump_json(question))
            while True:
                left = max(self._until - time.monotonic(), 0.0)
                reply = REPLY.validate_json(child.receive(min(left, last.within_s or left)))
                if reply.fault:
                    raise RouterError(f"the gates failed by a fault of the server: {reply.fault}")
                if reply.done:
                    return None
                if reply.begun:
                    last = reply
                self._distributions += reply.distributions
                if reply.outcome is not None:
                    self._tell(self._noted(reply.outcome))
                    gates = [gate for gate in gates if gate != reply.outcome.gate]
        except Ended as error:
            how = str(error)
        except Silent:
            limit = f"{settings.limit_s:g} s (`gates.limit_s`)"
            how = f"a run did not end within {last.within_s:.3g} s" if last.within_s else f"did not end within {limit}"
        except ValueError as error:
            raise RouterError("the process for the gates answered what cannot be understood") from error
        finally:
            lines = self._gates.ended()
            if how:
                facts = {"model": self._candidate.model, "version": self._candidate.number, "gate": last.begun}
                log.warning("the process for the gates was lost", how=how, lines=lines, **facts)
        if self._gates.closed != self._closed:
            raise Refused("the test was ended")
        if not last.begun:
            raise RouterError(f"the process for the gates cannot start: {how}")
        return _Loss(last, how)

    def _memory_bytes(self, settings: GatesSettings) -> int:
        if settings.memory_limit_mib is not None:
            return settings.memory_limit_mib * _MIB
        files = self._candidate.file_bytes + (self._champion.file_bytes if self._champion is not None else 0)
        return MEMORY_BYTES + MEMORY_FILES * files

    def _noted(self, outcome: Outcome) -> Outcome:
        if not self._note or outcome.gate not in (EXAM, CONSISTENCY, SPEED):
            return outcome
        return replace(outcome, facts={**outcome.facts, "champion": self._note})

    def _lost(self, gates: Sequence[str], gate: str, reason: str) -> None:
        """One gate failed in a way that leaves nothing to try the others with."""
        self._tell(Outcome(gate, Verdict.FAIL, reason, blocks=True))
        for other in gates:
            if other != gate:
                why = f"not tried: {gate} failed"
                self._tell(Outcome(other, Verdict.SKIP, why, blocks=other in BLOCKING))
