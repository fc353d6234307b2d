"""`router dashboards`: a dashboard for Grafana and alert rules for Prometheus, as files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from router.app.mistake import Wrong
from router.app.terminal import say

WHAT = {
    "grafana.json": "Grafana: Dashboards, New, Import; at its top, choose your Prometheus under Data source",
    "alerts.yml": "Prometheus: name it under `rule_files:`; set the bounds to what your callers were promised",
}
"""Files, and what is done with them."""


@click.command()
@click.option(
    "--write",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where to put them. The folder is made; files of these names in it are written anew.",
)
def dashboards(folder: Path) -> None:
    """Write a Grafana dashboard and Prometheus alert rules for what `/metrics` says into a folder."""
    for name, use in WHAT.items():
        text = resources.files("router").joinpath("dashboards", name).read_text(encoding="utf-8")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise Wrong(
                f"{folder / name} cannot be written ({error.strerror}): name a folder of yours with --write"
            ) from error
        say(f"{folder / name}   {use}")
