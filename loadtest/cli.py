"""The commands of the load test: `router loadtest …`, `python -m loadtest …`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest.errors import BenchError, Lacking, ScenarioError
from loadtest.servers import ServerSpec, named, other
from loadtest.servers import baseline as baseline_spec
from loadtest.sla import capacity as capacities
from loadtest.sla import compare as comparing
from loadtest.sla import live, page, run, scenario
from loadtest.sla.units import duration, spoken
from loadtest.sla.verdict import EXIT_INTERRUPTED, EXIT_LACKING

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
SHARES: Final = (0.5, 0.8)


def _told(command: Callable[..., Any]) -> Callable[..., Any]:
    """Mistakes in a scenario are told in one line, with exit code 2."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except (ScenarioError, Lacking) as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(EXIT_LACKING)
        except BenchError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(EXIT_INTERRUPTED)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def loadtest() -> None:
    """Measure whether a server keeps its service level, also while things go wrong."""


@loadtest.command("run")
@click.argument("name", metavar="SCENARIO")
@click.option("--target", metavar="HOST:PORT", help="A server that runs already, instead of one of the scenario's own.")
@click.option("--json", "json_path", type=_FILE, help="Write the result for programs.")
@click.option("--html", "html_path", type=_FILE, help="Write the result as one page with charts.")
@click.option("--quick", is_flag=True, help="At most 20 s of load; only what can be concluded from it.")
@_told
def run_command(name: str, target: str | None, json_path: Path | None, html_path: Path | None, *, quick: bool) -> None:
    """Run a scenario: the name of one that is shipped, or a .toml file.

    Exit code 0 when the service level was kept, 1 when not, 3 when there were too few samples to tell, 4 when the
    sender itself was late, 2 when the scenario cannot be run.
    """
    wanted = scenario.load(name)
    if quick:
        wanted = wanted.quick()
    console = Console()
    console.print(f"{wanted.title}: {wanted.seconds:.0f} s of load", highlight=False)
    with live.watching(console) as watch:
        document = run.run(
            wanted, target, watch, lambda found: console.print(f"against {found.title} at {found.target}")
        )
    if quick:
        document = run.quickened(document)
    live.show(console, document)
    if json_path is not None:
        run.write(document, json_path)
        console.print(f"written to {json_path}", highlight=False)
    if html_path is not None:
        page.write([document], html_path)
        console.print(f"written to {html_path}", highlight=False)
    sys.exit(run.verdict(document)[1])


@loadtest.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_told
def list_command(*, as_json: bool) -> None:
    """The scenarios that are shipped."""
    rows = [(name, scenario.load(name)) for name in scenario.shipped()]
    if as_json:
        click.echo(json.dumps([{"name": name, "title": each.title, "seconds": each.seconds} for name, each in rows]))
        return
    table = Table(box=SIMPLE_HEAD)
    for heading in ("scenario", "", "lasts"):
        table.add_column(heading, justify="right" if heading == "lasts" else "left")
    for name, each in rows:
        table.add_row(name, each.title, f"{each.seconds:.0f} s")
    Console().print(table)


@loadtest.command("compare")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--html", "html_path", type=_FILE, help="Write one page with all results.")
@_told
def compare_command(files: tuple[Path, ...], html_path: Path | None, *, as_json: bool) -> None:
    """Put results side by side, with ratios to the first and their 95 % intervals."""
    documents = [run.read(path) for path in files]
    if as_json:
        click.echo(json.dumps(comparing.comparison(documents), ensure_ascii=False))
    else:
        comparing.show(Console(), documents)
    if html_path is not None:
        page.write(documents, html_path)


