"""Canaries: a candidate's share grows step by step, and it loses it again by itself when its bake finds it worse.

The champion is untouched until the end. A step is one commit: the candidate's stage, the split, the case and what goes
into the audit log become durable together, then visible in one flip. So whoever dies in between leaves the step before
or the one after, never a half. When the last bake is over the candidate takes the champion's place as by any promotion,
in the commit that ends the case.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from router.control.change import Changes, Draft
from router.control.crashes import CrashesOf, no_crashes
from router.control.examination import Examination
from router.control.planning import Planning
from router.control.records import Case, Entry, Order
from router.control.rollout_case import ended, kept_up, opened, resumed, stepped
from router.control.rollout_seen import champion_of_case, out, seen
from router.control.rollout_terms import champion_of, check, first_step
from router.control.succession import Succession
from router.control.warmup import Observed
from router.core import rollout as core
from router.core.approval import check_files
from router.core.bake import NONE
from router.core.rollout import Advance, Decision, Finish, Hold, Rollout, Undo, decide
from router.core.split import moved
from router.core.standing import CaseKind
from router.core.table import Version, VersionState
from router.core.version import SERVING, Stage
from router.core.vitals import AllVitals, VitalsOf
from router.core.warmup import FiguresOf
from router.errors import InvalidRequest, Refused, RouterError
from router.model_settings import ModelSettings
from router.version_settings import CanarySettings

log = structlog.get_logger()

ROUTER: Final = Order()
TELL_S: Final = 60.0
"""How often watchers hear how a bake does."""
SAVE_S: Final = 30.0
"""How often the time that has passed is stored where nothing else is new."""
RETRY_S: Final = 1.0
"""What could not be done is tried again after so long at least."""
FAULT: Final = "a fault of this program, which its log describes"


@dataclass(slots=True)
class _Going:
    """A rollout under way in this process. Times are monotonic seconds; `undo` is still to be done."""

    rollout: Rollout
    due: float
    told: float
    saved: float
    undo: Undo | None = None


class Rollouts:
    """All rollouts. `vitals` asks all workers what callers had of each version; `figures` gives what an observation has
    seen: model, version that is run, and the version whose runs it gets. `clock` is monotonic. `crashes` counts the
    crashes of workers in runs of a version.
    """

    def __init__(
        self,
        changes: Changes,
        planning: Planning,
        succession: Succession,
        examination: Examination,
        vitals: VitalsOf,
        figures: FiguresOf,
        clock: Callable[[], float] = time.monotonic,
        crashes: CrashesOf = no_crashes,
    ) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._planning = planning
        self._succession = succession
        self._examination = examination
        self._vitals = vitals
        self._figures = figures
        self._clock = clock
        self._crashes = crashes
        self._going: dict[int, _Going] = {}

    # ---- by order ----

    async def begin(
        self, model: str, number: str, order: Order, expected: str = "", override: bool = False, digest: str = ""
    ) -> Case:
        """Begin to roll a version out; the champion goes on until the last bake is over.

        `expected`: the champion that whoever asks believes in, by default the one of this moment. `override`: although
        its gates say no. `digest`: the SHA-256 of the files that were agreed to, empty for any. Raises NotFound,
        Refused, InvalidRequest, NoRoom, Conflict when somebody else was first, or the files are others.
        """
        if override and not order.reason:
            raise InvalidRequest("an override needs a reason: say why with --reason")
        await self._changes.turns.started.wait()
        first = self._registry.at(model, Stage.CHAMPION)
        await self._changes.drained(model, number)
        vitals = await self._asked()
        before = None if vitals is None else vitals.get((model, number), NONE)

        async def alone() -> Case:
            record = self._registry.record(model, number)
            champion = champion_of(self._registry, model, expected or (first.number if first is not None else ""))
            check(self._registry, self._planning, record, override=override)
            if record.stage not in SERVING:
                record = await self._examination.made_ready(record, order)
            check_files(model, number, record.digest, digest)
            if effects := self._planning.effects(record, override=override):
                raise Refused(effects[0])
            rollout = first_step(self._changes.route(model), record, before, self._clock())
            case = opened(self._registry.next_case(), record, champion.number, rollout, order, self._changes.clock())
            case = replace(case, body={**case.body, "override": override})
            draft = Draft(must=(model, number))
            if record.stage is not Stage.CHALLENGER:
                draft.put(self._registry.moved(record, Stage.CHALLENGER, order, f"canary {case.id}"))
            was = self._changes.route(model).split.shares.get(number, 0.0)
            told = {"state": "begun", "override": True} if override else {"state": "begun"}
            await self._shared(draft, case, rollout, order, told, was)
            now = self._clock()
            self._going[case.id] = _Going(rollout, now, now, now)
            return case

        return await self._changes.turns.alone(alone)

    async def stop(self, model: str, order: Order) -> Case:
        """Break a canary off: its candidate is ready, and has no share. Raises NotFound, Refused."""
        vitals = await self._asked() or {}

        async def alone() -> Case:
            self._registry.known(model)
            case = self._registry.case(model, CaseKind.ROLLOUT)
            if case is None:
                raise Refused(f"no canary of model '{model}' is under way: `router promote {model} VERSION --canary`")
            why = f"by {order.actor}" + (f", {order.reason}" if order.reason else "")
            rollout, had = self._rollout(case), vitals.get((model, case.number))
            if had is not None:
                rollout = core.counted(rollout, had)
            return await self._over(case, rollout, "stopped", why, order, Stage.READY)

        return await self._changes.turns.alone(alone)

    # ---- what goes on ----

    def controls(self) -> dict[Observed, tuple[Version, Version, ModelSettings]]:
        """The old champions that are to be run on copies of their candidates' runs: what observes them is told this."""
        made: dict[Observed, tuple[Version, Version, ModelSettings]] = {}
        for case in self._open():
            route = self._changes.table.routes.get(case.model)
            champion, number = champion_of_case(case), case.number
            if route is None or any(
                each not in route.versions or route.versions[each].state is not VersionState.READY
                for each in (champion, number)
            ):
                continue
            canary, per_s = self._rollout(case).settings, route.settings.warmup.max_per_s
            wanted = Observed(case.model, champion, number, canary.control / 100, per_s, control=True)
            settings = route.settings.model_copy(update={"canary": canary})
            made[wanted] = (route.versions[champion], route.versions[number], settings)
        return made

    def settle(self, draft: Draft) -> None:
        """When the whole server was started again, what was under way is undone: the champions answer all callers."""
        order = replace(ROUTER, reason="the server was started again")
        for case in self._open():
            if case.id in draft.cases:
                continue
            rollout, key = self._rollout(case), (case.model, case.number)
            over = ended(case, rollout, "undone", order.reason, self._clock(), self._changes.clock())
            record = draft.records.get(key) or self._registry.records.get(key)
            if record is not None and record.stage is Stage.CHALLENGER:
                reason = f"canary {case.id} undone: {order.reason}"
                draft.put(self._registry.moved(record, Stage.READY, order, reason))
            draft.cases[case.id] = over
            draft.entries.append(self._entry(over, rollout, order))
            del self._going[case.id]

    # ---- as time passes ----

    def next_due(self) -> float | None:
        """In how many seconds a rollout is to be looked at; None: there is none."""
        now = self._clock()
        due = [self._going[case.id].due if case.id in self._going else now for case in self._open()]
        return max(min(due) - now, 0.0) if due else None

    async def look(self) -> None:
        """Compare what is due, and do what follows from it; to be called every second or more often."""
        if not self._changes.turns.started.is_set():
            return
        cases = self._open()
        for gone in self._going.keys() - {case.id for case in cases}:
            del self._going[gone]
        now = self._clock()
        due = [case for case in cases if case.id not in self._going or self._going[case.id].due <= now]
        vitals = await self._asked() if due else None
        for case in due:
            try:
                await self._looked(case, vitals)
            except RouterError as error:  # tried again when it is due again
                self._hindered(case, str(error))
            except Exception:  # a fault of ours: other canaries go on, and the controller
                log.exception("a canary could not go on", model=case.model, version=case.number)
                self._hindered(case, FAULT)

    def _open(self) -> list[Case]:
        return [each for each in self._registry.cases.values() if each.kind is CaseKind.ROLLOUT]

    def _rollout(self, case: Case) -> Rollout:
        return self._of(case).rollout

    def _of(self, case: Case) -> _Going:
        """What is under way; after a restart of this process, from what was stored."""
        going = self._going.get(case.id)
        if going is None:
            now = self._clock()
            try:
                rollout, undo = resumed(case, now), None
            except RouterError as error:
                rollout, undo = Rollout(CanarySettings(), 0, 0.0, now), Undo(str(error))
            going = self._going[case.id] = _Going(rollout, now, now, now, undo)
        return going

    async def _asked(self) -> AllVitals | None:
        """What callers had of all versions; None where the workers do not say.

        Nor is it known while one that serves has not joined, as when this process has just been started again: what it
        did before would seem to be new when it comes.
        """
        if not self._changes.swap.complete:
            return None
        try:
            return await self._vitals()
        except (RouterError, OSError) as error:
            log.error("the workers do not say how versions do", reason=str(error))
        except Exception:  # a fault of ours: canaries wait
            log.exception("the workers do not say how versions do")
        return None

    async def _looked(self, case: Case, vitals: AllVitals | None) -> None:
        going, now = self._of(case), self._clock()
        going.due = now + going.rollout.settings.check_seconds
        decision: Decision
        if going.undo is None:
            known = seen(self._changes, self._figures, self._crashes, case, vitals, now)
            going.rollout, decision = decide(going.rollout, known, champion_of_case(case))
        else:
            decision, had = going.undo, (vitals or {}).get((case.model, case.number))
            going.rollout = core.counted(going.rollout, had) if had is not None else going.rollout
        if isinstance(decision, Hold):
            self._tell_now_and_then(case, going, now, decision.waits)
            await self._save_now_and_then(case, going, now, decision.waits)
            return
        if isinstance(decision, Undo):
            going.undo, going.due = decision, now  # whatever is in the way: again with the next look

        async def alone() -> None:
            if self._registry.cases.get(case.id) is not case:  # somebody has stopped it meanwhile
                return
            if not isinstance(decision, Undo) and self._overtaken(case):
                return
            match decision:
                case Advance():
                    await self._advance(case, going, decision.share)
                case Finish():
                    await self._finish(case, going)
                case Undo():
                    await self._undo(case, going, decision)

        await self._changes.turns.alone(alone)

    def _overtaken(self, case: Case) -> bool:
        """Whether somebody was first, while what was decided waited for its turn: the next look decides anew."""
        return any(out(self._changes, case)) or self._registry.is_frozen(case.model)

    async def _save_now_and_then(self, case: Case, going: _Going, now: float, waits: str) -> None:
        """What a controller that comes back goes on from; nothing is lost but that where it cannot be stored."""
        if now - going.saved < SAVE_S:
            return
        going.saved = now

        async def alone() -> None:
            if self._registry.cases.get(case.id) is case:
                await self._changes.commit(Draft(cases={case.id: kept_up(case, going.rollout, now, waits)}))

        try:
            await self._changes.turns.alone(alone)
        except RouterError as error:
            log.warning("a canary's time was not stored", model=case.model, version=case.number, reason=str(error))

    def _hindered(self, case: Case, reason: str) -> None:
        """What was decided could not be done; where that goes on for too long, the canary is undone."""
        going, now = self._of(case), self._clock()
        going.due = max(going.due, now + RETRY_S)
        log.error("a canary could not go on", model=case.model, version=case.number, reason=reason)
        if going.undo is None and going.rollout.seconds(now) > going.rollout.settings.max_seconds:
            going.undo = Undo(f"it could not go on within canary.max_seconds: {reason}")
        if now - going.told >= TELL_S:
            going.told = now
            self._tell(case, f"{going.rollout.step}: it could not go on: {reason}")

    def _tell_now_and_then(self, case: Case, going: _Going, now: float, waits: str) -> None:
        if now - going.told < TELL_S:
            return
        going.told = now
        found = "; ".join([*(each.text for each in going.rollout.findings), waits])
        self._tell(case, f"{going.rollout.step}: {going.rollout.here} requests so far; {found}")

    def _tell(self, case: Case, text: str, **facts: object) -> None:
        generation = self._changes.table.generation
        self._changes.events.tell("rollout", case.model, case.number, text, generation, **facts)

    # ---- what follows; for whoever has the turn ----

    async def _shared(
        self, draft: Draft, case: Case, rollout: Rollout, order: Order, told: Mapping[str, object], was: float
    ) -> None:
        """Make the rollout's share so, with what else is in the draft."""
        model, number = case.model, case.number
        route = self._changes.route(model)
        split = moved(route.split, {**route.split.shares, number: rollout.share})
        draft.routes[model] = replace(route, split=split)
        draft.cases[case.id] = case
        before: dict[str, object] = {"share": was}
        after: dict[str, object] = {**told, "case": case.id, "step": rollout.at + 1, "share": rollout.share}
        draft.entries.append(self._changes.entry(order, "canary", model, number, before, after))
        await self._changes.commit(draft)
        self._tell(case, f"{rollout.step} of the requests", step=rollout.at + 1, share=rollout.share)

    async def _advance(self, case: Case, going: _Going, share: float) -> None:
        now = self._clock()
        following, rollout = stepped(case, going.rollout, share, now, self._changes.clock())
        told = {"state": "step", "found": [each.facts for each in going.rollout.findings]}
        await self._shared(Draft(), following, rollout, ROUTER, told, going.rollout.share)
        going.rollout, going.due, going.told, going.saved = rollout, now, now, now

    async def _finish(self, case: Case, going: _Going) -> None:
        """The candidate takes the champion's place. Raises Refused while something speaks against that."""
        record, was = self._registry.record(case.model, case.number), champion_of_case(case)
        order = Order(case.actor, str(case.body.get("reason", "")))
        draft, wall, now = Draft(), self._changes.clock(), self._clock()
        self._succession.succeed(draft, record, order)
        if not case.body.get("override") and (harms := self._planning.harms(draft)):
            raise Refused(harms[0])
        why = f"version {case.number} has taken the place of version {was}"
        over = ended(case, going.rollout, "finished", why, now, wall)
        draft.cases[case.id] = over
        before: dict[str, object] = {"champion": was}
        after: dict[str, object] = {"champion": case.number}
        draft.entries.append(self._changes.entry(order, "promote", case.model, case.number, before, after))
        draft.entries.append(self._entry(over, going.rollout, order))
        await self._changes.commit(draft)
        self._going.pop(case.id, None)
        self._succession.tell("canary", self._registry.record(case.model, case.number), was, "step by step", order)
        self._tell(over, str(over.body["text"]), state=over.state)

    async def _undo(self, case: Case, going: _Going, undo: Undo) -> None:
        record = self._registry.record(case.model, case.number)
        if record.stage is Stage.CHAMPION:  # somebody was too sure to wait
            await self._over(case, going.rollout, "finished", f"promoted at once by {record.actor}", ROUTER, None)
            return
        to = Stage.FAILED if undo.broken else Stage.READY
        log.warning("a canary is undone", model=case.model, version=case.number, reason=undo.reason)
        await self._over(case, going.rollout, "undone", undo.reason, replace(ROUTER, reason=undo.reason), to)

    async def _over(self, case: Case, rollout: Rollout, state: str, why: str, order: Order, to: Stage | None) -> Case:
        """The case ends, its candidate is no challenger any more: whoever it answered is the champion's again."""
        over = ended(case, rollout, state, why, self._clock(), self._changes.clock())
        draft = Draft(cases={case.id: over})
        record = self._registry.record(case.model, case.number)
        if record.stage is Stage.CHALLENGER and to is not None:
            kept = record.warmed and to is not Stage.FAILED
            reason = f"canary {case.id} {state}: {why}"
            draft.put(self._registry.moved(record, to, order, reason, warmed=kept))
        draft.entries.append(self._entry(over, rollout, order))
        await self._changes.commit(draft)
        self._going.pop(case.id, None)
        self._tell(over, str(over.body["text"]), state=state, reason=why)
        return over

    def _entry(self, over: Case, rollout: Rollout, order: Order) -> Entry:
        before: dict[str, object] = {"step": rollout.at + 1, "share": rollout.share}
        after: dict[str, object] = {
            "state": over.state,
            "case": over.id,
            "why": over.body["why"],
            "served": over.body["served"],
            "found": [each.facts for each in rollout.findings],
        }
        return self._changes.entry(order, "canary", over.model, over.number, before, after)
