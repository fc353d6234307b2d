"""The warm-up worker on the link: its end, the controller's end, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol, cast

from router.control.rehearsal import Seen, WarmOrder
from router.core.comparison import Kind, OutputFigures
from router.core.mirrored import Truth
from router.core.table import Route
from router.core.warmup import Accuracy, Figures, Mirrored, Purpose, Source
from router.edge.link import WorkerHandle
from router.edge.link_client import LinkClient, WorkerEnd
from router.edge.tables import route_to_message, routes_from_messages
from router.pb import link_pb2 as pb
from router.serving.mirror import Mirror
from router.serving.timers import Timers

ROLE: Final = "warm-up"


class WarmupEnd(Protocol):
    """What the warm-up worker does when the controller asks. Called on the link's thread."""

    def attached(self) -> None:
        """The controller is there, for the first time or again."""

    def set_warmings(self, orders: Sequence[WarmOrder]) -> None:
        """Run these versions and no others. Returns soon."""

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests: id, row, truth."""

    def kept(self, number: int) -> None:
        """Predictions that were handed over are kept."""


class WarmupLink(LinkClient):
    """The warm-up worker's end."""

    def __init__(self, path: Path, joined: pb.Joined, end: WarmupEnd, timers: Timers) -> None:
        joined.role = ROLE
        super().__init__(path, joined, cast(WorkerEnd, end), timers)  # what only serving workers do is never asked
        self._warmup = end

    def report(self, seen: Iterable[Seen]) -> None:
        """Tell what has been seen, if the controller is there."""
        if self._socket is not None:
            self._outgoing.put(pb.FromWorker(warmed=pb.Warmed(versions=[_seen_to(each) for each in seen])))

    def _handle(self, message: pb.ToWorker) -> None:
        kind = message.WhichOneof("kind")
        if kind == "set_warmings":
            self._warmup.set_warmings([_order_from(each) for each in message.set_warmings.warmings])
        elif kind == "kept":
            self._warmup.kept(message.kept.number)
        elif kind == "came_true":
            told = message.came_true
            self._warmup.came_true(told.model, [(each.request_id, each.row, _truth(each)) for each in told.truths])


class WarmupHandle(WorkerHandle):
    """The warm-up worker, as the controller sees it. `told` is called with what it has seen."""

    def __init__(self, joined: pb.Joined) -> None:
        super().__init__(joined)
        self.told: Callable[[Sequence[Seen]], None] = lambda _: None

    def set_warmings(self, orders: Sequence[WarmOrder]) -> None:
        """Which versions it is to run; no others. Raises ConnectionError when it is gone."""
        warmings = pb.Warmings(warmings=[_order_to(order) for order in orders])
        self._send(pb.ToWorker(set_warmings=warmings))

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests: id, row, truth. Raises ConnectionError when it is gone."""
        told = pb.CameTrue(model=model)
        for request_id, row, truth in actuals:
            each = told.truths.add(request_id=request_id, row=row)
            if isinstance(truth, str):
                each.text = truth
            elif isinstance(truth, int):
                each.integer = truth
            else:
                each.number = truth
        self._send(pb.ToWorker(came_true=told))

    def received(self, message: pb.FromWorker) -> None:
        """Take in what it tells."""
        if message.HasField("warmed"):
            self.told([_seen_from(each) for each in message.warmed.versions])


def mirror_figures(mirrors: Iterable[Mirror]) -> list[pb.MirrorFigures]:
    """What a serving worker tells of its mirrors."""
    return [
        pb.MirrorFigures(model=each.order.model, offered=each.offered, sent=each.sent, dropped=each.dropped)
        for each in mirrors
    ]


def mirrored(telemetry: pb.Telemetry) -> dict[str, Mirrored]:
    """That, by model."""
    return {each.model: Mirrored(each.offered, each.sent, dict(each.dropped)) for each in telemetry.mirrors}


def _order_to(order: WarmOrder) -> pb.Warming:
    version, champion = order.version, order.champion
    versions = {each.number: each for each in (version, champion) if each is not None}
    return pb.Warming(
        run=order.run,
        number=version.number,
        route=route_to_message(Route(version.model, champion.number if champion else None, versions, order.settings)),
        source=order.source,
        count=order.count,
        purpose=order.purpose,
        share=order.share,
        max_per_s=order.max_per_s,
        alone=not order.beside,
    )


def _order_from(message: pb.Warming) -> WarmOrder:
    (route,) = routes_from_messages([message.route])
    version = route.versions[message.number]
    champion = route.versions[route.champion] if route.champion is not None else None
    return WarmOrder(
        message.run,
        version,
        champion,
        route.settings,
        Source(message.source),
        message.count,
        Purpose(message.purpose),
        message.share,
        message.max_per_s,
        not message.alone,
    )


def _truth(message: pb.Truth) -> Truth:
    kind = message.WhichOneof("truth")
    return cast(Truth, getattr(message, kind)) if kind else ""


def _seen_to(seen: Seen) -> pb.WarmedVersion:
    figures, accuracy = seen.figures, seen.accuracy
    return pb.WarmedVersion(
        run=seen.run,
        source=seen.source,
        loaded=figures.loaded,
        failed=figures.failed,
        seconds=figures.seconds,
        samples={source.value: count for source, count in figures.samples.items()},
        rows=figures.rows,
        errors=figures.errors,
        broken=figures.broken,
        first_error=figures.first_error,
        times=figures.times,
        champion_times=figures.champion_times,
        ratios=figures.ratios,
        outputs=[
            pb.WarmedOutput(
                name=each.name,
                kind=each.kind,
                compared=each.compared,
                agreed=each.agreed,
                absolute=each.absolute,
                relative=each.relative,
                apart=each.apart,
                elements=each.elements,
                within=each.within,
            )
            for each in figures.outputs
        ],
        running_seconds=figures.running_s,
        exhausted=figures.exhausted,
        accuracy=pb.WarmedAccuracy(
            joined=accuracy.joined,
            champion_right=accuracy.champion_right,
            version_right=accuracy.version_right,
            only_champion=accuracy.only_champion,
            only_version=accuracy.only_version,
        ),
        missed=figures.missed,
        rested_seconds=figures.rested_s,
        replayed=figures.replayed,
        left_out=figures.left_out,
    )


def _seen_from(message: pb.WarmedVersion) -> Seen:
    figures = Figures(
        message.loaded,
        message.failed,
        message.seconds,
        {Source(source): count for source, count in message.samples.items()},
        message.rows,
        message.errors,
        message.broken,
        message.first_error,
        tuple(message.times),
        tuple(message.champion_times),
        tuple(message.ratios),
        tuple(
            OutputFigures(
                each.name,
                Kind(each.kind),
                each.compared,
                each.agreed,
                tuple(each.absolute),
                tuple(each.relative),
                each.apart,
                each.elements,
                each.within,
            )
            for each in message.outputs
        ),
        message.running_seconds,
        message.exhausted,
        message.missed,
        message.rested_seconds,
        message.replayed,
        message.left_out,
    )
    known = message.accuracy
    accuracy = Accuracy(
        known.joined, known.champion_right, known.version_right, known.only_champion, known.only_version
    )
    return Seen(message.run, Source(message.source), figures, accuracy)
