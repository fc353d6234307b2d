"""Results side by side: figures, ratios to the first, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.sla import bootstrap
from loadtest.sla.bootstrap import Counts
from loadtest.sla.figures import DIGITS, LEAST_US, MOST_US, QUANTILES, quantile
from loadtest.sla.result import Document, verdict
from loadtest.sla.units import spoken


@dataclass(frozen=True, slots=True)
class Compared:
    """A percentile of a result divided by that of the first, with its interval.

    None where nothing was answered, or too little to resample.
    """

    value: float | None
    ratio: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        text = f"{spoken(self.value)}\n×" + ("–" if self.ratio is None else f"{self.ratio:.2f}")
        return text if self.low is None else f"{text}\n[{self.low:.2f}–{self.high:.2f}]"


def _counts(documents: Sequence[Document]) -> tuple[list[Counts], npt.NDArray[np.float64]]:
    """For each document one row a stretch of time: how often each value came; and the values in seconds, for all."""
    whole = []
    for document in documents:
        rows = []
        for text in document["slices"]:
            hist = HdrHistogram(LEAST_US, MOST_US, DIGITS)
            hist.decode_and_add(text)
            rows.append(np.ctypeslib.as_array(hist.counts).astype(np.int64))
        whole.append(np.array(rows))
    came = np.flatnonzero(sum(counts.sum(axis=0) for counts in whole))
    scale = HdrHistogram(LEAST_US, MOST_US, DIGITS)
    values = np.array([scale.get_value_from_index(int(index)) for index in came]) / 1e6
    return [counts[:, came] for counts in whole], values


def whole(slices: list[str]) -> dict[str, float | None]:
    """Percentiles in seconds over several stretches; None where there are none."""
    hist = HdrHistogram(LEAST_US, MOST_US, DIGITS)
    for text in slices:
        hist.decode_and_add(text)
    return {name: quantile(hist, share) if slices else None for name, share in QUANTILES.items()}


def against(document: Document, first: Document, name: str, seed: int = 1) -> Compared:
    """One percentile (`p50`, `p90`, `p99`, `p999`) of a result against the first."""
    share = QUANTILES[name]
    value, base = _time(document, name), _time(first, name)
    ratio = value / base if value is not None and base else None
    if ratio is None or not (document["slices"] and first["slices"]):
        return Compared(value, ratio)
    (mine, theirs), values = _counts((document, first))
    found = bootstrap.interval(mine, theirs, values, share, seed)
    return Compared(value, ratio, *(found or ()))


def _time(document: Document, name: str) -> float | None:
    latency = document["measured"]["latency"]
    return float(latency[name]) if latency["count"] else None


def _rate(document: Document) -> float | None:
    measured = document["measured"]
    return measured["counts"]["answered"] / measured["seconds"] if measured["seconds"] else None


def _availability(document: Document) -> float | None:
    counts = document["measured"]["counts"]
    return counts["answered"] / counts["due"] if counts["due"] else None


def comparison(documents: list[Document]) -> list[dict[str, Any]]:
    """A row a result, for programs."""
    rows = []
    for document in documents:
        row: dict[str, Any] = {
            "server": document["server"]["title"],
            "title": document["title"],
            "verdict": verdict(document)[0],
            "answered_per_second": _rate(document),
            "availability": _availability(document),
        }
        for name in QUANTILES:
            compared = against(document, documents[0], name)
            row[name] = {
                "seconds": compared.value, "ratio": compared.ratio, "low": compared.low, "high": compared.high
            }  # fmt: skip
        rows.append(row)
    return rows


def label(document: Document, among: Sequence[Document]) -> str:
    """What tells a result from the others: its server, or its title where the server is the same."""
    servers = {each["server"]["title"] for each in among}
    return str(document["title"] if len(servers) == 1 else document["server"]["title"])


def show(console: Console, documents: list[Document]) -> None:
    """The table for people."""
    table = Table(title="Side by side, ratios to the first", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", min_width=10)
    for heading in ("answered", "available", "p50", "p99", "p99.9"):
        table.add_column(heading, justify="right", no_wrap=True)
    for document in documents:
        rate, available = _rate(document), _availability(document)
        cells = (
            f"{label(document, documents)}\n{verdict(document)[0]}",
            "–" if rate is None else f"{rate:.0f}/s",
            "–" if available is None else f"{available * 100:.5g} %",
            *(str(against(document, documents[0], name)) for name in ("p50", "p99", "p999")),
        )
        table.add_row(*map(Text, cells))
    console.print(table)
