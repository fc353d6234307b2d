"""The command `router`."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from router import __version__
from router.app.doctor import Grade, check_tls, examine, report
from router.app.infer import infer
from router.app.seconds import Seconds
from router.app.show import console, models, status
from router.config import ServerSettings, server_settings
from router.errors import SettingsError


class _Commands(click.Group):
    """A mistake on the command line is told in one line, with the mend."""

    def main(self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command of the line."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            result = super().main(args, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "router"
            text = " ".join(error.format_message().split()).rstrip(".")
            click.echo(f"Error: {text}; `{command} --help` shows what is possible", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            click.echo(f"Error: {' '.join(error.format_message().split())}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(130)
        sys.exit(result if isinstance(result, int) else 0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="router")
def main() -> None:
    """Serve ONNX models over gRPC, and look after them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tables have lines that not every terminal knows
            stream.reconfigure(errors="replace")


main.add_command(infer)
main.add_command(models)
main.add_command(status)

_PATH = click.Path(path_type=Path)
_STATE = Path(str(ServerSettings.model_fields["state"].default))
_STOP_POLL_S = 0.05


def _default(name: str) -> str:
    return str(ServerSettings.model_fields[name].default)


def _server_options(command: Any) -> Any:
    """The settings of a server as options; `serve` and `doctor` share them."""
    for option in reversed(_SERVER_OPTIONS):
        command = option(command)
    return command


_SERVER_OPTIONS = (
    click.option("--models", type=_PATH, help=f"The model repository.  [default: {_default('models')}]"),
    click.option("--grpc", metavar="HOST:PORT", help=f"Inference.  [default: {_default('grpc')}]"),
    click.option("--http", metavar="HOST:PORT", help=f"Metrics and health.  [default: {_default('http')}]"),
    click.option("--admin", metavar="HOST:PORT", help=f"Admin gRPC.  [default: {_default('admin')}]"),
    click.option("--workers", type=int, help="Worker processes.  [default: the cores, at most 4]"),
    click.option(
        "--transport",
        type=click.Choice(["core", "aio"]),
        help="core: grpcio's completion queue. aio: public API only, at a fifth of the capacity.  [default: core]",
    ),
    click.option("--state", type=_PATH, help=f"The state directory.  [default: {_default('state')}]"),
    click.option("--config", type=_PATH, help="A TOML file; its table [server] takes the same settings as the flags."),
    click.option(
        "--model-control",
        type=click.Choice(["none", "explicit"]),
        help="none: every model is served. explicit: those that clients load.  [default: none]",
    ),
    click.option(
        "--load-model",
        "load_models",
        multiple=True,
        metavar="NAME",
        help="Load at start, with --model-control explicit.",
    ),
    click.option("--tls-cert", type=_PATH, help="The server's certificate (PEM)."),
    click.option("--tls-key", type=_PATH, help="Its key (PEM)."),
    click.option(
        "--tls-client-ca", type=_PATH, help="Only clients with a certificate of this authority (PEM) are served."
    ),
    click.option("--grace", "grace_s", type=float, metavar="SECONDS", help="A stop waits so long for calls in flight."),
    click.option("--drain-delay", "drain_delay_s", type=float, metavar="SECONDS", help="From NOT_SERVING to the stop."),
    click.option("--log-format", type=click.Choice(["auto", "console", "json"]), help="[default: auto]"),
)


@main.command()
@_server_options
def serve(config: Path | None, **flags: Any) -> None:
    """Serve the models of a repository until stopped (Ctrl-C, SIGTERM or `router stop`)."""
    try:
        settings = _settings(config, flags)
        if not settings.models.is_dir():
            raise SettingsError(f"the model repository {settings.models} is no directory: name one with --models DIR")
        if settings.load_models and settings.model_control != "explicit":
            raise SettingsError("--load-model goes with --model-control explicit: without it every model is served")
        check_tls(settings)
    except SettingsError as error:
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
def doctor(config: Path | None, **flags: Any) -> None:
    """Say what would go wrong if a server were started with these settings."""
    try:
        findings = list(examine(_settings(config, flags)))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
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
