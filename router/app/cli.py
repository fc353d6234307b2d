"""The command `router`."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from router import __version__
from router.app.commands import Announced, Commands
from router.app.refusal import Refused
from router.app.seconds import Seconds
from router.config import ServerSettings, flag, options, server_settings
from router.errors import SettingsError


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="router")
def main() -> None:
    """Serve ONNX models over gRPC, and look after them.

    Exit codes: 0 done; 1 refused or failed, or no server answers; 2 a mistake on the command line; 3 a test or a
    warm-up ended with the verdict that the version failed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tables have lines that not every terminal knows
            stream.reconfigure(errors="replace")


LATER = (
    ("infer", "infer", "Ask MODEL and print its answer."),
    ("models", "show", "Show the models that a server knows, their versions and what they take and give."),
    ("status", "show", "Show how a server is: its processes, ports and the generation that serves."),
    ("versions", "versions", "Show the versions of all models or of one: where they stand, since when and why."),
    ("test", "trial", "Put a version through its gates, MODEL VERSION or MODEL:VERSION, and show the report."),
    ("warm", "trial", "Run a version beside the champion on copies of live requests until there is a verdict."),
    ("report", "report", "Show what a version was put through: MODEL VERSION or MODEL:VERSION, or of all versions."),
    ("challenge", "challenge", "Let a version challenge the champion, with a share, as a shadow, by metadata."),
    ("split", "split", "Divide the requests to MODEL between its challengers, or show how they are."),
    ("trial", "contest", "Find out whether a challenger is better, or show how the trial of MODEL stands."),
    ("plan", "plan", "Show what a change would do, without doing it."),
    ("evidence", "evidence", "Show all that is known of why a version serves or does not, as JSON or as a page."),
    ("promote", "promotion", "Make a version champion and tell how it goes: MODEL VERSION or MODEL:VERSION."),
    ("canary", "canary", "Show the canary of MODEL, or undo it."),
    ("approve", "approval", "Agree to the request for approval ID."),
    ("reject", "approval", "Reject the request for approval ID, or take back one of your own."),
    ("diff", "declared", "Show what `router apply FILE` would do, without doing it."),
    ("apply", "declared", "Bring models to what FILE declares, step by step."),
    ("cases", "cases", "Show trials, canaries and requests for approval, newest first."),
    ("rollback", "promotion", "Go back to the version that stands by, in one flip, or to any that is kept."),
    ("freeze", "hold", "Stop promotions of a model, or of all models."),
    ("thaw", "hold", "Let promotions of a model, or of all models, go on."),
    ("alias", "alias", "Let NAME stand for a VERSION of MODEL; without a version, show what it stands for."),
    ("load", "loading", "Load a version of MODEL, or without one what the model's settings choose."),
    ("unload", "loading", "Let a version of MODEL go, or without one all of the model."),
    ("health", "health", "Show how all models serve their callers, or MODEL: green, yellow or red, why, what next."),
    ("retrain", "retrain", "Show when MODEL is trained anew and where its versions come from, or train it anew."),
    ("fallback", "switch", "Have a model's callers answered from its fallback, or by the model again."),
    ("actuals", "actuals", "Say what came true for earlier requests to MODEL, from a table."),
    ("drift", "drift", "Show whether what comes to MODEL is still what it was made for, feature by feature."),
    ("reference", "reference", "Compare what comes to MODEL with FILE from now on, such as its training data."),
    ("recordings", "recordings", "Show the files in which requests to MODEL, answers and what came true are recorded."),
    ("watch", "watching", "Tell what happens to all models or to one: moves, gates, drift, accuracy, retraining."),
    ("accuracy", "accuracy", "Show how right the versions of MODEL are, by what came true: figures, a decline."),
    ("webhook", "webhook", "Show the events that are still to be delivered, or send one for a test."),
    ("audit", "audit", "Show the newest acts, all or what concerns a MODEL; find out whether the log is whole."),
    ("explain", "explain", "Tell what became of a recent request, or of the newest that are kept."),
    ("faults", "faults", "Show what is made to go wrong, or change it for a MODEL."),
    ("quarantine", "show", "Show the requests that were being run when workers crashed."),
    ("demo", "demo", "Show the life of versions under traffic; a better one wins, a broken one goes back by itself."),
    ("dashboards", "dashboards", "Write a Grafana dashboard and Prometheus alert rules for what `/metrics` says."),
    ("token", "token", "Make tokens for the admin port, and for loads and unloads on the inference port."),
    ("completion", "completion", "Print what a shell needs to complete commands, models and versions."),
)
"""Command, module of this package, help in one line. Whoever serves or asks for help needs nothing of them."""

for _name, _module, _help in LATER:
    main.add_command(Announced(_name, f"router.app.{_module}", _help))

