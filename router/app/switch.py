"""`router fallback`: a model is switched to its fallback by hand, and back."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.order import reason_option
from router.app.terminal import json_option, print_json, say
from router.app.version_name import model_argument


@click.command()
@click.argument("turn", type=click.Choice(["on", "off"]))
@model_argument
@reason_option
@admin_option
@json_option
def fallback(turn: str, model: str, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Have a model's callers answered from its fallback, without a run (on), or by the model again (off)."""
    with reach.asked() as client:
        answer = client.set_fallback(model, turn == "on", reason)
    if as_json:
        print_json(answer)
        return
    now = "its fallback answers, nothing is run" if turn == "on" else "the model answers"
    say(f"model '{model}': {now} (generation {answer.generation})")
