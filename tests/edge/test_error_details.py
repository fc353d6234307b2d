"""What programs learn from an error of the admin port."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as rpc
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st

from router import errors
from router.edge.error_details import BadField, Subject, details, reason
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from tests.fake_admin import served

KINDS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.RouterError)
}


def unpacked(status: Any) -> dict[str, Any]:
    """The details by name of their message."""
    found = {}
    for each in status.details:
        message = getattr(rpc, each.type_url.rpartition(".")[2])()
        assert each.Unpack(message)
        found[type(message).__name__] = message
    return found


def test_over_the_wire() -> None:
    """Status, message and details agree; the trailer is gRPC's own for google.rpc."""
    with served() as service, grpc.insecure_channel(service.address) as channel:
        stub: Any = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
        for ask, code, reason_, kind in (
            (lambda: stub.Promote(pb.PromoteRequest(model="c", version="1")), "NOT_FOUND", "NOT_FOUND", "ResourceInfo"),
            (
                lambda: stub.Promote(pb.PromoteRequest(model="a", version="x")),
                "INVALID_ARGUMENT",
                "INVALID_REQUEST",
                "BadRequest",
            ),
            (
                lambda: stub.Promote(pb.PromoteRequest(model="a", version="3")),
                "FAILED_PRECONDITION",
                "REFUSED",
                "PreconditionFailure",
            ),
            (
                lambda: stub.Promote(pb.PromoteRequest(model="a", version="2", expected_champion="2")),
                "ABORTED",
                "CONFLICT",
                "ResourceInfo",
            ),
            (
                lambda: stub.LoadModel(pb.LoadModelRequest(model="a", version="3")),
                "RESOURCE_EXHAUSTED",
                "NO_ROOM",
                "QuotaFailure",
            ),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                ask()
            assert raised.value.code().name == code  # type: ignore[attr-defined]
            status = rpc_status.from_call(raised.value)
            found = unpacked(status)
            assert (found["ErrorInfo"].reason, found["ErrorInfo"].domain) == (reason_, "router")
            assert kind in found
            assert status.message == raised.value.details()  # type: ignore[attr-defined]


def test_which_field_was_wrong() -> None:
    """Named as the protocol names it."""
    made = unpacked(details(BadField("version", "no"), Subject("a", "x")))
    assert made["BadRequest"].field_violations[0].field == "version"
    assert made["ErrorInfo"].reason == "INVALID_REQUEST"
    assert dict(made["ErrorInfo"].metadata) == {"model": "a", "version": "x"}


def test_when_to_come_back() -> None:
    """What is said by the error, or a second where the server is not ready."""
    busy = unpacked(details(errors.Overloaded("busy", 250), Subject()))
    assert busy["RetryInfo"].retry_delay.ToMilliseconds() == 250
    assert unpacked(details(errors.NotReady("starts"), Subject()))["RetryInfo"].retry_delay.seconds == 1
    assert "RetryInfo" not in unpacked(details(errors.Refused("no"), Subject("a", "2")))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_error_has_details(name: str) -> None:
    """The reason is the class's name; the code is its status."""
    kind = KINDS[name]
    error = {"Overloaded": lambda: errors.Overloaded("x", 1), "InternalError": errors.InternalError}.get(
        name, lambda: kind("x")
    )()
    made = details(error, Subject("a"))
    assert made.code == int(error.status)
    assert reason(error).replace("_", "") == name.upper()
    assert unpacked(made)["ErrorInfo"].reason == reason(error)


@given(st.text(max_size=5000), st.text(max_size=500), st.text(max_size=500))
def test_callers_take_all_trailers(words: str, model: str, version: str) -> None:
    """They refuse more than 8 KB; the message goes out percent-encoded beside the details, in one line."""
    error = errors.NotFound(words)
    made = details(error, Subject(model, version))
    encoded = sum(1 if 32 <= byte < 127 else 3 for byte in made.message.encode())
    assert encoded + len(made.SerializeToString()) * 4 / 3 < 8000
    assert made.message.isprintable()
