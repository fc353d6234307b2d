"""`router webhook`: what waits for the receiver of events, what was given up, and whether it answers."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
from rich.table import Table

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed
from router.app.roomy import Roomy
from router.app.span import span
from router.app.terminal import NOTHING, console, json_option, moment, print_json, say, text
from router.pb import webhook_pb2 as pb
from router.pb.webhook_pb2_grpc import WebhookStub

ALL = 138
"""Columns of a terminal for all that is known of an event in its line."""


@click.command(epilog="Exit code 1: the test did not arrive, no webhook is configured, or no server answers.")
@click.option("--test", "tests", is_flag=True, help="Send an event now, beside the queue, and say what came back.")
@click.option("--retry", is_flag=True, help="Send once more what the receiver has refused too often.")
@click.option("--last", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N", help="How many.")
@admin_option
@json_option
def webhook(tests: bool, retry: bool, last: int, reach: AdminReach, as_json: bool) -> None:
    """Show the events that are still to be delivered."""
    if tests and retry:
        raise click.UsageError("--test and --retry are two things: give one of them")
    if tests:
        _test(reach, as_json)
        return
    if retry:
        with reach.asked() as client:
            sent = client.other(WebhookStub, "RetryWebhook", pb.RetryWebhookRequest(), changes=True)
        if as_json:
            print_json(sent)
        else:
            say(f"{sent.events} events wait again")
        return
    with reach.asked() as client:
        found = client.other(WebhookStub, "GetWebhook", pb.GetWebhookRequest(last=last))
    if as_json:
        print_json(found)
    elif found.configured:
        _show(found, time.time())
    else:
        raise Failed("no webhook is configured: give [webhook] a url in the file of --config, and start again")


def _test(reach: AdminReach, as_json: bool) -> None:
    with reach.asked(seconds=65.0) as client:
        answer = client.other(WebhookStub, "TestWebhook", pb.TestWebhookRequest(), changes=True)
    if as_json:
        print_json(answer)
        if not answer.delivered:
            raise SystemExit(1)
    elif answer.delivered:
        say(f"delivered: {answer.status} after {answer.took_seconds * 1e3:.0f} ms, event {answer.id}")
    else:
        raise Failed(f"the test event {answer.id} was not delivered: {answer.error}")


def _show(found: pb.Outbox, now: float) -> None:
    """The queue in a few lines, and a row an event."""
    say(f"{found.target}, events: {', '.join(found.kinds) or 'all but actuals and progress'}")
    oldest = f" (the oldest for {span(now - found.oldest_seconds)})" if found.pending else ""
    say(
        f"{found.pending} pending{oldest}, {found.delivered} delivered, {found.failed} given up,"
        f" {found.dropped} dropped; last delivered {moment(found.last_delivered_seconds)}"
    )
    if found.last_error:
        say(f"last error {moment(found.last_error_seconds)}: {found.last_error}")
    if found.failed:
        say("next: `router webhook --test` asks the receiver, `router webhook --retry` sends what was given up")
    elif found.pending and found.last_error:
        say("next: `router webhook --test` asks the receiver; what waits is sent again by itself")
    if found.events:
        console().print(Roomy(ALL, _table(found.events, now), _in_short(found.events, now)))


def _table(events: Sequence[pb.Undelivered], now: float) -> Table:
    """All of each."""
    shown = Table()
    for heading in ("event", "kind", "model", "version", "told", "state", "tries", "next", "last error"):
        shown.add_column(heading, overflow="fold")
    for each in events:
        shown.add_row(
            *(text(words) for words in (each.id, each.kind, each.model, each.version)),
            moment(each.told_seconds),
            text(each.state, "red" if each.state == "failed" else ""),
            str(each.tries),
            _upcoming(each, now),
            text(each.error),
        )
    return shown


def _in_short(events: Sequence[pb.Undelivered], now: float) -> Table:
    """What matters most of each; --json has all."""
    shown = Table()
    for heading in ("told", "kind", "model", "state", "tries", "next"):
        shown.add_column(heading, overflow="fold")
    for each in events:
        state = text(each.state, "red" if each.state == "failed" else "")
        whose = (text(each.kind), text(each.model or NOTHING), state)
        shown.add_row(moment(each.told_seconds), *whose, str(each.tries), _upcoming(each, now))
    return shown


def _upcoming(event: pb.Undelivered, now: float) -> str:
    wait = event.next_try_seconds - now
    return NOTHING if event.state == "failed" else f"in {span(wait)}" if wait > 0 else "now"
