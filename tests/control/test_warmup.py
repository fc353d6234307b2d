"""Warm-ups: who is told what, when there is a verdict, and what becomes of a version that takes the worker down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from router.control.rehearsal import MAX_DEATHS, Seen, WarmOrder
from router.control.warmup import Progress, Warmups
from router.core.comparison import Kind, OutputFigures
from router.core.fingerprint import of_version
from router.core.gate import Report, Verdict
from router.core.histogram import RATIOS, TIMES
from router.core.mirrored import Truth
from router.core.table import Version, VersionState
from router.core.warmup import Accuracy, Figures, Mirrored, Source
from router.errors import NotReady, Refused
from router.model_settings import ModelSettings
from router.serving.inflight import LEFT
from router.serving.mirror import MirrorOrder, Part
from router.version_settings import WarmupSettings

SETTINGS = ModelSettings(
    warmup=WarmupSettings(fraction=0.5, max_per_s=7, min_samples=10, min_seconds=5, max_seconds=60)
)
NOTHING = Accuracy(0, 0, 0, 0, 0)


def version(number: str, model: str = "m") -> Version:
    """A version."""
    return Version(model, number, f"digest{number}", "nowhere", VersionState.READY)


class FakeProcess:
    """The warm-up worker's process."""

    def __init__(self) -> None:
        self.wanted = True
        self.suspects: list[int] = []

    def want(self, wanted: bool) -> None:
        """Remember."""
        self.wanted = wanted

    def take_suspects(self) -> Sequence[int]:
        """Once."""
        taken, self.suspects = self.suspects, []
        return taken


class FakeServing:
    """A worker that serves."""

    def __init__(self, incarnation: str = "s") -> None:
        self.incarnation = incarnation
        self.mirrors: list[MirrorOrder] = []
        self.gone = False

    def set_mirrors(self, orders: Sequence[MirrorOrder]) -> None:
        """Remember, or be gone."""
        if self.gone:
            raise ConnectionError
        self.mirrors = list(orders)


class FakeWarmup:
    """The warm-up worker."""

    def __init__(self, incarnation: str = "w") -> None:
        self.incarnation = incarnation
        self.orders: list[WarmOrder] = []
        self.truths: list[tuple[str, int, Truth]] = []
        self.gone = False

    def set_warmings(self, orders: Sequence[WarmOrder]) -> None:
        """Remember, or be gone."""
        if self.gone:
            raise ConnectionError
        self.orders = list(orders)

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """Remember, or be gone."""
        assert model
        if self.gone:
            raise ConnectionError
        self.truths += actuals

    @property
    def models(self) -> list[str]:
        """What it warms."""
        return [order.version.model for order in self.orders]


def figures(live: int = 10, seconds: float = 5.0, **more: object) -> Figures:
    """A version that does well."""
    times = tuple(live if place == TIMES.place(0.001) else 0 for place in range(TIMES.buckets))
    ratios = tuple(live if place == RATIOS.place(1.0) else 0 for place in range(RATIOS.buckets))
    outputs = (OutputFigures("y", Kind.LABEL, live, live),)
    made = {"samples": {Source.LIVE: live}, "times": times, "ratios": ratios, "outputs": outputs, **more}
    return Figures(loaded=True, seconds=seconds, **made)  # type: ignore[arg-type]


