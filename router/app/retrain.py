"""`router retrain`: when a model is trained anew, the runs with their lineage, and a run by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed
from router.app.roomy import Roomy
from router.app.span import span
from router.app.story import Story, until
from router.app.terminal import NOTHING, console, json_option, moment, print_json, say, text
from router.app.trial import FAILED
from router.app.version_name import model_argument
from router.edge.admin_client import AdminClient
from router.pb import retraining_pb2 as pb
from router.pb.retraining_pb2_grpc import RetrainingStub

EXIT_CODES = (
    "Exit code 0: done, or shown. 1: refused, or no server answers. 2: a mistake on the command line. 3: the run that"
    " was followed has ended without a version that passed."
)
NEWEST = 10
"""Runs among which one that is followed is looked for, once a second."""
COLOURS = {"done": "green", "running": "cyan", "asked": "cyan", "brought": "cyan", "stopped": "dim"}
"""Of states; the others are red."""
ALL = 138
"""Columns of a terminal for all that is kept of a run in its line."""


@click.command(epilog=EXIT_CODES)
@model_argument
@click.option("--reason", metavar="TEXT", help="Train it anew now, and why; it is kept in the audit log.")
@click.option("--stop", is_flag=True, help="End the run that is under way, its command too.")
@click.option("--follow", is_flag=True, help="Wait for the end of the run, and tell how it goes.")
@click.option("--show", is_flag=True, help="Show the policy, what is due next and the last runs, as without an option.")
@click.option("--last", type=click.IntRange(1, 200), default=10, show_default=True, metavar="N", help="So many runs.")
@admin_option
@json_option
def retrain(
    model: str, reason: str | None, stop: bool, follow: bool, show: bool, last: int, reach: AdminReach, as_json: bool
) -> None:
    """Show when MODEL is trained anew and where its versions come from, or with --reason train it anew now."""
    if show and (stop or follow or reason is not None):
        raise click.UsageError("--show goes with neither --reason nor --stop nor --follow: leave it out")
    if stop and follow:
        raise click.UsageError("--stop and --follow are two things: give one of them")
    if reason is not None and not reason.strip():
        raise click.UsageError("--reason is empty: say why, in a few words")
    with reach.asked() as client:
        if stop:
            request = pb.StopRetrainingRequest(model=model, reason=reason or "")
            ended = client.other(RetrainingStub, "StopRetraining", request, changes=True)
            _told(ended, f"retraining {ended.id} of {model} has ended: {ended.text}", as_json)
        elif follow or reason is not None:
            _trained(client, model, reason, follow, as_json)
        else:
            listed = _listed(client, model, last)
            if as_json:
                print_json(listed)
                return
            for each in shown(listed):
                console().print(each)


def _trained(client: AdminClient, model: str, reason: str | None, follow: bool, as_json: bool) -> None:
    """Begin a run, or find the one that is under way; and follow it."""
    if reason is not None:
        run = client.other(RetrainingStub, "Retrain", pb.RetrainRequest(model=model, reason=reason), changes=True)
    else:
        runs = _listed(client, model, 1).runs
        run = next((each for each in runs if not each.ended_seconds), None)
        if run is None:
            raise Failed(_none(model, runs))
    if not follow:
        _told(run, f"retraining {run.id} of {model} has begun: `router retrain {model} --follow` tells how", as_json)
        return

    def ended() -> pb.Run | None:
        mine = next((each for each in _listed(client, model, NEWEST).runs if each.id == run.id), None)
        return mine if mine is not None and mine.ended_seconds else None

    try:
        over = until(client, model, ended, Story(f"retraining {run.id} of {model} …", silent=as_json))
    except KeyboardInterrupt:
        click.echo(f"it goes on in the server: `router retrain {model}` tells of it", err=True)
        raise click.Abort from None
    _told(over, f"retraining {over.id} of {model}: {over.state}, {over.text}", as_json)
    if over.state != "done":
        raise SystemExit(FAILED)


def _none(model: str, runs: Sequence[pb.Run]) -> str:
    last = f" (the last, {runs[0].id}, has ended: {runs[0].state}, {runs[0].text})" if runs else ""
    return f"no retraining of {model} is under way{last}: `router retrain {model} --reason WHY` begins one"


def _told(run: pb.Run, line: str, as_json: bool) -> None:
    if as_json:
        print_json(run)
    else:
        say(line)


def _listed(client: AdminClient, model: str, last: int) -> pb.Model:
    request = pb.ListRetrainingsRequest(model=model, last=last)
    answer = client.other(RetrainingStub, "ListRetrainings", request)
    listed: pb.Model = answer.models[0]
    return listed


def shown(model: pb.Model) -> Iterator[RenderableType]:
    """The policy, what is due, and the runs, newest first: where each version comes from and what became of it."""
    if not model.HasField("policy"):
        yield text(
            f"{model.model} has no policy of retraining: write [retraining.{model.model}] into router.toml, and start"
            " the server with it"
        )
    else:
        yield text(f"{model.model} is trained anew", "bold")
        yield _policy(model)
        yield text(f"next: {_next(model)}")
    if not model.runs:
        yield text("there have been no runs", "dim")
        return
    yield Text("")
    yield Roomy(ALL, _runs(model.runs), _runs_in_short(model.runs))
    newest = model.runs[0]
    if facts := [*_facts(newest)]:
        yield Text("")
        yield text(f"retraining {newest.id}, the newest", "bold")
        table = _two_columns()
        for name, value in facts:
            table.add_row(text(name), text(value))
        yield table


def _next(model: pb.Model) -> str:
    """What its owner may do now."""
    going = next((each for each in model.runs if not each.ended_seconds), None)
    if going is None:
        now = f"`router retrain {model.model} --reason WHY` has it trained now"
        if model.runs and model.runs[0].fate == "ready":
            version = f"{model.model}:{model.runs[0].version}"
            return f"`router report {version}` shows its gates, `router promote {version}` makes it champion; {now}"
        return now
    return f"`router retrain {model.model} --follow` tells how retraining {going.id} goes, `--stop` ends it"


def _policy(model: pb.Model) -> Table:
    policy = model.policy
    table = _two_columns()
    table.add_row("schedule", text(f"{policy.schedule} ({policy.timezone})" if policy.schedule else NOTHING))
    if policy.schedule:
        table.add_row("next", text(moment(model.next_seconds)))
    declines = {"drift": policy.on_drift, "accuracy": policy.on_accuracy, "health": policy.on_health}
    when = ", ".join(f"{name} is {status}" for name, status in declines.items() if status)
    table.add_row("when", text(when or NOTHING))
    rest = f", {span(model.rests_seconds)} of it left" if model.rests_seconds else ""
    table.add_row("at most every", text(f"{span(policy.min_interval_seconds)}{rest}"))
    others = "webhook: others train" if policy.webhook else "an event only"
    table.add_row("by", text(" ".join(policy.command) or others))
    table.add_row("for at most", text(span(policy.timeout_seconds)))
    table.add_row("then", text(policy.then))
    for trigger, why in sorted(model.asks.items()):
        table.add_row("waits", text(f"{trigger}: {why}", "yellow"))
    return table


def _runs(runs: Sequence[pb.Run]) -> Table:
    """All of each."""
    table = Table()
    for heading in ("no.", "begun", "trigger", "by", "parent", "data until", "version", "lineage", "state", "fate"):
        table.add_column(heading, overflow="fold")
    for run in runs:
        parent = f"{run.parent} {run.parent_digest[:12]}".strip()
        version = f"{run.version} {run.digest[:12]}".strip()
        table.add_row(
            str(run.id),
            text(moment(run.began_seconds)),
            text(run.trigger),
            text(run.actor),
            text(parent or NOTHING),
            text(moment(run.last_recorded_seconds)),
            text(version or NOTHING),
            text(run.lineage or NOTHING),
            text(run.state, COLOURS.get(run.state, "red")),
            text(run.fate or NOTHING),
        )
    return table


def _runs_in_short(runs: Sequence[pb.Run]) -> Table:
    """What matters most of each; the newest is told of below, and --json has all."""
    table = Table()
    for heading in ("no.", "begun", "trigger", "state", "version", "fate"):
        table.add_column(heading, overflow="fold")
    for run in runs:
        begun, state = text(moment(run.began_seconds)), text(run.state, COLOURS.get(run.state, "red"))
        version, fate = text(run.version or NOTHING), text(run.fate or NOTHING)
        table.add_row(str(run.id), begun, text(run.trigger), state, version, fate)
    return table


def _facts(run: pb.Run) -> Iterator[tuple[str, str]]:
    """What there is room for of one run only."""
    yield "why", run.why or NOTHING
    yield "by", run.actor or NOTHING
    yield "parent", f"version {run.parent} {run.parent_digest[:12]}".strip() if run.parent else NOTHING
    if run.version:
        yield "version", f"{run.version} {run.digest[:12]}".strip()
    if run.last_recorded_seconds:
        yield "data", f"{moment(run.first_recorded_seconds)} to {moment(run.last_recorded_seconds)}"
    if run.took_seconds:
        yield "the command took", span(run.took_seconds)
    if run.declared:
        yield "declared kept", ", ".join(f"{name} {value}" for name, value in sorted(run.declared.items()))
    if run.lineage_reason:
        yield "lineage", f"{run.lineage}: {run.lineage_reason}"
    yield "how it stands", run.text
    for line in run.output[-3:]:
        yield "output", line


def _two_columns() -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table
