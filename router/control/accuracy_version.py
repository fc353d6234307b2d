"""One version of which it is watched how right it is: its history, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from router.control.baselines import Baselines, Terms, baseline_of
from router.core.accuracy_history import History
from router.core.decline import Baseline, Decline, Origin, Rule, Status
from router.core.outcome import Kind, Outcome, losses
from router.core.table import Route
from router.model_settings import AccuracySettings


class Place(NamedTuple):
    """How far the ledger was read at `now` (seconds since 1970): up to a turn of the model in a file. `whole`: that was
    all that there was."""

    file: int
    turn: int
    whole: bool
    now: float


class WatchedVersion:
    """Used on one thread, on which `exam` may block: the baseline that its newest exam gives, None without one."""

    def __init__(
        self,
        model: str,
        number: str,
        kind: Kind,
        baselines: Baselines,
        exam: Callable[[str, str, Kind], Baseline | None],
    ) -> None:
        self.model = model
        self.number = number
        self.history = History(kind)
        self.told = Status.GREEN
        """What people were told last: nothing, until there is something to tell."""
        self.decline = Decline(kind, Rule(0.0, 0.0, 1))
        self._terms = Terms("", "", kind, 0)
        self._wish = ""
        self._baselines = baselines
        self._exam = exam
        self._file = self._turn = 0
        """What came true up to this turn of this file of the ledger has had its part."""
        self._anew_s = 0.0
        self._waits = False
        """Its baseline is begun anew once all that the ledger has by now is read."""

    def begin(self, route: Route, place: Place, why: str = "") -> str:
        """From now on it is compared with what the settings say; `why` that is something else than before.

        Says it in words where it is something else, by `why` or by what was kept; else it is empty.
        """
        kind, settings = self.history.kind, route.settings.accuracy
        self._terms = Terms.of(route, self.number, kind, self._terms.digest)
        self._wish = settings.baseline
        self._waits, self._file, self._turn = False, 0, 0
        rule = _rule(settings)
        if settings.baseline == "exam" and (exam := self._exam(self.model, self.number, kind)) is not None:
            self.decline = Decline(kind, rule, exam)
            return self._said("its exam", why)
        record, other = self._baselines.of(self.model, self.number, self._terms)
        if record is not None:
            self.decline = Decline(kind, rule, baseline_of(record), record.since)
            self._file, self._turn = record.file, record.turn
            return self._said("its first requests", why)
        if other or why:
            return self.anew(route, place, other or why)
        self.decline = Decline(kind, rule)
        return ""

    def anew(self, route: Route, place: Place, why: str) -> str:
        """Its baseline is made of what comes true from now on. Says so in words."""
        rule = _rule(route.settings.accuracy)
        self.decline = Decline(self.history.kind, rule, since_s=place.now)
        self._anew_s, self._waits = place.now, True
        self.read(place)
        return self._said(f"the first {rule.rows} requests that come true from now on", why)

    def _said(self, what: str, why: str) -> str:
        if not why:
            return ""
        self.told = Status.GREEN  # what was found before does not count any more
        return f"version {self.number} is compared with {what}: {why}"

    def read(self, place: Place) -> None:
        """So far the ledger has been read by now."""
        if self._waits and place.whole:
            self._waits, self._file, self._turn = False, place.file, place.turn
            self._baselines.put(
                self.model, self.number, self._terms, file=place.file, turn=place.turn, since=self._anew_s
            )

    def follow(self, route: Route, place: Place) -> str:
        """The settings and files as they are now. What is said is as `begin` says it."""
        settings, current = route.settings.accuracy, self.decline.finding().baseline
        terms = Terms.of(route, self.number, self.history.kind, self._terms.digest)
        why = terms.unlike(self._terms)
        if current is None or current.origin is Origin.EXAM:  # the number of requests may be another one
            why = terms.unlike(self._terms._replace(wanted=terms.wanted))
        if not why and settings.baseline != self._wish and self._another(settings, current):
            why = f"`accuracy.baseline` was {self._wish!r}"
        if why:
            return self.begin(route, place, why)
        self._terms, self._wish = terms, settings.baseline
        if self.decline.rule != _rule(settings):
            self.decline.follow(_rule(settings))
        return ""

    def _another(self, settings: AccuracySettings, current: Baseline | None) -> bool:
        """Whether there is another baseline of the origin that is asked for now."""
        if settings.baseline == "exam":
            return self._exam(self.model, self.number, self.history.kind) is not None
        return current is not None and current.origin is Origin.EXAM

    def take(self, outcomes: Sequence[Outcome], file: int, now: float) -> None:
        """More came true, by the ledger's `file`; all of its kind, in the order of their turns."""
        self.history.add(outcomes, now)
        if self._waits:
            return
        fresh = [each for each in outcomes if each.turn > self._turn] if file == self._file else outcomes
        at = 0
        while at < len(fresh) and self.decline.finding().baseline is None:
            end = at + 1
            while end < len(fresh) and fresh[end].turn == fresh[at].turn:
                end += 1
            self._bet(fresh[at:end])
            self._keep(file, fresh[at].turn, now)
            at = end
        self._bet(fresh[at:])

    def _bet(self, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            for _ in self.decline.add(losses(outcomes)):
                pass  # how it stands in the end is what is told

    def _keep(self, file: int, turn: int, now: float) -> None:
        """Keep the baseline, if the rows of this turn have made it whole: later ones are what it is compared with."""
        made = self.decline.finding().baseline
        if made is not None:
            self._file, self._turn = file, turn
            self._baselines.put(
                self.model, self.number, self._terms, file=file, turn=turn, since=made.since_s,
                requests=made.requests, loss=made.loss, high=made.high, made=now,
            )  # fmt: skip


def _rule(settings: AccuracySettings) -> Rule:
    return Rule(settings.max_drop, settings.max_rise, settings.baseline_requests)
