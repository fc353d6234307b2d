"""When a version is green, yellow or red, and that it does not flap."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.health import (
    Count,
    Level,
    Seen,
    Span,
    Spent,
    Steady,
    duration,
    judged,
    target_ms,
    together,
)
from router.model_settings import DeadlineSettings, HealthSettings, ModelSettings

CALM_S = 30.0


def span(seconds: float = 60, answered: int = 0, bucket: int = 10, **counts: int) -> Span:
    """A span of so many answers, all of them in one bucket of times."""
    row = [0] * len(Count)
    row[Count.ANSWERED] = answered
    for name, count in counts.items():
        row[Count[name.upper()]] = count
    buckets = [0] * 32
    buckets[bucket] = answered
    return Span(seconds, row, buckets)


def seen(minute: Span, five: Span | None = None, hour: Span | None = None, **more: object) -> Seen:
    """The longer spans are like the minute where nothing else is said."""
    more.setdefault("idle_s", 1.0)
    return Seen(minute, five or minute, hour or minute, **more)  # type: ignore[arg-type]


def found(made: Seen, target: float | None = None, standby: str | None = None, **health: float) -> tuple[Level, str]:
    """Its level, and the reason that comes first."""
    status = judged(made, HealthSettings(**health), target, "m", standby)  # type: ignore[arg-type]
    return status.level, (status.reasons or ("",))[0]


@pytest.mark.parametrize(
    ("failed", "level"), [(0, Level.GREEN), (10, Level.GREEN), (11, Level.YELLOW), (50, Level.YELLOW), (51, Level.RED)]
)
def test_errors_are_yellow_above_what_is_allowed_and_red_five_times_above(failed: int, level: Level) -> None:
    """The share of the last minute; here no error budget is spent."""
    made = seen(span(answered=1000 - failed, backend=failed), span(300, 1000), span(3600, 1000))
    assert found(made)[0] is level


def test_the_reason_says_how_many_of_how_many_and_why_and_what_to_do() -> None:
    """The commands that are likely to help: a rollback only where there is something to roll back to."""
    made = seen(span(answered=900, other=90, backend=10))
    status = judged(made, HealthSettings(), None, "m", "3")
    assert status.level is Level.RED
    assert status.reasons[0] == (
        "10.00% of 1000 requests failed within 1 minute, 1.00% are allowed; of most, their time was over, or there was"
        " nothing to run"
    )
    assert status.next_steps == ("router explain m --last 20", "router rollback m")
    rejected = judged(seen(span(answered=900, rejected=100)), HealthSettings(), None, "m", None)
    assert rejected.next_steps == ("router status", "router explain m --last 20")


def test_callers_that_went_away_are_no_requests() -> None:
    """However many they are."""
    assert found(seen(span(answered=1000, canceled=900)))[0] is Level.GREEN
    assert span(answered=10, canceled=90).requests == 10


def test_a_fallback_is_an_answer_in_time() -> None:
    """It is judged by a share of its own and spends no budget."""
    made = seen(span(answered=900, fallbacks=100))
    level, reason = found(made)
    assert level is Level.YELLOW
    assert reason.startswith("10.00% of 1000 requests were answered by a fallback within 1 minute, 5.00% are allowed")
    assert made.minute.attainment == 1.0
    assert found(seen(span(answered=700, fallbacks=300)))[0] is Level.RED


def test_few_requests_are_judged_over_a_longer_window() -> None:
    """The shortest that has enough; with too few in an hour nothing is judged, and that is said."""
    few, enough = span(answered=9, backend=9), span(300, 100)
    assert found(seen(few, enough, enough))[0] is Level.GREEN
    assert found(seen(few, few, span(3600, 50, backend=50)))[0] is Level.RED
    assert found(seen(few)) == (Level.GREEN, "too few requests to judge: 18 in the last hour, 100 are needed")
    assert found(seen(few), min_requests=10)[0] is Level.RED


def test_late_answers_are_yellow_when_the_p99_is_above_the_target() -> None:
    """And red when most are; without a target none is late."""
    made = seen(span(answered=1000, late=11), span(300, 1000), span(3600, 1000))
    level, reason = found(made, target=100.0)
    assert level is Level.YELLOW
    assert "later than 100 ms" in reason
    assert "p99 is" in reason
    assert found(seen(made.minute, made.five, made.hour), target=None)[0] is Level.GREEN
    assert found(seen(span(answered=1000, late=501)), target=100.0)[0] is Level.RED


def test_the_error_budget_is_judged_by_two_windows_at_once() -> None:
    """Burning 14.4 times too fast over an hour and over 5 minutes is red; what is over after 5 minutes is not."""
    bad, good = {"answered": 9850, "backend": 150}, {"answered": 10_000}
    minute = span(60, **good)
    assert found(seen(minute, span(300, **bad), span(3600, **bad)))[0] is Level.RED
    assert found(seen(minute, span(300, **good), span(3600, **bad)))[0] is Level.GREEN
    assert found(seen(minute, span(300, **bad), span(3600, **good)))[0] is Level.GREEN


def test_a_few_bad_requests_burn_nothing() -> None:
    """Two of a hundred may be chance, whatever the burn rate is: they are yellow as errors."""
    assert found(seen(span(answered=98, backend=2)))[0] is Level.YELLOW


def test_a_slower_burn_is_yellow() -> None:
    """Six times too fast over 6 hours and 30 minutes; so is a day's budget that is spent and goes on being spent."""
    minute, slow = span(answered=10_000), Spent(10_000, 70)
    level, reason = found(seen(minute, half_hour=slow, six_hours=slow, day=Spent(10_000, 5)))
    assert level is Level.YELLOW
    assert reason.endswith("times too fast over 30 minutes and 6 hours; 50% of the day's is left")
    assert found(seen(minute, half_hour=slow))[0] is Level.GREEN
    burning = seen(minute, span(300, 9980, backend=20), span(3600, 10_000), day=Spent(10_000, 30))
    assert found(burning) == (
        Level.YELLOW,
        "the error budget goes on being spent; the day's is spent 3.0 times",
    )


