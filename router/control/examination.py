"""A version on its way from a file to ready: loaded in a trial process, put through its gates, warmed if asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import structlog

from router.control.change import Changes, Draft
from router.control.examiner import Examiner
from router.control.lookout import Lookout
from router.control.opening import session_bytes, walk, why
from router.control.records import Order, VersionRecord
from router.control.repository import FoundModel
from router.control.room import Room
from router.core.gate import Outcome, Report, Verdict
from router.core.table import Version
from router.core.version import UNDER_TRIAL, Stage
from router.errors import Conflict, NotFound, Refused, RouterError
from router.model_settings import ModelSettings

log = structlog.get_logger()


class Warmups(Protocol):
    """Runs versions on copies of live requests, in a process that serves nobody."""

    async def warm(
        self, version: Version, champion: Version | None, settings: ModelSettings, told: Callable[[Any], None]
    ) -> Report:
        """The report, once there is a verdict; cancelling ends the warm-up. Raises RouterError."""


@dataclass(slots=True)
class _Trial:
    """One version on its way. `reports` are still to be stored, `digest` is that of what was tried."""

    key: tuple[str, str]
    found: FoundModel
    order: Order
    warm: bool
    recall: bool
    reports: list[Report] = field(default_factory=list)
    digest: str = ""
    memory_bytes: int = 0


class Examination:
    """Moves versions from found to ready or failed. Trials run beside everything else; only moves take the lock."""

    def __init__(self, changes: Changes, examiner: Examiner, lookout: Lookout, warmups: Warmups, room: Room) -> None:
        self._changes = changes
        self._examiner = examiner
        self._lookout = lookout
        self._warmups = warmups
        self._room = room

    async def run(self, model: str, number: str, order: Order, *, warm: bool, recall: bool = False) -> Report:
        """Test a version, and warm it; the last report. `recall`: one that was made of the same will do.

        Raises NotFound, Refused, Conflict, NoRoom.
        """
        registry, key = self._changes.registry, (model, number)
        async with self._changes.turns.lock:
            record = registry.record(*key)
            trial = _Trial(key, self._found(record), order, warm, recall)
            if record.stage in UNDER_TRIAL:
                raise Conflict(
                    f"version {number} of model '{model}' is {record.stage} already: {record.actor} asked for it"
                )
            if record.stage in {Stage.CHAMPION, Stage.CHALLENGER, Stage.STANDBY}:
                raise Refused(f"version {number} of model '{model}' is its {record.stage}: it has been through this")
            draft = Draft()
            draft.put(registry.moved(record, Stage.LOADING, order, "being loaded in a trial process"))
            draft.entries.append(self._changes.entry(order, "warm" if warm else "test", *key))
            await self._changes.commit(draft)
        try:
            return await self._tried(trial)
        except (RouterError, asyncio.CancelledError) as error:
            await self._fail(trial, str(error) or "its trial was broken off")
            raise
        except Exception:
            log.exception("a trial failed by a fault of ours", model=model, version=number)
            await self._fail(trial, "its trial failed by a fault of the server: see its log")
            raise
        finally:
            await self._examiner.rest()

    def _found(self, record: VersionRecord) -> FoundModel:
        found = self._changes.registry.found.get(record.model)
        version = found.versions.get(record.number) if found is not None else None
        if found is None or version is None:
            raise NotFound(f"version {record.number} of model '{record.model}' is not in the repository any more")
        if version.reason and not version.left_out:
            raise Refused(f"version {record.number} of model '{record.model}': {version.reason}")
        return found

    async def _tried(self, trial: _Trial) -> Report:
        changes, key, found = self._changes, trial.key, trial.found
        began = changes.clock()
        reasons = await self._lookout.inspect({key: found})
        if key in reasons:
            unloadable = Outcome("load", Verdict.FAIL, reasons[key], blocks=True)
            report = Report("test", *key, "", (unloadable,), began, changes.clock() - began)
            return await self._failed(trial, report, reasons[key])
        version = changes.versions[key]
        trial.digest = version.digest
        await self._move(trial, Stage.TESTING, "its gates are being tried")
        first = changes.registry.at(key[0], Stage.CHAMPION)
        champion = changes.versions.get((first.model, first.number)) if first is not None else None
        known = None
        if trial.recall and first is None:  # what is remembered was compared with nobody
            known = await self._examiner.known(version, found.settings, found.exam)
        report = known or await self._examiner.test(version, champion, found.settings, found.exam, self._gate(key))
        if not report.passed:
            return await self._failed(trial, report, why(report))
        trial.reports.append(report)
        trial.memory_bytes = session_bytes(report)
        if trial.warm:
            await self._move(trial, Stage.WARMING, "on copies of live requests")
            report = await self._warmups.warm(version, champion, found.settings, self._progress(key))
            if not report.passed:
                return await self._failed(trial, report, why(report))
            trial.reports.append(report)
        self._room.check(version, trial.memory_bytes, found.settings.sessions.replicas)
        await changes.preload(version, found.settings)
        await self._pass(trial)
        return report

    def _gate(self, key: tuple[str, str]) -> Callable[[Outcome], None]:
        def told(outcome: Outcome) -> None:
            text = f"{outcome.gate}: {outcome.verdict}" + (f", {outcome.reason}" if outcome.reason else "")
            self._changes.events.tell("gate", *key, text, gate=outcome.gate, verdict=outcome.verdict)

        return told

    def _progress(self, key: tuple[str, str]) -> Callable[[Any], None]:
        def told(progress: Any) -> None:
            self._changes.events.tell("progress", *key, str(progress))

        return told

    async def _move(self, trial: _Trial, stage: Stage, reason: str) -> None:
        registry = self._changes.registry
        async with self._changes.turns.lock:
            draft = Draft(reports=trial.reports)
            draft.put(registry.moved(registry.record(*trial.key), stage, trial.order, reason))
            await self._changes.commit(draft)
            trial.reports = []

    # ---- the verdict ----

    async def _pass(self, trial: _Trial) -> None:
        """The version is ready in all workers. Raises Refused when one of them cannot load it."""
        registry, key = self._changes.registry, trial.key
        async with self._changes.turns.lock:
            draft, record = Draft(reports=trial.reports, must=key), registry.record(*key)
            warmed = trial.warm or record.warmed  # of the same files
            changed = {"digest": trial.digest, "memory_bytes": trial.memory_bytes, "warmed": warmed}
            passed = "passed its gates and its warm-up" if trial.warm else "passed its gates"
            draft.put(registry.moved(record, Stage.READY, trial.order, passed, **changed))
            self._note(draft, trial, Stage.READY, passed)
            await self._changes.commit(draft)

    async def _failed(self, trial: _Trial, report: Report, reason: str) -> Report:
        trial.reports.append(report)
        await self._fail(trial, reason)
        return report

    async def _fail(self, trial: _Trial, reason: str) -> None:
        """The version has failed, also where that cannot be stored now: then as well, and whoever asked learns it."""
        registry, key = self._changes.registry, trial.key
        async with self._changes.turns.lock:
            record = registry.record(*key)
            if record.stage not in UNDER_TRIAL:  # it has ended already
                return
            log.warning("a version has failed", model=key[0], version=key[1], reason=reason)
            draft = Draft(reports=trial.reports)
            draft.put(registry.moved(record, Stage.FAILED, trial.order, reason, warmed=False))
            self._note(draft, trial, Stage.FAILED, reason)
            try:
                await self._changes.commit(draft)
            except RouterError:
                self._changes.owe(draft)
                raise

    def _note(self, draft: Draft, trial: _Trial, stage: Stage, reason: str) -> None:
        verdict: dict[str, object] = {"stage": str(stage), "why": reason}
        draft.entries.append(self._changes.entry(trial.order, "verdict", *trial.key, {}, verdict))

    # ---- without a verdict ----

    async def fetch(self, model: str, number: str) -> None:
        """Have the workers load a version that has served before, and before anybody's turn. Raises RouterError.

        Nothing is done where that is not the way back: whoever has the turn says why.
        """
        record = self._changes.registry.records.get((model, number))
        if record is None or not record.digest or record.stage not in {Stage.RETIRED, Stage.FAILED}:
            return
        found = self._found(record)
        version = await self._loadable(record, found)
        await self._changes.preload(version, found.settings)

    async def made_ready(self, record: VersionRecord, order: Order) -> VersionRecord:
        """A version loaded without its gates; for whoever has the turn. Raises NotFound, Refused, Conflict, NoRoom."""
        if record.stage in UNDER_TRIAL or record.stage is Stage.DRAINING:
            raise Conflict(f"version {record.number} of model '{record.model}' is {record.stage}: try again")
        version = await self._loadable(record, self._found(record))
        stages = (Stage.LOADING, Stage.TESTING, Stage.READY)
        fresh = replace(record, digest=version.digest)
        return walk(self._changes.registry, fresh, stages, order, "loaded without its gates")

    async def _loadable(self, record: VersionRecord, found: FoundModel) -> Version:
        """What is known of a version whose files are as they were tried. Raises Refused, NoRoom."""
        key = (record.model, record.number)
        if not self._lookout.known(found, record):
            reason = (await self._lookout.inspect({key: found})).get(key)
            if reason is not None:
                raise Refused(f"version {record.number} of model '{record.model}' cannot be loaded: {reason}")
        version = self._changes.versions[key]
        self._room.check(version, record.memory_bytes, found.settings.sessions.replicas)
        return version
