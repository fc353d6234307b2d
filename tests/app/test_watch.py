"""When a child is killed and started again, on virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from router.app.watch import FIRST_DELAY_S, HEALTHY_S, LONGEST_DELAY_S, NICED_STILL_S, SILENT_S, STILL_S, Watch


def looks(watch: Watch, since: float, until: float, beats: Callable[[float], int]) -> tuple[float, str] | None:
    """The first reason to kill within a time, looked for every 0.1 s, and when."""
    for tick in range(int((until - since) * 10) + 1):
        now = since + tick / 10
        if (why := watch.look(now, beats(now))) is not None:
            return now, why
    return None


def test_a_beating_child_lives() -> None:
    """Beats that go on, however unevenly below a second, kill nobody."""
    watch = Watch()
    watch.started(0.0)
    assert looks(watch, 0.0, 300.0, lambda now: 1 + int(now / 0.8)) is None


def test_a_child_that_stops_beating_is_killed_after_a_second() -> None:
    """The verdict comes one second after the last beat that was seen."""
    watch = Watch()
    watch.started(0.0)
    found = looks(watch, 0.0, 60.0, lambda now: 1 + int(min(now, 10.0) * 10))
    assert found is not None
    assert found[0] == pytest.approx(10.0 + STILL_S, abs=0.11)
    assert found[1] == "stood still for 1.0 s"


def test_a_child_of_the_lowest_priority_may_stand_still_for_longer() -> None:
    """It may be without a core; one that stands still for good is killed all the same."""
    watch = Watch(NICED_STILL_S)
    watch.started(0.0)
    found = looks(watch, 0.0, 60.0, lambda now: 1 + int(min(now, 10.0) * 10))
    assert found is not None
    assert found[0] == pytest.approx(10.0 + NICED_STILL_S, abs=0.11)


def test_a_child_may_take_its_time_to_the_first_beat() -> None:
    """Before the first beat a minute is allowed, then it is killed."""
    watch = Watch()
    watch.started(0.0)
    found = looks(watch, 0.0, 100.0, lambda _: 0)
    assert found is not None
    assert found[0] == pytest.approx(SILENT_S, abs=0.11)
    assert found[1] == "showed no sign of life for 60 s"


def test_time_in_which_the_supervisor_did_not_look_hardly_counts() -> None:
    """After an hour's pause of the supervisor itself a child has a second left to beat."""
    watch = Watch()
    watch.started(0.0)
    assert watch.look(0.1, 5) is None
    assert watch.look(3600.0, 5) is None
    assert looks(watch, 3600.1, 3600.7, lambda _: 5) is None
    assert looks(watch, 3600.8, 3605.0, lambda _: 5) is not None


def test_restarts_back_off_and_are_forgiven() -> None:
    """At once, then 0.25 s doubling to 10 s; after 30 s of beats at once again, but not after 30 s of silence."""
    watch = Watch()
    now, delays = 0.0, []
    for _ in range(9):
        watch.started(now)
        assert looks(watch, now, now + 5.0, lambda at: 1 + int(at * 10)) is None
        now += 5.0
        delays.append(watch.died())
    assert delays == [0.0, FIRST_DELAY_S, 0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_DELAY_S, LONGEST_DELAY_S]
    watch.started(now)
    assert looks(watch, now, now + HEALTHY_S + 10.0, lambda _: 0) is None
    assert watch.died() == LONGEST_DELAY_S
    now += HEALTHY_S + 10.0
    watch.started(now)
    assert looks(watch, now, now + HEALTHY_S + 1.0, lambda at: 1 + int(at * 10)) is None
    assert [watch.died(), watch.died()] == [0.0, FIRST_DELAY_S]
