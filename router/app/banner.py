"""What `router serve` tells the person at the terminal: progress while it loads, then what it serves."""

from __future__ import annotations

import contextlib
import shlex
import ssl
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from router.app.show import routes_table
from router.app.terminal import console, text
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
        name = text(f"{request.model} {request.number}")
        self._console.file.write("\r\x1b[K")
        self._console.print(Text(f"trying model {done + 1} of {of}: ") + name + Text(" …"), end="")
        self._console.file.flush()


def banner(settings: ServerSettings, table: VersionTable) -> None:
    """Print what serves, and a line to try it with; when nothing does, how to mend that."""
    out = console()
    out.print(routes_table(list(table.routes.values()), f"serving {settings.models} · generation {table.generation}"))
    out.print(Text(f"gRPC  {settings.grpc}   HTTP  {settings.http}   admin  {settings.admin}"))
    if not any(route.champion for route in table.routes.values()):
        out.print(text(_nothing(settings, table), "yellow"), soft_wrap=True)
    elif sample := _sample(settings, table):
        line = f"try it in a second terminal:  {sample}{_reach(settings)}"
        out.print(line, soft_wrap=True, highlight=False, markup=False)
    sys.stdout.flush()


def _nothing(settings: ServerSettings, table: VersionTable) -> str:
    """Why nothing is served, and what to do."""
    again = f"then have it looked at again:  kill -HUP $(cat {shlex.quote(str(settings.state / 'lock'))})"
    if not table.routes:
        place = settings.models / "NAME" / "1" / "model.onnx"
        return f"nothing is served: {settings.models} holds no model; put one at {place}, {again}"
    if settings.model_control == "explicit" and not settings.load_models:
        return "nothing is served yet: clients load what they need, or start the server with --load-model NAME"
    return f"nothing is served, for the reasons above; mend them, {again}"


def _reach(settings: ServerSettings) -> str:
    """The options that a client on this machine needs, and what is to be put in where the server cannot know it."""
    host, _, port = settings.grpc.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  # compared, not bound
    trust, holders = "", []
    if settings.tls_cert is not None:
        own, names = _authority(settings.tls_cert)
        trust = f" --tls-ca {shlex.quote(str(settings.tls_cert)) if own else 'CA.pem'}"
        if names and host not in names:
            host = "localhost" if "localhost" in names else names[0]
        if not own:
            holders.append("CA.pem: the certificate of who signed yours")
    if settings.tls_client_ca is not None:
        trust += " --tls-cert CERT.pem --tls-key KEY.pem"
        holders.append(f"CERT.pem, KEY.pem: a certificate that {settings.tls_client_ca} has signed, and its key")
    if holders:
        trust += f"  ({'; '.join(holders)})"
    target = f"{host}:{port}"
    return ("" if target == DEFAULT_GRPC else f" --target {shlex.quote(target)}") + trust


def _authority(certificate: Path) -> tuple[bool, list[str]]:
    """Whether who trusts this file trusts the server too, and the hosts that it is then known to be good for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(certificate)
    except OSError:  # the server has read it and serves; only the file is gone
        return True, []
    authorities: list[Any] = context.get_ca_certs()
    for each in authorities:
        if each["subject"] == each["issuer"]:
            names = [name for _, name in each.get("subjectAltName", ())]
            return True, [_host(name) for name in names if not name.startswith("*")]
    return False, []


def _host(name: str) -> str:
    """A name of a certificate as it stands in an address."""
    try:
        address = ip_address(name)
    except ValueError:
        return name
    return f"[{address}]" if address.version == 6 else str(address)


def _sample(settings: ServerSettings, table: VersionTable) -> str:
    """A command that asks a champion about the sample that came with it; empty where there is none."""
    router = Path(sys.executable).with_name("router")
    with contextlib.suppress(ValueError):
        router = router.relative_to(Path.cwd())
    for route in table.routes.values():
        if route.champion is None or route.model.startswith("-"):
            continue
        model = settings.models / route.model
        for sample in (*sorted(model.glob("*.npy")), *sorted((model / route.champion / "golden").glob("*.npz"))):
            return shlex.join([str(router), "infer", route.model, "--input", str(sample)])
    return ""