@dataclass
class World:
    """Warm-ups with fakes around them."""

    process: FakeProcess = field(default_factory=FakeProcess)
    worker: FakeWarmup = field(default_factory=FakeWarmup)
    serving: FakeServing = field(default_factory=FakeServing)
    now: float = 0.0
    told: list[Progress] = field(default_factory=list)
    left_out: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.warmups = Warmups(
            self.process, lambda: self.now, lambda: 1000.0 + self.now, patience_s=60, look_s=0.005,
            left_out=lambda *line: self.left_out.append(line),
        )  # fmt: skip

    async def begin(self, number: str = "2", model: str = "m", champion: str | None = "1") -> asyncio.Task[Report]:
        """A warm-up that has begun."""
        first = version(champion, model) if champion else None
        task = asyncio.ensure_future(self.warmups.warm(version(number, model), first, SETTINGS, self.told.append))
        await asyncio.sleep(0)
        return task

    def join(self) -> None:
        """Everybody comes."""
        self.warmups.join_worker(self.serving)
        self.warmups.join(self.worker)

    def see(self, seen: Figures, model: str = "m", source: Source | None = None, accuracy: Accuracy = NOTHING) -> None:
        """The warm-up worker tells."""
        for order in self.worker.orders:
            if order.version.model == model:
                self.warmups.seen(self.worker, [Seen(order.run, source or order.source, seen, accuracy)])

    def die(self, *suspects: Version, left: bool = False) -> None:
        """The warm-up worker dies in runs of these, or has `left` by itself, and another one comes."""
        self.process.suspects = [LEFT] * left + [of_version(each) | 7 for each in suspects]
        self.warmups.leave(self.worker)
        self.worker = FakeWarmup(self.worker.incarnation + "'")
        self.warmups.join(self.worker)


def play(story: Callable[[World], Awaitable[None]]) -> None:
    """Play a story on a loop of its own; it ends in time."""

    async def whole() -> None:
        await asyncio.wait_for(story(World()), 30)

    asyncio.run(whole())


async def report_of(task: asyncio.Task[Report]) -> Report:
    """The report, soon."""
    return await asyncio.wait_for(task, 10)


def test_a_version_is_warmed_until_there_is_a_verdict() -> None:
    """The process is wanted meanwhile; mirrors begin once the version is loaded, and end with the verdict."""

    async def story(world: World) -> None:
        assert not world.process.wanted
        task = await world.begin()
        assert world.process.wanted
        world.join()
        assert [(order.version.number, order.source) for order in world.worker.orders] == [("2", Source.LIVE)]
        assert world.serving.mirrors == []
        world.see(figures(0, 0.1))
        assert world.serving.mirrors == [MirrorOrder("m", {"1": Part(0.5, 7)})]
        world.see(figures(9))
        await asyncio.sleep(0.02)
        assert not task.done()
        assert str(world.told[-1]) == "9 of 10 requests (live) in 5 s"
        world.now = 6
        world.warmups.mirrored(world.serving, {"m": Mirrored(12, 10, {"full": 2}), "other": Mirrored(1)})
        world.see(figures(10))
        report = await report_of(task)
        assert report.passed
        assert (report.kind, report.model, report.number, report.digest) == ("warm", "m", "2", "digest2")
        assert (report.champion, report.champion_digest) == ("1", "digest1")
        assert (report.began, report.took_s) == (1000.0, 6.0)
        samples = next(each for each in report.outcomes if each.gate == "samples")
        assert (samples.figures["offered_requests"], samples.figures["dropped_full_requests"]) == (12, 2)
        assert (world.serving.mirrors, world.worker.orders, world.process.wanted) == ([], [], False)

    play(story)


def test_recordings_that_could_not_be_used_are_told_once() -> None:
    """With the verdict, which says so too."""

    async def story(world: World) -> None:
        task = await world.begin(champion=None)
        world.join()
        line = "1 file of recordings cannot be read: rows-1.parquet"
        seen = figures(0, samples={Source.RECORDED: 5}, outputs=(), left_out=line)
        for _ in range(2):
            world.see(seen)
            await asyncio.sleep(0.02)
        assert not task.done()
        world.see(figures(0, samples={Source.RECORDED: 10}, outputs=(), left_out=line))
        report = await report_of(task)
        assert report.outcomes[1].reason.endswith(f"wanted; {line}")
        assert world.left_out == [("m", "2", line)]

    play(story)


