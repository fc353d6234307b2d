"""Windows: full before they are compared, hours and days for what is slow, and words for what was found."""

from __future__ import annotations

import numpy as np
import pytest

from router.core.drift import GREEN, RED, YELLOW
from router.core.drift_report import INPUTS, OUTPUTS, FeatureDrift, features_of, model_reason, worst_first
from router.core.drift_windows import DAY, HOUR, HOURS, SHORT, DriftWindows, learned
from router.core.features import Array, Cells, Column, Take
from router.core.reference import Reference, made
from router.model_settings import DriftSettings

COLUMNS = [Column("a", "x", Take.ELEMENT, 0), Column("b", "x", Take.ELEMENT, 1)]
TERMS = DriftSettings(window_s=10, min_samples=100)


class Traffic:
    """Rows of two numbers around means, at a clock of its own."""

    def __init__(self, settings: DriftSettings = TERMS, rows: int = 2000) -> None:
        self.rng = np.random.default_rng(3)
        self.reference = made(COLUMNS, self.rows(rows))
        self.windows = DriftWindows(self.reference, settings, 0.0)
        self.now = 0.0

    def rows(self, count: int, *means: float) -> Cells:
        """So many, around these."""
        return Cells(self.rng.normal(means or (0.0, 0.0), 1.0, (count, 2)), {})

    def go(self, seconds: float, rows: int, *means: float, step: float = 2.0) -> list[int]:
        """For so long; the worst level after each step in which a window was full."""
        told = []
        for _ in range(round(seconds / step)):
            self.now += step
            self.windows.add(self.reference.counted(self.rows(rows, *means)))
            if self.windows.look(self.now):
                told.append(int(self.windows.status.max()))
        return told


def test_two_windows_in_a_row_make_a_warning() -> None:
    """And two make it good again; a single one does neither."""
    traffic = Traffic()
    assert traffic.go(50, 60) == [GREEN] * 5
    assert traffic.go(10, 60, 0.0, 1.0) == [GREEN]
    assert traffic.go(20, 60) == [GREEN] * 2
    assert traffic.go(20, 60, 0.0, 1.0) == [GREEN, RED]
    assert traffic.windows.status.tolist() == [GREEN, RED]
    assert traffic.go(30, 60) == [RED, GREEN, GREEN]


def test_a_window_waits_for_enough_rows() -> None:
    """However long that takes."""
    traffic = Traffic()
    assert traffic.go(80, 2) == []
    assert traffic.windows.rows == 80
    assert traffic.go(20, 2) == [GREEN]
    assert traffic.windows.last is not None
    assert (traffic.windows.last.window.rows, traffic.windows.last.seconds) == (100, 100.0)


def test_small_changes_are_found_by_hours_and_slow_ones_by_days() -> None:
    """What few rows cannot show; with half of the threshold, where no time of day is left."""
    traffic = Traffic(DriftSettings(window_s=600, min_samples=100), rows=20_000)
    assert set(traffic.go(HOURS * 3600, 200, 0.0, 0.25, step=600)) == {GREEN}
    assert traffic.go(3600, 200, 0.0, 0.25, step=600)[-1] == YELLOW
    (horizon, judged) = traffic.windows.shown()[1]
    assert horizon == DAY
    assert judged is not None
    assert judged.window.rows == HOURS * 6 * 200
    assert traffic.windows.shown()[0][0] == SHORT
    other = Traffic(DriftSettings(window_s=600, min_samples=100), rows=20_000)
    assert set(other.go(2 * 3600, 60, 0.0, 0.36, step=600)) <= {GREEN, YELLOW}
    assert other.windows.status.tolist() == [GREEN, YELLOW]
    assert HOUR in dict(other.windows.shown()) or other.windows.shown()[1][0] == SHORT


def test_a_reference_that_came_in_bursts_knows_it() -> None:
    """Its own counts vary more, and so does what chance reaches."""
    rng = np.random.default_rng(3)
    even = [Cells(rng.normal(size=(50, 2)), {}) for _ in range(20)]
    bursts = [Cells(np.repeat(rng.normal(size=(2, 2)), 25, axis=0), {}) for _ in range(20)]
    assert learned(COLUMNS, even).effects == pytest.approx([1.0, 1.0], abs=0.3)
    assert (learned(COLUMNS, bursts).effects > 5).all()


def report(traffic: Traffic, *ignored: bool) -> list[FeatureDrift]:
    """Worst first."""
    return worst_first(features_of(traffic.windows, INPUTS, np.array(ignored or (False, False))))


