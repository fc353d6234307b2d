"""The admin service and its client over a real connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from router.core.table import Route, Version, VersionState, VersionTable
from router.edge.admin import Admin, serve_admin
from router.edge.admin_client import AdminClient, AdminError
from router.errors import NotReady, SettingsError, Status
from router.pb import admin_pb2 as pb
from router.pb.story_pb2 import ExplainRequest, Stories, Story
from tests.server import free_port


class FakeLifecycle:
    """A table."""

    table = VersionTable(
        7, {name: Route(name, "1", {"1": Version(name, "1", "d", "/p", VersionState.READY)}) for name in ("b", "a")}
    )


async def explain(wanted: ExplainRequest) -> Stories:
    """One story of request `a` to model `m`."""
    fits = wanted.id in ("", "a") and wanted.model in ("", "m")
    return Stories(stories=[Story(id="a", model="m")] if fits else [], kept=9)


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Where an admin service answers."""
    address = f"127.0.0.1:{free_port()}"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    admin = Admin(FakeLifecycle(), lambda: pb.Status(version="9", ready=True), explain)  # type: ignore[arg-type]
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


def test_nobody_there() -> None:
    """The line names the mend."""
    with AdminClient(f"127.0.0.1:{free_port()}") as client, pytest.raises(NotReady, match="router serve"):
        client.status()


def test_an_address_that_is_not_ours() -> None:
    """A settings error, so that the server says it in one line."""
    with pytest.raises(SettingsError, match="cannot be opened"):
        asyncio.run(serve_admin("192.0.2.1:9", Admin(FakeLifecycle(), pb.Status, explain)))  # type: ignore[arg-type]
