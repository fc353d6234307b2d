"""Whether models are still right: reads the ledger as it grows, adds up what came true, and tells of a decline.

Everything is in memory and bounded; after a restart it is read from the ledger's file again, and a decline that
was found before is told again, as such. What a version is compared with is kept (`baselines`): the ledger forgets what
it was taken from. All of it is reckoned on one thread of its own: the event loop only passes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

import structlog

from router.control.accuracy_version import Place, WatchedVersion
from router.control.accuracy_view import Measured, ModelAccuracy, VersionAccuracy, facts_of, following, told
from router.control.baselines import Baselines, Rows
from router.control.events import Events
from router.control.ledger_news import Marks, News
from router.control.records import Entry, Order
from router.core.accuracy import headline
from router.core.accuracy_history import FARTHEST_S
from router.core.decline import Baseline, Finding, Origin, Status, of_exam
from router.core.exam import EXAM
from router.core.gate import Report
from router.core.outcome import Kind, Outcome, Said
from router.core.table import Route, VersionState
from router.errors import InvalidRequest, NotFound, NotReady, Refused, RouterError

log = structlog.get_logger()

EVERY_S: Final = 5.0
"""How often it is looked at the ledger."""
MOST: Final = 8192
"""Predictions that are read at once: other work of the ledger goes between."""
MOST_VERSIONS: Final = 8
"""Of one model; the one that longest ago had something come true goes first."""
RECENT_S: Final = 3600.0
"""What metrics tell of."""

Value = TypeVar("Value")
Change = tuple[str, str, str, Mapping[str, str]]
"""What is told: text, model, version, facts."""
ANEW: Final[Mapping[str, str]] = {"status": Status.GREEN.value, "baseline": "anew"}
"""Of a version that is compared with something else: whatever was found before, nothing is found yet."""


class Truths(Protocol):
    """The ledger, as far as it is read here."""

    @property
    def heard(self) -> Mapping[str, Mapping[str, int]]:
        """What became of actuals, by model."""

    async def news(self, models: frozenset[str], marks: Marks, most: int) -> News:
        """What happened since. Raises NotReady."""


Reports = Callable[[str, str], Sequence[Report]]
"""The newest tests of a version; blocks, and raises RouterErrors."""


class Accuracy:
    """Of all models that keep a ledger. Used on the event loop."""

    def __init__(
        self,
        truths: Truths,
        routes: Callable[[], Mapping[str, Route]],
        events: Events,
        baselines: Rows,
        reports: Reports = lambda model, number: (),  # noqa: ARG005
        clock: Callable[[], float] = time.time,
        every_s: float = EVERY_S,
    ) -> None:
        self._truths = truths
        self._routes = routes
        self._events = events
        self._reports = reports
        self._baselines = Baselines(baselines)
        self._clock = clock
        self._every_s = every_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="accuracy")
        self._marks = Marks()
        self._models: dict[str, dict[str, WatchedVersion]] = {}
        self._caught_up = False
        self._whole = False
        """Whether the last look has read all that there was."""
        self._begun: list[Change] = []
        """Versions that are compared with something else than before."""
        self._trouble = ""
        self.measured: Sequence[Measured] = ()
        """Of each version that serves, as it was at the last look."""

    @property
    def heard(self) -> Mapping[str, Mapping[str, int]]:
        """What became of actuals, by model."""
        return self._truths.heard

    async def run(self) -> None:
        """Look again and again, until this is cancelled."""
        try:
            while True:
                began = time.monotonic()
                more = await self._looked()
                # What is left is read at once, but half of the time the ledger's thread is for others.
                await asyncio.sleep(min(time.monotonic() - began, 1.0) if more else self._every_s)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _looked(self) -> bool:
        try:
            more = await self.look()
        except RouterError as error:
            if str(error) != self._trouble:
                log.warning("the accuracy of models is not looked at", reason=str(error))
            self._trouble = str(error)
            return False
        except Exception:  # a fault of ours: the controller goes on
            log.exception("the accuracy of models could not be looked at")
            return False
        self._trouble = ""
        return more

    async def look(self) -> bool:
        """Read what is new and tell of what changed; whether there is more to be read. Raises RouterErrors."""
        every = dict(self._routes())
        routes = {name: route for name, route in every.items() if route.settings.ledger.enabled}
        await self._do(self._baselines.load)
        news = await self._truths.news(frozenset(routes), self._marks, MOST)
        now = self._clock()
        before, self._marks = self._marks, news.marks  # what is at fault in it is not read again and again
        changes = await self._do(lambda: self._take(news, before, every, routes, now))
        begun, self._begun = self._begun, []
        for text, name, number, facts in begun:
            self._events.tell("accuracy", name, number, text, 0, **facts)
        for text, name, number, facts in changes:
            self._events.tell("accuracy", name, number, text, 0, **facts)
        self._caught_up = self._caught_up or not news.more
        return news.more

    async def _do(self, work: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # ---- on the thread ----

    def _take(
        self, news: News, before: Marks, every: Mapping[str, Route], routes: Mapping[str, Route], now: float
    ) -> list[Change]:
        """Add what is new. What changed, of champions."""
        for name in [name for name in self._models if name not in routes]:
            del self._models[name]
        places = {
            name: Place(before.file, before.turns.get(name, 0), self._whole and name in before.turns, now)
            for name in routes
        }
        for name, versions in self._models.items():
            for known in versions.values():
                self._another(known, known.follow(routes[name], places[name]))
        for name, outcomes in news.outcomes.items():
            self._add(name, outcomes, routes[name], places[name], news.marks.file)
        for name, said in news.said.items():
            self._count(name, said, routes[name], places[name])
        self._whole = not news.more
        for name, versions in self._models.items():
            read = Place(news.marks.file, news.marks.turns.get(name, 0), self._whole, now)
            for known in versions.values():
                known.read(read)
        self._baselines.save(every)
        changes = [] if news.more else [each for name, route in routes.items() for each in self._changed(name, route)]
        self.measured = [each for name, route in routes.items() for each in self._measures(name, route, now)]
        return changes

    def _another(self, known: WatchedVersion, text: str) -> None:
        """It is compared with something else than before, if there is a text that says so."""
        if text:
            self._begun.append((text, known.model, known.number, ANEW))

    def _count(self, model: str, said: Sequence[Said], route: Route, place: Place) -> None:
        by_version: dict[str, list[Said]] = {}
        for each in said:
            by_version.setdefault(each.version, []).append(each)
        for number, counts in by_version.items():
            version = self._version(model, number, Kind.of(counts[-1].form), route, place)
            version.history.said(counts, place.now)

    def _add(self, model: str, outcomes: Sequence[Outcome], route: Route, place: Place, file: int) -> None:
        by_version: dict[str, list[Outcome]] = {}
        for each in outcomes:
            by_version.setdefault(each.version, []).append(each)
        for number, rows in by_version.items():
            kind = Kind.of(rows[-1].form)
            version = self._version(model, number, kind, route, place)
            version.take([each for each in rows if Kind.of(each.form) is kind], file, place.now)

    def _version(self, model: str, number: str, kind: Kind, route: Route, place: Place) -> WatchedVersion:
        """What is known of a version; nothing yet where its predictions are of another kind by now."""
        versions = self._models.setdefault(model, {})
        known = versions.get(number)
        if known is None or known.history.kind is not kind:
            known = versions[number] = WatchedVersion(model, number, kind, self._baselines, self._of_exam)
            self._another(known, known.begin(route, place))
            if len(versions) > MOST_VERSIONS:
                oldest = min((each for each in versions if each != number), key=lambda n: versions[n].history.newest_s)
                del versions[oldest]
        return known

    def _of_exam(self, model: str, number: str, kind: Kind) -> Baseline | None:
        """The baseline from the newest test with an exam; None where there was none."""
        try:
            reports = self._reports(model, number)
        except RouterError as error:
            log.warning("what the exam showed is not known", model=model, version=number, reason=str(error))
            return None
        for report in reports:
            for outcome in report.outcomes:
                figures = outcome.figures if outcome.gate == EXAM else {}
                rows = int(figures.get("rows", 0))
                if rows and kind is Kind.LABELS and "accuracy_share" in figures:
                    return of_exam(kind, rows, 1.0 - figures["accuracy_share"])
                if rows and kind is Kind.NUMBERS and "mae" in figures:
                    return of_exam(kind, rows, figures["mae"])
        return None

    def _changed(self, model: str, route: Route) -> list[Change]:
        """What is to be told of a champion."""
        known = self._models.get(model, {}).get(route.champion or "")
        if known is None:
            return []
        finding = known.decline.finding()
        if finding.status in (Status.UNKNOWN, known.told):
            return []
        known.told = finding.status
        text = told(known.number, known.history.kind, finding, route.settings.accuracy)
        facts = facts_of(known.history.kind, finding)
        if not self._caught_up:  # it was found before this process began: for whoever remembers what was told
            text, facts = f"{text} (as it was found before)", {**facts, "again": "yes"}
        return [(text, model, known.number, facts)]

    def _measures(self, model: str, route: Route, now: float) -> list[Measured]:
        made = []
        for number, known in self._models.get(model, {}).items():
            there = route.versions.get(number)
            if there is None or there.state is not VersionState.READY:
                continue
            figure = headline(known.history.kind, known.history.total(RECENT_S, now))
            declined = known.decline.finding().status is Status.RED
            value = None if figure is None else figure.value
            made.append(Measured(model, number, known.history.kind, value, declined))
        return made

    # ---- what is known ----

    async def of(self, model: str, number: str, since_s: float) -> ModelAccuracy:
        """How right a model's versions were in the last so many seconds; all of them, or the one of this number.

        Raises NotFound, Refused (it keeps no ledger), InvalidRequest (it goes farther back than anything is kept).
        """
        route = self._route(model)
        if not 0 < since_s <= FARTHEST_S:
            most = FARTHEST_S // 86_400
            raise InvalidRequest(f"{since_s / 86_400:g} days back: more than 0 are meant, and {most} are the most")
        now = self._clock()
        heard = dict(self._truths.heard.get(model, {}))
        return await self._do(lambda: self._seen(model, route, number, since_s, now, heard))

    def _route(self, model: str) -> Route:
        route = self._routes().get(model)
        if route is None:
            raise NotFound(f"unknown model '{model[:200]}'")
        if not route.settings.ledger.enabled:
            raise Refused(
                f"model '{model}' keeps no ledger of its predictions, so nobody knows how right it is: set"
                " `enabled = true` under [ledger] in its model.toml, and say what came true (`router actuals`)"
            )
        return route

    async def begin_anew(self, model: str, number: str, order: Order) -> str:
        """Have the baseline of a version, by default the champion, be made of what comes true from now on.

        What it is compared with, in words. Raises NotFound, Refused (it keeps no ledger, is compared with its exam, or
        the store takes nothing), NotReady (the ledger is still being read).
        """
        route, now = self._route(model), self._clock()
        place = Place(self._marks.file, self._marks.turns.get(model, 0), self._whole, now)
        text, number = await self._do(lambda: self._anew(route, number or route.champion or "", place, order))
        self._events.tell("accuracy", model, number, text, 0, **ANEW)
        return text

    def _anew(self, route: Route, number: str, place: Place, order: Order) -> tuple[str, str]:
        known = self._models.get(route.model, {}).get(number)
        if known is None:
            raise self._unknown(route.model, number)
        if not place.whole:
            raise NotReady(f"model '{route.model[:200]}': its ledger is still being read, ask again in a moment")
        current = known.decline.finding().baseline
        if current is not None and current.origin is Origin.EXAM:
            raise Refused(
                f"version {number} of model '{route.model[:200]}' is compared with its exam: test it again"
                f' (`router test {route.model} {number}`), or set `baseline = "first"` under [accuracy]'
            )
        before = {} if current is None else {"requests": current.requests, "loss": current.loss}
        self._baselines.tell(Entry(place.now, order.actor, "baseline", route.model, number, order.reason, before))
        text = known.anew(route, place, f"{order.actor} wanted it")
        self._baselines.save(dict(self._routes()))
        return text, number

    def _unknown(self, model: str, number: str) -> NotFound:
        there = ", ".join(sorted(self._models.get(model, {}), key=_order)) or "none"
        return NotFound(
            f"model '{model[:200]}': no prediction of version {number[:50]} is kept; of these some are: {there}"
        )

    def _seen(
        self, model: str, route: Route, number: str, since_s: float, now: float, heard: Mapping[str, int]
    ) -> ModelAccuracy:
        known = self._models.get(model, {})
        if number and number not in known:
            raise self._unknown(model, number)
        ordered = sorted(known.values(), key=lambda each: _order(each.number), reverse=True)
        versions = [self._of_version(each, route, since_s, now) for each in ordered if number in ("", each.number)]
        champion = known.get(route.champion or "")
        finding = Finding(Status.UNKNOWN) if champion is None else champion.decline.finding()
        kind = None if champion is None else champion.history.kind
        settings = route.settings.accuracy
        text = told(route.champion or "", kind, finding, settings)
        step = following(model, route, finding, settings, came=champion is not None and champion.history.came)
        return ModelAccuracy(
            model, route.champion or "", finding, text, step, now, since_s, tuple(versions), heard,
            reading=not self._caught_up,
        )  # fmt: skip

    @staticmethod
    def _of_version(known: WatchedVersion, route: Route, since_s: float, now: float) -> VersionAccuracy:
        history = known.history
        points = history.since(since_s, now)
        confused, first_s = (None, 0) if history.kind is Kind.NUMBERS else history.confusion(since_s, now)
        finding = known.decline.finding()
        return VersionAccuracy(
            known.number, role_of(route, known.number), history.kind, finding,
            told(known.number, history.kind, finding, route.settings.accuracy), tuple(points), confused, first_s,
        )  # fmt: skip


def role_of(route: Route, number: str) -> str:
    """What a version is to its model; empty where it has no part in it."""
    if number == route.champion:
        return "champion"
    if number in route.split.numbers | route.shadows:
        return "challenger"
    return "standby" if number == route.standby else ""


def _order(number: str) -> tuple[int, str]:
    return len(number), number
