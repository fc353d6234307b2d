"""A version on its way from a file to ready: loaded in a trial process, put through its gates, warmed if asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
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


class Examination:
    """Moves versions from found to ready or failed. Trials run beside everything else; only moves take the lock."""

    def __init__(self, changes: Changes, examiner: Examiner, lookout: Lookout, warmups: Warmups, room: Room) -> None:
        self._changes = changes
        self._examiner = examiner
        self._lookout = lookout
        self._warmups = warmups
        self._room = room

    async def run(self, model: str, number: str, order: Order, *, warm: bool) -> Report:
        """Test a version, and warm it; the last report. Raises NotFound, Refused, Conflict, NoRoom."""
        registry, key = self._changes.registry, (model, number)
        async with self._changes.turns.lock:
            record = registry.record(*key)
            found = self._found(record)
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
            return await self._tried(key, found, order, warm=warm)
        except (RouterError, asyncio.CancelledError) as error:
            await self._end(key, Stage.FAILED, order, str(error) or "its trial was broken off")
            raise
        except Exception:
            log.exception("a trial failed by a fault of ours", model=model, version=number)
            await self._end(key, Stage.FAILED, order, "its trial failed by a fault of the server: see its log")
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

    async def _tried(self, key: tuple[str, str], found: FoundModel, order: Order, *, warm: bool) -> Report:
        changes = self._changes
        began = changes.clock()
        reasons = await self._lookout.inspect({key: found})
        if key in reasons:
            unloadable = Outcome("load", Verdict.FAIL, reasons[key], blocks=True)
            report = Report("test", *key, "", (unloadable,), began, changes.clock() - began)
            await self._end(key, Stage.FAILED, order, reasons[key], report)
            return report
        version = changes.versions[key]
        await self._move(key, Stage.TESTING, order, "its gates are being tried", digest=version.digest)
        first = changes.registry.at(key[0], Stage.CHAMPION)
        champion = changes.versions.get((first.model, first.number)) if first is not None else None
        report = await self._examiner.test(version, champion, found.settings, found.exam, self._gate(key))
        if not report.passed:
            await self._end(key, Stage.FAILED, order, why(report), report)
            return report
        takes = session_bytes(report)
        if warm:
            await self._move(key, Stage.WARMING, order, "on copies of live requests", report, memory_bytes=takes)
            report = await self._warmups.warm(version, champion, found.settings, self._progress(key))
            if not report.passed:
                await self._end(key, Stage.FAILED, order, why(report), report)
                return report
        self._room.check(version, takes, found.settings.sessions.replicas)
        passed = "passed its gates and its warm-up" if warm else "passed its gates"
        await self._end(key, Stage.READY, order, passed, report, memory_bytes=takes, warmed=warm)
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

    async def _move(
        self,
        key: tuple[str, str],
        stage: Stage,
        order: Order,
        reason: str,
        report: Report | None = None,
        **changed: object,
    ) -> None:
        async with self._changes.turns.lock:
            draft = Draft(reports=[report] if report is not None else [])
            draft.put(
                self._changes.registry.moved(self._changes.registry.record(*key), stage, order, reason, **changed)
            )
            await self._changes.commit(draft)

    async def _end(
        self,
        key: tuple[str, str],
        stage: Stage,
        order: Order,
        reason: str,
        report: Report | None = None,
        **changed: object,
    ) -> None:
        """The verdict: the version is ready in all workers, or failed."""
        changes, registry = self._changes, self._changes.registry
        async with changes.turns.lock:
            record = registry.record(*key)
            if record.stage not in UNDER_TRIAL:  # it has ended already
                return
            draft = Draft(reports=[report] if report is not None else [])
            if record.stage is Stage.LOADING and stage is Stage.READY:
                record = registry.moved(record, Stage.TESTING, order)
            draft.put(registry.moved(record, stage, order, reason, **changed))
            verdict: dict[str, object] = {"stage": str(stage), "why": reason}
            draft.entries.append(changes.entry(order, "verdict", *key, {}, verdict))
            if stage is Stage.READY:
                draft.must = key
            else:
                changes.versions.pop(key, None)
                log.warning("a version has failed", model=key[0], version=key[1], reason=reason)
            await changes.commit(draft)

    async def made_ready(self, record: VersionRecord, order: Order) -> VersionRecord:
        """A version loaded without its gates, as a way back. The lock is held. Raises NotFound, Refused, NoRoom."""
        key = (record.model, record.number)
        if record.stage in UNDER_TRIAL or record.stage is Stage.DRAINING:
            raise Conflict(f"version {record.number} of model '{record.model}' is {record.stage}: try again")
        found = self._found(record)
        reason = (await self._lookout.inspect({key: found})).get(key)
        if reason is not None:
            raise Refused(f"version {record.number} of model '{record.model}' cannot be loaded: {reason}")
        version = self._changes.versions[key]
        self._room.check(version, record.memory_bytes, found.settings.sessions.replicas)
        stages = (Stage.LOADING, Stage.TESTING, Stage.READY)
        fresh = replace(record, digest=version.digest)
        return walk(self._changes.registry, fresh, stages, order, "loaded without its gates")
