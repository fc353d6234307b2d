"""Arrival processes against what their rates say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import ScenarioError
from loadtest.sla.arrivals import MOST_TRACE_BYTES, instants, pieces
from loadtest.sla.scenario import Bursts, Constant, Ramp, Replay, Step

SHAPES = st.sampled_from(
    [
        ("constant", Constant, {"arrivals": "constant"}),
        ("poisson", Constant, {"arrivals": "poisson"}),
        ("ramp", Ramp, {"arrivals": "ramp", "to": "700/s"}),
        ("step", Step, {"arrivals": "step", "to": "600/s", "steps": 3}),
        ("bursts", Bursts, {"arrivals": "bursts", "on": "300ms", "off": "500ms", "quiet_rate": "5/s"}),
    ]
)


def phase(kind: Any, **more: Any) -> Any:
    """A phase at 100/s for 10 s, unless told otherwise."""
    return kind(**{"name": "it", "rate": "100/s", "lasts": "10s"} | more)


@given(SHAPES, st.sampled_from(["even", "poisson"]), st.integers(0, 2**32))
def test_instants_ascend_within_the_phase_and_are_as_many_as_the_rate_says(
    shape: tuple[str, Any, dict[str, Any]], spacing: str, seed: int
) -> None:
    """Even ones to the request, random ones within five standard deviations; the same seed gives the same."""
    _, kind, more = shape
    made = phase(kind, spacing=spacing, **more)
    found = instants(made, np.random.default_rng(seed))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found < made.lasts)).all()
    expected = sum(piece.area for piece in pieces(made))
    if spacing == "even" and more["arrivals"] != "poisson":
        assert abs(len(found) - expected) <= 1
    else:
        assert abs(len(found) - expected) <= 5 * np.sqrt(expected) + 1
    assert np.array_equal(found, instants(made, np.random.default_rng(seed)))


def test_a_ramp_follows_its_rate() -> None:
    """From 0+ to 200/s in 10 s: a quarter of the requests come in the first half."""
    found = instants(phase(Ramp, arrivals="ramp", rate="0.001/s", to="200/s"), np.random.default_rng(1))
    assert (found < 5).sum() == pytest.approx(len(found) / 4, abs=2)


def test_random_arrivals_are_a_poisson_process() -> None:
    """Gaps have the mean and the deviation of an exponential distribution."""
    found = instants(phase(Constant, arrivals="poisson", rate="2000/s"), np.random.default_rng(5))
    gaps = np.diff(found)
    assert gaps.mean() == pytest.approx(1 / 2000, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 2000, rel=0.03)


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    """From its first instant, at its speed, cut at the end of the phase."""
    trace = tmp_path / "trace.txt"
    trace.write_text("100.0\n101.0\n100.5\n130\n")
    made = Replay(name="it", arrivals="replay", trace=trace, lasts="10s", speed=2)
    assert instants(made, np.random.default_rng(1)).tolist() == [0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"soon", "one number of seconds"),
        (b"\xff\xfe", "one number of seconds"),
        (b"1 nan 2", "no finite number"),
        (b"-inf 2", "no finite number"),
    ],
)
def test_what_is_no_trace_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    """In one line."""
    trace = tmp_path / "trace.txt"
    trace.write_bytes(content)
    with pytest.raises(ScenarioError, match=told):
        instants(Replay(name="it", arrivals="replay", trace=trace, lasts="10s"), np.random.default_rng(1))


def test_a_trace_is_a_file_that_can_be_read_whole(tmp_path: Path) -> None:
    """Not a device that never ends, nor one of any length."""
    long = tmp_path / "long.txt"
    with long.open("wb") as file:
        file.truncate(MOST_TRACE_BYTES + 1)
    for trace, told in (("/dev/zero", "no file"), (str(long), "more than 128 MB"), (str(tmp_path / "no"), "No such")):
        made = Replay(name="it", arrivals="replay", trace=trace, lasts="10s")
        with pytest.raises(ScenarioError, match=told):
            instants(made, np.random.default_rng(1))
