"""`router watch`: what happens in a server, as it happens."""

from __future__ import annotations

import contextlib

import click
from rich.text import Text

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import one_line
from router.app.seconds import Seconds
from router.app.story import told
from router.app.terminal import console, json_line, moment, text
from router.app.version_name import any_model_argument
from router.pb.admin_pb2 import Event


@click.command()
@any_model_argument
@click.option("--for", "seconds", type=Seconds(), metavar="SECONDS", help="End after so long; else with Ctrl-C.")
@admin_option
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs; the first is `hello`.")
def watch(model: str, seconds: float | None, reach: AdminReach, as_json: bool) -> None:
    """Tell what happens to all models or to one: moves, gates, swaps, drift, accuracy, health, retraining."""
    out = console()
    with contextlib.suppress(KeyboardInterrupt), reach.asked() as client:
        for event in client.watch(model, seconds):
            if as_json:
                click.echo(json_line(event))
            else:
                stamp = Text(f"{_clock(event.seconds)}  {one_line(event.kind):<10}  ", "dim")
                out.print(stamp + _line(event), soft_wrap=True)


def _clock(seconds: float) -> str:
    return f"{moment(seconds)[11:]}.{int(seconds * 1e3) % 1000:03d}"


def _line(event: Event) -> Text:
    if event.kind == "hello":
        return text(f"watching {event.model or 'all models'}, generation {event.generation} serves")
    return told(event)
