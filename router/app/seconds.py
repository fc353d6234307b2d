"""A time on the command line."""

from __future__ import annotations

import math
from typing import Any, Final

import click

LONGEST: Final = 86_400.0


class Seconds(click.FloatRange):
    """Seconds, a day at most: neither negative nor endless, and no `nan`, which passes every comparison."""

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__(min=0, max=LONGEST, min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails with a line for the user."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds
