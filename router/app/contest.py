"""`router trial`: whether a challenger is better than the champion."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.case_text import named, shown
from router.app.mistake import Failed
from router.app.order import reason_option
from router.app.terminal import console, json_option, print_json, say
from router.app.version_name import model_argument, number, parted, version_argument
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Case


@click.command()
@model_argument
@version_argument
@click.option("--stop", is_flag=True, help="End the trial that is under way, without a verdict.")
@reason_option
@admin_option
@json_option
def trial(model: str, version: str, stop: bool, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Find out whether a challenger is better: MODEL VERSION or MODEL:VERSION begins a trial, MODEL alone shows it.

    `model.toml` says under [trial] what it takes to win, and what becomes of a winner. It needs to come true what was
    right: `router actuals` hands that in.
    """
    model, version = parted(model, version)
    if stop and version:
        raise click.UsageError("--stop takes no version: a model has one trial at a time")
    with reach.asked() as client:
        if stop:
            found = client.stop_trial(model, reason)
        elif version:
            found = client.start_trial(model, number(client, model, version), reason)
        else:
            found = newest(client, model, "trial", f"`router trial {model} VERSION` begins one")
    tell(found, as_json, f"`router trial {model}` shows how it stands" if version else "")


def newest(client: AdminClient, model: str, kind: str, mend: str) -> Case:
    """The case that is under way, else the last one. Raises Failed where there was none, RouterError."""
    found = client.cases(model, kind=kind, last=1)
    if not found:
        raise Failed(f"model '{model}' has had none so far: {mend}")
    return found[0]


def tell(found: Case, as_json: bool, go_on: str = "") -> None:
    """All of it, or where it has just begun a line that says how to go on."""
    if as_json:
        print_json(found)
    elif go_on:
        say(f"{named(found)}: {found.text.rstrip('.')}; {go_on}")
    else:
        for part in shown(found):
            console().print(part)
