"""A call of the admin service, as an action of a scenario."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from loadtest.errors import BenchError, Lacking, ScenarioError, said
from loadtest.sla.scenario import AdminAction
from router.pb import admin_pb2, admin_pb2_grpc

SHOWN: Final = 200
"""Characters of an answer."""


def check(number: int, action: AdminAction) -> None:
    """Raise Lacking when the server has no such method, ScenarioError when the request does not fit it."""
    methods = [method.name for method in admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods]
    if action.call not in methods:
        raise Lacking(
            f"action {number} (admin) calls {action.call!r}, which the server lacks; it has {', '.join(methods)}"
        )
    try:
        _request(action)
    except json_format.ParseError as error:
        why = " ".join(str(error).split())
        raise ScenarioError(f"`action[{number}].request` does not fit {action.call}: {why}") from None


def call(action: AdminAction, target: str, seconds: float) -> str:
    """Do it; the beginning of the answer. Raises BenchError when the server refuses."""
    with grpc.insecure_channel(target) as channel:
        stub: Any = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
        try:
            answer = getattr(stub, action.call)(_request(action), timeout=seconds)
        except grpc.RpcError as error:
            raise BenchError(said(error)) from None
    return json_format.MessageToJson(answer, indent=None)[:SHOWN]


def _request(action: AdminAction) -> Message:
    method = admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods_by_name[action.call]
    message: Message = getattr(admin_pb2, method.input_type.name)()
    return json_format.ParseDict(action.request, message)
