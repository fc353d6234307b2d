"""`router demo`: a better version wins and a broken one is caught, under traffic, without one dropped request."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.app.bundled import bundled
from router.app.commands import Commands
from router.app.demo_retrain import retrain
from router.app.demo_server import serving
from router.app.demo_traffic import Tally, Traffic, golden
from router.app.demo_truth import Truth, exam
from router.app.mistake import Wrong
from router.app.story import line
from router.core.faults import Fault
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb.admin_pb2 import Event

MODEL: Final = "digits"
STAND_IN: Final = "digits-small"
"""Answers while a version of the other fails."""
RATE: Final = 100.0
"""Requests a second whose answers are known, and as many of which it comes true a moment later what was right."""
WATCHED_S: Final = 4.0
"""Traffic between two steps."""
START_S: Final = 60.0
DECIDED_S: Final = 90.0
"""A trial or a canary has ended by then."""
SETTINGS: Final = f"""
[warmup]
min_samples = 200
min_seconds = 3
max_seconds = 40
[ledger]
enabled = true
output = "label"
[trial]
min_samples = 300
on_win = "promote"
strategy = "canary"
max_latency_ratio = 3
[canary]
steps = [25, 100]
bake_seconds = 3
min_requests = 50
check_seconds = 1
control = 20
[fallback]
chain = ["failover"]
failover = "{STAND_IN}"
"""
"""All of it shorter than one would have it for customers."""
BROKEN: Final = Fault(kind="error", share=0.3, version="3")


@click.group(cls=Commands, invoke_without_command=True)
@click.pass_context
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    default=bundled,
    show_default="the bundled ones",
    metavar="DIR",
    help=f"Where `{MODEL}` lies, with versions 1 and 2. It is copied, nothing is changed there.",
)
@click.option("--keep", is_flag=True, help="Leave the server's folder behind, with its log.")
def demo(context: click.Context, models: Path, keep: bool) -> None:
    """Show the life of versions under traffic: one that is better wins a trial and is promoted by canary, one that
    breaks is rolled back by itself; in a minute or so.

    Exit code 0 only if no request failed, none was wrong, no answer was older than one before it, and both ended so.
    """
    if context.invoked_subcommand is not None:
        return
    source = models / MODEL
    for part in (source / "1", source / "2", models / STAND_IN / "1"):
        if not (part / "model.onnx").is_file():
            raise Wrong(f"{part} holds no version: leave --models out, or name the folder of the bundled models")
    if not (source / "exam").is_dir():
        raise Wrong(f"{source} holds no exam: leave --models out, or name the folder of the bundled models")
    with contextlib.ExitStack() as at_exit:
        folder = Path(tempfile.mkdtemp(prefix="router-demo-"))
        if not keep:
            at_exit.callback(shutil.rmtree, folder, ignore_errors=True)
        staged = _stage(source, folder)
        target, admin = at_exit.enter_context(serving(folder, "--allow-faults"))
        good = Demo(target, admin, source, staged).run()
    if keep:
        click.echo(f"kept: {folder}")
    sys.exit(0 if good else 1)


def _stage(source: Path, folder: Path) -> Path:
    """A repository with version 1 of the model alone."""
    staged = folder / "models" / MODEL
    staged.mkdir(parents=True)
    shutil.copytree(source / "1", staged / "1")
    shutil.copytree(source / "exam", staged / "exam")
    (staged / "model.toml").write_text(SETTINGS, encoding="utf-8")
    shutil.copytree(source.with_name(STAND_IN), staged.with_name(STAND_IN))
    return staged


demo.add_command(retrain)


class Demo:
    """One run: traffic, an operator's steps, and everything that the server tells meanwhile."""

    def __init__(self, target: str, admin: str, source: Path, staged: Path) -> None:
        inputs, first = golden(source / "1")
        _, second = golden(source / "2")
        questions, labels = exam(source / "exam")
        self._truth = Truth(admin, MODEL, labels)
        self._traffic = (
            Traffic(target, MODEL, inputs, {"1": first, "2": second, "3": second}, RATE, name="known"),
            Traffic(target, MODEL, questions, None, RATE, name="later", answered=self._truth.answered),
        )
        self._admin = admin
        self._source = source
        self._staged = staged
        self._console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def run(self) -> bool:
        """All steps; whether nothing was lost and everything ended as it should."""
        watching = threading.Thread(target=self._watch, daemon=True)
        tally, ended_well = Tally(), False
        with AdminClient(self._admin) as client:
            watching.start()
            self._step(f"version 1 of '{MODEL}' serves, {2 * RATE:.0f} requests a second begin")
            for each in (*self._traffic, self._truth):
                each.start()
            time.sleep(WATCHED_S)
            try:
                self._better(client)
                self._worse(client)
                ended_well = True
                time.sleep(WATCHED_S)
            except RouterError as error:
                tally.failed.append(str(error))
                self._step(f"it did not go as it should: {error}", "red")
            self._truth.stop()
            for traffic in self._traffic:
                tally.take(traffic.stop())
            tally.failed += self._truth.failed
        self._show(tally)
        return ended_well and tally.good

    def _better(self, client: AdminClient) -> None:
        """Version 2 wins a trial, and becomes champion step by step."""
        self._step("a trainer copies version 2 into the repository")
        self._bring(client, "2")
        self._step("router test: its gates, in a process of their own; then router warm: on copies of live requests")
        report = client.warm(MODEL, "2", "the demo")
        verdict = "passed" if report.passed else "failed"
        self._step(f"the {report.kind} report says: {verdict}, after {report.took_seconds:.1f} s")
        plan = client.plan(MODEL, "2")
        self._step(f"router plan promote: {'; '.join(plan.moves)}; way back: {plan.way_back}")
        self._step(
            "router challenge --shadow: it runs what the champion is asked; router trial: which is right more often?"
        )
        client.challenge(MODEL, "2", shadow=True, reason="is it better?")
        client.start_trial(MODEL, "2", "is it better?")
        self._step(self._ended(client, "trial"), "bold green")
        self._step(self._ended(client, "rollout"), "bold green")
        self._champion(client, "2")

    def _worse(self, client: AdminClient) -> None:
        """Version 3 breaks while it has a share, and is sent back by itself. Then an operator goes back, by hand."""
        self._step("version 3 comes; it passes its gates, and router promote --canary gives it a share")
        self._bring(client, "3", like="2")
        client.test(MODEL, "3", "the demo")
        client.promote(MODEL, "3", "the demo", "2", strategy="canary")
        time.sleep(WATCHED_S / 4)
        client.set_faults(MODEL, [BROKEN])
        self._step(f"three in ten runs of version 3 fail from now on; '{STAND_IN}' stands in for them", "bold red")
        self._step(self._ended(client, "rollout"), "bold green")
        client.set_faults(MODEL, [])
        self._champion(client, "2")
        changed = client.rollback(MODEL, "", "the demo goes back")
        self._step(f"router rollback: version 1 answers after {changed.took_ms:.0f} ms", "bold green")

    def _bring(self, client: AdminClient, number: str, like: str = "") -> None:
        shutil.copytree(self._source / (like or number), self._staged / number)
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            (model,) = client.versions(MODEL).models
            if any(each.number == number for each in model.versions):
                return
            time.sleep(0.1)
        raise RouterError(f"the server has not seen version {number}")

    @staticmethod
    def _ended(client: AdminClient, kind: str) -> str:
        """How the newest trial or rollout ended, in words."""
        until = time.monotonic() + DECIDED_S
        while time.monotonic() < until:
            found = client.cases(MODEL, kind=kind, last=1)
            if found and found[0].ended_seconds:
                return found[0].text
            time.sleep(0.1)
        raise RouterError(f"the {kind} has not ended")

    @staticmethod
    def _champion(client: AdminClient, number: str) -> None:
        (model,) = client.versions(MODEL).models
        if model.champion != number:
            raise RouterError(f"version {model.champion} is champion, and it should be {number}")

    def _watch(self) -> None:
        with contextlib.suppress(RouterError), AdminClient(self._admin) as client:
            for event in client.watch(MODEL):
                if event.kind not in {"hello", "progress", "actuals"}:
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
        for heading in ("requests", "failed", "wrong", "generation back", "by version", "stand-in", "p50", "p99"):
            table.add_column(heading, justify="right")
        by_version = ", ".join(f"{number}: {count}" for number, count in sorted(tally.versions.items()))
        p50, p99 = (f"{tally.quantile(q) * 1e3:.2f} ms" for q in (0.5, 0.99))
        row = [str(tally.asked), str(len(tally.failed)), str(tally.wrong), str(tally.older), by_version]
        row += [str(tally.degraded), p50, p99]
        table.add_row(*row)
        self._console.print(table)
        for failure in sorted(set(tally.failed))[:5]:
            self._console.print(Text(f"failed: {failure}", "red"))
