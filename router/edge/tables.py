"""The table of routes as it travels and as it is stored."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import json_format

from router.core.split import Interval, Match, Split
from router.core.table import Batching, Route, Version, VersionState, VersionTable
from router.core.tensor import Signature, TensorSpec
from router.errors import RouterError
from router.model_settings import ModelSettings
from router.pb import table_pb2 as pb


def to_message(table: VersionTable) -> pb.Table:
    """The table as a message."""
    return pb.Table(generation=table.generation, routes=[route_to_message(route) for route in table.routes.values()])


def route_to_message(route: Route) -> pb.Route:
    """One route as a message."""
    return pb.Route(
        model=route.model,
        champion=route.champion or "",
        versions=[_version_to_message(version) for version in route.versions.values()],
        settings=route.settings.model_dump_json(exclude_unset=True),
        switched=route.switched,
        standby=route.standby or "",
        aliases=route.aliases,
        split=pb.Split(
            intervals=[pb.Interval(**each._asdict()) for each in route.split.intervals],
            matches=[pb.Match(key=each.key, value=each.value, number=each.number) for each in route.split.matches],
        )
        if route.split
        else None,
        shadows=sorted(route.shadows),
    )


def _version_to_message(version: Version) -> pb.Version:
    return pb.Version(
        number=version.number,
        digest=version.digest,
        path=version.path,
        state=version.state.value,
        reason=version.reason,
        signature=pb.Signature(
            inputs=[_tensor_to_message(spec) for spec in version.signature.inputs],
            outputs=[_tensor_to_message(spec) for spec in version.signature.outputs],
        ),
        batching=pb.Batching(
            max_size=version.batching.max_size,
            max_wait_us=version.batching.max_wait_us,
            decided_by=version.batching.decided_by,
        ),
        intra_op_threads=version.intra_op_threads,
        file_bytes=version.file_bytes,
        declared=version.declared,
        left_out=version.left_out,
    )


def _tensor_to_message(spec: TensorSpec) -> pb.Tensor:
    symbols = spec.symbols or (None,) * len(spec.shape)
    return pb.Tensor(
        name=spec.name,
        datatype=spec.datatype,
        shape=[pb.Dimension(size=size, symbol=symbol or "") for size, symbol in zip(spec.shape, symbols, strict=True)],
        optional=spec.optional,
    )


def from_message(message: pb.Table) -> VersionTable:
    """The table in a message."""
    return VersionTable(message.generation, {route.model: route for route in routes_from_messages(message.routes)})


def routes_from_messages(messages: Iterable[pb.Route]) -> list[Route]:
    """The routes in messages."""
    return [
        Route(
            message.model,
            message.champion or None,
            {each.number: _version_from_message(message.model, each) for each in message.versions},
            ModelSettings.model_validate_json(message.settings or "{}"),
            message.switched,
            message.standby or None,
            dict(message.aliases),
            Split(
                tuple(Interval(each.low, each.high, each.number) for each in message.split.intervals),
                tuple(Match(each.key, each.value, each.number) for each in message.split.matches),
            ),
            frozenset(message.shadows),
        )
        for message in messages
    ]


def _version_from_message(model: str, message: pb.Version) -> Version:
    return Version(
        model,
        message.number,
        message.digest,
        message.path,
        VersionState(message.state),
        message.reason,
        Signature(
            tuple(_tensor_from_message(tensor) for tensor in message.signature.inputs),
            tuple(_tensor_from_message(tensor) for tensor in message.signature.outputs),
        ),
        Batching(message.batching.max_size, message.batching.max_wait_us, message.batching.decided_by),
        message.intra_op_threads,
        message.file_bytes,
        message.declared,
        message.left_out,
    )


def _tensor_from_message(message: pb.Tensor) -> TensorSpec:
    return TensorSpec(
        message.name,
        message.datatype,
        tuple(dimension.size for dimension in message.shape),
        tuple(dimension.symbol or None for dimension in message.shape),
        message.optional,
    )


def to_text(table: VersionTable) -> str:
    """The table as JSON."""
    return json_format.MessageToJson(to_message(table), preserving_proto_field_name=True)


def from_text(text: str) -> VersionTable:
    """The table in JSON. Raises RouterError when it is none."""
    try:
        if not text.lstrip().startswith("{"):  # an empty list would do for the parser
            raise ValueError("no object")
        return from_message(json_format.Parse(text, pb.Table()))
    except (json_format.ParseError, ValueError) as error:
        raise RouterError("the stored table of routes cannot be read") from error
