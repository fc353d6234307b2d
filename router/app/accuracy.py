"""`router accuracy`: how right the versions of a model are."""

from __future__ import annotations

from pathlib import Path

import click

from router.app.accuracy_text import shown
from router.app.admin_reach import AdminReach, admin_option
from router.app.ago import Ago
from router.app.mistake import Wrong, writing
from router.app.order import reason_option
from router.app.terminal import console, json_option, page_option, print_json, say
from router.app.version_name import model_argument, number, parted
from router.edge.accuracy_service import SINCE_S
from router.pb.accuracy_pb2 import GetAccuracyRequest, ModelAccuracy, ResetBaselineRequest, ResetBaselineResponse
from router.pb.accuracy_pb2_grpc import AccuracyStub


@click.command()
@model_argument
@click.option("--version", default="", metavar="VERSION", help="One version only: a number, a role or an alias.")
@click.option("--since", type=Ago(), default="24h", metavar="TIME", help="So far back, as 30m, 24h or 7d; 15d at most.")
@page_option
@click.option(
    "--reset-baseline",
    "reset",
    is_flag=True,
    help="From now on compare it with the first requests that come true then.",
)
@reason_option
@admin_option
@json_option
def accuracy(
    model: str,
    version: str,
    since: float,
    page: Path | None,
    reset: bool,
    reason: str,
    reach: AdminReach,
    as_json: bool,
) -> None:
    """Show how right the versions of MODEL are, by what came true: figures, decline, what next.

    A prediction counts when it was made. Where MODEL is MODEL:VERSION, that version only.

    A version is compared with its first requests of which it came true what was right. Where these are no measure any
    more, such as after a change in the world that it is to live with, --reset-baseline takes others.
    """
    if reset and page is not None:
        raise Wrong("--reset-baseline begins anew, --html shows what there is: give one of them")
    if reason and not reset:
        raise Wrong("--reason says why with --reset-baseline")
    model, version = parted(model, version)
    with reach.asked() as client:
        named = number(client, model, version) if version else ""
        if reset:
            wanted = ResetBaselineRequest(model=model, version=named, reason=reason)
            done: ResetBaselineResponse = client.other(AccuracyStub, "ResetBaseline", wanted, changes=True)
            print_json(done) if as_json else say(done.text)
            return
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
