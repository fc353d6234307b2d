"""Threads come for lanes when asked, as many as are needed, and end when nothing is left."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from router.serving.executor import Executor, Visited

LIMIT_S = 20.0


class FakeLane:
    """Each visit runs the next of the given functions; True as long as more are left."""

    def __init__(self, *visits: Callable[[], object]) -> None:
        self.visits = list(visits)
        self.done = threading.Semaphore(0)
        self.threads: set[threading.Thread] = set()

    def work(self) -> bool:
        """One visit."""
        self.threads.add(threading.current_thread())
        visit = self.visits.pop(0)
        try:
            visit()
        finally:
            self.done.release()
        return bool(self.visits)

    def wait(self, visits: int = 1) -> None:
        """Until so many visits are over."""
        for _ in range(visits):
            assert self.done.acquire(timeout=LIMIT_S)


def nothing() -> None:
    """A short visit."""


def ended(threads: set[threading.Thread]) -> bool:
    """Whether all of them end."""
    for thread in threads:
        thread.join(LIMIT_S)
    return not any(thread.is_alive() for thread in threads)


def test_a_lane_with_more_to_do_is_visited_again() -> None:
    """Until it says that nothing is left, by the same thread if nobody else needs one."""
    executor = Executor()
    lane = FakeLane(*[nothing] * 50)
    executor.put(lane)
    lane.wait(50)
    executor.stop()
    assert len(lane.threads) == 1
    assert ended(lane.threads)


def test_a_lane_with_more_to_do_wakes_no_other_thread() -> None:
    """Where nobody else waits it is not handed on: that would cost a wake for every run."""

    class Counted(queue.SimpleQueue[Visited | None]):
        puts = 0

        def put(self, item: Visited | None, block: bool = True, timeout: float | None = None) -> None:
            self.puts += 1
            super().put(item, block, timeout)

    executor = Executor()
    executor._ready = counted = Counted()
    lane = FakeLane(*[nothing] * 50)
    executor.put(lane)
    lane.wait(50)
    assert counted.puts == 1
    executor.stop()
    assert ended(lane.threads)


def test_lanes_take_turns() -> None:
    """A lane that comes back queues behind the others: nobody is starved by a busy one."""
    executor = Executor(threads=1)
    order: list[str] = []
    hold = threading.Event()
    busy = FakeLane(lambda: hold.wait(LIMIT_S), *[lambda: order.append("busy")] * 3)
    other = FakeLane(*[lambda: order.append("other")] * 2)
    executor.put(busy)
    executor.put(other)
    hold.set()
    busy.wait(4)
    other.wait(2)
    assert order == ["other", "busy", "other", "busy", "busy"]
    executor.stop()


@pytest.mark.parametrize("hung", [1, 3, 7])
def test_hung_runs_keep_no_other_lane_waiting(hung: int) -> None:
    """While fewer threads are stuck than there may be, whatever came and went before."""
    executor = Executor(threads=8)
    hold = threading.Event()
    stuck = []
    try:
        for _ in range(hung):
            for _ in range(20):  # threads that come and rest in between must not be counted as idle twice
                lane = FakeLane(nothing)
                executor.put(lane)
                lane.wait()
            stuck.append(FakeLane(lambda: hold.wait(LIMIT_S)))
            executor.put(stuck[-1])
            lane = FakeLane(nothing)
            executor.put(lane)
            lane.wait()
    finally:
        hold.set()
    for lane in stuck:
        lane.wait()
    executor.stop()


def test_no_more_threads_than_allowed() -> None:
    """What comes above waits its turn."""
    executor = Executor(threads=2)
    inside, hold = threading.Semaphore(0), threading.Event()

    def visit() -> None:
        inside.release()
        hold.wait(LIMIT_S)

    visited = [FakeLane(visit) for _ in range(5)]
    for lane in visited:
        executor.put(lane)
    assert inside.acquire(timeout=LIMIT_S)
    assert inside.acquire(timeout=LIMIT_S)
    assert executor._threads == 2
    hold.set()
    for lane in visited:
        lane.wait()
    assert len(set.union(*[lane.threads for lane in visited])) == 2
    executor.stop()


def test_a_stop_lets_what_waits_finish() -> None:
    """Also lanes that come back, and what is put after the stop; then all threads end."""
    executor = Executor(threads=2)
    hold = threading.Event()
    first = FakeLane(lambda: hold.wait(LIMIT_S), *[nothing] * 5)
    second = FakeLane(*[nothing] * 5)
    executor.put(first)
    executor.put(second)
    executor.stop()
    hold.set()
    first.wait(6)
    second.wait(5)
    assert ended(first.threads | second.threads)
    late = FakeLane(nothing, nothing)
    executor.put(late)
    late.wait(2)
    assert ended(late.threads)


def test_what_is_put_right_after_a_stop_is_done() -> None:
    """Though the threads have been told to go: one of them notices."""
    for _ in range(50):
        executor = Executor(threads=1)
        first, late = FakeLane(nothing), FakeLane(nothing, nothing)
        executor.put(first)
        first.wait()
        executor.stop()
        executor.put(late)
        late.wait(2)
        assert ended(first.threads | late.threads)


def test_a_stop_without_work_ends_idle_threads() -> None:
    """At once."""
    executor = Executor()
    lane = FakeLane(nothing)
    executor.put(lane)
    lane.wait()
    executor.stop()
    assert ended(lane.threads)


def test_a_fault_in_a_visit_ends_no_thread() -> None:
    """It is logged; the next visit finds the thread."""
    executor = Executor(threads=1)

    def broken() -> None:
        raise ZeroDivisionError

    first, second = FakeLane(broken), FakeLane(nothing)
    with capture_logs() as logged:
        executor.put(first)
        executor.put(second)
        second.wait()
    assert first.threads == second.threads
    assert [each["event"] for each in logged] == ["a visit to a lane failed"]
    executor.stop()
    assert ended(second.threads)


def test_a_thread_at_rest_holds_no_lane() -> None:
    """A lane that is not needed any more goes while the threads live on."""
    executor = Executor(threads=1)
    lane = FakeLane(nothing)
    gone = threading.Event()
    weakref.finalize(lane, gone.set)
    executor.put(lane)
    lane.wait()
    del lane
    assert gone.wait(LIMIT_S)
    executor.stop()
