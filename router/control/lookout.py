"""What the repository holds now, against what is known: new versions, changed files, settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

import structlog

from router.control import artefact
from router.control.change import Changes, Draft
from router.control.examiner import Examiner
from router.control.inspection import Request, Result
from router.control.records import Order, VersionRecord
from router.control.repository import FoundModel
from router.core.version import SERVING, Stage
from router.errors import ModelBroken

log = structlog.get_logger()

UNTRIED = "new: not tested yet"
NOT_ASKED = "unloaded"
SETTLED_S: Final = 2.0
"""Files that have not changed for so long are taken for whole."""
Stamp = tuple[tuple[str, int, int, int, int], ...]


class Lookout:
    """Compares. `explicit`: models serve only when they are asked for; `pause` lets so many seconds pass."""

    def __init__(
        self,
        changes: Changes,
        examiner: Examiner,
        explicit: bool,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pause = pause
        self._changes = changes
        self._examiner = examiner
        self._explicit = explicit
        self._asked: dict[tuple[str, str], Request] = {}
        self._stamps: dict[tuple[str, str], Stamp] = {}

    def seen(self, draft: Draft, found: Mapping[str, FoundModel]) -> list[VersionRecord]:
        """Take in what was found: fresh records, and marks on those that serve from files that are not theirs any
        more. Gives the versions that are new."""
        registry = self._changes.registry
        fresh: list[VersionRecord] = []
        for model in found.values():
            for number, version in model.versions.items():
                record = registry.records.get((model.name, number))
                if record is None and not (version.reason and not version.left_out):
                    why = NOT_ASKED if self._explicit else UNTRIED
                    record = VersionRecord(model.name, number, "", Stage.FOUND, why, self._changes.clock(), "router")
                    draft.put(record)
                    fresh.append(record)
        for key, record in registry.records.items():
            there = key[0] in found and key[1] in found[key[0]].versions
            mark = self._mark(key, record, found) if record.stage in SERVING else ""
            if mark != record.mark:
                draft.put(replace(record, mark=mark))
                if mark:
                    log.warning("a version's files have changed", model=key[0], version=key[1], mark=mark)
                self._changes.events.tell("marked", *key, mark or "its files are there again")
            elif not there and record.stage is Stage.FOUND:
                pass  # it has gone before anybody wanted it: no route shows it, and it may come again
        registry.found = found
        return fresh

    async def whole(self, found: FoundModel, number: str) -> bool:
        """Wait until a version has been copied: its files have stopped changing, or `READY` lies beside them.

        False when it goes away meanwhile.
        """
        directory = found.versions[number].directory
        before: Stamp | None = None
        while True:
            try:
                now = artefact.stamp(directory)
            except ModelBroken:
                return False
            if artefact.complete(directory) or now == before:
                return True
            before = now
            await self._pause(SETTLED_S)

    def _mark(self, key: tuple[str, str], record: VersionRecord, found: Mapping[str, FoundModel]) -> str:
        model = found.get(key[0])
        version = model.versions.get(key[1]) if model is not None else None
        if version is None:
            return "its directory is gone; it serves on from memory, and could not be loaded again"
        before = self._stamps.get(key)
        try:
            now = artefact.stamp(version.directory)
        except ModelBroken as error:
            return f"it serves on from memory, and could not be loaded again: {error}"
        if before is None:
            self._stamps[key] = now
        elif now != before:
            try:
                same = artefact.digest(version.directory) == record.digest
            except ModelBroken:
                same = False
            if not same:
                return "its files have changed; it serves on from memory, and could not be loaded again"
            self._stamps[key] = now
        return ""

    async def inspect(self, wanted: Mapping[tuple[str, str], FoundModel]) -> dict[tuple[str, str], str]:
        """Try versions; those that can be loaded are known from then on. Gives the reasons of the others."""
        requests = {key: found.request(key[1]) for key, found in wanted.items()}
        results = await self._examiner.inspect(list(requests.values()))
        reasons: dict[tuple[str, str], str] = {}
        for key, found in wanted.items():
            try:
                self.take(found, results[key])
                self._asked[key] = requests[key]
            except ModelBroken as error:
                reasons[key] = str(error)
        return reasons

    def take(self, found: FoundModel, result: Result) -> None:
        """What a trial showed. Raises ModelBroken where the version cannot serve, also since it is another by now."""
        key = (found.name, result.number)
        version = found.version(result)
        record = self._changes.registry.records.get(key)
        if record is not None and record.digest not in {"", result.digest} and record.stage is not Stage.FAILED:
            raise ModelBroken(
                f"its files have changed under the number {result.number}: give what is new a number of its own"
            )
        self._changes.versions[key] = version
        self._stamps[key] = artefact.stamp(found.versions[result.number].directory)

    def stale(self) -> dict[tuple[str, str], FoundModel]:
        """Versions that serve, or should, and are to be tried again: nothing is known of them, or their settings have
        changed."""
        registry, found = self._changes.registry, self._changes.registry.found
        stale = {}
        for key, record in registry.records.items():
            model = found.get(key[0])
            if record.stage not in SERVING or model is None or model.reason or key[1] not in model.versions:
                continue
            if model.versions[key[1]].reason and not model.versions[key[1]].left_out:
                continue
            if key not in self._changes.versions or self._asked.get(key) not in {None, model.request(key[1])}:
                stale[key] = model
        return stale

    async def follow(self, draft: Draft) -> None:
        """Have what serves follow its settings; what cannot be loaded where nothing of it is in memory is lost."""
        registry = self._changes.registry
        for key, reason in (await self.inspect(self.stale())).items():
            if key not in self._changes.versions:
                self._changes.lose(draft, registry.records[key], reason)
            else:
                self._changes.events.tell("marked", *key, reason)

    def retired(self, record: VersionRecord, order: Order, reason: str) -> VersionRecord:
        """The record of a version that is not to serve any more."""
        registry = self._changes.registry
        if record.stage in {Stage.CHAMPION, Stage.STANDBY}:
            return registry.moved(record, Stage.DRAINING, order, reason)
        if record.stage is Stage.CHALLENGER:
            record = registry.moved(record, Stage.READY, order, reason)
        return registry.moved(record, Stage.RETIRED, order, reason)
