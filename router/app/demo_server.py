"""A server for a demo: on free ports, of a folder that goes away with it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from router.edge.admin_client import AdminClient
from router.errors import RouterError

START_S: Final = 60.0
STOP_S: Final = 30.0


@contextlib.contextmanager
def serving(folder: Path, *more: str) -> Iterator[tuple[str, str]]:
    """A server of the models in `folder/models`, with `more` flags; its addresses for inference and for operators.

    Its log is `folder/log`. Raises ClickException where it does not come up.
    """
    addresses = {flag: f"127.0.0.1:{_free_port()}" for flag in ("grpc", "http", "admin")}
    flags = [part for flag, address in addresses.items() for part in (f"--{flag}", address)]
    command = [sys.executable, "-m", "router.app.cli", "serve", "--models", str(folder / "models")]
    command += ["--state", str(folder / "state"), "--workers", "2", *more, *flags]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            _await_ready(server, addresses["admin"], folder / "log")
            yield addresses["grpc"], addresses["admin"]
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_ready(server: subprocess.Popen[bytes], admin: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(RouterError), AdminClient(admin, 1.0) as client:
            if client.status().ready:
                return
        time.sleep(0.1)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise click.ClickException(f"the server did not come up: {''.join(last) or 'it wrote nothing'}")
