"""How commands reach the admin port: address, token and TLS from options or the environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.app.admin_reach import ADMIN
from router.app.cli import main
from router.config import ServerSettings
from router.core.access import Actor, Register, Role, digest
from router.edge.access import Access, Doorkeeper
from router.edge.transport import Credentials
from tests.fake_admin import Served, served
from tests.server import certificates, free_port


async def at_once(_: float) -> None:
    """Nobody is made to wait."""


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    """A service that two know."""
    tokens = {digest("ada-s"): Actor("ada", Role.OPERATOR), digest("eve-s"): Actor("eve", Role.VIEWER)}
    with served(access=Access(Doorkeeper(Register(tokens), sleep=at_once))) as made:
        yield made


def test_the_default_is_the_servers() -> None:
    """It is written down twice, so that help needs no settings."""
    assert ServerSettings.model_fields["admin"].default == ADMIN


def test_a_token_says_who_acts(service: Served) -> None:
    """As an option or from the environment; the audit log gets the name."""
    assert service.router("promote", "a", "2", "--token", "ada-s").exit_code == 0
    assert service.router("freeze", "a", ROUTER_TOKEN="ada-s").exit_code == 0
    assert service.router("thaw", "a", ROUTER_TOKEN="ada-s").exit_code == 0
    assert {order.actor for _, order in service.lifecycle.orders} == {"ada"}


def test_without_the_right_token(service: Served) -> None:
    """Exit code 1, with what is needed and how to give it."""
    nobody = service.router("versions")
    assert nobody.exit_code == 1
    assert "give a token with --token or in ROUTER_TOKEN" in nobody.output.splitlines()[-1]
    viewer = service.router("promote", "a", "1", "--token", "eve-s")
    assert viewer.exit_code == 1
    assert "operator" in viewer.output
    assert service.router("versions", "--token", "eve-s").exit_code == 0
    assert service.router("versions", "--token", "two words").exit_code == 2


def test_who_may_not_watch_may_act() -> None:
    """The story is left out where the stream is refused; with it none is waited for."""
    with served() as made:
        made.lifecycle.events.close()
        assert made.router("promote", "a", "2").exit_code == 0


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path, Path]]:
    """A service with mutual TLS, its key and its certificate, which is its own authority and everybody's."""
    key, certificate = certificates(tmp_path_factory.mktemp("tls"))
    pem = certificate.read_bytes()
    with served(credentials=Credentials(key.read_bytes(), pem, pem)) as made:
        yield made, key, certificate


def test_tls(secured: tuple[Served, Path, Path]) -> None:
    """With an own certificate, by options or from the environment."""
    made, key, certificate = secured
    options = ("--admin-ca", str(certificate), "--admin-cert", str(certificate), "--admin-key", str(key))
    assert made.router("versions", *options).exit_code == 0
    names = {"ROUTER_ADMIN_CA": certificate, "ROUTER_ADMIN_CERT": certificate, "ROUTER_ADMIN_KEY": key}
    assert made.router("versions", **{name: str(path) for name, path in names.items()}).exit_code == 0


def test_what_is_mixed_up_about_tls(secured: tuple[Served, Path, Path], tmp_path: Path) -> None:
    """The line names the option that mends it."""
    made, key, certificate = secured
    ca = ("--admin-ca", str(certificate))
    own = ("--admin-cert", str(certificate), "--admin-key", str(key))
    text = tmp_path / "text"
    text.write_text("no PEM")
    for code, line, options in (
        (1, "asks for a certificate of yours: give --admin-ca FILE, --admin-cert FILE", ()),
        (1, "asks for a certificate of yours: give --admin-cert FILE", ca),
        (2, "--admin-cert and --admin-key need --admin-ca FILE", own),
        (2, "--admin-cert and --admin-key go together", (*ca, "--admin-cert", str(certificate))),
        (2, "is no readable certificate", ("--admin-ca", str(text))),
        (2, "does not exist", ("--admin-ca", str(tmp_path / "none"))),
    ):
        told = made.router("versions", *options)
        assert (told.exit_code, told.output.count("\n")) == (code, 1), told.output
        assert line in told.output
    with served() as plain:
        told = plain.router("versions", *ca)
        assert (told.exit_code, "serves without TLS: leave --admin-ca" in told.output) == (1, True)


def test_nobody_there() -> None:
    """Exit code 1; an address that is none is a mistake of the one who typed it, also in the environment."""
    for name in ("versions", "watch", "status"):
        told = CliRunner().invoke(main, [name, "--admin", f"127.0.0.1:{free_port()}"])
        assert (told.exit_code, "start a server with `router serve`" in told.output) == (1, True)
    told = CliRunner().invoke(main, ["versions"], env={"ROUTER_ADMIN": "nowhere"})
    assert (told.exit_code, "expected HOST:PORT" in told.output) == (2, True)
