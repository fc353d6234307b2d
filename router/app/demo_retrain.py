"""`router demo retrain`: what comes changes, and the model is trained anew, tested, warmed and promoted by itself."""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.app.bundled import bundled
from router.app.demo_chart import Mark, Picture, check_png, write_html, write_png
from router.app.demo_server import serving
from router.app.demo_traffic import Tally
from router.app.demo_world import Score, Stretch, World, world
from router.app.mistake import Wrong
from router.app.story import line
from router.app.terminal import text as printed
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb.admin_pb2 import Event

MODEL: Final = "digits"
PROGRAM: Final = "retrain_digits.py"
RATE: Final = 120.0
"""Requests a second; of each it comes true a moment later what was right."""
KNOWN_S: Final = 20.0
"""Traffic before anything changes: the reference of what comes, and the accuracy to come back to."""
AFTER_S: Final = 5.0
"""And when all is well again."""
STEP_S: Final = 60.0
"""Each step has happened by then."""
JUDGED_S: Final = 3.0
"""Accuracy is judged over so long,"""
RECOVERED: Final = 0.9
"""and has come back at this share of what it was."""
UNTOLD: Final = frozenset({"hello", "progress", "actuals", "gate"})
"""Kinds of events that would drown the others."""
MODEL_TOML: Final = """
[drift]
max_per_s = 100
reference_rows = 400
window_s = 4
min_samples = 200
[ledger]
enabled = true
output = "label"
[accuracy]
baseline_requests = 500
[recording]
enabled = true
share = 1
max_per_s = 200
rotate_s = 2
[warmup]
min_samples = 200
min_seconds = 5
max_seconds = 30
min_agreement = 0
[lifecycle]
promote_by = "canary"
[canary]
steps = [25, 100]
bake_seconds = 4
min_requests = 50
check_seconds = 1
control = 20
min_agreement = 0
max_p99_ratio = 3
"""
"""All of it shorter than one would have it for customers. `min_agreement`: a version that is to be right where the
champion is wrong does not agree with it; what it has to be is right more often, on the exam and on live requests."""

PASSED: Final = (
    ("warming", "tested", "its gates: the exam of both scanners among them"),
    ("ready", "warmed", "on copies of live requests"),
    ("champion", "promoted", "step by step, beside the version before"),
)
"""Stages that the new version comes to, what the picture says of each, and how."""
POLICY: Final = f"""
[retraining.{MODEL}]
on_drift = "red"
min_interval_s = 300
timeout_s = 60
then = "promote"
"""


@click.command()
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    default=bundled,
    show_default="the bundled ones",
    metavar="DIR",
    help=f"Where `{MODEL}` and {PROGRAM} lie. What is needed is copied, nothing is changed there.",
)
@click.option("--keep", is_flag=True, help="Leave the server's folder behind, with its log.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw it as a page.")
@click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw it (with matplotlib)."
)
def retrain(models: Path, keep: bool, html: Path | None, png: Path | None) -> None:
    """Show a model that is trained anew by itself: another scanner comes, the drift is seen, a version is trained on
    what was recorded, passes its gates and its warm-up, is promoted, and is right again; in two minutes or so.

    Exit code 0 only if every step happened, no request failed, and no answer was other than its version gives.
    """
    program = models / PROGRAM
    if not program.is_file():
        raise Wrong(f"{program} is not there: leave --models out, or name the folder of the bundled models")
    pictures = world(models / MODEL)
    if png is not None:
        check_png()
    with contextlib.ExitStack() as at_exit:
        folder = Path(tempfile.mkdtemp(prefix="router-demo-"))
        if not keep:
            at_exit.callback(shutil.rmtree, folder, ignore_errors=True)
        staged = _stage(program, pictures, folder)
        addresses = at_exit.enter_context(serving(folder, "--config", str(folder / "router.toml")))
        run = Retrained(addresses, staged, pictures)
        good = run.run()
    for path, write in ((html, write_html), (png, write_png)):
        if path is not None:
            try:
                write(run.picture, path)
            except OSError as error:
                raise Wrong(f"{path} cannot be written ({error.strerror}): name a file in a folder of yours") from error
            click.echo(f"drawn: {path}")
    if keep:
        click.echo(f"kept: {folder}")
    sys.exit(0 if good else 1)


