"""A run from scenario to result: prepare, send, watch, judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from loadtest import interrupt
from loadtest.errors import ScenarioError
from loadtest.sla import records, result
from loadtest.sla.actions import FaultAction, ProcessAction
from loadtest.sla.core_client import FORK_SUPPORT
from loadtest.sla.figures import Figures
from loadtest.sla.glance import Watcher, look
from loadtest.sla.job import READY, Job, split
from loadtest.sla.moves import Move, Moves
from loadtest.sla.records import Records, Source, State
from loadtest.sla.remembered import answer_bytes
from loadtest.sla.requests import Pool, pool
from loadtest.sla.resident import Resident
from loadtest.sla.result import Document
from loadtest.sla.scenario import Scenario
from loadtest.sla.schedule import CLOSED_PER_SECOND, Schedule, plan
from loadtest.sla.sender import AFTER_S
from loadtest.sla.subject import Subject, check_features, named, own
from loadtest.sla.timeline import Deed, Timeline

READY_S: Final = 60.0
"""Within which a sender has loaded what it needs."""
LEAD_S: Final = 0.2
"""From the moment when all are ready to the start, which they are told meanwhile."""
READY_LOOK_S: Final = 0.02
LOOK_S: Final = 0.5
LAST_S: Final = 0.1
"""After an interrupt, until the senders are told: what was due by then is not the server's fault."""


@contextmanager
def subject(scenario: Scenario, target: str | None) -> Iterator[Subject]:
    """The server of a scenario: the one at `target`, or one of the harness's own. It has what the scenario needs."""
    with named(target) if target else own(scenario) as found:
        check_features(scenario, found)
        yield found


def pools(scenario: Scenario, under_test: Subject) -> tuple[Pool, ...]:
    """The requests of each kind. Raises ScenarioError when one cannot be made."""
    made = []
    for number, mix in enumerate(scenario.mix):
        random = np.random.default_rng([scenario.seed, 1000 + number])
        metadata = under_test.metadata(mix.model, mix.version)
        folders = [each for each in (under_test.repository, under_test.withheld) if each is not None]
        made.append(pool(mix, metadata, folders, random, compared=scenario.check > 0))
    return tuple(made)


def notes(parts: Sequence[Schedule], states: Sequence[Any]) -> list[str]:
    """What who reads the figures must know: closed phases that ended early, by the rows' states of each sender."""
    early = [
        span.name
        for part, state in zip(parts, states, strict=True)
        for span in part.spans
        if span.in_flight and span.last > span.first and state[span.last - 1] != State.DUE
    ]
    return [
        f"phase {name!r} ended early: in a closed loop at most {CLOSED_PER_SECOND} requests are sent for each second of"
        " its length, and they were used up; its rate is higher than told here, ask for a rate in an open loop instead"
        for name in dict.fromkeys(early)
    ]


