"""`router models`, `router status` and `router quarantine`: what a running server serves, and how it is."""

from __future__ import annotations

import json

import click
from rich.markup import escape
from rich.table import Table

from router.app.admin_reach import AdminReach, admin_option
from router.app.terminal import console, json_option, moment, print_json
from router.core.table import Route, VersionState
from router.edge.tables import routes_from_messages
from router.pb.admin_pb2 import Status


def routes_table(routes: list[Route], title: str) -> Table:
    """Models and versions as a table."""
    shown = Table(title=title, title_justify="left")
    for heading in ("model", "version", "state", "inputs", "outputs", "batches"):
        shown.add_column(heading, overflow="fold")
    for route in routes:
        for number, version in route.versions.items():
            signature = version.signature
            if version.state is VersionState.READY:
                state = "[green]champion[/]" if number == route.champion else "ready"
                if route.switched:
                    state += ", [yellow]fallback on[/]"
                inputs = ", ".join(_tensor(s.name, s.datatype, s.shape) for s in signature.inputs)
                outputs = ", ".join(_tensor(s.name, s.datatype, s.shape) for s in signature.outputs)
                joins = f"up to {version.batching.max_size} rows" if version.batching.max_size > 1 else "no"
            else:
                state = "[dim]not loaded[/]" if version.left_out else f"[red]{version.state.value.lower()}[/]"
                inputs = escape(version.reason.removeprefix("not loaded: "))
                outputs = joins = ""
            shown.add_row(escape(route.model), number, state, inputs, outputs, joins)
    return shown


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> str:
    return escape(f"{name} {datatype}[{','.join('?' if size < 0 else str(size) for size in shape)}]")


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
    console().print(routes_table(routes_from_messages(answer.routes), f"generation {answer.generation}"))
    for route in routes_from_messages(answer.routes):
        for version in route.versions.values():
            if name and version.state is VersionState.READY and version.batching.max_size == 1:
                console().print(f"version {version.number}: rows are not joined: {escape(version.batching.decided_by)}")


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
            each.fingerprint,
            escape(each.model) or "[dim]gone[/]",
            each.version,
            str(each.crashes),
            moment(each.last_seconds),
            "[red]refused[/]" if each.refused else "suspect",
        )
    console().print(table)


def _print_status(answer: Status) -> None:
    out = console()
    ready = "[green]ready[/]" if answer.ready else "[red]not ready[/]"
    out.print(
        f"router {answer.version}: {ready}, generation {answer.generation}, transport {answer.transport},"
        f" up {answer.uptime_seconds:.0f} s",
        highlight=False,
    )
    table = Table()
    table.add_column("process")
    table.add_column("pid", justify="right")
    table.add_column("state")
    table.add_column("memory", justify="right")
    table.add_column("restarts", justify="right")
    for process in answer.processes:
        colour = {"serving": "green", "gone": "red"}.get(process.state, "yellow")
        table.add_row(
            process.name,
            str(process.pid),
            f"[{colour}]{process.state}[/]",
            f"{process.resident_bytes / 1e6:.0f} MB",
            str(process.restarts),
        )
    out.print(table)
    out.print("  ".join(f"{name} {address}" for name, address in sorted(answer.addresses.items())), highlight=False)
