"""The door of the admin port, on a real server: tokens, certificates, and what is said to who is not let in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from router.core.access import NOBODY, Actor, Caller, Register, Role, digest
from router.edge import access as access_module
from router.edge.access import MOST_WAITING, PENALTY_S, Access, Doorkeeper, actor_of
from router.edge.admin import serve_admin
from router.edge.transport import Credentials
from router.errors import Unauthenticated
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from tests.edge.test_transports import Certificates
from tests.server import free_port

Code = grpc.StatusCode
WAIT_S = 10.0
TOKENS = {digest(f"rt_{role.word}"): Actor(f"{role.word}'s", role) for role in Role}


class Servicer(admin_pb2_grpc.AdminServicer):
    """Says who has asked."""

    def close(self) -> None:
        """Nothing waits."""

    async def GetStatus(self, request: Any, context: Any) -> pb.Status:  # noqa: ARG002, N802
        """Who."""
        return pb.Status(version=actor_of(context).name)

    async def Promote(self, request: Any, context: Any) -> pb.Changed:  # noqa: ARG002, N802
        """Who."""
        return pb.Changed(model=actor_of(context).name)

    async def SetFaults(self, request: Any, context: Any) -> pb.SetFaultsResponse:  # noqa: ARG002, N802
        """Nothing."""
        return pb.SetFaultsResponse()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[pb.Event]:  # noqa: ARG002, N802
        """Who, twice."""
        for _ in range(2):
            await asyncio.sleep(0)
            yield pb.Event(text=actor_of(context).name)


class Door:
    """A server with this register; `waits` are the times for which callers were held up."""

    def __init__(self, register: Register, credentials: Credentials | None = None) -> None:
        self.address = f"localhost:{free_port()}"
        self.waits: list[float] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        access = Access(Doorkeeper(register, sleep=self._sleep))
        servicer: Any = Servicer()
        self._server = self._run(serve_admin(self.address, servicer, access, credentials))

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def stop(self) -> None:
        """Close it."""
        self._run(self._server.stop(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()


@contextmanager
def door(register: Register, credentials: Credentials | None = None) -> Iterator[Door]:
    """An open door."""
    made = Door(register, credentials)
    yield made
    made.stop()


class Knock:
    """Calls of somebody who shows a token, a certificate, or nothing."""

    def __init__(self, at: Door, token: str = "", tls: grpc.ChannelCredentials | None = None) -> None:
        self._channel = grpc.secure_channel(at.address, tls) if tls else grpc.insecure_channel(at.address)
        self._stub: Any = admin_pb2_grpc.AdminStub(self._channel)  # type: ignore[no-untyped-call]
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    def __enter__(self) -> Knock:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def ask(self, method: str, request: Any) -> Any:
        """The answer; of a stream all of them."""
        answer = getattr(self._stub, method)(request, metadata=self._metadata, timeout=WAIT_S)
        return list(answer) if method == "Watch" else answer

    def refused(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        """The error."""
        with pytest.raises(grpc.RpcError) as error:
            self.ask(method, request)
        return error.value.code(), error.value.details()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Door]:
    """A token for each role."""
    with door(Register(TOKENS)) as made:
        yield made


def test_who_shows_a_token_acts_under_its_name(guarded: Door) -> None:
    """In calls and in streams, and the next caller under its own."""
    with Knock(guarded, "rt_operator") as operator, Knock(guarded, "rt_viewer") as viewer:
        for _ in range(2):
            assert operator.ask("Promote", pb.PromoteRequest()).model == "operator's"
            assert viewer.ask("GetStatus", pb.GetStatusRequest()).version == "viewer's"
            assert [each.text for each in viewer.ask("Watch", pb.WatchRequest())] == ["viewer's"] * 2


@pytest.mark.parametrize(
    ("method", "request_", "least"),
    [
        ("GetStatus", pb.GetStatusRequest(), Role.VIEWER),
        ("Watch", pb.WatchRequest(), Role.VIEWER),
        ("Promote", pb.PromoteRequest(), Role.OPERATOR),
        ("Promote", pb.PromoteRequest(override=True), Role.APPROVER),
        ("SetFaults", pb.SetFaultsRequest(), Role.ADMIN),
    ],
)
def test_a_role_is_let_through_or_told_which_it_needs(guarded: Door, method: str, request_: Any, least: Role) -> None:
    """PERMISSION_DENIED, at once."""
    before = len(guarded.waits)
    for role in Role:
        with Knock(guarded, f"rt_{role.word}") as somebody:
            if role >= least:
                somebody.ask(method, request_)
            else:
                code, line = somebody.refused(method, request_)
                assert code is Code.PERMISSION_DENIED
                assert line.startswith(method)
                assert f"needs the role {least.word}, and '{role.word}'s' is {role.word}" in line
    assert len(guarded.waits) == before


@pytest.mark.parametrize("method", ["GetStatus", "Watch", "Promote"])
def test_who_is_not_known_waits_and_is_not_let_in(guarded: Door, method: str) -> None:
    """UNAUTHENTICATED; the log says so, never with the token."""
    request = {"GetStatus": pb.GetStatusRequest(), "Watch": pb.WatchRequest(), "Promote": pb.PromoteRequest()}[method]
    guarded.waits.clear()
    for token in ("", "rt_wrong", "rt_viewe", "rt_viewerr"):
        with Knock(guarded, token) as stranger, capture_logs() as lines:
            code, line = stranger.refused(method, request)
        assert code is Code.UNAUTHENTICATED
        assert f"{method} needs the role {'operator' if method == 'Promote' else 'viewer'}" in line
        assert ("is not known" in line) is bool(token)
        assert "rt_" not in f"{lines}{line}"
        assert "\n" not in line
    assert guarded.waits == [PENALTY_S] * 4


def test_a_method_that_is_not_there(guarded: Door) -> None:
    """As on any server."""
    with grpc.insecure_channel(guarded.address) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/router.admin.v1.Admin/Nothing")(b"", timeout=WAIT_S)
    assert error.value.code() is Code.UNIMPLEMENTED


def test_an_open_port_is_asked_by_local() -> None:
    """Who may do everything, whatever they show."""
    with door(Register()) as made:
        for token in ("", "rt_any"):
            with Knock(made, token) as anybody:
                assert anybody.ask("Promote", pb.PromoteRequest(override=True)).model == "local"
                anybody.ask("SetFaults", pb.SetFaultsRequest())
        assert not made.waits


def test_a_method_that_nobody_has_thought_of_is_not_served() -> None:
    """Those of the admin service take one message each."""

    async def none(*_: Any) -> Any:
        return grpc.stream_unary_rpc_method_handler(lambda _: None)

    details: Any = type("Details", (), {"method": "/a/Pour"})
    with pytest.raises(TypeError, match="Pour reads a stream"):
        asyncio.run(Access(Doorkeeper(Register())).intercept_service(none, details))


# ---- certificates ----


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


def showing(certificates: Certificates, who: str = "") -> grpc.ChannelCredentials:
    """Somebody who trusts the server, with a certificate or without."""
    pair = (getattr(certificates, f"{who}_key"), getattr(certificates, who)) if who else (None, None)
    return grpc.ssl_channel_credentials(certificates.authority, *pair)


def test_tokens_over_tls(certificates: Certificates) -> None:
    """TLS alone gives no role."""
    with door(Register(TOKENS), Credentials(certificates.server_key, certificates.server)) as made:
        with Knock(made, "rt_viewer", showing(certificates)) as viewer:
            assert viewer.ask("GetStatus", pb.GetStatusRequest()).version == "viewer's"
        with Knock(made, "", showing(certificates)) as stranger:
            assert stranger.refused("GetStatus", pb.GetStatusRequest())[0] is Code.UNAUTHENTICATED
        with Knock(made, "rt_viewer") as plain:
            assert plain.refused("GetStatus", pb.GetStatusRequest())[0] is Code.UNAVAILABLE


def test_the_name_in_a_certificate_acts(certificates: Certificates) -> None:
    """With its role; one without a role is refused, with which it needs; a token goes before it."""
    mutual = Credentials(certificates.server_key, certificates.server, certificates.authority)
    known = {"caller": Actor("caller", Role.OPERATOR)}
    with door(Register(TOKENS, known), mutual) as made:
        with Knock(made, "", showing(certificates, "caller")) as caller:
            assert caller.ask("Promote", pb.PromoteRequest()).model == "caller"
            code, line = caller.refused("Promote", pb.PromoteRequest(override=True))
            assert code is Code.PERMISSION_DENIED
            assert line == "Promote against the gates needs the role approver, and 'caller' is operator"
        with Knock(made, "rt_admin", showing(certificates, "caller")) as caller:
            assert caller.ask("Promote", pb.PromoteRequest(override=True)).model == "admin's"
        with Knock(made, "rt_wrong", showing(certificates, "caller")) as caller:
            assert caller.refused("GetStatus", pb.GetStatusRequest())[0] is Code.UNAUTHENTICATED
        with Knock(made, "", showing(certificates, "server")) as other:
            assert other.refused("GetStatus", pb.GetStatusRequest()) == (
                Code.PERMISSION_DENIED,
                "no role is given to the certificate of 'localhost'; GetStatus needs the role viewer",
            )
        for who in ("", "stranger"):  # no certificate, or one of another authority
            with Knock(made, "rt_admin", showing(certificates, who)) as stranger:
                assert stranger.refused("GetStatus", pb.GetStatusRequest())[0] is Code.UNAVAILABLE


def test_a_name_beside_the_first_acts_too(certificates: Certificates) -> None:
    """A certificate may hold several."""
    mutual = Credentials(certificates.server_key, certificates.server, certificates.authority)
    register = Register({}, {"127.0.0.1": Actor("127.0.0.1", Role.VIEWER)})
    with door(register, mutual) as made, Knock(made, "", showing(certificates, "caller")) as caller:
        assert caller.ask("GetStatus", pb.GetStatusRequest()).version == "127.0.0.1"


# ---- the doorkeeper alone ----


def test_callers_that_are_held_up_are_bounded() -> None:
    """Beyond that they are refused at once; whoever is known never waits."""

    async def story() -> tuple[int, int]:
        held = asyncio.Event()
        waiting = 0

        async def sleep(_: float) -> None:
            nonlocal waiting
            waiting += 1
            await held.wait()

        doorkeeper = Doorkeeper(Register(TOKENS), sleep=sleep)

        async def knock() -> None:
            with pytest.raises(Unauthenticated):
                await doorkeeper.admit(NOBODY, "GetStatus")

        knocks = [asyncio.create_task(knock()) for _ in range(MOST_WAITING + 20)]
        for _ in range(3):
            await asyncio.sleep(0)
        done = sum(each.done() for each in knocks)
        assert (await doorkeeper.admit(Caller(digest("rt_viewer")), "GetStatus")).name == "viewer's"
        held.set()
        await asyncio.gather(*knocks)
        before = waiting
        await knock()
        assert waiting == before + 1, "the places are free again"
        return done, before

    assert asyncio.run(story()) == (20, MOST_WAITING)


def test_the_log_counts_what_it_does_not_tell() -> None:
    """A line a second, whoever tries how often."""
    now = 100.0

    async def story() -> list[Any]:
        nonlocal now

        async def sleep(_: float) -> None:
            """Not at all."""

        doorkeeper = Doorkeeper(Register(TOKENS), lambda: now, sleep)
        with capture_logs() as lines:
            for wait in (0.0, 0.1, 0.2, 0.9, 5.0):
                now += wait
                with pytest.raises(Unauthenticated):
                    await doorkeeper.admit(NOBODY, "Promote", peer="ipv4:192.0.2.1:5")
        return lines

    lines = asyncio.run(story())
    assert [line["times"] for line in lines] == [1, 3, 1]
    assert {(line["event"], line["method"], line["peer"]) for line in lines} == {
        ("somebody was refused", "Promote", "ipv4:192.0.2.1:5")
    }


def test_the_name_outside_of_a_call_is_local() -> None:
    """For those who ask a servicer without a server."""
    context: Any = None
    assert actor_of(context).name == "local"
    assert access_module.LOCAL.name == "local"
