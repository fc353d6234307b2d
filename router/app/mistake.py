"""What a command says when it cannot do what was asked: one line and an exit code."""

from __future__ import annotations

import click


class Wrong(click.ClickException):
    """A mistake in what was typed or in a file: exit code 2."""

    exit_code = 2


class Failed(click.ClickException):
    """The server gave no answer: exit code 1."""

    exit_code = 1


def one_line(text: str) -> str:
    """Without control characters, whatever a server or a file holds."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
