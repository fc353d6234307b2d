"""A worker's figures as they travel, and their sum over workers."""

from __future__ import annotations

from collections.abc import Iterable

from router.core.vitals import Vitals
from router.pb import inference_pb2 as inference
from router.pb import link_pb2 as pb
from router.serving.lanes import Lane
from router.serving.stats import Failure


def telemetry(lanes: Iterable[Lane]) -> pb.Telemetry:
    """The figures of some lanes of this worker."""
    message = pb.Telemetry()
    for lane in lanes:
        cell = lane.stats.total()
        failed, ran = sum(cell.failures), cell.success - cell.hits
        figures = message.models.add(
            name=lane.version.model,
            version=lane.version.number,
            last_inference=cell.last_ms,
            inference_count=cell.rows,
            execution_count=cell.runs,
        )
        stats = figures.inference_stats
        for duration, count, nanoseconds in (
            (stats.success, cell.success, cell.request),
            (stats.fail, failed, cell.failed),
            (stats.queue, cell.success, cell.queue),
            (stats.compute_input, ran, cell.compute_input),
            (stats.compute_infer, ran, cell.compute_infer),
            (stats.compute_output, ran, cell.compute_output),
            (stats.cache_hit, cell.hits, cell.hit_ns),
        ):
            duration.count, duration.ns = count, nanoseconds
        for rows, (runs, fed, inferred, answered) in sorted(cell.batches.items()):
            batch = figures.batch_stats.add(batch_size=rows)
            for duration, nanoseconds in (
                (batch.compute_input, fed),
                (batch.compute_infer, inferred),
                (batch.compute_output, answered),
            ):
                duration.count, duration.ns = runs, nanoseconds
        hedger = lane.hedger
        gauge = message.gauges.add(
            model=lane.version.model,
            version=lane.version.number,
            pending=lane.pending,
            lane="inline" if lane.inline else "executor",
            failures={reason.name: cell.failures[reason] for reason in Failure},
            load_ns=lane.stats.load_ns,
            request_buckets=cell.buckets,
            request_ns=cell.request,
            fallbacks=[
                pb.Fallback(step=step, reason=reason, count=count, ns=nanoseconds)
                for (step, reason), (count, nanoseconds) in sorted(cell.fallbacks.items())
            ],
            hung=lane.lost,
            breakers_open=lane.replicas.refused,
            breakers_opened=lane.replicas.opened,
            keyless=cell.keyless,
            late=cell.late,
            doubted=[pb.Doubted(rule=rule, then=then, rows=rows) for (rule, then), rows in sorted(cell.doubts.items())],
        )
        if hedger is not None:
            gauge.hedges_sent, gauge.hedges_won = hedger.sent, hedger.won
            gauge.hedges_refused.update({why.name.lower(): count for why, count in list(hedger.refused.items())})
    return message


def past(message: pb.Telemetry) -> pb.Telemetry:
    """What stays of figures when what they are about has gone: counters, no gauges. Changes and gives the message."""
    message.resident_bytes = 0
    for gauge in message.gauges:
        gauge.pending = gauge.hung = gauge.breakers_open = 0
    return message


def vitals(message: pb.Telemetry) -> dict[tuple[str, str], Vitals]:
    """How each version, by model and number, has done for its callers.

    Also those count as failed that it turned away: a version whose breaker is open does that.
    """
    successes = {(each.name, each.version): each.inference_stats.success.count for each in message.models}
    made: dict[tuple[str, str], Vitals] = {}
    for gauge in message.gauges:
        failures = sum(count for why, count in gauge.failures.items() if why != Failure.CANCELED.name)
        fallbacks = sum(each.count for each in gauge.fallbacks)
        answered = successes.get((gauge.model, gauge.version), 0)
        made[gauge.model, gauge.version] = Vitals(
            answered + failures + fallbacks, failures, fallbacks, tuple(gauge.request_buckets)
        )
    return made


