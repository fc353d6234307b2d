"""Challengers: versions beside the champion, with a share of its requests or with copies of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from router.control.change import Changes, Draft
from router.control.records import Case, Order, VersionRecord
from router.core.gate import Verdict
from router.core.likeness import signature_gate
from router.core.split import Match, moved
from router.core.standing import CaseKind
from router.core.table import Route, VersionState
from router.core.version import UNDER_TRIAL, Stage
from router.errors import InvalidRequest, Refused

log = structlog.get_logger()

CheckSplit = Callable[[Route, Route], Awaitable[None]]
"""Whether a model's requests may be divided anew, as they are and as they would be. Raises Refused."""


async def _any(_before: Route, _after: Route) -> None:
    """All may be so."""


class Challenges:
    """Who challenges, and with how much. A version that is ready is loaded: all that is changed here is the table.

    In a frozen model no share may rise; shadows, smaller shares and withdrawals are allowed, as they promote nobody.
    `check` has the last word on what requests are divided into, in the turn of whoever divides them.
    """

    def __init__(self, changes: Changes, check: CheckSplit = _any) -> None:
        self._changes = changes
        self._check = check
        self._registry = changes.registry

    async def challenge(
        self,
        model: str,
        number: str,
        order: Order,
        share: float = 0.0,
        shadow: bool = False,
        matches: Sequence[Match] = (),
    ) -> int:
        """Make a version a challenger, or one that is a challenger already, with just this: a `share` in percent of the
        requests that name no version, as a `shadow`, and by what metadata hold. The generation that serves then.

        Raises NotFound, InvalidRequest, Refused; nothing has changed then.
        """
        _check_matches(matches, {number})
        if not (share or shadow or matches):
            raise InvalidRequest(
                f"version {number} of model '{model[:200]}' is to challenge with nothing: give it a share of the"
                " requests, let it be a shadow, or name metadata whose requests it gets"
            )

        async def change() -> int:
            record = self._registry.record(model, number)
            champion = self._able(record)
            route = self._changes.route(model)
            others = tuple(each for each in route.split.matches if each.number != number)
            shares = {**route.split.shares, number: share}
            split = moved(replace(route.split, matches=(*others, *matches)), shares)
            shadows = route.shadows | {number} if shadow else route.shadows - {number}
            after = replace(route, split=split, shadows=shadows)
            self._check_change(route, after, record)
            await self._check(route, after)
            draft = Draft(routes={model: after}, must=(model, number))
            if record.stage is Stage.READY:
                draft.put(self._registry.moved(record, Stage.CHALLENGER, order, order.reason))
            made = self._changes.routes(draft)[model].versions[number]
            if made.state is not VersionState.READY:
                raise Refused(f"version {number} of model '{model}' cannot serve: {made.reason}")
            draft.entries.append(self._changes.entry(order, "challenge", model, number, _plain(route), _plain(after)))
            text = f"version {number} challenges version {champion}: {_words(after, number)}"
            return await self._told(draft, "challenge", model, number, text, order)

        return await self._changes.turns.alone(change)

    async def split(
        self, model: str, shares: Mapping[str, float], matches: Sequence[Match] | None, order: Order
    ) -> int:
        """Divide a model's requests: `shares` in percent name every challenger that is to have one. The generation.

        `matches` None: those that there are stay. Who has neither then and is no shadow stays a challenger.
        Raises NotFound, InvalidRequest, Refused; nothing has changed then.
        """
        for number in shares:
            self._registry.record(model, number)

        async def change() -> int:
            self._registry.known(model)
            route = self._changes.route(model)
            told = route.split.matches if matches is None else tuple(matches)
            records = [self._registry.record(model, number) for number in {*shares, *(each.number for each in told)}]
            for record in records:
                if record.stage is not Stage.CHALLENGER:
                    raise Refused(
                        f"version {record.number} of model '{model}' is {record.stage}, and only a challenger has a"
                        f" share: `router challenge {model} {record.number} --share PERCENT` makes it one"
                    )
            _check_matches(told, {record.number for record in records})
            after = replace(route, split=moved(replace(route.split, matches=told), shares))
            challengers = [each for each in self._registry.of(model) if each.stage is Stage.CHALLENGER]
            for record in challengers:
                self._check_change(route, after, record)
            await self._check(route, after)
            draft = Draft(routes={model: after})
            draft.entries.append(self._changes.entry(order, "split", model, "", _plain(route), _plain(after)))
            parts = [f"version {each.number} {_words(after, each.number)}" for each in challengers]
            text = "; ".join(parts) or "all requests are the champion's"
            return await self._told(draft, "split", model, "", text, order)

        return await self._changes.turns.alone(change)

    async def withdraw(self, model: str, number: str, order: Order) -> int:
        """Make a challenger one no longer: it is ready, and its callers are the champion's. The generation.

        Raises NotFound, Refused.
        """

        async def change() -> int:
            record = self._registry.record(model, number)
            if record.stage is not Stage.CHALLENGER:
                raise Refused(f"version {number} of model '{model}' is {record.stage} and challenges nobody")
            for kind in (CaseKind.ROLLOUT, CaseKind.TRIAL):
                case = self._registry.case(model, kind)
                if case is not None and case.number == number:
                    raise Refused(f"version {number} of model '{model}' {_busy(case)}")
            route = self._changes.route(model)
            draft = Draft()
            draft.put(self._registry.moved(record, Stage.READY, order, order.reason or "withdrawn"))
            after = self._changes.routes(draft)[model]
            draft.entries.append(self._changes.entry(order, "withdraw", model, number, _plain(route), _plain(after)))
            text = f"version {number} challenges no more: its callers are the champion's"
            return await self._told(draft, "challenge", model, number, text, order)

        return await self._changes.turns.alone(change)

    async def _told(self, draft: Draft, kind: str, model: str, number: str, text: str, order: Order) -> int:
        generation = await self._changes.commit(draft)
        self._changes.events.tell(kind, model, number, text, generation, actor=order.actor)
        log.info("requests are divided anew", model=model, version=number, change=text, actor=order.actor)
        return generation

    # ---- what is refused ----

    def _able(self, record: VersionRecord) -> str:
        """The champion that a version may challenge, as far as its life and its signature go. Raises Refused."""
        model, number, stage = record.model, record.number, record.stage
        what = f"version {number} of model '{model}'"
        if stage is Stage.CHAMPION:
            raise Refused(f"{what} is its champion: another version can challenge it")
        if stage is Stage.STANDBY:
            raise Refused(
                f"{what} stands by for a rollback, which a challenger could not: `router unload {model} {number}`, then"
                f" `router test {model} {number}`"
            )
        if stage in UNDER_TRIAL:
            raise Refused(f"{what} is {stage}: wait for its verdict (`router watch {model}`)")
        if stage is Stage.DRAINING:
            raise Refused(f"{what} is draining: try again in a moment")
        if stage not in {Stage.READY, Stage.CHALLENGER}:
            state = f"has failed ({record.reason})" if stage is Stage.FAILED else f"is {stage}, not ready"
            raise Refused(f"{what} {state}: `router test {model} {number}` first")
        champion = self._changes.table.routes[model].champion if model in self._changes.table.routes else None
        if champion is None:
            raise Refused(f"model '{model}' has no champion to challenge: `router promote {model} {number}`")
        ours, theirs = (self._changes.versions.get((model, each)) for each in (number, champion))
        if ours is None or theirs is None:
            raise Refused(f"{what} is not loaded: `router test {model} {number}` first")
        alike = signature_gate(ours.signature, theirs.signature)
        if alike.verdict is Verdict.FAIL:
            raise Refused(f"{what} has another signature than the champion, version {champion}: {alike.reason}")
        return champion

    def _check_change(self, before: Route, after: Route, record: VersionRecord) -> None:
        """Whether a challenger may have what it is to have. Raises Refused."""
        model, number = record.model, record.number
        what = f"version {number} of model '{model}'"
        was, becomes = before.split.shares.get(number, 0.0), after.split.shares.get(number, 0.0)
        fresh = [each for each in after.split.matches if each.number == number and each not in before.split.matches]
        divided = was != becomes or _matches(before, number) != _matches(after, number)
        rollout, trial = (self._registry.case(model, kind) for kind in (CaseKind.ROLLOUT, CaseKind.TRIAL))
        if divided and rollout is not None:
            raise Refused(
                f"a canary of version {rollout.number} of model '{model}' is under way, and shares are its own until it"
                f" is over: `router canary {model} --stop` undoes it"
            )
        if trial is not None and trial.number == number:
            self._check_trial(trial, after)
        if becomes <= was and not fresh:
            return
        if self._registry.is_frozen(model):
            thaw = f"router thaw {model}" if model in self._registry.frozen else "router thaw"
            raise Refused(f"model '{model}' is frozen: {what} may be a shadow; `{thaw}` allows it a share")
        if after.settings.lifecycle.promote_needs == "warm" and not record.warmed:
            raise Refused(
                f"{what} has not been warmed, and lifecycle.promote_needs = warm: `router warm {model} {number}` first,"
                " or let it be a shadow"
            )
        if record.mark:
            raise Refused(f"{what} could not be loaded by a worker that comes: {record.mark}")

    def _check_trial(self, trial: Case, after: Route) -> None:
        """What a trial compares must go on coming, and in the same way."""
        stop = f"`router trial {trial.model} --stop` ends it first"
        what = f"the trial of version {trial.number} of model '{trial.model}'"
        if trial.body.get("paired"):
            if trial.number not in after.shadows:
                raise Refused(f"{what} compares what it says as a shadow: {stop}")
        elif not after.split.shares.get(trial.number):
            raise Refused(f"{what} compares what it says with its share: {stop}")
        elif _matches(after, trial.number):
            raise Refused(f"{what} compares callers who are drawn by lot, not by their metadata: {stop}")