class Run:
    """One run of a scenario against a server that is there."""

    def __init__(self, scenario: Scenario, under_test: Subject, folder: Path, kinds: tuple[Pool, ...]) -> None:
        self.scenario = scenario
        self._subject = under_test
        self._folder = folder
        self._kinds = kinds
        self.schedule = plan(scenario, [len(each.messages) for each in kinds])
        self._parts = split(self.schedule, scenario.senders)
        self._senders: list[subprocess.Popen[bytes]] = []
        self._note = interrupt.Note()
        self.start = 0.0

    def execute(self, watch: Watcher | None = None) -> Document:
        """Send everything; the result. An interrupt ends it early, with a result all the same."""
        every = max(1, round(1 / self.scenario.check)) if self.scenario.check else 0
        lines = np.array_split(np.arange(self.scenario.connections), self.scenario.senders)
        for index, part in enumerate(self._parts):
            numbers = tuple(int(n) for n in lines[index]) or (index,)
            job = Job(
                self._subject.target, numbers, self.scenario.deadline, self.scenario.look, every, part, self._kinds
            )
            job.write(self._place(index))
            records.create(self._place(index), len(part))
        timeline = Timeline(self.scenario, self._subject)
        moves = Moves(self._subject.admin) if self._subject.admin and self._may_move() else None
        resident = Resident(self._subject.processes) if self._subject.ours else None
        with interrupt.noted() as self._note:
            try:
                self._launch()
                self._await_ready()
                self.start = time.monotonic() + LEAD_S
                self._tell_start()
                timeline.begin(self.start)
                for each in (moves, resident):
                    if each is not None:
                        each.begin(self.start)
                self._watch(watch)
            finally:
                # The load ends first: an action that is being done may take its time.
                self._stop()
                timeline.end()
                self._wait()
                moved = moves.end() if moves is not None else []
                held = resident.end() if resident is not None else {}
        return self._result(timeline.deeds, moved, held)

    def _may_move(self) -> bool:
        """Whether something is done that may change what serves."""
        return any(not isinstance(action, ProcessAction | FaultAction) for action in self.scenario.action)

    def _place(self, index: int) -> Path:
        return self._folder / f"sender-{index}"

    def _launch(self) -> None:
        for index in range(len(self._parts)):
            words = [sys.executable, "-m", "loadtest.sla.sender", str(self._place(index))]
            with (self._place(index) / "log").open("wb") as log:
                self._senders.append(
                    subprocess.Popen(
                        words, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                        env={**os.environ, FORK_SUPPORT: "1"},
                    )
                )  # fmt: skip

    def _await_ready(self) -> None:
        """Until all senders have loaded what they need, or an interrupt. Raises ScenarioError when one does not."""
        until = time.monotonic() + READY_S
        for index, sender in enumerate(self._senders):
            while not (self._place(index) / READY).exists() and self._note.at is None:
                if sender.poll() is not None:
                    raise ScenarioError("; ".join(self._crashed()))
                if time.monotonic() > until:
                    raise ScenarioError(f"sender {index} is not ready within {READY_S:.0f} s: give it a freer machine")
                time.sleep(READY_LOOK_S)

    def _tell_start(self) -> None:
        for sender in self._senders:
            assert sender.stdin is not None
            with suppress(BrokenPipeError), sender.stdin:  # one that has crashed is told in the result
                sender.stdin.write(f"{self.start!r}\n".encode())

    def _watch(self, watch: Watcher | None) -> None:
        """Until all senders have ended, or an interrupt, or long after they should have."""
        until = self.start + self.scenario.seconds + self.scenario.deadline + AFTER_S + 15.0
        while any(sender.poll() is None for sender in self._senders):
            if self._note.at is not None:
                time.sleep(LAST_S)
                return
            if time.monotonic() > until:
                return
            time.sleep(LOOK_S)
            if watch is not None:
                parts = [(part, records.read(self._place(index), len(part))) for index, part in enumerate(self._parts)]
                watch(look(self.schedule, parts, time.monotonic() - self.start, self.scenario.deadline))

    def _stop(self) -> None:
        for sender in self._senders:
            if sender.poll() is None:
                sender.terminate()

    def _wait(self) -> None:
        for sender in self._senders:
            if sender.stdin is not None:
                sender.stdin.close()
            try:
                sender.wait(self.scenario.deadline + AFTER_S + 5.0)
            except subprocess.TimeoutExpired:
                sender.kill()
                sender.wait()

    def _records(self) -> Records:
        """What the senders have written so far, in the order in which it was due."""
        sources: list[Source] = []
        columns: dict[str, list[Any]] = {name: [] for name in (*records.COLUMNS, "due", "used", "kind", "key")}
        for index, part in enumerate(self._parts):
            own = {name: np.array(column) for name, column in records.read(self._place(index), len(part)).items()}
            due = part.due.copy()
            used = np.ones(len(part), bool)
            for span in part.spans:
                if span.in_flight:  # a caller that waits for its answer means to send when it sends
                    mine = slice(span.first, span.last)
                    used[mine] = own["state"][mine] != State.DUE
                    due[mine] = np.where(used[mine], own["sent"][mine], 0)
            path = self._place(index) / "sources.json"
            told = [Source(*each) for each in json.loads(path.read_text())] if path.exists() else []
            # Before its end a sender has not said who the numbers are.
            known = max(int(own["source"].max(initial=0)) + 1, len(told))
            told += [Source("", "")] * (known - len(told))
            own["source"] = own["source"].astype(np.int64) + len(sources)
            sources += told
            extra = {"due": due, "used": used, "kind": part.kind, "key": part.key}
            for name, column in (own | extra).items():
                columns[name].append(column)
        whole = {name: np.concatenate(parts) for name, parts in columns.items()}
        order = np.argsort(whole["due"], kind="stable")
        return Records({name: column[order] for name, column in whole.items()}, tuple(sources))

    def _crashed(self) -> list[str]:
        said = []
        for index, sender in enumerate(self._senders):
            if sender.returncode and self._note.at is None:
                lines = (self._place(index) / "log").read_text(errors="replace").strip().splitlines()
                said.append(f"sender {index} ended with code {sender.returncode}: {lines[-1] if lines else ''}")
        return said

    def _result(self, deeds: list[Deed], moves: list[Move], resident: dict[str, Any]) -> Document:
        end = self.scenario.seconds
        figures = Figures(self._records(), self.scenario.deadline)
        if self._note.at is not None:
            # What was not due yet when the run was interrupted is nobody's fault.
            end = min(end, max(self._note.at - self.start, 0.0))
            figures = figures.cut(0.0, end)
        states = [records.read(self._place(i), len(part))["state"] for i, part in enumerate(self._parts)]
        return result.made(
            result.Left(
                self.scenario,
                self._subject,
                self.schedule.spans,
                figures,
                deeds,
                moves,
                resident,
                end,
                self._note.at is not None,
                self._crashed(),
                notes(self._parts, states),
                answer_bytes(self._kinds[0]) if len(self._kinds) == 1 else None,
            )
        )