def test_who_joins_in_the_middle_is_told_all() -> None:
    """A serving worker, and the warm-up worker whose link was cut; what it had seen goes on."""

    async def story(world: World) -> None:
        task = await world.begin()
        world.join()
        world.see(figures(3))
        late = FakeServing("late")
        world.warmups.join_worker(late)
        assert late.mirrors == [MirrorOrder("m", {"1": Part(0.5, 7)})]
        run = world.worker.orders[0].run
        again = FakeWarmup(world.worker.incarnation)
        world.process.suspects = [of_version(version("2")) | 1]  # what it is running now
        world.warmups.leave(world.worker)
        world.warmups.join(again)
        world.worker = again
        assert [order.run for order in again.orders] == [run]
        assert world.process.suspects
        world.warmups.leave_worker(late)
        world.see(figures(10))
        assert (await report_of(task)).passed
        assert late.mirrors != []

    play(story)


def test_one_that_is_gone_is_told_when_it_comes_back() -> None:
    """Its link has ended, and that is not known yet."""

    async def story(world: World) -> None:
        world.join()
        world.serving.gone = world.worker.gone = True
        task = await world.begin()
        world.warmups.came_true("m", [("a", 0, 1)])
        world.serving.gone = world.worker.gone = False
        world.join()
        world.see(figures(10))
        assert (await report_of(task)).passed

    play(story)