_PATH = click.Path(path_type=Path)
_STATE = Path(str(ServerSettings.model_fields["state"].default))
_STOP_POLL_S = 0.05


_UNITS = {"_s": "SECONDS", "_us": "MICROSECONDS", "_mib": "MIB"}


def _server_options(command: Any) -> Any:
    """The settings of a server as options; `serve` and `doctor` share them."""
    for key, field in reversed(options().items()):
        command = _option(key, field)(command)
    file = "A TOML file; its table [server] takes the same settings, which flags go before."
    return click.option("--config", type=_PATH, metavar="FILE", help=file)(command)


def _option(key: str, field: FieldInfo) -> Any:
    """The option for a key of `[server]`."""
    kind, many = field.annotation, field.default == ()
    if kind is bool:
        return click.option(flag(key), key, is_flag=True, default=None, help=field.description)
    given: Any
    if get_origin(kind) is Literal:
        given, metavar = click.Choice(get_args(kind)), None
    elif kind in {int, float}:
        given, metavar = kind, next((unit for suffix, unit in _UNITS.items() if key.endswith(suffix)), None)
    elif kind is str:
        given, metavar = str, "HOST:PORT"
    elif many:
        given, metavar = str, "NAME"
    else:
        given, metavar = _PATH, "PATH"
    default = "" if field.default in {None, (), PydanticUndefined} else f"  [default: {field.default}]"
    return click.option(
        flag(key), key, type=given, metavar=metavar, multiple=many, help=f"{field.description}{default}"
    )


@main.command()
@_server_options
def serve(config: Path | None, **flags: Any) -> None:
    """Serve the models of a repository until stopped (Ctrl-C, SIGTERM or `router stop`)."""
    from router.app.checks import BEFORE_START  # noqa: PLC0415  # for those who serve only

    try:
        settings = _settings(config, flags)
        for check in BEFORE_START:
            check(settings)
    except (SettingsError, Refused) as error:
        raise click.ClickException(str(error)) from error
    # The supervisor is a small program of its own: it takes this process over and leaves behind what the command
    # line needed. The settings travel in a file without a name.
    options = os.memfd_create("options", 0)
    os.write(options, json.dumps(settings.model_dump(mode="json")).encode())
    sys.stdout.flush()
    os.execv(  # noqa: S606  # our own program, no shell
        sys.executable, [sys.executable, "-P", "-m", "router.app.supervisor", f"/proc/self/fd/{options}"]
    )


def _settings(config: Path | None, flags: dict[str, Any]) -> ServerSettings:
    return server_settings(config, {name: value for name, value in flags.items() if value not in (None, ())})


@main.command()
@_server_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def doctor(config: Path | None, as_json: bool, **flags: Any) -> None:
    """Say what would go wrong if a server were started with these settings. Exit code 1: it would be refused."""
    from router.app.banner import Loading  # noqa: PLC0415  # for those who ask only
    from router.app.doctor import Grade, as_object, examine, report  # noqa: PLC0415
    from router.app.terminal import console  # noqa: PLC0415

    try:
        findings = list(examine(_settings(config, flags), Loading()))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(as_object(findings), indent=2))
    else:
        console().print(report(findings))
    if any(finding.grade is Grade.BAD for finding in findings):
        raise SystemExit(1)


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="…")
def loadtest(words: tuple[str, ...]) -> None:
    """Measure whether a server keeps its service level."""
    try:
        from loadtest.cli import loadtest as commands  # noqa: PLC0415  # charts and histograms take their time
    except ImportError as error:
        raise click.ClickException(
            f"the load test needs {error.name}: pip install 'inference-router[loadtest]'"
        ) from error
    commands(list(words), prog_name="router loadtest")


@main.command()
@click.option("--state", type=_PATH, default=_STATE, show_default=True, help="The server's state directory.")
@click.option(
    "--timeout", type=Seconds(zero=True), default=30.0, show_default=True, metavar="SECONDS", help="How long to wait."
)
def stop(state: Path, timeout: float) -> None:
    """Stop the server of a state directory: it drains, then exits."""
    pid = _owner(state)
    if pid is None:
        raise click.ClickException(f"no server runs with the state directory {state}; name its own with --state DIR")
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError as error:
        raise click.ClickException(f"the server (process {pid}) cannot be stopped: {error.strerror}") from error
    until = time.monotonic() + timeout
    while _owner(state) == pid:
        if time.monotonic() > until:
            raise click.ClickException(
                f"the server (process {pid}) still drains after {timeout:g} s: wait, or ask again"
            )
        time.sleep(_STOP_POLL_S)
    click.echo(f"stopped (process {pid})")


def _owner(state: Path) -> int | None:
    """The process that holds the state directory's lock. What a killed server has left there names nobody."""
    try:
        with (state / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read(32))
    except (OSError, ValueError):
        pass
    return None


if __name__ == "__main__":
    main()
