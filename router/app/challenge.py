"""`router challenge`: a version beside the champion, with a share of its requests or copies of them."""

from __future__ import annotations

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.order import reason_option
from router.app.share import KeyValue, Percent, percent
from router.app.terminal import json_option, print_json, say
from router.app.version_name import both, model_argument, number, version_argument
from router.pb.admin_pb2 import MetadataMatch


@click.command()
@model_argument
@version_argument
@click.option("--share", type=Percent(), metavar="PERCENT", help="It answers so many of the requests that name none.")
@click.option("--shadow", is_flag=True, help="It runs copies of what the champion is asked, and answers nobody.")
@click.option(
    "--match",
    "matches",
    type=KeyValue(),
    multiple=True,
    metavar="KEY=VALUE",
    help="It answers all calls whose metadata hold this, such as x-cohort=beta; may be repeated.",
)
@click.option("--withdraw", is_flag=True, help="It is no challenger any more: ready, without a share.")
@reason_option
@admin_option
@json_option
def challenge(
    model: str,
    version: str,
    share: float | None,
    shadow: bool,
    matches: tuple[tuple[str, str], ...],
    withdraw: bool,
    reason: str,
    reach: AdminReach,
    as_json: bool,
) -> None:
    """Let a version challenge the champion, MODEL VERSION or MODEL:VERSION: with a share, as a shadow, by metadata.

    A caller stays with the version that its key (`route_key`, else the request's id) falls to. `router trial` finds
    out which of both is better. A role (latest) or an alias may stand for the version.
    """
    model, version = both(model, version)
    given = share is not None or shadow or bool(matches)
    if withdraw and given:
        raise click.UsageError("--withdraw goes with none of --share, --shadow, --match: it takes all of them away")
    if not withdraw and not given:
        raise click.UsageError("give --share PERCENT, --shadow or --match KEY=VALUE: without it would do nothing")
    with reach.asked() as client:
        named = number(client, model, version)
        if withdraw:
            changed = client.withdraw(model, named, reason)
        else:
            wanted = [MetadataMatch(key=key, value=value) for key, value in matches]
            changed = client.challenge(model, named, share or 0.0, shadow, wanted, reason)
    if as_json:
        print_json(changed)
        return
    if withdraw:
        now = "is no challenger any more, it is ready"
    else:
        parts = [f"{percent(share)} of the requests"] if share else []
        parts += [f"calls with {key}={value}" for key, value in matches]
        parts += ["copies of what the champion is asked"] if shadow else []
        now = f"is a challenger: {', '.join(parts) or 'without a share'}"
    say(f"model '{model}': version {named} {now} (generation {changed.generation})")
