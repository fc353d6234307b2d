"""`router health`: how models serve their callers: green, yellow or red, why, and what to do next."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Group, RenderableType
from rich.live import Live

from router.app.admin_reach import AdminReach, admin_option
from router.app.health_text import overview, whole
from router.app.mistake import writing
from router.app.seconds import Seconds
from router.app.terminal import console, json_line, json_option, page_option, print_json, say
from router.app.version_name import any_model_argument
from router.edge.admin_client import AdminClient
from router.pb.health_report_pb2 import GetHealthRequest, HealthReport
from router.pb.health_report_pb2_grpc import ModelHealthReportStub

AGAIN_S: Final = 1.0
"""The server judges once a second."""


@click.command()
@any_model_argument
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
@click.option("--for", "seconds", type=Seconds(), metavar="SECONDS", help="With --watch: end after so long.")
@page_option
@admin_option
@json_option
def health(model: str, watch: bool, seconds: float | None, page: Path | None, reach: AdminReach, as_json: bool) -> None:
    """Show how all models serve their callers, or MODEL: green, yellow or red, why, and what to do next."""
    if seconds is not None and not watch:
        raise click.UsageError("--for SECONDS goes with --watch")
    if page is not None and watch:
        raise click.UsageError("--html FILE is written once: leave --watch away")
    with contextlib.suppress(KeyboardInterrupt), reach.asked() as client:
        if watch:
            _watch(client, model, seconds, as_json)
            return
        report = asked(client, model)
        if page is not None:
            _write(page, report)
            if as_json:
                print_json({"written": str(page)})
            else:
                say(f"written to {page}")
        elif as_json:
            print_json(report)
        else:
            console().print(shown(report, model))


def asked(client: AdminClient, model: str) -> HealthReport:
    """The report on a model, or on all. Raises RouterError."""
    made: Any = client.other(ModelHealthReportStub, "GetHealth", GetHealthRequest(model=model))
    report: HealthReport = made
    return report


def shown(report: HealthReport, model: str) -> RenderableType:
    """A line for each model, or all of one."""
    if model and report.models:
        return Group(*whole(report, report.models[0]))
    return overview(report)


def _watch(client: AdminClient, model: str, seconds: float | None, as_json: bool) -> None:
    if as_json:
        for report in _again(client, model, seconds):
            click.echo(json_line(report))
        return
    with Live(console=console(), auto_refresh=False) as live:
        for report in _again(client, model, seconds):
            live.update(shown(report, model), refresh=True)


def _again(client: AdminClient, model: str, seconds: float | None) -> Iterator[HealthReport]:
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        yield asked(client, model)
        left = AGAIN_S if until is None else min(AGAIN_S, until - time.monotonic())
        if left <= 0:
            return
        time.sleep(left)


def _write(path: Path, report: HealthReport) -> None:
    with writing(path):
        from router.app.health_page import page  # noqa: PLC0415  # plotly takes its time, and need not be there
        from router.app.report_page import keep  # noqa: PLC0415

        keep(page(report), path)
