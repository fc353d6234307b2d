"""The commands of the load test: `router loadtest …`, `python -m loadtest …`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest import interrupt
from loadtest.errors import BenchError, Lacking, ScenarioError
from loadtest.options import JSON, LEAST_S, MOST_S, finite, lasts, many_targets, one_target, result_file
from loadtest.servers import ServerSpec, named, other
from loadtest.servers import baseline as baseline_spec
from loadtest.sla import capacity as capacities
from loadtest.sla import compare as comparing
from loadtest.sla import latency as latencies
from loadtest.sla import live, page, result, run, scenario, tail_chart
from loadtest.sla.verdict import EXIT_INTERRUPTED, EXIT_INVALID, EXIT_LACKING
from router.app.commands import Commands

Options = ParamSpec("Options")


def _told(command: Callable[Options, Any]) -> Callable[Options, Any]:
    """Mistakes in a scenario are told in one line, with exit code 2; an interrupt leaves nothing running."""

    @wraps(command)
    def wrapped(*args: Options.args, **options: Options.kwargs) -> Any:
        try:
            with interrupt.raised():
                return command(*args, **options)
        except (ScenarioError, Lacking, BenchError) as error:
            click.echo(f"Error: {' '.join(str(error).split())}", err=True)
            sys.exit(EXIT_LACKING)
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)

    return wrapped


def _console() -> Console:
    """Titles, names and reasons are other people's text: nothing in it is markup."""
    return Console(markup=False, emoji=False, highlight=False)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def loadtest() -> None:
    """Measure whether a server keeps its service level, also while things go wrong."""


@loadtest.command("run")
@click.argument("name", metavar="SCENARIO")
@click.option(
    "--target",
    metavar="HOST:PORT",
    callback=one_target,
    help="A server that runs already, instead of one of the scenario's own.",
)
@JSON
@result_file("--html", "Write the result as one page with charts.")
@click.option("--quick", is_flag=True, help="At most 20 s of load; only what can be concluded from it.")
@click.option(
    "changes",
    "--set",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the scenario, such as phase.tail.rate=300/s; may be given several times.",
)
@_told
def run_command(
    name: str,
    target: str | None,
    json_path: Path | None,
    html_path: Path | None,
    changes: tuple[str, ...],
    *,
    quick: bool,
) -> None:
    """Run a scenario: the name of one that is shipped, or a .toml file.

    Exit code 0 when the service level was kept, 1 when not, 3 when there were too few samples to tell, 4 when the
    sender itself was late, 2 when the scenario cannot be run.
    """
    wanted = scenario.load(name, changes)
    if quick:
        wanted = wanted.quick()
    console = _console()
    console.print(f"{wanted.title}: {wanted.load_seconds:.0f} s of load")
    with live.watching(console) as watch:
        document = run.run(
            wanted, target, watch, lambda found: console.print(f"against {found.title} at {found.target}")
        )
    if quick:
        document = result.quickened(document)
    document["command"] = _again(name, target, changes, quick=quick)
    _finish(
        console,
        lambda: live.show(console, document),
        (json_path, lambda path: result.write(document, path)),
        (html_path, lambda path: page.write([document], path)),
    )
    sys.exit(result.verdict(document)[1])


def _again(name: str, target: str | None, changes: tuple[str, ...], *, quick: bool) -> str:
    """The command that makes such a result."""
    words = ["router", "loadtest", "run", name]
    if target is not None:
        words += ["--target", target]
    for each in changes:
        words += ["--set", each]
    return shlex.join([*words, *(["--quick"] if quick else [])])


def _finish(console: Console, show: Callable[[], None], *files: tuple[Path | None, Callable[[Path], None]]) -> None:
    """Write the files, then show the result, and that also when a file could not be written."""
    written = []
    try:
        for path, write in files:
            if path is not None:
                write(path)
                written.append(path)
    finally:
        show()
        for path in written:
            console.print(f"written to {path}", soft_wrap=True)


@loadtest.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_told
def list_command(*, as_json: bool) -> None:
    """The scenarios that are shipped."""
    rows = [(name, scenario.load(name)) for name in scenario.shipped()]
    if as_json:
        click.echo(
            json.dumps([{"name": name, "title": each.title, "seconds": each.load_seconds} for name, each in rows])
        )
        return
    table = Table(box=SIMPLE_HEAD)
    for heading in ("scenario", "", "lasts"):
        table.add_column(heading, justify="right" if heading == "lasts" else "left")
    for name, each in rows:
        table.add_row(name, each.title, f"{each.load_seconds:.0f} s")
    _console().print(table)


@loadtest.command("compare")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@result_file("--html", "Write one page with all results.")
@result_file("--png", "Draw their latencies by percentile.")
@_told
def compare_command(files: tuple[Path, ...], html_path: Path | None, png_path: Path | None, *, as_json: bool) -> None:
    """Put results side by side, with ratios to the first and their 95 % intervals."""
    documents = [result.read(path) for path in files]
    if html_path is not None:
        page.write(documents, html_path)
    if png_path is not None:
        tail_chart.draw(png_path, [(comparing.label(each, documents), each["curve"]) for each in documents])
    if as_json:
        click.echo(json.dumps(comparing.comparison(documents), ensure_ascii=False, allow_nan=False))
    else:
        comparing.show(_console(), documents)


@dataclass(frozen=True, slots=True)
class _Compared:
    """What is to be measured of several servers, and where that is to be written."""

    name: str
    scenario: scenario.Scenario
    specs: list[ServerSpec]
    targets: tuple[str, ...]
    seconds: float
    json_path: Path | None
    html_path: Path | None

    def benches(self) -> Any:
        """The servers, up."""
        return capacities.benches(self.scenario, self.specs, self.targets, self.seconds)


