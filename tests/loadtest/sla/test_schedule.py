"""The schedule: the same seed, the same requests at the same instants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtest.errors import ScenarioError
from loadtest.sla.job import split
from loadtest.sla.scenario import Scenario, parse
from loadtest.sla.schedule import plan

TEXT = """
title = "It"
seed = {seed}
[[mix]]
model = "a"
weight = 3
keys = "zipf"
skew = 1.5
[[mix]]
model = "b"
[[phase]]
name = "one"
arrivals = "poisson"
rate = "1000/s"
lasts = "2s"
measured = false
[[phase]]
name = "two"
arrivals = "closed"
in_flight = 5
lasts = "1s"
[[phase]]
name = "three"
arrivals = "constant"
rate = "{rate}"
lasts = "3s"
"""


def scenario(seed: int = 1, rate: str = "500/s") -> Scenario:
    """Open, closed, open."""
    return parse(TEXT.format(seed=seed, rate=rate), "it.toml")


def test_the_seed_decides_everything() -> None:
    """Another seed gives another schedule; a later phase does not move an earlier one."""
    one, same, other = (plan(scenario(seed), [50, 50]) for seed in (1, 1, 2))
    assert np.array_equal(one.due, same.due)
    assert np.array_equal(one.kind, same.kind)
    assert np.array_equal(one.key, same.key)
    assert not np.array_equal(one.key[: len(other)], other.key[: len(one)])
    changed = plan(scenario(rate="900/s"), [50, 50])
    first = one.spans[0]
    assert np.array_equal(one.due[: first.last], changed.due[: first.last])


def test_spans_follow_each_other() -> None:
    """Times and places without gaps; open requests are due within their span."""
    made = plan(scenario(), [50, 50])
    place, start = 0, 0.0
    for span in made.spans:
        assert (span.first, span.start) == (place, start)
        due = made.due[span.first : span.last]
        if not span.in_flight:
            assert (due >= span.start * 1e9).all()
            assert (due < span.end * 1e9).all()
        place, start = span.last, span.end
    assert place == len(made)


def test_weights_and_keys_are_as_asked() -> None:
    """Three quarters of the requests are of the first kind; few of its inputs are asked often."""
    made = plan(scenario(), [50, 50])
    assert (made.kind == 0).mean() == pytest.approx(0.75, abs=0.02)
    first = np.bincount(made.key[made.kind == 0], minlength=50)
    second = np.bincount(made.key[made.kind == 1], minlength=50)
    assert first[0] > 10 * first[20]
    assert second.max() < 2 * second.min()


@pytest.mark.parametrize("senders", [1, 2, 3, 7])
def test_senders_share_a_schedule_without_loss(senders: int) -> None:
    """Every request belongs to one sender, in order; the callers of closed phases are all there."""
    made = plan(scenario(), [50, 50])
    parts = split(made, senders)
    assert sum(len(part) for part in parts) == len(made)
    assert sorted(np.concatenate([part.due for part in parts]).tolist()) == sorted(made.due.tolist())
    for number, span in enumerate(made.spans):
        assert sum(part.spans[number].in_flight for part in parts) == span.in_flight
        assert sum(part.spans[number].last - part.spans[number].first for part in parts) == span.last - span.first
    ids = sorted(part.id(place) for part in parts for place in range(len(part)))
    assert ids == list(range(len(made)))
    for part in parts:
        assert [part.place(part.id(place)) for place in range(20)] == list(range(20))
        assert part.place(len(made)) is None
        for span in part.spans:
            due = part.due[span.first : span.last]
            if not span.in_flight:
                assert ((due >= span.start * 1e9) & (due < span.end * 1e9)).all()


def test_the_instants_of_traces_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many there are is known when they are read."""
    monkeypatch.setattr("loadtest.sla.schedule.MOST_REQUESTS", 10)
    trace = tmp_path / "trace.txt"
    trace.write_text("0\n" * 11)
    one = f'[[phase]]\nname = "one"\narrivals = "replay"\ntrace = "{trace}"\nlasts = "1s"'
    with pytest.raises(ScenarioError, match="has 11 requests, at most 10"):
        plan(parse(f'title = "It"\n[[mix]]\nmodel = "a"\n{one}', "it.toml"), [1])


def test_a_schedule_that_is_too_long_or_empty_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(ScenarioError, match="at most 10000000"):
        plan(parse(TEXT.format(seed=1, rate="10000/s").replace('"3s"', '"1100s"'), "it.toml"), [1, 1])
    one = '[[phase]]\nname = "one"\narrivals = "constant"\nrate = "0.1/s"\nlasts = "1s"'
    with pytest.raises(ScenarioError, match="sends nothing"):
        plan(parse(f'title = "It"\n[[mix]]\nmodel = "a"\n{one}', "it.toml"), [1])