def test_cancelling_stops_it_everywhere() -> None:
    """And the model can be warmed anew."""

    async def story(world: World) -> None:
        task = await world.begin()
        world.join()
        world.see(figures(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (world.serving.mirrors, world.worker.orders, world.process.wanted) == ([], [], False)
        again = await world.begin()
        assert world.process.wanted
        again.cancel()

    play(story)


def test_a_model_is_warmed_once_at_a_time_and_models_beside_each_other() -> None:
    """The second version of a model is refused by name; another model has its own verdict."""

    async def story(world: World) -> None:
        world.join()
        task, other = await world.begin(), await world.begin("5", "n")
        with pytest.raises(Refused, match="version 2 of model 'm' is being warmed"):
            await world.warmups.warm(version("3"), None, SETTINGS)
        assert sorted(world.worker.models) == ["m", "n"]
        world.see(figures(10), "n")
        assert (await report_of(other)).model == "n"
        assert world.worker.models == ["m"]
        assert world.process.wanted
        world.see(figures(10, errors=5, first_error="it broke"))
        report = await report_of(task)
        assert [each.gate for each in report.blocking] == ["errors"]

    play(story)


def test_without_traffic_recorded_and_synthetic_requests_make_up() -> None:
    """One source after the other; what is reported of the one before does not end the next."""

    async def story(world: World) -> None:
        task = await world.begin(champion=None)
        world.join()
        world.see(figures(0, 0.0))
        order = await until(lambda: first(world, Source.RECORDED))
        assert order.count == 10
        assert world.serving.mirrors == []
        world.see(figures(0, samples={Source.RECORDED: 4}, exhausted=True))
        order = await until(lambda: first(world, Source.SYNTHETIC))
        assert order.count == 6
        world.see(figures(0, samples={Source.RECORDED: 4}, exhausted=True), source=Source.RECORDED)
        await asyncio.sleep(0.02)
        assert not task.done()
        world.see(figures(0, samples={Source.RECORDED: 4, Source.SYNTHETIC: 6}, exhausted=True))
        report = await report_of(task)
        assert report.passed
        assert next(each for each in report.outcomes if each.gate == "samples").verdict is Verdict.WARN
        assert report.champion == ""

    play(story)


def first(world: World, source: Source) -> WarmOrder | None:
    """The order, if it has come to this source."""
    return next((order for order in world.worker.orders if order.source is source), None)


async def until(what: Callable[[], WarmOrder | None]) -> WarmOrder:
    """What it gives, once it gives something; the story is bounded."""
    while (found := what()) is None:
        await asyncio.sleep(0.001)
    return found


def test_what_came_true_reaches_the_warm_up_worker_and_the_verdict() -> None:
    """Of models that are being warmed."""

    async def story(world: World) -> None:
        world.warmups.came_true("m", [("a", 0, 1)])
        task = await world.begin()
        world.join()
        world.warmups.came_true("m", [("a", 0, 1), ("b", 1, "x")])
        world.warmups.came_true("other", [("a", 0, 1)])
        assert world.worker.truths == [("a", 0, 1), ("b", 1, "x")]
        world.see(figures(10), accuracy=Accuracy(1000, 950, 800, 160, 10))
        assert [each.gate for each in (await report_of(task)).blocking] == ["accuracy"]

    play(story)


def test_a_version_that_takes_the_worker_down_fails() -> None:
    """At its first crash, with the number of requests that were in the run; it is not tried again."""

    async def story(world: World) -> None:
        task = await world.begin()
        world.join()
        world.see(figures(3))
        world.die(version("2"), version("2"))
        assert world.serving.mirrors == []
        report = await report_of(task)
        (outcome,) = report.outcomes
        assert outcome.reason == ("it crashed on live input: the warm-up worker died while it ran 2 requests with it")
        assert not report.passed
        assert world.worker.orders == []

    play(story)


def test_a_death_that_is_nobodys_fault_is_forgiven_a_few_times() -> None:
    """The warm-up begins afresh; in the end it is given up."""

    async def story(world: World) -> None:
        task = await world.begin()
        world.join()
        for death in range(1, MAX_DEATHS):
            world.see(figures(9))
            world.die()
            assert world.worker.models == ["m"], death
            await asyncio.sleep(0.02)
            assert not task.done()
            assert not world.told[-1].loaded
            assert str(world.told[-1]) == "the warm-up worker loads it"
        world.die(version("2", "unknown"))  # in a run of another one, which is not wanted any more
        assert world.worker.models == ["m"]
        world.die()
        report = await report_of(task)
        assert report.blocking[0].reason == f"it cannot be warmed: the warm-up worker died {MAX_DEATHS} times meanwhile"

    play(story)


def test_of_several_suspects_each_is_run_alone() -> None:
    """The innocent one waits until the guilty one is known, or has its verdict first."""

    async def story(world: World) -> None:
        world.join()
        guilty, innocent = await world.begin("2", "m"), await world.begin("5", "n")
        for model in ("m", "n"):
            world.see(figures(1), model)
        assert [order.model for order in world.serving.mirrors] == ["m", "n"]
        world.die(version("2", "m"), version("5", "n"))
        assert world.worker.models == ["m"]
        world.see(figures(1), "m")
        assert [order.model for order in world.serving.mirrors] == ["m"]
        world.die(version("2", "m"))
        assert not (await report_of(guilty)).passed
        assert world.worker.models == ["n"]
        world.see(figures(10), "n")
        assert (await report_of(innocent)).passed

    play(story)


def test_a_worker_that_dies_before_a_version_was_told_of_says_nothing_of_it() -> None:
    """It began while there was none."""

    async def story(world: World) -> None:
        world.join()
        world.warmups.leave(world.worker)
        task = await world.begin()
        world.process.suspects = [of_version(version("2")) | 1]
        world.worker = FakeWarmup("another")
        world.warmups.join(world.worker)
        world.see(figures(10))
        assert (await report_of(task)).passed

    play(story)


def test_a_worker_that_stays_away_ends_the_warm_up() -> None:
    """After a while, with what to look at; what it had begun is taken back."""

    async def story(world: World) -> None:
        task = await world.begin()
        world.now = 59
        await asyncio.sleep(0.02)
        assert not task.done()
        world.now = 60
        with pytest.raises(NotReady, match="out of reach for 60 s"):
            await asyncio.wait_for(task, 10)
        assert not world.process.wanted
        task = await world.begin()  # that is a new wait
        await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()

    play(story)


def test_figures_of_a_worker_that_has_been_replaced_do_not_count() -> None:
    """They may come late."""

    async def story(world: World) -> None:
        task = await world.begin()
        world.join()
        old, run = world.worker, world.worker.orders[0].run
        world.die()
        world.warmups.leave(old)
        world.warmups.seen(old, [Seen(run, Source.LIVE, figures(10), NOTHING)])
        await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()

    play(story)
