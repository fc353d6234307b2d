"""How the admin port of a server is reached: its address, a token, TLS; and what is said when it refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from router.app import pem
from router.app.mistake import Failed, Mistake, Wrong
from router.edge.admin_client import AdminClient, Tls
from router.errors import RouterError, SettingsError, Status

ADMIN: Final = "127.0.0.1:8003"
"""Where a server's admin port is by default."""


@dataclass(frozen=True, slots=True)
class AdminReach:
    """What the options say."""

    target: str = ADMIN
    token: str = ""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def client(self, seconds: float = 5.0) -> AdminClient:
        """A client of the server. Raises Wrong where the options cannot be right, SettingsError."""
        pem.check_together(self.ca, self.cert, self.key, "--admin")
        tls = None
        if self.ca is not None:
            context = pem.context(self.ca, self.cert, self.key, "--admin")
            own = (path.read_bytes() if path else None for path in (self.cert, self.key))
            tls = Tls(context, self.ca.read_bytes(), *own)
        return AdminClient(self.target, seconds, self.token, tls)

    @contextmanager
    def asked(self, seconds: float = 5.0) -> Iterator[AdminClient]:
        """A client whose errors end the command in one line. Raises Mistake."""
        try:
            with self.client(seconds) as client:
                yield client
        except RouterError as error:
            raise mistake(error) from error


def mistake(error: RouterError) -> Mistake:
    """What a command says: exit code 2 for what was typed, 1 for what the server would not do."""
    typed = isinstance(error, SettingsError) or error.status is Status.INVALID_ARGUMENT
    return (Wrong if typed else Failed)(str(error))


def admin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that asks the admin port; it is given them as `reach`."""

    @functools.wraps(command)
    def reaching(
        *args: Any,
        admin_target: str,
        admin_token: str,
        admin_ca: Path | None,
        admin_cert: Path | None,
        admin_key: Path | None,
        **more: Any,
    ) -> Any:
        reach = AdminReach(admin_target, admin_token, admin_ca, admin_cert, admin_key)
        return command(*args, reach=reach, **more)

    made: Callable[..., Any] = reaching
    for each in reversed(_OPTIONS):
        made = each(made)
    return made


_OPTIONS: Final = (
    click.option(
        "--admin",
        "admin_target",
        default=ADMIN,
        envvar="ROUTER_ADMIN",
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT",
        help="The server's admin port.",
    ),
    click.option(
        "--token",
        "admin_token",
        default="",
        envvar="ROUTER_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help="Who you are; in the environment other people on this machine do not see it.",
    ),
    click.option(
        "--admin-ca",
        type=pem.PEM,
        envvar="ROUTER_ADMIN_CA",
        show_envvar=True,
        help="Use TLS and trust the authority in this PEM file.",
    ),
    click.option("--admin-cert", type=pem.PEM, envvar="ROUTER_ADMIN_CERT", show_envvar=True, help="Your certificate."),
    click.option("--admin-key", type=pem.PEM, envvar="ROUTER_ADMIN_KEY", show_envvar=True, help="Its key."),
)
