"""CPU time from /proc, of a whole family of processes."""

from __future__ import annotations

import os

import pytest

from loadtest.cpu import TICKS_PER_SECOND, CpuMeter, CpuTime, family, parse_stat

STAT = (
    "4242 ({name}) S 1 4242 4242 0 -1 4194560 1234 0 5 0 250 31 7 9 20 0 12 0 987654 1234567890 4567 "
    "18446744073709551615 1 1 0 0 0 0 0 16781312 17642 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0"
)


@pytest.mark.parametrize("name", ["python", "a b", "x) S 1 2 (y", ")"])
def test_reads_user_and_system_ticks(name: str) -> None:
    """Fields 14 and 15, whatever the program calls itself; those of its dead children (16, 17) are not its own."""
    assert parse_stat(STAT.format(name=name)) == CpuTime(user=250, system=31)


def test_adds_up_what_was_used_in_between() -> None:
    """A process that began later counts from its birth; one that ended is left out."""
    before = CpuMeter({1: CpuTime(100, 50), 2: CpuTime(7, 7)})
    after = CpuMeter({1: CpuTime(130, 60), 3: CpuTime(5, 5)})
    assert after.seconds_since(before) == pytest.approx(50 / TICKS_PER_SECOND)


def test_reads_this_very_process() -> None:
    """Every process finds itself in its family, and time does not run backwards."""
    me = os.getpid()
    first = CpuMeter.read([me])
    assert me in family([me])
    assert me in first.used
    assert CpuMeter.read([me]).seconds_since(first) >= 0


def test_a_process_that_is_gone_has_no_family() -> None:
    """No error: servers come and go."""
    assert family([2**22 + 1]) == []
