"""The time of a thread."""

from __future__ import annotations

import time

from router.serving.core_time import CoreTime


def test_the_clock_of_a_thread_does_not_go_back() -> None:
    """Whatever it waits for."""
    core = CoreTime()
    seen = [core.now() for _ in range(200)]
    assert seen == sorted(seen)
    core.close()


def test_what_a_thread_has_spent_grows_as_it_computes() -> None:
    """With a core, in nanoseconds."""
    core = CoreTime()
    before = core.spent()
    begun = time.thread_time_ns()
    while time.thread_time_ns() - begun < 10_000_000:
        pass
    time.sleep(0)
    ran, waited = core.spent()
    assert ran >= before[0]
    assert waited >= before[1]
    core.close()


def test_without_the_system_s_account_no_thread_waits() -> None:
    """The clock is that of the wall."""
    core = CoreTime()
    core.close()
    core.close()
    assert core.spent() == (0, 0)
    assert core.now() <= time.monotonic_ns()
