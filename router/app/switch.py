"""`router fallback`: a model is switched to its fallback by hand, and back."""

from __future__ import annotations

import click

from router.app.show import admin_option
from router.edge.admin_client import AdminClient
from router.errors import RouterError


@click.command()
@click.argument("turn", type=click.Choice(["on", "off"]))
@click.argument("model")
@admin_option
def fallback(turn: str, model: str, target: str) -> None:
    """Have a model's callers answered from its fallback, without a run (on), or by the model again (off)."""
    try:
        with AdminClient(target) as client:
            generation = client.set_fallback(model, turn == "on").generation
    except RouterError as error:
        raise click.ClickException(str(error)) from error
    now = "its fallback answers, nothing is run" if turn == "on" else "the model answers"
    click.echo(f"model '{model}': {now} (generation {generation})")
