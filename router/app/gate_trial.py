"""The gates' process: `python -m router.app.gate_trial`. One question in, a line out for whatever is begun or known.

It loads a version and, beside it, the champion, gives both the same rows, and measures; what follows from that is
decided in router/core. If a version takes this process with it, or never lets it go, that is the finding;
router/control/gates.py, the parent, draws it.
"""

from __future__ import annotations

import contextlib
import math
import resource
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from router.app import gate_rows, trial_manners
from router.app.gate_loaded import Loaded, Time, no_memory, out_of_memory
from router.app.gate_measures import growth, times_of
from router.app.gate_rows import Rows
from router.app.gate_subject import Array, Overdue, Subject
from router.app.reasons import plain
from router.control import artefact, trial_rows
from router.control.gates import BLOCKING, LOAD, QUESTION, REPLY, SMOKE, Question, Reply
from router.control.inspection import SHOWN
from router.core.comparison import Comparison
from router.core.consistency import CONSISTENCY, consistency_gate
from router.core.contract import Contract, contract_of, declared_contract
from router.core.exam import EXAM, exam_gate
from router.core.gate import Outcome, Verdict, named
from router.core.growth import MEMORY, memory_gate
from router.core.invariance import BATCH, Company, batch_gate
from router.core.lineage import LINEAGE, lineage_gate
from router.core.marking import sheet
from router.core.promises import CONTRACT, Edge, Keeping, Kept, contract_gate
from router.core.robustness import ROBUSTNESS, Case, End, robustness_gate
from router.core.speed import SPEED, speed_gate
from router.core.tensor import BYTES
from router.core.tolerance import different
from router.errors import ModelBroken, ModelFailed, RouterError, SettingsError

COMPARED_ROWS: Final = 256
"""Rows that are answered where there is no exam."""
SLOW_RUN_S: Final = 0.005
"""A run that takes longer is not made dozens of times to show what was shown before."""
COMPANY_ROWS: Final = ((0.002, 24), (math.inf, 8))
"""Rows that are tried alone and in company, by the seconds that a run takes at most."""
LEAST_RUN_S: Final = 2.0
PATIENCE: Final = 50
"""A run with extreme input may take so many times as long as an ordinary one, and no less than the above."""
HASTE: Final = 5
"""Where there is not so much time; with less than this many times nothing is said of it."""
GRACE_S: Final = 1.0
"""Who watches gives a run so much more than it would be ended at."""
_MIB: Final = 1 << 20


