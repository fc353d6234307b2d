"""`router cases`: trials, canaries and requests for approval, those that are under way and those that were."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.case_text import KINDS, table
from router.app.terminal import console, json_option, print_json, say
from router.app.version_name import any_model_argument, number, parted, version_argument

_KINDS = {word: kind for kind, word in KINDS.items()}


@click.command()
@any_model_argument
@version_argument
@click.option("--open", "only_open", is_flag=True, help="Only those that are under way.")
@click.option("--kind", type=click.Choice([*_KINDS]), help="Of one kind only.")
@click.option("--last", type=click.IntRange(1, 1000), default=30, show_default=True, metavar="N", help="How many.")
@admin_option
@json_option
def cases(
    model: str, version: str, only_open: bool, kind: str | None, last: int, reach: AdminReach, as_json: bool
) -> None:
    """Show trials, canaries and requests for approval, newest first: all, or those of MODEL or MODEL:VERSION."""
    model, version = parted(model, version)
    with reach.asked() as client:
        named = number(client, model, version) if version else ""
        found = client.cases(model, named, _KINDS[kind] if kind else "", last, only_open)
    if as_json:
        print_json({"cases": found})
        return
    if not found:
        say("nothing is under way" if only_open else "there have been no trials, canaries or requests")
        return
    console().print(table(found))
