"""`router drift`: whether what comes to a model is still what it was made for."""

from __future__ import annotations

from pathlib import Path

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.drift_text import shown, summary
from router.app.mistake import writing
from router.app.terminal import console, json_option, page_option, print_json, say
from router.app.version_name import any_model_argument
from router.pb.drift_pb2 import GetDriftRequest, GetDriftResponse, ModelDrift
from router.pb.drift_pb2_grpc import DriftStub


@click.command()
@any_model_argument
@click.option("--all", "everything", is_flag=True, help="All features, not the worst of them.")
@page_option
@admin_option
@json_option
def drift(model: str, everything: bool, page: Path | None, reach: AdminReach, as_json: bool) -> None:
    """Show whether what comes to MODEL is still what it was made for, feature by feature; without MODEL all models.

    An index (population stability index) below 0.1 is green, above 0.2 red, unless model.toml says otherwise; and
    nothing is said that chance alone may do with so few rows.
    """
    if page is not None and not model:
        raise click.UsageError("--html FILE is about one model: name it")
    with reach.asked() as client:
        answer: GetDriftResponse = client.other(DriftStub, "GetDrift", GetDriftRequest(model=model))
    models = list(answer.models)
    if page is not None:
        _write(page, models[0])
    if as_json:
        print_json(models[0] if model else {"models": models})
    elif page is not None:
        say(f"written to {page}")
    elif not model:
        if models:
            console().print(summary(models))
        else:
            say("no model is looked at: `enabled = true` in its [drift] has one looked at")
    else:
        for part in shown(models[0], everything=everything):
            console().print(part)


def _write(page: Path, found: ModelDrift) -> None:
    with writing(page):
        from router.app.drift_page import write  # noqa: PLC0415  # plotly takes its time, and need not be there

        write(found, page)