class Total:
    """The sum over workers. A worker that has died keeps its part: counters never go back.

    Each incarnation counts once, also one that was only cut off and comes back.
    """

    def __init__(self, remembered: int = 64) -> None:
        self._living: dict[str, pb.Telemetry] = {}
        self._dead: dict[str, pb.Telemetry] = {}
        self._remembered = remembered
        self._past = pb.Telemetry()

    def put(self, incarnation: str, message: pb.Telemetry) -> None:
        """Remember the newest figures of one incarnation of a worker."""
        self._dead.pop(incarnation, None)
        self._living[incarnation] = message

    def bury(self, incarnation: str) -> None:
        """The worker has gone. Of many dead the oldest are folded into one."""
        last = self._living.pop(incarnation, None)
        if last is None:
            return
        self._dead[incarnation] = past(last)
        if len(self._dead) > self._remembered:
            self._past = merged((self._past, self._dead.pop(next(iter(self._dead)))))

    def all(self) -> pb.Telemetry:
        """The sum."""
        return merged((*self._dead.values(), self._past, *self._living.values()))


def merged(parts: Iterable[pb.Telemetry]) -> pb.Telemetry:
    """The sum of several workers' figures, by model and version."""
    total = pb.Telemetry()
    models: dict[tuple[str, str], inference.ModelStatistics] = {}
    batches: dict[tuple[str, str, int], inference.InferBatchStatistics] = {}
    gauges: dict[tuple[str, str], pb.ModelGauges] = {}
    fallbacks: dict[tuple[str, str, str, str], pb.Fallback] = {}
    predictions: dict[str, pb.PredictionFigures] = {}
    observations: dict[str, pb.ObservationFigures] = {}
    doubts: dict[tuple[str, str, str, str], pb.Doubted] = {}
    for part in parts:
        total.resident_bytes += part.resident_bytes
        total.loop_taken += part.loop_taken
        for handed in part.predictions:
            if handed.model not in predictions:
                predictions[handed.model] = total.predictions.add(model=handed.model)
            predictions[handed.model].kept += handed.kept
            predictions[handed.model].lost += handed.lost
        for seen in part.observations:
            if seen.model not in observations:
                observations[seen.model] = total.observations.add(model=seen.model)
            observations[seen.model].looked += seen.looked
            observations[seen.model].recorded += seen.recorded
            observations[seen.model].missed += seen.missed
        for each in part.models:
            key = (each.name, each.version)
            have = models.get(key)
            if have is None:
                have = models[key] = total.models.add(name=each.name, version=each.version)
            have.last_inference = max(have.last_inference, each.last_inference)
            have.inference_count += each.inference_count
            have.execution_count += each.execution_count
            for field in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit"):
                _add(getattr(have.inference_stats, field), getattr(each.inference_stats, field))
            for batch in each.batch_stats:
                known = batches.get((*key, batch.batch_size))
                if known is None:
                    known = batches[*key, batch.batch_size] = have.batch_stats.add(batch_size=batch.batch_size)
                for field in ("compute_input", "compute_infer", "compute_output"):
                    _add(getattr(known, field), getattr(batch, field))
        for gauge in part.gauges:
            mine = gauges.get((gauge.model, gauge.version))
            if mine is None:
                mine = gauges[gauge.model, gauge.version] = total.gauges.add(model=gauge.model, version=gauge.version)
                mine.request_buckets.extend([0] * len(gauge.request_buckets))
            mine.pending += gauge.pending
            mine.lane = gauge.lane or mine.lane
            mine.load_ns = max(mine.load_ns, gauge.load_ns)
            mine.request_ns += gauge.request_ns
            for index, count in enumerate(gauge.request_buckets):
                mine.request_buckets[index] += count
            for reason, count in gauge.failures.items():
                mine.failures[reason] += count
            mine.hung += gauge.hung
            mine.breakers_open += gauge.breakers_open
            mine.breakers_opened += gauge.breakers_opened
            for fallback in gauge.fallbacks:
                way = (gauge.model, gauge.version, fallback.step, fallback.reason)
                if way not in fallbacks:
                    fallbacks[way] = mine.fallbacks.add(step=fallback.step, reason=fallback.reason)
                fallbacks[way].count += fallback.count
                fallbacks[way].ns += fallback.ns
            mine.keyless += gauge.keyless
            mine.late += gauge.late
            for doubted in gauge.doubted:
                rule = (gauge.model, gauge.version, doubted.rule, doubted.then)
                if rule not in doubts:
                    doubts[rule] = mine.doubted.add(rule=doubted.rule, then=doubted.then)
                doubts[rule].rows += doubted.rows
            mine.hedges_sent += gauge.hedges_sent
            mine.hedges_won += gauge.hedges_won
            for why, count in gauge.hedges_refused.items():
                mine.hedges_refused[why] += count
    return total


def _add(into: inference.StatisticDuration, part: inference.StatisticDuration) -> None:
    into.count += part.count
    into.ns += part.ns
