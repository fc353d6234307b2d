"""Models are trained anew: by schedule, when drift, accuracy or health decline, by hand; one run of a model at a time.

A run is a case. Its command writes into a folder of its own; what lies there becomes the next version in one step, and
goes through the gates like any other, as far as `then` says. Nothing of it is waited for by those who serve.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import structlog

from router.config import RetrainingSettings
from router.control.courses import Taken
from router.control.events import Event, Events
from router.control.records import Case, Order
from router.control.retraining_cases import RetrainingCases
from router.control.retraining_command import Runner
from router.control.retraining_files import Files
from router.control.retraining_lineage import declared, fate, window
from router.control.retraining_run import End, Trainings
from router.core.retraining import (
    CAME_TO_NOTHING,
    DECLINES,
    Policy,
    State,
    Trigger,
    Waiting,
    due,
    newer,
    rests,
)
from router.errors import NotFound, Refused, RouterError
from router.schedule import next_after

log = structlog.get_logger()

ROUTER: Final = Order()
LOOK_S: Final = 1.0
"""How often it is looked whether something is due."""
AT_ONCE: Final = 4
"""Commands that run, of all models; others wait for their turn."""
GATES: Final = "its version goes through its gates"
RUNS: Final = 10
"""That are shown of a model, for who does not say how many."""


class Life(Protocol):
    """The lifecycle, as far as it is known here."""

    @property
    def started(self) -> bool:
        """Whether there is a table that serves."""

    @property
    def events(self) -> Events:
        """What happens to models."""

    @property
    def retrainings(self) -> RetrainingCases:
        """Where runs are kept."""

    async def refresh(self) -> None:
        """Look at the repository again. Raises RouterError."""

    async def take(self, model: str, number: str, to: str, order: Order) -> Taken:
        """See a new version through as far as is wanted. Raises RouterError."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, and what has become of its version since."""

    case: Case
    fate: str


@dataclass(frozen=True, slots=True)
class Shown:
    """How a model's retraining stands. `settings` None: it has no policy. `next` is when the schedule fires, None
    without one; `asks` why a run waits, by trigger; `rests_s` for how long none begins by itself."""

    model: str
    settings: RetrainingSettings | None
    next: float | None
    asks: Mapping[Trigger, str]
    rests_s: float
    runs: tuple[Run, ...]