def test_runs_that_were_given_up_and_breakers_are_yellow_without_any_request() -> None:
    """They say something of the version whatever callers ask."""
    level, reason = found(seen(span(), hung=2))
    assert (level, reason) == (Level.YELLOW, "2 runs have been given up and still hold threads")
    assert found(seen(span(), breakers_open=1)) == (
        Level.YELLOW,
        "a session that fails too often is not asked",
    )


def test_a_version_that_nobody_asks_is_green_and_says_so() -> None:
    """Since when."""
    assert found(seen(span(), idle_s=7200.0)) == (Level.GREEN, "no request for 2 hours")
    assert found(seen(span(), idle_s=None)) == (Level.GREEN, "no request since the controller started")
    assert found(seen(span(answered=1000))) == (Level.GREEN, "")


def test_it_is_worse_at_the_second_look_and_better_after_a_while() -> None:
    """One look does not make an alarm, and what comes and goes does not end one."""
    steady = Steady()
    steady = steady.after(Level.RED, 1.0, CALM_S)
    assert steady.level is Level.GREEN
    steady = steady.after(Level.YELLOW, 2.0, CALM_S)
    assert (steady.level, steady.since) == (Level.YELLOW, 2.0)
    for second in (3.0, 4.0):
        steady = steady.after(Level.RED, second, CALM_S)
    assert steady.level is Level.RED
    steady = steady.after(Level.GREEN, 10.0, CALM_S).after(Level.RED, 30.0, CALM_S).after(Level.GREEN, 31.0, CALM_S)
    assert steady.after(Level.GREEN, 60.9, CALM_S).level is Level.RED
    assert steady.after(Level.GREEN, 61.0, CALM_S).level is Level.GREEN
    assert steady.after(Level.YELLOW, 40.0, CALM_S).after(Level.GREEN, 61.0, CALM_S).level is Level.YELLOW


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(list(Level)), max_size=80))
def test_no_level_is_told_that_was_not_found(looks: list[Level]) -> None:
    """A level changes to one that was found within the looks that changed it, and better at most once in its time."""
    steady, better = Steady(), []
    for second, level in enumerate(looks):
        after = steady.after(level, float(second), CALM_S)
        if after.level is not steady.level:
            assert after.level in looks[max(second - 31, 0) : second + 1]
        if after.level < steady.level:
            better.append(second)
        steady = after
    assert all(later - earlier >= CALM_S for earlier, later in pairwise(better))


def test_the_target_is_health_s_own_or_the_deadline() -> None:
    """The first that is set; without both there is none."""
    deadline = DeadlineSettings(sla_ms=50.0)
    assert target_ms(ModelSettings()) is None
    assert target_ms(ModelSettings(deadline=deadline)) == 50.0
    assert target_ms(ModelSettings(deadline=deadline, health=HealthSettings(target_ms=20.0))) == 20.0


def test_versions_together_are_the_sum_of_them() -> None:
    """Counts add up, and the one that was asked last says how idle they are; of none there is nothing."""
    one, two = seen(span(answered=2, late=1), pending=1, idle_s=5.0), seen(span(answered=3, other=1), day=Spent(4, 1))
    both = together([one, two])
    assert both is not None
    assert (both.minute.requests, both.minute.bad, both.pending, both.idle_s) == (6, 2, 1, 1.0)
    assert (both.day, sum(both.minute.buckets)) == (Spent(4, 1), 5)
    assert together([]) is None


def test_without_requests_there_are_no_shares() -> None:
    """Nothing is divided by nothing."""
    none = span()
    assert (none.attainment, none.mean_rows, none.mean_queue_s, none.rate) == (None, None, None, 0.0)
    assert none.quantiles() == [None, None, None]
    assert Spent().left(0.999) == 1.0
    assert span(answered=10, queue_us=5_000_000, runs=4, rows=10).mean_queue_s == 0.5


def test_durations_are_said_in_one_unit() -> None:
    """The largest that fits."""
    assert [duration(each) for each in (0.2, 1, 59.4, 60, 300, 3600, 90_000)] == [
        "0 seconds", "1 second", "59 seconds", "1 minute", "5 minutes", "1 hour", "1 day",
    ]  # fmt: skip
