"""How every model does, judged once a second, and told when that changes.

A level is told of each version that serves, and of a model (with no number) of which none does. It is worse at once,
that is at the second look that finds it so, and better once it has been better for `[health] calm_s`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.control.events import Events
from router.control.health_counts import Counts, Key
from router.core.health import Finding, Level, Seen, Status, Steady, duration, judged, status, target_ms, together
from router.core.table import CHAMPION, STANDBY, Route, VersionState

Routes = Callable[[], Mapping[str, Route]]

_WELL = "all is well again"
_GONE = "it serves no more"


@dataclass(frozen=True, slots=True)
class VersionHealth:
    """How one version does. `level` is the one that was told, `since_s` how long ago; `seen` is None while it has had
    no request. `rates` (requests a second) and `p99s` (seconds) are those of each minute of the last hour."""

    number: str
    role: str
    level: Level
    status: Status
    since_s: float
    seen: Seen | None = None
    rates: tuple[float, ...] = ()
    p99s: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """How a model does: as the worst of its versions. `seen` is the sum of them."""

    model: str
    level: Level
    status: Status
    target_ms: float | None
    availability: float
    seen: Seen | None
    versions: tuple[VersionHealth, ...] = ()


class HealthWatch:
    """Judges what `counts` show, and tells `events`. `routes` gives what serves, `clock` monotonic seconds."""

    def __init__(self, routes: Routes, counts: Counts, events: Events, clock: Callable[[], float]) -> None:
        self._routes = routes
        self._counts = counts
        self._events = events
        self._clock = clock
        self._standing: dict[Key, Steady] = {}

    def look(self) -> None:
        """Once a second."""
        if not self._counts.advance():
            return
        routes, now, ill = self._routes(), self._clock(), self._counts.suspects()
        for key in [key for key in self._standing if not _serves(routes, key)]:
            if self._standing.pop(key).level:
                self._tell(key, Level.GREEN, _GONE)
        for route in routes.values():
            for number in ("", *_serving(route)):
                key = (route.model, number)
                known = self._standing.get(key)
                suspect = key in ill if number else route.champion is None or route.switched
                if not suspect and (known is None or known.settled):
                    continue  # all is well, as before
                self._judge(route, number, known or Steady(since=now), now)
        self._counts.let_go(lambda key: _serves(routes, key))

    def _judge(self, route: Route, number: str, known: Steady, now: float) -> None:
        key = (route.model, number)
        seen = self._counts.seen(key)
        found = _found(route, number, seen)
        after = self._standing[key] = known.after(found.level, now, route.settings.health.calm_s)
        if after.level is not known.level:
            text = "; ".join(found.reasons) if after.level else ""
            self._tell(key, after.level, text or _WELL, found.next_steps, seen)

    def _tell(self, key: Key, level: Level, text: str, steps: Sequence[str] = (), seen: Seen | None = None) -> None:
        facts: dict[str, Any] = {"status": level.word}
        if level and steps:
            facts["next_steps"] = "; ".join(steps)
        if seen is not None:
            span = seen.five
            facts |= {"requests": span.requests, "failed": span.failed, "bad": span.bad, "seconds": round(span.seconds)}
        self._events.tell("health", *key, f"health is {level.word}: {text}", **facts)

    # ---- what people ask ----

    @property
    def resident_bytes(self) -> int:
        """Of all workers together."""
        return self._counts.resident_bytes

    @property
    def known_s(self) -> float:
        """For how long counts have been kept."""
        return self._clock() - self._counts.began

    def models(self) -> list[str]:
        """All that are known, by name."""
        return sorted(self._routes())

    def health(self, model: str, *, history: bool = False) -> ModelHealth | None:
        """How a model does, with its last hour by minutes where wanted; None for one that is not known."""
        route = self._routes().get(model)
        if route is None:
            return None
        versions = tuple([self._version(route, number, history) for number in _serving(route)])
        own = self._standing.get((model, ""), Steady())
        told = [(own.level, self._still(_found(route, "", None), own, route), "")]
        told += [(each.level, each.status, f"version {each.number}: ") for each in versions if _telling(each, route)]
        level = max(each for each, _, _ in told)
        named = len(versions) > 1
        reasons = [Finding(of.level, f"{who}{each}" if named else each) for _, of, who in told for each in of.reasons]
        steps = [Finding(of.level, "", of.next_steps) for _, of, _ in told]
        found = Status(level, status(reasons).reasons, status(steps).next_steps)
        seen = together([each.seen for each in versions if each.seen is not None])
        settings = route.settings
        return ModelHealth(model, level, found, target_ms(settings), settings.health.availability, seen, versions)

    def _version(self, route: Route, number: str, history: bool) -> VersionHealth:
        key = (route.model, number)
        steady = self._standing.get(key, Steady(since=self._counts.began))
        seen = self._counts.seen(key)
        rates, p99s = self._counts.history(key) if history else ((), ())
        since_s = self._clock() - steady.since
        found = self._still(_found(route, number, seen), steady, route)
        return VersionHealth(number, _role(route, number), steady.level, found, since_s, seen, rates, p99s)

    def _still(self, found: Status, steady: Steady, route: Route) -> Status:
        """What was found, and why the level that was told is a worse one still."""
        if found.level >= steady.level:
            return found
        better = 0.0 if steady.better_since is None else self._clock() - steady.better_since
        calm = duration(route.settings.health.calm_s)
        text = f"{steady.level.word} until all has been better for {calm}: it has been for {duration(better)}"
        return Status(found.level, (text, *found.reasons), found.next_steps)


def _found(route: Route, number: str, seen: Seen | None) -> Status:
    if not number:
        return status([*_of_the_model(route)])
    if seen is None:
        return Status(reasons=("no request since the controller started",))
    return judged(seen, route.settings.health, target_ms(route.settings), route.model, route.standby)


def _of_the_model(route: Route) -> Iterator[Finding]:
    """What is wrong with a model whatever its versions do."""
    if route.switched:
        text = "it is switched to its fallback: nothing of it is run"
        yield Finding(Level.YELLOW, text, (f"router fallback off {route.model}",))
    if route.champion is None:
        look = (f"router versions {route.model}",)
        wanted = [each for each in route.versions.values() if not each.left_out]
        if wanted:
            yield Finding(Level.RED, f"no version answers: {wanted[-1].reason or 'none has become champion'}", look)
        else:
            yield Finding(Level.GREEN, "no version is loaded", look)


def _serving(route: Route) -> list[str]:
    """The versions that are loaded, the champion first."""
    ready = [number for number, each in route.versions.items() if each.state is VersionState.READY]
    return sorted(ready, key=lambda number: number != route.champion)


def _serves(routes: Mapping[str, Route], key: Key) -> bool:
    model, number = key
    route = routes.get(model)
    if route is None or not number:
        return route is not None
    version = route.versions.get(number)
    return version is not None and version.state is VersionState.READY


def _telling(health: VersionHealth, route: Route) -> bool:
    """Whether it says something of the model: that nobody asks for a standby does not."""
    return bool(health.level or health.status.level) or health.number == route.champion


def _role(route: Route, number: str) -> str:
    if number == route.champion:
        return CHAMPION
    if number in route.split.numbers or number in route.shadows:
        return "challenger"
    return STANDBY if number == route.standby else "ready"
