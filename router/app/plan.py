"""`router plan`: what a change would do. Nothing is done."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from router.app.admin_reach import AdminReach, admin_option
from router.app.report_text import KINDS
from router.app.terminal import NOTHING, console, json_option, moment, print_json, size, text
from router.app.version_name import both, model_argument, version_argument
from router.pb.admin_pb2 import PromotionPlan


@click.group()
def plan() -> None:
    """Show what a change would do, without doing it."""


@plan.command("promote", epilog="Exit code 0: it would be done. 1: it would be refused, or no server answers.")
@model_argument
@version_argument
@admin_option
@json_option
def plan_promote(model: str, version: str, reach: AdminReach, as_json: bool) -> None:
    """Show what a promotion would do: evidence, memory, what moves, the way back. MODEL VERSION or MODEL:VERSION."""
    model, version = both(model, version)
    with reach.asked() as client:
        found = client.plan(model, version)
    if as_json:
        print_json(found)
    else:
        console().print(shown(found))
    if not found.possible:
        raise SystemExit(1)


def shown(found: PromotionPlan) -> Table:
    """The plan, a line for each question."""
    verdict = Text("can be done", "bold green") if found.possible else Text("would be refused", "bold red")
    made = Table(
        title=text(f"promotion of {found.model} {found.version}:") + Text(" ") + verdict,
        title_justify="left",
        show_header=False,
        box=None,
        pad_edge=False,
    )
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for obstacle in found.obstacles:
        made.add_row("in its way", text(obstacle, "red"))
    for each in found.evidence:
        passed = Text("passed", "green") if each.passed else Text("failed", "red")
        made.add_row(
            "evidence", text(f"{KINDS.get(each.kind, each.kind)} of {moment(each.seconds)}:") + Text(" ") + passed
        )
    if not found.evidence:
        made.add_row("evidence", Text("none: it has been neither tested nor warmed up", "yellow"))
    needed = f"{size(found.memory_needed_bytes)} needed in all workers" if found.memory_needed_bytes else "none needed"
    made.add_row("memory", f"{needed}, {size(found.memory_free_bytes)} free")
    made.add_row("now", text(_roles(found.champion, found.standby)))
    made.add_row("then", text(_roles(found.version, found.standby_after)))
    for move in found.moves:
        made.add_row("moves", text(move))
    made.add_row("way back", text(found.way_back or NOTHING))
    return made


def _roles(champion: str, standby: str) -> str:
    return f"champion {champion or NOTHING}, standby {standby or NOTHING}"
