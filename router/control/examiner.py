"""Tries versions one after another, off the event loop: can it be loaded, and does it pass its gates?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from router.control.inspection import Request, Result
from router.core.gate import Outcome, Report
from router.core.table import Version
from router.model_settings import ModelSettings

log = structlog.get_logger()

Progress = Callable[[int, int, Request | None], None]
"""Told how many of how many versions have been tried, and which is next."""
Told = Callable[[Outcome], None]


class Trials(Protocol):
    """Loads versions before any worker sees them."""

    def inspect(self, requests: Iterable[Request]) -> Iterator[Result]:
        """One result for each request, in their order. Blocks."""

    def close(self) -> None:
        """Give back what the trials needed."""


class Gates(Protocol):
    """Puts versions through their gates."""

    def test(
        self,
        candidate: Version,
        champion: Version | None,
        settings: ModelSettings,
        exam: Path | None,
        told: Told = lambda outcome: None,  # noqa: ARG005
    ) -> Report:
        """The report; blocks. Raises RouterError for a fault that is not the version's."""

    def close(self) -> None:
        """Give back what the gates needed."""


class Evidence(Protocol):
    """Reports that hold as long as nothing changes. All methods block."""

    def recall(self, version: Version, settings: ModelSettings, exam: Path | None) -> Report | None:
        """The report of a version that passed with the same contents, settings and exam."""

    def keep(self, report: Report, version: Version, settings: ModelSettings, exam: Path | None) -> None:
        """Remember it if it passed, without a champion."""


class Examiner:
    """One test at a time: they measure, and would disturb each other. Whether a version can be loaded is asked beside
    them: a rollback does not wait for the gates of another model.
    """

    def __init__(
        self,
        trials: Trials,
        gates: Gates,
        evidence: Evidence,
        progress: Progress = lambda done, of, request: None,  # noqa: ARG005
    ) -> None:
        self._trials = trials
        self._gates = gates
        self._evidence = evidence
        self._progress = progress
        self._inspecting = asyncio.Lock()
        self._testing = asyncio.Lock()

    async def inspect(self, requests: Sequence[Request]) -> Mapping[tuple[str, str], Result]:
        """What the trial of each version showed, by model and number."""
        if not requests:
            return {}
        async with self._inspecting:
            results = await asyncio.to_thread(self._inspect, requests)
        for result in results:
            if result.note:
                log.info("a version was tried", model=result.model, version=result.number, note=result.note)
        return {(result.model, result.number): result for result in results}

    def _inspect(self, requests: Sequence[Request]) -> list[Result]:
        results: list[Result] = []
        self._progress(0, len(requests), requests[0])
        try:
            for result in self._trials.inspect(requests):
                results.append(result)
                upcoming = requests[len(results)] if len(results) < len(requests) else None
                self._progress(len(results), len(requests), upcoming)
        finally:
            self._trials.close()
        return results

    async def test(
        self, candidate: Version, champion: Version | None, settings: ModelSettings, exam: Path | None, told: Told
    ) -> Report:
        """Put a version through its gates; `told` is called on this loop's thread. Raises RouterError."""
        loop = asyncio.get_running_loop()

        def pass_on(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(told, outcome)

        async with self._testing:
            report = await asyncio.to_thread(self._gates.test, candidate, champion, settings, exam, pass_on)
        await asyncio.to_thread(self._evidence.keep, report, candidate, settings, exam)
        return report

    async def known(self, version: Version, settings: ModelSettings, exam: Path | None) -> Report | None:
        """The report of a version that has passed as it is now."""
        return await asyncio.to_thread(self._evidence.recall, version, settings, exam)

    async def rest(self) -> None:
        """No more tests for now: give back what they needed."""
        async with self._testing:
            await asyncio.to_thread(self._gates.close)
