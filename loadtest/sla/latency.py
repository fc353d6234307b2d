"""What servers do at the same rates, in turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.sla import compare
from loadtest.sla.capacity import Bench
from loadtest.sla.result import Document
from loadtest.sla.units import spoken

SHARES: Final = (0.5, 0.8)
"""Of the capacity of one of the servers."""
HEADINGS: Final = ("rate", "", "p50", "p99", "p99.9", "answered", "not sent", "wrong")


def latency(benches: list[Bench], most: float, rounds: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The result of each server at `SHARES` of `most` requests/s, the rounds put together.

    An interrupt ends it with what there is. Raises ScenarioError before any load when a rate cannot be sent.
    """
    rates = [most * share for share in SHARES]
    for bench in benches:
        bench.at(max(rates))
    documents: list[list[list[Document]]] = [[[] for _ in benches] for _ in rates]
    interrupted = True
    with suppress(KeyboardInterrupt):
        for rate, runs in zip(rates, documents, strict=True):
            for number in range(rounds):
                for index in _turned(len(benches), number):
                    progress(f"{rate:.0f}/s  round {number + 1}/{rounds}  {benches[index].subject.title}")
                    runs[index].append(benches[index].run(rate))
        interrupted = False
    tables = [
        {
            "share": share,
            "rate": rate,
            "rows": [merged(bench.subject.title, each) for bench, each in zip(benches, runs, strict=True)],
        }
        for share, rate, runs in zip(SHARES, rates, documents, strict=True)
    ]
    return {"interrupted": interrupted, "rates": tables}


def merged(server: str, documents: list[Document]) -> dict[str, Any]:
    """Several runs of the same as one row: percentiles over all their requests, None where none was answered."""
    counts = [document["measured"]["counts"] for document in documents]
    return {
        "server": server,
        "runs": len(documents),
        **{name: sum(each[name] for each in counts) for name in ("due", "answered", "unsent", "checked", "wrong")},
        "invalid": list(dict.fromkeys(reason for document in documents for reason in document["invalid"])),
        **compare.whole([text for document in documents for text in document["slices"]]),
    }


def _turned(count: int, number: int) -> list[int]:
    order = list(range(count))
    return order[number % count :] + order[: number % count]


def invalid(document: dict[str, Any]) -> list[str]:
    """Why some of the figures may not be believed."""
    return [
        f"{row['server']} at {table['rate']:.0f}/s: {reason}"
        for table in document["rates"]
        for row in table["rows"]
        for reason in row["invalid"]
    ]


def cells(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """The rows of the table, under `HEADINGS`. Where nothing was compared nothing is known to be right."""
    return [
        (
            f"{table['share']:.0%}, {table['rate']:.0f}/s",
            row["server"],
            *("–" if row[name] is None else spoken(row[name]) for name in ("p50", "p99", "p999")),
            f"{row['answered'] / row['due']:.3%}" if row["due"] else "–",
            str(row["unsent"]),
            f"{row['wrong']} of {row['checked']}" if row["checked"] else "–",
        )
        for table in document["rates"]
        for row in table["rows"]
    ]


def show(console: Console, document: dict[str, Any]) -> None:
    """The table for people."""
    table = Table(title="At the same rates", title_justify="left", box=SIMPLE_HEAD)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading else "left")
    for row in cells(document):
        table.add_row(*map(Text, row))
    console.print(table)
    for reason in invalid(document):
        console.print(Text(f"not valid: {reason}", style="magenta"), soft_wrap=True)
