"""Sessions that are made to fail: each kind does what it says, under a clock that the test moves."""

from __future__ import annotations

import sys
import threading
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from router.core.faults import Fault
from router.errors import ModelFailed
from router.serving.faults import STEP_S, Faulty, Injection, hold
from tests.serving.fakes import FakeClock, FakeSession, FakeStop, World, values

X = {"x": np.array([1.0], np.float32)}


class Busy(FakeClock):
    """Each look at it takes a moment, as for a thread that computes meanwhile."""

    def monotonic(self) -> float:
        """Seconds."""
        self.now += 0.001
        return self.now


class Setup:
    """A session that is well, and what can be done to it."""

    def __init__(self, *faults: Fault, clock: FakeClock | None = None, replica: int | None = 0) -> None:
        self.clock = clock or FakeClock()
        self.began = self.clock.now
        self.slept: list[float] = []
        self.stop = FakeStop()
        self.session = FakeSession()
        self.injection = Injection(self.clock)
        self.injection.command(faults)
        self.faulty = Faulty(self.session, self.injection, replica, self.clock, self.sleep, lambda _: None)

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.slept.append(seconds)
        self.clock.now += seconds

    def run(self) -> list[Any]:
        """One run."""
        (made,) = self.faulty.run(["y"], X, self.stop)
        return made.tolist()  # type: ignore[no-any-return]

    @property
    def passed_ms(self) -> int:
        """Since it was made."""
        return round((self.clock.now - self.began) * 1e3)


def test_without_faults_a_session_is_as_it_was() -> None:
    """Its answer, its time, what ends its runs."""
    setup = Setup()
    assert setup.run() == [2]
    assert setup.passed_ms == 0
    assert isinstance(setup.faulty.stop(), FakeStop)


@pytest.mark.parametrize("kind", ["stall", "hang", "hang_hard"])
def test_a_stall_or_a_hang_runs_when_its_time_is_over(kind: str) -> None:
    """100 ms, asleep; then the answer."""
    setup = Setup(Fault(kind=kind, ms=100))
    assert setup.run() == [2]
    assert setup.passed_ms == 100


@pytest.mark.parametrize("kind", ["gil", "burn"])
def test_a_burn_computes(kind: str) -> None:
    """For its time, and never sleeps."""
    setup = Setup(Fault(kind=kind, ms=50), clock=Busy())
    assert setup.run() == [2]
    assert 50 <= setup.passed_ms < 60
    assert not setup.slept


def test_a_hang_ends_when_it_is_told_to() -> None:
    """At its next step; the session itself is not run."""
    setup = Setup(Fault(kind="hang"))

    def sleep(seconds: float) -> None:
        setup.sleep(seconds)
        setup.stop.terminate = len(setup.slept) >= 50

    setup.faulty._sleep = sleep
    with pytest.raises(ModelFailed, match="was ended"):
        setup.run()
    assert setup.slept == [STEP_S] * 50
    assert not setup.session.runs


def test_a_hard_hang_does_not_end() -> None:
    """Though it is told to; it holds its thread until its time is over."""
    setup = Setup(Fault(kind="hang_hard", ms=10_000))
    setup.stop.terminate = True
    assert setup.run() == [2]
    assert setup.passed_ms == 10_000


def test_a_hang_without_a_time_lasts() -> None:
    """For ever, as far as a test can see."""

    class Enough(Exception):
        """The test has."""

    setup = Setup(Fault(kind="hang_hard"))

    def sleep(seconds: float) -> None:
        setup.sleep(seconds)
        if setup.passed_ms > 86_400_000:
            raise Enough

    setup.faulty._sleep = sleep
    with pytest.raises(Enough):
        setup.run()


def test_an_error() -> None:
    """One line, and the session is not run."""
    setup = Setup(Fault(kind="error"))
    with pytest.raises(ModelFailed, match="a fault was injected"):
        setup.run()
    assert not setup.session.runs


def test_nan_in_all_that_is_floating() -> None:
    """Of every floating type; whole numbers stay what they are."""
    setup = Setup(Fault(kind="nan"))
    given = [np.ones(2, kind) for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.int64)]
    setup.session.function = lambda _: given
    *floats, whole = setup.faulty.run(["y"], X)
    for made, was in zip(floats, given, strict=False):
        assert made.dtype == was.dtype
        assert np.isnan(made.astype(np.float64)).all()
    assert whole.tolist() == [1, 1]
    assert given[1].tolist() == [1, 1]


