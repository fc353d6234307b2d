"""Observations: versions on copies for as long as they are wanted, and figures that never go back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.rehearsal import ALONE_S, DEATHS_WITHIN_S, MAX_DEATHS, Seen, WarmOrder
from router.control.warmup import Observed
from router.core.comparison import Kind, OutputFigures
from router.core.table import VersionState
from router.core.warmup import HUNG_S, Figures, Mirrored, Purpose, Source
from router.model_settings import ModelSettings
from router.serving.mirror import MirrorOrder, Part
from router.version_settings import CanarySettings, WarmupSettings
from tests.control.test_warmup import NOTHING, SETTINGS, World, figures, play, report_of, version

SHADOW = Observed("m", "2", "1", 0.5, 7)
CONTROL = Observed("m", "1", "3", 0.05, 100, control=True)
OTHER = Observed("n", "5", "4", 1.0, 10)


@dataclass
class Observing(World):
    """Warm-ups with fakes around them, and what is observed."""

    def want(self, *observed: Observed, settings: ModelSettings = SETTINGS) -> None:
        """These and no others."""
        self.warmups.set_observed(
            {
                each: (version(each.number, each.model), version(each.reference, each.model), settings)
                for each in observed
            }
        )

    def order(self, observed: Observed) -> WarmOrder:
        """What the warm-up worker is told of one."""
        (order,) = [
            order
            for order in self.worker.orders
            if (order.version.model, order.version.number) == (observed.model, observed.number)
            and order.purpose is not Purpose.WARM_UP
        ]
        return order

    def show(self, observed: Observed, seen: Figures) -> None:
        """The warm-up worker tells of one."""
        self.warmups.seen(self.worker, [Seen(self.order(observed).run, Source.LIVE, seen, NOTHING)])

    def found(self, observed: Observed) -> Figures:
        """What is known of one."""
        known = self.warmups.observed(observed.model, observed.number, observed.reference)
        assert known is not None
        return known


def observing() -> Observing:
    """With everybody there."""
    made = Observing()
    made.join()
    return made


def test_a_version_is_observed_while_it_is_wanted() -> None:
    """The process is wanted meanwhile; mirrors begin once it is loaded, and what is seen is there at any time."""
    world = observing()
    assert world.warmups.observed("m", "2", "1") is None
    world.want(SHADOW)
    assert world.process.wanted
    order = world.order(SHADOW)
    assert (order.champion, order.source, order.purpose) == (version("1"), Source.LIVE, Purpose.SHADOW)
    assert (world.serving.mirrors, world.found(SHADOW).loaded) == ([], False)
    world.show(SHADOW, figures(0, 0.1))
    assert world.serving.mirrors == [MirrorOrder("m", {"1": Part(0.5, 7)})]
    world.show(SHADOW, figures(9, 4.0))
    assert (world.found(SHADOW).live, world.found(SHADOW).seconds) == (9, 4.0)
    world.want()
    assert world.warmups.observed("m", "2", "1") is None
    assert (world.serving.mirrors, world.worker.orders, world.process.wanted) == ([], [], False)


def test_what_is_wanted_as_before_goes_on_as_it_was() -> None:
    """Nobody is told anything anew, however often it is said."""
    world = observing()
    world.want(SHADOW, OTHER)
    orders, world.worker.orders = world.worker.orders, []
    world.want(OTHER, SHADOW)
    assert world.worker.orders == []
    world.want(SHADOW)
    assert world.worker.orders == orders[:1]


def test_an_observation_has_no_verdict_and_no_other_source() -> None:
    """Without traffic it waits."""
    world = observing()
    world.want(SHADOW)
    for seconds in (0.1, 1e3, 1e7):
        world.show(SHADOW, figures(0, seconds))
        assert (world.order(SHADOW).source, world.found(SHADOW).failed) == (Source.LIVE, "")


def test_copies_are_made_as_the_most_demanding_wants_them_and_each_takes_its_part() -> None:
    """A warm-up beside a shadow, on the champion's runs. The control of a canary has the candidate's for itself."""

    async def story(_: World) -> None:
        world = observing()
        task = await world.begin("6")
        observed = (replace(SHADOW, fraction=0.25, max_per_s=40), CONTROL, OTHER)
        world.want(*observed)
        for each in observed:
            world.show(each, figures(1))
        world.see(figures(1))
        model, other = world.serving.mirrors
        assert model == MirrorOrder("m", {"1": Part(0.5, 40), "3": Part(0.05, 100)})
        assert other == MirrorOrder("n", {"4": Part(1.0, 10)})
        shares = {order.version.number: (order.share, order.max_per_s) for order in world.worker.orders}
        assert shares == {"6": (1.0, 7), "2": (0.5, float("inf")), "1": (1.0, float("inf")), "5": (1.0, float("inf"))}
        world.see(figures(10))
        assert (await report_of(task)).passed
        model, _ = world.serving.mirrors
        assert model == MirrorOrder("m", {"1": Part(0.25, 40), "3": Part(0.05, 100)})
        assert [world.order(each).share for each in observed] == [1.0, 1.0, 1.0]
        assert world.process.wanted

    play(story)


@pytest.mark.parametrize(
    ("observed", "purpose", "tolerance"), [(SHADOW, Purpose.SHADOW, 0.25), (CONTROL, Purpose.CONTROL, 0.75)]
)
def test_what_a_control_says_is_judged_as_the_canary_has_it(
    observed: Observed, purpose: Purpose, tolerance: float
) -> None:
    """And a shadow's as in a warm-up."""
    world = observing()
    settings = ModelSettings(warmup=WarmupSettings(tolerance=0.25), canary=CanarySettings(tolerance=0.75))
    world.want(observed, settings=settings)
    order = world.order(observed)
    assert (order.purpose, order.settings.warmup.tolerance) == (purpose, tolerance)