def _stage(program: Path, pictures: World, folder: Path) -> Path:
    """A repository with a version 1 that knows the first scanner alone, and a policy that trains it anew."""
    staged = folder / "models" / MODEL
    (staged / "exam").mkdir(parents=True)
    np.savez(staged / "training.npz", pixels=pictures.first.pixels, label=pictures.first.labels)
    _examine(staged, "first_scanner", pictures.exam.pixels, pictures.exam.labels)
    (staged / "model.toml").write_text(MODEL_TOML, encoding="utf-8")
    shutil.copy(program, folder)
    command = [sys.executable, str(folder / PROGRAM)]
    first = [*command, "--first", "--training", str(staged / "training.npz"), "--out", str(staged / "1")]
    done = subprocess.run(first, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"version 1 was not trained: {done.stderr.strip()}")
    policy = (
        f'[retraining.{MODEL}]\non_drift = "red"\ntimeout_s = 60\nthen = "promote"\ncommand = {json.dumps(command)}\n'
    )
    (folder / "router.toml").write_text(policy, encoding="utf-8")
    return staged


def _examine(staged: Path, name: str, pixels: np.ndarray, labels: np.ndarray) -> None:
    arrays = {"input:pixels": pixels, "label": labels}
    np.savez(staged / "exam" / f"{name}.npz", **arrays)  # type: ignore[arg-type]  # names are names of arrays