def run(
    scenario: Scenario, target: str | None, watch: Watcher | None = None, ready: Callable[[Subject], None] | None = None
) -> Document:
    """The whole of it. Raises ScenarioError or Lacking before any load is sent, but for phases that rates are parts of.

    Raises KeyboardInterrupt when one of these is interrupted, ScenarioError when it shows nothing.
    """
    with subject(scenario, target) as found, TemporaryDirectory(prefix="sla-run-") as folder:
        kinds = pools(scenario, found)
        if ready is not None:
            ready(found)
        known: dict[str, float] = {}
        notes: list[str] = []
        for number, each in enumerate(scenario.calibrating):
            (phase,) = each.phase
            alone = Run(each, found, Path(folder) / f"calibration-{number}", kinds).execute(watch)
            known[phase.name] = rate = shown(alone, phase.name)
            notes.append(f"rates are parts of what phase {phase.name!r} was answered in time by itself, {rate:.0f}/s")
            notes += alone["notes"]
        document = Run(scenario.settled(known), found, Path(folder), kinds).execute(watch)
        document["notes"] = [*notes, *document["notes"]]
        return document


def shown(document: Document, phase: str) -> float:
    """What the callers of a closed phase were answered in time, in requests/s, by its run alone.

    Raises KeyboardInterrupt when that was interrupted, ScenarioError when it shows nothing.
    """
    if document["interrupted"]:
        raise KeyboardInterrupt
    if document["invalid"]:
        raise ScenarioError(f"phase {phase!r}, of which rates are parts: {document['invalid'][0]}")
    found = result.in_time(document["measured"]["counts"], document["measured"]["seconds"])
    if not found:
        raise ScenarioError(
            f"phase {phase!r} had no answer in time, and rates are parts of it: raise `deadline`, or give them as"
            ' text such as "500/s"'
        )
    return found
