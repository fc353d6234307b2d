"""Challengers, trials, canaries, approvals and declared state on the admin port."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Sequence
from typing import Final

from router.control.records import Case
from router.core.access import Actor
from router.edge import admin_cases
from router.edge import admin_words as words
from router.edge.admin_sources import Database, Lifecycle, Plan, begun
from router.edge.error_details import BadField
from router.errors import NotFound, Refused
from router.pb import admin_pb2 as pb

CASES: Final = 1000
"""At most, in one answer."""
USUAL: Final = 100
"""Cases for who does not say how many."""


class Challenges:
    """Answers from the lifecycle; every method raises RouterErrors. `actor` is who asks."""

    def __init__(self, lifecycle: Lifecycle, database: Database | None) -> None:
        self._lifecycle = lifecycle
        self._database = database

    # ---- challengers ----

    async def challenge(self, request: pb.ChallengeRequest, actor: Actor) -> pb.Changed:
        """Make a version a challenger, with a share, as a shadow, or by what metadata hold."""
        model, number = words.model(request.model), words.number(request.version)
        share, matches = words.share(request.share), words.matches(request.matches, number)
        order = words.order(actor, request.reason)
        change = begun(self._lifecycle).challenge(model, number, order, share, request.shadow, matches)
        return await self._changed(model, change)

    async def split(self, request: pb.SetSplitRequest, actor: Actor) -> pb.Changed:
        """Divide a model's requests; without matches those that there are stay."""
        model, shares = words.model(request.model), words.shares(request.shares)
        matches = words.matches(request.matches) or None
        order = words.order(actor, request.reason)
        return await self._changed(model, begun(self._lifecycle).split(model, shares, matches, order))

    async def withdraw(self, request: pb.WithdrawRequest, actor: Actor) -> pb.Changed:
        """Make a challenger one no longer."""
        model, number = words.model(request.model), words.number(request.version)
        change = begun(self._lifecycle).withdraw(model, number, words.order(actor, request.reason))
        return await self._changed(model, change)

    # ---- what goes on for a while ----

    async def start_trial(self, request: pb.StartTrialRequest, actor: Actor) -> pb.Case:
        """Find out whether a challenger is better than the champion."""
        model, number = words.model(request.model), words.number(request.version)
        order = words.order(actor, request.reason)
        return admin_cases.to_message(await begun(self._lifecycle).start_trial(model, number, order))

    async def stop_trial(self, request: pb.StopTrialRequest, actor: Actor) -> pb.Case:
        """End a trial without a verdict."""
        model, order = words.model(request.model), words.order(actor, request.reason)
        return admin_cases.to_message(await begun(self._lifecycle).stop_trial(model, order))

    async def stop_rollout(self, request: pb.StopRolloutRequest, actor: Actor) -> pb.Case:
        """Undo a canary that is under way."""
        model, order = words.model(request.model), words.order(actor, request.reason)
        return admin_cases.to_message(await begun(self._lifecycle).stop_rollout(model, order))

    async def approve(self, request: pb.ApproveRequest, actor: Actor) -> pb.Case:
        """Agree to what was asked for."""
        case, digest = words.case_id(request.id), words.digest(request.digest)
        order = words.order(actor, request.reason)
        return admin_cases.to_message(await begun(self._lifecycle).approve(case, order, digest))

    async def reject(self, request: pb.RejectRequest, actor: Actor) -> pb.Case:
        """Do not agree; who asked learns why."""
        case, order = words.case_id(request.id), words.order(actor, request.reason)
        if not order.reason:
            raise BadField("reason", "a rejection needs a reason: whoever asked is to learn it")
        return admin_cases.to_message(await begun(self._lifecycle).reject(case, order))

    async def cases(self, request: pb.ListCasesRequest) -> pb.ListCasesResponse:
        """What is under way, or was, newest first."""
        model, number = words.any_model(request.model), words.any_number(request.version)
        kind, last = words.case_kind(request.kind), min(request.last or USUAL, CASES)
        lifecycle = begun(self._lifecycle)
        found: Sequence[Case]
        if request.open:
            views = lifecycle.versions(model)
            going = [each for view in views for each in view.cases]
            going = [each for each in going if number in {"", each.number} and kind in {"", each.kind}]
            found = sorted(going, key=lambda each: each.id, reverse=True)[:last]
        elif self._database is None:
            raise Refused("this server keeps no cases that have ended: ask for those that are open")
        else:
            found = await asyncio.to_thread(self._database.cases, model, number, kind, last)
        if model and not found:
            self._known(model, number)
        return pb.ListCasesResponse(cases=[admin_cases.to_message(each) for each in found])

    def _known(self, model: str, number: str) -> None:
        """Whether there is such a model and version, of which nothing is kept. Raises NotFound."""
        (view,) = self._lifecycle.versions(model)
        if number and all(each.number != number for each in view.records):
            raise NotFound(f"model '{model}' has no version {number}")

    # ---- declared state, evidence ----

    async def diff(self, request: pb.ApplyRequest) -> pb.ApplyResponse:
        """What a file declares, against what is. Nothing is done."""
        return self._plan(await begun(self._lifecycle).diff(words.declared(request.text)))

    async def apply(self, request: pb.ApplyRequest, actor: Actor) -> pb.ApplyResponse:
        """Make it so, if nothing is in its way."""
        text, order = words.declared(request.text), words.order(actor, request.reason)
        return self._plan(await begun(self._lifecycle).apply(text, order))

    def _plan(self, plan: Plan) -> pb.ApplyResponse:
        steps = [
            pb.ApplyStep(
                action=each.action, model=each.model, version=each.number, text=each.text, outcome=each.outcome
            )
            for each in plan.steps
        ]
        generation = self._lifecycle.table.generation
        return pb.ApplyResponse(steps=steps, conflicts=plan.conflicts, generation=generation)

    async def evidence(self, request: pb.GetEvidenceRequest) -> pb.Evidence:
        """All that is known of why a version serves, or does not."""
        model, number = words.model(request.model), words.number(request.version)
        return pb.Evidence(json=json.dumps(await begun(self._lifecycle).evidence(model, number), allow_nan=False))

    async def _changed(self, model: str, change: Awaitable[int]) -> pb.Changed:
        began = time.monotonic()
        generation = await change
        route = self._lifecycle.table.routes.get(model)
        champion = (route.champion if route else None) or ""
        return pb.Changed(
            generation=generation,
            model=model,
            champion=champion,
            standby=(route.standby if route else None) or "",
            was_champion=champion,
            took_ms=(time.monotonic() - began) * 1e3,
        )