def test_a_reason_says_what_has_changed() -> None:
    """With figures before and now; before there is a window it says so."""
    traffic = Traffic()
    assert report(traffic)[0].reason == "no window is full yet"
    traffic.go(20, 60, 0.0, 1.0)
    bad, good = report(traffic)
    assert (bad.name, bad.status, good.name, good.status) == ("b", "red", "a", "green")
    assert bad.reason.startswith("its mean went from ")
    assert "standard deviations); index " in bad.reason
    assert "over 10 s (300 rows), where chance reaches 0." in bad.reason
    assert bad.mean == pytest.approx(1.0, abs=0.3)
    assert len(bad.labels) == len(bad.before) == len(bad.now) == len(traffic.reference.features[1].counts)
    assert sum(bad.now) == pytest.approx(1.0)
    assert [each.name for each in report(traffic, False, True)] == ["a"]
    said, step = model_reason("m", "red", [bad, good])
    assert said.startswith("1 of 2 features has drifted: b (its mean went from ")
    assert "`router reference m --data FILE`" in step


def words_of(column: Column, before: list[bytes], now: list[bytes]) -> str:
    """The reason of a text that was and is such."""
    texts = [Cells(np.full((len(each), 1), np.nan), {0: each}) for each in (before, now)]
    reference: Reference = made([column], texts[0])
    windows = DriftWindows(reference, TERMS, 0.0)
    for instant in (10.0, 20.0):
        windows.add(reference.counted(texts[1]))
        windows.look(instant)
    (feature,) = features_of(windows, OUTPUTS, np.array([False]))
    assert feature.status == "red"
    said, step = model_reason("m", "red", [feature])
    assert "the answers have changed" in step
    return said


def test_what_is_missing_new_or_rarer_is_said_as_such() -> None:
    """In percent."""
    column = Column("t", "t", Take.ELEMENT, text=True)
    before = [b"a", b"b"] * 200
    assert "50 % of the values are missing, 0 % before" in words_of(column, before, [b"a", b"b", b"", b""] * 50)
    assert "50 % are categories that the reference does not name, 0 % before" in words_of(
        column, before, [b"a", b"b", b"c", b"d"] * 50
    )
    assert "b are 10 %, 50 % before" in words_of(column, before, [*[b"a"] * 9, b"b"] * 20)


def test_an_hour_of_few_windows_knows_how_much_their_rows_are_alike() -> None:
    """A caller who sends fifty of the same now and then: a window waits for six of them, and an hour is that window,
    all of it in one piece."""
    traffic = Traffic(DriftSettings(window_s=10, min_samples=300))
    for _ in range(400):
        traffic.now += 900.0
        alike = Cells(np.repeat(traffic.rng.normal(size=(1, 2)), 50, axis=0), {})
        traffic.windows.add(traffic.reference.counted(alike))
        traffic.windows.look(traffic.now)
        assert traffic.windows.status.max() == GREEN
    assert traffic.windows.closed > 60


def number_of(before: Array, now: Array, *, whole: bool = False) -> FeatureDrift:
    """What is told of a number that was and is such."""
    column = Column("n", "n", Take.ELEMENT, whole=whole)
    reference = made([column], Cells(before.reshape(-1, 1), {}))
    windows = DriftWindows(reference, TERMS, 0.0)
    for instant in (10.0, 20.0):
        windows.add(reference.counted(Cells(now.reshape(-1, 1), {})))
        windows.look(instant)
    (feature,) = features_of(windows, INPUTS, np.array([False]))
    assert feature.status == "red"
    return feature


def test_what_was_always_the_same_has_no_standard_deviation() -> None:
    """Nor anything that is measured in it; rounding makes none."""
    told = number_of(np.full(1000, 0.1), np.full(300, 0.2))
    assert told.reason.startswith("it was always 0.1, now its mean is 0.2;")
    assert (told.mean_before, told.deviation_before, told.wasserstein) == (0.1, 0.0, None)
    assert told.mean == pytest.approx(0.2)
    large = number_of(np.full(1000, 1.7e9), np.full(300, 1.7e9 + 86_400))
    assert large.reason.startswith("it was always 1700000000, now its mean is 1700086400;")


def test_numbers_are_told_with_as_many_digits_as_tell_them_apart() -> None:
    """Of seconds since 1970, of codes of seven digits; one value that most rows have has one end."""
    rng = np.random.default_rng(3)
    times = number_of(1.7e9 + rng.normal(0, 3600, 1000), 1.7e9 + rng.normal(7200, 3600, 300))
    was, now = times.reason.split(" (")[0].removeprefix("its mean went from ").split(" to ")
    assert float(now) - float(was) == pytest.approx(7200, abs=600)
    assert len(set(times.labels)) == len(times.labels)
    codes = number_of(np.array([1234567.0, 1234568.0] * 500), np.full(300, 1234568.0), whole=True)
    assert codes.labels == ("missing", "1234567", "1234568", "others")
    tail = number_of(np.maximum(rng.normal(-1.5, 1, 1000), 0), np.maximum(rng.normal(0, 1, 300), 0))
    assert "0" in tail.labels
    assert len(set(tail.labels)) == len(tail.labels)
