"""What the server says of itself, in a result."""

from __future__ import annotations

import asyncio

import httpx

from loadtest.servers import free_port
from loadtest.sla.server_figures import ask, counted, told
from router.core.latency import BUCKETS
from router.edge.http import ServerFacts, application
from router.pb.link_pb2 import Telemetry


def scrape() -> str:
    """As the server writes it: two versions of one model."""
    message = Telemetry()
    for version, sent in (("1", 3), ("2", 1)):
        message.models.add(name="m", version=version, execution_count=100)
        gauge = message.gauges.add(model="m", version=version)
        gauge.request_buckets.extend([0] * BUCKETS)
        gauge.hedges_sent, gauge.hedges_won = sent, 1
        gauge.hedges_refused["target_busy"] = 5
        gauge.breakers_opened = sent
        gauge.fallbacks.add(step="default", reason="slow", count=2)
    message.models.add(name="other", version="1", execution_count=7)
    message.gauges.add(model="other", version="1", request_buckets=[0] * BUCKETS)

    async def figures() -> Telemetry:
        return message

    async def call() -> str:
        app = application(figures, lambda: ServerFacts(1, {}, {}), lambda: True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://it") as client:
            return (await client.get("/metrics")).text

    return asyncio.run(call())


def test_versions_are_added_up_and_what_never_happened_is_left_out() -> None:
    """By model; figures with a reason are told apart by it."""
    assert counted(scrape()) == {
        "m": {
            "runs": 200,
            "hedges": {"sent": 4, "won": 2},
            "hedges_refused": {"target_busy": 10},
            "fallbacks": {"slow default": 4},
            "breakers_opened": 4,
        },
        "other": {"runs": 7, "breakers_opened": 0},
    }


def test_people_are_told_of_what_happened() -> None:
    """The share of extra runs is what the budget of hedging bounds."""
    assert told(counted(scrape())) == [
        "model 'm': 4 second attempts, 2.0% of 200 runs; 2 answered",
        "model 'm': breakers have opened 4 times",
    ]
    assert told(None) == []


def test_a_server_that_does_not_tell_has_no_figures() -> None:
    """It may be another one, or be stopped."""
    assert ask(f"127.0.0.1:{free_port()}") is None
