"""Shares of the requests and matches of their metadata on the command line: `5`, `5%`, `3=5`, `x-cohort=beta`."""

from __future__ import annotations

from typing import Any

import click


class Percent(click.ParamType):  # type: ignore[type-arg]  # older releases of click take none
    """Percent of the requests, from 0 to 100; the sign may stand after it."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails with a line for the user."""
        try:
            share = float(str(value).removesuffix("%"))
        except ValueError:
            share = float("nan")
        if not 0 <= share <= 100:
            self.fail(f"{value!r} is no share: percent of the requests are meant, from 0 to 100", param, ctx)
        return share


class VersionShare(click.ParamType):  # type: ignore[type-arg]  # older releases of click take none
    """`VERSION=PERCENT`."""

    name = "version=percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """The number of a version, and its share. Fails with a line for the user."""
        version, equals, share = str(value).partition("=")
        if not equals or not version.isdecimal():
            self.fail(f"{value!r} is no share of a version: VERSION=PERCENT is meant, such as 3=5", param, ctx)
        return version, Percent().convert(share, param, ctx)


class KeyValue(click.ParamType):  # type: ignore[type-arg]  # older releases of click take none
    """`KEY=VALUE` of a call's metadata."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Both. Fails with a line for the user."""
        key, _, held = str(value).partition("=")
        if not key or not held:
            self.fail(f"{value!r} is no match: KEY=VALUE is meant, such as x-cohort=beta", param, ctx)
        return key, held


def percent(share: float) -> str:
    """A share for a person: exact to a ten-thousandth of a percent, as splits are."""
    return f"{share:.7g} %"