def _compared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that measure several servers."""
    for option in reversed(
        (
            click.argument("name", metavar="SCENARIO"),
            click.option("--servers", default="", help="Ours and our peers, by comma: default, workers-N, baseline-N."),
            click.option("--target", "targets", multiple=True, metavar="HOST:PORT", help="Servers that run already."),
            click.option("--other", "others", multiple=True, metavar="NAME=COMMAND", help="{port} and {models} in it."),
            click.option("--seconds", default="10s", show_default=True, metavar="DURATION", help="Of one measurement."),
            click.option("--json", "json_path", type=_FILE, help="Write the result for programs."),
            click.option("--html", "html_path", type=_FILE, help="Write a page with a chart."),
        )
    ):
        command = option(command)
    return command


@contextmanager
def _benches(
    name: str, servers: str, targets: tuple[str, ...], others: tuple[str, ...], seconds: str
) -> Iterator[list[capacities.Bench]]:
    wanted = scenario.load(name)
    if not wanted.sla.model_dump(exclude_none=True):
        raise ScenarioError(f"{name} has no `sla`: without a limit every rate would do")
    try:
        lasts = duration(seconds)
        specs = [_spec(each.strip()) for each in servers.split(",") if each.strip()]
        specs += [other(each) for each in others]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not specs and not targets:
        raise click.UsageError("name servers with --servers, --target or --other")
    with capacities.servers(wanted, specs, targets) as found:
        kinds = run.pools(wanted, found[0])
        yield [capacities.Bench(wanted, subject, lasts, kinds) for subject in found]


def _spec(name: str) -> ServerSpec:
    kind, _, number = name.partition("-")
    if kind == "baseline" and number.isdigit() and int(number) >= 1:
        return baseline_spec(int(number))
    return named(name)


@loadtest.command("capacity")
@_compared
@_told
def capacity_command(
    name: str,
    servers: str,
    targets: tuple[str, ...],
    others: tuple[str, ...],
    seconds: str,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    """Find the highest rate at which the scenario's service level holds, for one server or several in turn."""
    console = Console()

    results = []
    with _benches(name, servers, targets, others, seconds) as benches:
        for bench in benches:
            console.print(bench.subject.title)
            results.append(capacities.capacity(bench, lambda probe: _tell(console, probe)))
    table = Table(title="Capacity", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column("requests/s", justify="right")
    for result in results:
        table.add_row(result["server"], f"{result['capacity']:.0f}")
    console.print(table)
    _write(json_path, {"scenario": name, "servers": results})
    if html_path is not None:
        page.write_capacity(results, html_path)


@loadtest.command("latency")
@_compared
@click.option("--of", "reference", type=int, default=0, show_default=True, help="Whose capacity counts: its place.")
@click.option("--capacity", "known", type=float, metavar="PER_SECOND", help="Its capacity, when that is known.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@_told
def latency_command(
    name: str,
    servers: str,
    targets: tuple[str, ...],
    others: tuple[str, ...],
    seconds: str,
    json_path: Path | None,
    html_path: Path | None,
    reference: int,
    known: float | None,
    rounds: int,
) -> None:
    """Run all servers at the same 50 % and 80 % of the capacity of one of them, in turn."""
    console = Console()
    with _benches(name, servers, targets, others, seconds) as benches:
        if not 0 <= reference < len(benches):
            raise click.UsageError(f"--of {reference}: there are {len(benches)} servers, counted from 0")
        of = benches[reference]
        most = known or capacities.capacity(of, lambda probe: _tell(console, probe))["capacity"]
        if most <= 0:
            raise ScenarioError(f"{of.subject.title} does not keep the level at any rate: loosen `sla`")
        console.print(f"capacity of {of.subject.title}: {most:.0f}/s", highlight=False)
        tables = capacities.latency(
            benches, [most * part for part in SHARES], rounds, lambda text: console.print(text, highlight=False)
        )
    shown = Table(title="At the same rates", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("rate", "", "p50", "p99", "p99.9", "answered", "wrong"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for part, table in zip(SHARES, tables, strict=True):
        for row in table["rows"]:
            share = row["answered"] / row["due"] if row["due"] else 0.0
            times = [spoken(row[each]) for each in ("p50", "p99", "p999")]
            shown.add_row(
                f"{part:.0%}, {table['rate']:.0f}/s", row["server"], *times, f"{share:.3%}", str(row["wrong"])
            )
    console.print(shown)
    document = {"scenario": name, "capacity_of": of.subject.title, "capacity": most, "rates": tables}
    _write(json_path, document)
    if html_path is not None:
        page.write_latency(document, html_path)


def _tell(console: Console, probe: capacities.Probe) -> None:
    word = "[green]holds[/]" if probe.holds else "[red]fails[/]"
    console.print(
        f"  {probe.rate:8.0f}/s  {word}  p50 {spoken(probe.p50)}  p99 {spoken(probe.p99)}  {probe.why}", soft_wrap=True
    )


def _write(path: Path | None, document: dict[str, Any]) -> None:
    if path is not None:
        run.write(document, path)
