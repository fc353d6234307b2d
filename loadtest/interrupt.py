"""Ctrl-C, SIGTERM and a terminal that goes away: the first ends what is done, in order; those after it do nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Note:
    """Whether the signal has come, and when on the monotonic clock."""

    def __init__(self) -> None:
        self.at: float | None = None


@contextmanager
def raised() -> Iterator[None]:
    """In this block it raises KeyboardInterrupt, once."""

    def end(*_: object) -> None:
        _set(_nothing)
        raise KeyboardInterrupt

    with _handled_by(end):
        yield


@contextmanager
def held() -> Iterator[None]:
    """In this block it waits: a process that is half started, or half stopped, would be left behind."""
    came: list[int] = []
    try:
        with _handled_by(lambda number, _: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextmanager
def noted() -> Iterator[Note]:
    """In this block it is only written down, and what follows the block is left in peace."""
    note = Note()

    def write(*_: object) -> None:
        note.at = note.at or time.monotonic()

    with _handled_by(write):
        yield note
    if note.at is not None:
        _set(_nothing)


@contextmanager
def _handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _set(handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _set(handler: Callable[[int, Any], None]) -> None:
    for number in SIGNALS:
        # What our parent had ignored stays ignored: nohup, for one.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _nothing(*_: object) -> None:
    """A handler, not SIG_IGN: that would be inherited by processes that are started."""