def test_numbers_are_shifted() -> None:
    """Floating ones by the number itself, whole ones by its nearest whole; texts and booleans stay, types too."""
    setup = Setup(Fault(kind="shift", by=1.75))
    given = [np.ones(2, kind) for kind in (np.float16, np.float64, ml_dtypes.bfloat16, np.int8, np.uint64, np.bool_)]
    setup.session.function = lambda _: [*given, np.array([b"red"], dtype=object)]
    *made, text = setup.faulty.run(["y"], X)
    assert [(each.dtype, each.tolist()) for each in made] == [
        (was.dtype, [shifted] * 2) for was, shifted in zip(given, (2.75, 2.75, 2.75, 3, 3, True), strict=True)
    ]
    assert text.tolist() == [b"red"]
    assert given[0].tolist() == [1, 1]


@pytest.mark.parametrize("by", [3, -3, 1e6, -1e6, 1e300, 0.4])
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64])
def test_shifted_numbers_stay_within_their_type(kind: type[np.signedinteger[Any]], by: float) -> None:
    """A label at the end of what there is does not come round at the other."""
    setup = Setup(Fault(kind="shift", by=by))
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    setup.session.function = lambda _: [np.array([low, 0, high], kind)]
    whole = max(-high, min(round(by), high))
    assert setup.run() == [max(low, min(each + whole, high)) for each in (low, 0, high)]


def test_floating_numbers_that_leave_their_type_are_infinite() -> None:
    """As in any sum; nobody warns of it."""
    setup = Setup(Fault(kind="shift", by=-1e300))
    setup.session.function = lambda _: [np.ones(2, np.float16)]
    assert setup.run() == [-np.inf, -np.inf]


def test_a_fault_of_one_version_spares_the_others() -> None:
    """A challenger that turns bad beside a champion that is well."""
    injection = Injection(FakeClock())
    injection.command((Fault(kind="shift", by=5, version="2"),))
    answers = [Faulty(FakeSession(), injection, version=number).run(["y"], X)[0].tolist() for number in ("1", "2")]
    assert answers == [[2], [7]]


def test_slow_is_a_multiple_of_the_real_time() -> None:
    """A run of 4 ms takes five times as long."""
    setup = Setup(Fault(kind="slow", factor=5))

    def during() -> None:
        setup.clock.now += 0.004

    setup.session.during = during
    assert setup.run() == [2]
    assert setup.passed_ms == 20


def test_faults_change_between_two_runs() -> None:
    """A run that is under way goes on as it began; a share is of the session's own runs."""
    setup = Setup(Fault(kind="error", share=0.5))
    outcomes = []
    for _ in range(40):
        try:
            setup.run()
            outcomes.append(True)
        except ModelFailed:
            outcomes.append(False)
    assert 18 <= sum(outcomes) <= 22
    setup.injection.command(())
    assert all(setup.run() == [2] for _ in range(10))


def test_what_an_operator_says_goes_before_the_settings() -> None:
    """Also that all is well; what is told again goes on as it is."""
    clock = FakeClock()
    injection = Injection(clock)
    late = (Fault(kind="error", after_s=5),)
    injection.configure(late)
    began = injection.current.since
    clock.now += 4
    injection.configure(late)
    assert injection.current.since == began
    injection.command(())
    injection.configure(late)
    assert not injection.current.faults


def test_an_inline_run_that_hangs_loses_the_loop() -> None:
    """The lane sees a faulty session as it sees any other."""
    world = World()
    setup = Setup(Fault(kind="hang_hard", ms=100), clock=world.clock)

    def sleep(seconds: float) -> None:
        for _ in range(round(seconds / 0.004)):
            world.after(0.004)

    setup.faulty._sleep = sleep
    world.lane.replicas[0].session = setup.faulty
    reply = world.send(1)
    world.router.work()
    assert world.handed_over == 1
    assert values(reply) == [2]


def test_nobody_else_runs_while_the_interpreter_is_held() -> None:
    """Not even a thread that has waited for it for long: so a worker has no heartbeat."""
    counted = [0]
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        first = counted[0]
        hold(0.5)
        second = counted[0]
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()
    assert second - first < 200_000  # more than a million where they take turns


def test_real_burns_last_as_long_as_they_say() -> None:
    """On the real clock, a few milliseconds; other threads go on."""
    went_on = threading.Event()
    threading.Thread(target=went_on.set).start()
    for kind in ("gil", "burn", "stall"):
        injection = Injection()
        injection.command((Fault(kind=kind, ms=2),))
        assert Faulty(FakeSession(), injection).run(["y"], X)[0].tolist() == [2]
    assert went_on.wait(10)
