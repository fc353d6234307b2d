"""A call of the admin service, as an action of a scenario."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from loadtest.errors import BenchError, Lacking, ScenarioError, said
from loadtest.sla.actions import AdminAction
from router.pb import admin_pb2, admin_pb2_grpc

SHOWN: Final = 200
"""Characters of an answer."""
LOOK_S: Final = 0.1
LATE_S: Final = 1.0
"""The server is given so long to say itself that the time is up."""
AGAIN_S: Final = 0.1
"""A call that came in the way of another one is made again so soon, as who made it would."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an action: a line for people, the generation that serves since, and what was measured by it."""

    detail: str
    generation: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)


def check(number: int, action: AdminAction) -> None:
    """Raise Lacking when the server has no such method, ScenarioError when the request does not fit it."""
    methods = [
        method.name for method in admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods if not method.server_streaming
    ]
    if action.call not in methods:
        raise Lacking(
            f"action {number} (admin) calls {action.call!r}, which the server lacks; it has {', '.join(methods)}"
        )
    try:
        _request(action)
    except json_format.ParseError as error:
        why = " ".join(str(error).split())
        raise ScenarioError(f"`action[{number}].request` does not fit {action.call}: {why}") from None


def call(action: AdminAction, target: str, abandoned: threading.Event) -> Done:
    """Do it. What is ABORTED is tried again while there is time.

    Raises BenchError when the server refuses, or when the call is `abandoned` before it is answered.
    """
    until = time.monotonic() + action.within
    with grpc.insecure_channel(target) as channel:
        stub: Any = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
        while True:
            left = max(until - time.monotonic(), 0.0)
            asked = getattr(stub, action.call).future(_request(action), timeout=left)
            try:
                return _done(_awaited(asked, until + LATE_S, abandoned))
            except grpc.RpcError as error:
                again = error.code() is grpc.StatusCode.ABORTED and time.monotonic() + AGAIN_S < until
                if not again or abandoned.wait(AGAIN_S):
                    raise BenchError(said(error)) from None


def _awaited(asked: Any, until: float, abandoned: threading.Event) -> Any:
    """The answer. Raises RpcError, and BenchError when nobody waits for it any more."""
    while True:
        try:
            return asked.result(LOOK_S)
        except grpc.FutureTimeoutError:
            if abandoned.is_set() or time.monotonic() > until:
                asked.cancel()
                raise BenchError("the run ended first") from None


def _request(action: AdminAction) -> Message:
    method = admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods_by_name[action.call]
    message: Message = getattr(admin_pb2, method.input_type.name)()
    return json_format.ParseDict(action.request, message)


def _done(answer: Any) -> Done:
    if isinstance(answer, admin_pb2.Report):
        return _reported(answer)
    generation = answer.generation if "generation" in answer.DESCRIPTOR.fields_by_name else 0
    return Done(json_format.MessageToJson(answer, indent=None)[:SHOWN], int(generation))


def _reported(report: admin_pb2.Report) -> Done:
    """A version was tested or warmed: the gates that fail, or what it was shown by; all figures by gate."""
    figures = {
        f"{outcome.gate}.{name}": float(value)
        for outcome in report.outcomes
        for name, value in outcome.figures.items()
        if math.isfinite(value)
    }
    telling = [f"{each.gate}: {each.reason}" for each in report.outcomes if each.verdict == "fail"]
    telling = telling or [each.reason for each in report.outcomes if each.gate == "samples"]
    detail = f"{report.kind} {'passed' if report.passed else 'failed'}" + "".join(f", {each}" for each in telling)
    if "samples.offered_requests" in figures:
        dropped = {
            name.removeprefix("samples.dropped_").removesuffix("_requests"): count
            for name, count in figures.items()
            if name.startswith("samples.dropped_") and count
        }
        executed = figures.get("samples.live_requests", 0.0)
        # The workers tell of what they have offered somewhat later than the version's process does of what it has run.
        offered = max(figures["samples.offered_requests"], executed + sum(dropped.values()), 1.0)
        figures["executed_share"] = executed / offered
        detail += f"; {figures['executed_share']:.1%} of {offered:.0f} copies executed"
        detail += "".join(f", {count:.0f} dropped ({why})" for why, count in dropped.items())
    return Done(detail, figures=figures)
