"""The group of commands: what is known of a command before it is imported is true."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from router.app.cli import LATER, main
from router.app.commands import Announced


@pytest.mark.parametrize("name", [name for name, _, _ in LATER])
def test_what_is_announced_is_there(name: str) -> None:
    """A command of that name; its one line of help is how its own help begins."""
    announced = main.commands[name]
    assert isinstance(announced, Announced)
    real = announced.real()
    assert real.name == name
    begins = " ".join((real.help or "").split()).replace("`", "")
    said = (announced.short_help or "").replace("`", "")
    assert begins.startswith(said.split(".")[0].split(";")[0].split(",")[0])
    told = CliRunner().invoke(main, [name, "--help"])
    assert told.exit_code == 0
    assert f"Usage: router {name}" in told.output or f"Usage: main {name}" in told.output


def test_commands_that_ask_the_admin_port_take_the_same_options() -> None:
    """Address, token and TLS, by option or environment; JSON for programs."""
    apart = {"infer", "token", "completion", "plan", "demo", "dashboards"}
    for name in [name for name, _, _ in LATER if name not in apart]:
        announced = main.commands[name]
        assert isinstance(announced, Announced)
        taken = {option for each in announced.real().params for option in each.opts}
        assert {"--admin", "--token", "--admin-ca", "--admin-cert", "--admin-key", "--json"} <= taken, name


CHANGES = [
    *("test", "warm", "promote", "rollback", "freeze", "thaw", "alias", "load", "unload", "fallback"),
    *("challenge", "split", "trial", "canary", "approve", "reject", "apply"),
]


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_something_takes_a_reason(name: str) -> None:
    """It is kept in the audit log."""
    announced = main.commands[name]
    assert isinstance(announced, Announced)
    assert any("--reason" in each.opts for each in announced.real().params)


def test_exit_codes_are_in_the_help() -> None:
    """Of the program, and of the commands that end with a verdict."""
    assert "Exit codes: 0 done" in " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    assert "3: it ended" in " ".join(CliRunner().invoke(main, ["test", "--help"]).output.split())


def test_who_serves_or_asks_for_help_imports_little() -> None:
    """Neither gRPC nor tables nor charts nor arrays."""
    code = """
import sys
from click.testing import CliRunner
from router.app.cli import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
assert CliRunner().invoke(main, ["serve", "--help"]).exit_code == 0
print(*sorted({"grpc", "rich", "numpy", "plotly", "sqlalchemy", "google.protobuf"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_a_command_that_is_run_by_a_program() -> None:
    """Without the group's own end: what it raises comes out."""
    with pytest.raises(click.UsageError):
        main.main(["promote", "a"], standalone_mode=False)