class Retraining:
    """All models with a policy. `clock` gives seconds since 1970."""

    def __init__(
        self,
        life: Life,
        policies: Mapping[str, RetrainingSettings],
        files: Files,
        runner: Runner,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._life = life
        self._cases = life.retrainings
        self._settings = policies
        self._policies = {model: _policy(settings) for model, settings in policies.items()}
        self._files = files
        self._runner = runner
        self._trainings = Trainings(self._cases, files, runner, clock)
        self._clock = clock
        self._waiting: dict[str, Waiting] = {}
        self._champions: dict[str, str] = {}
        """Of which version what was heard of a model is."""
        self._last: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._caught_up = False
        self._catching_up = asyncio.Lock()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Runs that have ended since this process began, by model and end."""

    @property
    def running(self) -> Mapping[str, bool]:
        """Of each model with a policy, whether a run is under way."""
        return {model: self._cases.under_way(model) is not None for model in self._settings}

    # ---- what is asked for ----

    async def begin(self, model: str, order: Order) -> Case:
        """Train a model anew, whatever its interval. Raises NotFound, Refused, Conflict where a run is under way."""
        self._cases.known(model)
        if model not in self._settings:
            raise Refused(
                f"model '{model[:200]}' has no policy of retraining: write [retraining.{model[:200]}] into router.toml,"
                " with a `command` or `webhook = true`, and start the server with it"
            )
        await self._catch_up()
        if self._full(model):
            raise Refused(f"{AT_ONCE} other models are being retrained now: ask again when one of them is done")
        return await self._begun(model, Trigger.HAND, order.reason or "by hand", order)

    async def stop(self, model: str, order: Order) -> Case:
        """End a run, its command and all that it has started. Raises NotFound, Refused when its version is there."""
        self._cases.known(model)
        case = self._stoppable(model)
        task = self._tasks.pop(model, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        case = self._cases.under_way(model) or case
        if case.state == State.BROUGHT:  # it was quicker
            self._keep(model, self._through(case))
            self._stoppable(model)
        reason = f" ({order.reason})" if order.reason else ""
        return await self._over(case, State.STOPPED, f"stopped by {order.actor}{reason}", order=order)

    def _stoppable(self, model: str) -> Case:
        case = self._cases.under_way(model)
        if case is None:
            raise NotFound(f"no retraining of model '{model[:200]}' is under way")
        if case.state == State.BROUGHT:
            raise Refused(
                f"retraining {case.id} has brought version {case.number}, which is being tried: `router watch"
                f" {model[:200]}` tells how that ends"
            )
        return case

    async def shown(self, model: str = "", last: int = RUNS) -> list[Shown]:
        """How it stands, of one model or of all with a policy. Raises NotFound, RouterError."""
        if model:
            self._cases.known(model)
        await self._catch_up()
        now, made = self._clock(), []
        for name in [model] if model else sorted(self._settings):
            settings, waiting = self._settings.get(name), self._waiting.get(name, Waiting())
            cases = await self._cases.ended(name, last)
            runs = tuple(Run(each, fate(each, self._cases.record(name, each.number))) for each in cases)
            rest = rests(self._policies[name], now, self._last.get(name)) if settings is not None else 0.0
            made.append(Shown(name, settings, waiting.scheduled, waiting.declines, rest, runs))
        return made

    # ---- what is heard ----

    async def listen(self) -> None:
        """Hear of declines, until the server stops."""
        events = self._life.events
        while not events.closed:
            async for event in events.watch():
                self.heard(event)

    def heard(self, event: Event) -> None:
        """One event. A decline of another version than the champion is no reason to replace the champion."""
        policy = self._policies.get(event.model)
        if policy is None or event.kind not in DECLINES:
            return
        waiting, champion = self._known(event.model), self._champions[event.model]
        if event.number in {"", champion}:
            status = event.facts.get("status", "")
            self._waiting[event.model] = waiting.heard(policy, Trigger(event.kind), status, event.text)

    def _known(self, model: str) -> Waiting:
        """What is known of a model's champion; of a new one nothing is, but the schedule goes on."""
        champion = self._cases.champion(model)
        number = champion.number if champion is not None else ""
        waiting = self._waiting.get(model, Waiting())
        if self._champions.get(model) != number:
            self._champions[model] = number
            waiting = Waiting(scheduled=waiting.scheduled)
        if waiting.scheduled is None and self._settings[model].schedule is not None:
            waiting = replace(waiting, scheduled=self._next(model))
        self._waiting[model] = waiting
        return waiting

    def _next(self, model: str) -> float | None:
        settings = self._settings[model]
        return None if settings.schedule is None else next_after(settings.schedule, settings.timezone, self._clock())

    # ---- as time passes ----

    async def work(self, pause: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep) -> None:
        """Look again and again, until it is cancelled: what runs then is ended."""
        try:
            while True:
                try:
                    await self.look()
                except RouterError as error:
                    log.error("retraining could not be looked at", reason=str(error))
                except Exception:  # a fault of ours: it costs one look
                    log.exception("retraining could not be looked at")
                await pause(LOOK_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """End all commands. Their runs are told to be interrupted at the next start."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def look(self) -> None:
        """Begin what is due; to be called every second or so. Trouble of one model holds up no other."""
        if not self._life.started:
            return
        await self._catch_up()
        for case in self._cases.all_under_way():
            if case.state == State.ASKED and case.model not in self._tasks:
                await self._waited(case)
        for model, policy in self._policies.items():
            waiting, now = self._known(model), self._clock()
            if not self._champions[model] or self._cases.under_way(model) is not None or self._full(model):
                continue
            if (wanted := due(policy, waiting, now, self._last.get(model))) is not None:
                try:
                    await self._begun(model, wanted.trigger, wanted.why, ROUTER)
                except RouterError as error:  # it is due again with the next look
                    log.warning("a retraining could not begin", model=model, reason=str(error))

    def _full(self, model: str) -> bool:
        return bool(self._settings[model].command) and len(self._tasks) >= AT_ONCE

    async def _catch_up(self) -> None:
        """Close or go on with what was under way when the controller ended; once. Raises RouterError."""
        async with self._catching_up:
            if self._caught_up or not self._life.started:
                return
            last = {model: await self._cases.ended(model, 1) for model in self._settings}
            self._caught_up = True
            self._last |= {model: cases[0].began for model, cases in last.items() if cases}
            for case in self._cases.all_under_way():
                if case.state == State.BROUGHT and case.number in self._cases.versions(case.model):
                    self._keep(case.model, self._through(case))
                elif case.state != State.ASKED:
                    self._keep(case.model, self._interrupted(case))

    async def _interrupted(self, case: Case) -> None:
        output = await asyncio.to_thread(self._files.output, case.model, case.id)
        left = await asyncio.to_thread(self._runner.end_left, "ROUTER_OUTPUT_DIR", str(output))
        ended = f", and {left} of its processes {'were' if left > 1 else 'was'} ended" if left else ""
        await asyncio.to_thread(self._files.end, case.model, case.id, b"")
        await self._over(case, State.INTERRUPTED, f"interrupted: the controller had ended{ended}")

    async def _waited(self, case: Case) -> None:
        """Others train: their version is taken when it is there, and given up when it does not come."""
        came = [each for each in self._cases.versions(case.model) if newer(each, case.body.get("newest"))]
        found = self._cases.found(case.model)
        if came and found is not None and came[0] in found.versions:
            body = {**case.body, "text": GATES}
            brought = await self._cases.put(replace(case, number=came[0], state=State.BROUGHT, body=body))
            self._cases.tell(brought, f"version {came[0]} has come, and goes through its gates")
            self._keep(case.model, self._through(brought))
        elif self._clock() - case.began >= float(case.body.get("timeout_s", 0.0)):
            text = f"no new version has come within {float(case.body.get('timeout_s', 0.0)):g} s"
            await self._over(case, State.TIMEOUT, text)

    # ---- a run ----

    async def _begun(self, model: str, trigger: Trigger, why: str, order: Order) -> Case:
        settings = self._settings[model]
        seen = await asyncio.to_thread(self._seen, model)
        action = "command" if settings.command else "webhook" if settings.webhook else "event"
        body = {
            "trigger": str(trigger),
            "why": why[:300],
            "reason": order.reason,
            "action": action,
            "then": settings.then,
            "timeout_s": settings.timeout_s,
            "window": window(seen),
            "text": "the command runs" if settings.command else "others train, and their version is waited for",
        }
        state = State.RUNNING if settings.command else State.ASKED
        case = await self._cases.begin(model, order, body, state)
        self._last[model] = case.began
        self._waiting[model] = self._waiting.get(model, Waiting()).begun(self._next(model))
        text = f"retraining {case.id} begins ({trigger}: {why[:300]}): {body['text']}"
        facts = {"action": action, "then": settings.then, "parent_digest": case.body["parent_digest"]}
        self._cases.tell(case, text, **facts, actor=order.actor)
        if settings.command:
            self._keep(model, self._trained(case, settings))
        return case

    def _seen(self, model: str) -> tuple[float, float] | None:
        """From when until when there are recordings of a model. It blocks."""
        try:
            return self._files.recordings(model)[1]
        except OSError as error:
            log.warning("the recordings of a model cannot be looked at", model=model, reason=error.strerror)
            return None

    def _keep(self, model: str, work: Coroutine[Any, Any, None]) -> None:
        async def kept() -> None:
            try:
                await work
            except RouterError as error:
                await self._failed(model, str(error))
            except Exception:  # a fault of ours: the run has ended with it
                log.exception("a retraining failed by a fault of the server", model=model)
                await self._failed(model, "a fault of the server, which its log describes")
            finally:
                if self._tasks.get(model) is task:
                    del self._tasks[model]

        task = self._tasks[model] = asyncio.ensure_future(kept())

    async def _failed(self, model: str, text: str) -> None:
        if (case := self._cases.under_way(model)) is not None:
            await self._over(case, State.FAILED, text)

    async def _trained(self, case: Case, settings: RetrainingSettings) -> None:
        found = self._cases.found(case.model)
        if found is None:
            raise Refused("the model's directory is gone")
        came = await self._trainings.run(case, settings, found)
        if isinstance(came, End):
            await self._over(came.case, came.state, came.text)
            return
        self._cases.tell(came, f"version {came.number} is in the repository, and goes through its gates")
        await self._life.refresh()
        await self._through(came)

    async def _through(self, case: Case) -> None:
        """Its version goes through its gates, and on."""
        order = Order(reason=f"retraining {case.id}: then = {case.body.get('then')}")
        taken = await self._life.take(case.model, case.number, str(case.body.get("then", "test")), order)
        outcome = await self._cases.lineage(case.model, case.number)
        known = replace(case, body={**case.body, **declared(outcome)})
        await self._over(known, State.DONE if taken.passed else State.REJECTED, taken.text)

    async def _over(self, case: Case, state: State, text: str, order: Order = ROUTER) -> Case:
        ended = await self._cases.end(case, state, text, order)
        self.outcomes[case.model, str(state)] += 1
        self._cases.tell(ended, f"retraining {case.id} has ended ({state}): {text}", actor=order.actor)
        policy = self._policies.get(case.model)
        if policy is not None and state in CAME_TO_NOTHING and case.body.get("trigger") in DECLINES:
            trigger, why = Trigger(str(case.body["trigger"])), str(case.body.get("why", ""))
            self._waiting[case.model] = self._known(case.model).again(policy, trigger, why)
        return ended


def _policy(settings: RetrainingSettings) -> Policy:
    given = {
        Trigger.DRIFT: settings.on_drift,
        Trigger.ACCURACY: settings.on_accuracy,
        Trigger.HEALTH: settings.on_health,
    }
    return Policy({each: status for each, status in given.items() if status is not None}, settings.min_interval_s)
