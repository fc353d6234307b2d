"""Runs of retraining as they are kept: cases of their own kind, with the lineage of the version that came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from router.control.artefact import digest
from router.control.change import Changes, Draft
from router.control.courses import lineage_of
from router.control.records import Case, Order, VersionRecord
from router.control.repository import FoundModel
from router.core.gate import Outcome
from router.core.retraining import State
from router.core.standing import CaseKind
from router.core.version import Stage
from router.errors import Conflict, ModelBroken, Refused, RouterError

log = structlog.get_logger()

TOLD: Final = ("trigger", "why", "action", "then", "window")
"""What the record of a run that begins says of it: whoever trains elsewhere hears of the record."""

ROUTER: Final = Order()
COMPARED: Final = 20
"""Versions on disk that have never been ready, and are read to be compared with what a run brought."""


def _nobody(case: Case) -> None:
    """Hears of no end."""


class RetrainingCases:
    """Opens, keeps and ends them. What is stored is told to whoever watches as events of the kind `retraining`."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._registry = changes.registry

    # ---- what there is ----

    def under_way(self, model: str) -> Case | None:
        """The run of a model that is under way."""
        return self._registry.case(model, CaseKind.RETRAINING)

    def now(self, case: Case) -> Case:
        """A run as it is by now; as it was where it has ended meanwhile."""
        return self._registry.cases.get(case.id, case)

    def all_under_way(self) -> list[Case]:
        """Those of all models."""
        return [each for each in self._registry.cases.values() if each.kind is CaseKind.RETRAINING]

    async def ended(self, model: str = "", last: int = 0) -> list[Case]:
        """Runs, newest first, those under way too. Raises RouterError."""
        store = self._changes.store
        return await asyncio.to_thread(store.cases, model, "", CaseKind.RETRAINING, last)

    def champion(self, model: str) -> VersionRecord | None:
        """Whose place the new version is to take."""
        return self._registry.at(model, Stage.CHAMPION)

    def known(self, model: str) -> None:
        """Raises NotFound for a model that is not known."""
        self._registry.known(model)

    def found(self, model: str) -> FoundModel | None:
        """The model's directory, as it was last looked at."""
        return self._registry.found.get(model)

    def versions(self, model: str) -> list[str]:
        """The numbers of all versions that are known, the newest first."""
        found = self.found(model)
        numbers = {each.number for each in self._registry.of(model)} | set(found.versions if found is not None else ())
        return sorted(numbers, key=int, reverse=True)

    def record(self, model: str, number: str) -> VersionRecord | None:
        """A version that came of a run."""
        return self._registry.records.get((model, number))

    async def lineage(self, model: str, number: str) -> Outcome | None:
        """What the gates found of where a version comes from. Raises RouterError."""
        return lineage_of(await asyncio.to_thread(self._changes.store.reports, model, number))

    def twin(self, model: str, its_digest: str) -> str:
        """The number of a version of the same files; empty without one. It blocks: versions may have to be read."""
        known = {each.number: each.digest for each in self._registry.of(model)}
        found = self.found(model)
        unread = [each for each in self.versions(model) if not known.get(each)]
        for number in unread[:COMPARED]:
            if found is not None and number in found.versions:
                known[number] = _digest(found.versions[number].directory)
        return next((number for number, each in known.items() if each == its_digest), "")

    # ---- what changes ----

    async def whole(self, work: Coroutine[Any, Any, Case]) -> Case:
        """Work that is done to its end, though whoever asked for it goes away meanwhile. Raises what it raises."""
        return await self._changes.turns.shielded(work)

    async def begin(self, model: str, order: Order, body: Mapping[str, Any], state: State) -> Case:
        """Open a run. The body is completed by the parent. Raises NotFound, Conflict, Refused."""

        async def change() -> Case:
            self._registry.known(model)
            going = self.under_way(model)
            if going is not None:
                raise Conflict(
                    f"retraining {going.id} of model '{model[:200]}' is under way, begun by {going.actor}: wait for its"
                    f" end, or `router retrain {model[:200]} --stop`"
                )
            champion = self.champion(model)
            if champion is None:
                raise Refused(f"model '{model[:200]}' has no champion yet, whose place a new version would take")
            newest = next(iter(self.versions(model)), champion.number)
            parent = {"parent": champion.number, "parent_digest": champion.digest, "newest": newest}
            id_ = self._registry.next_case()
            case = Case(
                id_,
                CaseKind.RETRAINING,
                model,
                "",
                "",
                order.actor,
                self._changes.clock(),
                state=state,
                body={**body, **parent},
            )
            told = {name: body[name] for name in TOLD if name in body}
            after: dict[str, object] = {"case": id_, "state": str(state), **told, **parent}
            draft = Draft(entries=[self._changes.entry(order, "retrain", model, "", {}, after)], cases={id_: case})
            await self._changes.commit(draft)
            return case

        return await self._changes.turns.alone(change)

    async def put(self, case: Case) -> Case:
        """A run that is under way, as it is now. Raises Conflict where it has been ended meanwhile, Refused."""

        async def change() -> Case:
            if case.id not in self._registry.cases:
                raise Conflict(f"retraining {case.id} of model '{case.model[:200]}' has ended meanwhile")
            await self._changes.commit(Draft(cases={case.id: case}))
            return case

        return await self._changes.turns.alone(change)

    async def end(
        self, case: Case, state: State, text: str, order: Order = ROUTER, over: Callable[[Case], None] = _nobody
    ) -> Case | None:
        """A run is over, also where that cannot be stored now: then with the next change. None: it was so before.

        `over` is told then and there, once, though whoever ends it goes away meanwhile.
        """
        body = {**case.body, "text": text}
        ended = replace(case, ended=self._changes.clock(), state=state, body=body)
        after: dict[str, object] = {"case": case.id, "state": str(state), "text": text}
        entry = self._changes.entry(order, "retrain", case.model, case.number, {"case": case.id}, after)

        async def change() -> Case | None:
            if case.id not in self._registry.cases:
                return None
            draft = Draft(entries=[entry], cases={case.id: ended})
            try:
                await self._changes.commit(draft)
            except RouterError as error:
                log.error("the end of a retraining could not be stored", retraining=case.id, reason=str(error))
                self._changes.owe(draft)
            over(ended)
            return ended

        return await self._changes.turns.alone(change)

    def tell(self, case: Case, text: str, **facts: object) -> None:
        """What has become of a run, to whoever watches, and to the log."""
        number = case.number or str(case.body.get("parent", ""))
        told = {"run": case.id, "state": case.state, "trigger": case.body.get("trigger", ""), **facts}
        self._changes.events.tell("retraining", case.model, number, text, **told)
        log.info("retraining", retraining=case.id, model=case.model, state=str(case.state), told=text)


def _digest(directory: Path) -> str:
    try:
        return digest(directory)
    except ModelBroken:  # it is what no run could bring
        return ""
