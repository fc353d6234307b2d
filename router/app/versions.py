"""`router versions`: all versions and where they stand."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from router.app.admin_reach import AdminReach, admin_option
from router.app.share import percent
from router.app.terminal import NOTHING, console, json_option, moment, print_json, text
from router.app.version_name import any_model_argument
from router.pb.admin_pb2 import ListVersionsResponse, ModelVersions, VersionInfo

COLOURS = {
    "champion": "green",
    "standby": "cyan",
    "challenger": "magenta",
    "ready": "blue",
    "failed": "red",
    "retired": "dim",
    "found": "dim",
}
"""Of stages; those on their way are yellow."""


@click.command()
@any_model_argument
@admin_option
@json_option
def versions(model: str, reach: AdminReach, as_json: bool) -> None:
    """Show the versions of all models or of one: where they stand, since when and why."""
    with reach.asked() as client:
        answer = client.versions(model)
    if as_json:
        print_json(answer)
        return
    console().print(table(answer))


def table(answer: ListVersionsResponse) -> Table:
    """The versions, newest first, model by model."""
    frozen = ", all promotions are frozen" if answer.frozen else ""
    shown = Table(title=f"generation {answer.generation}{frozen}", title_justify="left")
    for heading in ("model", "version", "stage", "names", "tested", "warmed", "files", "since", "by", "why"):
        shown.add_column(heading, overflow="fold")
    for view in answer.models:
        for place, each in enumerate(view.versions):
            shown.add_row(*_row(view, each, first=place == 0), end_section=place == len(view.versions) - 1)
    return shown


def _row(view: ModelVersions, each: VersionInfo, *, first: bool) -> list[Text]:
    model = text(view.model) if first else Text()
    if first and view.frozen:
        model.append(" (frozen)", "cyan")
    why = text(each.reason)
    if each.mark:
        why = text(each.mark, "red") + Text("; " if each.reason else "") + why
    names = sorted(name for name, number in view.aliases.items() if number == each.number)
    return [
        model,
        text(each.number),
        text(_part(view, each), COLOURS.get(each.stage, "yellow")),
        text(", ".join(names)),
        _verdict(each, "test"),
        _verdict(each, "warm"),
        text(each.digest[:12] or NOTHING),
        Text(moment(each.since_seconds)),
        text(each.actor),
        why,
    ]


def _part(view: ModelVersions, each: VersionInfo) -> str:
    """The stage, and of a challenger what it is asked."""
    parts = [each.stage]
    if share := view.shares.get(each.number):
        parts.append(percent(share))
    parts += [f"{match.key}={match.value}" for match in view.matches if match.version == each.number]
    parts += ["shadow"] if each.number in view.shadows else []
    return ", ".join(parts)


def _verdict(each: VersionInfo, kind: str) -> Text:
    for report in each.reports:
        if report.kind == kind:
            return Text("passed", "green") if report.passed else Text("failed", "red")
    return Text(NOTHING, "dim")
