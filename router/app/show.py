"""`router models`, `router status` and `router quarantine`: what a running server serves, and how it is."""

from __future__ import annotations

import json

import click
from rich.table import Table
from rich.text import Text

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed
from router.app.terminal import console, json_option, moment, print_json, text
from router.core.table import Route, VersionState
from router.edge.tables import routes_from_messages
from router.pb.admin_pb2 import Status


def routes_table(routes: list[Route], title: str) -> Table:
    """Models and versions as a table."""
    shown = Table(title=text(title), title_justify="left")
    for heading in ("model", "version", "state", "inputs", "outputs", "batches"):
        shown.add_column(heading, overflow="fold")
    for route in routes:
        for number, version in route.versions.items():
            signature = version.signature
            if version.state is VersionState.READY:
                state = Text("champion", "green") if number == route.champion else Text("ready")
                if route.switched:
                    state.append(", ").append("fallback on", "yellow")
                inputs = ", ".join(_tensor(s.name, s.datatype, s.shape) for s in signature.inputs)
                outputs = ", ".join(_tensor(s.name, s.datatype, s.shape) for s in signature.outputs)
                joins = f"up to {version.batching.max_size} rows" if version.batching.max_size > 1 else "no"
            else:
                word, style = ("not loaded", "dim") if version.left_out else (version.state.value.lower(), "red")
                state = Text(word, style)
                inputs = version.reason.removeprefix("not loaded: ")
                outputs = joins = ""
            shown.add_row(text(route.model), text(number), state, text(inputs), text(outputs), joins)
    return shown


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> str:
    return f"{name} {datatype}[{','.join('?' if size < 0 else str(size) for size in shape)}]"


@click.command()
@click.argument("name", default="")
@admin_option
@json_option
def models(name: str, reach: AdminReach, as_json: bool) -> None:
    """Show the models that a server knows, their versions and what they take and give."""
    with reach.asked() as client:
        answer = client.models(name)
    if as_json:
        print_json(answer)
        return
    if answer.loading:
        click.echo("still loading: the server has just started and tries its models; ask again")
        return
    try:
        routes = routes_from_messages(answer.routes)
    except ValueError as error:
        raise Failed(
            "the server tells of models in words that this release does not know; use the server's own"
        ) from error
    console().print(routes_table(routes, f"generation {answer.generation}"))
    for route in routes:
        for version in route.versions.values():
            if name and version.state is VersionState.READY and version.batching.max_size == 1:
                why = f"rows are not joined: {version.batching.decided_by}"
                console().print(text(f"version {version.number}: {why}"))


@click.command()
@admin_option
@json_option
def status(reach: AdminReach, as_json: bool) -> None:
    """Show how a server is: its processes, ports and the generation that serves."""
    with reach.asked() as client:
        answer = client.status()
    if as_json:
        print_json(answer)
    else:
        _print_status(answer)
    if not answer.ready:
        raise SystemExit(1)


@click.command()
@admin_option
@json_option
@click.option("--clear", is_flag=True, help="Forget them all: what was refused is run again.")
def quarantine(reach: AdminReach, as_json: bool, clear: bool) -> None:
    """Show the requests that were being run when workers crashed; after two crashes a request is refused."""
    with reach.asked() as client:
        if clear:
            cleared = client.clear_quarantine()
            click.echo(json.dumps({"cleared": cleared}) if as_json else f"{cleared} requests forgotten")
            return
        answer = client.quarantine()
    if as_json:
        print_json(answer)
        return
    if not answer.suspects:
        click.echo("no worker has crashed in a run")
        return
    table = Table()
    for heading in ("request", "model", "version", "crashes", "last", "state"):
        table.add_column(heading)
    for each in answer.suspects:
        table.add_row(
            text(each.fingerprint),
            text(each.model) if each.model else Text("gone", "dim"),
            text(each.version),
            str(each.crashes),
            moment(each.last_seconds),
            Text("refused", "red") if each.refused else "suspect",
        )
    console().print(table)


def _print_status(answer: Status) -> None:
    out = console()
    line = text(f"router {answer.version}: ") + Text(*(("ready", "green") if answer.ready else ("not ready", "red")))
    where = f", generation {answer.generation}, transport {answer.transport}, up {answer.uptime_seconds:.0f} s"
    out.print(line + text(where))
    table = Table()
    table.add_column("process")
    table.add_column("pid", justify="right")
    table.add_column("state")
    table.add_column("memory", justify="right")
    table.add_column("restarts", justify="right")
    for process in answer.processes:
        colour = {"serving": "green", "gone": "red"}.get(process.state, "yellow")
        table.add_row(
            text(process.name),
            str(process.pid),
            text(process.state, colour),
            f"{process.resident_bytes / 1e6:.0f} MB",
            str(process.restarts),
        )
    out.print(table)
    out.print(text("  ".join(f"{name} {address}" for name, address in sorted(answer.addresses.items()))))
