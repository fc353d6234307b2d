"""The front door of promotions: at once where the model's importance lets them, else when enough others agree.

A request is a case: it outlives the process, and its model goes on with its champion. The last approval carries it out,
in the name of whoever asked, against the champion that was there then, with the files that were agreed to. A rollback
needs nobody; what is a promotion by another name is refused by `consent`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from router.control.change import Changes, Draft
from router.control.consent import Consent
from router.control.exhibits import Cases, Exhibits
from router.control.records import Case, Order, Swapped, VersionRecord
from router.core.access import Actor
from router.core.actions import Action, check_actor, check_stage
from router.core.approval import Approval, Request, check_rejecter, request_of
from router.core.standing import CaseKind
from router.core.version import SERVING
from router.errors import Conflict, InvalidRequest, NotFound, Refused, RouterError

log = structlog.get_logger()

Promote = Callable[[str, str, Order, str, bool, str], Awaitable[Swapped]]
"""model, number, order, expected champion, override, and the SHA-256 of the files that were agreed to, empty for any"""
Canary = Callable[[str, str, Order, str, bool, str], Awaitable[Case]]

APPROVED: Final = "approved"
"""It was carried out; the outcome says what became of it."""
REFUSED: Final = "refused"
"""Enough agreed, and it could not be carried out."""
REJECTED: Final = "rejected"
VOID: Final = "void"
"""It came too late, or what was asked for is not what is there now."""
EXPIRED: Final = "it has expired: ask again"
ROUTER: Final = Order()


class Approvals:
    """Requests, and who agrees.

    `consent` says who must agree. `obstacles` says why a version (its record, whether its gates are overridden) could
    not be promoted now: nobody is asked in vain. `monotonic` gives seconds that no setting of the clock moves.

    Two clocks say when a request has expired, the server's and the time since it was seen by this process. An approval
    counts only while neither says so. A clock that was set forward by mistake does not end a request, though: that is
    done by the time that has passed here, by the clock at a start of the server, or when somebody asks again.
    """

    def __init__(
        self,
        changes: Changes,
        consent: Consent,
        promote: Promote,
        canary: Canary,
        cases: Cases,
        obstacles: Callable[[VersionRecord, bool], Sequence[str]] = lambda record, override: (),  # noqa: ARG005
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._consent = consent
        self._promote = promote
        self._canary = canary
        self._exhibits = Exhibits(changes, cases)
        self._obstacles = obstacles
        self._monotonic = monotonic
        self._ends: dict[int, float] = {}
        """When requests expire by the monotonic clock."""
        self._carried: set[int] = set()
        """Requests that are being carried out."""

    # ---- asking ----

    async def promote(
        self,
        model: str,
        number: str,
        order: Order,
        expected: str = "",
        override: bool = False,
        canary: bool = False,
        at_least: int = 0,
    ) -> Swapped | Case:
        """Promote a version, or open a canary (its case); or open a request where others must agree first (its case).

        Whoever asks again has the request that is open. `at_least` so many must agree, whatever the policy says.
        Raises NotFound, Denied, InvalidRequest, Refused, NoRoom, Conflict.
        """
        await self._changes.turns.started.wait()
        self._registry.known(model)
        rule, who = self._consent.rule(model), Actor(order.actor, order.role)
        action = Action.OVERRIDE if override else Action.CANARY if canary else Action.PROMOTE
        check_actor(action, who, rule, model)
        if override and not order.reason:
            raise InvalidRequest("an override needs a reason: say why with --reason")
        needed = max(rule.settings.approvals, at_least)
        if not needed:
            return await (self._canary if canary else self._promote)(model, number, order, expected, override, "")

        async def ask() -> Case:
            record = self._registry.record(model, number)
            if obstacles := self._obstacles(record, override):
                raise Refused(obstacles[0])
            stands = record.stage in SERVING
            check_stage(Action.CANARY if canary and stands else action, model, number, record.stage)
            rollout = self._registry.case(model, CaseKind.ROLLOUT)
            if rollout is not None and (canary or rollout.number != number):
                raise Conflict(
                    f"version {rollout.number} of model '{model}' is being promoted by canary: wait for its end, or"
                    f" `router canary {model} --stop`"
                )
            champion = self._exhibits.champion(model)
            if expected not in {"", champion}:
                raise Conflict(f"the champion of '{model}' is version {champion or 'none'}, not {expected}: look again")
            now, expires_s = self._changes.clock(), rule.settings.expires_s
            asked = Request(
                model,
                number,
                await self._exhibits.digest(record),
                order.actor,
                order.role,
                order.reason,
                "canary" if canary else "swap",
                override,
                champion,
                await self._exhibits.shown(model, number),
                rule.level,
                needed,
                now,
                now + expires_s,
            )
            return await self._asked(asked, order)

        return await self._changes.turns.alone(ask)

    async def _asked(self, asked: Request, order: Order) -> Case:
        """The request that is open already for the same, or a new one. For whoever has the turn."""
        case = self._registry.case(asked.model, CaseKind.REQUEST)
        if case is not None:
            known = _request(case)
            if gone := self._late(case, known) or await self._exhibits.outdated(known):
                await self._end(case, VOID, gone, ROUTER)
            elif (known.number, known.strategy, known.override) == (asked.number, asked.strategy, asked.override):
                return case
            else:
                raise Conflict(
                    f"request {case.id} of '{known.requester}' waits for approval, to have {known.what}:"
                    f" `router reject {case.id}` ends it"
                )
        id_, model, number = self._registry.next_case(), asked.model, asked.number
        fresh = Case(id_, CaseKind.REQUEST, model, number, asked.digest, order.actor, asked.began, body=asked.body())
        before: dict[str, object] = {"champion": asked.expected or None}
        named = ("strategy", "override", "approvals", "level", "digest", "evidence", "expires")
        after: dict[str, object] = {"request": id_, **{name: fresh.body[name] for name in named}}
        entry = self._changes.entry(order, "request", model, number, before, after)
        await self._changes.commit(Draft(entries=[entry], cases={id_: fresh}))
        self._ends[id_] = self._monotonic() + asked.expires - asked.began
        self._tell(fresh, f"request {id_} waits for approval, it has {asked.count}: `router approve {id_}`", order)
        return fresh

    # ---- agreeing, or not ----

    async def approve(self, id_: int, order: Order, digest: str = "") -> Case:
        """Agree to a request; the last one that was missing has it carried out before this returns.

        `digest`: that of the version as the approver was shown it, or its first digits. The case says what became of
        it: open while others are missing, else approved, refused or void. Raises NotFound; Denied for one whose word
        does not count; Conflict, Refused where nothing can come of it any more.
        """
        return await self._changes.turns.shielded(self._approved(id_, order, digest))

    async def _approved(self, id_: int, order: Order, digest: str) -> Case:
        async def agree() -> Case:
            case = self._open(id_)
            request = _request(case)
            request.check_approver(id_, Actor(order.actor, order.role), digest)
            if self._late(case, request):
                raise Refused(f"request {id_} is void: {EXPIRED}")
            if gone := await self._exhibits.outdated(request):
                await self._end(case, VOID, gone, ROUTER)
                raise Refused(f"request {id_} is void: {gone}")
            rule = self._consent.rule(case.model)  # it may be more important by now
            needed = max(request.approvals, rule.settings.approvals)
            approval = Approval(order.actor, self._changes.clock(), order.reason)
            agreed = replace(request, approvals=needed, given=(*request.given, approval))
            if not agreed.missing:
                record = self._registry.record(case.model, case.number)
                if obstacles := self._obstacles(record, request.override):
                    raise Refused(f"request {id_} cannot be carried out now: {obstacles[0]}")
            kept = replace(case, body=agreed.body())
            after: dict[str, object] = {"request": id_, "given": len(agreed.given), "approvals": needed}
            after |= {"requester": request.requester, "digest": request.digest, "evidence": request.evidence}
            entry = self._changes.entry(order, "approve", case.model, case.number, {}, after)
            await self._changes.commit(Draft(entries=[entry], cases={id_: kept}))
            if not agreed.missing:
                self._carried.add(id_)
            self._tell(kept, f"'{order.actor}' approves request {id_}: it has {agreed.count}", order)
            return kept

        case = await self._changes.turns.alone(agree)
        return await self._carried_out(case) if id_ in self._carried else case

    async def reject(self, id_: int, order: Order) -> Case:
        """End a request, as an approver, or as who made it. Raises NotFound, Denied, Conflict."""

        async def end() -> Case:
            case = self._open(id_)
            requester = str(case.body.get("requester", ""))
            check_rejecter(id_, requester, Actor(order.actor, order.role))
            why = f"{'taken back' if order.actor == requester else 'rejected'} by '{order.actor}'"
            why += f": {order.reason}" if order.reason else ""
            return await self._end(case, REJECTED, why, order)

        return await self._changes.turns.alone(end)

    # ---- carrying out ----

    async def _carried_out(self, case: Case) -> Case:
        """What was approved is done; how the case has ended. It is among the `_carried`, and nobody has the turn."""
        try:
            state, outcome = await self._outcome(case, _request(case))
            return await self._changes.turns.alone(
                lambda: self._end(case, state, outcome, Order(case.actor), owed=True)
            )
        finally:
            self._carried.discard(case.id)

    async def _outcome(self, case: Case, request: Request) -> tuple[str, str]:
        """Do it; the state in which the case ends, and what became of it in words."""
        model, number = case.model, case.number
        if done := self._done(case, request):  # before a restart
            return APPROVED, done
        order = Order(request.requester, request.reason, request.role)
        by = ", ".join(each.actor for each in request.given)
        try:
            if gone := await self._exhibits.outdated(request):
                raise Conflict(gone)
            action = Action.OVERRIDE if request.override else Action.PROMOTE
            check_actor(action, Actor(order.actor, order.role), self._consent.rule(model), model)
            if request.strategy == "canary":
                rollout = await self._canary(model, number, order, request.expected, request.override, request.digest)
                return APPROVED, f"approved by {by}: canary {rollout.id} has begun"
            swapped = await self._promote(model, number, order, request.expected, request.override, request.digest)
        except Conflict as error:
            return VOID, str(error)
        except RouterError as error:
            return REFUSED, f"approved by {by}, and not carried out: {error}"
        except Exception:
            log.exception("an approved promotion failed by a fault of ours", request=case.id, model=model)
            return REFUSED, f"approved by {by}, and not carried out: the server failed, its log has the details"
        return APPROVED, f"approved by {by}: version {swapped.champion} answers"

    def _done(self, case: Case, request: Request) -> str:
        """What became of a request that was carried out before this process began; empty if it was not."""
        rollout = self._registry.case(case.model, CaseKind.ROLLOUT)
        if request.strategy == "canary" and rollout is not None and rollout.number == case.number:
            return f"canary {rollout.id} has begun"
        answers = self._exhibits.champion(case.model) == case.number
        return f"version {case.number} answers" if answers else ""

    # ---- time passes ----

    async def look(self) -> None:
        """End what has expired or can come to nothing, and carry out what a restart has kept from it.

        To be called every second or so; it does nothing where nothing is due. Raises nothing for one model's trouble.
        """
        for case in [each for each in self._registry.cases.values() if each.kind is CaseKind.REQUEST]:
            if case.id in self._carried:
                continue
            try:
                request = _request(case)
                gone = EXPIRED if self._monotonic() >= self._expires(case, request) else ""
                gone = gone or request.outdated(request.digest, None, self._exhibits.champion(case.model))
            except RouterError as error:
                request, gone = None, str(error)
            if request is not None and not request.missing:
                self._carried.add(case.id)
                self._changes.turns.keep(self._carried_out(case))
            elif gone:
                await self._voided(case.id, gone)

    async def _voided(self, id_: int, why: str) -> None:
        async def end() -> None:
            if (case := self._registry.cases.get(id_)) is not None and id_ not in self._carried:
                await self._end(case, VOID, why, ROUTER, owed=True)

        await self._changes.turns.alone(end)

    def _expires(self, case: Case, request: Request) -> float:
        """When it expires by the monotonic clock: as much later as the server's clock said when it was first seen."""
        if case.id not in self._ends:
            left = min(request.expires - self._changes.clock(), request.expires - request.began)
            self._ends[case.id] = self._monotonic() + left
        return self._ends[case.id]

    def _late(self, case: Case, request: Request) -> str:
        """That it has expired by either clock; empty if by none."""
        here = self._monotonic() >= self._expires(case, request)
        return EXPIRED if here or self._changes.clock() >= request.expires else ""

    # ---- a case ----

    def _open(self, id_: int) -> Case:
        case = self._registry.cases.get(id_)
        if case is None or case.kind is not CaseKind.REQUEST:
            mine = [str(each.id) for each in self._registry.cases.values() if each.kind is CaseKind.REQUEST]
            have = f"open are {', '.join(mine)}" if mine else "none is open"
            raise NotFound(f"there is no open request {id_}: {have} (`router cases --kind request` lists all)")
        if id_ in self._carried:
            raise Conflict(f"request {id_} has all its approvals, and is being carried out")
        return case

    async def _end(self, case: Case, state: str, outcome: str, order: Order, *, owed: bool = False) -> Case:
        """The request is over. For whoever has the turn. `owed`: it is over even where that cannot be stored now.

        Raises Refused when it cannot.
        """
        ended = replace(case, ended=self._changes.clock(), state=state, body={**case.body, "outcome": outcome})
        before: dict[str, object] = {"request": case.id, "state": case.state}
        after: dict[str, object] = {"request": case.id, "state": state, "outcome": outcome}
        action = "reject" if state == REJECTED else "request"
        entry = self._changes.entry(order, action, case.model, case.number, before, after)
        draft = Draft(entries=[entry], cases={case.id: ended})
        try:
            await self._changes.commit(draft)
        except RouterError as error:
            if not owed:
                raise
            log.error("the end of a request could not be stored", request=case.id, reason=str(error))
            self._changes.owe(draft)
        self._ends.pop(case.id, None)
        self._tell(ended, f"request {case.id} is {state}: {outcome}", order)
        return ended

    def _tell(self, case: Case, text: str, order: Order) -> None:
        self._changes.events.tell(
            "request", case.model, case.number, text, request=case.id, state=case.state, actor=order.actor
        )
        log.info("a request for approval", request=case.id, model=case.model, version=case.number, told=text)


def _request(case: Case) -> Request:
    """What a case holds. Raises RouterError."""
    return request_of(case.model, case.number, case.digest, case.began, case.body)
