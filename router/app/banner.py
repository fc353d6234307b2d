"""What `router serve` tells the person at the terminal: progress while it loads, then what it serves."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from router.app.show import console, routes_table
from router.config import ServerSettings
from router.control.inspection import Request
from router.core.table import VersionTable

DEFAULT_GRPC = str(ServerSettings.model_fields["grpc"].default)


class Loading:
    """Progress while versions are tried."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._shown = False

    def __call__(self, done: int, of: int, request: Request | None) -> None:
        """So many of so many are done, this one is next."""
        if not self._console.is_terminal or of < 2:
            return
        if request is None:
            if self._shown:
                self._console.file.write("\r\x1b[K")
                self._console.file.flush()
            return
        self._shown = True
        name = escape(f"{request.model} {request.number}")
        self._console.file.write("\r\x1b[K")
        self._console.print(f"trying model [bold]{done + 1}[/] of {of}: {name} …", end="")
        self._console.file.flush()


def banner(settings: ServerSettings, table: VersionTable) -> None:
    """Print what serves, and a line to try it with."""
    out = console()
    out.print(routes_table(list(table.routes.values()), f"serving {settings.models} · generation {table.generation}"))
    out.print(f"gRPC  {settings.grpc}   HTTP  {settings.http}   admin  {settings.admin}", highlight=False)
    sample = _sample(settings, table)
    if sample:
        out.print(f"try it in a second terminal:  {sample}{_reach(settings)}", soft_wrap=True, highlight=False)
    sys.stdout.flush()


def _reach(settings: ServerSettings) -> str:
    """The options that a client on this machine needs."""
    options = ""
    if settings.grpc != DEFAULT_GRPC:
        host, _, port = settings.grpc.rpartition(":")
        here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  # compared, not bound
        options += f" --target {here}:{port}"
    if settings.tls_cert is not None:
        options += f" --tls-ca {settings.tls_cert}"
    return escape(options)


def _sample(settings: ServerSettings, table: VersionTable) -> str:
    """A command that asks a champion about the sample that came with it; empty where there is none."""
    if settings.tls_client_ca is not None:  # the command has no certificate to show
        return ""
    router = Path(sys.executable).with_name("router")
    with contextlib.suppress(ValueError):
        router = router.relative_to(Path.cwd())
    for route in table.routes.values():
        if route.champion is None:
            continue
        for sample in (settings.models / route.model).glob("*.npy"):
            return escape(f"{router} infer {route.model} --input {sample}")
        golden = settings.models / route.model / route.champion / "golden"
        for sample in sorted(golden.glob("*.npz")):
            return escape(f"{router} infer {route.model} --input {sample}")
    return ""
