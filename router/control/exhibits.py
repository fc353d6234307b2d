"""What an approval is bound to, as it is now: the files of the version, the evidence of it, the champion."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from router.control import artefact
from router.control.change import Changes
from router.control.records import Case, VersionRecord
from router.core.approval import Request, shown
from router.core.standing import CaseKind
from router.core.version import Stage
from router.errors import NotFound

_EVIDENCE: Final = (CaseKind.TRIAL, CaseKind.ROLLOUT)


class Cases(Protocol):
    """Cases that are kept, open and ended. It blocks."""

    def __call__(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> Sequence[Case]:
        """Newest first. Raises RouterError."""


class Exhibits:
    """Looks, and changes nothing."""

    def __init__(self, changes: Changes, cases: Cases) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._cases = cases

    def champion(self, model: str) -> str:
        """Its number, empty for none."""
        champion = self._registry.at(model, Stage.CHAMPION)
        return champion.number if champion is not None else ""

    async def digest(self, record: VersionRecord) -> str:
        """That of a version's files. Of what has never been ready nobody has kept one: it is made now.

        Raises NotFound, ModelBroken.
        """
        if record.digest:
            return record.digest
        found = self._registry.found.get(record.model)
        version = found.versions.get(record.number) if found is not None else None
        if version is None:
            raise NotFound(f"version {record.number} of model '{record.model}' is not in the repository any more")
        return await asyncio.to_thread(artefact.digest, version.directory)

    async def shown(self, model: str, number: str) -> dict[str, Any]:
        """The evidence that there is of a version. Raises RouterError."""
        return await asyncio.to_thread(self._shown, model, number)

    def _shown(self, model: str, number: str) -> dict[str, Any]:
        ended: list[dict[str, Any]] = []
        for kind in _EVIDENCE:
            newest = self._cases(model, number, str(kind), 2)  # what is under way is the newest, and the only one
            over = [each for each in newest if not each.open][:1]
            ended += [
                {"id": each.id, "kind": str(each.kind), "state": each.state, "ended": each.ended} for each in over
            ]
        return shown(self._changes.store.reports(model, number), ended)

    async def outdated(self, request: Request) -> str:
        """Why nothing can come of a request any more, in words; empty while something can. Raises RouterError."""
        record = self._registry.record(request.model, request.number)
        told = await self.shown(request.model, request.number)
        return request.outdated(await self.digest(record), told, self.champion(request.model))
