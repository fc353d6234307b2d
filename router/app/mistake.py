"""What a command says when it cannot do what was asked: one line and an exit code."""

from __future__ import annotations

import click


class Mistake(click.ClickException):
    """One line, whatever names a server or a file brought into it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class Wrong(Mistake):
    """Something that was typed, or a file: exit code 2."""

    exit_code = 2


class Failed(Mistake):
    """The server gave no answer: exit code 1."""

    exit_code = 1


def one_line(text: str) -> str:
    """Without control characters."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
