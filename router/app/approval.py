"""`router approve` and `router reject`: somebody else's word on a promotion that waits for it."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.case_text import named
from router.app.mistake import Wrong
from router.app.order import reason_option
from router.app.terminal import json_option, print_json, say
from router.app.version_name import case_argument
from router.pb.admin_pb2 import Case


@click.command(epilog="Exit code 1: it was refused, or what was approved could not be carried out.")
@case_argument
@click.option(
    "--digest",
    default="",
    metavar="HEX",
    help="Of the files that you were shown, its first 12 digits or more: others are not approved.",
)
@reason_option
@admin_option
@json_option
def approve(case: int, digest: str, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Agree to the request for approval ID: the last one that was missing has it carried out at once.

    `router cases --open` has the numbers, `router evidence MODEL:VERSION` what there is to know. Whoever asked cannot
    approve. It needs the role of an approver.
    """
    with reach.asked() as client:
        found = client.approve(case, digest, reason)
    _told(found, as_json)
    if found.ended_seconds and found.state != "approved":
        raise SystemExit(1)


@click.command()
@case_argument
@reason_option
@admin_option
@json_option
def reject(case: int, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Reject the request for approval ID, or take back one of your own: nothing comes of it, the champion stays."""
    if not reason.strip():
        raise Wrong("give --reason TEXT: whoever asked is to learn why")
    with reach.asked() as client:
        _told(client.reject(case, reason), as_json)


def _told(found: Case, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        say(f"{named(found)}: {found.text}")
