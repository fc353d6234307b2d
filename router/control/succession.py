"""Who answers for a model: one version takes the place of another, in one flip, and back the same way."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import structlog

from router.control.change import Changes, Draft
from router.control.examination import Examination
from router.control.planning import Planning
from router.control.records import Order, Swapped, VersionRecord
from router.core.approval import check_files
from router.core.version import SERVING, Stage
from router.errors import Conflict, InvalidRequest, Refused

log = structlog.get_logger()

NO_FACTS: Final[Mapping[str, object]] = MappingProxyType({})


class Succession:
    """Promotion and rollback."""

    def __init__(self, changes: Changes, planning: Planning, examination: Examination) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._planning = planning
        self._examination = examination

    async def promote(
        self,
        model: str,
        number: str,
        order: Order,
        expected: str = "",
        override: bool = False,
        digest: str = "",
    ) -> Swapped:
        """Make a version the champion, in one flip; the one before stands by.

        `expected`: the champion that whoever asks believes in, by default the one of this moment. `override`: although
        its gates say no. `digest`: the SHA-256 of the files that were agreed to, empty for any. Raises NotFound,
        Refused, NoRoom, Conflict when somebody else was first, or the files are others.
        """
        if override and not order.reason:
            raise InvalidRequest("an override needs a reason: say why with --reason")

        async def change(draft: Draft) -> None:
            record = self._registry.record(model, number)
            if record.stage is Stage.CHAMPION:
                raise Refused(f"version {number} of model '{model}' is its champion already")
            obstacles = self._planning.obstacles(record, override=override)
            if obstacles:
                raise Refused(obstacles[0])
            if record.stage not in SERVING:
                record = await self._examination.made_ready(record, order)
            check_files(model, number, record.digest, digest)
            self.succeed(draft, record, order)
            if not override and (harms := self._planning.harms(draft)):
                raise Refused(harms[0])

        facts = {"override": True} if override else {}
        return await self._swapped("promote", model, number, order, expected, change, facts)

    async def rollback(self, model: str, number: str, order: Order, expected: str = "") -> Swapped:
        """Make the standby the champion again, or with a `number` any version that has been ready and is still there.

        Allowed where gates would refuse, and while promotions are frozen. Raises NotFound, Refused, NoRoom, Conflict.
        """

        async def change(draft: Draft) -> None:
            self._registry.known(model)
            standby = self._registry.at(model, Stage.STANDBY)
            if not number and standby is None:
                kept = ", ".join(each.number for each in self._registry.of(model) if each.stage is not Stage.CHAMPION)
                raise Refused(
                    f"model '{model}' has no standby: name a version to go back to; it has {kept or 'no other'}"
                )
            record = self._registry.record(model, number) if number else standby
            assert record is not None
            if record.stage is Stage.CHAMPION:
                raise Refused(f"version {number} of model '{model}' is its champion already")
            if not record.digest:  # what nobody has seen serve is not a way back
                raise Refused(
                    f"version {number} of model '{model}' has never been ready, so there is no way back to it:"
                    f" `router test {model} {number}`, then promote it"
                )
            if record.stage not in SERVING:
                record = await self._examination.made_ready(record, order)
            self.succeed(draft, record, order)

        return await self._swapped("rollback", model, number, order, expected, change)

    def succeed(self, draft: Draft, record: VersionRecord, order: Order) -> None:
        """`record` becomes champion, the champion stands by, who stood by drains; for whoever has the turn.

        Raises Refused where its settings do not fit it.
        """
        registry, model = self._registry, record.model
        champion, standby = registry.at(model, Stage.CHAMPION), registry.at(model, Stage.STANDBY)
        if standby is not None and standby.number != record.number:
            why = f"version {champion.number if champion else '?'} stands by now"
            draft.put(registry.moved(standby, Stage.DRAINING, order, f"retired: {why}"))
        if champion is not None:
            draft.put(registry.moved(champion, Stage.STANDBY, order, f"version {record.number} took its place"))
        draft.put(registry.moved(record, Stage.CHAMPION, order, order.reason))
        draft.must = (model, record.number)
        if reason := self._changes.misfit(draft, model, record.number):
            raise Refused(f"version {record.number} of model '{model}': {reason}")

    async def _swapped(
        self,
        action: str,
        model: str,
        number: str,
        order: Order,
        expected: str,
        change: Callable[[Draft], Awaitable[None]],
        facts: Mapping[str, object] = NO_FACTS,
    ) -> Swapped:
        """`facts` go into the audit log."""
        began = time.monotonic()
        await self._changes.turns.started.wait()
        seen = self._registry.at(model, Stage.CHAMPION)
        if number:
            await self._changes.drained(model, number)
            if action == "rollback":
                await self._examination.fetch(model, number)

        async def alone() -> Swapped:
            now = self._registry.at(model, Stage.CHAMPION)
            was = now.number if now is not None else None
            believed = expected or (seen.number if seen is not None else None)
            if was != believed:
                who = f"version {was}, made so by {now.actor}" if now is not None else "none"
                raise Conflict(f"the champion of '{model}' is {who}, not {believed or 'none'}: look again")
            draft = Draft()
            await change(draft)
            chosen = next(each for each in draft.records.values() if each.stage is Stage.CHAMPION)
            before: dict[str, object] = {"champion": was}
            after: dict[str, object] = {"champion": chosen.number, **facts}
            draft.entries.append(self._changes.entry(order, action, model, chosen.number, before, after))
            generation = await self._changes.commit(draft)
            took = time.monotonic() - began
            route = self._changes.table.routes[model]
            self.tell(action, chosen, was, f"after {took * 1e3:.0f} ms", order)
            return Swapped(generation, model, chosen.number, route.standby, was, took)

        return await self._changes.turns.alone(alone)

    def tell(self, action: str, champion: VersionRecord, was: str | None, how: str, order: Order) -> None:
        """Tell whoever watches of a champion that answers by now."""
        model, number = champion.model, champion.number
        text = f"{action}: version {number} answers, {was or 'none'} before, {how}"
        self._changes.events.tell("champion", model, number, text, self._changes.table.generation, actor=order.actor)
        log.info("the champion has changed", model=model, version=number, action=action, actor=order.actor)
