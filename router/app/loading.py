"""`router load` and `router unload`: which versions are loaded."""

from __future__ import annotations

from collections.abc import Callable

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.order import reason_option
from router.app.story import Story, follow
from router.app.terminal import NOTHING, figure, json_option, print_json, say
from router.app.version_name import model_argument, parted, version_argument
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Changed


@click.command()
@model_argument
@version_argument
@reason_option
@admin_option
@json_option
def load(model: str, version: str, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Load a version of MODEL, or without one what the model's settings choose. It need not become champion."""
    model, version = parted(model, version)
    _change(f"loading {model} …", model, reach, as_json, lambda client: client.load(model, version, reason))


@click.command()
@model_argument
@version_argument
@reason_option
@admin_option
@json_option
def unload(model: str, version: str, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Let a version of MODEL go, or without one all of the model: nothing of it answers then."""
    model, version = parted(model, version)
    _change(f"unloading {model} …", model, reach, as_json, lambda client: client.unload(model, version, reason))


def _change(doing: str, model: str, reach: AdminReach, as_json: bool, act: Callable[[AdminClient], Changed]) -> None:
    with reach.asked() as client:
        try:
            changed = follow(client, model, lambda: act(client), Story(doing, silent=as_json))
        except KeyboardInterrupt:
            click.echo(f"it goes on in the server: `router versions {model}` tells what became of it", err=True)
            raise click.Abort from None
    if as_json:
        print_json(changed)
        return
    serves = f"version {changed.champion} is champion" if changed.champion else "nothing of it serves"
    say(
        f"model '{model}': {serves}, standby {changed.standby or NOTHING}"
        f" (generation {changed.generation}, took {figure(changed.took_ms)} ms)"
    )
