"""`router promote` and `router rollback`: another version answers, with one flip for all workers or step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.case_text import named
from router.app.mistake import Failed, Wrong
from router.app.order import reason_option
from router.app.story import Story, follow, until
from router.app.terminal import figure, json_option, print_json, say
from router.app.version_name import both, model_argument, parted, version_argument
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Case, Changed

UNDONE: Final = 3
"""The exit code of a promotion that was waited for and did not come to be."""

expect_option = click.option(
    "--expect", default="", metavar="N", help="Only if the champion is version N: who was first wins, nobody is undone."
)


@click.command(
    epilog="Exit code 0: done, or begun. 1: refused, and nothing has changed. 3, with --wait: it was undone, or not"
    " approved."
)
@model_argument
@version_argument
@expect_option
@click.option("--override", is_flag=True, help="Although its gates say no: needs --reason, and the right to approve.")
@click.option(
    "--strategy",
    type=click.Choice(["swap", "canary"]),
    default="swap",
    show_default=True,
    help="swap: all requests at once. canary: step by step, and back by itself where it does worse.",
)
@click.option("--canary", is_flag=True, help="Short for --strategy canary.")
@click.option("--wait", is_flag=True, help="Tell how a canary or a request for approval goes on, to its end.")
@reason_option
@admin_option
@json_option
def promote(
    model: str,
    version: str,
    expect: str,
    override: bool,
    strategy: str,
    canary: bool,
    wait: bool,
    reason: str,
    reach: AdminReach,
    as_json: bool,
) -> None:
    """Make a version champion and tell how it goes: MODEL VERSION or MODEL:VERSION.

    `router plan promote` shows first what would happen. Where the model's policy asks for approvals, the champion goes
    on until they are there.
    """
    model, version = both(model, version)
    if override and not reason.strip():
        raise Wrong("--override needs --reason TEXT: why the gates are overruled is kept in the audit log")
    _numbers(version, expect)
    strategy = "canary" if canary else strategy
    _change(
        f"promoting {model} {version} …",
        model,
        reach,
        as_json,
        lambda client: client.promote(model, version, reason, expect, override, strategy),
        wait=wait,
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


def _change(
    doing: str,
    model: str,
    reach: AdminReach,
    as_json: bool,
    act: Callable[[AdminClient], Changed],
    *,
    wait: bool = False,
) -> None:
    with reach.asked() as client:
        story = Story(doing, silent=as_json)
        try:
            changed = follow(client, model, lambda: act(client), story)
            waits = wait and changed.HasField("opened")
            if waits:
                if not as_json:
                    say(told(changed))
                changed.opened.CopyFrom(_followed(client, changed.opened, story))
        except KeyboardInterrupt:
            click.echo(f"it goes on in the server: `router versions {model}` tells what became of it", err=True)
            raise click.Abort from None
    if as_json:
        print_json(changed)
    elif waits:
        say(f"{named(changed.opened)}: {changed.opened.text}")
    else:
        say(told(changed))
    if waits and not _good(changed.opened):
        raise SystemExit(UNDONE)


def _followed(client: AdminClient, case: Case, story: Story) -> Case:
    """The case at its end; of a canary that was approved, the canary. Raises Failed, RouterError."""

    def ended() -> Case | None:
        found = client.cases(case.model, case.version, case.kind)
        mine = next((each for each in found if each.id == case.id), None)
        if mine is None:
            raise Failed(f"the server knows nothing of {named(case)} any more: `router versions {case.model}`")
        return mine if mine.ended_seconds else None

    end = until(client, case.model, ended, story)
    if end.kind != "request" or not _good(end):
        return end
    begun = client.cases(case.model, case.version, "rollout", 1)
    return _followed(client, begun[0], story) if begun and begun[0].id > case.id else end


def _good(case: Case) -> bool:
    """Whether what was asked for has come to be."""
    return case.state == ("approved" if case.kind == "request" else "finished")


def told(changed: Changed) -> str:
    """What serves now, and the way back; or what goes on."""
    if changed.HasField("opened"):
        return _opened(changed.opened)
    took = f"generation {changed.generation}, took {figure(changed.took_ms)} ms"
    before = f", before it {changed.was_champion}" if changed.was_champion not in {"", changed.champion} else ""
    back = (
        f"; version {changed.standby} stands by: `router rollback {changed.model}` goes back to it"
        if changed.standby
        else ""
    )
    return f"model '{changed.model}': version {changed.champion} is champion{before} ({took}){back}"


def _opened(case: Case) -> str:
    """What goes on, and how to go on with it."""
    mend = ""
    if not case.ended_seconds:
        mend = (
            f"; `router approve {case.id}` agrees to it, the champion stays until then"
            if case.kind == "request"
            else f"; `router canary {case.model}` shows how it goes, with --stop it is undone"
        )
    return f"{named(case)}: {case.text}{mend}"
