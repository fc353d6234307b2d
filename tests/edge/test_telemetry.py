"""A worker's figures and their sum over workers, living and dead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from router.core.fallback import Reason, Step
from router.core.hedging import Why
from router.core.latency import BUCKETS
from router.core.table import Version, VersionState
from router.core.vitals import Vitals
from router.edge.telemetry import Total, merged, past, telemetry, vitals
from router.pb import link_pb2 as pb
from router.serving.stats import Failure, Stats


class FakeLane:
    """What telemetry reads of a lane."""

    def __init__(self, model: str = "m", number: str = "1") -> None:
        self.version = Version(model, number, "", "", VersionState.READY)
        self.stats = Stats()
        self.pending = 0
        self.inline = True
        self.lost = 0
        self.replicas = SimpleNamespace(refused=0, opened=0)
        self.hedger: Any = None


def ran(lane: FakeLane, calls: int = 1, rows: int = 1) -> None:
    """One run of some calls: they waited 1 µs, feeding took 2, the model 4, answering 8."""
    began = 10_000
    lane.stats.own_cell().ran([began - 1000] * calls, rows, began, began + 2000, began + 6000, began + 14_000)


def figures(*lanes: Any) -> pb.Telemetry:
    """The figures of lanes."""
    return telemetry(lanes)


def test_the_figures_of_a_lane() -> None:
    """Counts and times as the protocol names them."""
    lane = FakeLane()
    lane.pending = 3
    ran(lane, calls=2, rows=4)
    ran(lane, calls=1, rows=1)
    lane.stats.own_cell().fail(Failure.CANCELED, 5000)
    message = figures(lane)
    (model,), (gauge,) = message.models, message.gauges
    stats = model.inference_stats
    assert (model.inference_count, model.execution_count) == (5, 2)
    assert (stats.success.count, stats.success.ns) == (3, 3 * 15_000)
    assert (stats.queue.ns, stats.compute_input.ns) == (3 * 1000, 3 * 2000)
    assert (stats.compute_infer.ns, stats.compute_output.ns) == (3 * 4000, 3 * 8000)
    assert (stats.fail.count, stats.fail.ns) == (1, 5000)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in model.batch_stats] == [(1, 1), (4, 1)]
    assert (gauge.pending, gauge.lane) == (3, "inline")
    assert dict(gauge.failures) == {"REJECTED": 0, "CANCELED": 1, "BACKEND": 0, "OTHER": 0}
    assert (len(gauge.request_buckets), sum(gauge.request_buckets)) == (BUCKETS, 3)


def test_what_needed_no_run_is_a_success_without_parts() -> None:
    """Its time is in that of all successes, and apart; the sum of several parts has it too."""
    lane = FakeLane()
    ran(lane)
    lane.stats.own_cell().remembered(7000)
    message = merged((figures(lane), figures(lane)))
    (model,), (gauge,) = message.models, message.gauges
    stats = model.inference_stats
    assert (stats.success.count, stats.success.ns) == (4, 2 * (15_000 + 7000))
    assert (stats.cache_hit.count, stats.cache_hit.ns) == (2, 2 * 7000)
    assert (stats.queue.count, stats.compute_infer.count, model.inference_count) == (4, 2, 2)
    assert sum(gauge.request_buckets) == 4


def test_the_sum_of_several_parts() -> None:
    """Models and versions are kept apart, everything else is added."""
    one, two, other = FakeLane(), FakeLane(), FakeLane(number="2")
    ran(one, calls=2, rows=2)
    ran(two, calls=3, rows=3)
    ran(two, calls=2, rows=2)
    ran(other)
    total = merged((figures(one), figures(two, other)))
    counts = {(each.name, each.version): each.inference_stats.success.count for each in total.models}
    assert counts == {("m", "1"): 7, ("m", "2"): 1}
    batches = {batch.batch_size: batch.compute_infer.count for batch in total.models[0].batch_stats}
    assert batches == {2: 2, 3: 1}
    assert [sum(gauge.request_buckets) for gauge in total.gauges] == [7, 1]
    assert merged(()) == pb.Telemetry()
    assert merged((total,)) == total


def fallbacks(message: pb.Telemetry) -> list[tuple[str, str, str, str, int, int]]:
    """All that was answered without the model."""
    return [
        (gauge.model, gauge.version, each.step, each.reason, each.count, each.ns)
        for gauge in message.gauges
        for each in gauge.fallbacks
    ]


def test_what_was_answered_without_the_model_is_added_by_step_and_reason() -> None:
    """Over threads, workers and versions; a dead worker's still count, its hung threads and breakers have gone."""
    one, two, other = FakeLane(), FakeLane(), FakeLane(number="2")
    one.stats.own_cell().fell_back(Step.DEFAULT, Reason.FAILED, 10)
    one.stats.cell().fell_back(Step.DEFAULT, Reason.FAILED, 5)
    two.stats.own_cell().fell_back(Step.DEFAULT, Reason.FAILED, 1)
    two.stats.own_cell().fell_back(Step.FAILOVER, Reason.SLOW, 7)
    other.stats.own_cell().fell_back(Step.DEFAULT, Reason.SWITCHED, 3)
    one.lost, two.lost = 2, 1
    one.replicas, two.replicas = SimpleNamespace(refused=1, opened=4), SimpleNamespace(refused=2, opened=3)
    first, second = figures(one), figures(two, other)
    first.loop_taken, second.loop_taken = 4, 1
    total = Total()
    total.put("first", first)
    total.put("second", second)
    assert [gauge.hung for gauge in total.all().gauges] == [3, 0]
    total.bury("first")
    everything = total.all()
    assert sorted(fallbacks(everything)) == [
        ("m", "1", "default", "failed", 3, 16),
        ("m", "1", "failover", "slow", 1, 7),
        ("m", "2", "default", "switched", 1, 3),
    ]
    assert everything.loop_taken == 5
    assert sum(gauge.hung for gauge in everything.gauges) == 1
    assert [(gauge.breakers_open, gauge.breakers_opened) for gauge in everything.gauges] == [(2, 7), (0, 0)]
    assert merged((everything,)) == everything


