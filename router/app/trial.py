"""`router test` and `router warm`: a version before it may serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.order import reason_option
from router.app.report_text import shown
from router.app.story import Story, begun, follow
from router.app.terminal import console, json_option, print_json, say
from router.app.version_name import both, model_argument, number, version_argument
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Report

FAILED: Final = 3
"""The exit code of a verdict that is not good."""

EXIT_CODES: Final = (
    "Exit code 0: passed. 1: refused, or no server answers. 2: a mistake on the command line. 3: it ended, and the"
    " verdict is that it failed."
)

no_wait_option = click.option("--no-wait", is_flag=True, help="End when it has begun: it goes on in the server.")


@click.command(epilog=EXIT_CODES)
@model_argument
@version_argument
@no_wait_option
@reason_option
@admin_option
@json_option
def test(model: str, version: str, no_wait: bool, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Put a version through its gates, MODEL VERSION or MODEL:VERSION, and show the report.

    A role (champion, standby, latest) or an alias may stand for the version.
    """
    _try("testing", model, version, no_wait, reach, as_json, lambda client, *named: client.test(*named, reason))


@click.command(epilog=EXIT_CODES)
@model_argument
@version_argument
@no_wait_option
@reason_option
@admin_option
@json_option
def warm(model: str, version: str, no_wait: bool, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Run a version beside the champion on copies of live requests until there is a verdict.

    It reaches no caller meanwhile. MODEL VERSION or MODEL:VERSION; a role (standby, latest) or an alias may stand for
    the version.
    """
    _try("warming up", model, version, no_wait, reach, as_json, lambda client, *named: client.warm(*named, reason))


def _try(
    doing: str,
    model: str,
    version: str,
    no_wait: bool,
    reach: AdminReach,
    as_json: bool,
    act: Callable[[AdminClient, str, str], Report],
) -> None:
    model, version = both(model, version)
    with reach.asked() as client:
        named = number(client, model, version)
        story = Story(f"{doing} {model} {named} …", silent=as_json)
        if no_wait:
            begun(client, model, named, lambda: act(client, model, named), story)
            if as_json:
                print_json({"model": model, "version": named, "begun": True})
            else:
                say(f"{doing} has begun: `router watch {model}` and `router report {model}:{named}` tell of it")
            return
        try:
            report = follow(client, model, lambda: act(client, model, named), story)
        except KeyboardInterrupt:
            click.echo(
                f"{doing} goes on in the server: `router watch {model}` and `router report` tell of it", err=True
            )
            raise click.Abort from None
    if as_json:
        print_json(report)
    else:
        for each in shown(report):
            console().print(each)
    if not report.passed:
        raise SystemExit(FAILED)
