"""Errors of the admin port as google.rpc's details: for programs what the message is for people.

The messages of `google.rpc` stand in protobuf's default pool, where other libraries of Google's expect them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as rpc
from google.rpc.status_pb2 import Status as Details
from grpc_status import rpc_status

from router import errors
from router.errors import InvalidRequest, RouterError

DOMAIN: Final = "router"
"""Of the reasons in `ErrorInfo`."""
COME_BACK_S: Final = 1.0
"""What who is told UNAVAILABLE may wait."""

_MESSAGE_BYTES, _DESCRIPTION_BYTES, _NAME_BYTES = 1200, 300, 100
"""Callers refuse more than 8 KB of trailers: the message is in them twice, once percent-encoded, which triples it."""


class BadField(InvalidRequest):
    """A field of a request is wrong; `field` names it as the protocol does, with dots and brackets."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Subject:
    """What a call was about; empty where it was not about one model or version."""

    model: str = ""
    version: str = ""

    @property
    def kind(self) -> str:
        """A word for it."""
        return "version" if self.version else "model"

    @property
    def name(self) -> str:
        """Model, or model and version, as the command line takes them."""
        return _cut(f"{self.model}:{self.version}" if self.version else self.model, 2 * _NAME_BYTES)


def reason(error: RouterError) -> str:
    """The name of the error's class in the tree of `router.errors`, in UPPER_SNAKE."""
    ours = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", ours.__name__).upper()


def details(error: RouterError, subject: Subject) -> Details:
    """Status, message in one line, and what a program may want to know."""
    message = _cut(_one_line(str(error)), _MESSAGE_BYTES)
    made = Details(code=int(error.status), message=message)
    about = {"model": subject.model, "version": subject.version}
    metadata = {name: _cut(value, _NAME_BYTES) for name, value in about.items() if value}
    for each in (rpc.ErrorInfo(reason=reason(error), domain=DOMAIN, metadata=metadata), *_more(error, subject)):
        made.details.add().Pack(each)
    return made


def _more(error: RouterError, subject: Subject) -> list[Message]:
    text = _cut(_one_line(str(error)), _DESCRIPTION_BYTES)
    made: list[Message] = []
    match error:
        case errors.InvalidRequest() | errors.SettingsError():
            violation = rpc.BadRequest.FieldViolation(field=getattr(error, "field", ""), description=text)
            made.append(rpc.BadRequest(field_violations=[violation]))
        case errors.Refused() | errors.ModelBroken():
            failed = rpc.PreconditionFailure.Violation(type=reason(error), subject=subject.name, description=text)
            made.append(rpc.PreconditionFailure(violations=[failed]))
        case errors.NotFound() | errors.Conflict():
            made.append(rpc.ResourceInfo(resource_type=subject.kind, resource_name=subject.name, description=text))
        case errors.NoRoom():
            lacking = rpc.QuotaFailure.Violation(subject=subject.name, description=text)
            made.append(rpc.QuotaFailure(violations=[lacking]))
        case _:
            pass
    later = COME_BACK_S if isinstance(error, errors.NotReady) else None
    if error.retry_after_ms is not None:
        later = error.retry_after_ms / 1e3
    if later is not None:
        delay = Duration()
        delay.FromMilliseconds(int(later * 1e3))
        made.append(rpc.RetryInfo(retry_delay=delay))
    return made


@dataclass(frozen=True, slots=True)
class Told:
    """What a server said of an error: the `reason` of its class, the `field` that was wrong, when to come back."""

    reason: str
    field: str = ""
    retry_after_ms: int | None = None


def told(error: grpc.RpcError) -> Told | None:
    """The details that came with an error; None where none of this server did: gRPC's own errors have none."""
    try:
        came = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        return None
    if came is None:
        return None
    info, bad, retry = rpc.ErrorInfo(), rpc.BadRequest(), rpc.RetryInfo()
    for each in came.details:
        for kind in (info, bad, retry):
            if each.Is(kind.DESCRIPTOR):
                each.Unpack(kind)
    if info.domain != DOMAIN:
        return None
    field = bad.field_violations[0].field if bad.field_violations else ""
    return Told(info.reason, field, retry.retry_delay.ToMilliseconds() if retry.HasField("retry_delay") else None)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _cut(text: str, most: int) -> str:
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "…"
