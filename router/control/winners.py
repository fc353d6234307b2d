"""Winners of trials: what their model's settings make of a win, once, also where the server ended in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from router.control.change import Changes, Draft
from router.control.records import Case, Order
from router.core.contest import Contest, contest_of
from router.core.standing import CaseKind
from router.core.version import Stage
from router.errors import RouterError

REMEMBERED: Final = 100
"""Trials that ended last: one of them may have a winner that waits to be promoted."""

Act = Callable[[str, str, Order, str, bool], Awaitable[object]]
"""Promotes a winner: model, number, order, `swap` or `canary`, and whether somebody must approve it first."""


class Winners:
    """Promotes winners, or asks for that. A trial's case says that it is `due` until it was done."""

    def __init__(self, changes: Changes, act: Act) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._act = act
        self._caught_up = False
        self._taken: set[int] = set()
        """Trials whose winner is seen to, or was."""

    async def catch_up(self) -> None:
        """See to those that waited when the server ended; once. Raises RouterError."""
        if self._caught_up:
            return
        ended = await asyncio.to_thread(self._changes.store.cases, "", "", CaseKind.TRIAL, REMEMBERED)
        self._caught_up = True
        for case in ended:
            if case.body.get("due") is True and case.id not in self._taken:
                self._changes.turns.keep(self.promote(case))

    async def promote(self, case: Case) -> None:
        """See to the winner of a trial; what became of it is kept with the trial. Raises RouterError."""
        self._taken.add(case.id)
        contest = contest_of(case.body)
        outcome = self._settled(case, contest) or await self._acted(case, contest)

        async def change() -> None:
            text = f"{case.body.get('text', '')} {outcome[0].upper()}{outcome[1:]}.".strip()
            body = {**case.body, "due": False, "outcome": outcome, "text": text}
            await self._changes.commit(Draft(cases={case.id: replace(case, body=body)}))
            told = f"version {case.number} has won its trial: {outcome}"
            self._changes.events.tell("trial", case.model, case.number, told, case=case.id)

        await self._changes.turns.alone(change)

    def _settled(self, case: Case, contest: Contest) -> str:
        """What has become of it already; empty where it still waits for us."""
        model, number = case.model, case.number
        champion, record = self._registry.at(model, Stage.CHAMPION), self._registry.records.get((model, number))
        if champion is not None and (champion.number, champion.digest) == (number, case.digest):
            return "it is the champion"
        for kind, told in ((CaseKind.ROLLOUT, "its canary is under way"), (CaseKind.REQUEST, "it waits for approval")):
            known = self._registry.case(model, kind)
            if known is not None and known.number == number:
                return told
        if champion is None or (champion.number, champion.digest) != (contest.champion, contest.champion_digest):
            return "it was not promoted, as the champion has changed"
        if record is None or record.stage is not Stage.READY or record.digest != case.digest:
            return f"it was not promoted, as it is {record.stage if record is not None else 'gone'}"
        return ""

    async def _acted(self, case: Case, contest: Contest) -> str:
        order = Order(case.actor, f"it won trial {case.id}: {case.body.get('text', '')}", contest.role)
        asks, strategy = contest.settings.on_win == "ask", contest.settings.strategy
        try:
            came = await self._act(case.model, case.number, order, strategy, asks)
        except RouterError as error:
            return f"it was not promoted: {error}"
        if isinstance(came, Case) and came.kind is CaseKind.REQUEST:
            return f"its promotion waits for approval: `router approve {came.id}`"
        return f"it is promoted by {strategy}"
