"""The drift service of the admin port."""

# ruff: noqa: N802, ARG002  # methods have the protocol's names and arguments

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

from grpc import aio

from router.control.records import Order
from router.core.drift_report import INPUTS, OUTPUTS, FeatureDrift, ModelDrift, ReferenceInfo
from router.core.table import Route
from router.edge import admin_words as words
from router.edge.access import actor_of
from router.edge.error_details import BadField
from router.errors import NotReady
from router.pb import drift_pb2 as pb
from router.pb import drift_pb2_grpc

Context = aio.ServicerContext[Any, Any]

SOURCE: Final = 200
"""Characters of a file's name."""


class Drift(Protocol):
    """How models stand. Both raise RouterErrors."""

    async def report(self, model: str = "") -> Sequence[ModelDrift]:
        """One, or all."""

    async def set_reference(
        self, model: str, bodies: Mapping[str, str], source: str, order: Order
    ) -> Mapping[str, int]:
        """Compare with these; how many features each side has."""


class DriftService(drift_pb2_grpc.DriftServicer):
    """Answers from `drift`. `routes` are those that serve now, None while the server starts."""

    def __init__(self, drift: Drift, routes: Callable[[], Mapping[str, Route] | None]) -> None:
        self._drift = drift
        self._routes = routes

    def add_to(self, server: aio.Server) -> None:
        """Add it to the admin port."""
        drift_pb2_grpc.add_DriftServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def GetDrift(self, request: pb.GetDriftRequest, context: Context) -> pb.GetDriftResponse:
        """How a model stands, or all."""
        routes = self._started()
        model = words.any_model(request.model)
        found = await self._drift.report(model)
        return pb.GetDriftResponse(models=[_model(each, routes, features=bool(model)) for each in found])

    async def SetReference(self, request: pb.SetReferenceRequest, context: Context) -> pb.SetReferenceResponse:
        """Compare with this from now on."""
        self._started()
        model = words.model(request.model)
        order = words.order(actor_of(context), request.reason)
        bodies = {side: text for side, text in ((INPUTS, request.inputs), (OUTPUTS, request.outputs)) if text}
        if not bodies:
            raise BadField("inputs", "the request holds no reference")
        if not request.source or len(request.source) > SOURCE:
            raise BadField(
                "source", f"the name of the file has {len(request.source)} characters: 1 to {SOURCE} are meant"
            )
        features = await self._drift.set_reference(model, bodies, request.source, order)
        return pb.SetReferenceResponse(**features)

    def _started(self) -> Mapping[str, Route]:
        routes = self._routes()
        if routes is None:
            raise NotReady("the server has just started and tries its models: ask again")
        return routes


def _model(drift: ModelDrift, routes: Mapping[str, Route], *, features: bool) -> pb.ModelDrift:
    route = routes.get(drift.model)
    message = pb.ModelDrift(
        model=drift.model,
        status=drift.status,
        reason=drift.reason,
        next_step=drift.next_step,
        references=[_reference(each) for each in drift.references],
        features=[_feature(each) for each in drift.features] if features else [],
        observed=drift.observed,
        missed=drift.missed,
        windows=drift.windows,
        notes=drift.notes,
    )
    if route is not None:
        message.yellow, message.red = route.settings.drift.yellow, route.settings.drift.red
    return message


def _reference(info: ReferenceInfo) -> pb.ReferenceInfo:
    return pb.ReferenceInfo(
        side=info.side,
        source=info.source,
        rows=info.rows,
        wanted=info.wanted,
        made_seconds=info.made,
        actor=info.actor,
        version=info.number,
    )


def _feature(feature: FeatureDrift) -> pb.FeatureDrift:
    return pb.FeatureDrift(**asdict(feature))
