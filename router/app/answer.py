"""An answer, for a person and for a program."""

from __future__ import annotations

import base64
import math
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.app.conversion import Array
from router.app.mistake import one_line
from router.client import Reply, datatype

ROWS: Final = 20
CLASSES: Final = 5
WIDEST: Final = 1024
BAR: Final = 16
PEEK: Final = 8


def show(reply: Reply, took_ms: float) -> None:
    """The answer for a person: a row for each item of the batch, other outputs in short, who answered."""
    console = Console(highlight=False)
    by_row = {name: array for name, array in reply.outputs.items() if _is_label(array) or _is_scores(array)}
    rows = max((len(array) for array in by_row.values()), default=0)
    by_row = {name: array for name, array in by_row.items() if len(array) == rows > 0}
    if rows:
        table = Table(show_lines=any(_is_scores(array) for array in by_row.values()))
        table.add_column("row", justify="right")
        for name in by_row:
            table.add_column(Text(one_line(name)), overflow="fold")
        for row in range(min(rows, ROWS)):
            table.add_row(Text(str(row)), *(_cell(array, row) for array in by_row.values()))
        console.print(table)
        if rows > ROWS:
            console.print(Text(f"… and {rows - ROWS} more rows; --json prints all"))
    for name, array in reply.outputs.items():
        if name not in by_row:
            console.print(Text(one_line(f"{name} {datatype(array.dtype)} {list(array.shape)}: {_peek(array)}")))
    console.print(Text(_footer(reply, took_ms)), style="dim")


def _footer(reply: Reply, took_ms: float) -> str:
    parts = []
    if reply.served_by:
        parts.append(f"served by {reply.served_by}")
    if reply.version:
        parts.append(f"version {reply.version}")
    if reply.generation is not None:
        parts.append(f"generation {reply.generation}")
    if reply.degraded:
        parts.append(f"degraded ({reply.parameters.get('fallback_reason', 'no reason given')})")
    if "humility" in reply.parameters:
        parts.append(f"not to be trusted ({reply.parameters['humility']})")
    return one_line(" · ".join([*parts, f"{took_ms:.1f} ms"]))


def as_object(reply: Reply, took_ms: float) -> dict[str, Any]:
    """The answer for a program."""
    return {
        "model": reply.model,
        "version": reply.version,
        "outputs": {
            name: {"datatype": datatype(array.dtype), "shape": list(array.shape), "data": _plain(array)}
            for name, array in reply.outputs.items()
        },
        "parameters": {name: _finite(value) for name, value in reply.parameters.items()},
        "ms": round(took_ms, 3),
    }


def _plain(array: Array) -> Any:
    """Nested lists that JSON can carry: bytes as text, or base64 when they are none; NaN and infinity by name."""

    def value(item: Any) -> Any:
        if isinstance(item, list):
            return [value(inner) for inner in item]
        if isinstance(item, bytes):
            try:
                return item.decode()
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(item).decode()}
        return _finite(item)

    if array.dtype == np.float32:
        array = array.astype("U32").astype(np.float64)  # 0.1, not 0.10000000149011612
    return value(_wide(array).tolist())


def _finite(value: Any) -> Any:
    """JSON has no word for what is no number or without end."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _wide(array: Array) -> Array:
    """Small floats as float64, which Python knows how to print."""
    return array.astype(np.float64) if datatype(array.dtype) in {"FP16", "BF16"} else array


def _is_float(array: Array) -> bool:
    return datatype(array.dtype) in {"FP16", "BF16", "FP32", "FP64"}


def _is_label(array: Array) -> bool:
    return not _is_float(array) and (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1))


def _is_scores(array: Array) -> bool:
    return _is_float(array) and array.ndim == 2 and 2 <= array.shape[1] <= WIDEST


def _cell(array: Array, row: int) -> Text:
    if _is_scores(array):
        return _bars(_wide(array[row]))
    return Text(_word(array[row].reshape(-1)[0] if array.ndim == 2 else array[row]))


def _bars(scores: Array) -> Text:
    """The highest scores, each with its class; with a bar when they are shares of one."""
    top = np.argsort(-scores, kind="stable")[:CLASSES]
    shares = bool(np.all((scores >= 0) & (scores <= 1)))
    width = len(str(top.max()))
    lines = []
    for place in top:
        bar = f"{'█' * round(float(scores[place]) * BAR):<{BAR}} " if shares else ""
        lines.append(f"{place:>{width}} {bar}{scores[place]:.4g}")
    if len(scores) > CLASSES:
        lines.append(f"… {len(scores) - CLASSES} more")
    return Text("\n".join(lines))


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return one_line(value.decode())
        except UnicodeDecodeError:
            return repr(value)
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _peek(array: Array) -> str:
    first = ", ".join(_word(value) for value in _wide(array.reshape(-1)[:PEEK]))
    return first + (", …" if array.size > PEEK else "")