def _compared(command: Callable[Concatenate[_Compared, Options], None]) -> Callable[..., None]:
    """The options of commands that measure several servers."""

    @wraps(command)
    def wrapped(
        name: str,
        servers: str,
        targets: tuple[str, ...],
        others: tuple[str, ...],
        seconds: float,
        json_path: Path | None,
        html_path: Path | None,
        *args: Options.args,
        **options: Options.kwargs,
    ) -> None:
        wanted = scenario.load(name)
        if not capacities.at_rate(wanted, capacities.LEAST, LEAST_S).sla.model_dump(exclude_defaults=True):
            raise ScenarioError(f"{name} has no `sla` that says what a rate must keep: without one every rate would do")
        try:
            specs = [_spec(each.strip()) for each in servers.split(",") if each.strip()]
            specs += [other(each) for each in others]
        except ValueError as error:
            raise click.UsageError(str(error), click.get_current_context()) from None
        if not specs and not targets:
            raise click.UsageError("name servers with --servers, --target or --other", click.get_current_context())
        command(_Compared(name, wanted, specs, targets, seconds, json_path, html_path), *args, **options)

    made: Callable[..., None] = _told(wrapped)
    for option in reversed(
        (
            click.argument("name", metavar="SCENARIO"),
            click.option(
                "--target",
                "targets",
                multiple=True,
                metavar="HOST:PORT",
                callback=many_targets,
                help="Servers that run already.",
            ),
            click.option("--servers", default="", help="Ours and our peers, by comma: default, workers-N, baseline-N."),
            click.option("--other", "others", multiple=True, metavar="NAME=COMMAND", help="{port} and {models} in it."),
            click.option(
                "--seconds",
                callback=lasts,
                default="10s",
                show_default=True,
                metavar="DURATION",
                help=f"Of one measurement, {LEAST_S:g}s to {MOST_S:g}s.",
            ),
            JSON,
            result_file("--html", "Write a page with a chart."),
        )
    ):
        made = option(made)
    return made


def _spec(name: str) -> ServerSpec:
    kind, _, number = name.partition("-")
    if kind == "baseline" and number.isdigit() and int(number) >= 1:
        return baseline_spec(int(number))
    return named(name)


@loadtest.command("capacity")
@_compared
def capacity_command(wanted: _Compared) -> None:
    """Find the highest rate at which the scenario's service level holds, for one server or several in turn.

    What bounds it is told with it: the server, the sender itself (it was late), or the highest rate that is tried.
    """
    console = _console()
    results: list[dict[str, Any]] = []
    with wanted.benches() as benches:
        interrupted = True
        with suppress(KeyboardInterrupt):
            for bench in benches:
                console.print(bench.subject.title)
                results.append(capacities.capacity(bench, lambda probe: capacities.tell(console, probe)))
                if results[-1]["interrupted"]:
                    break
            interrupted = any(result["interrupted"] for result in results)
    document = {"scenario": wanted.name, "interrupted": interrupted, "servers": results}
    _finish(
        console,
        lambda: capacities.show(console, results),
        (wanted.json_path, lambda path: result.write(document, path)),
        (wanted.html_path, lambda path: page.write_capacity(results, path)),
    )
    if interrupted:
        sys.exit(EXIT_INTERRUPTED)


@loadtest.command("latency")
@click.option(
    "--of",
    "reference",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Whose capacity counts: its place, targets before servers before others.",
)
@click.option(
    "--capacity",
    "known",
    type=click.FloatRange(capacities.LEAST),
    callback=finite,
    metavar="PER_SECOND",
    help="Its capacity, when that is known.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@_compared
def latency_command(wanted: _Compared, reference: int, known: float | None, rounds: int) -> None:
    """Run all servers at the same 50 % and 80 % of the capacity of one of them, in turn.

    Exit code 4 when the sender was late in a run.
    """
    count = len(wanted.targets) + len(wanted.specs)
    if reference >= count:
        raise click.UsageError(
            f"--of {reference}: there are {count} servers, counted from 0", click.get_current_context()
        )
    console = _console()
    with wanted.benches() as benches:
        document = {"scenario": wanted.name, **_at_shares(console, benches, benches[reference], known, rounds)}
    _finish(
        console,
        lambda: latencies.show(console, document),
        (wanted.json_path, lambda path: result.write(document, path)),
        (wanted.html_path, lambda path: page.write_latency(document, path)),
    )
    if document["interrupted"]:
        sys.exit(EXIT_INTERRUPTED)
    if latencies.invalid(document):
        sys.exit(EXIT_INVALID)


def _at_shares(
    console: Console, benches: list[capacities.Bench], of: capacities.Bench, known: float | None, rounds: int
) -> dict[str, Any]:
    """Search the capacity of one of them where it is not known, then measure them all."""
    found: dict[str, Any] = {"server": of.subject.title, "capacity": known, "bounded_by": None, "probes": []}
    measured: dict[str, Any] = {"interrupted": True, "rates": []}
    with suppress(KeyboardInterrupt):
        if known is None:
            found = capacities.capacity(of, lambda probe: capacities.tell(console, probe))
            capacities.show(console, [found])
        if found["capacity"] == 0:
            raise ScenarioError(f"{of.subject.title} keeps the level at no rate ({found['why']}): loosen `sla`")
        if found["capacity"] is not None:
            measured = latencies.latency(benches, found["capacity"], rounds, console.print)
    searched = {name: found[name] for name in ("capacity", "bounded_by", "probes")}
    return {"capacity_of": of.subject.title, **searched, **measured}