def test_figures_survive_the_warm_up_worker() -> None:
    """What another process sees is added to what was known; what the one before says late is not."""
    world = observing()
    world.want(SHADOW)
    world.show(SHADOW, figures(9, 4.0, errors=1, first_error="first"))
    old, run = world.worker, world.order(SHADOW).run
    world.die()
    assert world.order(SHADOW).run != run
    assert (world.found(SHADOW).live, world.found(SHADOW).loaded, world.found(SHADOW).seconds) == (9, False, 4.0)
    assert world.serving.mirrors == []
    world.show(SHADOW, figures(2, 1.0, errors=1, first_error="second"))
    for late in (old, world.worker):
        world.warmups.seen(late, [Seen(run, Source.LIVE, figures(100), NOTHING)])
    found = world.found(SHADOW)
    assert (found.live, found.seconds, found.errors, found.first_error) == (11, 5.0, 2, "first")
    assert sum(found.times) == sum(found.ratios) == found.outputs[0].agreed == 11
    world.warmups.leave(world.worker)
    world.warmups.join(world.worker)  # only its link was cut
    world.show(SHADOW, figures(3))
    assert world.found(SHADOW).live == 12


def test_a_version_that_takes_the_worker_down_is_not_run_again() -> None:
    """What was seen of it stays, with the reason; wanted anew, it is tried anew."""
    world = observing()
    world.want(SHADOW, OTHER)
    world.show(SHADOW, figures(9))
    world.die(version("2"), version("2"))
    world.want(OTHER, SHADOW)
    found = world.found(SHADOW)
    assert found.failed == "it crashed on live input: the warm-up worker died while it ran 2 requests with it"
    assert (found.live, found.loaded) == (9, False)
    assert world.worker.models == ["n"]
    world.want(OTHER)
    world.want(SHADOW, OTHER)
    assert world.worker.models == ["n", "m"]
    assert world.found(SHADOW).live == 0


def test_a_death_by_another_version_is_no_mark_against_the_rest() -> None:
    """However many crash beside it."""
    world = observing()
    for number in range(10, 10 + 2 * MAX_DEATHS):
        world.want(replace(SHADOW, number=str(number)), OTHER)
        world.show(OTHER, figures(1))
        world.die(version(str(number)))
        assert world.worker.models == ["n"]
    assert (world.found(OTHER).live, world.found(OTHER).failed) == (2 * MAX_DEATHS, "")


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Figures(failed="no such operator"), "it cannot be loaded: no such operator"),
        (figures(3, running_s=HUNG_S), "it hangs: a run has taken 30 s and goes on"),
    ],
)
def test_a_version_that_cannot_be_run_says_why(seen: Figures, why: str) -> None:
    """It is run no more. With nobody else there the process is not wanted."""
    world = observing()
    world.want(SHADOW)
    world.show(SHADOW, seen)
    found = world.found(SHADOW)
    assert (found.failed, found.live, found.running_s) == (why, seen.live, 0.0)
    assert (world.worker.orders, world.process.wanted) == ([], False)
    world.want(SHADOW, OTHER)
    assert (world.worker.models, world.found(SHADOW).failed) == (["n"], why)


def test_the_end_of_a_run_that_hangs_is_nobody_s_fault() -> None:
    """It takes the end of the process; whoever was run there too is not blamed, however often that happens."""
    world = observing()
    world.want(OTHER)
    for attempt in range(MAX_DEATHS + 1):
        world.want(replace(SHADOW, number=str(10 + attempt)), OTHER)
        world.show(replace(SHADOW, number=str(10 + attempt)), figures(3, running_s=HUNG_S))
        world.die(left=True)
        assert world.found(OTHER).failed == ""


