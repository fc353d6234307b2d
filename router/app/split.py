"""`router split`: how a model's requests are divided between its champion and its challengers."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Wrong
from router.app.order import reason_option
from router.app.share import VersionShare, percent
from router.app.terminal import NOTHING, console, json_option, print_json, text
from router.app.version_name import model_argument, shares_argument
from router.pb.admin_pb2 import ModelVersions


@click.command()
@model_argument
@shares_argument(VersionShare())
@reason_option
@admin_option
@json_option
def split(model: str, shares: tuple[tuple[str, float], ...], reason: str, reach: AdminReach, as_json: bool) -> None:
    """Divide the requests to MODEL between its challengers, VERSION=PERCENT each; without any, show how they are.

    Challengers that are not named have no share then, the champion has what is left. A share that grows or shrinks
    moves only the callers that it must.
    """
    wanted = dict(shares)
    if len(wanted) < len(shares):
        raise Wrong("each version has one share: name it once")
    with reach.asked() as client:
        if shares:
            client.set_split(model, wanted, reason=reason)
        answer = client.versions(model)
    (view,) = answer.models
    if as_json:
        print_json(
            {
                "model": model,
                "generation": answer.generation,
                "champion": view.champion,
                "shares": dict(view.shares),
                "matches": list(view.matches),
                "shadows": list(view.shadows),
            }
        )
        return
    console().print(table(view, answer.generation))


def table(view: ModelVersions, generation: int) -> Table:
    """A line for each version that has a part: what it answers, and whether it runs copies."""
    shown = Table(title=text(f"{view.model}, generation {generation}"), title_justify="left")
    for heading in ("version", "part", "share", "calls with", "copies"):
        shown.add_column(heading, overflow="fold", justify="right" if heading == "share" else "left")
    rest = max(0.0, 100.0 - sum(view.shares.values()))
    if view.champion:
        shown.add_row(text(view.champion), Text("champion", "green"), percent(rest), NOTHING, NOTHING)
    for each in view.versions:
        matches = ", ".join(f"{match.key}={match.value}" for match in view.matches if match.version == each.number)
        share, shadow = view.shares.get(each.number), each.number in view.shadows
        if each.stage == "challenger" or share or matches or shadow:
            shown.add_row(
                text(each.number),
                text(each.stage, "magenta"),
                percent(share) if share else NOTHING,
                text(matches or NOTHING),
                "shadow" if shadow else NOTHING,
            )
    return shown
