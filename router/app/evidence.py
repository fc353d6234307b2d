"""`router evidence`: all that is known of why a version serves, or does not, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed, writing
from router.app.terminal import json_option, print_json, say
from router.app.version_name import both, model_argument, number, version_argument


@click.command()
@model_argument
@version_argument
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it to FILE: JSON, or as .html a page with charts, which works with no network.",
)
@admin_option
@json_option
def evidence(model: str, version: str, out: Path | None, reach: AdminReach, as_json: bool) -> None:
    """Show all that is known of why a version serves or does not: MODEL VERSION or MODEL:VERSION, as JSON or as a page.

    Its gates and warm-ups, trials, canaries, approvals, what was done with it and by whom, with hashes. A role
    (champion, standby) or an alias may stand for the version.
    """
    model, version = both(model, version)
    if out is not None and out.suffix.lower() not in {".json", ".html", ".htm"}:
        raise click.UsageError("--out FILE ends in .json or .html, which says what is written")
    with reach.asked() as client:
        told = client.evidence(model, number(client, model, version))
    try:
        dossier = json.loads(told)
    except ValueError as error:
        raise Failed("what the server says is no evidence that this release can read; use the server's own") from error
    if out is None:
        click.echo(_text(dossier), nl=False)
        return
    _write(out, dossier)
    if as_json:
        print_json({"written": str(out)})
    else:
        say(f"written to {out}")


def _write(out: Path, dossier: Mapping[str, Any]) -> None:
    with writing(out):
        if out.suffix.lower() == ".json":
            out.write_text(_text(dossier), encoding="utf-8")
            return
        from router.app.evidence_page import page  # noqa: PLC0415  # plotly takes its time, and need not be there
        from router.app.report_page import keep  # noqa: PLC0415

        keep(page(dossier), out)


def _text(dossier: Mapping[str, Any]) -> str:
    return json.dumps(dossier, indent=2, allow_nan=False) + "\n"