def test_predictions_on_their_way_add_up() -> None:
    """By model, of the living and of the dead."""
    total = Total()
    total.put("first", pb.Telemetry(predictions=[pb.PredictionFigures(model="m", kept=3, lost=1)]))
    total.put("second", pb.Telemetry(predictions=[pb.PredictionFigures(model=name, kept=2) for name in "mn"]))
    total.bury("first")
    found = [(each.model, each.kept, each.lost) for each in total.all().predictions]
    assert sorted(found) == [("m", 5, 1), ("n", 2, 0)]


class FakeHedger:
    """What telemetry reads of it."""

    def __init__(self, sent: int, won: int, refused: dict[Why, int]) -> None:
        self.sent, self.won, self.refused = sent, won, refused


def test_hedges_are_added_up() -> None:
    """Sent, won, and those refused by their reason."""
    one, two = FakeLane(), FakeLane()
    one.hedger = FakeHedger(3, 2, {Why.BUDGET_SPENT: 4})
    two.hedger = FakeHedger(1, 1, {Why.BUDGET_SPENT: 1, Why.MACHINE_BUSY: 2})
    (gauge,) = merged((figures(one), figures(two), figures(FakeLane()))).gauges
    assert (gauge.hedges_sent, gauge.hedges_won) == (4, 3)
    assert dict(gauge.hedges_refused) == {"budget_spent": 5, "machine_busy": 2}


def test_requests_without_a_key_are_added_up() -> None:
    """A dead worker's too."""
    one, two = FakeLane(), FakeLane()
    one.stats.own_cell().keyless, two.stats.cell().keyless = 3, 4
    total = Total()
    total.put("first", figures(one))
    total.put("second", figures(two))
    total.bury("first")
    assert [gauge.keyless for gauge in total.all().gauges] == [7]


def test_answers_that_came_late_are_added_up() -> None:
    """By the target of their time; a dead worker's too, and those of threads that come after a target was set."""
    one, two = FakeLane(), FakeLane()
    for lane in (one, two):
        ran(lane)
        lane.stats.aim(1e-6)
        ran(lane, calls=2)
        lane.stats.cell().remembered(2000)
    two.stats.aim(None)
    ran(two)
    total = Total()
    total.put("first", figures(one))
    total.put("second", figures(two))
    total.bury("first")
    assert [gauge.late for gauge in total.all().gauges] == [6]


def successes(total: Total) -> int:
    """All of them."""
    return sum(each.inference_stats.success.count for each in total.all().models)


