"""What commands print: tables for people, JSON for programs, and text of others made harmless."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from router.app.mistake import one_line
from router.edge.plain import plain

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
page_option = click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with charts, which works with no network.",
)

NOTHING: Final = "–"
"""In the place of what there is not."""


def console() -> Console:
    """Standard output; wide where it is no terminal, so that nothing is cut off."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140)


def text(words: str, style: str = "") -> Text:
    """Words of others: neither markup nor control characters act on the terminal."""
    return Text(one_line(words), style)


def say(words: str) -> None:
    """One line, whatever names came into it."""
    click.echo(one_line(words))


def print_json(value: Any) -> None:
    """A message or a plain value as JSON; what is not a finite number is null."""
    click.echo(json.dumps(_finite(plain(value)), indent=2, allow_nan=False))


def json_line(value: Any) -> str:
    """The same in one line."""
    return json.dumps(_finite(plain(value)), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def moment(seconds: float) -> str:
    """A time since 1970, as clocks here show it."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else NOTHING
    except (ValueError, OverflowError, OSError):  # no year that a clock here knows
        return NOTHING


def size(amount: int) -> str:
    """Bytes for a person."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= factor:
            return f"{amount / factor:.3g} {unit}"
    return f"{amount} bytes"


def figure(value: float) -> str:
    """A number for a person: four digits."""
    return f"{value:.0f}" if abs(value) < 1e6 and value == int(value) else f"{value:.4g}"
