"""The admin service and its client over a real connection."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from router.core.table import Route, Version, VersionState, VersionTable
from router.edge import listener
from router.edge.admin import Admin, serve_admin
from router.edge.admin_client import AdminClient, AdminError
from router.errors import NotReady, SettingsError, Status
from router.pb import admin_pb2 as pb
from tests.fake_inference import FakeServer, serving
from tests.server import free_port


class FakeLifecycle:
    """A table."""

    table = VersionTable(
        7, {name: Route(name, "1", {"1": Version(name, "1", "d", "/p", VersionState.READY)}) for name in ("b", "a")}
    )


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Where an admin service answers."""
    address = f"127.0.0.1:{free_port()}"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    admin = Admin(FakeLifecycle(), lambda: pb.Status(version="9", ready=True))  # type: ignore[arg-type]
    server = asyncio.run_coroutine_threadsafe(serve_admin(address, admin), loop).result(10)
    yield address
    asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


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


def test_nobody_there() -> None:
    """The line names the mend."""
    with AdminClient(f"127.0.0.1:{free_port()}") as client, pytest.raises(NotReady, match="router serve"):
        client.status()


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
    with serving(FakeServer()) as target, AdminClient(target) as client, pytest.raises(AdminError, match=why):
        client.status()


@pytest.mark.parametrize("target", ["", "foo", "127.0.0.1:99999"])
def test_what_is_no_address_is_refused_at_once(target: str) -> None:
    """Nothing is tried."""
    with pytest.raises(SettingsError, match="expected HOST:PORT"):
        AdminClient(target)


def test_an_address_that_is_not_ours() -> None:
    """A settings error, so that the server says it in one line."""
    with pytest.raises(SettingsError, match="cannot be opened"):
        asyncio.run(serve_admin("192.0.2.1:9", Admin(FakeLifecycle(), pb.Status)))  # type: ignore[arg-type]
