"""Figures that add up."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from router.core.latency import bucket
from router.serving.stats import MAX_SIZES, Cell, Failure, Stats

RUNS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which thread
        st.lists(st.integers(0, 10**9), max_size=5),  # when the calls were received
        st.integers(1, 9),
        st.lists(st.integers(0, 10**8), min_size=3, max_size=3),
    ),
    max_size=20,
)


@given(RUNS, st.lists(st.tuples(st.integers(0, 2), st.sampled_from(Failure), st.integers(0, 10**9))))
def test_totals_are_the_sum_of_all_runs_of_all_threads(
    runs: list[tuple[int, list[int], int, list[int]]], failures: list[tuple[int, Failure, int]]
) -> None:
    """Every call's time is its wait plus the three parts of its run; the buckets hold every answered call."""
    stats = Stats()
    cells = [stats.cell() for _ in range(3)]
    times = []
    parts = [0, 0, 0]
    for thread, received, rows, steps in runs:
        instants = [10**9]
        for step in steps:
            instants.append(instants[-1] + step)
        cells[thread].ran(received, rows, *instants)
        times += [instants[-1] - instant for instant in received]
        for index, step in enumerate(steps):
            parts[index] += step * len(received)
    for thread, reason, nanoseconds in failures:
        cells[thread].fail(reason, nanoseconds)
    total = stats.total()
    assert total.success == len(times) == sum(total.buckets)
    assert total.request == sum(times) == total.queue + total.compute_input + total.compute_infer + total.compute_output
    assert [total.compute_input, total.compute_infer, total.compute_output] == parts
    assert total.runs == len(runs) == sum(batch[0] for batch in total.batches.values())
    assert total.rows == sum(run[2] for run in runs)
    assert sum(batch[0] * rows for rows, batch in total.batches.items()) == total.rows
    for time in times:
        assert total.buckets[bucket(time)]
    assert total.failures == [sum(each[1] is reason for each in failures) for reason in Failure]
    assert total.failed == sum(each[2] for each in failures)


def test_every_thread_has_a_cell_of_its_own() -> None:
    """Two writers never add to the same figure."""
    stats = Stats()
    found = [stats.own_cell()]
    thread = threading.Thread(target=lambda: found.append(stats.own_cell()))
    thread.start()
    thread.join(20)
    assert found[0] is stats.own_cell()
    assert found[0] is not found[1]


def test_the_time_of_the_last_run_moves_with_runs_only() -> None:
    """0 before the first; afterwards what it was when the run was noticed."""
    stats = Stats()
    assert stats.total().last_ms == 0
    cell = stats.cell()
    cell.ran([0], 1, 1, 2, 3, 4)
    first = stats.total().last_ms
    assert first > 0
    assert stats.total().last_ms == first


def test_sizes_are_bounded_however_many_rows_callers_send() -> None:
    """Beyond the bound a size counts under the next power of two; nothing is lost."""
    cell = Cell()
    for rows in range(1, 5000):
        cell.ran([0], rows, 0, 0, 0, 0)
    assert len(cell.batches) <= MAX_SIZES + 16
    assert sum(figures[0] for figures in cell.batches.values()) == 4999
