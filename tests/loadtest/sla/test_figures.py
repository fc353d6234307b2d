"""From records to figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.sla.figures import CLIENTS_OWN, EMPTY, NEVER, Latencies, histogram, quantile
from loadtest.sla.records import Mark, Source, State
from loadtest.sla.schedule import Span
from tests.loadtest.sla.fakes import figures


@given(st.lists(st.floats(1e-5, 10), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_percentiles_are_those_of_the_values(values: list[float], share: float) -> None:
    """Within the three digits of the histogram, and the rank to the nearest."""
    exact = np.sort(values)[max(1, int(share * len(values) + 0.5)) - 1]
    assert quantile(histogram(np.array(values)), share) == pytest.approx(exact, rel=0.002, abs=2e-6)


def test_latency_counts_from_the_intended_send() -> None:
    """A request that left 40 ms late and took 10 has taken 50; the 10 are kept beside it."""
    made = figures([{"due": 1.0, "sent": 1.04, "done": 1.05}])
    assert made.latencies(made.used).max == pytest.approx(0.05)
    assert made.service_times(made.used).max == pytest.approx(0.01)
    assert made.lag[0] == pytest.approx(0.04)


def test_what_became_of_requests_is_counted() -> None:
    """Nothing that was due is lost."""
    made = figures(
        [
            {"due": 0.0, "done": 0.1, "marks": Mark.CHECKED},
            {"due": 0.1, "done": 0.2, "source": 1, "generation": 4, "marks": Mark.DEGRADED},
            {"due": 0.2, "done": 0.9},  # late
            {"due": 0.3, "done": 0.4, "code": 14},
            {"due": 0.4, "done": 0.9, "code": 4, "marks": Mark.OWN_DEADLINE},
            {"due": 0.5, "done": 0.9, "code": 4},
            {"due": 0.6, "state": State.OPEN},
            {"due": 0.7, "state": State.UNSENT},
            {"due": 0.8, "state": State.DUE},
            {"due": 0.9, "done": 1.0, "marks": Mark.CHECKED | Mark.WRONG},
            {"due": 0.95, "done": 1.0, "marks": Mark.DUPLICATE},
            {"due": 0.0, "state": State.DUE, "used": False},
        ],
        sources=[Source("champion", "1"), Source("cached", "2")],
    )
    counts = made.counts(made.used)
    assert (counts.due, counts.unsent, counts.answered) == (11, 2, 5)
    assert counts.errors == {"UNAVAILABLE": 1, CLIENTS_OWN: 1, "DEADLINE_EXCEEDED": 1, NEVER: 1}
    assert counts.due == counts.unsent + counts.answered + sum(counts.errors.values())
    assert counts.sources == {"champion": 4, "cached": 1}
    assert counts.versions == {"1": 4, "2": 1}
    assert (counts.late, counts.degraded, counts.checked, counts.wrong, counts.duplicates) == (1, 1, 2, 1, 1)
    assert counts.told == 6


def test_many_generations_are_counted_as_one() -> None:
    """A thousand flips are no thousand rows; what says nothing of its generation stays apart."""
    few = figures([{"due": at, "done": at, "generation": at % 3} for at in range(9)])
    assert few.counts(few.used).generations == {"0": 3, "1": 3, "2": 3}
    many = figures([{"due": at, "done": at, "generation": 0 if at == 7 else at + 40} for at in range(60)])
    assert many.counts(many.used).generations == {"0": 1, "40–99": 59}


def test_what_an_action_led_to_is_timed() -> None:
    """Until the last request that failed or was answered otherwise, by when they were due; nothing before or after."""
    made = figures(
        [
            {"due": 0.9, "done": 1.0, "code": 14},
            {"due": 1.25, "done": 1.3, "code": 14},
            {"due": 1.5, "state": State.UNSENT},
            {"due": 1.75, "done": 1.8, "marks": Mark.DEGRADED},
            {"due": 2.0, "done": 2.1},
            {"due": 3.0, "done": 3.1, "code": 14},
        ]
    )
    assert made.aftermath(1.0, 3.0) == {"last_failed": 0.5, "last_degraded": 0.75}
    assert made.aftermath(2.0, 3.0) == {"last_failed": None, "last_degraded": None}


def test_an_answer_is_wrong_once() -> None:
    """Also when it is wrong and went to the wrong caller."""
    both = Mark.CHECKED | Mark.WRONG | Mark.MISDIRECTED
    made = figures([{"done": 0.1, "marks": both}, {"done": 0.1, "marks": Mark.MISDIRECTED}, {"done": 0.1}])
    counts = made.counts(made.used)
    assert (counts.checked, counts.wrong, counts.misdirected) == (1, 2, 2)


def test_ok_without_a_message_is_told_in_words() -> None:
    """Apart from what a server itself calls INTERNAL."""
    made = figures([{"done": 0.1, "code": 13, "marks": Mark.EMPTY}, {"done": 0.1, "code": 13}, {"done": 0.1}])
    assert made.counts(made.used).errors == {EMPTY: 1, "INTERNAL": 1}
    assert made.counts(made.used).answered == 1


def test_an_older_generation_after_a_newer_one_is_found() -> None:
    """Only for a request that was sent after the newer answer was here."""
    made = figures(
        [
            {"due": 0.0, "done": 0.1, "generation": 1},
            {"due": 0.05, "done": 0.2, "generation": 2},
            {"due": 0.15, "done": 0.3, "generation": 1},  # sent before generation 2 had arrived
            {"due": 0.25, "done": 0.4, "generation": 1},  # sent after
            {"due": 0.5, "done": 0.6, "generation": 0},  # the server does not say
        ]
    )
    assert made.older.tolist() == [False, False, False, True, False]


def test_seconds_are_those_of_the_intended_send() -> None:
    """A second in which the sender was late is marked."""
    rows = [{"due": at, "sent": at + (0.02 if at >= 1 else 0), "done": at + 0.03} for at in np.arange(0, 2, 0.1)]
    made = figures(rows).seconds(2.0, 0.005)
    assert [row["due"] for row in made] == [10, 10]
    assert [row["lagged"] for row in made] == [False, True]
    assert made[0]["p50"] == pytest.approx(0.03, rel=0.01)
    assert len(figures(rows).seconds(2.0000000000000004, 0.005)) == 2  # phases are added up


def test_a_cut_is_figures_of_its_own() -> None:
    """The same numbers as by a mask."""
    made = figures([{"due": at, "done": at + 0.01, "code": int(at > 0.9)} for at in np.arange(0, 2, 0.1)])
    part = made.cut(0.5, 1.5)
    mask = made.within(0.5, 1.5)
    assert part.counts(part.used) == made.counts(mask)
    assert part.latencies(part.used) == made.latencies(mask)


def test_only_measured_phases_count() -> None:
    """A warm-up is left out."""
    made = figures([{"due": 0.5, "done": 0.9}, {"due": 1.5, "done": 1.51}])
    spans = [Span("warm-up", 0, 1, False, 0, 1), Span("it", 1, 2, True, 1, 2)]
    assert made.latencies(made.measured(spans)).max == pytest.approx(0.01)


def test_nothing_answered_is_no_error() -> None:
    """Zeros, no curve, no slices."""
    made = figures([{"due": 0.0, "state": State.OPEN}])
    assert made.latencies(made.used) == Latencies(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert made.curve(made.used) == []
    assert made.slices(made.used) == []


def test_a_stall_is_seen_in_open_loop_and_hidden_in_closed_loop() -> None:
    """A server that answers in 1 ms stalls for 2 s: of requests due every 10 ms those of the stall have waited."""
    due = np.arange(0, 20, 0.01)
    stall = (5.0, 7.0)
    done = np.where((due >= stall[0]) & (due < stall[1]), stall[1], due) + 0.001
    opened = figures([{"due": a, "sent": a, "done": b} for a, b in zip(due, done, strict=True)])
    # One caller that waits for its answer sends one request into the stall, and none while it waits.
    at, rows = 0.0, []
    while at < 20:
        end = (stall[1] if stall[0] <= at < stall[1] else at) + 0.001
        rows.append({"due": at, "sent": at, "done": end})
        at = max(end, at + 0.01)
    closed = figures(rows)
    assert opened.latencies(opened.used).p99 > 1.5
    assert closed.latencies(closed.used).p99 < 0.01
    assert closed.latencies(closed.used).max > 1.9
