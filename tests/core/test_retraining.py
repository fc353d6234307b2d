"""When a model is trained anew by itself, by instants that are arguments."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.retraining import AGAIN_S, DECLINES, Due, Policy, Trigger, Waiting, due, newer, rests

POLICY = Policy({Trigger.DRIFT: "red", Trigger.ACCURACY: "yellow"}, 3600.0)


def heard(*events: tuple[Trigger, str], policy: Policy = POLICY) -> Waiting:
    """What waits after events, each told as `TRIGGER is STATUS`."""
    waiting = Waiting()
    for trigger, status in events:
        waiting = waiting.heard(policy, trigger, status, f"{trigger} is {status}")
    return waiting


def test_a_decline_asks_for_a_run() -> None:
    """From the status on that the policy names; what it does not name is no trigger."""
    assert due(POLICY, heard((Trigger.DRIFT, "red")), 9e9, None) == Due(Trigger.DRIFT, "drift is red")
    assert due(POLICY, heard((Trigger.DRIFT, "yellow")), 9e9, None) is None
    assert due(POLICY, heard((Trigger.ACCURACY, "yellow")), 9e9, None) == Due(Trigger.ACCURACY, "accuracy is yellow")
    assert due(POLICY, heard((Trigger.HEALTH, "red")), 9e9, None) is None
    assert due(POLICY, heard((Trigger.DRIFT, "mauve")), 9e9, None) is None


def test_the_interval_is_kept_and_a_decline_waits_for_its_end() -> None:
    """Unless all is well again by then."""
    waiting = heard((Trigger.DRIFT, "red"))
    assert due(POLICY, waiting, 4599.9, 1000.0) is None
    assert rests(POLICY, 4599.0, 1000.0) == 1.0
    assert due(POLICY, waiting, 4600.0, 1000.0) == Due(Trigger.DRIFT, "drift is red")
    assert due(POLICY, heard((Trigger.DRIFT, "red"), (Trigger.DRIFT, "green")), 4600.0, 1000.0) is None


def test_a_decline_asks_once() -> None:
    """Not for as long as it lasts, though it gets worse; again when it comes back."""
    waiting = heard((Trigger.ACCURACY, "yellow")).begun(None)
    assert due(POLICY, waiting, 9e9, None) is None
    waiting = waiting.heard(POLICY, Trigger.ACCURACY, "red", "worse")
    assert due(POLICY, waiting, 9e9, None) is None
    waiting = waiting.heard(POLICY, Trigger.ACCURACY, "green", "well")
    waiting = waiting.heard(POLICY, Trigger.ACCURACY, "red", "back")
    assert due(POLICY, waiting, 9e9, None) == Due(Trigger.ACCURACY, "back")


def test_a_decline_whose_run_came_to_nothing_asks_again() -> None:
    """While it lasts."""
    waiting = heard((Trigger.DRIFT, "red")).begun(None)
    again = waiting.again(POLICY, Trigger.DRIFT, "still", 9e8)
    assert due(POLICY, again, 9e9, None) == Due(Trigger.DRIFT, "still")
    over = waiting.heard(POLICY, Trigger.DRIFT, "green", "")
    assert due(POLICY, over.again(POLICY, Trigger.DRIFT, "still", 9e8), 9e9, None) is None
    assert due(POLICY, Waiting().again(POLICY, Trigger.HEALTH, "still", 9e8), 9e9, None) is None


def test_a_command_that_always_fails_does_not_run_without_a_pause() -> None:
    """Though the policy has no interval; a clock that was set back makes the pause no longer. The schedule goes on."""
    policy = Policy({Trigger.DRIFT: "red"}, 0.0)
    again = heard((Trigger.DRIFT, "red"), policy=policy).begun(1030.0).again(policy, Trigger.DRIFT, "still", 1000.0)
    assert due(policy, again, 1029.0, 1000.0) is None
    assert due(policy, again, 1030.0, 1000.0) == Due(Trigger.SCHEDULE, "it was due")
    assert due(policy, again, 1000.0 + AGAIN_S, 1000.0) == Due(Trigger.DRIFT, "still")
    assert due(policy, again, 10.0, 1000.0) == Due(Trigger.DRIFT, "still")


def test_the_schedule_waits_for_the_interval_as_well() -> None:
    """What fell due meanwhile is done once; a decline goes before it."""
    waiting = Waiting(scheduled=2000.0)
    assert due(POLICY, waiting, 1999.0, None) is None
    assert due(POLICY, waiting, 2000.0, None) == Due(Trigger.SCHEDULE, "it was due")
    assert due(POLICY, waiting, 2000.0, 1000.0) is None
    assert due(POLICY, waiting, 4600.0, 1000.0) == Due(Trigger.SCHEDULE, "it was due")
    both = waiting.heard(POLICY, Trigger.DRIFT, "red", "moved")
    assert due(POLICY, both, 4600.0, 1000.0) == Due(Trigger.DRIFT, "moved")
    assert due(POLICY, both.begun(90_000.0), 9000.0, 1000.0) is None


def test_a_clock_that_was_set_back_keeps_nothing_waiting() -> None:
    """A run in the future is one by a clock that was wrong."""
    assert due(POLICY, heard((Trigger.DRIFT, "red")), 1000.0, 9e9) == Due(Trigger.DRIFT, "drift is red")


@given(
    st.lists(st.tuples(st.sampled_from(list(Trigger)), st.sampled_from(["green", "yellow", "red", "", "x"]))),
    st.floats(0, 1e10),
    st.none() | st.floats(0, 1e10),
)
def test_what_is_due_is_a_decline_that_lasts(events: list[tuple[Trigger, str]], now: float, last: float | None) -> None:
    """Whatever came before: as bad as the policy says, by the last that was heard of it, and not too soon."""
    found = due(POLICY, heard(*events), now, last)
    if found is not None:
        known = [
            status for trigger, status in events if trigger is found.trigger and status in {"green", "yellow", "red"}
        ]
        assert found.trigger in DECLINES
        assert known[-1] in {"red", POLICY.declines[found.trigger]}
        assert last is None or last > now or now - last >= POLICY.min_interval_s - 1e-3


def test_versions_are_compared_by_their_numbers() -> None:
    """Ten comes after nine; every one comes after none."""
    assert newer("10", "9")
    assert not newer("9", "10")
    assert not newer("9", "9")
    assert newer("1", None)
    assert newer("1", "")
