"""`router demo`: a version goes from a file to champion, and back, under traffic, without one dropped request."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.app.demo_traffic import Tally, Traffic, golden
from router.app.mistake import Wrong
from router.app.story import line
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb.admin_pb2 import Event

MODEL: Final = "digits"
RATE: Final = 150.0
"""Requests a second."""
WATCHED_S: Final = 4.0
"""Traffic between two steps."""
START_S: Final = 60.0
WARMUP: Final = "[warmup]\nmin_samples = 300\nmin_seconds = 5\nmax_seconds = 40\n"
"""Shorter than one would have it for customers."""


@click.command()
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models"),
    show_default=True,
    metavar="DIR",
    help=f"Where `{MODEL}` lies, with versions 1 and 2. It is copied, nothing is changed there.",
)
@click.option("--keep", is_flag=True, help="Leave the server's folder behind, with its log.")
def demo(models: Path, keep: bool) -> None:
    """Show the life of a version: test, warm, plan, promote and roll back under traffic; in a minute or so.

    Exit code 0 only if no request failed, none was wrong, and no answer was older than one before it.
    """
    source = models / MODEL
    for number in ("1", "2"):
        if not (source / number / "model.onnx").is_file():
            raise Wrong(
                f"{source} holds no version {number}: run the demo where the bundled models are, or name --models"
            )
    with contextlib.ExitStack() as at_exit:
        folder = Path(tempfile.mkdtemp(prefix="router-demo-"))
        if not keep:
            at_exit.callback(shutil.rmtree, folder, ignore_errors=True)
        staged = _stage(source, folder)
        target, admin = at_exit.enter_context(_server(folder))
        tally = Demo(target, admin, source, staged).run()
    if keep:
        click.echo(f"kept: {folder}")
    sys.exit(0 if tally.good else 1)


def _stage(source: Path, folder: Path) -> Path:
    """A repository with version 1 of the model alone."""
    staged = folder / "models" / MODEL
    staged.mkdir(parents=True)
    shutil.copytree(source / "1", staged / "1")
    if (source / "exam").is_dir():
        shutil.copytree(source / "exam", staged / "exam")
    (staged / "model.toml").write_text(WARMUP, encoding="utf-8")
    return staged


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[tuple[str, str]]:
    """A server of the folder's models; its addresses for inference and for operators."""
    addresses = {flag: f"127.0.0.1:{_free_port()}" for flag in ("grpc", "http", "admin")}
    flags = [part for flag, address in addresses.items() for part in (f"--{flag}", address)]
    command = [sys.executable, "-m", "router.app.cli", "serve", "--models", str(folder / "models")]
    command += ["--state", str(folder / "state"), "--workers", "2", *flags]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            _await_ready(server, addresses["admin"], folder / "log")
            yield addresses["grpc"], addresses["admin"]
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30.0)
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


class Demo:
    """One run: traffic, an operator's steps, and everything that the server tells meanwhile."""

    def __init__(self, target: str, admin: str, source: Path, staged: Path) -> None:
        inputs, first = golden(source / "1")
        _, second = golden(source / "2")
        self._traffic = Traffic(target, MODEL, inputs, {"1": first, "2": second}, RATE)
        self._admin = admin
        self._source = source
        self._staged = staged
        self._console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def run(self) -> Tally:
        """All steps; the tally of the traffic."""
        watching = threading.Thread(target=self._watch, daemon=True)
        with AdminClient(self._admin) as client:
            watching.start()
            self._step(f"version 1 of '{MODEL}' serves, {RATE:.0f} requests a second begin")
            self._traffic.start()
            time.sleep(WATCHED_S)
            try:
                self._operate(client)
                time.sleep(WATCHED_S)
            except RouterError as error:
                self._traffic.tally.failed.append(str(error))
                self._step(f"the server refused: {error}", "red")
            tally = self._traffic.stop()
        self._show(tally)
        return tally

    def _operate(self, client: AdminClient) -> None:
        self._step("a trainer copies version 2 into the repository")
        shutil.copytree(self._source / "2", self._staged / "2")
        self._await_version(client)
        self._step("router test: its gates, in a process of their own; then router warm: on copies of live requests")
        report = client.warm(MODEL, "2", "the demo")
        verdict = "passed" if report.passed else "failed"
        self._step(f"the {report.kind} report says: {verdict}, after {report.took_seconds:.1f} s")
        plan = client.plan(MODEL, "2")
        self._step(f"router plan promote: {'; '.join(plan.moves)}; way back: {plan.way_back}")
        changed = client.promote(MODEL, "2", "it passed its gates and its warm-up", "1")
        self._step(f"router promote: version 2 answers after {changed.took_ms:.0f} ms", "bold green")
        time.sleep(WATCHED_S)
        changed = client.rollback(MODEL, "", "the demo goes back")
        self._step(f"router rollback: version 1 answers after {changed.took_ms:.0f} ms", "bold green")

    @staticmethod
    def _await_version(client: AdminClient) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            (model,) = client.versions(MODEL).models
            if any(each.number == "2" for each in model.versions):
                return
            time.sleep(0.1)
        raise RouterError("the server has not seen version 2")

    def _watch(self) -> None:
        with contextlib.suppress(RouterError), AdminClient(self._admin) as client:
            for event in client.watch(MODEL):
                if event.kind not in {"hello", "progress"}:
                    self._tell(event)

    def _tell(self, event: Event) -> None:
        self._print(f"    {line(event)}", "dim")

    def _step(self, text: str, style: str = "bold") -> None:
        self._print(text, style)

    def _print(self, text: str, style: str) -> None:
        with self._lock:
            stamp = f"{time.monotonic() - self._began:6.2f} s  "
            self._console.print(Text(stamp, "cyan") + Text(text, style), soft_wrap=True)

    def _show(self, tally: Tally) -> None:
        table = Table(title="the traffic", title_justify="left")
        for heading in ("requests", "failed", "wrong", "generation back", "by version", "p50", "p99"):
            table.add_column(heading, justify="right")
        by_version = ", ".join(f"{number}: {count}" for number, count in sorted(tally.versions.items()))
        p50, p99 = (f"{tally.quantile(q) * 1e3:.2f} ms" for q in (0.5, 0.99))
        row = [str(tally.asked), str(len(tally.failed)), str(tally.wrong), str(tally.older), by_version, p50, p99]
        table.add_row(*row)
        self._console.print(table)
        for failure in sorted(set(tally.failed))[:5]:
            self._console.print(Text(f"failed: {failure}", "red"))
