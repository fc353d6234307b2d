"""Trials under way: what came true of champion and challenger is fed to the test, and its verdict is carried out.

All that is known of a trial stands in its case, which is stored with what was read: a controller that comes back reads
on from there. The time limit counts the seconds in which a controller watched, by a clock that never jumps.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import structlog

from router.control.change import Changes, Draft
from router.control.contest_terms import contest_of_route, how
from router.control.ledger_since import Page, Pairs
from router.control.records import Case, Order, VersionRecord
from router.control.winners import Act, Winners
from router.core.contest import Contest, contest_of
from router.core.guardrail import hindrances
from router.core.standing import CaseKind
from router.core.verdict import Standing, Winner
from router.core.version import Stage
from router.core.vitals import AllVitals, Vitals, VitalsOf
from router.core.warmup import FiguresOf
from router.errors import InvalidRequest, NotFound, NotReady, Refused, RouterError

log = structlog.get_logger()

LOOK_S: Final = 2.0
"""How often the ledger is read."""
SAVE_S: Final = 30.0
"""How often the time that has passed is stored where nothing else is new."""
AT_ONCE: Final = 5000
"""Predictions that are read at once."""

WON: Final = "won"
KEPT: Final = "kept"
"""The champion keeps its place."""
HELD: Final = "held"
"""The challenger is better, and something else speaks against it."""
UNDECIDED: Final = "undecided"
BROKE: Final = "broke"
STOPPED: Final = "stopped"

ROUTER: Final = Order()

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Step:
    """A trial before and after a look; `at` is when that was, `contradicted` what the ledger had counted then. `anew`:
    the ledger was begun anew."""

    before: Case
    after: Case
    at: float
    contradicted: int
    anew: bool


class Contests:
    """All trials; of a model one at a time. `clock` gives seconds and never jumps."""

    def __init__(
        self,
        changes: Changes,
        pairs: Pairs,
        figures: FiguresOf,
        vitals: VitalsOf,
        act: Act,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._pairs = pairs
        self._figures = figures
        self._vitals = vitals
        self._winners = Winners(changes, act)
        self._clock = clock
        self._next_look = 0.0
        self._since: dict[int, float] = {}
        """When what is stored of a trial's time was so, by its number."""
        self._contradicted: dict[int, int] = {}
        """How many actuals had contradicted others then."""

    # ---- beginning and ending by hand ----

    async def start(self, model: str, number: str, order: Order) -> Case:
        """Begin a trial of a challenger against its champion. The case that was opened.

        Raises NotFound, Refused (what could never come to a verdict), NotReady.
        """
        self._registry.record(model, number)
        turn, vitals = await self._pairs.last_turn(model), await self._known_vitals()

        async def change() -> Case:
            record = self._registry.record(model, number)
            champion = self._rival(record)
            route = self._changes.route(model)
            both = [vitals.get((model, each), Vitals()) for each in (champion.number, number)]
            contest = replace(
                contest_of_route(route, record, champion, order.role), turn=turn, vitals=(both[0], both[1])
            )
            text = how(contest, route) + ("" if turn else "; nothing has come true of this model so far")
            case = Case(
                self._registry.next_case(),
                CaseKind.TRIAL,
                model,
                number,
                record.digest,
                order.actor,
                self._changes.clock(),
                body=contest.body(contest.standing(), text),
            )
            draft = Draft(cases={case.id: case})
            begun: dict[str, object] = {"case": case.id, "champion": champion.number, "how": text}
            draft.entries.append(self._changes.entry(order, "trial", model, number, {}, begun))
            await self._changes.commit(draft)
            self._watch(case)
            told = f"version {number} is on trial against version {champion.number}: {text}"
            self._changes.events.tell("trial", model, number, told, case=case.id, actor=order.actor)
            return case

        return await self._changes.turns.alone(change)

    async def stop(self, model: str, order: Order) -> Case:
        """End the trial of a model without a verdict; its challenger is ready. The case. Raises NotFound."""
        self._registry.known(model)

        async def change() -> Case:
            case = self._registry.case(model, CaseKind.TRIAL)
            if case is None:
                raise NotFound(f"no trial of model '{model}' is under way: `router trial {model} VERSION` begins one")
            reason = f" ({order.reason})" if order.reason else ""
            return await self._ended(case, STOPPED, f"Stopped by {order.actor}{reason}. {_text(case)}", order)

        return await self._changes.turns.alone(change)

    def _rival(self, record: VersionRecord) -> VersionRecord:
        """The champion that a version may be tried against. Raises Refused."""
        model, number = record.model, record.number
        if (open_case := self._registry.case(model, CaseKind.TRIAL)) is not None:
            raise Refused(
                f"version {open_case.number} of model '{model}' is on trial: `router trial {model} --stop` ends that"
            )
        if (open_case := self._registry.case(model, CaseKind.ROLLOUT)) is not None:
            raise Refused(
                f"version {open_case.number} of model '{model}' is being promoted by canary: wait for its end, or"
                f" `router canary {model} --stop`"
            )
        champion = self._registry.at(model, Stage.CHAMPION)
        if record.stage is not Stage.CHALLENGER or champion is None:
            raise Refused(
                f"version {number} of model '{model}' is {record.stage}, and only a challenger can be tried: `router"
                f" challenge {model} {number} --shadow` makes it one"
            )
        return champion

    async def _known_vitals(self) -> AllVitals:
        try:
            return await self._vitals()
        except RouterError as error:
            log.warning("how versions do for their callers is not known", reason=str(error))
            return {}

    # ---- while time passes ----

    async def look(self) -> None:
        """Read on in the ledger where that is due, and end trials that have a verdict; to be called every second.

        Trouble of one trial holds up no other, and is told to the log.
        """
        now = self._clock()
        if now < self._next_look or not self._changes.turns.started.is_set():
            return
        self._next_look = now + LOOK_S
        await _apart(self._winners.catch_up(), "winners of trials wait")
        await self._fail_shadows()
        await self._look_at_all()

    async def _look_at_all(self) -> None:
        cases = [each for each in self._registry.cases.values() if each.kind is CaseKind.TRIAL]
        steps = [await _apart(self._looked(case), "a trial cannot go on", case.model, case.number) for case in cases]
        if going := [each for each in steps if each is not None]:
            await _apart(self._stored(going), "what trials have read cannot be stored")

    async def _stored(self, going: list[_Step]) -> None:
        """All at once; each for itself where that fails by a fault of ours, which may be that of one. Raises
        RouterError: the store takes nothing now."""
        try:
            await self._changes.turns.alone(functools.partial(self._save, going))
        except Exception as error:
            if len(going) == 1 or isinstance(error, RouterError):
                raise
            for each in going:
                await _apart(self._stored([each]), "what a trial has read cannot be stored", each.after.model)

    def _watch(self, case: Case) -> None:
        """Count its time, and what contradicts, from now on."""
        self._since.setdefault(case.id, self._clock())
        self._contradicted.setdefault(case.id, self._pairs.contradicted.get(case.model, 0))

    async def _looked(self, case: Case) -> _Step | None:
        """What is new about a trial, if that is to be stored. One that has come to its end has been ended.

        While the ledger cannot be read its time goes on: it does not wait for ever.
        """
        self._watch(case)
        if await self._broken_off(case):
            return None
        at, contradicted = self._clock(), self._pairs.contradicted.get(case.model, 0)
        more = contradicted - self._contradicted[case.id]
        passed = at - self._since[case.id]
        try:
            before = contest_of(case.body)
            page, unread = await self._page(case, before)
            after = before.read(page.turn, page.pairs, page.answers)
        except InvalidRequest as error:
            await self._end(case, UNDECIDED, f"Undecided: {error}.")
            return None
        contradicting, anew = before.contradicting + more, before.anew + page.anew
        after = replace(after, contradicting=contradicting, anew=anew, file=page.file or before.file)
        after = replace(after, seconds=before.seconds + passed)
        new = after.turn != before.turn or more or page.anew
        if not new and passed < SAVE_S and after.seconds < after.settings.max_seconds:
            return None
        known = after.standing()
        after = after.passed(known)
        made = replace(case, body=after.body(known, case.body.get("how", ""), unread))
        if known.winner is not None:
            await self._decided(made, after, known)
            return None
        return _Step(case, made, at, contradicted, page.anew)

    async def _page(self, case: Case, contest: Contest) -> tuple[Page, str]:
        """What came true since it was looked at, and why that is not known, where it is not."""
        known = (case.model, contest.champion, contest.challenger, contest.turn)
        try:
            return await self._pairs.since(*known, AT_ONCE, paired=contest.paired, file=contest.file), ""
        except NotReady as error:
            log.warning("a trial cannot read on", model=case.model, version=case.number, reason=str(error))
            return Page(contest.turn, [], []), str(error)

    async def _save(self, going: list[_Step]) -> None:
        steps = [each for each in going if self._registry.cases.get(each.before.id) is each.before]
        if not steps:
            return
        await self._changes.commit(Draft(cases={each.after.id: each.after for each in steps}))
        for each in steps:
            self._since[each.after.id] = each.at
            self._contradicted[each.after.id] = each.contradicted
            if each.anew:
                told = "the ledger was lost and begun anew: its trial goes on with what had been read, and the new one"
                self._changes.events.tell("trial", each.after.model, each.after.number, told, case=each.after.id)

    # ---- the end ----

    async def _broken_off(self, case: Case) -> bool:
        """End a trial that cannot go on; whether that was so."""
        model, number = case.model, case.number
        record, champion = self._registry.records.get((model, number)), self._registry.at(model, Stage.CHAMPION)
        rollout = self._registry.case(model, CaseKind.ROLLOUT)
        state = UNDECIDED
        if record is None or record.stage in {Stage.FAILED, Stage.RETIRED, Stage.DRAINING, Stage.READY}:
            state = BROKE if record is not None and record.stage is Stage.FAILED else UNDECIDED
            stage = "gone" if record is None else f"{record.stage}: {record.reason}"
            why = f"version {number} is {stage}"
        elif record.stage is not Stage.CHALLENGER:
            why = f"version {number} is {record.stage} by order of {record.actor}"
        elif rollout is not None and rollout.number == number:
            why = f"version {number} is being promoted by canary, by order of {rollout.actor}"
        elif champion is None or (champion.number, champion.digest) != (
            case.body.get("champion"),
            case.body.get("champion_digest"),
        ):
            why = f"the champion has changed, it is {f'version {champion.number}' if champion else 'none'} now"
        elif broken := self._broken(model, number, champion.number):
            state, why = BROKE, f"version {number} broke as a shadow: {broken}"
        else:
            return False
        verb = "Ended" if state is BROKE else "Undecided"
        await self._end(case, state, f"{verb}: {why}. {_text(case)}")
        return True

    def _broken(self, model: str, number: str, champion: str) -> str:
        figures = self._figures(model, number, champion)
        return figures.failed if figures is not None else ""

    async def _decided(self, case: Case, contest: Contest, known: Standing) -> None:
        """There is a verdict."""
        text = _text(case)
        if known.winner is not Winner.CHALLENGER:
            await self._end(case, KEPT if known.winner is Winner.CHAMPION else UNDECIDED, text)
            return
        figures = self._figures(case.model, contest.challenger, contest.champion) if contest.paired else None
        against = hindrances(contest.settings, figures, await self._vitals_since(case.model, contest))
        if against:
            await self._end(case, HELD, f"{text} But {'; and '.join(against)}: it does not win.")
            return
        due = contest.settings.on_win != "notify"
        won = await self._end(replace(case, body={**case.body, "due": due}), WON, text)
        if won is not None and due:
            self._changes.turns.keep(self._winners.promote(won))

    async def _vitals_since(self, model: str, contest: Contest) -> tuple[Vitals, Vitals] | None:
        """What callers had of both since the trial began."""
        if contest.vitals is None:
            return None
        now = await self._known_vitals()
        both = [
            seen.since(before) or seen  # the counters began anew: all that they hold came later
            for number, before in zip((contest.champion, contest.challenger), contest.vitals, strict=True)
            if (seen := now.get((model, number))) is not None
        ]
        return (both[0], both[1]) if len(both) == 2 else None

    async def _end(self, case: Case, state: str, text: str) -> Case | None:
        """End a trial, stored as it is here. None: somebody else has ended it. Raises RouterError; it goes on then."""

        async def change() -> Case | None:
            return await self._ended(case, state, text, ROUTER) if case.id in self._registry.cases else None

        return await self._changes.turns.alone(change)

    async def _ended(self, case: Case, state: str, text: str, order: Order) -> Case:
        """The case at its end; its challenger is ready, or failed where it broke. For whoever has the turn."""
        model, number, text = case.model, case.number, text.strip()
        ended = replace(case, ended=self._changes.clock(), state=state, body={**case.body, "text": text})
        draft = Draft(cases={case.id: ended})
        record = self._challenger(model, number)
        if record is not None and state == BROKE:
            self._changes.lose(draft, record, text)
        elif record is not None:
            draft.put(self._registry.moved(record, Stage.READY, order, f"its trial is over: {state}"))
        verdict: dict[str, object] = {"case": case.id, "verdict": state, "text": text}
        draft.entries.append(self._changes.entry(order, "trial", model, number, {"case": case.id}, verdict))
        generation = await self._changes.commit(draft)
        self._since.pop(case.id, None)
        self._contradicted.pop(case.id, None)
        self._changes.events.tell("trial", model, number, text, generation, verdict=state, case=case.id)
        log.info("a trial has ended", model=model, version=number, verdict=state)
        return ended

    def _challenger(self, model: str, number: str) -> VersionRecord | None:
        """The record of a challenger that no canary has in hand; None where it is none."""
        record, rollout = self._registry.records.get((model, number)), self._registry.case(model, CaseKind.ROLLOUT)
        if record is None or record.stage is not Stage.CHALLENGER:
            return None
        return record if rollout is None or rollout.number != number else None

    # ---- shadows without a trial ----

    async def _fail_shadows(self) -> None:
        """A shadow that cannot be loaded, crashes or hangs fails, on trial or not. Those on trial end with it."""
        for route in list(self._changes.table.routes.values()):
            for number in sorted(route.shadows):
                trial = self._registry.case(route.model, CaseKind.TRIAL)
                if route.champion is None or (trial is not None and trial.number == number):
                    continue
                failing = self._fail_broken(route.model, number, route.champion)
                await _apart(failing, "a shadow cannot be looked at", route.model, number)

    async def _fail_broken(self, model: str, number: str, champion: str) -> None:
        if broken := self._broken(model, number, champion):
            await self._changes.turns.alone(functools.partial(self._failed, model, number, broken))

    async def _failed(self, model: str, number: str, reason: str) -> None:
        if (record := self._challenger(model, number)) is not None:
            draft = Draft()
            self._changes.lose(draft, record, f"it broke as a shadow: {reason}")
            await self._changes.commit(draft)


async def _apart(work: Awaitable[Value], what: str, model: str = "", number: str = "") -> Value | None:
    """What comes of the work. Its trouble is told to the log, and holds up nothing else: None."""
    try:
        return await work
    except RouterError as error:
        log.warning(what, model=model, version=number, reason=str(error))
    except Exception:  # a fault of ours: the controller goes on
        log.exception(what, model=model, version=number)
    return None


def _text(case: Case) -> str:
    """How it stood."""
    return str(case.body.get("text", ""))
