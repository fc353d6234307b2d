"""When a target is refused, and how it comes back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.core.breaker import Breaker, State, choose


def opened(breaker: Breaker, now: float) -> float:
    """Have it open, from `now` on; gives the instant at which it did."""
    while breaker.state(now) is State.CLOSED:
        breaker.failed(now)
        now += 0.01
    return now - 0.01


def probe(breaker: Breaker, now: float, *, good: bool) -> None:
    """One probe, which comes back at once."""
    assert breaker.allow(now)
    (breaker.succeeded if good else breaker.failed)(now)


def test_half_of_twenty_calls_open_it() -> None:
    """However they are mixed; not before there are twenty."""
    breaker = Breaker()
    for call in range(19):
        (breaker.failed if call % 2 else breaker.succeeded)(call / 10)
        assert breaker.state(call / 10) is State.CLOSED
        assert not breaker.reason
    breaker.failed(1.95)
    assert breaker.state(1.95) is State.OPEN
    assert breaker.reason == "10 of 20 calls within 10 s failed"
    assert not breaker.allow(1.95)
    assert breaker.opened == 1


def test_failures_of_more_than_ten_seconds_ago_are_forgotten() -> None:
    """The window is ten seconds."""
    breaker = Breaker()
    for failures, now in ((9, 0.5), (11, 11.0)):
        for _ in range(12):
            breaker.succeeded(now)
        for _ in range(failures):
            breaker.failed(now)
    assert breaker.state(11.0) is State.CLOSED
    breaker.failed(11.0)
    assert breaker.state(11.0) is State.OPEN


@pytest.mark.parametrize("rate", [10, 100, 2000])
def test_a_target_that_fails_altogether_is_found_within_a_second(rate: int) -> None:
    """Though it has been healthy for as long as the window reaches."""
    breaker = Breaker()
    for call in range(10 * rate):
        breaker.succeeded(call / rate)
    call = 10 * rate
    while breaker.allow(call / rate):
        breaker.failed(call / rate)
        call += 1
    assert call / rate <= 11.0
    assert breaker.reason.endswith("calls in a row failed")


def test_a_burst_of_bad_input_opens_nothing() -> None:
    """As long as others had answers within the last half second."""
    breaker = Breaker()
    for call in range(100):
        breaker.succeeded(call / 100)
    for _ in range(50):
        breaker.failed(1.4)
    assert breaker.state(1.4) is State.CLOSED
    breaker.failed(1.5)
    assert breaker.state(1.5) is State.OPEN


def test_probes_come_one_alone_then_two() -> None:
    """Three in all; every other call is refused; the last one that succeeds closes it."""
    breaker = Breaker()
    at = opened(breaker, 0.0)
    assert not breaker.allow(at + 0.99)
    now = at + 1.0
    assert breaker.state(now) is State.HALF_OPEN
    assert [breaker.allow(now), breaker.allow(now)] == [True, False]
    breaker.succeeded(now)
    assert [breaker.allow(now), breaker.allow(now), breaker.allow(now)] == [True, True, False]
    breaker.succeeded(now)
    assert not breaker.allow(now)
    assert breaker.state(now) is State.HALF_OPEN
    breaker.succeeded(now)
    assert breaker.state(now) is State.CLOSED
    assert not breaker.reason
    breaker.failed(now)
    assert breaker.allow(now)


def test_each_failed_probe_doubles_the_pause_up_to_its_bound() -> None:
    """One second, two, four, four; after it has closed it is one second again."""
    breaker = Breaker()
    now = opened(breaker, 0.0)
    for pause in (1.0, 2.0, 4.0, 4.0, 4.0):
        assert breaker.state(now + pause - 0.01) is State.OPEN
        now += pause
        probe(breaker, now, good=False)
        assert breaker.reason == "a probe failed"
    now += 4.0
    for _ in range(3):
        probe(breaker, now, good=True)
    now = opened(breaker, now + 1.0)
    assert breaker.state(now + 1.0) is State.HALF_OPEN
    assert breaker.opened == 2


def test_a_probe_that_does_not_come_back_counts_as_failed() -> None:
    """From the instant at which it was due; what it says later is not heard."""
    breaker = Breaker()
    now = opened(breaker, 0.0) + 1.0
    assert breaker.allow(now)
    assert breaker.state(now + 0.99) is State.HALF_OPEN
    assert breaker.state(now + 1.0) is State.OPEN
    assert breaker.reason == "a probe did not come back within 1 s"
    breaker.succeeded(now + 1.5)
    assert breaker.state(now + 2.99) is State.OPEN
    assert breaker.state(now + 3.0) is State.HALF_OPEN
    assert breaker.allow(now + 3.0)


def test_a_released_probe_leaves_its_place() -> None:
    """Its caller went away: nothing is known, another may probe."""
    breaker = Breaker()
    now = opened(breaker, 0.0) + 1.0
    for _ in range(20):
        assert breaker.allow(now)
        breaker.released(now)
    for _ in range(3):
        probe(breaker, now, good=True)
    assert breaker.state(now) is State.CLOSED
    breaker.released(now)
    assert breaker.state(now) is State.CLOSED


@pytest.mark.parametrize("takes", [0.01, 0.9, 1.5, 6.0])
def test_slow_runs_are_no_reason_to_stay_open(takes: float) -> None:
    """A probe that comes back late is given longer the next time."""
    breaker = Breaker()
    now = opened(breaker, 0.0)
    ends: list[float] = []
    for tick in range(10_000):
        at = now + tick / 100
        for _ in [end for end in ends if end <= at]:
            breaker.succeeded(at)
        ends = [end for end in ends if end > at]
        if breaker.state(at) is State.CLOSED:
            return
        if breaker.allow(at):
            ends.append(at + takes)
    pytest.fail("it never closed")


EVENTS = st.lists(
    st.tuples(st.sampled_from(["allow", "allow", "succeeded", "failed", "released", "state"]), st.floats(0, 3)),
    max_size=80,
)
"""What happens, and how long after what happened before."""


def after(events: list[tuple[str, float]]) -> tuple[Breaker, float]:
    """A breaker that has seen the events, and the instant of the last."""
    breaker = Breaker()
    now = 100.0
    for event, pause in events:
        now += pause
        getattr(breaker, event)(now)
    return breaker, now


@given(EVENTS)
@example([("failed", 0.0)] * 5 + [("allow", 1.0), ("allow", 3.0)])
def test_it_closes_within_five_seconds_of_healing_whatever_has_been(events: list[tuple[str, float]]) -> None:
    """Once all calls succeed at once; a second later for each second that a lost probe is waited for."""
    breaker, now = after(events)
    lost = max(breaker._overdue - now, 0.0) if breaker.state(now) is State.HALF_OPEN and breaker._out else 0.0
    until = now + lost + 4.01
    while now < until and breaker.state(now) is not State.CLOSED:
        while breaker.state(now) is not State.CLOSED and breaker.allow(now):
            breaker.succeeded(now)
        now += 0.005
    assert breaker.state(now) is State.CLOSED


@given(EVENTS)
def test_it_opens_on_a_target_that_fails_altogether_whatever_has_been(events: list[tuple[str, float]]) -> None:
    """Within one second, and is never asked more often than by probes from then on."""
    breaker, now = after(events)
    if breaker.state(now) is State.CLOSED:
        end = now + 1.0
        while now < end and breaker.allow(now):
            breaker.failed(now)
            now += 0.01
        assert breaker.state(now) is not State.CLOSED
    asked = 0
    for tick in range(1000):
        at = now + tick / 100
        if breaker.allow(at):
            asked += 1
            breaker.failed(at)
    assert asked <= 8
    assert breaker.reason


@given(EVENTS, st.lists(st.sampled_from(["succeeded", "failed", "released"]), max_size=10))
def test_calls_of_before_that_come_late_change_nothing(events: list[tuple[str, float]], late: list[str]) -> None:
    """While it is open nothing that is reported counts."""
    breaker, now = after(events)
    if breaker.state(now) is State.OPEN:
        until = breaker.until
        for event in late:
            getattr(breaker, event)(now)
        assert breaker.state(now) is State.OPEN
        assert breaker.until == until


def test_the_first_target_that_may_be_asked_is_chosen() -> None:
    """In the order of preference; none when all refuse and something else can answer."""
    first, second = Breaker(), Breaker()
    assert choose([first, second], 0.0, must_run=False) == 0
    opened(first, 0.0)
    assert choose([first, second], 0.1, must_run=False) == 1
    opened(second, 0.1)
    assert choose([first, second], 0.2, must_run=False) is None
    assert choose([], 0.2, must_run=True) is None


@given(st.lists(EVENTS, min_size=1, max_size=4), st.floats(0, 5))
def test_a_call_that_must_run_always_has_a_target(histories: list[list[tuple[str, float]]], pause: float) -> None:
    """The last healthy one is never refused; when all are open it is the one that tries again first."""
    made = [after(events) for events in histories]
    now = max(at for _, at in made) + pause
    breakers = [breaker for breaker, _ in made]
    states = [breaker.state(now) for breaker in breakers]
    chosen = choose(breakers, now, must_run=True)
    assert chosen is not None
    if set(states) == {State.OPEN}:
        assert breakers[chosen].until == min(breaker.until for breaker in breakers)
    if State.CLOSED in states:
        assert states[chosen] is not State.OPEN