def test_what_a_dead_worker_did_still_counts() -> None:
    """Counters never go back; what waited there waits no more."""
    total = Total()
    lane = FakeLane()
    lane.pending = 5
    ran(lane, calls=4)
    message = figures(lane)
    message.resident_bytes = 100
    total.put("first", message)
    total.bury("first")
    assert successes(total) == 4
    assert total.all().gauges[0].pending == 0
    assert total.all().resident_bytes == 0
    total.put("second", figures(lane))
    assert successes(total) == 8
    total.bury("unheard of")
    assert successes(total) == 8


def test_a_worker_that_was_only_cut_off_counts_once() -> None:
    """It comes back with the same incarnation and figures that went on."""
    total = Total()
    lane = FakeLane()
    ran(lane, calls=4)
    total.put("one", figures(lane))
    total.bury("one")
    total.bury("one")
    ran(lane, calls=1)
    total.put("one", figures(lane))
    assert successes(total) == 5


def test_many_deaths_take_no_more_memory() -> None:
    """The oldest are folded into one, and still count."""
    total = Total(remembered=3)
    lane = FakeLane()
    ran(lane, calls=2)
    for number in range(20):
        total.put(str(number), figures(lane))
        total.bury(str(number))
        assert successes(total) == 2 * (number + 1)
    assert len(total._dead) == 3


def test_figures_of_what_has_gone_keep_no_gauge() -> None:
    """Counters stay."""
    lane = FakeLane()
    lane.pending = 2
    ran(lane)
    kept = past(figures(lane))
    assert kept.gauges[0].pending == 0
    assert kept.models[0].inference_stats.success.count == 1


def test_what_callers_had_of_a_version() -> None:
    """Its own answers with their times, what failed or was turned away, what something else answered; over workers.

    Those who went away do not count. What a dead worker did still does, so that no counter goes back.
    """
    one, other = FakeLane(), FakeLane(number="2")
    ran(one, calls=3)
    one.stats.own_cell().remembered(7000)
    for reason in Failure:
        one.stats.own_cell().fail(reason, 5000)
    one.stats.own_cell().fell_back(Step.DEFAULT, Reason.FAILED, 10)
    one.stats.own_cell().fell_back(Step.CACHED, Reason.SLOW, 10)
    ran(other, calls=2)
    total = Total()
    total.put("first", figures(one))
    before = vitals(total.all())
    assert before["m", "1"] == Vitals(9, 3, 2, before["m", "1"].buckets)
    assert before["m", "1"].timed == 4
    total.put("second", figures(one, other))
    total.bury("first")
    total.put("first, begun again", figures(one))
    after = vitals(total.all())
    assert after["m", "1"].since(before["m", "1"]) == before["m", "1"] + before["m", "1"]
    assert after["m", "2"] == Vitals(2, 0, 0, after["m", "2"].buckets)


def test_rows_in_which_rules_fired_are_added_by_rule() -> None:
    """Over threads and workers, versions apart; a dead worker's still count."""
    one, two, other = FakeLane(), FakeLane(), FakeLane(number="2")
    one.stats.own_cell().doubted("far", "note", 2)
    one.stats.cell().doubted("far", "note", 3)
    two.stats.own_cell().doubted("far", "note", 10)
    two.stats.own_cell().doubted("far", "error", 1)
    other.stats.own_cell().doubted("torn", "override", 7)
    total = Total()
    total.put("a", figures(one))
    total.bury("a")
    total.put("b", figures(two, other))
    found = {(gauge.version, each.rule, each.then): each.rows for gauge in total.all().gauges for each in gauge.doubted}
    assert found == {("1", "far", "note"): 15, ("1", "far", "error"): 1, ("2", "torn", "override"): 7}


def test_rows_that_were_looked_at_are_summed_by_model() -> None:
    """Over all workers, and over those that are gone."""
    one = pb.ObservationFigures(model="m", looked=1, recorded=2, missed=3)
    other = pb.ObservationFigures(model="n", looked=5)
    total = merged([pb.Telemetry(observations=[one, other]), past(pb.Telemetry(observations=[one]))])
    assert [(each.model, each.looked, each.recorded, each.missed) for each in total.observations] == [
        ("m", 2, 4, 6),
        ("n", 5, 0, 0),
    ]
