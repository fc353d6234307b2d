"""`router canary`: a promotion step by step, how it stands, and how it is undone."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.contest import newest, tell
from router.app.order import reason_option
from router.app.terminal import json_option
from router.app.version_name import model_argument


@click.command()
@model_argument
@click.option("--stop", is_flag=True, help="Undo it: the champion has all requests again, at once.")
@reason_option
@admin_option
@json_option
def canary(model: str, stop: bool, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Show the canary of MODEL: its step and share, and how the version does beside the champion.

    `router promote MODEL VERSION --canary` begins one.
    """
    with reach.asked() as client:
        if stop:
            found = client.stop_rollout(model, reason)
        else:
            found = newest(client, model, "rollout", f"`router promote {model} VERSION --canary` begins one")
    tell(found, as_json)
