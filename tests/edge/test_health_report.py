"""Workers' telemetry as counts of health, and the service that tells of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from router.control.events import Events
from router.control.health import HealthWatch
from router.control.health_counts import WIDTH, Counts
from router.core.fallback import Reason, Step
from router.core.health import Count
from router.core.table import Route, Version, VersionState
from router.edge.error_details import BadField
from router.edge.health_figures import health_figures
from router.edge.health_service import HealthService
from router.edge.telemetry import merged, telemetry
from router.errors import NotFound, NotReady
from router.model_settings import DeadlineSettings, ModelSettings
from router.pb import health_report_pb2 as pb
from router.pb import link_pb2
from router.serving.stats import Failure, Stats


def lane(model: str = "m", number: str = "1") -> Any:
    """What telemetry reads of a lane: three answers, two of them later than 10 µs, and one of each kind."""
    stats = Stats()
    stats.aim(10e-6)
    cell = stats.own_cell()
    cell.ran([0, 0], 4, 4_000, 5_000, 10_000, 20_000)
    cell.ran([95_000], 1, 96_000, 97_000, 98_000, 99_000)
    for failure in Failure:
        cell.fail(failure, 1)
    cell.fell_back(Step.DEFAULT, Reason.SLOW, 1)
    cell.fell_back(Step.CACHED, Reason.DEADLINE, 1)
    return SimpleNamespace(
        version=Version(model, number, "", "", VersionState.READY),
        stats=stats,
        pending=5,
        inline=True,
        lost=2,
        replicas=SimpleNamespace(refused=1, opened=3),
        hedger=SimpleNamespace(sent=8, won=6, refused={}),
    )


def test_what_a_worker_sends_anyway_is_enough() -> None:
    """Every count is where it belongs, and two workers' are the sum."""
    message = telemetry([lane()])
    message.resident_bytes = 77
    figures = health_figures(message)
    row = dict(zip(Count, figures.counters[0].tolist(), strict=False))
    assert row == {
        Count.ANSWERED: 3, Count.LATE: 2, Count.FALLBACKS: 2, Count.REJECTED: 1, Count.CANCELED: 1, Count.BACKEND: 1,
        Count.OTHER: 1, Count.FRESH: 0, Count.HEDGES_SENT: 8, Count.HEDGES_WON: 6, Count.QUEUE_US: 9, Count.RUNS: 2,
        Count.ROWS: 5, Count.BREAKERS_OPENED: 3,
    }  # fmt: skip
    assert figures.counters[0, len(Count) :].sum() == 3
    assert (figures.keys, figures.gauges.tolist(), figures.resident_bytes) == ((("m", "1"),), [[5, 2, 1]], 77)
    both = health_figures(merged([message, message]))
    assert both.counters.tolist() == (2 * figures.counters).tolist()


def test_of_nothing_and_of_another_release_there_is_nothing() -> None:
    """Neither a worker without models nor buckets that are missing are a fault."""
    assert health_figures(link_pb2.Telemetry()).counters.shape == (0, WIDTH)
    short = telemetry([lane()])
    del short.gauges[0].request_buckets[3:]
    assert health_figures(short).counters.shape == (1, WIDTH)
    del short.models[:]
    assert health_figures(short).keys == ()


class House:
    """A service with a watch over one model and a clock that is turned by hand."""

    def __init__(self, name: str = "m") -> None:
        self.now = 10.0
        settings = ModelSettings(deadline=DeadlineSettings(sla_ms=40.0))
        version = Version(name, "1", "", "", VersionState.READY)
        resting = Version("rests", "1", "", "", VersionState.READY)
        self.routes = {
            name: Route(name, "1", {"1": version}, settings),
            "rests": Route("rests", "1", {"1": resting}),
        }
        self.counts = Counts(lambda: self.now)
        self.watch = HealthWatch(lambda: self.routes, self.counts, Events(), lambda: self.now)
        self.counts.reported("w", health_figures(link_pb2.Telemetry()))
        self.service = HealthService(self.watch, self._ready, lambda *asked: " ".join(asked))
        self.started = True
        self.counts.reported("w", health_figures(telemetry([lane(name)])))
        self.now += 1.0
        self.watch.look()

    async def _ready(self) -> None:
        if not self.started:
            raise NotReady("it starts")

    def ask(self, model: str = "") -> pb.HealthReport:
        """The answer."""
        context: Any = None
        return asyncio.run(self.service.GetHealth(pb.GetHealthRequest(model=model), context))


def test_all_models_are_told_in_short_and_one_at_length() -> None:
    """Windows and minutes only of the one that was asked for; what there is not is left out and is not 0."""
    house = House()
    short = house.ask()
    assert [(each.model, each.level, each.drift) for each in short.models] == [
        ("m", "green", "drift m 1"), ("rests", "green", "drift rests 1"),
    ]  # fmt: skip
    first, second = short.models
    assert (first.five_minutes.requests, first.target_ms, len(first.versions[0].windows)) == (8, 40.0, 0)
    assert second.reasons == ["no request since the controller started"]
    assert not second.HasField("five_minutes")
    assert not second.HasField("target_ms")
    (whole,) = house.ask("m").models
    (version,) = whole.versions
    assert [each.seconds for each in version.windows] == [1.0, 1.0, 1.0]
    window = version.windows[0]
    assert (window.late, window.fallbacks, dict(window.failures)["BACKEND"]) == (2, 2, 1)
    assert (window.error_rate, window.attainment, window.mean_rows) == (3 / 8, 3 / 8, 2.5)
    assert 0 < window.p50_seconds <= window.p99_seconds <= window.p999_seconds < 1e-4
    assert (len(version.minutes), version.minutes[-1].per_second) == (60, 8 / 60)
    assert not version.minutes[0].HasField("p99_seconds")
    assert version.budget.left == pytest.approx(1 - 5 / 8 / 0.001)
    assert (version.pending, version.hung, version.breakers_open) == (5, 2, 1)


def test_what_cannot_be_told() -> None:
    """An unknown model, one that can be none, a server that starts: one error each."""
    house = House()
    with pytest.raises(NotFound, match=r"unknown model 'x\\x1b'"):
        house.ask("x\x1b")
    with pytest.raises(BadField):
        house.ask("x" * 300)
    house.started = False
    with pytest.raises(NotReady):
        house.ask()


def test_two_hundred_models_are_told() -> None:
    """However many there are."""
    house = House()
    house.routes |= {f"m{n}": Route(f"m{n}", None, {}) for n in range(200)}
    assert len(house.ask().models) == 202
