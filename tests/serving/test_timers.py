"""The timer thread: in order, on time, whatever an action does."""

from __future__ import annotations

import threading
import time
import weakref

from structlog.testing import capture_logs

from router.serving.timers import Timers
from tests.serving.fakes import FakeClock

LIMIT_S = 20.0


def test_actions_come_due_in_the_order_of_their_instants() -> None:
    """Those of one instant in the order in which they were set; none before its time, none twice."""
    clock = FakeClock()
    timers = Timers(clock.monotonic)
    done: list[str] = []
    for instant, name in ((1003, "d"), (1001, "a"), (1002, "b"), (1002, "c"), (1009, "e")):
        timers.at(instant, lambda name=name: done.append(name))  # type: ignore[misc]
    for now, want in ((1000.9, ""), (1001, "a"), (1002.5, "abc"), (1003, "abcd"), (1008, "abcd"), (2000, "abcde")):
        clock.now = now
        timers.fire()
        assert "".join(done) == want


def test_an_action_may_set_another() -> None:
    """Also one that is due already: it is next."""
    clock = FakeClock()
    timers = Timers(clock.monotonic)
    done: list[int] = []
    timers.at(1000, lambda: timers.at(1000, lambda: done.append(1)))
    timers.fire()
    timers.fire()
    assert done == [1]


def test_every_repeats_until_the_end() -> None:
    """At once, then after each period; a late one is not made up for."""
    clock = FakeClock()
    timers = Timers(clock.monotonic)
    done: list[float] = []
    timers.every(1.0, lambda: done.append(clock.now))
    for now in (1000.0, 1000.5, 1001.0, 1005.0, 1005.5, 1006.0):
        clock.now = now
        timers.fire()
    assert done == [1000.0, 1001.0, 1005.0, 1006.0]


def test_a_fault_in_an_action_stops_no_clock() -> None:
    """It is logged, the others come due, a repeated one goes on."""
    clock = FakeClock()
    timers = Timers(clock.monotonic)
    done: list[int] = []
    timers.every(1.0, lambda: 1 / 0)
    timers.at(1000, lambda: done.append(1))
    with capture_logs() as logged:
        timers.fire()
        clock.now += 1
        timers.fire()
    assert done == [1]
    assert [each["event"] for each in logged] == ["a timer's action failed"] * 2


def test_the_thread_wakes_for_what_is_sooner() -> None:
    """It sleeps for a far instant; a nearer one set meanwhile is on time, and not before it."""
    timers = Timers()
    timers.start()
    try:
        timers.at(time.monotonic() + 3600, lambda: None)
        for _ in range(20):
            fired = threading.Event()
            seen: list[float] = []
            instant = time.monotonic() + 0.005
            timers.at(instant, lambda: (seen.append(time.monotonic()), fired.set()))  # type: ignore[func-returns-value]  # noqa: B023
            assert fired.wait(LIMIT_S)
            assert seen[0] >= instant
    finally:
        timers.stop()


def test_only_a_new_head_wakes_the_thread() -> None:
    """What is set behind it costs no wake-up."""
    clock = FakeClock()
    timers = Timers(clock.monotonic)
    woken = []
    timers._changed.notify = lambda n=1: woken.append(n)  # type: ignore[method-assign]
    action = list[int]().clear
    timers.at(1005, action)
    timers.at(1006, action)  # the same action again, later
    timers.at(1007, lambda: None)
    assert len(woken) == 1
    timers.at(1004, lambda: None)
    assert len(woken) == 2


def test_a_stop_ends_the_thread_and_forgets_the_rest() -> None:
    """Also from within an action; what is set after it is forgotten at once."""
    for inside in (False, True):
        timers = Timers()
        timers.start()
        done: list[int] = []
        timers.at(time.monotonic() + 3600, lambda: done.append(1))  # noqa: B023
        if inside:
            timers.at(time.monotonic(), timers.stop)
            timers._thread.join(LIMIT_S)
        else:
            timers.stop()
        assert not timers._thread.is_alive()
        timers.at(0, lambda: done.append(2))  # noqa: B023
        assert not timers._heap
        assert not done


def test_what_is_done_is_not_held() -> None:
    """The thread at rest keeps nothing of the last action alive."""

    class Held:
        def act(self) -> None:
            pass

    timers = Timers()
    timers.start()
    try:
        held = Held()
        gone = threading.Event()
        weakref.finalize(held, gone.set)
        timers.at(time.monotonic(), held.act)
        del held
        assert gone.wait(LIMIT_S)
    finally:
        timers.stop()
