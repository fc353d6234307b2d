"""The admin service and its client over a real connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from router.core.faults import Fault
from router.edge import listener
from router.edge.admin import Admin, serve_admin
from router.edge.admin_client import AdminClient, AdminError
from router.errors import NotReady, SettingsError, Status
from router.pb import admin_pb2 as pb
from tests.fake_admin import FakeLifecycle, FakeQuarantine, explain, served
from tests.fake_inference import FakeServer
from tests.fake_inference import serving as serving_inference
from tests.server import free_port


class FakeBoard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.faults: dict[str, tuple[Fault, ...]] = {"a": (), "b": ()}

    def now(self) -> dict[str, tuple[Fault, ...]]:
        """All."""
        return self.faults

    async def set(self, model: str, faults: tuple[Fault, ...]) -> int:
        """In two workers."""
        self.faults[model] = faults
        return 2


LIFECYCLE = FakeLifecycle()


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Of a server that allows no faults."""
    with served(lifecycle=LIFECYCLE) as service:
        yield service.address


def test_status_and_models(target: str) -> None:
    """All models in the table's order, or one by name; an unknown one is NOT_FOUND."""
    with AdminClient(target) as client:
        assert client.status().version == "9"
        assert [route.model for route in client.models().routes] == ["b", "a"]
        one = client.models("a")
        assert (one.generation, [route.model for route in one.routes]) == (7, ["a"])
        with pytest.raises(AdminError, match="unknown model 'nothing'") as raised:
            client.models("nothing")
    assert raised.value.status is Status.NOT_FOUND


def test_models_of_a_server_that_starts() -> None:
    """It is still loading: an older table is not told, and no model is unknown."""
    with served(lifecycle=FakeLifecycle(started=False)) as service, AdminClient(service.address) as client:
        for name in ("", "a", "nothing"):
            assert client.models(name) == pb.ListModelsResponse(loading=True)


def test_faults_are_refused_where_they_are_not_allowed(target: str) -> None:
    """FAILED_PRECONDITION, in one line that names the mend."""
    with AdminClient(target) as client:
        for ask in (client.faults, lambda: client.set_faults("a", ())):
            with pytest.raises(AdminError, match="start the server with --allow-faults") as raised:
                ask()
            assert raised.value.status is Status.FAILED_PRECONDITION


def test_faults_are_set_listed_and_taken_back() -> None:
    """Those of one model or of all that have some; a wrong one is INVALID_ARGUMENT and changes nothing."""
    with served(FakeBoard()) as service, AdminClient(service.address) as client:
        assert client.faults() == {}
        stall = Fault(kind="stall", ms=100, share=0.01)
        assert client.set_faults("a", [stall]) == 2
        assert client.faults() == client.faults("a") == {"a": (stall,)}
        assert client.faults("b") == {}
        wrong = {
            "`faults.0.kind` = 'sleepy'": Fault.model_construct(kind="sleepy"),  # type: ignore[arg-type]
            "needs `factor`": Fault.model_construct(kind="slow"),
            "by sessions.replicas the last is 0": Fault(kind="nan", replica=3),
        }
        for line, fault in wrong.items():
            with pytest.raises(AdminError, match=line) as raised:
                client.set_faults("a", [fault])
            assert raised.value.status is Status.INVALID_ARGUMENT
            assert "\n" not in str(raised.value)
        for unknown in (lambda: client.faults("c"), lambda: client.set_faults("c", ())):
            with pytest.raises(AdminError, match="unknown model 'c'"):
                unknown()
        assert client.faults("a") == {"a": (stall,)}
        client.set_faults("a", ())
        assert client.faults() == {}


def test_a_model_is_switched_to_its_fallback_and_back(target: str) -> None:
    """The generation that serves then is told; a refusal keeps its status and its words."""
    with AdminClient(target) as client:
        assert client.set_fallback("a", True).generation == 7
        client.set_fallback("a", False)
        assert LIFECYCLE.switched == [("a", True), ("a", False)]
        with pytest.raises(AdminError, match="model 'b' has no fallback") as raised:
            client.set_fallback("b", True)
    assert raised.value.status is Status.FAILED_PRECONDITION


def test_stories(target: str) -> None:
    """By id, or the newest; NOT_FOUND says what is kept."""
    with AdminClient(target) as client:
        assert [story.model for story in client.explain("a").stories] == ["m"]
        assert [story.id for story in client.last_stories(3, "m").stories] == ["a"]
        with pytest.raises(
            AdminError, match="no story of request 'b' is kept: each worker keeps its newest 9"
        ) as raised:
            client.explain("b")
        with pytest.raises(AdminError, match=r"no story of a request to model 'x' is kept: .*there is none yet"):
            client.last_stories(3, "x")
    assert raised.value.status is Status.NOT_FOUND


def test_the_quarantine(target: str) -> None:
    """With the model where it is still there; cleared it is empty."""
    with AdminClient(target) as client:
        first, second = client.quarantine().suspects
        assert (first.model, first.version, first.crashes, first.refused, first.last_seconds) == ("a", "1", 2, True, 9)
        assert first.fingerprint.endswith("00000005")
        assert (second.model, second.refused) == ("", False)
        assert client.clear_quarantine() == 2
        assert not client.quarantine().suspects


def test_nobody_there() -> None:
    """The line names the mend."""
    with AdminClient(f"127.0.0.1:{free_port()}") as client:
        for ask in (client.status, lambda: client.set_fallback("a", True)):
            with pytest.raises(NotReady, match="router serve"):
                ask()


def test_a_controller_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes its connections: it is there, and is not told as a server that does not run."""
    monkeypatch.setattr(listener, "PATIENCE_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with AdminClient(target, seconds=0.05) as client, pytest.raises(NotReady) as still:
            client.status()
    assert str(still.value).startswith(f"the controller at {target} does not answer, inference goes on without it")


def test_another_port() -> None:
    """That of inference speaks gRPC too: the mend is the right port, not another server."""
    why = "is no admin port: name the server's admin port with --admin HOST:PORT"
    with serving_inference(FakeServer()) as target, AdminClient(target) as client, pytest.raises(AdminError, match=why):
        client.status()


@pytest.mark.parametrize("target", ["", "foo", "127.0.0.1:99999"])
def test_what_is_no_address_is_refused_at_once(target: str) -> None:
    """Nothing is tried."""
    with pytest.raises(SettingsError, match="expected HOST:PORT"):
        AdminClient(target)


def test_an_address_that_is_not_ours() -> None:
    """A settings error, so that the server says it in one line."""
    with pytest.raises(SettingsError, match="cannot be opened"):
        asyncio.run(
            serve_admin("192.0.2.1:9", Admin(FakeLifecycle(), pb.Status, explain, FakeQuarantine()))  # type: ignore[arg-type]
        )
