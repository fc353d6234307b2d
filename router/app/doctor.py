"""`router doctor`: what would go wrong if a server were started here, and how to mend it."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.markup import escape
from rich.table import Table

from router.config import ServerSettings
from router.control.repository import FoundModel, scan
from router.edge.core_transport import supported
from router.errors import RouterError, SettingsError

MEMORY_PER_FILE_BYTE = 2.0
"""A loaded model takes about twice its file: the weights, and what kernels prepack of them."""
MEMORY_PER_WORKER = 120 << 20


class Grade(Enum):
    """How bad a finding is."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `mend` says what to do unless it is good."""

    grade: Grade
    what: str
    found: str
    mend: str = ""


def examine(settings: ServerSettings) -> Iterator[Finding]:
    """Look at everything that a server with these settings would need."""
    yield from _software(settings)
    yield from _ports(settings)
    yield from _state(settings)
    yield from _tls(settings)
    yield from _models(settings)
    yield from _machine(settings)
    if shutil.which("h2load"):
        yield Finding(Grade.GOOD, "h2load", "found (for `make bench`)")
    else:
        mend = "only for `make bench`: install the Debian package nghttp2-client"
        yield Finding(Grade.WARNING, "h2load", "missing", mend)


def _software(settings: ServerSettings) -> Iterator[Finding]:
    yield Finding(Grade.GOOD, "Python", platform.python_version())
    reason, grpcio = supported(), version("grpcio")
    if not reason:
        yield Finding(Grade.GOOD, "grpcio", f"{grpcio} carries the core transport")
    elif settings.transport == "core":
        yield Finding(Grade.BAD, "grpcio", grpcio, reason)
    else:
        yield Finding(Grade.WARNING, "grpcio", f"{grpcio}, transport aio", reason)
    yield Finding(Grade.GOOD, "onnxruntime", version("onnxruntime"))
    if platform.system() != "Linux":
        yield Finding(Grade.BAD, "system", platform.system(), "run it on Linux: it needs SO_REUSEPORT and /proc")


def _ports(settings: ServerSettings) -> Iterator[Finding]:
    for flag, address in (("grpc", settings.grpc), ("http", settings.http), ("admin", settings.admin)):
        host, _, port = address.rpartition(":")
        try:
            family, _, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(target)
        except OSError as error:
            yield Finding(
                Grade.BAD, f"port {flag}", f"{address}: {error.strerror}", f"free it, or choose another with --{flag}"
            )
        else:
            yield Finding(Grade.GOOD, f"port {flag}", f"{address} is free")


def _state(settings: ServerSettings) -> Iterator[Finding]:
    directory = settings.state
    nearest = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        yield Finding(Grade.BAD, "state directory", f"{directory} cannot be written", "choose another with --state")
        return
    free = shutil.disk_usage(nearest).free
    if free < 100 << 20:
        yield Finding(
            Grade.WARNING,
            "state directory",
            f"{free >> 20} MiB free on its disk",
            "a change of table needs disk: free some",
        )
    else:
        yield Finding(Grade.GOOD, "state directory", f"{directory}, {free >> 30} GiB free")


def _models(settings: ServerSettings) -> Iterator[Finding]:
    if not settings.models.is_dir():
        yield Finding(
            Grade.BAD, "models", f"{settings.models} is no directory", "name the repository with --models DIR"
        )
        return
    try:
        found = scan(settings.models)
    except RouterError as error:
        yield Finding(Grade.BAD, "models", str(error), "make the repository readable")
        return
    served = [request for model in found.values() for request in model.requests()]
    for model in found.values():
        if model.reason:
            yield Finding(Grade.WARNING, f"model {model.name}", model.reason, "it will be listed as UNAVAILABLE")
    if not served:
        yield Finding(
            Grade.WARNING, "models", f"{settings.models} holds none", "put one at MODEL/1/model.onnx below it"
        )
        return
    weights = sum(_bytes(request.directory) for request in served)
    needed = int(weights * MEMORY_PER_FILE_BYTE + MEMORY_PER_WORKER) * settings.workers
    available = psutil.virtual_memory().available
    text = (
        f"{len(served)} versions, {weights / 1e6:.1f} MB on disk: about {needed / 1e9:.2f} GB in"
        f" {settings.workers} workers, {available / 1e9:.1f} GB available"
    )
    if needed > available:
        yield Finding(Grade.BAD, "memory", text, "serve fewer versions, or run fewer --workers")
    else:
        yield Finding(Grade.GOOD, "memory", text)


def _found(settings: ServerSettings) -> list[FoundModel]:
    try:
        return list(scan(settings.models).values())
    except RouterError:
        return []


def _bytes(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # whoever may not read it is told so by the trial
            total += path.stat().st_size if path.is_file() else 0
    return total


def _tls(settings: ServerSettings) -> Iterator[Finding]:
    if settings.tls_cert is None:
        return
    try:
        check_tls(settings)
    except SettingsError as error:
        yield Finding(Grade.BAD, "TLS", str(error), "give PEM files that belong together")
    else:
        yield Finding(Grade.GOOD, "TLS", f"{settings.tls_cert} and its key belong together")


def check_tls(settings: ServerSettings) -> None:
    """Whether the certificate and its key can be used. Raises SettingsError; gRPC would not say what is wrong."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    for flag, path in (("--tls-cert", settings.tls_cert), ("--tls-key", settings.tls_key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{flag} {path} cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except ssl.SSLError as error:
        raise SettingsError(
            f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key} are not a certificate and its key in PEM"
            f" ({error.reason or 'unreadable'})"
        ) from error
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except OSError as error:  # an SSLError is one
            raise SettingsError(f"--tls-client-ca {settings.tls_client_ca} is no readable PEM file") from error


def _machine(settings: ServerSettings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    if settings.workers > cores:
        yield Finding(
            Grade.WARNING,
            "cores",
            f"{settings.workers} workers on {cores} cores",
            "more workers than cores make each other wait: choose fewer with --workers",
        )
    else:
        yield Finding(Grade.GOOD, "cores", f"{settings.workers} workers on {cores} cores")
    for model in _found(settings):
        threads = model.settings.sessions.intra_op_threads
        if threads > cores:
            yield Finding(
                Grade.WARNING,
                f"model {model.name}",
                f"intra_op_threads = {threads} on {cores} cores",
                "threads beyond the cores make each other wait: lower it in model.toml",
            )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1024:
        yield Finding(Grade.WARNING, "open files", f"at most {soft}", "each connection needs one: raise `ulimit -n`")
    else:
        yield Finding(Grade.GOOD, "open files", f"at most {soft}")


def report(findings: list[Finding]) -> Table:
    """The findings as a table."""
    table = Table()
    for heading in ("", "what", "found", "mend"):
        table.add_column(heading, overflow="fold")
    marks = {Grade.GOOD: "[green]✓[/]", Grade.WARNING: "[yellow]![/]", Grade.BAD: "[red]✗[/]"}
    for finding in findings:
        table.add_row(marks[finding.grade], finding.what, escape(finding.found), escape(finding.mend))
    return table