def test_a_worker_that_went_by_itself_is_nobody_s_fault() -> None:
    """A run did not end in the time that a stop takes, which says little where cores are scarce; or it was not wanted
    for a while. Whatever it still ran then, nobody is blamed, however often that happens."""
    world = observing()
    world.want(SHADOW, OTHER)
    for _ in range(2 * MAX_DEATHS):
        world.show(OTHER, figures(1))
        world.die(version("2"), left=True)
        assert [world.found(each).failed for each in (SHADOW, OTHER)] == ["", ""]
        assert world.worker.models == ["m", "n"]
    assert world.found(OTHER).live == 2 * MAX_DEATHS


def test_a_reference_that_takes_the_worker_down_is_not_run_beside_any_more() -> None:
    """It is to blame and not who is compared with it: that goes on, and only times are not compared."""
    world = observing()
    world.want(CONTROL, OTHER)
    for each in (CONTROL, OTHER):
        world.show(each, figures(4))
    assert world.order(CONTROL).beside
    for _ in range(2 * MAX_DEATHS):
        world.die(version("3"))
        assert [world.found(each).failed for each in (CONTROL, OTHER)] == ["", ""]
    assert world.worker.models == ["m", "n"]
    assert (world.order(CONTROL).beside, world.order(OTHER).beside) == (False, True)
    world.want(CONTROL, OTHER, settings=ModelSettings(warmup=WarmupSettings(tolerance=0.5)))
    assert not world.order(CONTROL).beside


def test_a_candidate_that_crashes_beside_its_control_is_the_one_to_blame() -> None:
    """It is run on copies too, as a shadow."""
    world = observing()
    shadow = Observed("m", "3", "1", 0.5, 7)
    world.want(CONTROL, shadow)
    world.die(version("3"))
    assert world.found(shadow).failed.startswith("it crashed on live input")
    assert world.found(CONTROL).failed == ""
    assert [order.version.number for order in world.worker.orders] == ["1"]


def test_a_death_long_ago_does_not_count() -> None:
    """Of one that goes on for weeks; those of an hour do."""
    world = observing()
    world.want(SHADOW)
    for _ in range(2 * MAX_DEATHS):
        world.now += DEATHS_WITHIN_S / (MAX_DEATHS - 1)
        world.die()
        assert world.found(SHADOW).failed == ""
    world.die()
    assert world.found(SHADOW).failed == f"it cannot be warmed: the warm-up worker died {MAX_DEATHS} times meanwhile"


def test_of_several_suspects_each_runs_alone_for_a_while() -> None:
    """What is observed has no end by which the others could go on: it is cleared when nothing has happened."""
    world = observing()
    world.want(SHADOW, OTHER)
    for each in (SHADOW, OTHER):
        world.show(each, figures(4))
    world.die(version("2"), version("5", "n"))
    assert world.worker.models == ["m"]
    world.show(SHADOW, figures(2, ALONE_S - 1))
    assert [each.model for each in world.serving.mirrors] == ["m"]
    world.show(SHADOW, figures(3, ALONE_S))
    assert world.worker.models == ["n"]
    world.show(OTHER, figures(1, 1.0))
    assert [world.found(each).live for each in (SHADOW, OTHER)] == [7, 5]
    world.die(version("5", "n"))
    assert world.found(OTHER).failed.startswith("it crashed on live input")
    assert world.worker.models == ["m"]
    world.show(SHADOW, figures(1))
    assert world.found(SHADOW).live == 8


def test_a_version_that_is_run_twice_is_one_suspect() -> None:
    """It is warmed and observed: it has crashed both times, and nobody else has to be tried alone."""

    async def story(_: World) -> None:
        world = observing()
        task = await world.begin("2")
        world.want(SHADOW)
        world.die(version("2"))
        assert not (await report_of(task)).passed
        assert world.found(SHADOW).failed.startswith("it crashed")

    play(story)


def test_where_settings_change_figures_go_on() -> None:
    """The version is loaded anew with them; a state or another rate is no reason to."""
    world = observing()
    world.want(SHADOW)
    world.show(SHADOW, figures(9))
    run = world.order(SHADOW).run
    quiet = replace(version("2"), state=VersionState.UNAVAILABLE, reason="it is gone")
    faster = replace(SHADOW, fraction=1.0, max_per_s=50)
    world.warmups.set_observed({faster: (quiet, version("1"), SETTINGS)})
    assert world.order(SHADOW).run == run
    assert world.serving.mirrors == [MirrorOrder("m", {"1": Part(1.0, 50)})]
    world.want(faster, settings=ModelSettings(warmup=WarmupSettings(tolerance=0.5)))
    assert world.order(SHADOW).run != run
    world.show(SHADOW, figures(1))
    assert world.found(SHADOW).live == 10


