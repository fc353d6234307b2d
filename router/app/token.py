"""`router token create`: a token for somebody who acts on a server. It is shown once; its hash is what is kept."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import ValidationError

from router.app.commands import Commands
from router.app.mistake import Wrong
from router.app.terminal import json_option
from router.config import RoleName, ServerSettings, settings_in
from router.core.access import TOKEN_BYTES, TOKEN_PREFIX, digest
from router.errors import SettingsError
from router.settings import explain

_ROLES = get_args(RoleName)


@click.group(cls=Commands)
def token() -> None:
    """Make tokens for the admin port, and for loads and unloads on the inference port."""


@token.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    required=True,
    help="viewer reads. operator tests, warms, promotes what has passed, rolls back. approver may go against gates."
    " admin may do everything.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Add it to this file, which a server gets with --config.",
)
@json_option
def create(name: str, role: str, config: Path | None, as_json: bool) -> None:
    """Make a token for NAME and show it once; the server's file holds its hash.

    A server that runs knows it when it has been started again.
    """
    made = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    lines = table(name, role, digest(made))
    try:
        _check(name, role, digest(made))
        if config is not None:
            append(config, name, lines)
    except SettingsError as error:
        raise Wrong(str(error)) from error
    if as_json:
        click.echo(json.dumps({"name": name, "role": role, "token": made, "sha256": digest(made)}, indent=2))
        return
    click.echo(f"the token of {name} ({role}), shown this once; clients give it with --token or ROUTER_TOKEN:")
    click.echo(f"\n{made}\n")
    if config is None:
        click.echo(f"for the file that the server gets with --config:\n\n{lines}", nl=False)
    else:
        click.echo(f"{config} has its hash; start the server again with --config {config} for it to count")


def table(name: str, role: str, sha256: str) -> str:
    """The lines of a token for `router.toml`."""
    key = name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
    return f'[tokens.{key}]\nrole = "{role}"\nsha256 = "{sha256}"\n'


def _check(name: str, role: str, sha256: str) -> None:
    """Raises SettingsError."""
    try:
        ServerSettings.model_validate({"tokens": {name: {"role": role, "sha256": sha256}}})
    except ValidationError as error:
        raise SettingsError(explain(error, "router token create")) from error


def append(config: Path, name: str, lines: str) -> None:
    """Add a table to a file of settings, which is replaced as a whole; made where there is none. Raises SettingsError.

    A file that would not be taken with it is left as it is.
    """
    place = config.resolve()  # behind a link, which stays one
    try:
        with _alone(place.parent):
            before = place.read_text(encoding="utf-8") if place.exists() else ""
            after = f"{before.rstrip()}\n\n{lines}" if before.strip() else lines
            _accept(config, name, before, after)
            _replace(place, after)
    except OSError as error:
        raise SettingsError(f"{config} cannot be changed: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{config} cannot be changed: it is not UTF-8 text") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two that add to the same file do so one after the other, and neither loses what the other has added."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(place: Path, text: str) -> None:
    descriptor, fresh = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, fresh)
            with contextlib.suppress(PermissionError):  # whoever may not give it away keeps it
                os.chown(fresh, place.stat().st_uid, place.stat().st_gid)
        Path(fresh).replace(place)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def _accept(config: Path, name: str, before: str, after: str) -> None:
    """Whether a file would be taken with its new lines. Raises SettingsError."""
    tables: dict[str, Any] = {}
    try:
        tables = tomllib.loads(before)
        if name in tables.get("tokens", {}):
            raise SettingsError(f"{config} has a token of '{name}' already: choose another name, or remove it there")
        tables = tomllib.loads(after)
    except (ValueError, TypeError, RecursionError) as error:
        raise SettingsError(f"{config} is not TOML that a table can be added to: mend it first") from error
    settings_in(tables, config, {})
