"""Which models are to serve, and having them serve: first champions, loads, unloads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from router.control.change import Changes, Draft
from router.control.examination import Examination
from router.control.lookout import NOT_ASKED, Lookout
from router.control.opening import Opening, candidates, older, unfounded
from router.control.records import Case, Order, Swapped, VersionRecord
from router.control.repository import FoundModel
from router.core.gate import Report
from router.core.version import SERVING, UNDER_TRIAL, Stage
from router.errors import NotFound, Refused, RouterError

log = structlog.get_logger()


class Promotions(Protocol):
    """Where promotions are asked for."""

    async def promote(self, model: str, number: str, order: Order) -> Swapped | Case:
        """Promote a version, or open a request for it where others must agree first. Raises RouterError."""


Unapproved = Callable[[str, Sequence[str]], Awaitable[Mapping[str, str]]]
"""Of a model's versions, those that may not answer for it unless others agree, and why."""


async def _all_may(_model: str, _numbers: Sequence[str]) -> Mapping[str, str]:
    return {}


class Demand:
    """`explicit`: models serve only when they are asked for; `wanted` are the names of those."""

    def __init__(
        self,
        changes: Changes,
        lookout: Lookout,
        opening: Opening,
        examination: Examination,
        promotions: Promotions,
        explicit: bool,
        unapproved: Unapproved = _all_may,
    ) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._lookout = lookout
        self._opening = opening
        self._examination = examination
        self._promotions = promotions
        self._explicit = explicit
        self._unapproved = unapproved
        self.wanted: set[str] = set()
        self._beginning: dict[str, asyncio.Lock] = {}

    def begins(self, model: str, records: Mapping[tuple[str, str], VersionRecord]) -> bool:
        """Whether a model that has never served is to begin, of itself.

        One that has lost its champion is not given an untried version: that is for its owner to say.
        """
        mine = [record for (name, _), record in records.items() if name == model]
        if self._explicit and model not in self.wanted:
            return False
        return not any(record.stage in SERVING or record.digest for record in mine)

    def starts(self, model: str, records: Mapping[tuple[str, str], VersionRecord]) -> bool:
        """Whether a model is to begin at the start of the server: one that is named there is asked for."""
        asked = self._explicit and model in self.wanted
        serves = any(record.stage in SERVING for (name, _), record in records.items() if name == model)
        return (asked and not serves) or self.begins(model, records)

    # ---- beginning ----

    async def begin_all(self, order: Order) -> None:
        """Have models serve that never have; what has failed before is tried again when something has changed."""

        async def begin(found: FoundModel) -> None:
            try:
                await self._changes.turns.shielded(self._begin(found, order, again=False))
            except RouterError as error:
                log.info("a model cannot begin", model=found.name, reason=str(error))

        models = [each for each in self._registry.found.values() if not each.reason]
        await asyncio.gather(*(begin(each) for each in models if self.begins(each.name, self._registry.records)))

    async def _begin(self, found: FoundModel, order: Order, *, again: bool) -> None:
        """Have a model serve that has no champion: the newest version that is to be served and passes its gates.

        `again`: also those that have failed as they are, or may still be copied: somebody says so. Raises Refused with
        the reasons where none passes.
        """
        model = found.name
        async with self._beginning.setdefault(model, asyncio.Lock()):
            if self._registry.at(model, Stage.CHAMPION) is not None:
                return  # whoever asked before has had it begin
            newest, rest = candidates(found), older(found)
            reasons = dict(await self._unapproved(model, [*newest, *rest]))
            reasons |= {
                each: await self._why_not(found, each, order, again=again) for each in newest if each not in reasons
            }
            for number in rest:
                if not all(reasons.values()):
                    break
                if number not in reasons:
                    reasons[number] = await self._why_not(found, number, order, again=again)
            passed = [number for number, reason in reasons.items() if not reason]
            if not passed:
                told = "; ".join(f"version {number}: {reason}" for number, reason in reasons.items())
                raise Refused(told or unfounded(found))
            await self._changes.turns.alone(lambda: self._crown(model, max(passed, key=int), order, strict=again))

    async def _why_not(self, found: FoundModel, number: str, order: Order, *, again: bool) -> str:
        """Why a version cannot serve, once it has been tried; empty if it can."""
        record = self._registry.record(found.name, number)
        if record.stage in SERVING:
            return ""
        if record.stage in UNDER_TRIAL or record.stage is Stage.DRAINING:
            return f"it is {record.stage}"
        if record.stage is Stage.FAILED and not again and not self._lookout.changed_since(found, number):
            return record.reason
        if not again and not await self._lookout.whole(found, number):
            return "it went away before it was whole"
        try:
            report = await self.examined(found.name, number, order, warm=False, recall=True)
        except RouterError as error:
            return str(error)
        finally:
            self._lookout.remember(found, number)
        return "" if report.passed else self._registry.record(found.name, number).reason

    async def _crown(self, model: str, number: str, order: Order, *, strict: bool) -> None:
        if self._registry.at(model, Stage.CHAMPION) is not None:  # somebody has promoted another meanwhile
            return
        draft = Draft(must=(model, number))
        self._opening.crown(draft, self._registry.record(model, number), order)
        if strict and (reason := self._changes.misfit(draft, model, number)):
            raise Refused(f"version {number}: {reason}")
        await self._changes.commit(draft)

    # ---- on request ----

    async def load(self, model: str, number: str, order: Order, look: Callable[[], Awaitable[None]]) -> None:
        """Have a model serve what its settings choose, or one of its versions be ready. Raises RouterError."""
        await self._changes.drained(model)  # it may be what has just been unloaded
        await look()
        found = self._registry.found.get(model)
        if found is None:
            raise NotFound(f"the repository holds no model '{model[:200]}'")
        champion = self._registry.at(model, Stage.CHAMPION)
        serves = champion is not None and self._changes.loaded(model, champion.number)
        goes_on = f"; version {champion.number} serves on" if champion is not None and serves else ""
        wanted = number or next(iter(found.chosen()), "")
        try:
            if found.reason or not (wanted or candidates(found)):
                raise Refused(unfounded(found) or "it has no version that is to be served")
            if number:
                await self._loaded(model, number, order)
            elif champion is None:
                await self._begin(found, order, again=True)
            elif champion.number not in found.versions:  # files that went away do not take a champion with them
                raise Refused(f"version {champion.number}: {champion.mark}")
            elif wanted:
                await self._loaded(model, wanted, order)
                if self._registry.record(model, wanted).stage is not Stage.CHAMPION:
                    came = await self._promotions.promote(model, wanted, order)
                    if isinstance(came, Case):
                        raise Refused(f"version {wanted} waits for approval: `router approve {came.id}`")
            self._check_serves(model, number)
        except (NotFound, Refused) as error:
            raise type(error)(f"model '{model}' cannot be loaded{goes_on}: {error}") from None
        self.wanted.add(model)

    def _check_serves(self, model: str, number: str) -> None:
        """Whether callers are answered by it. Raises Refused: its settings may not fit it."""
        champion = self._registry.at(model, Stage.CHAMPION)
        meant = number or (champion.number if champion is not None else "")
        if not self._changes.loaded(model, meant):
            route = self._changes.table.routes.get(model)
            version = route.versions.get(meant) if route is not None else None
            raise Refused(f"version {meant}: {version.reason if version is not None else 'it has been unloaded'}")

    async def _loaded(self, model: str, number: str, order: Order) -> None:
        """A version in all workers, through its gates if it is not yet. Raises RouterError."""
        record = self._registry.record(model, number)
        if record.stage in SERVING and record.mark:
            raise Refused(f"version {number}: {record.mark}")
        if record.stage not in SERVING:
            report = await self.examined(model, number, order, warm=False, recall=True)
            if not report.passed:
                raise Refused(f"version {number}: {self._registry.record(model, number).reason}")

    async def unload(self, model: str, number: str, order: Order) -> None:
        """Serve a model, or one of its versions, no more. Raises RouterError; nothing has changed then."""

        async def change() -> None:
            self._registry.known(model)
            going = [each for each in self._registry.of(model) if each.stage in SERVING and number in {"", each.number}]
            if number:
                record = self._registry.record(model, number)
                if record.stage is Stage.CHAMPION:
                    raise Refused(
                        f"version {number} of model '{model}' is its champion: promote another, or unload all"
                    )
                if not going:
                    raise Refused(f"version {number} of model '{model}' is {record.stage}, it is not loaded")
            draft = Draft()
            for record in going:
                draft.put(self._lookout.retired(record, order, NOT_ASKED))
            draft.entries.append(self._changes.entry(order, "unload", model, number))
            await self._changes.commit(draft)
            if not number:
                self.wanted.discard(model)

        await self._changes.turns.alone(change)

    async def examined(self, model: str, number: str, order: Order, *, warm: bool, recall: bool = False) -> Report:
        """Put a version through its gates, and its warm-up; goes on when whoever asked goes away."""
        await self._changes.drained(model, number)
        trial = self._examination.run(model, number, order, warm=warm, recall=recall)
        return await self._changes.turns.shielded(trial)
