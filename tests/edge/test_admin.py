"""The admin service and its client over a real connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from router.core.fingerprint import of_version
from router.core.table import Route, Version, VersionState, VersionTable
from router.edge.admin import Admin, serve_admin
from router.edge.admin_client import AdminClient, AdminError
from router.errors import NotReady, SettingsError, Status
from router.pb import admin_pb2 as pb
from router.serving.quarantine import Suspect
from tests.server import free_port


class FakeLifecycle:
    """A table."""

    table = VersionTable(
        7, {name: Route(name, "1", {"1": Version(name, "1", "d", "/p", VersionState.READY)}) for name in ("b", "a")}
    )


class FakeQuarantine:
    """Two suspects, forgotten as soon as it is asked for."""

    forgotten = True

    def __init__(self) -> None:
        known = of_version(FakeLifecycle.table.routes["a"].versions["1"]) | 5
        self._suspects = [Suspect(known, 2, 9), Suspect(7, 1, 8)]

    def suspects(self) -> list[Suspect]:
        """All of them."""
        return self._suspects

    def ask_to_forget(self) -> None:
        """Forget them."""
        self._suspects = []


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Where an admin service answers."""
    address = f"127.0.0.1:{free_port()}"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    admin = Admin(FakeLifecycle(), lambda: pb.Status(version="9", ready=True), FakeQuarantine())  # type: ignore[arg-type]
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
    with AdminClient(f"127.0.0.1:{free_port()}") as client, pytest.raises(NotReady, match="router serve"):
        client.status()


def test_an_address_that_is_not_ours() -> None:
    """A settings error, so that the server says it in one line."""
    with pytest.raises(SettingsError, match="cannot be opened"):
        asyncio.run(serve_admin("192.0.2.1:9", Admin(FakeLifecycle(), pb.Status, FakeQuarantine())))  # type: ignore[arg-type]
