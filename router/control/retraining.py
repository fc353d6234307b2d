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
from functools import partial
from textwrap import shorten
from typing import Any, Final, Protocol

import structlog

from router.config import RetrainingSettings
from router.control.aside import Aside
from router.control.courses import Taken
from router.control.events import Events
from router.control.records import Case, Order
from router.control.retraining_cases import RetrainingCases
from router.control.retraining_command import MARK, Runner
from router.control.retraining_files import Files
from router.control.retraining_lineage import declared, fate, window
from router.control.retraining_run import End, Trainings
from router.control.retraining_triggers import Triggers
from router.core.retraining import Due, State, Trigger, newer
from router.errors import NotFound, NotReady, Refused, RouterError

log = structlog.get_logger()

ROUTER: Final = Order()
LOOK_S: Final = 1.0
"""How often it is looked whether something is due."""
TROUBLE_S: Final = 10.0
"""What could not begin or go on, such as while the store takes nothing, is tried again after so long."""
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
        self._triggers = Triggers(self._cases, policies, clock)
        self._files = files
        self._runner = runner
        self._aside = Aside(AT_ONCE, "retraining")
        self._trainings = Trainings(self._cases, files, runner, self._aside, clock)
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._caught_up = False
        self._catching_up = asyncio.Lock()
        self._closed = False
        self._troubles: dict[str, tuple[str, float]] = {}
        """Of models, as they were said last, and when it is tried again."""
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
        if self._closed:
            raise NotReady("the server stops: ask again when it is back")
        if model not in self._settings:
            raise Refused(
                f"model '{model[:200]}' has no policy of retraining: write [retraining.{model[:200]}] into router.toml,"
                " with a `command` or `webhook = true`, and start the server with it"
            )
        await self._catch_up()
        if self._full(model):
            raise Refused(f"{AT_ONCE} other models are being retrained now: ask again when one of them is done")
        return await self._cases.whole(self._begun(model, Trigger.HAND, order.reason or "by hand", order))

    async def stop(self, model: str, order: Order) -> Case:
        """End a run, its command and all that it has started. Raises NotFound, Refused when its version is there."""
        self._cases.known(model)
        return await self._cases.whole(self._stopped(self._stoppable(model), order))

    async def _stopped(self, case: Case, order: Order) -> Case:
        model = case.model
        task = self._tasks.pop(model, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        case = self._cases.now(case)
        if case.state == State.BROUGHT:  # it was quicker: nobody has been told of it yet
            self._keep(model, self._brought(case))
            self._stoppable(model)
        reason = f" ({order.reason})" if order.reason else ""
        ended = await self._over(case, State.STOPPED, f"stopped by {order.actor}{reason}", order=order)
        if ended is None:
            raise Refused(f"retraining {case.id} ended by itself meanwhile: `router retrain {model[:200]}` tells how")
        return ended

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
        made = []
        for name in [model] if model else sorted(self._settings):
            settings, waiting = self._settings.get(name), self._triggers.waiting(name)
            cases = await self._cases.ended(name, last)
            runs = tuple(Run(each, fate(each, self._cases.record(name, each.number))) for each in cases)
            rest = self._triggers.rests_s(name)
            made.append(Shown(name, settings, waiting.scheduled, waiting.declines, rest, runs))
        return made

    # ---- what is heard ----

    async def listen(self) -> None:
        """Hear of declines, until the server stops."""
        events = self._life.events
        while not events.closed:
            async for event in events.watch():
                self._triggers.heard(event)

    # ---- as time passes ----

    async def work(self, pause: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep) -> None:
        """Look again and again, until it is cancelled: what runs then is ended."""
        said = ""
        try:
            while True:
                try:
                    await self.look()
                    said = ""
                except RouterError as error:
                    if str(error) != said:
                        log.error("retraining could not be looked at", reason=str(error))
                    said = str(error)
                except Exception:  # a fault of ours: it costs one look
                    log.exception("retraining could not be looked at")
                await pause(LOOK_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """End all commands, for good. Their runs are told to be interrupted at the next start."""
        self._closed = True
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
                await self._apart(case.model, partial(self._waited, case))
        for model in self._settings:
            wanted = self._triggers.due(model)
            if wanted is not None and self._cases.under_way(model) is None and not self._full(model):
                await self._apart(model, partial(self._due, model, wanted))  # it stays due if it cannot begin

    async def _due(self, model: str, wanted: Due) -> Case:
        return await self._cases.whole(self._begun(model, wanted.trigger, wanted.why, ROUTER))

    async def _apart(self, model: str, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Trouble of one model holds up no other. The same is said once, and tried again after a while."""
        said, again_at = self._troubles.get(model, ("", 0.0))
        now = self._clock()
        if now < again_at <= now + TROUBLE_S:
            return
        try:
            await work()
        except RouterError as error:
            if str(error) != said:
                log.warning("a retraining cannot go on", model=model, reason=str(error))
            self._troubles[model] = str(error), now + TROUBLE_S
        else:
            self._troubles.pop(model, None)

    def _full(self, model: str) -> bool:
        return bool(self._settings[model].command) and len(self._tasks) >= AT_ONCE

    async def _catch_up(self) -> None:
        """Close or go on with what was under way when the controller ended; once. Raises RouterError."""
        async with self._catching_up:
            if self._caught_up or not self._life.started:
                return
            last = {model: await self._cases.ended(model, 1) for model in self._settings}
            self._caught_up = True
            for cases in last.values():
                for case in cases:
                    self._triggers.last_began(case)
            for case in self._cases.all_under_way():
                if case.state == State.BROUGHT and case.number in self._cases.versions(case.model):
                    self._keep(case.model, self._through(case))
                elif case.state != State.ASKED:
                    self._keep(case.model, self._interrupted(case))

    async def _interrupted(self, case: Case) -> None:
        output = self._files.output(case.model, case.id)
        left = await self._aside.do(self._runner.end_left, MARK, str(output))
        ended = f", and {left} of its processes {'were' if left > 1 else 'was'} ended" if left else ""
        await self._aside.do(self._files.end, case.model, case.id, b"")
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
        seen = await self._aside.do(self._seen, model)
        action = "command" if settings.command else "webhook" if settings.webhook else "event"
        body = {
            "trigger": str(trigger),
            "why": _short(why),
            "reason": order.reason,
            "action": action,
            "then": settings.then,
            "timeout_s": settings.timeout_s,
            "window": window(seen),
            "text": "the command runs" if settings.command else "others train, and their version is waited for",
        }
        state = State.RUNNING if settings.command else State.ASKED
        case = await self._cases.begin(model, order, body, state)
        self._triggers.begun(case)
        text = f"retraining {case.id} begins ({trigger}: {_short(why)}): {body['text']}"
        facts = {"action": action, "then": settings.then, "parent_digest": case.body["parent_digest"]}
        self._cases.tell(case, text, **facts, actor=order.actor)
        if settings.command and not self._closed:  # or else it is told to be interrupted
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
        else:
            await self._brought(came)

    async def _brought(self, case: Case) -> None:
        self._cases.tell(case, f"version {case.number} is in the repository, and goes through its gates")
        await self._life.refresh()
        await self._through(case)

    async def _through(self, case: Case) -> None:
        """Its version goes through its gates, and on."""
        order = Order(reason=f"retraining {case.id}: then = {case.body.get('then')}")
        taken = await self._life.take(case.model, case.number, str(case.body.get("then", "test")), order)
        outcome = await self._cases.lineage(case.model, case.number)
        known = replace(case, body={**case.body, **declared(outcome)})
        await self._over(known, State.DONE if taken.passed else State.REJECTED, taken.text)

    async def _over(self, case: Case, state: State, text: str, order: Order = ROUTER) -> Case | None:
        """A run has ended; None: it had ended before, and that was told."""

        def over(ended: Case) -> None:
            self.outcomes[case.model, str(state)] += 1
            self._cases.tell(ended, f"retraining {case.id} has ended ({state}): {text}", actor=order.actor)
            self._triggers.ended(ended, state)

        return await self._cases.end(case, state, text, order, over)


def _short(why: str) -> str:
    """Whole words, for a line that holds other things too."""
    return shorten(why, 300, placeholder=" …")