class Retrained:
    """One run: traffic, and everything that the server does of its own accord meanwhile."""

    def __init__(self, addresses: tuple[str, str], staged: Path, pictures: World) -> None:
        self._addresses = addresses
        self._staged = staged
        self._pictures = pictures
        self._console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
        self._lock = threading.Lock()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._marks: list[Mark] = []
        self._score = Score()
        self._tally = Tally()
        self._stretch: Stretch | None = None

    @property
    def picture(self) -> Picture:
        """What was seen."""
        return Picture(
            "A model trained anew by itself: answers of 'digits' that came true", self._score.points(), self._marks
        )

    def run(self) -> bool:
        """All steps; whether each has happened and nothing was lost."""
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        ended_well = False
        try:
            self._happens()
            ended_well = True
        except RouterError as error:
            self._tally.failed.append(str(error))
            self._say(f"it did not go as it should: {error}", "red")
        self._send(None)
        self._show()
        return ended_well and self._tally.good

    def _happens(self) -> None:
        world, versions = self._pictures, {"1": self._staged / "1"}
        self._say(f"version 1 of '{MODEL}' serves, trained on {len(world.first)} pictures of the scanner in use")
        self._say(f"{RATE:.0f} requests a second begin; of each it is handed in a moment later what was right")
        self._send(Stretch(self._addresses, MODEL, world.daily, versions, RATE, self._score, "known"))
        time.sleep(KNOWN_S)
        before, _ = self._score.share(JUDGED_S)
        self._say(f"{before:.1%} come true")
        scanned = world.daily.scanned()
        self._send(Stretch(self._addresses, MODEL, scanned, versions, RATE, self._score, "scanned"))
        self._mark("drift begins", "another scanner: thinner ink, the paper a pixel further to the right", "bold red")
        self._say(
            f"the operator has {len(world.exam)} of its pictures labelled for the exam, which no trainer sees:"
            f" models/{MODEL}/exam/second_scanner.npz"
        )
        examined = world.exam.scanned()
        _examine(self._staged, "second_scanner", examined.pixels, examined.labels)
        drift = self._await("drift", lambda event: event.kind == "drift" and event.facts.get("status") == "red")
        after, _ = self._score.share(self._marks[0].seconds)
        self._mark("drift seen", f"{after:.1%} come true, and the drift is {drift.facts['status']}")
        self._await("a retraining", lambda event: event.kind == "retraining")
        self._mark("retraining begins", "as [retraining.digits] wants it, on what was recorded")
        came = self._await("a new version", lambda event: event.kind == "moved" and event.version not in {"", "1"})
        number = came.version
        self._mark("retrained", f"version {number} is in the repository")
        versions |= {number: self._staged / number}
        self._say("from here on other pictures are sent, on which nothing was ever trained")
        unseen = world.later.scanned()
        self._send(Stretch(self._addresses, MODEL, unseen, versions, RATE, self._score, "unseen"))
        for stage, text, detail in PASSED:
            self._await(f"version {number} {text}", functools.partial(_at, number, stage))
            self._mark(text, detail, "bold green")
        self._recovers(before)
        self._await("the end of the drift", lambda event: event.kind == "drift" and event.facts["status"] == "green")
        self._mark("drift is over", f"what comes is what version {number} was trained on", "bold green")
        time.sleep(AFTER_S)

    def _recovers(self, before: float) -> None:
        promoted = self._marks[-1].seconds
        until = self._score.now + STEP_S
        while self._score.now < until:
            share, _ = self._score.share(max(promoted, self._score.now - JUDGED_S))
            if self._score.now - promoted >= JUDGED_S and share >= RECOVERED * before:
                self._mark("recovered", f"{share:.1%} come true, {before:.1%} did before", "bold green")
                return
            time.sleep(0.1)
        raise RouterError(f"accuracy has not come back: {share:.1%} come true, {before:.1%} did before")

    def _send(self, stretch: Stretch | None) -> None:
        """Other requests from now on; None: no more."""
        if self._stretch is not None:
            self._tally.take(self._stretch.stop())
        self._stretch = stretch
        if stretch is not None:
            stretch.start()

    def _await(self, what: str, wanted: Callable[[Event], bool]) -> Event:
        """The next event that is wanted. Raises RouterError when it does not come."""
        until = time.monotonic() + STEP_S
        with contextlib.suppress(queue.Empty):
            while (left := until - time.monotonic()) > 0:
                event = self._events.get(timeout=left)
                if wanted(event):
                    return event
        raise RouterError(f"{what} has not come within {STEP_S:.0f} s")

    def _watch(self) -> None:
        with contextlib.suppress(RouterError), AdminClient(self._addresses[1]) as client:
            for event in client.watch(MODEL):
                if event.kind not in UNTOLD:
                    self._print(f"    {line(event)}", "dim")
                self._events.put(event)

    def _mark(self, text: str, detail: str, style: str = "bold") -> None:
        """Something that the picture shows."""
        self._marks.append(Mark(self._score.now, text, detail))
        self._print(f"{text.upper()}: {detail}", style)

    def _say(self, text: str, style: str = "bold") -> None:
        self._print(text, style)

    def _print(self, text: str, style: str) -> None:
        with self._lock:
            stamp = f"{self._score.now:6.2f} s  "
            self._console.print(Text(stamp, "cyan") + printed(text, style), soft_wrap=True)

    def _show(self) -> None:
        tally = self._tally
        table = Table(title="the traffic", title_justify="left")
        for heading in (
            "requests",
            "failed",
            "wrong",
            "generation back",
            "by version",
            "p50",
            "p99",
        ):
            table.add_column(heading, justify="right")
        by_version = ", ".join(f"{number}: {count}" for number, count in sorted(tally.versions.items()))
        p50, p99 = (f"{tally.quantile(q) * 1e3:.2f} ms" for q in (0.5, 0.99))
        row = [str(tally.asked), str(len(tally.failed)), str(tally.wrong), str(tally.older), by_version, p50, p99]
        table.add_row(*row)
        self._console.print(table)
        for failure in sorted(set(tally.failed))[:5]:
            self._console.print(printed(f"failed: {failure}", "red"))


def _at(number: str, stage: str, event: Event) -> bool:
    return (event.kind, event.version, event.facts.get("stage")) == ("moved", number, stage)
