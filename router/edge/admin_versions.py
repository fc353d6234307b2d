"""The life of versions on the admin port: what there is, and what is to become of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence

from router.control.records import Case, ModelView, PromotionPlan, Swapped, VersionRecord
from router.core.access import Actor
from router.core.gate import Report
from router.core.standing import EVERYTHING
from router.edge import admin_cases, reports
from router.edge import admin_words as words
from router.edge.admin_sources import Database, Lifecycle, begun
from router.edge.error_details import BadField
from router.pb import admin_pb2 as pb


class Versions:
    """Answers from the lifecycle; every method raises RouterErrors. `actor` is who asks."""

    def __init__(self, lifecycle: Lifecycle, database: Database | None) -> None:
        self._lifecycle = lifecycle
        self._database = database

    async def listed(self, request: pb.ListVersionsRequest) -> pb.ListVersionsResponse:
        """All versions of all models or of one, and which of them have which part."""
        lifecycle = self._begun()
        views = lifecycle.versions(words.any_model(request.model))
        newest = await asyncio.to_thread(self._newest, [view.model for view in views])
        return pb.ListVersionsResponse(
            generation=lifecycle.table.generation,
            frozen=EVERYTHING in lifecycle.frozen,
            models=[_view(view, each) for view, each in zip(views, newest, strict=True)],
        )

    def _newest(self, models: Sequence[str]) -> list[Sequence[Report]]:
        if self._database is None:
            return [()] * len(models)
        return [self._database.reports(model, "", "", 0) for model in models]

    async def load(self, request: pb.LoadModelRequest, actor: Actor) -> pb.Changed:
        """Serve a version, or what the policy chooses."""
        model, number = words.model(request.model), words.any_number(request.version)
        return await self._changed(model, self._begun().load(model, number, words.order(actor, request.reason)))

    async def unload(self, request: pb.UnloadModelRequest, actor: Actor) -> pb.Changed:
        """Serve a version no more, or the whole model."""
        model, number = words.model(request.model), words.any_number(request.version)
        return await self._changed(model, self._begun().unload(model, number, words.order(actor, request.reason)))

    async def test(self, request: pb.TestVersionRequest, actor: Actor) -> pb.Report:
        """The gates, to the verdict."""
        model, number = words.model(request.model), words.number(request.version)
        return reports.to_message(await self._begun().test(model, number, words.order(actor, request.reason)))

    async def warm(self, request: pb.WarmVersionRequest, actor: Actor) -> pb.Report:
        """The warm-up, to the verdict."""
        model, number = words.model(request.model), words.number(request.version)
        return reports.to_message(await self._begun().warm(model, number, words.order(actor, request.reason)))

    async def plan(self, request: pb.PlanPromotionRequest) -> pb.PromotionPlan:
        """What a promotion would do. Nothing is done."""
        model, number = words.model(request.model), words.number(request.version)
        return _plan(await self._begun().plan(model, number))

    async def promote(self, request: pb.PromoteRequest, actor: Actor) -> pb.Changed:
        """Make a version champion."""
        model, number = words.model(request.model), words.number(request.version)
        if request.strategy not in {"", "swap", "canary"}:
            wrong = f"{words.shown(request.strategy)} is no strategy"
            raise BadField("strategy", f"{wrong}: canary or swap is meant, which is nothing, too")
        expected = words.any_number(request.expected_champion, "expected_champion")
        order = words.order(actor, request.reason)
        if request.override and not order.reason:
            raise BadField("reason", "an override of the gates needs a reason: it is kept in the audit log")
        canary = request.strategy == "canary"
        made = await self._begun().promote(model, number, order, expected, request.override, canary)
        return self._swapped(made)

    async def rollback(self, request: pb.RollbackRequest, actor: Actor) -> pb.Changed:
        """Go back to the standby, or to any version that is kept."""
        model, number = words.model(request.model), words.any_number(request.version)
        expected = words.any_number(request.expected_champion, "expected_champion")
        order = words.order(actor, request.reason)
        return self._swapped(await self._begun().rollback(model, number, order, expected))

    async def freeze(self, request: pb.FreezeRequest, actor: Actor) -> pb.FreezeResponse:
        """Stop promotions of a model or of all, or let them go on."""
        model = words.any_model(request.model)
        await self._begun().freeze(model, request.frozen, words.order(actor, request.reason))
        return pb.FreezeResponse()

    async def set_alias(self, request: pb.SetAliasRequest, actor: Actor) -> pb.Changed:
        """Point an alias at a version, or remove it."""
        model, alias = words.model(request.model), words.alias(request.alias)
        number = words.any_number(request.version)
        change = self._begun().set_alias(model, alias, number, words.order(actor, request.reason))
        return await self._changed(model, change)

    async def set_fallback(self, request: pb.SetFallbackRequest, actor: Actor) -> pb.SetFallbackResponse:
        """Switch a model to its fallback, or back; every worker does when this returns."""
        model = words.model(request.model)
        await self._begun().set_fallback(model, request.on, words.order(actor, request.reason))
        return pb.SetFallbackResponse(generation=self._lifecycle.table.generation)

    def _begun(self) -> Lifecycle:
        return begun(self._lifecycle)

    async def _changed(self, model: str, change: Awaitable[int | None]) -> pb.Changed:
        began, before = time.monotonic(), self._lifecycle.table.routes.get(model)
        await change
        table = self._lifecycle.table
        route = table.routes.get(model)
        return pb.Changed(
            generation=table.generation,
            model=model,
            champion=(route.champion if route else None) or "",
            standby=(route.standby if route else None) or "",
            was_champion=(before.champion if before else None) or "",
            took_ms=(time.monotonic() - began) * 1e3,
        )

    def _swapped(self, made: Swapped | Case) -> pb.Changed:
        """What serves now; with a case the champion is as it was."""
        if isinstance(made, Swapped):
            return pb.Changed(
                generation=made.generation,
                model=made.model,
                champion=made.champion,
                standby=made.standby or "",
                was_champion=made.was_champion or "",
                took_ms=made.took_s * 1e3,
            )
        table = self._lifecycle.table
        route = table.routes.get(made.model)
        champion = (route.champion if route else None) or ""
        return pb.Changed(
            generation=table.generation,
            model=made.model,
            champion=champion,
            standby=(route.standby if route else None) or "",
            was_champion=champion,
            opened=admin_cases.to_message(made),
        )


def _view(view: ModelView, newest: Sequence[Report]) -> pb.ModelVersions:
    return pb.ModelVersions(
        model=view.model,
        versions=[
            _version(each, [report for report in newest if report.number == each.number]) for each in view.records
        ],
        aliases=view.aliases,
        frozen=view.frozen,
        champion=view.champion or "",
        standby=view.standby or "",
        shares=view.split.shares,
        matches=[pb.MetadataMatch(key=each.key, value=each.value, version=each.number) for each in view.split.matches],
        shadows=sorted(view.shadows, key=lambda number: (len(number), number)),
        cases=[admin_cases.to_message(each) for each in view.cases],
    )


def _version(record: VersionRecord, newest: Sequence[Report]) -> pb.VersionInfo:
    return pb.VersionInfo(
        number=record.number,
        digest=record.digest,
        stage=record.stage.value,
        reason=record.reason,
        since_seconds=record.since,
        actor=record.actor,
        reports=reports.summaries(newest),
        mark=record.mark,
    )


def _plan(plan: PromotionPlan) -> pb.PromotionPlan:
    return pb.PromotionPlan(
        model=plan.model,
        version=plan.number,
        possible=plan.possible,
        obstacles=plan.obstacles,
        evidence=reports.summaries(plan.evidence),
        memory_needed_bytes=plan.memory_needed_bytes,
        memory_free_bytes=plan.memory_free_bytes,
        champion=plan.champion or "",
        standby=plan.standby or "",
        standby_after=plan.standby_after or "",
        moves=plan.moves,
        way_back=plan.way_back,
    )
