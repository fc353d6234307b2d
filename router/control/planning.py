"""What a promotion would do, before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from router.control.change import Changes, Draft
from router.control.records import PromotionPlan, VersionRecord
from router.control.room import Room
from router.core.version import SERVING, UNDER_TRIAL, Stage
from router.errors import NoRoom


class Planning:
    """Looks, and changes nothing."""

    def __init__(self, changes: Changes, room: Room) -> None:
        self._changes = changes
        self._room = room

    def obstacles(self, record: VersionRecord, *, override: bool = False) -> list[str]:
        """Why a version may not become champion now, each with the mend. `override`: although its gates say no."""
        return list(self._obstacles(record, override=override))

    def _obstacles(self, record: VersionRecord, *, override: bool) -> Iterator[str]:
        model, number = record.model, record.number
        registry = self._changes.registry
        what = f"version {number} of model '{model}'"
        if registry.is_frozen(model):
            mine = model in registry.frozen
            whose, thaw = ("", f"router thaw {model}") if mine else (", as all models are", "router thaw")
            yield f"model '{model}' is frozen{whose}: `{thaw}` allows promotions again"
        if record.stage in UNDER_TRIAL:
            yield f"{what} is {record.stage}: wait for its verdict (`router watch {model}`)"
        elif record.stage is Stage.DRAINING:
            yield f"{what} is draining: try again in a moment"
        elif record.stage not in SERVING and not override:
            state = f"has failed ({record.reason})" if record.stage is Stage.FAILED else "has not been tested"
            yield f"{what} {state}: `router test {model} {number}` first"
        elif record.stage is not Stage.CHAMPION and not override and not record.warmed and self._needs_warmth(model):
            yield f"{what} has not been warmed, lifecycle.promote_needs = warm: `router warm {model} {number}` first"
        if record.stage in SERVING and record.mark and not override:
            yield f"{what} could not be loaded by a worker that comes: {record.mark}"

    def _needs_warmth(self, model: str) -> bool:
        route = self._changes.table.routes.get(model)
        return route is not None and route.settings.lifecycle.promote_needs == "warm"

    def harms(self, draft: Draft) -> list[str]:
        """What a promotion would do to other models that speaks against it."""
        return [
            f"model '{name}' would be left without its failover: {why}"
            for name, why in self._changes.bereft(draft).items()
        ]

    def effects(self, record: VersionRecord, *, override: bool = False) -> list[str]:
        """What would speak against it once a version were champion: settings that do not fit it, harm to other models.

        `override`: although other models would be harmed.
        """
        registry, model = self._changes.registry, record.model
        draft = _as_if(record, registry.at(model, Stage.CHAMPION), registry.at(model, Stage.STANDBY))
        reason = self._changes.misfit(draft, model, record.number)
        unfit = [f"version {record.number} of model '{model}': {reason}"] if reason else []
        return unfit + ([] if override else self.harms(draft))

    async def promotion(self, model: str, number: str) -> PromotionPlan:
        """What a promotion would do. Raises NotFound."""
        changes, registry = self._changes, self._changes.registry
        record = registry.record(model, number)
        route = changes.table.routes.get(model)
        champion, standby = registry.at(model, Stage.CHAMPION), registry.at(model, Stage.STANDBY)
        evidence = await asyncio.to_thread(changes.store.reports, model, number)
        if record is champion:
            nothing = f"version {number} of model '{model}' is its champion already"
            names = (number, standby.number if standby else None, standby.number if standby else None)
            return PromotionPlan(model, number, (nothing,), tuple(evidence), 0, self._room.free(), *names, (), "")
        obstacles = self.obstacles(record)
        version, needed = changes.versions.get((model, number)), 0
        if version is not None and route is not None:
            obstacles += self.effects(record)
            if not changes.loaded(model, number):
                replicas = route.settings.sessions.replicas
                needed = self._room.needed(version, record.memory_bytes, replicas)
                try:
                    self._room.check(version, record.memory_bytes, replicas)
                except NoRoom as error:
                    obstacles.append(str(error))
        moves = [f"version {number}: {record.stage} → champion"]
        if champion is not None:
            moves.append(f"version {champion.number}: champion → standby")
        if standby is not None and standby is not record:
            moves.append(f"version {standby.number}: standby → draining → retired")
        moves += [f"alias {name} stays with version {at}" for name, at in (route.aliases if route else {}).items()]
        back = (
            f"`router rollback {model}` makes version {champion.number} answer again, in one flip" if champion else ""
        )
        return PromotionPlan(
            model,
            number,
            tuple(obstacles),
            tuple(evidence),
            needed,
            self._room.free(),
            champion.number if champion else None,
            standby.number if standby else None,
            champion.number if champion else None,
            tuple(moves),
            back or "none: nothing serves now",
        )


def _as_if(record: VersionRecord, champion: VersionRecord | None, standby: VersionRecord | None) -> Draft:
    """The promotion, done in one leap."""
    draft = Draft()
    if standby is not None:
        draft.put(replace(standby, stage=Stage.DRAINING))
    if champion is not None:
        draft.put(replace(champion, stage=Stage.STANDBY))
    draft.put(replace(record, stage=Stage.CHAMPION))
    return draft
