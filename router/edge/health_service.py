"""The admin port's service of model health."""

# ruff: noqa: N802, ARG002  # methods have the protocol's names and arguments

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc import aio

from router.control.health import HealthWatch, ModelHealth, VersionHealth
from router.core.health import Count, Seen, Span, Spent
from router.core.table import CHAMPION
from router.edge import admin_words as words
from router.errors import NotFound
from router.pb import health_report_pb2 as pb
from router.pb import health_report_pb2_grpc

Word = Callable[[str, str, str], str]
"""How a model with a champion does in another respect, drift or accuracy: green, yellow, red, or empty where nothing
was told."""

AT_ONCE: Final = 20
"""Models that are told of before others may have their turn."""
_REASONS: Final = (Count.REJECTED, Count.CANCELED, Count.BACKEND, Count.OTHER)


class HealthService(health_report_pb2_grpc.ModelHealthReportServicer):
    """Answers from the watch, with a `word` about other respects. `ready` raises NotReady without a first table."""

    def __init__(self, watch: HealthWatch, ready: Callable[[], Awaitable[None]], word: Word) -> None:
        self._watch = watch
        self._ready = ready
        self._word = word

    def add_to(self, server: aio.Server) -> None:
        """Add it to the admin port."""
        health_report_pb2_grpc.add_ModelHealthReportServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def GetHealth(self, request: pb.GetHealthRequest, context: aio.ServicerContext[Any, Any]) -> pb.HealthReport:
        """Of one model with all that is known, or of all models. Raises NotReady, NotFound."""
        model = words.any_model(request.model)
        await self._ready()
        report = pb.HealthReport(
            seconds=time.time(),
            known_seconds=self._watch.known_s,
            workers_resident_bytes=self._watch.resident_bytes,
        )
        for number, name in enumerate([model] if model else self._watch.models()):
            found = self._watch.health(name, history=bool(model))
            if found is not None:
                report.models.append(self._message(found, whole=bool(model)))
            elif model:
                raise NotFound(f"unknown model {words.shown(model)}: `router models` lists those that there are")
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        return report

    def _message(self, health: ModelHealth, *, whole: bool) -> pb.ModelHealth:
        champion = next((each.number for each in health.versions if each.role == CHAMPION), "")
        made = pb.ModelHealth(
            model=health.model,
            level=health.level.word,
            reasons=health.status.reasons,
            next_steps=health.status.next_steps,
            target_ms=health.target_ms,
            availability=health.availability,
            drift=self._word("drift", health.model, champion),
            accuracy=self._word("accuracy", health.model, champion),
            versions=[_version(each, health.availability, whole=whole) for each in health.versions],
        )
        if health.seen is not None:
            made.five_minutes.CopyFrom(_figures(health.seen.five))
            made.budget.CopyFrom(_budget(health.seen, health.availability))
        return made


def _version(health: VersionHealth, availability: float, *, whole: bool) -> pb.VersionHealth:
    made = pb.VersionHealth(
        number=health.number,
        role=health.role,
        level=health.level.word,
        level_seconds=health.since_s,
        reasons=health.status.reasons,
        next_steps=health.status.next_steps,
    )
    seen = health.seen
    if seen is None:
        return made
    made.pending, made.hung, made.breakers_open = seen.pending, seen.hung, seen.breakers_open
    if seen.idle_s is not None:
        made.idle_seconds = seen.idle_s
    made.budget.CopyFrom(_budget(seen, availability))
    if whole:
        made.windows.extend([_figures(each) for each in (seen.minute, seen.five, seen.hour)])
        for rate, p99 in zip(health.rates, health.p99s, strict=True):
            made.minutes.add(per_second=rate, p99_seconds=p99)
    return made


def _figures(span: Span) -> pb.Figures:
    counts = span.counts
    p50, p99, p999 = span.quantiles()
    return pb.Figures(
        seconds=span.seconds,
        requests=span.requests,
        per_second=span.rate,
        failures={reason.name: counts[reason] for reason in _REASONS},
        error_rate=span.share(span.failed) or 0.0,
        fallbacks=counts[Count.FALLBACKS],
        fallback_rate=span.share(counts[Count.FALLBACKS]) or 0.0,
        late=counts[Count.LATE],
        attainment=span.attainment,
        p50_seconds=p50,
        p99_seconds=p99,
        p999_seconds=p999,
        fresh=counts[Count.FRESH],
        hedges_sent=counts[Count.HEDGES_SENT],
        hedges_won=counts[Count.HEDGES_WON],
        mean_queue_seconds=span.mean_queue_s,
        runs=counts[Count.RUNS],
        mean_rows=span.mean_rows,
        breakers_opened=counts[Count.BREAKERS_OPENED],
    )


def _budget(seen: Seen, availability: float) -> pb.Budget:
    five, hour = (Spent(each.requests, each.bad).burn(availability) for each in (seen.five, seen.hour))
    return pb.Budget(
        left=seen.day.left(availability),
        burn_5m=five,
        burn_1h=hour,
        burn_30m=seen.half_hour.burn(availability),
        burn_6h=seen.six_hours.burn(availability),
    )
