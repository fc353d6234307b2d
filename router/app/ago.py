"""How long ago, on the command line: `90s`, `30m`, `24h`, `7d`."""

from __future__ import annotations

import re
from typing import Any, Final

import click

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SHAPE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", re.ASCII)


class Ago(click.ParamType):  # type: ignore[type-arg]  # older releases of click take none
    """A number and a unit; more than nothing."""

    name = "ago"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds. Fails with a line for the user."""
        if isinstance(value, float):
            return value
        found = _SHAPE.fullmatch(str(value).strip())
        seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
        if not seconds:
            self.fail(f"{value!r} is no time: a number with s, m, h or d is meant, such as 24h", param, ctx)
        return seconds
