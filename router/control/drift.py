"""Drift of all models: rows that workers have looked at, compared with the references, on a thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from router.control.drift_model import DriftOfModel
from router.control.drift_rows import SeenRecord
from router.control.events import Events
from router.control.own_reference import own_reference
from router.control.records import Entry, Order
from router.control.reference_rows import ReferenceRecord
from router.core.drift import WORDS
from router.core.drift_kept import Forgotten
from router.core.drift_report import INPUTS, SIDES, ModelDrift
from router.core.observation import Array, Observation
from router.core.reference import Reference
from router.core.reference_text import UnreadableReference, from_text
from router.core.table import Route
from router.errors import InvalidRequest, NotFound, Refused, RouterError

log = structlog.get_logger()

TICK_S: Final = 2.0
"""What comes in such a time is one piece: rows that come together may be alike."""
MOST_ROWS: Final = 4096
"""Of one model, that wait for the thread."""
MOST_BYTES: Final = 64 << 20
"""Of all models together."""
TEXT_BYTES: Final = 64
"""What an element that is a text is taken to need, beside what it holds."""
KEPT_AT_ONCE: Final = 8
"""Sides of models that are written in one go: the hours of all of them end at the same time."""


class Clock(Protocol):
    """Of the calendar (since 1970) and of this machine, both in seconds."""

    def time(self) -> float:
        """Jumps when it is set."""

    def monotonic(self) -> float:
        """Never jumps."""


class References(Protocol):
    """Where references are kept. Both block and raise RouterErrors."""

    def load(self, model: str) -> Sequence[ReferenceRecord]:
        """Those of a model."""

    def keep(self, records: Sequence[ReferenceRecord], act: Entry | None = None) -> None:
        """In the place of those of the same sides; `act` is for the audit log."""


class Memory(Protocol):
    """Where it is kept what drift has seen so far. Both block and raise RouterErrors."""

    def load(self, model: str) -> Sequence[SeenRecord]:
        """That of a model."""

    def keep(self, records: Sequence[SeenRecord], models: Collection[str]) -> None:
        """In the place of those of the same sides; of other models than these nothing stays."""


class _Nothing:
    """Keeps nothing: for whom the process is all there is, as in a simulation."""

    def load(self, model: str) -> Sequence[SeenRecord]:  # noqa: ARG002
        """Nothing."""
        return ()

    def keep(self, records: Sequence[SeenRecord], models: Collection[str]) -> None:
        """Nothing."""


NOTHING: Final = _Nothing()


@dataclass(frozen=True, slots=True)
class Drifting:
    """A model as it stands now, for metrics: the `level` of its status, and the highest index of its features."""

    level: int
    psi: float


@dataclass(frozen=True, slots=True)
class _Told:
    """A change of status."""

    model: str
    number: str
    text: str
    facts: Mapping[str, object]


class Drift:
    """Used on the event loop. `routes` are those that serve now.

    What a thread of its own computes is handed over every `tick_s`; what does not fit until then is counted as missed.
    """

    def __init__(
        self,
        routes: Callable[[], Mapping[str, Route]],
        references: References,
        events: Events,
        clock: Clock = time,
        tick_s: float = TICK_S,
        memory: Memory = NOTHING,
    ) -> None:
        self._routes = routes
        self._references = references
        self._events = events
        self._clock = clock
        self._tick_s = tick_s
        self._memory = memory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="drift")
        self._pending: dict[str, list[Observation]] = {}
        self._rows: dict[str, int] = {}
        self._bytes = 0
        self._missed: dict[str, int] = {}
        # The thread's own.
        self._models: dict[str, DriftOfModel] = {}
        self._blind = False
        self._forgetful = False
        self._unkept: dict[tuple[str, str], SeenRecord] = {}
        self._unkept_references: dict[tuple[str, str], ReferenceRecord] = {}
        """What is still to be kept, by model and side."""
        self.now: Mapping[str, Drifting] = {}
        """Models that have been compared."""

    # ---- on the event loop ----

    def observed(self, observation: Observation) -> None:
        """Rows came by. Returns at once."""
        route = self._routes().get(observation.model)
        if route is None or not route.settings.drift.enabled:
            return
        model, rows = observation.model, len(observation)
        size = sum(map(_bytes, (*observation.inputs.values(), *observation.outputs.values())))
        if self._rows.get(model, 0) + rows > MOST_ROWS or self._bytes + size > MOST_BYTES:
            self._missed[model] = self._missed.get(model, 0) + rows + observation.missed
            return
        self._pending.setdefault(model, []).append(observation)
        self._rows[model] = self._rows.get(model, 0) + rows
        self._bytes += size

    async def run(self) -> None:
        """Look at what came, again and again."""
        while True:
            await asyncio.sleep(self._tick_s)
            await self.tick()

    async def tick(self) -> None:
        """Look at what came since the last time."""
        pending, self._pending, self._rows, self._bytes = self._pending, {}, {}, 0
        missed, self._missed = self._missed, {}
        told = await self._do(self._look, dict(self._routes()), pending, missed)
        for each in told:
            self._events.tell("drift", each.model, each.number, each.text, **each.facts)

    async def report(self, model: str = "") -> list[ModelDrift]:
        """How a model stands, or all. Raises NotFound, Refused where it is not looked at."""
        routes = dict(self._routes())
        if model:
            route = _known(routes, model)
            if not route.settings.drift.enabled:
                raise Refused(f"drift of model '{model}' is not looked at: set `enabled = true` in its [drift]")
        found: list[ModelDrift] = await self._do(self._report, routes, model)
        return found

    async def set_reference(self, model: str, bodies: Mapping[str, str], source: str, order: Order) -> dict[str, int]:
        """Compare with these from now on: texts of `core.reference_text`, by side. How many features each has.

        Raises NotFound, InvalidRequest, Refused when it could not be kept; nothing has changed then.
        """
        route = _known(self._routes(), model)
        made: dict[str, int] = await self._do(self._set, route, bodies, source, order)
        return made

    async def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def close(self) -> None:
        """The thread ends when it has done what it is about."""
        self._thread.shutdown(wait=False)

    # ---- on the thread ----

    def _of(self, route: Route) -> DriftOfModel:
        """What is known of a model; at first, and whenever it has not been looked at for a while, what was kept of it.

        Raises RouterErrors where the store cannot be read: it is asked again the next time.
        """
        one = self._models.get(route.model)
        if one is not None:
            return one
        one = DriftOfModel(route.model)
        for each in self._references.load(route.model):
            if each.side not in SIDES:
                continue
            try:
                reference = from_text(each.body)
            except UnreadableReference as error:
                log.warning("a reference is made anew", model=each.model, side=each.side, reason=str(error))
                continue
            one.restore(each, reference, route.settings.drift, self._clock.monotonic())
        for seen in self._memory.load(route.model):
            try:
                one.remember(seen, route.settings.drift, self._clock.monotonic(), self._clock.time())
            except Forgotten as error:
                log.warning("drift begins anew", model=route.model, side=seen.side, reason=str(error))
        self._models[route.model] = one
        return one

    def _look(
        self, routes: Mapping[str, Route], pending: Mapping[str, list[Observation]], missed: Mapping[str, int]
    ) -> list[_Told]:
        told: list[_Told] = []
        blind = False
        for model in [name for name in self._models if name not in routes or not routes[name].settings.drift.enabled]:
            del self._models[model]
        now, wall = self._clock.monotonic(), self._clock.time()
        current: dict[str, Drifting] = {}
        for model, route in routes.items():
            if not route.settings.drift.enabled:
                continue
            try:
                told += self._look_at(route, pending.get(model, ()), missed.get(model, 0), now, wall)
            except RouterError as error:  # what comes would make a reference in the place of the one that is kept
                if not self._blind:
                    log.warning("drift is not looked at: references cannot be read", reason=str(error))
                self._blind = blind = True
            except Exception:  # a fault of ours
                log.exception("drift could not be looked at", model=model)
                self._models.pop(model, None)
            if model in self._models and (found := self._models[model].summary(route.settings.drift)) is not None:
                current[model] = Drifting(*found)
        self._remember(routes, now, wall)
        self._blind = blind
        self.now = current
        return told

    def _remember(self, routes: Mapping[str, Route], now: float, wall: float) -> None:
        """Keep what a restart is not to cost. What the store does not take is tried again; that is logged once."""
        for model, one in self._models.items():
            if len(self._unkept) >= KEPT_AT_ONCE:  # the others have their turn the next time
                break
            try:
                self._unkept |= {(model, each.side): each for each in one.seen(routes[model].settings.drift, now, wall)}
            except Exception:  # a fault of ours
                log.exception("what drift has seen could not be put down", model=model)
        made, seen = list(self._unkept_references.values()), list(self._unkept.values())
        if not made and not seen:
            return
        try:
            if made:
                self._references.keep(made)
                self._unkept_references.clear()
            if seen:
                self._memory.keep(seen, frozenset(routes))
                self._unkept.clear()
        except RouterError as error:
            if not self._forgetful:
                log.warning("what drift has seen serves and is not kept yet", reason=str(error))
            self._forgetful = True
            return
        self._forgetful = False

    def _look_at(
        self, route: Route, observations: Sequence[Observation], missed: int, now: float, wall: float
    ) -> list[_Told]:
        if route.model not in self._models and not observations and not missed:
            return []
        one = self._of(route)
        one.missed += missed
        if route.champion:
            one.crowned(route.champion)
            if one.seeks(route.champion):
                self._take_own(one, route, now, wall)
        if observations and (made := one.take(observations, route, now, wall)):
            self._unkept_references |= {(route.model, each.side): each for each in made}
        looked = one.look(now)
        return self._changed(one, route, now) if looked or one.again else []

    def _take_own(self, one: DriftOfModel, route: Route, now: float, wall: float) -> None:
        """The reference that a champion came with, where it did: what it was trained on is what it was made for."""
        version = route.versions.get(route.champion or "")
        if version is None:
            return
        try:
            text = own_reference(Path(version.path).parent)
            if not text:
                return
            reference = from_text(text)
            _check(reference, INPUTS, [spec.name for spec in version.signature.inputs])
            record = ReferenceRecord(
                one.model, INPUTS, version.number, f"version {version.number}", wall, "router", text
            )
            one.restore(record, reference, route.settings.drift, now)
            self._unkept_references[one.model, INPUTS] = record
        except (OSError, RouterError) as error:
            log.warning("the reference of a version", model=one.model, version=version.number, reason=str(error))

    @staticmethod
    def _changed(one: DriftOfModel, route: Route, now: float) -> list[_Told]:
        """What is told when a model's status is another than before; and again what was found before a restart, for
        whoever remembers in memory what was told."""
        found = one.summary(route.settings.drift)
        if found is None or (found[0] == one.level and not one.again):
            return []
        again = {"again": "yes"} if found[0] == one.level else {}
        one.level, one.again = found[0], False
        report = one.report(route.settings.drift, now)
        worst = report.features[0]
        text = f"drift of '{one.model}' is {'still ' if again else ''}{report.status}: {report.reason}" + (
            f"; {report.next_step}" if report.next_step else ""
        )
        facts = {
            "status": report.status,
            "feature": worst.name,
            "side": worst.side,
            "psi": f"{worst.psi or 0.0:.4f}",
            "floor": f"{worst.floor or 0.0:.4f}",
            "rows": worst.rows,
            "horizon": worst.horizon,
            "drifted": sum(each.status != WORDS[0] for each in report.features),
            **again,
        }
        return [_Told(one.model, route.champion or "", text, facts)]

    def _report(self, routes: Mapping[str, Route], model: str) -> list[ModelDrift]:
        wanted = [routes[model]] if model else [each for each in routes.values() if each.settings.drift.enabled]
        now = self._clock.monotonic()
        return [self._of(each).report(each.settings.drift, now) for each in wanted]

    def _set(self, route: Route, bodies: Mapping[str, str], source: str, order: Order) -> dict[str, int]:
        one = self._of(route)
        version = route.versions.get(route.champion or "")
        wall, now = self._clock.time(), self._clock.monotonic()
        made: list[tuple[ReferenceRecord, Reference]] = []
        for side, body in bodies.items():
            try:
                reference = from_text(body)
            except UnreadableReference as error:
                raise InvalidRequest(
                    f"the reference of the {side} cannot be read: make it with `router reference`"
                ) from error
            if version is not None:
                specs = version.signature.inputs if side == INPUTS else version.signature.outputs
                _check(reference, side, [spec.name for spec in specs])
            made.append(
                (ReferenceRecord(route.model, side, route.champion or "", source, wall, order.actor, body), reference)
            )
        features = {record.side: len(reference.features) for record, reference in made}
        act = Entry(wall, order.actor, "reference", route.model, "", order.reason, {}, {"source": source, **features})
        self._references.keep([record for record, _ in made], act)
        for record, _ in made:
            self._unkept_references.pop((route.model, record.side), None)
        for record, reference in made:
            one.restore(record, reference, route.settings.drift, now)
        return features


def _known(routes: Mapping[str, Route], model: str) -> Route:
    if model not in routes:
        raise NotFound(f"unknown model '{model[:200]}'")
    return routes[model]


def _check(reference: Reference, side: str, names: Sequence[str]) -> None:
    """Whether it is of this model's tensors. Raises InvalidRequest."""
    for each in reference.features:
        if each.column.tensor not in names:
            have = ", ".join(f"'{name[:80]}'" for name in names) or "none"
            raise InvalidRequest(
                f"the reference has a feature of '{each.column.tensor[:80]}', which is none of the {side}: {have}"
            )


def _bytes(array: Array) -> int:
    if array.dtype != object:
        return int(array.nbytes)
    return TEXT_BYTES * array.size + sum(len(each) for each in array.ravel().tolist() if isinstance(each, bytes | str))
