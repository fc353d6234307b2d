"""How right models are, on the admin port."""

# ruff: noqa: N802, ARG002  # methods have the protocol's names and arguments

from __future__ import annotations

from typing import Any, Final, Protocol

from grpc import aio

from router.control.accuracy_view import ModelAccuracy, VersionAccuracy
from router.control.records import Order
from router.core.accuracy import Figure, Sum, headline
from router.core.accuracy_history import Point
from router.core.outcome import Kind
from router.edge import admin_words as words
from router.edge.access import actor_of
from router.edge.error_details import BadField
from router.pb import accuracy_pb2 as pb
from router.pb import accuracy_pb2_grpc

SINCE_S: Final = 86_400.0
"""Where nothing else is asked for."""

Context = aio.ServicerContext[Any, Any]


class Source(Protocol):
    """Who knows it."""

    async def of(self, model: str, number: str, since_s: float) -> ModelAccuracy:
        """How right a model's versions were. Raises RouterErrors."""

    async def begin_anew(self, model: str, number: str, order: Order) -> str:
        """Have another baseline made; what a version is compared with. Raises RouterErrors."""


class AccuracyService(accuracy_pb2_grpc.AccuracyServicer):
    """Answers from what was reckoned. Methods raise RouterErrors."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def add_to(self, server: aio.Server) -> None:
        """Beside what else the admin port offers."""
        accuracy_pb2_grpc.add_AccuracyServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def GetAccuracy(self, request: pb.GetAccuracyRequest, context: Context) -> pb.ModelAccuracy:
        """How right the versions of a model are."""
        since = request.since_seconds or SINCE_S
        if not since > 0:  # also what is no number
            raise BadField("since_seconds", f"{request.since_seconds:g} seconds back: more than 0 are meant")
        return to_message(await self._source.of(words.model(request.model), words.any_number(request.version), since))

    async def ResetBaseline(self, request: pb.ResetBaselineRequest, context: Context) -> pb.ResetBaselineResponse:
        """Have the baseline of a version be made of what comes true from now on."""
        model, number = words.model(request.model), words.any_number(request.version)
        order = words.order(actor_of(context), request.reason)
        return pb.ResetBaselineResponse(text=await self._source.begin_anew(model, number, order))


def to_message(seen: ModelAccuracy) -> pb.ModelAccuracy:
    """As it travels."""
    return pb.ModelAccuracy(
        model=seen.model,
        champion=seen.champion,
        status=seen.finding.status,
        text=seen.text,
        next_step=seen.step,
        now=seen.now_s,
        since_seconds=seen.since_s,
        versions=[_version(each) for each in seen.versions],
        actuals=seen.heard,
        reading=seen.reading,
    )


def _version(seen: VersionAccuracy) -> pb.VersionAccuracy:
    sums, finding = seen.sums, seen.finding
    made = pb.VersionAccuracy(
        version=seen.version,
        role=seen.role,
        kind=seen.kind,
        status=finding.status,
        text=seen.text,
        said=int(sums[Sum.SAID]),
        rows=int(sums[Sum.ROWS]),
        delay_seconds=seen.delay_s,
        figures=[_figure(each) for each in seen.figures()],
        points=[_point(seen.kind, each) for each in seen.points],
        classes_since=seen.classes_s,
    )
    if seen.confusion is not None:
        made.more_classes = seen.confusion.others
        made.confusion.extend(
            pb.Cell(truth=truth, said=said, count=count) for truth, said, count in seen.confusion.cells()
        )
        made.classes.extend(
            pb.ClassFigures(
                label=each.label,
                actual=each.true,
                said=each.said,
                precision=each.precision,
                recall=each.recall,
                f1=each.f1,
            )
            for each in seen.confusion.classes()
        )
    if finding.baseline is not None:
        made.baseline.origin = finding.baseline.origin
        made.baseline.requests = finding.baseline.requests
        made.baseline.value = _value(seen.kind, finding.baseline.loss)
        made.baseline.limit = _value(seen.kind, finding.limit)
    if finding.seen is not None:
        made.decline.since = finding.seen.since_s
        made.decline.requests = finding.seen.requests
        made.decline.value = _value(seen.kind, finding.seen.loss)
    return made


def _value(kind: Kind, loss: float) -> float:
    return 1.0 - loss if kind is Kind.LABELS else loss


def _figure(figure: Figure) -> pb.Figure:
    return pb.Figure(name=figure.name, value=figure.value, low=figure.low, high=figure.high)


def _point(kind: Kind, point: Point) -> pb.Point:
    made = pb.Point(
        begin=point.begin_s,
        width_seconds=point.width_s,
        said=int(point.sums[Sum.SAID]),
        rows=int(point.sums[Sum.ROWS]),
    )
    figure = headline(kind, point.sums)
    if figure is not None:
        made.value = figure.value
        if figure.low is not None and figure.high is not None:
            made.low, made.high = figure.low, figure.high
    return made
