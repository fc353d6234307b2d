"""`router faults`: make a model fail on purpose, to see that its callers are answered all the same."""

from __future__ import annotations

import json
from typing import Any, Final

import click
from pydantic import ValidationError
from rich.table import Table

from router.app.admin_reach import AdminReach, admin_option, mistake
from router.app.terminal import console, json_option, text
from router.core.faults import Fault
from router.errors import SettingsError
from router.settings import explain

_NUMBERS: Final = {"ms": float, "share": float, "factor": float, "after_s": float, "replica": int, "by": float}


@click.command()
@click.argument("model", default="")
@click.option(
    "--set",
    "wanted",
    multiple=True,
    metavar="KEY=VALUE,…",
    help="A fault in the place of those before, for example kind=hang,share=0.5,ms=100; several go together."
    f"  [keys: {', '.join(Fault.model_fields)}]",
)
@click.option("--clear", is_flag=True, help="The model is well again.")
@admin_option
@json_option
def faults(model: str, wanted: tuple[str, ...], clear: bool, reach: AdminReach, as_json: bool) -> None:
    """Show what is made to go wrong, or change it for a MODEL. The server must run with --allow-faults."""
    if (wanted or clear) and not model:
        raise click.UsageError("name the MODEL that is to change")
    if wanted and clear:
        raise click.UsageError("--set and --clear exclude each other: give one of them")
    try:
        given = [fault_of(text) for text in wanted]
    except SettingsError as error:
        raise mistake(error) from error
    with reach.asked() as client:
        if given or clear:
            client.set_faults(model, given)
        now = client.faults(model)
    if as_json:
        shown = {name: [fault.model_dump(exclude_none=True) for fault in each] for name, each in now.items()}
        click.echo(json.dumps(shown, indent=2))
    elif now:
        console().print(_table(now))
    else:
        click.echo(f"nothing is made to go wrong{f' in {model}' if model else ''}")


def fault_of(text: str) -> Fault:
    """The fault in `kind=stall,ms=100`. Raises SettingsError."""
    table: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise SettingsError(f"--set {text[:80]!r}: expected KEY=VALUE,…, for example kind=stall,share=0.01,ms=100")
        if key in table:
            raise SettingsError(f"--set {text[:80]!r}: `{key}` is given twice")
        try:
            table[key] = _NUMBERS.get(key, str)(value)
        except ValueError:
            raise SettingsError(f"--set {text[:80]!r}: `{key}` is a number") from None
    try:
        return Fault.model_validate(table)
    except ValidationError as error:
        raise SettingsError(explain(error, f"--set {text[:80]!r}")) from error


def _table(now: dict[str, tuple[Fault, ...]]) -> Table:
    shown = Table()
    for heading in ("model", "version", "kind", "of the runs", "how much", "session", "after"):
        shown.add_column(heading)
    for model, each in now.items():
        for fault in each:
            version, session = fault.version or "all", "all" if fault.replica is None else str(fault.replica)
            share, after = f"{fault.share:.4g}", f"{fault.after_s:g} s"
            shown.add_row(text(model), text(version), fault.kind, share, _how_much(fault), session, after)
    return shown


def _how_much(fault: Fault) -> str:
    if fault.ms is not None:
        return f"{fault.ms:g} ms"
    if fault.factor is not None:
        return f"{fault.factor:g} ×"
    if fault.by is not None:
        return f"{fault.by:+g}"
    return "for ever" if fault.kind in {"hang", "hang_hard"} else ""
