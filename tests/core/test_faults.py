"""Which runs are made to fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.faults import Fault, Faults


def struck(faults: Faults, runs: range, replica: int | None = None, now: float = 0.0) -> list[int]:
    """The runs in which something goes wrong."""
    return [run for run in runs if faults.of(run, replica, now)]


@given(st.floats(0.001, 1), st.integers(0, 1_000_000), st.integers(100, 400))
def test_every_stretch_of_runs_has_its_share(share: float, first: int, length: int) -> None:
    """Nearly so many of any runs in a row, and the same ones every time."""
    faults = Faults((Fault(kind="error", share=share),))
    runs = range(first, first + length)
    assert struck(faults, runs) == struck(faults, runs)
    assert abs(len(struck(faults, runs)) - share * length) <= 8


def test_all_runs_or_those_of_one_session() -> None:
    """A share of 1 spares none; a session that has taken another's place has no fault that was only that one's."""
    assert struck(Faults((Fault(kind="nan"),)), range(50)) == list(range(50))
    one = Faults((Fault(kind="nan", replica=1),))
    assert [bool(one.of(0, replica, 0.0)) for replica in (0, 1, None)] == [False, True, False]


def test_all_versions_or_one() -> None:
    """A fault of one version spares the others, also those that are not known yet."""
    one = Faults((Fault(kind="nan", version="2"),))
    assert [bool(one.of(0, 0, 0.0, version)) for version in ("1", "2", "22", "")] == [False, True, False, False]
    assert Faults((Fault(kind="nan"),)).of(0, 0, 0.0, "1")


def test_not_before_its_time() -> None:
    """The model is well for `after_s`."""
    late = Faults((Fault(kind="error", after_s=5),), since=100.0)
    assert not late.of(0, 0, 104.9)
    assert late.of(0, 0, 105.0)


def test_faults_and_sessions_are_not_in_step() -> None:
    """Two faults seldom strike the same run, two sessions seldom the same number of theirs."""
    both = Faults((Fault(kind="stall", ms=1, share=0.1), Fault(kind="error", share=0.1)))
    assert sum(len(both.of(run, 0, 0.0)) == 2 for run in range(1000)) < 50
    one = Faults((Fault(kind="error", share=0.1),))
    assert len(set(struck(one, range(1000), 0)) & set(struck(one, range(1000), 1))) < 50


@pytest.mark.parametrize("replica", [None, 0, 3])
def test_nothing_is_wrong_without_faults(replica: int | None) -> None:
    """The default."""
    assert not struck(Faults(), range(10), replica)
