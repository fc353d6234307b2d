"""`router alias`: a name of one's own for a version, which requests may use in the place of its number."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed
from router.app.order import reason_option
from router.app.terminal import json_option, print_json, say
from router.app.version_name import model_argument, number, version_argument


@click.command()
@model_argument
@click.argument("name")
@version_argument
@click.option("--remove", is_flag=True, help="The name stands for nothing any more.")
@reason_option
@admin_option
@json_option
def alias(model: str, name: str, version: str, remove: bool, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Let NAME stand for a VERSION of MODEL; without a version, show what it stands for.

    It moves for all workers at once, with one flip.
    """
    if remove and version:
        raise click.UsageError("--remove takes no version: the name stands for nothing then")
    with reach.asked() as client:
        if not version and not remove:
            (view,) = client.versions(model).models
            if name not in view.aliases:
                raise Failed(f"model '{model}' has no alias '{name}'; `router alias {model} {name} VERSION` makes it")
            stands = view.aliases[name]
            if as_json:
                print_json({"model": model, "alias": name, "version": stands})
            else:
                say(f"model '{model}': '{name}' is version {stands}")
            return
        named = "" if remove else number(client, model, version)
        changed = client.set_alias(model, name, named, reason)
    if as_json:
        print_json({"model": model, "alias": name, "version": named, "generation": changed.generation})
        return
    now = f"is version {named}" if named else "stands for nothing any more"
    say(f"model '{model}': '{name}' {now} (generation {changed.generation})")
