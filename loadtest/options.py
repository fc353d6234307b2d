"""Options that commands of the load test share, and what is wrong with a value in one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from loadtest.errors import ScenarioError
from loadtest.sla import output
from loadtest.sla.units import duration
from router.edge.address import address
from router.errors import SettingsError

LEAST_S, MOST_S = 1.0, 600.0
"""Of one measurement at a rate."""


def _written(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """A file for a result: that it can be written is known before the load."""
    if path is not None:
        try:
            output.check(path)
        except ScenarioError as error:
            raise click.BadParameter(str(error)) from None
    return path


def lasts(_context: click.Context, _option: click.Parameter, value: str) -> float:
    """How long a measurement lasts, in seconds."""
    try:
        seconds = duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not LEAST_S <= seconds <= MOST_S:
        raise click.BadParameter(f"{value} is not between {LEAST_S:g}s and {MOST_S:g}s")
    return seconds


def finite(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """A rate: any that is a number."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of requests/s")
    return value


def _address(text: str) -> str:
    try:
        return address(text)
    except SettingsError as error:
        raise click.BadParameter(str(error)) from None


def one_target(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A server that runs already."""
    return None if value is None else _address(value)


def many_targets(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Several of them."""
    return tuple(map(_address, values))


def result_file(flag: str, text: str) -> Callable[[Any], Any]:
    """The option `flag` for a file that is written."""
    return click.option(
        flag, f"{flag[2:]}_path", type=click.Path(path_type=Path, dir_okay=False), callback=_written, help=text
    )


JSON: Final = result_file("--json", "Write the result for programs.")
