"""A group of commands that tells a mistake on the command line in one line."""

from __future__ import annotations

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
