"""Which waiting calls share a run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from router.core.batching import take


@dataclass(eq=False)
class FakePlan:
    """Rows and what joins."""

    batch_key: object
    rows: int


@dataclass(eq=False)
class FakeCall:
    """A waiting call."""

    plan: FakePlan
    nbytes: int
    alive: bool = True
    alone: bool = False
    due: float | None = None

    @property
    def _claims(self) -> list[None]:
        return [None] * self.alive


def never(call: FakeCall) -> bool:
    """No call is spared."""
    raise AssertionError(call)


CALLS = st.lists(
    st.builds(
        FakeCall,
        st.builds(FakePlan, st.sampled_from(["a", "a", "a", "b", None]), st.integers(1, 6)),
        st.integers(0, 50),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=12,
)


@given(CALLS, st.integers(1, 10), st.integers(1, 100))
def test_a_batch_is_the_longest_head_that_fits(calls: list[FakeCall], max_rows: int, max_bytes: int) -> None:
    """Order kept, one key, within rows and bytes, nobody skipped, the dead left out, the bytes exact."""
    waiting = deque(calls)
    batch, dead, left, _ = take(waiting, max_rows, max_bytes, 0.0, never)
    out = len(calls) - len(waiting)
    assert list(waiting) == calls[out:]
    assert batch == [call for call in calls[:out] if call.alive]
    assert dead == [call for call in calls[:out] if not call.alive]
    assert left == sum(call.nbytes for call in calls[:out])
    if not batch:
        assert not waiting
        return
    keys = {call.plan.batch_key for call in batch}
    rows = sum(call.plan.rows for call in batch)
    nbytes = sum(call.nbytes for call in batch)
    assert len(keys) == 1
    if len(batch) > 1:
        assert keys != {None}
        assert rows <= max_rows
        assert nbytes <= max_bytes
    if waiting and waiting[0].alive:
        call = waiting[0]
        assert (
            keys != {call.plan.batch_key}
            or keys == {None}
            or rows + call.plan.rows > max_rows
            or nbytes + call.nbytes > max_bytes
        )


@given(CALLS, st.integers(1, 10))
def test_every_living_call_is_taken_exactly_once_in_order(calls: list[FakeCall], max_rows: int) -> None:
    """Taking until nothing waits runs all of them; calls too large for any batch run alone."""
    waiting = deque(calls)
    taken: list[FakeCall] = []
    while waiting:
        batch = take(waiting, max_rows, 60, 0.0, never)[0]
        if len(batch) > 1:
            assert sum(call.plan.rows for call in batch) <= max_rows
        taken += batch
    assert taken == [call for call in calls if call.alive]


def test_keys_join_by_identity() -> None:
    """Equal is not enough: a key belongs to one table of routes."""
    one, other = ["k"], ["k"]
    assert one == other
    waiting = deque([FakeCall(FakePlan(one, 1), 1), FakeCall(FakePlan(other, 1), 1)])
    assert len(take(waiting, 9, 99, 0.0, never)[0]) == 1


def test_who_is_due_before_a_run_could_end_is_dead_unless_spared() -> None:
    """Who is due at that very instant too; the batch knows when the first of it is due."""
    plan = FakePlan("a", 1)
    calls = [FakeCall(plan, 1, due=due) for due in (1.0, 2.0, None, 2.5, 9.0, 3.0)]
    batch, dead, nbytes, soonest = take(deque(calls), 9, 99, 2.0, lambda call: call is calls[0])
    assert dead == [calls[1]]
    assert batch == [calls[0], *calls[2:]]
    assert (nbytes, soonest) == (6, 1.0)
    assert take(deque(calls), 9, 99, 10.0, lambda _: False)[0] == [calls[2]]
