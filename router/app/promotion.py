"""`router promote` and `router rollback`: another version answers, with one flip for all workers."""

from __future__ import annotations

from collections.abc import Callable

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Wrong
from router.app.order import reason_option
from router.app.story import Story, follow
from router.app.terminal import figure, json_option, print_json, say
from router.app.version_name import both, model_argument, parted, version_argument
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Changed

expect_option = click.option(
    "--expect", default="", metavar="N", help="Only if the champion is version N: who was first wins, nobody is undone."
)


@click.command()
@model_argument
@version_argument
@expect_option
@click.option("--override", is_flag=True, help="Although its gates say no: needs --reason, and the right to approve.")
@click.option(
    "--strategy", type=click.Choice(["swap"]), default="swap", show_default=True, help="swap: all requests at once."
)
@reason_option
@admin_option
@json_option
def promote(
    model: str,
    version: str,
    expect: str,
    override: bool,
    strategy: str,
    reason: str,
    reach: AdminReach,
    as_json: bool,
) -> None:
    """Make a version champion and tell how it goes: MODEL VERSION or MODEL:VERSION.

    `router plan promote` shows first what would happen. Exit code 1: it was refused, and nothing has changed.
    """
    model, version = both(model, version)
    if override and not reason.strip():
        raise Wrong("--override needs --reason TEXT: why the gates are overruled is kept in the audit log")
    _numbers(version, expect)
    _change(
        f"promoting {model} {version} …",
        model,
        reach,
        as_json,
        lambda client: client.promote(model, version, reason, expect, override, strategy),
    )


@click.command()
@model_argument
@version_argument
@expect_option
@reason_option
@admin_option
@json_option
def rollback(model: str, version: str, expect: str, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Go back to the version that stands by, in one flip, or to any that is kept, which is loaded first."""
    model, version = parted(model, version)
    _numbers(version, expect)
    _change(
        f"rolling {model} back …",
        model,
        reach,
        as_json,
        lambda client: client.rollback(model, version, reason, expect),
    )


def _numbers(version: str, expect: str) -> None:
    for words in (version, expect):
        if words and not words.isdecimal():
            raise Wrong(
                f"{words[:80]!r} is no number: a change of champion names versions by their numbers, which stay"
            )


def _change(doing: str, model: str, reach: AdminReach, as_json: bool, act: Callable[[AdminClient], Changed]) -> None:
    with reach.asked() as client:
        try:
            changed = follow(client, model, lambda: act(client), Story(doing, silent=as_json))
        except KeyboardInterrupt:
            click.echo(f"it goes on in the server: `router versions {model}` tells what became of it", err=True)
            raise click.Abort from None
    if as_json:
        print_json(changed)
    else:
        say(told(changed))


def told(changed: Changed) -> str:
    """What serves now, and the way back."""
    took = f"generation {changed.generation}, took {figure(changed.took_ms)} ms"
    before = f", before it {changed.was_champion}" if changed.was_champion not in {"", changed.champion} else ""
    back = (
        f"; version {changed.standby} stands by: `router rollback {changed.model}` goes back to it"
        if changed.standby
        else ""
    )
    return f"model '{changed.model}': version {changed.champion} is champion{before} ({took}){back}"
