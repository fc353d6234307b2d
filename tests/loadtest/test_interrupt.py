"""Signals, sent to ourselves: what becomes of them in each kind of block."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from loadtest import interrupt


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Whatever a test does, the handlers are those of before."""
    before = {number: signal.getsignal(number) for number in interrupt.SIGNALS}
    yield
    after = {number: signal.getsignal(number) for number in interrupt.SIGNALS}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_the_first_one_ends_and_a_second_does_not_disturb_the_end(number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a lost terminal alike."""
    steps = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            steps.append("ended")

    with pytest.raises(KeyboardInterrupt), interrupt.raised():
        work()
    assert steps == ["ended"]


def test_what_is_held_comes_at_the_end() -> None:
    """A process is started, or stopped, whole; also when that fails."""
    steps = []

    def work(*, fails: bool) -> None:
        with interrupt.held():
            signal.raise_signal(signal.SIGINT)
            steps.append("held")
            if fails:
                raise OSError
        steps.append("never")

    for fails in (False, True):
        with pytest.raises(KeyboardInterrupt), interrupt.raised():
            work(fails=fails)
    assert steps == ["held", "held"]


def test_without_a_signal_nothing_happens() -> None:
    """Every block is left as it was entered."""
    with interrupt.raised(), interrupt.held(), interrupt.noted() as note:
        pass
    assert note.at is None


def test_what_is_noted_ends_nothing_and_what_follows_is_left_in_peace() -> None:
    """The first instant counts."""
    with interrupt.raised():
        with interrupt.noted() as note:
            signal.raise_signal(signal.SIGINT)
            first = note.at
            signal.raise_signal(signal.SIGTERM)
        assert note.at == first is not None
        signal.raise_signal(signal.SIGINT)


def test_what_the_parent_ignores_stays_ignored() -> None:
    """As nohup does it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.raised(), interrupt.noted() as note:
            signal.raise_signal(signal.SIGHUP)
        assert note.at is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_is_started_later_can_be_stopped() -> None:
    """Signals that do nothing here are not ignored there."""
    with interrupt.raised():
        with interrupt.noted():
            signal.raise_signal(signal.SIGINT)
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            process.terminate()
            assert process.wait(10) == -signal.SIGTERM
