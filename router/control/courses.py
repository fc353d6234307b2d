"""New versions that go their way by themselves: gates, warm-up, a challenge, a promotion, as far as their owner wants.

What stands in the way of a challenge or a promotion (a freeze, somebody else's trial or canary) is waited for and told;
what others must agree to is asked for. A version that is not its parent trained anew is a new model: it challenges,
whatever is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from router.control.change import Changes
from router.control.records import Case, Order, VersionRecord
from router.control.repository import FoundModel
from router.core.gate import Outcome, Report
from router.core.lineage import LINEAGE, RETRAINED
from router.core.retraining import State, newer
from router.core.standing import CaseKind
from router.core.version import SERVING, UNDER_TRIAL, Stage
from router.errors import RouterError
from router.version_settings import LifecycleSettings

log = structlog.get_logger()

ROUTER: Final = Order()
TELL_S: Final = 86_400.0
"""What waits says so again after so long."""
FURTHER: Final = frozenset({"challenge", "promote"})
"""What is done with a version that has passed."""


class Acts(Protocol):
    """What is done with versions. All of it raises RouterErrors."""

    async def examined(self, model: str, number: str, order: Order, *, warm: bool) -> Report:
        """Put a version through its gates, and its warm-up."""

    async def challenge(
        self, model: str, number: str, order: Order, share: float = 0.0, shadow: bool = False
    ) -> object:
        """Make it a challenger."""

    async def start_trial(self, model: str, number: str, order: Order) -> Case:
        """Try it against the champion."""

    async def promote(self, model: str, number: str, order: Order, *, canary: bool) -> object:
        """Promote it, or ask those who must agree (the case)."""


Whole = Callable[[FoundModel, str], Awaitable[bool]]
"""Model and number; false when it goes away meanwhile."""


@dataclass(frozen=True, slots=True)
class Taken:
    """How far a version has come. `passed`: its gates, and its warm-up where that was wanted."""

    passed: bool
    text: str
    waits: bool = False


@dataclass(slots=True)
class _Way:
    """A version that has passed and is to go further."""

    record: VersionRecord
    to: str
    order: Order
    told: str = ""
    told_at: float = 0.0
    trouble: str = ""


class Courses:
    """All of them. `whole` waits until a version has been copied. `monotonic` gives seconds that no setting of the
    clock moves.
    """

    def __init__(self, changes: Changes, acts: Acts, whole: Whole, monotonic: Callable[[], float]) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._acts = acts
        self._whole = whole
        self._monotonic = monotonic
        self._ways: dict[str, _Way] = {}
        """By model: the newest goes before older ones."""
        self._caught_up = False
        self._taken: set[tuple[str, str]] = set()
        """Versions that were seen to before `_caught_up`."""

    # ---- new versions ----

    def begin(self, record: VersionRecord) -> None:
        """See to a version that is new as its model's settings want it, which nobody has to wait for."""
        model, number = record.model, record.number
        if not (policy := self._wanted(record)):
            return
        order = Order(reason=f"lifecycle.on_new_version = {policy}")
        self._changes.turns.keep(self.take(model, number, policy, order))

    async def begun_anew(self, record: VersionRecord) -> None:
        """See to a version that was under trial when the controller ended; a retraining sees to its own."""
        model, number, found = record.model, record.number, self._registry.found.get(record.model)
        if self.in_hand(model, number):
            return
        order, warm = Order(record.actor, "begun anew: the controller had ended"), record.stage is Stage.WARMING
        policy = found.settings.lifecycle.on_new_version if found is not None else ""
        if record.actor == ROUTER.actor and policy in FURTHER:
            await self.take(model, number, policy, order)
        else:
            await self._acts.examined(model, number, order, warm=warm)

    def _wanted(self, record: VersionRecord) -> str:
        """What its model's settings want done with a new version; empty for nothing.

        Nothing also where a retraining has it in hand, or waits for one.
        """
        found = self._registry.found.get(record.model)
        champion = self._registry.at(record.model, Stage.CHAMPION)
        if found is None or record.number not in found.versions or champion is None:
            return ""
        policy = found.settings.lifecycle.on_new_version
        tried = self._registry.record(record.model, record.number).stage is not Stage.FOUND
        left_out = found.versions[record.number].left_out  # its owner wants another
        if policy == "none" or tried or left_out or int(record.number) < int(champion.number):
            return ""
        return "" if self.in_hand(record.model, record.number) else policy

    def in_hand(self, model: str, number: str) -> bool:
        """Whether a retraining sees to a version: its own, or where others train the next that comes."""
        case = self._registry.case(model, CaseKind.RETRAINING)
        if case is None:
            return False
        comes = case.state == State.ASKED and newer(number, case.body.get("newest"))
        return case.number == number or comes

    # ---- as far as is wanted ----

    async def take(self, model: str, number: str, to: str, order: Order) -> Taken:
        """See a version through its gates, once it is whole (`to` test), its warm-up too (warm), and on (challenge,
        promote).

        What has passed already is not tried again. It ends where the version waits; `look` goes on. Raises RouterError.
        """
        record, found = self._registry.record(model, number), self._registry.found.get(model)
        fresh = record.stage is Stage.FOUND and found is not None and number in found.versions
        if fresh and found is not None and not await self._whole(found, number):
            return Taken(False, f"version {number} went away before it was whole")
        if record.stage not in SERVING:
            report = await self._acts.examined(model, number, order, warm=to != "test")
            record = self._registry.record(model, number)
            if not report.passed or record.stage not in SERVING:
                return Taken(False, f"version {number} has failed: {record.reason}")
        if to not in FURTHER or record.stage is not Stage.READY:
            return Taken(True, f"version {number} is {record.stage}: {record.reason}")
        if not self._caught_up:
            self._taken.add((model, number))
        way = self._ways[model] = _Way(record, to, order)
        return await self._gone_on(way)

    # ---- as time passes ----

    async def look(self) -> None:
        """What waits goes on where it can; to be called every second or so. Trouble of one holds up no other."""
        await self._catch_up()
        for way in list(self._ways.values()):
            try:
                await self._gone_on(way)
            except RouterError as error:  # it is tried again, and said once
                if way.trouble != str(error):
                    log.warning("a version cannot go on", model=way.record.model, reason=str(error))
                way.trouble = str(error)

    async def _catch_up(self) -> None:
        """Versions that had passed when the server ended, by their model's settings or after a retraining."""
        if self._caught_up:
            return
        waited = []
        for model, found in list(self._registry.found.items()):
            record = self._registry.at(model, Stage.READY)
            champion = self._registry.at(model, Stage.CHAMPION)
            if record is not None and champion is not None and _untouched(record, champion):
                waited.append((record, found, await self._last_cases(record)))
        self._caught_up = True
        for record, found, (of, asked) in waited:
            model, number = record.model, record.number
            if model in self._ways or (model, number) in self._taken or asked is not None:
                continue
            to = str(of.body.get("then", "")) if of is not None else found.settings.lifecycle.on_new_version
            if to in FURTHER and (of is None or not of.open):
                self._ways[model] = _Way(record, to, Order(reason=f"it goes on as was wanted: {to}"))

    async def _last_cases(self, record: VersionRecord) -> tuple[Case | None, Case | None]:
        """Of what retraining a version is, and whether it was asked to promote it."""
        cases, key = self._changes.store.cases, (record.model, record.number)
        found = [await asyncio.to_thread(cases, *key, kind, 1) for kind in (CaseKind.RETRAINING, CaseKind.REQUEST)]
        of, asked = (next(iter(each), None) for each in found)
        return of, asked

    # ---- further ----

    async def _gone_on(self, way: _Way) -> Taken:
        """A challenge or a promotion, or why it waits. A version that somebody else has moved is left to them."""
        model, number = way.record.model, way.record.number
        record = self._registry.records.get((model, number))
        if record is None or record.stage is not Stage.READY or record.digest != way.record.digest:
            self._over(way)
            return Taken(True, f"version {number} is {record.stage if record is not None else 'gone'}")
        newer = self._registry.at(model, Stage.CHAMPION, Stage.CHALLENGER)
        if newer is not None and int(newer.number) > int(number):
            self._over(way)
            return Taken(True, f"version {number} gives way to version {newer.number}, which is newer")
        if why := self._waits(way):
            text = self._tell_waiting(way, why)
            return Taken(True, text, waits=True)
        self._over(way)
        try:
            outcome = await self._lineage(model, number)
        except RouterError:  # the store cannot be read now
            self._ways.setdefault(model, way)
            raise
        path = outcome.facts.get("path", "") if outcome is not None else ""
        try:
            if way.to == "promote" and path == RETRAINED:
                text = await self._promoted(way)
            else:
                text = await self._challenged(way)
                if way.to == "promote":
                    why = outcome.reason if outcome is not None else "its lineage is not known"
                    text = f"{text}; it is not promoted by itself, as it is no parent's copy trained anew ({why})"
        except RouterError as error:
            text = f"version {number} is ready, and stays so: {error}"
        self._tell(way, text)
        return Taken(True, text)

    async def _promoted(self, way: _Way) -> str:
        model, number = way.record.model, way.record.number
        strategy = self._settings(model).promote_by
        came = await self._acts.promote(model, number, way.order, canary=strategy == "canary")
        if isinstance(came, Case) and came.kind is CaseKind.REQUEST:
            return f"the promotion of version {number} waits for approval: `router approve {came.id}`"
        if isinstance(came, Case):
            return f"version {number} is being promoted by canary"
        return f"version {number} is the champion"

    async def _challenged(self, way: _Way) -> str:
        model, number = way.record.model, way.record.number
        share = self._settings(model).challenge_share
        how = f"with {share:g} % of the requests" if share else "as a shadow"
        await self._acts.challenge(model, number, way.order, share=share, shadow=not share)
        try:
            trial = await self._acts.start_trial(model, number, way.order)
        except RouterError as error:
            return f"version {number} challenges {how}, without a trial: {error}"
        return f"version {number} challenges {how}: trial {trial.id} has begun"

    def _waits(self, way: _Way) -> str:
        """What a version waits for; empty where it can go on."""
        model, number = way.record.model, way.record.number
        shares = way.to == "promote" or self._settings(model).challenge_share > 0
        if shares and self._registry.is_frozen(model):
            thaw = f"router thaw {model}" if model in self._registry.frozen else "router thaw"
            return f"the model is frozen, `{thaw}` lets it go on"
        for kind, what in ((CaseKind.ROLLOUT, "is being promoted by canary"), (CaseKind.TRIAL, "is on trial")):
            case = self._registry.case(model, kind)
            if case is not None and case.number != number:
                return f"version {case.number} {what}, and one at a time is compared with the champion"
        asked = self._registry.case(model, CaseKind.REQUEST)
        if way.to == "promote" and asked is not None and asked.number != number:
            return f"the promotion of version {asked.number} waits for approval: `router reject {asked.id}` ends that"
        return ""

    def _settings(self, model: str) -> LifecycleSettings:
        route = self._changes.table.routes.get(model)
        return route.settings.lifecycle if route is not None else LifecycleSettings()

    async def _lineage(self, model: str, number: str) -> Outcome | None:
        """What its gates found of where it comes from."""
        reports = await asyncio.to_thread(self._changes.store.reports, model, number)
        return lineage_of(reports)

    # ---- telling ----

    def _over(self, way: _Way) -> None:
        if self._ways.get(way.record.model) is way:
            del self._ways[way.record.model]

    def _tell_waiting(self, way: _Way, why: str) -> str:
        """Tell it once, and now and then."""
        text, now = f"version {way.record.number} is ready, and waits: {why}", self._monotonic()
        if text != way.told or now - way.told_at >= TELL_S:
            way.told, way.told_at = text, now
            self._tell(way, text, waits=True)
        return text

    def _tell(self, way: _Way, text: str, **facts: Any) -> None:
        record = way.record
        log.info("a version goes its way", model=record.model, version=record.number, to=way.to, told=text)
        self._changes.events.tell("course", record.model, record.number, text, to=way.to, **facts)


def lineage_of(reports: list[Report]) -> Outcome | None:
    """What the newest report that says so has of where a version comes from."""
    outcomes = [each for report in reports for each in report.outcomes if each.gate == LINEAGE]
    return outcomes[0] if outcomes else None


def _untouched(record: VersionRecord, champion: VersionRecord) -> bool:
    """Whether a version that is ready came so far by itself, and nobody has done anything with it since."""
    mine = record.actor == ROUTER.actor and record.reason.startswith("passed its gates and its warm-up")
    return mine and record.stage not in UNDER_TRIAL and int(record.number) > int(champion.number)
