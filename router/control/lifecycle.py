"""The life of versions: who serves, and how that changes. Every act is recorded, durable, then visible to all workers.

The one place that decides. `swap` makes a table visible, `change` makes it durable first, `lookout` compares with the
repository, `opening` finds first champions, `demand` has models serve that are asked for, `examination` takes a version
from a file to ready, `succession` changes who answers. `challenge` gives challengers their shares, `contests` finds out
whether one is better, `rollout` makes a champion step by step, `approvals` asks those who must agree before, `consent`
says what may be had without them, `courses` has new versions go their way by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import structlog

from router.control.approvals import Approvals
from router.control.challenge import Challenges
from router.control.change import Changes, Draft, Store
from router.control.consent import Consent
from router.control.contests import Contests
from router.control.courses import Courses
from router.control.crashes import CrashesOf, no_crashes
from router.control.declared import Declarations
from router.control.demand import Demand
from router.control.dossier import Dossier, Kept
from router.control.events import Events
from router.control.examination import Examination, Warmups
from router.control.examiner import Evidence, Examiner, Gates, Progress, Trials
from router.control.ledger_since import Pairs
from router.control.lookout import Lookout
from router.control.opening import Opening
from router.control.planning import Planning
from router.control.records import Case, ModelView, Order, PromotionPlan, Swapped, VersionRecord
from router.control.registry import Registry
from router.control.repository import scan
from router.control.retraining_cases import RetrainingCases
from router.control.rollout import Rollouts
from router.control.room import Room
from router.control.shadows import shadows
from router.control.start import Start
from router.control.succession import Succession
from router.control.swap import PATIENCE_S, Crew, Swap, Word, Worker, champions_last
from router.control.switches import Switches
from router.control.turns import Turns
from router.control.warmup import Wanted
from router.core.gate import Report
from router.core.importance import Policy
from router.core.standing import CaseKind
from router.core.table import VersionTable
from router.core.version import SERVING, Stage
from router.core.vitals import VitalsOf
from router.core.warmup import Figures

log = structlog.get_logger()

ROUTER: Final = Order()
LOOK_S: Final = 1.0
"""What goes on for long is looked at so often at least."""
NO_POLICY: Final[Mapping[str, Any]] = MappingProxyType({})
REST_S: Final = 60.0
"""What could not be stored is tried again after so many seconds: each attempt has the workers prepare a table."""


class Observers(Warmups, Protocol):
    """Runs versions on copies: until there is a verdict, or for as long as that is wanted."""

    def set_observed(self, wanted: Wanted) -> None:
        """Run these on copies and no others."""

    def observed(self, model: str, number: str, reference: str) -> Figures | None:
        """What was seen of one on copies of the runs of another version."""


class Records(Store, Kept, Protocol):
    """What outlives the processes, and what is looked up there."""

    def cases(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> list[Case]:
        """Newest first; open and ended."""

    def reports(self, model: str, number: str = "", kind: str = "", last: int = 0) -> list[Report]:
        """Newest first."""

    def champions(self, model: str) -> list[str]:
        """Versions that have been a model's champion."""


