"""`router report`: what a version was put through."""

from __future__ import annotations

from pathlib import Path

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed, writing
from router.app.report_text import shown
from router.app.terminal import console, json_option, page_option, print_json, say
from router.app.version_name import model_argument, number, parted, version_argument
from router.pb.admin_pb2 import Report


@click.command()
@model_argument
@version_argument
@click.option("--kind", type=click.Choice(["test", "warm"]), help="Tests or warm-ups only.")
@click.option("--last", type=click.IntRange(1, 1000), metavar="N", help="The newest N instead of one of each kind.")
@page_option
@admin_option
@json_option
def report(
    model: str, version: str, kind: str | None, last: int | None, page: Path | None, reach: AdminReach, as_json: bool
) -> None:
    """Show what a version was put through: MODEL VERSION or MODEL:VERSION, or of all versions of MODEL.

    A role (champion, standby, latest) or an alias may stand for the version.
    """
    model, version = parted(model, version)
    with reach.asked() as client:
        named = number(client, model, version) if version else ""
        found = client.reports(model, named, kind or "", last or 0)
    if page is not None:
        if not found:
            raise Failed(f"there is nothing to write: {_none(model, named, kind)}")
        _write(page, found)
    if as_json:
        print_json({"reports": found})
        return
    if page is not None:
        say(f"written to {page}")
        return
    if not found:
        say(_none(model, named, kind))
    for place, each in enumerate(found):
        if place:
            click.echo()
        for part in shown(each):
            console().print(part)


def _none(model: str, named: str, kind: str | None) -> str:
    what = {"test": "tested", "warm": "warmed up"}.get(kind or "", "tested or warmed up")
    of = f"version {named} of model '{model}' has not" if named else f"no version of model '{model}' has"
    command = "warm" if kind == "warm" else "test"
    return f"{of} been {what} yet: `router {command} {model} {named or 'VERSION'}` does that"


def _write(page: Path, found: list[Report]) -> None:
    with writing(page):
        from router.app.report_page import write  # noqa: PLC0415  # plotly takes its time, and need not be there

        write(found, page)
