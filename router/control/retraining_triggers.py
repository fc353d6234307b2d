"""What asks for a model to be trained anew: declines that were heard of, and the schedule; by model with a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from router.config import RetrainingSettings
from router.control.events import Event
from router.control.records import Case
from router.control.retraining_cases import RetrainingCases
from router.core.retraining import (
    CAME_TO_NOTHING,
    DECLINES,
    Due,
    Policy,
    State,
    Trigger,
    Waiting,
    due,
    rests,
)
from router.schedule import next_after

_NOTHING: Final = Waiting()


class Triggers:
    """In memory: what was told before this process began, monitors tell again. `clock` gives seconds since 1970."""

    def __init__(
        self, cases: RetrainingCases, settings: Mapping[str, RetrainingSettings], clock: Callable[[], float]
    ) -> None:
        self._cases = cases
        self._settings = settings
        self._policies = {model: _policy(each) for model, each in settings.items()}
        self._clock = clock
        self._waiting: dict[str, Waiting] = {}
        self._champions: dict[str, str] = {}
        """Of which version what was heard of a model is."""
        self._scheduled_at: dict[str, float] = {}
        """When it was asked when a schedule fires next."""
        self._last: dict[str, float] = {}
        """When the last run began."""

    # ---- what is known ----

    def waiting(self, model: str) -> Waiting:
        """What asks for a run of a model, as it was last looked at."""
        return self._waiting.get(model, _NOTHING)

    def rests_s(self, model: str) -> float:
        """For how many seconds no run of a model begins by itself."""
        if model not in self._policies:
            return 0.0
        now, waiting = self._clock(), self.waiting(model)
        rest = rests(self._policies[model], now, self._last.get(model))
        return max(rest, waiting.pause(now) if waiting.declines else 0.0)

    def due(self, model: str) -> Due | None:
        """What is to begin now, if anything. A model without a champion has nobody whose place is to be taken."""
        waiting = self._known(model)
        if not self._champions[model]:
            return None
        return due(self._policies[model], waiting, self._clock(), self._last.get(model))

    # ---- what happens ----

    def heard(self, event: Event) -> None:
        """One event. A decline of another version than the champion is no reason to replace the champion."""
        policy = self._policies.get(event.model)
        if policy is None or event.kind not in DECLINES:
            return
        waiting, champion = self._known(event.model), self._champions[event.model]
        if event.number in {"", champion}:
            status = event.facts.get("status", "")
            self._waiting[event.model] = waiting.heard(policy, Trigger(event.kind), status, event.text)

    def begun(self, case: Case) -> None:
        """A run has begun."""
        self.last_began(case)
        self._waiting[case.model] = self.waiting(case.model).begun(self._next(case.model))

    def last_began(self, case: Case) -> None:
        """The last run of a model, which an earlier process may have begun."""
        self._last[case.model] = case.began

    def ended(self, case: Case, state: State) -> None:
        """A run has ended: where it came to nothing, a decline that goes on asks for another."""
        policy = self._policies.get(case.model)
        if policy is not None and state in CAME_TO_NOTHING and case.body.get("trigger") in DECLINES:
            trigger, why = Trigger(str(case.body["trigger"])), str(case.body.get("why", ""))
            self._waiting[case.model] = self._known(case.model).again(policy, trigger, why, self._clock())

    def _known(self, model: str) -> Waiting:
        """What is known of a model's champion; of a new one nothing is, but the schedule goes on."""
        champion = self._cases.champion(model)
        number = champion.number if champion is not None else ""
        waiting = self.waiting(model)
        if self._champions.get(model) != number:
            self._champions[model] = number
            waiting = Waiting(scheduled=waiting.scheduled)
        back = self._clock() < self._scheduled_at.get(model, 0.0)  # the clock was set: it fires by the new one
        if waiting.scheduled is None or back:
            waiting = replace(waiting, scheduled=self._next(model))
        self._waiting[model] = waiting
        return waiting

    def _next(self, model: str) -> float | None:
        """When the schedule fires next; None where there is none."""
        settings = self._settings[model]
        if settings.schedule is None:
            return None
        now = self._scheduled_at[model] = self._clock()
        return next_after(settings.schedule, settings.timezone, now)


def _policy(settings: RetrainingSettings) -> Policy:
    given = {
        Trigger.DRIFT: settings.on_drift,
        Trigger.ACCURACY: settings.on_accuracy,
        Trigger.HEALTH: settings.on_health,
    }
    return Policy({each: status for each, status in given.items() if status is not None}, settings.min_interval_s)