class Lifecycle:
    """`explicit`: models serve only when they are asked for; `wanted` are those asked for at the start, `*` all that
    are there then. `allow_faults`: settings may make a model fail. `clock` gives seconds since 1970, `monotonic` those
    that no setting of the clock moves. `policy` by level and `importance` by model say who must agree to promotions.
    `crashes` counts those of workers in runs of a version.
    """

    def __init__(
        self,
        models: Path,
        store: Records,
        word: Word,
        trials: Trials,
        gates: Gates,
        evidence: Evidence,
        warmups: Observers,
        pairs: Pairs,
        vitals: VitalsOf,
        crew: Crew,
        room: Room,
        explicit: bool,
        wanted: Collection[str],
        progress: Progress = lambda done, of, request: None,  # noqa: ARG005
        patience_s: float = PATIENCE_S,
        allow_faults: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        policy: Policy = NO_POLICY,
        importance: Mapping[str, str] = NO_POLICY,
        events: Events | None = None,
        crashes: CrashesOf = no_crashes,
    ) -> None:
        self._scan = functools.partial(scan, models, allow_faults)
        self._clock = clock
        self.events = events or Events(clock)
        self._warmups = warmups
        self._registry = Registry(clock)
        self._swap = Swap(word, crew, patience_s)
        self._turns = Turns()
        self._consent = consent = Consent(self._registry, policy, importance, store.champions)
        self._changes = Changes(self._registry, self._swap, store, self.events, self._turns, clock, consent.unapproved)
        self._examiner = Examiner(trials, gates, evidence, progress)
        self._lookout = Lookout(self._changes, self._examiner, explicit)
        self._opening = Opening(self._changes, self._examiner, self._lookout, consent.unapproved)
        self._examination = Examination(self._changes, self._examiner, self._lookout, warmups, room)
        self._planning = Planning(self._changes, room)
        self._succession = succession = Succession(self._changes, self._planning, self._examination)
        self._challenges = Challenges(self._changes, consent.check_split)
        self._rollouts = Rollouts(
            self._changes, self._planning, succession, self._examination, vitals, warmups.observed, monotonic, crashes
        )
        self._contests = Contests(self._changes, pairs, warmups.observed, vitals, self._promote_winner, monotonic)
        self._approvals = Approvals(
            self._changes,
            consent,
            succession.promote,
            self._rollouts.begin,
            store.cases,
            lambda record, override: self._planning.obstacles(record, override=override),
            monotonic,
        )
        self._demand = Demand(
            self._changes,
            self._lookout,
            self._opening,
            self._examination,
            self._approvals,
            explicit,
            consent.asked,
        )
        self._demand.wanted = set(wanted)
        self._start = Start(
            self._changes, self._lookout, self._opening, self._demand, self._rollouts, word, self._scan, explicit
        )
        self._declarations = Declarations(self)
        self._dossier = Dossier(self._changes, store)
        self._courses = Courses(self._changes, self, self._lookout.whole, monotonic)
        self.take = self._courses.take
        self.retrainings = RetrainingCases(self._changes)
        self._rests_until = 0.0
        switches = Switches(self._changes, consent.check_alias)
        self.freeze, self.set_alias, self.set_fallback = switches.freeze, switches.set_alias, switches.set_fallback
        self.set_importance, self.note = switches.set_importance, switches.note
        self.check_split, self.check_alias = consent.check_split, consent.check_alias
        approvals = self._approvals
        self.promote, self.approve, self.reject = approvals.promote, approvals.approve, approvals.reject
        challenges = self._challenges
        self.challenge, self.split, self.withdraw = challenges.challenge, challenges.split, challenges.withdraw
        self.start_trial, self.stop_trial = self._contests.start, self._contests.stop
        self.stop_rollout = self._rollouts.stop
        self.diff, self.apply = self._declarations.diff, self._declarations.apply
        self.evidence = self._dossier.evidence

    @property
    def table(self) -> VersionTable:
        """What serves. Until there is a first table it is none that could be told to anybody."""
        return self._swap.table

    @property
    def started(self) -> bool:
        """Whether there is a first table."""
        return self._turns.started.is_set()

    @property
    def frozen(self) -> frozenset[str]:
        """The models that may not be promoted; EVERYTHING among them stands for all."""
        return self._registry.frozen

    @property
    def importance(self) -> Mapping[str, str]:
        """What was declared for models."""
        return self._registry.importance

    def versions(self, model: str = "") -> list[ModelView]:
        """Models with their versions. Raises NotFound for one that is not known."""
        if model:
            self._registry.known(model)
        names = {*self.table.routes, *self._registry.found} if not model else {model}
        return [self._registry.view(name, self.table.routes.get(name)) for name in sorted(names)]

    # ---- starting ----

    async def start(self) -> None:
        """Make the first table: the stored one if workers may be serving it, else what is stored and still there.

        Raises SettingsError when there can be none.
        """
        await self._start.run(self._courses.begin, self._courses.begun_anew)

    # ---- workers ----

    async def join(self, worker: Worker) -> None:
        """Bring a worker to the table that serves, then let it open its port. Raises ConnectionError, RouterError."""
        await self._turns.started.wait()
        if await self._swap.join(worker):
            await self._turns.alone(lambda: self._agree(worker))
        if not self._swap.has(worker):
            raise ConnectionError(f"worker {worker.index} is gone")
        self._turns.keep(self._tidied(worker))

    async def _agree(self, worker: Worker) -> None:
        """Not all that serves could be loaded by a worker. All must agree: what it refuses serves nowhere."""
        draft = Draft()
        for refusal in champions_last(self.table.routes, await self._swap.join(worker)):
            record = self._registry.record(refusal.model, refusal.version)
            if record.stage in SERVING:
                self._changes.lose(draft, record, refusal.reason)
        if draft.changes:
            await self._changes.commit(draft, joining=worker)

    async def _tidied(self, worker: Worker) -> None:
        with contextlib.suppress(ConnectionError):
            await worker.retire(self.table.generation)  # it may have served longer than this process, or caught up

    def leave(self, worker: Worker) -> None:
        """The worker is gone."""
        self._swap.leave(worker)

    # ---- the repository ----

    async def refresh(self) -> None:
        """Look at the repository again: settings, versions, models. Raises RouterError; what serves goes on then.

        Models that are new begin in their own time.
        """
        await self._look()
        self._turns.keep(self._demand.begin_all(ROUTER))

    async def _look(self, model: str = "", number: str = "") -> None:
        """What serves follows its settings; new versions are seen to, but for those that somebody has in hand: one of
        a model, or all."""

        async def look() -> list[VersionRecord]:
            draft = Draft()
            fresh = self._lookout.seen(draft, await asyncio.to_thread(self._scan))
            reasons = await self._lookout.follow(draft)
            await self._lookout.mark(draft, reasons)
            await self._changes.commit(draft)
            if self._changes.unfit(marked := Draft()):  # workers may have refused what is new
                await self._lookout.mark(marked, reasons)
                await self._changes.commit(marked)
            return fresh

        for record in await self._turns.alone(look):
            if record.model != model or number not in {"", record.number}:
                self._courses.begin(record)

    async def load(self, model: str, number: str = "", order: Order = ROUTER) -> None:
        """Have a model serve what its settings choose, or one of its versions be ready.

        Raises RouterError; what served goes on then.
        """
        look = functools.partial(self._look, model)
        await self._turns.shielded(self._demand.load(model, number, order, look))

    async def unload(self, model: str, number: str = "", order: Order = ROUTER) -> None:
        """Serve a model, or one of its versions, no more. Raises RouterError; nothing has changed then."""
        await self._demand.unload(model, number, order)

    # ---- trials ----

    async def test(self, model: str, number: str, order: Order) -> Report:
        """Put a version through its gates; one that passes is ready. Raises RouterError."""
        return await self.examined(model, number, order, warm=False)

    async def warm(self, model: str, number: str, order: Order) -> Report:
        """The same, then the warm-up; the report of the last of both. Raises RouterError."""
        return await self.examined(model, number, order, warm=True)

    async def examined(self, model: str, number: str, order: Order, *, warm: bool) -> Report:
        """Test a version, or test and warm it. Raises RouterError."""
        await self._turns.started.wait()
        if (model, number) not in self._registry.records:
            await self._look(model, number)
        return await self._demand.examined(model, number, order, warm=warm)

    # ---- who answers ----

    async def plan(self, model: str, number: str) -> PromotionPlan:
        """What a promotion would do. Raises NotFound."""
        return await self._planning.promotion(model, number)

    async def rollback(self, model: str, number: str, order: Order, expected: str = "") -> Swapped | Case:
        """Make the standby the champion again, or with a `number` any version that has been ready and is still there.

        A canary that is under way is undone instead, where no version is named: its champion never went. Raises
        NotFound, Refused, NoRoom, Conflict.
        """
        if not number and self._registry.case(model, CaseKind.ROLLOUT) is not None:
            return await self._rollouts.stop(model, order)
        if number:
            await self._consent.check_way_back(model, number)
        return await self._succession.rollback(model, number, order, expected)

    async def _promote_winner(self, model: str, number: str, order: Order, strategy: str, ask: bool) -> object:
        canary, at_least = strategy == "canary", 1 if ask else 0
        return await self._approvals.promote(model, number, order, canary=canary, at_least=at_least)

    # ---- time passes ----

    def next_look(self) -> float:
        """In how many seconds `look_at_canaries` is due again."""
        due = self._rollouts.next_due()
        return LOOK_S if due is None else min(due, LOOK_S)

    async def look(self) -> None:
        """Requests and trials go on; to be called every second. It may take long: a slow ledger is waited for."""
        if self.started:
            self._observe()
            await self._approvals.look()
            await self._contests.look()
            await self._courses.look()

    async def look_at_canaries(self) -> None:
        """Canaries go on; to be called when `next_look` says so, beside `look`: it waits for no ledger."""
        if self.started:
            self._observe()
            await self._rollouts.look()

    def _observe(self) -> None:
        self._warmups.set_observed({**shadows(self.table.routes), **self._rollouts.controls()})

    async def sweep(self) -> None:
        """Let go of standbys whose window is over, and store what could not be; to be called every second or so.

        Raises RouterError when that cannot be stored; it is then tried again after a while.
        """
        now = asyncio.get_running_loop().time()
        if self.started and now >= self._rests_until:
            self._rests_until = now + REST_S
            await self._turns.alone(self._swept)
            self._rests_until = 0.0

    async def _swept(self) -> None:
        draft = Draft()
        for record in self._registry.records.values():
            route = self.table.routes.get(record.model)
            if record.stage is not Stage.STANDBY or route is None:
                continue
            if self._clock() - record.since > route.settings.lifecycle.rollback_window_s:
                draft.put(self._lookout.retired(record, ROUTER, "retired: its rollback window is over"))
                draft.entries.append(self._changes.entry(ROUTER, "retire", record.model, record.number))
        if draft.changes:
            await self._changes.commit(draft)
        await self._changes.pay()
