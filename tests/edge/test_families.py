"""What parts of the controller tell for metrics, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families as families_in

from router.app.monitoring import Looking, Monitoring
from router.edge import families
from router.edge.families import Family
from router.edge.http import ServerFacts, application
from router.errors import NotReady
from router.pb.link_pb2 import Telemetry

HOSTILE = 'a "b"\\\n# HELP x'


@dataclass(frozen=True)
class Drifting:
    """As the controller knows it."""

    level: int
    psi: float


@dataclass(frozen=True)
class Measured:
    """The same."""

    model: str
    version: str
    kind: str
    value: float | None
    declined: bool


class Part(Looking):
    """With these figures, or a fault."""

    def __init__(self, *made: Family, fault: Exception | None = None) -> None:
        self._made = made
        self._fault = fault

    async def figures(self) -> Iterable[Family]:
        """As told."""
        if self._fault is not None:
            raise self._fault
        return self._made


def everything() -> list[Family]:
    """Of all parts, with figures for each."""
    return [
        *families.drift({HOSTILE: Drifting(2, 0.5), "wine": Drifting(0, 0.01)}),
        *families.accuracy(
            [
                Measured("digits", "2", "labels", 0.75, True),
                Measured("wine", "1", "labels", None, False),
                Measured("price", "3", "numbers", 12.5, False),
            ]
        ),
        *families.retraining({"digits": True}, {("digits", "done"): 3}),
        *families.webhook(7, 1, 40, 2.5),
    ]


def scraped(parts: Iterable[Part]) -> dict[tuple[str, tuple[str, ...]], float]:
    """The samples of these parts, by name and values of labels."""

    async def asked() -> httpx.Response:
        async def nothing() -> Telemetry:
            return Telemetry()

        app = application(nothing, lambda: ServerFacts(1, {}, {}), lambda: True, tuple, Monitoring(parts).figures)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.get("/metrics")

    found: Any = families_in(asyncio.run(asked()).text)
    return {(each.name, tuple(each.labels.values())): each.value for family in found for each in family.samples}


def test_all_of_it_is_read_by_prometheus() -> None:
    """Also a model whose name would be another line of the page."""
    values = scraped([Part(*everything())])
    assert values["router_drift_status", (HOSTILE,)] == 2
    assert values["router_drift_psi", ("wine",)] == 0.01
    assert values["router_accuracy_ratio", ("digits", "2")] == 0.75
    assert ("router_accuracy_ratio", ("wine", "1")) not in values, "nothing came true: that is not 0"
    assert values["router_mean_absolute_error", ("price", "3")] == 12.5
    assert values["router_accuracy_declined", ("digits", "2")] == 1
    assert values["router_retraining_running", ("digits",)] == 1
    assert values["router_retraining_runs_total", ("digits", "done")] == 3
    assert values["router_retraining_runs_total", ("digits", "failed")] == 0, "an alert would miss the first"
    assert values["router_webhook_waiting_events", ()] == 7
    assert values["router_webhook_oldest_seconds", ()] == 2.5
    assert values["router_webhook_delivered_events_total", ()] == 40


@pytest.mark.parametrize("fault", [NotReady("the store is locked"), ZeroDivisionError()])
def test_a_part_that_fails_costs_its_own_figures_only(fault: Exception) -> None:
    """All others are told."""
    with structlog.testing.capture_logs() as told:
        values = scraped([Part(fault=fault), Part(*families.webhook(1, 0, 0, 0.0))])
    assert values["router_webhook_waiting_events", ()] == 1
    assert [each["part"] for each in told] == ["Part"]


def test_nothing_is_told_of_a_part_without_figures() -> None:
    """Names without samples say nothing wrong."""
    assert not [name for name, _ in scraped([Part()]) if "webhook" in name]
