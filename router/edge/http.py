"""HTTP on its own port: metrics for Prometheus, and the two questions of an orchestrator."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import NamedTuple

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from router.core.latency import upper_bound_seconds
from router.edge.families import Family
from router.pb.link_pb2 import Telemetry

_LABELS = ["model", "version"]


class ServerFacts:
    """What is known of the server beside its models. `workers` maps a worker's name to whether it serves."""

    def __init__(self, generation: int, workers: dict[str, bool], restarts: dict[str, int]) -> None:
        self.generation = generation
        self.workers = workers
        self.restarts = restarts


class HealthGauge(NamedTuple):
    """How a model does. `level` is 0 green, 1 yellow, 2 red; `attainment` is None without requests."""

    model: str
    level: int
    attainment: float | None
    budget_left: float


class _Figures(Collector):
    """One scrape: the figures of all workers as metric families."""

    def __init__(
        self, figures: Telemetry, facts: ServerFacts, health: Iterable[HealthGauge], more: Iterable[Family]
    ) -> None:
        self._figures = figures
        self._facts = facts
        self._health = tuple(health)
        self._more = tuple(more)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The project's own names, then those that Triton's dashboards know."""
        yield from self._server()
        yield from self._own()
        yield from self._well()
        yield from map(_metric, self._more)
        yield from self._known()

    def _server(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "router_generation", "Number of the table of routes that serves now", self._facts.generation
        )
        up = GaugeMetricFamily("router_process_serving", "1 while the process serves", labels=["process"])
        restarts = CounterMetricFamily("router_process_restarts", "How often it was started again", labels=["process"])
        for name, serves in self._facts.workers.items():
            up.add_metric([name], float(serves))
            restarts.add_metric([name], self._facts.restarts.get(name, 0))
        yield up
        yield restarts
        yield GaugeMetricFamily(
            "router_workers_resident_bytes", "Memory of all workers", float(self._figures.resident_bytes)
        )
        yield CounterMetricFamily(
            "router_loop_taken", "How often a stuck run lost the loop thread", float(self._figures.loop_taken)
        )
        handed = CounterMetricFamily(
            "router_predictions",
            "Predictions for the ledger: kept, or lost for want of room",
            labels=["model", "outcome"],
        )
        for each in self._figures.predictions:
            handed.add_metric([each.model, "kept"], each.kept)
            handed.add_metric([each.model, "lost"], each.lost)
        yield handed
        rows = CounterMetricFamily(
            "router_observed_rows",
            "Rows that were looked at only, or recorded too, or whose turn it was and that found no room",
            labels=["model", "outcome"],
        )
        for seen in self._figures.observations:
            rows.add_metric([seen.model, "looked"], seen.looked)
            rows.add_metric([seen.model, "recorded"], seen.recorded)
            rows.add_metric([seen.model, "missed"], seen.missed)
        yield rows
        yield GaugeMetricFamily(
            "router_hung_threads",
            "Threads in runs that have been given up",
            float(sum(gauge.hung for gauge in self._figures.gauges)),
        )

    def _own(self) -> Iterator[Metric]:
        times = HistogramMetricFamily(
            "router_request_seconds", "Time from receipt to answer of successful requests", labels=_LABELS
        )
        pending = GaugeMetricFamily("router_pending_requests", "Requests that wait or run", labels=_LABELS)
        inline = GaugeMetricFamily(
            "router_lane_inline", "1 while runs are short enough for the loop thread", labels=_LABELS
        )
        fallbacks = CounterMetricFamily(
            "router_fallback", "Requests answered without the model", labels=[*_LABELS, "step", "reason"]
        )
        waited = CounterMetricFamily(
            "router_fallback_seconds", "Time from receipt to such answers", labels=[*_LABELS, "step", "reason"]
        )
        hedges = CounterMetricFamily(
            "router_hedges", "Second attempts of slow runs, and those that answered", labels=[*_LABELS, "outcome"]
        )
        refused = CounterMetricFamily(
            "router_hedges_refused", "Slow runs without a second attempt", labels=[*_LABELS, "why"]
        )
        breakers = GaugeMetricFamily(
            "router_breakers_open", "Sessions that are not asked because they failed too often", labels=_LABELS
        )
        opened = CounterMetricFamily("router_breakers_opened", "How often a session came to that", labels=_LABELS)
        fresh = CounterMetricFamily(
            "router_fresh_answers", "Successful requests that were answered from memory, without a run", labels=_LABELS
        )
        keyless = CounterMetricFamily(
            "router_keyless",
            "Requests without a key, which a split sends by chance: nothing holds their callers to a version",
            labels=_LABELS,
        )
        doubted = CounterMetricFamily(
            "router_humility",
            "Predictions (rows of requests) in which a rule of [humility] fired, by what it does",
            labels=[*_LABELS, "rule", "then"],
        )
        late = CounterMetricFamily(
            "router_late_answers", "Successful requests that took longer than the model's target", labels=_LABELS
        )
        for each in self._figures.models:
            fresh.add_metric([each.name, each.version], each.inference_stats.cache_hit.count)
        for gauge in self._figures.gauges:
            key = [gauge.model, gauge.version]
            for fallback in gauge.fallbacks:
                way = [*key, fallback.step, fallback.reason]
                fallbacks.add_metric(way, fallback.count)
                waited.add_metric(way, fallback.ns / 1e9)
            hedges.add_metric([*key, "sent"], gauge.hedges_sent)
            hedges.add_metric([*key, "won"], gauge.hedges_won)
            for why, count in sorted(gauge.hedges_refused.items()):
                refused.add_metric([*key, why], count)
            for rule in gauge.doubted:
                doubted.add_metric([*key, rule.rule, rule.then], rule.rows)
            total = 0
            buckets = []
            for index, count in enumerate(gauge.request_buckets):
                total += count
                last = index == len(gauge.request_buckets) - 1
                buckets.append(("+Inf" if last else repr(upper_bound_seconds(index)), float(total)))
            times.add_metric(key, buckets, gauge.request_ns / 1e9)
            pending.add_metric(key, gauge.pending)
            inline.add_metric(key, float(gauge.lane == "inline"))
            breakers.add_metric(key, gauge.breakers_open)
            opened.add_metric(key, gauge.breakers_opened)
            keyless.add_metric(key, gauge.keyless)
            late.add_metric(key, gauge.late)
        yield from (times, pending, inline, fallbacks, waited, hedges, refused, breakers, opened, fresh, keyless)
        yield from (doubted, late)

    def _well(self) -> Iterator[Metric]:
        status = GaugeMetricFamily(
            "router_health_status", "How a model serves its callers: 0 green, 1 yellow, 2 red", labels=["model"]
        )
        attainment = GaugeMetricFamily(
            "router_sla_attainment",
            "Share (0 to 1) of the requests of the last 5 minutes that were answered in time",
            labels=["model"],
        )
        left = GaugeMetricFamily(
            "router_error_budget_left",
            "Share of the last day's error budget that is left: 1 all of it, below 0 overspent",
            labels=["model"],
        )
        for each in self._health:
            status.add_metric([each.model], each.level)
            if each.attainment is not None:
                attainment.add_metric([each.model], each.attainment)
            left.add_metric([each.model], each.budget_left)
        yield from (status, attainment, left)

    def _known(self) -> Iterator[Metric]:
        def counter(name: str, text: str, labels: list[str] = _LABELS) -> CounterMetricFamily:
            # These names end without `_total` where dashboards know them so.
            family = CounterMetricFamily(name, text, labels=labels)
            family.type = "unknown"
            return family

        success = counter("nv_inference_request_success", "Successful requests")
        failure = counter("nv_inference_request_failure", "Failed requests by reason", [*_LABELS, "reason"])
        rows = counter("nv_inference_count", "Rows inferred")
        runs = counter("nv_inference_exec_count", "Runs of the model, each of one or more requests")
        pending = GaugeMetricFamily("nv_inference_pending_request_count", "Requests that wait or run", labels=_LABELS)
        load = GaugeMetricFamily("nv_model_load_duration_secs", "Seconds that the load took", labels=_LABELS)
        durations = {
            field: counter(f"nv_inference_{name}_duration_us", f"Microseconds: {text}")
            for field, name, text in (
                ("success", "request", "from receipt to answer"),
                ("queue", "queue", "waiting"),
                ("compute_input", "compute_input", "making inputs"),
                ("compute_infer", "compute_infer", "in the model"),
                ("compute_output", "compute_output", "making replies"),
            )
        }
        for each in self._figures.models:
            key = [each.name, each.version]
            stats = each.inference_stats
            _plain(success, key, stats.success.count)
            _plain(rows, key, each.inference_count)
            _plain(runs, key, each.execution_count)
            for field, family in durations.items():
                _plain(family, key, getattr(stats, field).ns // 1000)
        for gauge in self._figures.gauges:
            key = [gauge.model, gauge.version]
            for reason, count in gauge.failures.items():
                _plain(failure, [*key, reason], count)
            pending.add_metric(key, gauge.pending)
            load.add_metric(key, gauge.load_ns / 1e9)
        yield from (success, failure, rows, runs, pending, *durations.values(), load)


def _plain(family: CounterMetricFamily, labels: list[str], value: float) -> None:
    """Add a sample under the family's bare name."""
    family.add_sample(family.name, dict(zip(family._labelnames, labels, strict=True)), value)  # noqa: SLF001


