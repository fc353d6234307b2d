"""`make bench`: our throughput divided by that of a good hand-written server, measured in the same rounds.

    python -m loadtest.bench                       # seven cells, six servers, five rounds: about 14 minutes
    python -m loadtest.bench --quick --cells tiny:16,mid:64
    python -m loadtest.bench --other 'mine=./server --port {port} --models {models}'
    python -m loadtest.bench --cpu --beside        # below capacity: CPU per request, one model's tail beside another

Absolute figures move with the machine; the ratio of one run is what counts. Every run is checked: a real client
compares answers all the while, and the bytes of all replies must add up. A wrong answer ends the benchmark.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from loadtest import chart, h2load, machine, report
from loadtest.cells import DEFAULT_CELLS, DEFAULT_SERVERS, Cell
from loadtest.errors import BenchError
from loadtest.measure import Bench
from loadtest.open_loop import SHARES, beside_report, cpu_report
from loadtest.plan import Plan
from loadtest.rounds import BASELINES, play
from loadtest.servers import named, other

QUICK_ROUNDS, QUICK_SECONDS = 2, 1.0
RESULTS: Final = Path(__file__).parent / "results"


@click.command(help=__doc__.split("\n\n", maxsplit=1)[0] if __doc__ else None)
@click.option("--cells", default=DEFAULT_CELLS, show_default=True, help="MODEL:IN_FLIGHT, and xCONNECTIONS if not 8.")
@click.option("--servers", default=DEFAULT_SERVERS, show_default=True, help="default, workers-N, bare-N, or none.")
@click.option("--other", "others", multiple=True, metavar="NAME=COMMAND", help="Another server; {port}, {models}.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.2), default=2.0, show_default=True, help="Of each measurement.")
@click.option("--quick", is_flag=True, help=f"{QUICK_ROUNDS} rounds of {QUICK_SECONDS:g} s: a look, not a result.")
@click.option("--cpu", is_flag=True, help="Instead: CPU per request below capacity, spinning on and off; idle CPU.")
@click.option("--beside", is_flag=True, help="Instead: p99 of tiny alone and beside a half-loaded mid.")
@click.option("--require", is_flag=True, help="Exit 1 when a target is missed.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Default: loadtest/results/."
)
@click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), help="The ratios drawn. Default: loadtest/results/."
)
def main(
    *,
    cells: str,
    servers: str,
    others: tuple[str, ...],
    rounds: int,
    seconds: float,
    quick: bool,
    cpu: bool,
    beside: bool,
    require: bool,
    json_path: Path | None,
    png: Path | None,
) -> None:
    """Measure and report. Exits 1 when a figure cannot be had (or a target is missed), 2 on bad options."""
    if quick:
        rounds, seconds = QUICK_ROUNDS, QUICK_SECONDS
    plan = _plan(cells, servers, others, rounds, seconds)
    if h2load.version() is None:
        click.echo(h2load.MISSING, err=True)
        sys.exit(2)
    signal.signal(signal.SIGTERM, _leave)
    console = Console()
    try:
        if cpu or beside:
            missed = _below_capacity(console, plan, json_path, cpu=cpu, beside=beside)
        else:
            missed = _ratios(console, plan, json_path, png)
    except BenchError as error:
        Console(stderr=True).print(Text.assemble(("failed: ", "red"), str(error)), soft_wrap=True)
        sys.exit(1)
    for line in missed:
        console.print(Text.assemble(("below target: ", "red"), line))
    if missed and require:
        sys.exit(1)


def _plan(cells: str, servers: str, others: tuple[str, ...], rounds: int, seconds: float) -> Plan:
    try:
        wanted = tuple(dict.fromkeys(Cell.parse(each) for each in cells.split(",")))
        specs = [named(each.strip()) for each in servers.split(",") if each.strip() not in {"", "none"}]
        specs += [other(each) for each in others]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    names = [spec.name for spec in (*specs, *BASELINES)]
    if len(set(names)) != len(names):
        raise click.UsageError(f"servers need different names, got {', '.join(names)}")
    return Plan(wanted, tuple(specs), rounds, seconds)


def _ratios(console: Console, plan: Plan, json_path: Path | None, png: Path | None) -> list[str]:
    facts = _introduce(console)
    runs = plan.rounds * len(plan.cells) * (len(plan.specs) + len(BASELINES))
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, _progress(console, runs) as progress:
        results = play(Bench.build(Path(directory), plan.models), plan, progress)
    report.print_results(console, results, plan.rounds)
    _write(console, json_path or RESULTS / "bench.json", report.document(facts, results=results))
    about = f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, {plan.rounds} rounds"
    picture = png or RESULTS / "bench.png"
    chart.draw(picture, results, about)
    console.print(f"drawn to {picture}", highlight=False)
    return results.missed()


def _below_capacity(console: Console, plan: Plan, json_path: Path | None, *, cpu: bool, beside: bool) -> list[str]:
    if "large" in plan.models:
        plan = replace(plan, cells=tuple(cell for cell in plan.cells if cell.model != "large"))
    facts = _introduce(console)
    runs = (2 + len(plan.models) * (1 + len(SHARES) * plan.rounds * 2)) * cpu
    runs += len(plan.specs) * (1 + 2 * plan.rounds) * beside
    costs, tails = None, []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, _progress(console, runs) as progress:
        bench = Bench.build(Path(directory), ("tiny", "mid"))
        if cpu:
            costs = cpu_report(bench, plan, progress)
        if beside:
            tails = [beside_report(bench, plan, spec, progress) for spec in plan.specs]
    if costs is not None:
        report.print_cpu(console, costs)
    if tails:
        report.print_beside(console, tails)
    _write(console, json_path or RESULTS / "below_capacity.json", report.document(facts, cpu=costs, beside=tails))
    return [
        f"{each.server}: p99 of tiny beside mid is {each.ratio} times that alone" for each in tails if not each.meets
    ]


def _write(console: Console, path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    console.print(f"written to {path}", highlight=False)


def _introduce(console: Console) -> dict[str, str | int | float]:
    facts = machine.facts()
    console.print(", ".join(f"{key} {value}" for key, value in facts.items()), highlight=False, soft_wrap=True)
    return facts


@contextmanager
def _progress(console: Console, runs: int) -> Iterator[Callable[[str], None]]:
    """What runs now and how many measurements are done. Not on a terminal: one line for each."""
    if not console.is_terminal:
        yield lambda text: print(text, flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Few redraws: the machine is being measured.
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as bar:
        task = bar.add_task("starting the servers", total=runs)
        first = True

        def step(text: str) -> None:
            nonlocal first
            bar.update(task, description=text, advance=0 if first else 1)
            first = False

        yield step


def _leave(number: int, _frame: FrameType | None) -> None:
    # Once: a second one must not interrupt the stopping of the servers.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(143)


if __name__ == "__main__":
    main()
