"""`router audit`: who did what, when and why; and whether the log of it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.table import Table

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed
from router.app.terminal import console, json_option, moment, print_json, say, text
from router.app.version_name import any_model_argument
from router.pb.admin_pb2 import AuditEntry


@click.command(epilog="Exit code 1: the log is not whole, or no server answers.")
@any_model_argument
@click.option("--last", type=click.IntRange(1, 10_000), default=30, show_default=True, metavar="N", help="How many.")
@click.option("--verify", is_flag=True, help="Find a record that was changed, or is missing.")
@click.option(
    "--head",
    default="",
    metavar="HASH",
    help="With --verify: a hash that was noted outside, as in the server's log; it shows that nothing was cut off.",
)
@admin_option
@json_option
def audit(model: str, last: int, verify: bool, head: str, reach: AdminReach, as_json: bool) -> None:
    """Show the newest acts, all or what concerns a MODEL, the oldest of them first."""
    if head and not verify:
        raise click.UsageError("--head goes with --verify")
    if verify:
        _verify(head, reach, as_json)
        return
    with reach.asked() as client:
        answer = client.audit(model, last)
    if as_json:
        print_json(answer)
        return
    if not answer.entries:
        say("nothing has been done yet")
        return
    shown = Table()
    for heading in ("no.", "when", "who", "did", "model", "version", "why", "change"):
        shown.add_column(heading, overflow="fold")
    for each in answer.entries:
        shown.add_row(
            str(each.sequence),
            moment(each.seconds),
            *(text(words) for words in (each.actor, each.action, each.model, each.version, each.reason, change(each))),
        )
    console().print(shown)
    say(f"head {answer.head}: noted elsewhere, `router audit --verify --head` finds whether the log was cut off")


def _verify(head: str, reach: AdminReach, as_json: bool) -> None:
    with reach.asked() as client:
        found = client.verify_audit(head)
    if as_json:
        print_json(found)
        if not found.whole:
            raise SystemExit(1)
    elif found.whole:
        say(f"the audit log is whole: {found.records} records, head {found.head or 'none'}")
    else:
        raise Failed(f"the audit log is not whole: {found.finding}")


def change(entry: AuditEntry) -> str:
    """What is different after an act, key by key."""
    return difference(_table(entry.before), _table(entry.after))


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The same of tables."""
    parts = []
    for key in dict.fromkeys((*before, *after)):
        old, new = (_value(table.get(key)) for table in (before, after))
        if old != new:
            parts.append(f"{key}: {old} → {new}" if key in before else f"{key}: {new}")
    return ", ".join(parts)


def _table(words: str) -> dict[str, Any]:
    try:
        made = json.loads(words or "{}")
    except ValueError:
        return {"": words}
    return made if isinstance(made, dict) else {"": made}


def _value(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value or "–"
    if isinstance(value, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("text"), str) for each in value
    ):
        return "; ".join(each["text"] for each in value) or "–"  # what was found, for people
    return json.dumps(value)
