"""Metrics and the two questions of an orchestrator, without a server."""

from __future__ import annotations

import asyncio

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from router.core.latency import BUCKETS
from router.edge.http import HealthGauge, ServerFacts, application
from router.pb.link_pb2 import Telemetry

HEALTH = [HealthGauge('ill "b"\n', 2, 0.75, -3.5), HealthGauge("rests", 0, None, 1.0)]
KINDS = ("reason", "process", "outcome", "why")


def figures() -> Telemetry:
    """One version with round numbers; its name needs escaping."""
    message = Telemetry(resident_bytes=1000)
    model = message.models.add(name='a "b"\\', version="3", inference_count=40, execution_count=7)
    stats = model.inference_stats
    for duration, ns in ((stats.success, 9_000_000), (stats.queue, 2_000_000), (stats.compute_infer, 3_000_999)):
        duration.count, duration.ns = 20, ns
    stats.cache_hit.count = 9
    gauge = message.gauges.add(model='a "b"\\', version="3", pending=4, lane="executor", load_ns=1_500_000_000)
    gauge.failures["REJECTED"], gauge.failures["OTHER"] = 2, 3
    gauge.request_buckets.extend([0, 5, 15, *[0] * (BUCKETS - 3)])
    gauge.request_ns = 9_000_000
    gauge.fallbacks.add(step="default", reason="slow", count=6, ns=2_500_000_000)
    gauge.hung = 1
    gauge.breakers_open, gauge.breakers_opened = 2, 11
    message.loop_taken = 8
    message.predictions.add(model='a "b"\\', kept=70, lost=4)
    gauge.hedges_sent, gauge.hedges_won = 6, 5
    gauge.hedges_refused["budget_spent"] = 7
    gauge.keyless = 13
    gauge.late = 21
    gauge.doubted.add(rule="far-off", then="override", rows=17)
    return message


def ask(path: str, ready: bool = True, accept: str = "") -> httpx.Response:
    """One request."""

    async def asked() -> httpx.Response:
        async def all_figures() -> Telemetry:
            return figures()

        facts = ServerFacts(12, {"worker-0": True, "controller": False}, {"worker-0": 2, "controller": 0})
        app = application(all_figures, lambda: facts, lambda: ready, lambda: HEALTH)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.get(path, headers={"accept": accept})

    return asyncio.run(asked())


def test_the_metrics_are_read_by_prometheus() -> None:
    """Names, labels and values, in the plain format and in OpenMetrics."""
    answer = ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    values = {
        (sample.name, next((sample.labels[name] for name in KINDS if name in sample.labels), "")): sample.value
        for family in plain(answer.text)
        for sample in family.samples
        if "le" not in sample.labels
    }
    assert values["nv_inference_request_success", ""] == 20
    assert values["nv_inference_count", ""] == 40
    assert values["nv_inference_exec_count", ""] == 7
    assert values["nv_inference_request_duration_us", ""] == 9000
    assert values["nv_inference_queue_duration_us", ""] == 2000
    assert values["nv_inference_compute_infer_duration_us", ""] == 3000
    assert values["nv_inference_request_failure", "REJECTED"] == 2
    assert values["nv_inference_pending_request_count", ""] == 4
    assert values["nv_model_load_duration_secs", ""] == 1.5
    assert values["router_generation", ""] == 12
    assert values["router_process_serving", "worker-0"] == 1
    assert values["router_process_serving", "controller"] == 0
    assert values["router_process_restarts_total", "worker-0"] == 2
    assert values["router_workers_resident_bytes", ""] == 1000
    assert values["router_request_seconds_count", ""] == 20
    assert values["router_request_seconds_sum", ""] == 0.009
    assert values["router_lane_inline", ""] == 0
    assert values["router_fresh_answers_total", ""] == 9
    assert (values["router_predictions_total", "kept"], values["router_predictions_total", "lost"]) == (70, 4)
    assert values["router_fallback_total", "slow"] == 6
    assert values["router_fallback_seconds_total", "slow"] == 2.5
    assert values["router_loop_taken_total", ""] == 8
    assert values["router_hung_threads", ""] == 1
    assert values["router_breakers_open", ""] == 2
    assert values["router_breakers_opened_total", ""] == 11
    assert values["router_hedges_total", "sent"] == 6
    assert values["router_hedges_total", "won"] == 5
    assert values["router_hedges_refused_total", "budget_spent"] == 7
    assert values["router_keyless_total", ""] == 13
    assert values["router_late_answers_total", ""] == 21
    modern = ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    names = {sample.name for family in openmetrics(modern.text) for sample in family.samples}
    assert "nv_inference_request_success" in names
    assert "router_process_restarts_total" in names


def test_what_was_answered_without_the_model_names_step_and_reason() -> None:
    """Beside the model and the version that were asked for."""
    family = next(f for f in plain(ask("/metrics").text) if f.name == "router_fallback")
    (sample,) = [sample for sample in family.samples if sample.name == "router_fallback_total"]
    assert sample.labels == {"model": 'a "b"\\', "version": "3", "step": "default", "reason": "slow"}


def test_rows_in_which_a_rule_fired_name_it_and_what_it_does() -> None:
    """Beside the model and the version that answered."""
    family = next(f for f in plain(ask("/metrics").text) if f.name == "router_humility")
    (sample,) = [sample for sample in family.samples if sample.name == "router_humility_total"]
    assert (sample.labels, sample.value) == (
        {"model": 'a "b"\\', "version": "3", "rule": "far-off", "then": "override"}, 17,
    )  # fmt: skip


def test_health_is_told_of_each_model() -> None:
    """A model without requests has no attainment; its budget is all there."""
    told = {
        (sample.name, sample.labels["model"]): sample.value
        for family in plain(ask("/metrics").text)
        for sample in family.samples
        if family.name in {"router_health_status", "router_sla_attainment", "router_error_budget_left"}
    }
    assert told == {
        ("router_health_status", 'ill "b"\n'): 2.0,
        ("router_health_status", "rests"): 0.0,
        ("router_sla_attainment", 'ill "b"\n'): 0.75,
        ("router_error_budget_left", 'ill "b"\n'): -3.5,
        ("router_error_budget_left", "rests"): 1.0,
    }


def test_the_buckets_of_times_only_grow() -> None:
    """Each counts all shorter times too; the last has no bound and holds all; labels come back as they were."""
    family = next(f for f in plain(ask("/metrics").text) if f.name == "router_request_seconds")
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    counts = [sample.value for sample in buckets]
    assert counts == sorted(counts)
    assert (buckets[-1].labels["le"], counts[-1]) == ("+Inf", 20)
    assert counts[:3] == [0, 5, 20]
    assert buckets[0].labels["model"] == 'a "b"\\'


def test_alive_and_ready() -> None:
    """Alive is 200 in any case, ready only while a worker serves."""
    assert ask("/healthz", ready=False).status_code == 200
    assert ask("/readyz").status_code == 200
    assert ask("/readyz", ready=False).status_code == 503
    assert ask("/").status_code == 404
