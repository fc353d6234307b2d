"""The verdict, line by line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.sla.bootstrap import Ratio
from loadtest.sla.figures import Counts, Latencies
from loadtest.sla.result import quickened, verdict
from loadtest.sla.scenario import Limits
from loadtest.sla.verdict import Grade, judge, overall, ratio_line, resident_line, wilson

TIMES = Latencies(count=100_000, mean=0.002, p50=0.001, p90=0.002, p99=0.01, p999=0.05, max=0.2)
COUNTS = Counts(
    due=100_000, unsent=0, answered=99_950, errors={"UNAVAILABLE": 50}, sources={}, versions={}, generations={},
    late=5, told=99_990, degraded=10, checked=1000, wrong=0, duplicates=0, misdirected=0, older_generation=0,
)  # fmt: skip


def graded(times: Latencies = TIMES, counts: Counts = COUNTS, **limits: Any) -> Grade:
    """The grade of one line."""
    (line,) = judge(Limits(**limits), times, counts, 100.0)
    return line.grade


@pytest.mark.parametrize(
    ("limits", "grade"),
    [
        ({"p50": "1ms"}, Grade.PASS),
        ({"p50": "0.9ms"}, Grade.FAIL),
        ({"p99": "10ms"}, Grade.PASS),
        ({"p999": "49ms"}, Grade.FAIL),
        ({"max": "200ms"}, Grade.PASS),
        ({"max": "199ms"}, Grade.FAIL),
        ({"availability": "99.9%"}, Grade.PASS),
        ({"availability": "99.99%"}, Grade.FAIL),
        ({"availability": "99.95%"}, Grade.INCONCLUSIVE),
        ({"availability": "100%"}, Grade.FAIL),
        ({"told": "99.9%"}, Grade.PASS),
        ({"told": "99.99%"}, Grade.INCONCLUSIVE),
        ({"told": "100%"}, Grade.FAIL),
        ({"late": "0.1%"}, Grade.PASS),
        ({"late": "0%"}, Grade.FAIL),
        ({"degraded": "0.001%"}, Grade.FAIL),
        ({"throughput": "999.4/s"}, Grade.PASS),
        ({"throughput": "999.5/s"}, Grade.FAIL),
        ({"wrong": 0}, Grade.PASS),
        ({"duplicates": 0}, Grade.PASS),
        ({"older_generation": 0}, Grade.PASS),
    ],
)
def test_a_line_says_whether_its_limit_was_kept(limits: dict[str, Any], grade: Grade) -> None:
    """A limit that is met exactly is kept; a share that may lie on either side is not concluded."""
    assert graded(**limits) is grade


@pytest.mark.parametrize(("name", "samples"), [("p50", 200), ("p99", 10_000), ("p999", 100_000)])
def test_too_few_samples_conclude_nothing(name: str, samples: int) -> None:
    """100/(1 − q) of them are needed."""
    enough, short = (dataclasses.replace(TIMES, count=count) for count in (samples, samples - 1))
    assert graded(enough, **{name: "1s"}) is Grade.PASS
    assert graded(short, **{name: "1s"}) is Grade.INCONCLUSIVE


@pytest.mark.parametrize("name", ["wrong", "duplicates", "older_generation"])
def test_a_single_one_is_too_many(name: str) -> None:
    """Of what may not happen."""
    assert graded(counts=dataclasses.replace(COUNTS, **{name: 1}), **{name: 0}) is Grade.FAIL


def test_nothing_compared_says_nothing_of_wrong_answers() -> None:
    """It is no pass."""
    assert graded(counts=dataclasses.replace(COUNTS, checked=0), wrong=0) is Grade.INCONCLUSIVE


def test_a_server_that_tells_no_generation_has_not_kept_to_them() -> None:
    """Answers of generation 0 are ones that do not say; one that does is enough."""
    assert graded(counts=dataclasses.replace(COUNTS, generations={"0": 99_950}), older_generation=0) is (
        Grade.INCONCLUSIVE
    )
    assert graded(counts=dataclasses.replace(COUNTS, generations={"0": 99_949, "3": 1}), older_generation=0) is (
        Grade.PASS
    )


def test_the_worst_line_is_the_word() -> None:
    """FAIL before INCONCLUSIVE before PASS; in a quick run the second kind is left out."""
    limits = Limits(p50="1s", availability="99.95%", wrong=0)
    lines = judge(limits, TIMES, COUNTS, 100.0)
    assert overall(lines) is Grade.INCONCLUSIVE
    assert overall(judge(limits, TIMES, COUNTS, 100.0, quick=True)) is Grade.PASS
    assert overall(judge(Limits(p50="1us", availability="99.95%"), TIMES, COUNTS, 100.0)) is Grade.FAIL


@given(st.integers(1, 10**6), st.data())
def test_the_interval_holds_the_share(of: int, data: st.DataObject) -> None:
    """Within 0 and 1; it narrows with more samples."""
    many = data.draw(st.integers(0, of))
    low, high = wilson(many, of)
    assert 0 <= low <= many / of + 1e-9
    assert many / of - 1e-9 <= high <= 1
    wider = wilson(many, of)[1] - wilson(many, of)[0]
    narrower = wilson(many * 4, of * 4)
    assert narrower[1] - narrower[0] <= wider + 1e-12


def test_nothing_judged_is_no_pass() -> None:
    """A level without a line, and a server that answered nothing in a quick run."""
    assert overall([]) is Grade.INCONCLUSIVE
    times = Latencies(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    counts = dataclasses.replace(COUNTS, answered=0, errors={"UNAVAILABLE": 100_000}, checked=0)
    lines = [dataclasses.asdict(line) for line in judge(Limits(p50="1s", wrong=0), times, counts, 10.0)]
    document = {"interrupted": False, "invalid": [], "sla": lines, "measured": {"counts": {"answered": 0}}}
    assert verdict(quickened(document)) == ("INCONCLUSIVE", 3)


def test_a_figure_beyond_its_limit_is_told_though_it_is_uncertain() -> None:
    """Too few samples for a verdict, enough for a search to turn back."""
    few = dataclasses.replace(TIMES, count=100, p99=5.0)
    (line,) = judge(Limits(p99="50ms"), few, COUNTS, 10.0)
    assert (line.grade, line.kept) == (Grade.INCONCLUSIVE, False)


@pytest.mark.parametrize(
    ("found", "grade", "why"),
    [
        (Ratio(20_000, 30_000, 0.0119, 0.01, 1.19, 1.1, 1.3), Grade.PASS, "after flips"),
        (Ratio(20_000, 30_000, 0.0121, 0.01, 1.21, 1.1, 1.3), Grade.FAIL, "after flips"),
        (Ratio(9_999, 30_000, 0.01, 0.01, 1.0, 1.0, 1.0), Grade.INCONCLUSIVE, "after flips: 9999 samples, 10000 "),
        (Ratio(20_000, 0, 0.01), Grade.INCONCLUSIVE, "after flips: nothing to compare"),
    ],
)
def test_a_ratio_is_within_its_limit_or_not(found: Ratio, grade: Grade, why: str) -> None:
    """By the figure itself, which its interval stands beside; of few requests nothing is concluded."""
    line = ratio_line("m p99", "after flips", 1.2, found)
    assert (line.grade, line.limit, line.measured) == (grade, "≤ ×1.2", str(found))
    assert line.why.startswith(why)


def test_memory_is_judged_by_the_worst_worker() -> None:
    """Where one of them was away, or the run was short, nothing is concluded."""
    assert resident_line(0.03, {"worker-0": 0.01, "worker-1": 0.029}).grade is Grade.PASS
    assert resident_line(0.03, {"worker-0": 0.01, "worker-1": 0.031}).grade is Grade.FAIL
    assert resident_line(0.03, {"worker-0": 0.01, "worker-1": None}).grade is Grade.INCONCLUSIVE
    assert resident_line(0.03, {}).grade is Grade.INCONCLUSIVE
