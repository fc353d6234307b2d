"""`router freeze` and `router thaw`: nothing is promoted until somebody says so."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.order import reason_option
from router.app.terminal import json_option, print_json, say
from router.app.version_name import any_model_argument


@click.command()
@any_model_argument
@reason_option
@admin_option
@json_option
def freeze(model: str, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Stop promotions of a model, or of all models. A rollback is possible all the same."""
    _hold(model, True, reason, reach, as_json)


@click.command()
@any_model_argument
@reason_option
@admin_option
@json_option
def thaw(model: str, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Let promotions of a model, or of all models, go on."""
    _hold(model, False, reason, reach, as_json)


def _hold(model: str, frozen: bool, reason: str, reach: AdminReach, as_json: bool) -> None:
    with reach.asked() as client:
        client.freeze(model, frozen, reason)
    if as_json:
        print_json({"model": model, "frozen": frozen})
        return
    whose = f"model '{model}'" if model else "all models"
    say(f"{whose}: " + ("promotions are frozen; `router thaw` lets them go on" if frozen else "promotions go on"))