class Trial:
    """One version on its way through the gates. `say` is told what is begun and what is known."""

    def __init__(self, question: Question, say: Callable[[Reply], None]) -> None:
        self._question = question
        self._say = say
        self._settings = question.settings.gates
        self._time = Time(question.limit_s)
        self._directory = Path(question.candidate.path).parent
        # On the exam, as far as both have come.
        self._answers: dict[str, Array] | None = None
        self._champion_answers: dict[str, Array] | None = None
        self._kept: Kept | None = None
        self._champion_kept: Kept | None = None

    def run(self) -> None:
        """All gates that are asked for. What is wrong with the version is an outcome."""
        steps: dict[str, Callable[[], Outcome]] = {
            SMOKE: self._smoke,
            LINEAGE: self._lineage,
            EXAM: self._examined,
            CONTRACT: self._contract,
            CONSISTENCY: self._consistency,
            BATCH: self._batch,
            SPEED: self._speed,
            MEMORY: self._memory,
            ROBUSTNESS: self._robustness,
        }
        try:
            self._loaded = Loaded(self._question, self._say, self._time)
        except ModelBroken as error:
            self._outcome(Outcome(LOAD, Verdict.FAIL, plain(str(error), self._directory), blocks=True))
            for gate in self._question.gates:
                self._outcome(Outcome(gate, Verdict.SKIP, "not tried: load failed", blocks=gate in BLOCKING))
            return
        for gate in self._question.gates:
            self._say(Reply(begun=gate))
            self._outcome(self._tried(gate, steps[gate]))

    def _tried(self, gate: str, step: Callable[[], Outcome]) -> Outcome:
        try:
            outcome = step()
        except Overdue as error:
            return self._wrong(
                gate, f"{error}: raise `gates.limit_s` in model.toml, which is {self._settings.limit_s:g}"
            )
        except (ModelFailed, ModelBroken, SettingsError) as error:
            if out_of_memory(error):
                return self._wrong(gate, no_memory(self._question))
            return self._wrong(gate, plain(str(error), self._directory))
        except MemoryError:
            return self._wrong(gate, no_memory(self._question))
        except _NoRows:
            reason = f"it answers no input that could be made up ({self._loaded.rows_wrong}): give it golden/*.npz"
            return Outcome(gate, Verdict.SKIP, reason, blocks=gate in BLOCKING)
        if self._loaded.note and gate in (EXAM, CONSISTENCY, SPEED):
            return replace(outcome, facts={**outcome.facts, "champion": self._loaded.note})
        return outcome

    def _wrong(self, gate: str, reason: str) -> Outcome:
        return Outcome(gate, Verdict.FAIL if gate in BLOCKING else Verdict.WARN, reason, blocks=gate in BLOCKING)

    def _outcome(self, outcome: Outcome) -> None:
        figures = {name: value for name, value in outcome.figures.items() if math.isfinite(value)}
        reason = artefact.shown(outcome.reason, 1000)
        self._say(Reply(outcome=replace(outcome, figures=figures, reason=reason)))

    def _left(self, part: float) -> float:
        """So much of the time that is left, in seconds."""
        return self._time.left(part)

    def _affordable(self, part: float) -> int:
        """How many rows can be answered one by one in a part of the time that is left."""
        return min(max(int(self._left(part) / max(self._loaded.ordinary_s, 1e-6)), 1), COMPARED_ROWS)

    @property
    def _rows(self) -> Rows:
        if self._loaded.rows is None:
            raise _NoRows
        return self._loaded.rows

    def _smoke(self) -> Outcome:
        examples, candidate = self._loaded.examples, self._loaded.candidate
        if examples.golden_wrong:
            return Outcome(SMOKE, Verdict.FAIL, examples.golden_wrong, blocks=True)
        if not examples.golden:
            return Outcome(SMOKE, Verdict.SKIP, "the version brings no golden/*.npz", blocks=True)
        specs = {spec.name: spec for spec in candidate.signature.outputs}
        wrong: list[str] = []
        compared, files = 0, len(examples.golden)
        for file in examples.golden:
            outputs = dict(zip(specs, candidate.run(file.inputs, self._left(0.2)), strict=True))
            for name, wanted in file.outputs.items():
                compared += wanted.size
                settings = self._settings
                why = different(specs[name], np.asarray(outputs[name]), wanted, settings.rtol, settings.atol)
                if why:
                    wrong.append(f"golden/{artefact.shown(file.name)}: output {named(name)} {why}")
        figures = {"files": float(files), "elements": float(compared), "outputs_wrong": float(len(wrong))}
        if wrong:
            return Outcome(SMOKE, Verdict.FAIL, "; ".join(wrong[:4]), blocks=True, figures=figures)
        reason = f"{compared} numbers and labels of {files} golden {'file' if files == 1 else 'files'} are met"
        return Outcome(SMOKE, Verdict.PASS, reason, blocks=True, figures=figures)

    def _lineage(self) -> Outcome:
        champion = self._question.champion
        names = (champion.number, champion.digest) if champion is not None else ("", "")
        return lineage_gate(self._loaded.pedigree, self._loaded.champion_pedigree, names)

    def _examined(self) -> Outcome:
        loaded, exam, wrong = self._loaded, self._loaded.examples.exam, self._loaded.examples.exam_wrong
        if self._question.exam is None:
            reason = "there is no exam: put labelled rows into the model's directory, exam/*.npz"
            return Outcome(EXAM, Verdict.SKIP, reason, blocks=True)
        if exam is None and not self._question.alike:
            reason = f"the signature is not the champion's, for which the exam was made: {wrong}"
            return Outcome(EXAM, Verdict.SKIP, reason, blocks=True)
        if exam is None:
            return Outcome(EXAM, Verdict.FAIL, wrong, blocks=True)
        asked = sheet(loaded.candidate.signature, exam.labels, self._settings)
        keep = {spec.name for spec in (asked.label, asked.scores, asked.value) if spec is not None}
        rows = gate_rows.of_exam(exam.inputs, loaded.candidate.signature)
        keeping, other = self._keeping(), self._keeping()
        answers = loaded.candidate.answers(rows, len(rows), self._left(0.4), keeping.add, keep)
        self._kept, self._answers = keeping.kept(), answers
        theirs: dict[str, Array] | None = None
        if loaded.champion is not None:
            self._say(Reply(begun=EXAM, what="the champion", champion=True))
            try:
                theirs = loaded.champion.answers(rows, len(rows), self._left(0.5), other.add, keep)
            except ModelFailed as error:
                loaded.note = f"the champion takes no part: {error}"
            else:
                self._champion_kept, self._champion_answers = other.kept(), theirs
            self._say(Reply(begun=EXAM))
        return exam_gate(asked, exam.labels, answers, theirs, self._settings)

    def _keeping(self, *, whole: bool = False) -> Keeping:
        return Keeping(self._promised(), whole=whole)

    def _promised(self) -> Contract:
        """The declared contract; without one, that numbers are finite. Raises SettingsError."""
        signature = self._question.candidate.signature
        return contract_of(self._question.settings.contract, signature) or declared_contract(signature, {})

    def _contract(self) -> Outcome:
        settings, loaded, rows = self._question.settings.contract, self._loaded, self._rows
        kept = self._kept
        if kept is None and rows.source != gate_rows.MADE_UP_INPUT:
            keeping = self._keeping(whole=rows.whole)
            loaded.candidate.answers(rows, self._affordable(0.1), self._left(0.2), keeping.add)
            kept = keeping.kept()
        source = rows.source if self._kept is None else gate_rows.EXAM
        names = [spec.name for spec in loaded.candidate.signature.outputs]
        promises = self._promised().promises
        whole = Contract(promises)  # one input is one row, or has none
        explicit = Contract({name: promises[name] if settings and name in settings.outputs else None for name in names})
        edges = []
        for what, feeds in gate_rows.edges(rows):
            outputs = self._edge(loaded.candidate, feeds)
            broken = whole.broken(outputs, 1) if outputs else ""
            theirs: str | None = None
            if loaded.champion is not None:
                given = self._edge(loaded.champion, feeds) if broken else []
                theirs = whole.broken(given, 1) if given else ""
            edges.append(Edge(what, broken, bool(broken and explicit.broken(outputs, 1)), theirs))
        declared = settings is not None
        return contract_gate(kept or Kept(), self._champion_kept, edges, declared=declared, source=source)

    def _edge(self, subject: Subject, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs; none where the version refuses such an input, which it may. Raises Overdue."""
        try:
            return [np.asarray(output) for output in subject.run(feeds, self._left(0.1))]
        except Overdue:
            raise
        except ModelFailed:
            return []

    def _consistency(self) -> Outcome:
        if self._loaded.champion is None:
            reason = self._loaded.note or "there is no champion to compare with"
            return Outcome(CONSISTENCY, Verdict.SKIP, reason)
        ours, theirs, source = self._answers, self._champion_answers, gate_rows.EXAM
        if ours is None or theirs is None:
            source = self._rows.source
            count = self._affordable(0.1)
            ours, theirs = (
                subject.answers(self._rows, count, self._left(0.2), lambda outputs, rows: None)  # noqa: ARG005
                for subject in (self._loaded.candidate, self._loaded.champion)
            )
        specs = [spec for spec in self._loaded.candidate.signature.outputs if spec.name in theirs and spec.name in ours]
        comparison = Comparison(specs)
        wrong = comparison.add({spec.name: theirs[spec.name] for spec in specs}, ours)
        if wrong:
            return Outcome(CONSISTENCY, Verdict.WARN, wrong)
        spreads = {spec.name: _spread(theirs[spec.name]) for spec in specs if spec.datatype != BYTES}
        settings = self._settings
        return consistency_gate(comparison.figures(), spreads, source, settings.agreement, settings.difference)

    def _batch(self) -> Outcome:
        candidate = self._company(self._loaded.candidate)
        champion = (
            self._company(self._loaded.champion) if candidate.reason and self._loaded.champion is not None else None
        )
        owner = self._question.settings.batch.rows_independent
        return batch_gate(candidate, self._loaded.candidate.version.batching, champion, owner)

    def _company(self, subject: Subject) -> Company:
        """What rows alone and in company show, and the same rows twice."""
        rows = self._rows
        count = min(len(rows), next(most for seconds, most in COMPANY_ROWS if self._loaded.ordinary_s <= seconds))
        with subject.limited(self._left(0.2)) as run:
            feeds = rows.several(count) if rows.joinable else rows.one(0)
            try:
                first, second = run(feeds), run(feeds)
            except Overdue:
                raise
            except ModelFailed as error:
                if not rows.joinable:
                    return Company(untried=f"trial runs failed: {error}")
                return Company(coupled=f"{count} rows that it answers alone fail together: {error}")
            for spec, one, other in zip(subject.signature.outputs, first, second, strict=True):
                if why := different(spec, np.asarray(other), np.asarray(one)):
                    return Company(again=f"output {named(spec.name)} {why}")
            if not rows.joinable:
                return Company()
            made = rows.source == gate_rows.MADE_UP_INPUT
            shown = subject.version.batching.decided_by == SHOWN or subject.joined <= 1
            if made and shown and self._loaded.ordinary_s > SLOW_RUN_S:
                return Company()  # the trial that every version goes through has shown it with input of this kind
            given = [] if made else [rows.one(place) for place in range(count)]
            why = trial_rows.agree(run, subject.signature, given=given if count > 1 else ())
            if not why and not made and subject.version.batching.decided_by != SHOWN and subject.joined > 1:
                why = trial_rows.agree(run, subject.signature)  # the owner's word has not been tried yet
        if why.startswith("trial runs failed"):
            return Company(untried=why)
        return Company(coupled=why)

    def _speed(self) -> Outcome:
        sizes = sorted({1, self._loaded.joined()})
        measured, distributions = times_of(
            self._loaded.candidate, self._loaded.champion, self._rows, sizes, self._left(0.4)
        )
        self._loaded.ordinary_s = max(self._loaded.ordinary_s, float(np.median(measured[0].candidate)))
        self._say(Reply(distributions=distributions))
        sla_ms = self._question.settings.deadline.sla_ms
        return speed_gate(measured, None if sla_ms is None else sla_ms / 1e3, self._settings.slowdown)

    def _memory(self) -> Outcome:
        if self._loaded.rows is None:
            return memory_gate(self._loaded.session_bytes, 0, 0, self._settings.growth_mib * _MIB)
        grown, runs = growth(self._loaded.candidate, self._rows, self._loaded.joined(), self._left(0.4))
        return memory_gate(self._loaded.session_bytes, grown, runs, self._settings.growth_mib * _MIB)

    def _robustness(self) -> Outcome:
        ordinary_s = self._loaded.ordinary_s
        cases: list[Case] = []
        for what, feeds in gate_rows.extremes(self._rows):
            limit_s = min(max(LEAST_RUN_S, PATIENCE * ordinary_s), self._left(0.5))
            if limit_s < max(LEAST_RUN_S, HASTE * ordinary_s):
                return robustness_gate(cases, f"no time was left for {what} and more: raise `gates.limit_s`")
            self._say(Reply(begun=ROBUSTNESS, what=what, within_s=limit_s + GRACE_S))
            try:
                self._loaded.candidate.run(feeds, limit_s)
                cases.append(Case(what, End.ANSWERED))
            except Overdue:
                ordinary = f"one of ordinary input takes {ordinary_s * 1e3:.3g} ms"
                said = f"a run did not end within {limit_s:.3g} s, {ordinary}"
                cases.append(Case(what, End.HUNG, said))
                break
            except (ModelFailed, MemoryError) as error:
                cases.append(Case(what, End.REFUSED, plain(str(error), self._directory)))
        self._say(Reply(begun=ROBUSTNESS))
        return robustness_gate(cases)


class _NoRows(Exception):
    """There is no input that the version answers."""


def _spread(array: Array) -> float:
    """The standard deviation of the finite numbers."""
    numbers = array.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.std()) if numbers.size else 0.0


def _limit(question: Question) -> None:
    """Beyond what this process holds now it gets no more than it is allowed; nor more time of the processor."""
    held = 0
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        held = int(next(line for line in status if line.startswith("VmData:")).split()[1]) << 10
    allowed = held + question.memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    threads = max(1, question.candidate.intra_op_threads) + 1
    seconds = math.ceil(question.limit_s * threads) + 60  # a backstop: who asked ends it long before
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def main() -> None:
    """Answers one question."""
    begun = trial_manners.begin()
    if begun is None:
        return
    questions, answers = begun

    def say(reply: Reply) -> None:
        answers.write(REPLY.dump_json(reply) + b"\n")
        answers.flush()

    say(Reply())  # listening
    question = QUESTION.validate_json(questions.get())
    _limit(question)
    try:
        Trial(question, say).run()
    except RouterError as error:
        say(Reply(fault=artefact.shown(str(error), 300)))
    except Exception as error:  # noqa: BLE001 - every question gets an answer
        why = plain(f"{type(error).__name__}: {error}", Path(question.candidate.path).parent)
        say(Reply(fault=why))
    else:
        say(Reply(done=True))


if __name__ == "__main__":
    main()
