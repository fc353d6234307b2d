"""`router accuracy`: how right the versions of a model are."""

from __future__ import annotations

from pathlib import Path

import click

from router.app.accuracy_text import shown
from router.app.admin_reach import AdminReach, admin_option
from router.app.ago import Ago
from router.app.mistake import writing
from router.app.terminal import console, json_option, print_json, say
from router.app.version_name import model_argument, number, parted
from router.edge.accuracy_service import SINCE_S
from router.pb.accuracy_pb2 import GetAccuracyRequest, ModelAccuracy
from router.pb.accuracy_pb2_grpc import AccuracyStub


@click.command()
@model_argument
@click.option("--version", default="", metavar="VERSION", help="One version only: a number, a role or an alias.")
@click.option("--since", type=Ago(), default="24h", metavar="TIME", help="So far back, as 30m, 24h or 7d; 15d at most.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with charts, which works with no network.",
)
@admin_option
@json_option
def accuracy(model: str, version: str, since: float, page: Path | None, reach: AdminReach, as_json: bool) -> None:
    """Show how right the versions of MODEL are, by what came true: figures, decline, what next.

    A prediction counts when it was made. Where MODEL is MODEL:VERSION, that version only.
    """
    model, version = parted(model, version)
    with reach.asked() as client:
        named = number(client, model, version) if version else ""
        request = GetAccuracyRequest(model=model, version=named, since_seconds=since or SINCE_S)
        seen: ModelAccuracy = client.other(AccuracyStub, "GetAccuracy", request)
    if page is not None:
        _write(page, seen)
    if as_json:
        print_json(seen)
        return
    if page is not None:
        say(f"written to {page}")
        return
    for part in shown(seen):
        console().print(part)


def _write(page: Path, seen: ModelAccuracy) -> None:
    with writing(page):
        from router.app.accuracy_page import write  # noqa: PLC0415  # plotly takes its time, and need not be there

        write(seen, page)
