"""The results, for people (tables) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest.cells import BESIDE_TARGET
from loadtest.open_loop import BesideReport, CpuReport
from loadtest.rounds import Figure, Results


def print_results(console: Console, results: Results, rounds: int) -> None:
    """Ratios with their targets first, then what they are made of."""
    ours = [name for name in results.titles if results.figure(name, results.cells[0]).ratio is not None]
    if ours:
        some = results.figure(ours[0], results.cells[0]).ratio
        certain = f"{some.confidence:.0%}" if some is not None else ""
        caption = f"Median of {rounds} rounds, its {certain} interval, and the target."
        console.print(_table(results, ours, "Requests/s, divided by the better baseline's", caption, _ratio_cell))
    every = list(results.titles)
    caption = f"Medians of {rounds} rounds."
    console.print(_table(results, every, "Requests/s, and mean latency", caption, _rate_cell))
    console.print(_table(results, every, "CPU µs per request, all processes of the server", caption, _cpu_cell))


def print_cpu(console: Console, report: CpuReport) -> None:
    """CPU below capacity."""
    table = Table(title="CPU at a constant rate", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "load", "calls/s", "CPU µs/call", "mean", "p99"):
        table.add_column(heading, justify="left" if heading in {"", "load"} else "right", no_wrap=True)
    for cost in report.costs:
        table.add_row(
            cost.server,
            f"{cost.model} at {cost.offered / report.capacity[cost.model]:.0%}",
            _count(cost.achieved),
            f"{cost.cpu_us:.0f}",
            _duration(cost.mean_us),
            _duration(cost.p99_us),
        )
    console.print(table)
    for name, percent in report.idle_percent.items():
        console.print(f"idle, {name}: {percent:.1f} % of one core")


def print_beside(console: Console, reports: list[BesideReport]) -> None:
    """What a neighbour does to the tail."""
    table = Table(
        title="p99 of tiny alone, and beside mid at half of its capacity", title_justify="left", box=SIMPLE_HEAD
    )
    for heading in ("", "mid/s", "alone", "beside", "ratio", "target"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for report in reports:
        table.add_row(
            report.server,
            _count(report.mid_per_second),
            _duration(report.alone_us),
            _duration(report.beside_us),
            _coloured(str(report.ratio).replace("[", "\\["), good=report.meets),
            f"≤ {BESIDE_TARGET:g}",
        )
    console.print(table)


def document(
    facts: dict[str, str | int | float],
    *,
    results: Results | None = None,
    cpu: CpuReport | None = None,
    beside: Sequence[BesideReport] = (),
) -> dict[str, Any]:
    """Everything that was measured, with the machine it was measured on, as JSON takes it."""
    whole: dict[str, Any] = {"machine": facts}
    if results is not None:
        whole["servers"] = results.titles
        whole["cells"] = {
            server: {cell: _plain(results.figure(server, cell)) for cell in results.cells} for server in results.titles
        }
        whole["measurements"] = [asdict(each) for each in results.measurements]
    if cpu is not None:
        whole["cpu"] = asdict(cpu)
    if beside:
        whole["beside"] = [asdict(each) for each in beside]
    return whole


def _table(results: Results, servers: list[str], title: str, caption: str, cell_text: Callable[[Figure], str]) -> Table:
    # Cells downwards: seven of them side by side do not fit a usual terminal.
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for server in servers:
        table.add_column(results.titles[server], justify="right", min_width=14)
    for cell in results.cells:
        table.add_row(cell, *(cell_text(results.figure(server, cell)) for server in servers))
    return table


def _ratio_cell(figure: Figure) -> str:
    if figure.ratio is None:
        return ""
    spread = f"{figure.ratio.low:.2f}–{figure.ratio.high:.2f}"
    middle = f"{figure.ratio.median:.2f}"
    if figure.target is None:
        return f"{middle}\n{spread}"
    return f"{_coloured(middle, good=not figure.missed)}  ≥ {figure.target:g}\n{spread}"


def _rate_cell(figure: Figure) -> str:
    return f"{_count(figure.per_second)}\n{_duration(figure.mean_us)}"


def _cpu_cell(figure: Figure) -> str:
    return f"{figure.cpu_us:.0f}"


def _coloured(text: str, *, good: bool) -> str:
    # Colour alone is no message: a mark says it too.
    return f"[green]{text} ✓[/]" if good else f"[red]{text} ✗[/]"


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _duration(micros: float) -> str:
    return f"{micros:.0f} µs" if micros < 1000 else f"{micros / 1000:.2f} ms"


def _plain(figure: Figure) -> dict[str, Any]:
    plain = asdict(figure)
    if figure.ratio is not None:
        plain["met"] = not figure.missed
    return plain
