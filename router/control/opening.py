"""How models begin to serve: from what is stored, or where nothing is, by the newest version that passes its gates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from router.control.change import Changes, Draft
from router.control.examiner import Examiner
from router.control.heirs import Unapproved, all_may
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
    """Finds the first champions of models that have none; `unapproved` versions are passed over."""

    def __init__(
        self, changes: Changes, examiner: Examiner, lookout: Lookout, unapproved: Unapproved = all_may
    ) -> None:
        self._changes = changes
        self._unapproved = unapproved
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
                draft.put(registry.moved(record, Stage.FAILED, order, broken_off))
            elif names is not None and record.model not in names and record.stage in SERVING:
                going = self._lookout.retired(record, order, NOT_ASKED)
                if going.stage is Stage.DRAINING:
                    going = registry.moved(going, Stage.RETIRED, order, NOT_ASKED)
                draft.put(going)

    async def begin(self, draft: Draft, models: Iterable[FoundModel], order: Order) -> None:
        """Give each of these models a champion, before there is a table: nobody else has a turn."""
        models = [each for each in models if not each.reason]
        newest = {each.name: await self._permitted(draft, each, candidates(each)) for each in models}
        asked = {(each.name, number): each for each in models for number in newest[each.name]}
        reasons = await self._lookout.inspect(asked)
        for found in models:
            passed = await self._passing(draft, found, newest[found.name], reasons, order, first=False)
            if not passed:
                for number in await self._permitted(draft, found, older(found)):
                    reasons |= await self._lookout.inspect({(found.name, number): found})
                    passed = await self._passing(draft, found, [number], reasons, order, first=True)
                    if passed:
                        break
            if passed:
                self.crown(draft, max(passed, key=lambda each: int(each.number)), order)
            elif why_not := unfounded(found):
                log.warning("a model cannot begin", model=found.name, reason=why_not)
                mine = [each for each in draft.records.values() if each.model == found.name]
                draft.put(*(replace(each, reason=why_not) for each in mine if each.stage is Stage.FOUND))
        await self._examiner.rest()

    async def _permitted(self, draft: Draft, found: FoundModel, numbers: Sequence[str]) -> list[str]:
        """Those of a model's versions that may answer for it; the others stay where they are, with the reason."""
        try:
            against = await asyncio.to_thread(self._unapproved, found.name, numbers)
        except RouterError as error:  # the model does not begin, the server does
            against = dict.fromkeys(numbers, f"it is not known whether others have agreed to it: {error}")
        for number, why_not in against.items():
            log.warning("a version may not begin", model=found.name, version=number, reason=why_not)
            key = (found.name, number)
            record = draft.records.get(key) or self._changes.registry.record(*key)
            if record.stage in {Stage.FOUND, Stage.RETIRED}:
                draft.put(replace(record, reason=why_not))
        return [number for number in numbers if number not in against]

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
            loading = registry.moved(record, Stage.LOADING, order)
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
            testing = registry.moved(loading, Stage.TESTING, order)
            if report.passed:
                ready = registry.moved(testing, Stage.READY, order, "passed its gates", digest=version.digest)
                ready = replace(ready, memory_bytes=session_bytes(report))
                draft.put(ready)
                passed.append(ready)
                if first:
                    break
            else:
                reason = why(report)
                log.warning("a version failed its gates", model=found.name, version=number, reason=reason)
                draft.put(registry.moved(testing, Stage.FAILED, order, reason))
        return passed

    def crown(self, draft: Draft, record: VersionRecord, order: Order) -> None:
        """A model's first champion."""
        draft.put(self._changes.registry.moved(record, Stage.CHAMPION, order, FIRST))
        before: dict[str, object] = {"champion": None}
        after: dict[str, object] = {"champion": record.number}
        draft.entries.append(self._changes.entry(order, "began", record.model, record.number, before, after))


def candidates(found: FoundModel) -> list[str]:
    """The versions with which a model may begin, newest first: those that are chosen, or the one that is to begin."""
    first = found.settings.lifecycle.initial_champion
    if first is None:
        return found.chosen()
    version = found.versions.get(str(first))
    return [version.number] if version is not None and (version.left_out or not version.reason) else []


def older(found: FoundModel) -> list[str]:
    """The versions that are tried one after another where none of the candidates passes."""
    return found.older() if found.settings.lifecycle.initial_champion is None else []


def unfounded(found: FoundModel) -> str:
    """Why a model has no version to begin with; empty where it has."""
    if found.reason or candidates(found):
        return found.reason
    first = found.settings.lifecycle.initial_champion
    if first is None:
        return "it has no version that is to be served"
    version = found.versions.get(str(first))
    return f"lifecycle.initial_champion = {first}: {version.reason if version is not None else 'no such version'}"


def why(report: Report) -> str:
    """Why a report keeps a version from serving, in one line."""
    return "; ".join(f"{each.gate}: {each.reason}" for each in report.blocking)


def session_bytes(report: Report) -> int:
    """What a loaded session was measured to take, in bytes; 0 where that was not measured."""
    return int(next((each.figures.get("session_bytes", 0) for each in report.outcomes if each.gate == "memory"), 0))


def _nobody(outcome: Outcome) -> None:
    """Nobody watches yet."""