def _metric(family: Family) -> Metric:
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = made(family.name, family.text, labels=family.labels)
    for labels, value in family.samples:
        metric.add_metric(labels, value)
    return metric


Figures = Callable[[], Awaitable[Telemetry]]
More = Callable[[], Awaitable[Iterable[Family]]]


async def nothing_more() -> Iterable[Family]:
    """Where no part has figures of its own."""
    return ()


def application(
    figures: Figures,
    facts: Callable[[], ServerFacts],
    ready: Callable[[], bool],
    health: Callable[[], Iterable[HealthGauge]] = tuple,
    more: More = nothing_more,
) -> Starlette:
    """The ASGI application. `more` are figures of parts that look at models while they serve."""

    async def metrics(request: Request) -> Response:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Figures(await figures(), facts(), health(), await more()))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    async def healthz(request: Request) -> Response:  # noqa: ARG001
        return PlainTextResponse("alive\n")

    async def readyz(request: Request) -> Response:  # noqa: ARG001
        if ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: no worker serves\n", status_code=503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The controller has its own handlers."""
        yield


def http_server(app: Starlette, address: str) -> uvicorn.Server:
    """A server for the application; `await server.serve()` runs it, `server.should_exit` ends it."""
    host, _, port = address.rpartition(":")
    config = uvicorn.Config(
        app,
        host=host.strip("[]"),
        port=int(port),
        log_config=None,  # its lines go where all others go
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    return _Server(config)
