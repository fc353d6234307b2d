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
GONE = "its directory is gone"
Key = tuple[str, str]
Stamp = tuple[tuple[str, int, int, int, int], ...]
Question = tuple[Request, int, str]
"""All on which it depends how a version serves: what is tried, threads of a run, the text of config.pbtxt."""


def question(found: FoundModel, number: str) -> Question:
    """How a version is to serve, as its settings are now."""
    return found.request(number), found.settings.sessions.intra_op_threads, found.declared


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
        self._asked: dict[Key, Question] = {}
        self._stamps: dict[Key, Stamp] = {}
        self._tried: dict[Key, object] = {}

    def seen(self, draft: Draft, found: Mapping[str, FoundModel]) -> list[VersionRecord]:
        """Take in what was found; the records of versions that are new."""
        registry = self._changes.registry
        fresh: list[VersionRecord] = []
        for model in found.values():
            for number, version in model.versions.items():
                if (model.name, number) not in registry.records and not (version.reason and not version.left_out):
                    why = NOT_ASKED if self._explicit else UNTRIED
                    fresh.append(
                        VersionRecord(model.name, number, "", Stage.FOUND, why, self._changes.clock(), "router")
                    )
        draft.put(*fresh)
        registry.found = found
        return fresh

    # ---- marks: what serves on from memory only, and what is not followed ----

    async def mark(self, draft: Draft, reasons: Mapping[Key, str]) -> None:
        """Mark versions that serve from files that are not theirs any more, or otherwise than they are asked to.

        `reasons` are those of versions that could not be tried again.
        """
        records = {**self._changes.registry.records, **draft.records}
        serving = {key: record for key, record in records.items() if record.stage in SERVING}
        memory = {key: record for key, record in serving.items() if key in self._changes.versions}
        changed = await asyncio.to_thread(self._changed, memory)  # it may have to read all of a model
        unfit = self._changes.unfit(draft)
        for key, record in serving.items():
            model = self._changes.registry.found.get(key[0])
            mark = changed.get(key, "")
            if key in memory and not mark:
                settings = (model.reason or model.versions[key[1]].reason) if model is not None else ""
                left_out = model is not None and model.versions[key[1]].left_out and not model.reason
                wrong = reasons.get(key) or ("" if left_out else settings) or unfit.get(key[0], "")
                mark = f"it serves on with the settings it had: {wrong}" if wrong else ""
            if mark != record.mark:
                draft.put(replace(record, mark=mark))
                if mark:
                    log.warning("a version serves on as it was", model=key[0], version=key[1], reason=mark)

    def _changed(self, records: Mapping[Key, VersionRecord]) -> dict[Key, str]:
        return {key: mark for key, record in records.items() if (mark := self._files(key, record))}

    def _files(self, key: Key, record: VersionRecord) -> str:
        """What has become of a version's files; empty if they are as they were."""
        model = self._changes.registry.found.get(key[0])
        version = model.versions.get(key[1]) if model is not None else None
        if version is None:
            return "its directory is gone; it serves on from memory, and could not be loaded again"
        try:
            now = artefact.stamp(version.directory)
            # What was never looked at by this process may have changed before it began.
            same = now == self._stamps.get(key) or artefact.digest(version.directory) == record.digest
        except ModelBroken as error:
            return f"it serves on from memory, and could not be loaded again: {error}"
        if not same:
            return "its files have changed; it serves on from memory, and could not be loaded again"
        self._stamps[key] = now
        return ""

    # ---- trials of files ----

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

    async def inspect(self, wanted: Mapping[Key, FoundModel]) -> dict[Key, str]:
        """Try versions; those that can be loaded are known from then on. Gives the reasons of the others."""
        requests = {key: found.request(key[1]) for key, found in wanted.items()}
        results = await self._examiner.inspect(list(requests.values()))
        reasons: dict[Key, str] = {}
        for key, found in wanted.items():
            try:
                self._take(found, results[key])
                self._asked[key] = question(found, key[1])
            except ModelBroken as error:
                reasons[key] = str(error)
        return reasons

    def _take(self, found: FoundModel, result: Result) -> None:
        """What a trial showed. Raises ModelBroken where the version cannot serve, also since it is another by now."""
        key = (found.name, result.number)
        version = found.version(result)
        record = self._changes.registry.records.get(key)
        if record is not None and record.digest not in {"", result.digest}:
            raise ModelBroken(
                f"its files have changed under the number {result.number}: give what is new a number of its own"
            )
        self._stamps[key] = artefact.stamp(found.versions[result.number].directory)
        self._changes.versions[key] = version

    def known(self, found: FoundModel, record: VersionRecord) -> bool:
        """Whether a version has been tried, and neither its files nor what is asked of it have changed since."""
        key = (record.model, record.number)
        version = self._changes.versions.get(key)
        if version is None or version.digest != record.digest or self._asked.get(key) != question(found, record.number):
            return False
        try:
            return artefact.stamp(found.versions[record.number].directory) == self._stamps.get(key)
        except ModelBroken:
            return False

    async def follow(self, draft: Draft) -> dict[Key, str]:
        """Have what serves follow its settings; what cannot be loaded where nothing of it is in memory is lost.

        Gives the reasons of those that serve on as they were.
        """
        registry, stale, lost = self._changes.registry, dict[Key, FoundModel](), dict[Key, str]()
        for key, record in registry.records.items():
            found = registry.found.get(key[0])
            if record.stage not in SERVING or found is None or found.reason:
                continue  # where nothing can be known it comes back when its directory or settings do
            version = found.versions.get(key[1])
            if version is None or (version.reason and not version.left_out):
                lost[key] = GONE if version is None else version.reason
            elif key not in self._changes.versions or self._asked.get(key) != question(found, key[1]):
                stale[key] = found
        lost |= await self.inspect(stale)
        for key, reason in lost.items():
            if key not in self._changes.versions:
                self._changes.lose(draft, registry.records[key], reason)
        return {key: reason for key, reason in lost.items() if key in stale and key in self._changes.versions}

    # ---- what has been tried, and is as it was ----

    def remember(self, found: FoundModel, number: str) -> None:
        """That a version has been tried as it is now."""
        self._tried[found.name, number] = self._as_it_is(found, number)

    def changed_since(self, found: FoundModel, number: str) -> bool:
        """Whether a version, or what is asked of it, has changed since it was tried."""
        return self._tried.get((found.name, number)) != self._as_it_is(found, number)

    @staticmethod
    def _as_it_is(found: FoundModel, number: str) -> object:
        exam, files = found.exam, object()
        try:
            files = artefact.stamp(found.versions[number].directory), artefact.stamp(exam) if exam is not None else ()
        except ModelBroken as error:
            files = str(error)
        return files, question(found, number), found.settings

    def retired(self, record: VersionRecord, order: Order, reason: str) -> VersionRecord:
        """The record of a version that is not to serve any more."""
        registry = self._changes.registry
        if record.stage in {Stage.CHAMPION, Stage.STANDBY}:
            return registry.moved(record, Stage.DRAINING, order, reason)
        if record.stage is Stage.CHALLENGER:
            record = registry.moved(record, Stage.READY, order, reason)
        return registry.moved(record, Stage.RETIRED, order, reason)
