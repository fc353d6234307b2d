"""A group of commands: mistakes are told in one line, and what a command needs is imported when it is run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click


class Commands(click.Group):
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


class Announced(click.Command):
    """A command of another module: its name and one line of help are known, the rest is imported when it is called.

    The module holds it under its name.
    """

    def __init__(self, name: str, module: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._module = module

    def real(self) -> click.Command:
        """The command itself."""
        command: click.Command = getattr(importlib.import_module(self._module), str(self.name))
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """What a group asks for first, to run a command, to show its help, to complete it."""
        return self.real().make_context(info_name, args, parent, **extra)
