"""How models begin to serve: from what is stored, or where nothing is, by the newest version that passes its gates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import structlog

from router.control.change import Changes, Draft
from router.control.examiner import Examiner
from router.control.lookout import NOT_ASKED, Lookout
from router.control.records import Order, VersionRecord
from router.control.registry import Registry
from router.control.repository import FoundModel
from router.core.gate import Outcome, Report
from router.core.version import SERVING, UNDER_TRIAL, Stage
from router.errors import RouterError

log = structlog.get_logger()

Key = tuple[str, str]
FIRST = "the first that passed its gates"


def walk(
    registry: Registry, record: VersionRecord, stages: Iterable[Stage], order: Order, reason: str
) -> VersionRecord:
    """The record after several moves at once."""
    for stage in stages:
        record = registry.moved(record, stage, order, reason)
    return record


class Opening:
    """Finds the first champions of models that have none."""

    def __init__(self, changes: Changes, examiner: Examiner, lookout: Lookout) -> None:
        self._changes = changes
        self._examiner = examiner
        self._lookout = lookout

    def settle(self, draft: Draft, wanted: Iterable[str] | None) -> None:
        """What was under way when the server ended is over. `wanted`: only these models go on, None: all that did."""
        registry, order = self._changes.registry, Order(reason="the server was started again")
        names = None if wanted is None else set(wanted)
        for record in registry.records.values():
            if record.stage is Stage.DRAINING:
                draft.put(registry.moved(record, Stage.RETIRED, order, record.reason))
            elif record.stage in UNDER_TRIAL:
                broken_off = "its trial was broken off when the server ended: test it again"
                draft.put(replace(record, stage=Stage.FAILED, reason=broken_off, since=self._changes.clock()))
            elif names is not None and record.model not in names and record.stage in SERVING:
                going = self._lookout.retired(record, order, NOT_ASKED)
                if going.stage is Stage.DRAINING:
                    going = registry.moved(going, Stage.RETIRED, order, NOT_ASKED)
                draft.put(going)

    async def begin(self, draft: Draft, models: Iterable[FoundModel], order: Order) -> dict[str, str]:
        """Give each of these models a champion; the reasons of those for which there is none."""
        models = [each for each in models if not each.reason]
        asked = {(each.name, number): each for each in models for number in self._candidates(each)}
        reasons = await self._lookout.inspect(asked)
        failures: dict[str, str] = {}
        for found in models:
            passed = await self._passing(draft, found, self._candidates(found), reasons, order, first=False)
            if not passed and found.settings.lifecycle.initial_champion is None:
                older = found.older()
                for number in older:
                    reasons |= await self._lookout.inspect({(found.name, number): found})
                    passed = await self._passing(draft, found, [number], reasons, order, first=True)
                    if passed:
                        break
            if passed:
                self._crown(draft, passed, order)
            else:
                tried = [draft.records.get((found.name, n)) for n in found.versions]
                failures[found.name] = "; ".join(f"version {r.number}: {r.reason}" for r in tried if r is not None)
        await self._examiner.rest()
        return failures

    @staticmethod
    def _candidates(found: FoundModel) -> list[str]:
        chosen = found.settings.lifecycle.initial_champion
        if chosen is not None:
            return [str(chosen)] if str(chosen) in found.versions else []
        return found.chosen()

    async def _passing(
        self,
        draft: Draft,
        found: FoundModel,
        numbers: Iterable[str],
        reasons: dict[Key, str],
        order: Order,
        *,
        first: bool,
    ) -> list[VersionRecord]:
        """The versions that pass, in the same order; `first`: the first will do."""
        registry = self._changes.registry
        passed: list[VersionRecord] = []
        for number in numbers:
            key = (found.name, number)
            record = draft.records.get(key) or registry.record(*key)
            loading = record if record.stage is Stage.LOADING else registry.moved(record, Stage.LOADING, order)
            if key in reasons:
                log.warning("a version cannot be served", model=found.name, version=number, reason=reasons[key])
                draft.put(registry.moved(loading, Stage.FAILED, order, reasons[key]))
                continue
            version = self._changes.versions[key]
            try:
                report = await self._examiner.known(version, found.settings, found.exam)
                if report is None:
                    report = await self._examiner.test(version, None, found.settings, found.exam, _nobody)
            except RouterError as error:  # a fault of the machine keeps this version from serving, not the server
                log.error("a version could not be tested", model=found.name, version=number, reason=str(error))
                draft.put(registry.moved(loading, Stage.FAILED, order, str(error)))
                continue
            draft.reports.append(report)
            testing = registry.moved(replace(loading, digest=version.digest), Stage.TESTING, order)
            if report.passed:
                ready = registry.moved(testing, Stage.READY, order, "passed its gates")
                ready = replace(ready, memory_bytes=session_bytes(report))
                draft.put(ready)
                passed.append(ready)
                if first:
                    break
            else:
                reason = why(report)
                log.warning("a version failed its gates", model=found.name, version=number, reason=reason)
                draft.put(registry.moved(testing, Stage.FAILED, order, reason))
                self._changes.versions.pop(key, None)
        return passed

    def _crown(self, draft: Draft, passed: list[VersionRecord], order: Order) -> None:
        newest = max(passed, key=lambda each: int(each.number))
        draft.put(self._changes.registry.moved(newest, Stage.CHAMPION, order, FIRST))
        before: dict[str, object] = {"champion": None}
        after: dict[str, object] = {"champion": newest.number}
        draft.entries.append(self._changes.entry(order, "began", newest.model, newest.number, before, after))


def why(report: Report) -> str:
    """Why a report keeps a version from serving, in one line."""
    return "; ".join(f"{each.gate}: {each.reason}" for each in report.blocking)


def session_bytes(report: Report) -> int:
    """What a loaded session was measured to take, in bytes; 0 where that was not measured."""
    return int(next((each.figures.get("session_bytes", 0) for each in report.outcomes if each.gate == "memory"), 0))


def _nobody(outcome: Outcome) -> None:
    """Nobody watches yet."""