def test_other_files_are_another_observation() -> None:
    """Under the same numbers."""
    world = observing()
    world.want(SHADOW)
    world.show(SHADOW, figures(9))
    world.warmups.set_observed({SHADOW: (version("2"), replace(version("1"), digest="other"), SETTINGS)})
    assert world.found(SHADOW) == replace(Figures(), samples=dict.fromkeys(Source, 0))
    assert world.order(SHADOW).champion == replace(version("1"), digest="other")


def test_what_came_true_is_told_where_there_is_a_warm_up() -> None:
    """An observation has no verdict that it could be for: that is the ledger's."""

    async def story(_: World) -> None:
        world = observing()
        world.want(SHADOW, OTHER)
        world.warmups.came_true("m", [("a", 0, 1)])
        task = await world.begin("6")
        world.warmups.came_true("m", [("b", 0, 1)])
        world.warmups.came_true("n", [("c", 0, 1)])
        assert world.worker.truths == [("b", 0, 1)]
        task.cancel()

    play(story)


def test_a_warm_up_tells_of_the_copies_of_its_own_time() -> None:
    """Not of those that an observation had before; and of all mirrors, where one has replaced another meanwhile."""

    async def story(_: World) -> None:
        world = observing()
        world.want(SHADOW)
        world.warmups.mirrored(world.serving, {"m": Mirrored(100, 90, {"full": 10})})
        task = await world.begin("6")
        world.warmups.mirrored(world.serving, {"m": Mirrored(110, 95, {"full": 15})})
        world.warmups.mirrored(world.serving, {"m": Mirrored(5, 3, {"full": 1, "rate": 1})})
        world.warmups.mirrored(world.serving, {"m": Mirrored(7, 4, {"full": 2, "rate": 1})})
        for order in world.worker.orders:
            if order.purpose is Purpose.WARM_UP:
                world.warmups.seen(world.worker, [Seen(order.run, Source.LIVE, figures(10, missed=3), NOTHING)])
        (samples,) = [each for each in (await report_of(task)).outcomes if each.gate == "samples"]
        told = {name: samples.figures[f"{name}_requests"] for name in ("offered", "sent", "missed")}
        assert told == {"offered": 17, "sent": 9, "missed": 3}
        assert (samples.figures["dropped_full_requests"], samples.figures["dropped_rate_requests"]) == (7, 1)

    play(story)


def test_the_warm_up_worker_is_waited_for_from_when_a_warm_up_begins() -> None:
    """It may have been away for long, while a version was only observed."""

    async def story(_: World) -> None:
        world = Observing()
        world.want(SHADOW)
        world.now = 1000.0
        task = await world.begin("6")
        await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()

    play(story)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("see"), st.sampled_from([SHADOW, CONTROL, OTHER]), st.integers(0, 5)),
        st.tuples(st.just("die"), st.lists(st.sampled_from(["2", "1"]), max_size=2)),
        st.tuples(st.sampled_from(["cut", "later", "settings"])),
    ),
    max_size=30,
)


@given(EVENTS)
def test_sums_never_go_back(events: list[tuple[object, ...]]) -> None:
    """Whatever happens to the warm-up worker and its link, as long as all are wanted."""
    world = observing()
    wanted = (SHADOW, CONTROL, OTHER)
    world.want(*wanted)
    counts: dict[str, int] = {}
    known: dict[Observed, Figures] = {each: world.found(each) for each in wanted}
    for name, *about in events:
        if name == "see":
            observed, more = about
            assert isinstance(observed, Observed)
            told = [
                order
                for order in world.worker.orders
                if (order.version.model, order.version.number) == (observed.model, observed.number)
            ]
            for order in told:
                counts[order.run] = counts.get(order.run, 0) + int(str(more))
                live = counts[order.run]
                outputs = (OutputFigures("y", Kind.LABEL, live, live),)
                seen = Figures(loaded=True, seconds=live, samples={Source.LIVE: live}, rows=live, outputs=outputs)
                world.warmups.seen(world.worker, [Seen(order.run, Source.LIVE, seen, NOTHING)])
        elif name == "die":
            world.die(*[version(str(number)) for number in about[0]])  # type: ignore[attr-defined]
        elif name == "cut":
            world.warmups.leave(world.worker)
            world.warmups.join(world.worker)
        elif name == "later":
            world.now += ALONE_S
        else:
            world.want(*wanted, settings=ModelSettings(warmup=WarmupSettings(min_samples=int(world.now) + 1)))
        for each, before in known.items():
            found = world.found(each)
            assert found.live >= before.live
            assert found.rows == found.live
            assert sum(output.agreed for output in found.outputs) == found.live
            assert found.seconds >= before.seconds
            assert not before.failed or found.failed == before.failed
            known[each] = found
