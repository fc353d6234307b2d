"""What a command says when it cannot do what was asked: one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what imports what draws a page, and writes it: says what is missing, or what is wrong there."""
    try:
        yield
    except ImportError as error:
        raise Failed(f"the page needs {error.name}: pip install 'inference-router[loadtest]'") from error
    except OSError as error:
        raise Failed(f"{path} cannot be written ({error.strerror}): name a file in a folder of yours") from error


def one_line(text: str) -> str:
    """Without control characters."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
