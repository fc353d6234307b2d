"""What a person sees while a test runs, and the result as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtest.sla import told
from loadtest.sla.glance import Glance, Watcher
from loadtest.sla.result import Document, lines, verdict
from loadtest.sla.units import spoken

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "INVALID": "magenta", "INTERRUPTED": "magenta"}


@contextmanager
def watching(console: Console) -> Iterator[Watcher]:
    """A view that follows the test; a line a second where there is no terminal."""
    if not console.is_terminal:
        last = -1

        def tell(glance: Glance) -> None:
            nonlocal last
            if int(glance.elapsed) != last:
                last = int(glance.elapsed)
                console.print(_words(glance), highlight=False, soft_wrap=True)

        yield tell
        return
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        yield lambda glance: live.update(_view(glance))


def _words(glance: Glance) -> str:
    p50, p99, p999 = _recent(glance)
    return (
        f"{glance.elapsed:5.0f} s of {glance.total:.0f}  {glance.phase:12} {glance.rate:7.0f}/s"
        f"  p50 {p50:>8}  p99 {p99:>8}  p99.9 {p999:>8}  oldest open {spoken(glance.waits):>8}  failed {glance.failed}"
    )


def _recent(glance: Glance) -> list[str]:
    """The percentiles of the last second; dashes where nothing was answered in it."""
    recent = glance.recent
    return [spoken(each) if recent.count else "–" for each in (recent.p50, recent.p99, recent.p999)]


def _view(glance: Glance) -> Group:
    figures = Table.grid(padding=(0, 3))
    figures.add_row("phase", "rate", "p50", "p99", "p99.9", "oldest open", "answered", "failed", style="dim")
    figures.add_row(
        glance.phase or "–",
        f"{glance.rate:.0f}/s",
        *_recent(glance),
        spoken(glance.waits),
        str(glance.answered),
        Text(str(glance.failed), style="red" if glance.failed else ""),
    )
    bar = ProgressBar(total=glance.total, completed=glance.elapsed, width=60)
    return Group(Text(f"{glance.elapsed:.0f} of {glance.total:.0f} s"), bar, figures)


def show(console: Console, document: Document) -> None:
    """The result: the service level line by line, what became of the requests, and the word for it."""
    measured = document["measured"]
    counts, latency, service = measured["counts"], measured["latency"], measured["service"]
    table = Table(title=f"{document['title']} · {document['server']['title']}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "limit", "measured", ""):
        table.add_column(heading, no_wrap=True, justify="left" if not heading else "right")
    table.add_column("")
    for line in lines(document):
        table.add_row(line.name, line.limit, line.measured, Text(line.grade, style=COLOURS[line.grade]), line.why)
    console.print(table)
    console.print(
        f"{counts['due']} due, {counts['answered']} answered, {counts['unsent']} not sent"
        + "".join(f", {count} {name}" for name, count in counts["errors"].items()),
        highlight=False,
    )
    for name, times in (("from the intended send", latency), ("from the real send", service)):
        console.print(
            f"{name:24} p50 {spoken(times['p50'])}  p99 {spoken(times['p99'])}  p99.9 {spoken(times['p999'])}"
            f"  max {spoken(times['max'])}",
            highlight=False,
        )
    _mapping(console, "served by", counts["sources"])
    _mapping(console, "version", counts["versions"])
    for deed in document["actions"]:
        style = "" if deed["ok"] else "red"
        after = deed["after"]
        text = (
            f"{deed['began']:6.1f} s  {deed['label']}  {deed['detail']}  "
            f"→ p99 {spoken(after['latency']['p99'])}, {sum(after['counts']['errors'].values())} errors in 2 s"
            + "".join(
                f", last {word} +{deed[key]:.2f} s"
                for key, word in (("last_failed", "failed"), ("last_degraded", "degraded"))
                if deed.get(key) is not None
            )
        )
        console.print(Text(text, style=style), soft_wrap=True)
    for words in told.lines(document):
        console.print(words, highlight=False, soft_wrap=True)
    for failure in told.failures(document):
        console.print(Text(failure, style="red"), soft_wrap=True)
    if document["closed_loop"]:
        console.print("Closed loop: callers wait for their answers, so queueing is hidden in these figures.")
    for note in document.get("notes", ()):
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    for reason in document["invalid"]:
        console.print(Text(f"not valid: {reason}", style="magenta"), soft_wrap=True)
    word, _ = verdict(document)
    console.print(Text(word, style=f"bold {COLOURS[word]}"))


def _mapping(console: Console, name: str, counts: dict[str, Any]) -> None:
    if counts:
        console.print(f"{name:24} " + ", ".join(f"{key}: {count}" for key, count in counts.items()), highlight=False)