def _check_matches(matches: Sequence[Match], numbers: Collection[str]) -> None:
    for each in matches:
        if not each.key or each.key != each.key.lower() or not each.value or each.number not in numbers:
            raise InvalidRequest(
                f"metadata '{each.key[:80]}' = '{each.value[:80]}' for version {each.number[:80]}: a match takes a key"
                " in lower case, a value, and a version that challenges"
            )


def _busy(case: Case) -> str:
    """What ends what is under way."""
    if case.kind is CaseKind.ROLLOUT:
        return f"is being promoted by canary: `router canary {case.model} --stop` undoes that"
    return f"is on trial: `router trial {case.model} --stop` ends that first"


def _matches(route: Route, number: str) -> tuple[Match, ...]:
    return tuple(each for each in route.split.matches if each.number == number)


def _plain(route: Route) -> dict[str, object]:
    """How requests are divided, for the audit log."""
    return {
        "shares": dict(route.split.shares),
        "matches": [[each.key, each.value, each.number] for each in route.split.matches],
        "shadows": sorted(route.shadows, key=int),
    }


def _words(route: Route, number: str) -> str:
    """What a challenger has."""
    share = route.split.shares.get(number, 0.0)
    parts = [f"has {share:g} % of the requests"] if share else []
    parts += [f"has those with {each.key} = {each.value}" for each in _matches(route, number)]
    parts += ["runs copies as a shadow"] if number in route.shadows else []
    return ", ".join(parts) or "has no requests"
