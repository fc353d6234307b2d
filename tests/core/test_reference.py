"""References: bins that fit what comes, counts that add up, and texts of which any but its own is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.features import Cells, Column, Take
from router.core.reference import CATEGORIES, QUANTILES, Counts, Reference, made
from router.core.reference_text import UnreadableReference, from_text, to_text

NUMBER = Column("x", "x", Take.ELEMENT)
WHOLE = Column("n", "n", Take.ELEMENT, whole=True)
TEXT = Column("t", "t", Take.ELEMENT, text=True)


def of(values: Any, column: Column = NUMBER) -> Reference:
    """One feature."""
    return made([column], Cells(np.asarray(values, np.float64).reshape(-1, 1), {}))


def counts(reference: Reference, values: Any) -> list[int]:
    """By bin."""
    found: list[int] = reference.counted(Cells(np.asarray(values, np.float64).reshape(-1, 1), {})).bins.tolist()
    return found


def mixed(rng: np.random.Generator, rows: int) -> Cells:
    """A number, a whole one, a text."""
    drawn = np.stack([rng.normal(size=rows), rng.integers(0, 5, rows), np.full(rows, np.nan)], axis=1)
    return Cells(drawn, {2: [b"abc"[at : at + 1] for at in rng.integers(0, 3, rows)]})


def test_numbers_of_many_values_have_bins_of_as_many_rows() -> None:
    """Whatever lies outside of all belongs to the outermost ones; NaN is missing."""
    values = np.random.default_rng(3).lognormal(size=6400)
    reference = of(values)
    (feature,) = reference.features
    assert len(feature.edges) == QUANTILES - 1
    assert feature.counts[0] == 0
    assert set(feature.counts[1:]) == {200}
    assert counts(reference, [np.nan, -np.inf, -1e300, np.inf, 1e300]) == [1, 2, *[0] * 30, 2]
    assert reference.groups == 12
    assert (feature.mean, feature.deviation) == (pytest.approx(values.mean()), pytest.approx(values.std()))


def test_numbers_of_few_values_have_a_bin_for_each_and_two_for_what_is_new() -> None:
    """Also a constant: any other value is new."""
    assert counts(of([0, 1, 1, 4] * 100), [0, 1, 4, 4, -1, 5, 2]) == [0, 1, 1, 2, 2, 1]
    assert counts(of([3.0] * 100), [3, 3, 2.9, 3.1]) == [0, 1, 2, 1]
    assert counts(of([3.0] * 100), np.float32([3, 3.0001])) == [0, 0, 1, 1]


def test_where_many_rows_have_the_same_value_what_is_beyond_it_is_new() -> None:
    """At either end: a value that is cut off there, and is no more."""
    values = np.clip(np.random.default_rng(3).normal(size=5000), -0.5, 0.5)
    reference = of(values)
    told = counts(reference, [-0.6, 0.6])
    assert (told[1], told[-1]) == (1, 1)
    assert (reference.features[0].counts[1], reference.features[0].counts[-1]) == (0, 0)


def test_numbers_that_are_all_the_same_do_not_spread() -> None:
    """Whatever rounding makes of their mean."""
    for value in (0.1, 0.7, 1e-300, -1e300, 12345.678):
        (feature,) = of([value] * 1000).features
        assert (feature.mean, feature.deviation, feature.constant) == (value, 1.0, True)
    assert not of([0.1] * 500 + [0.2] * 500).features[0].constant


def test_whole_numbers_of_few_values_are_categories() -> None:
    """What lies between and beyond the known ones is one of the others; of many values they are numbers."""
    reference = of([0, 0, 5, 9, np.nan] * 50, WHOLE)
    assert reference.features[0].known == (0.0, 5.0, 9.0)
    assert counts(reference, [0, 5, 5, 9, 4, -1, 2.5, 10, np.inf, np.nan]) == [1, 1, 2, 1, 5]
    assert of(np.arange(CATEGORIES + 1), WHOLE).features[0].known is None


def test_categories_are_bounded() -> None:
    """The most frequent ones are told apart; the rest are the others."""
    values = [str(place).encode() for place in range(200) for _ in range(1 + (place < 10))]
    reference = made([TEXT], Cells(np.full((len(values), 1), np.nan), {0: values}))
    (feature,) = reference.features
    assert feature.known is not None
    assert len(feature.known) == CATEGORIES
    assert set(feature.known[:10]) == {str(place).encode() for place in range(10)}
    assert sum(feature.counts) == len(values)
    found = reference.counted(Cells(np.full((3, 1), np.nan), {0: [b"0", b"never", b""]}))
    assert (found.bins[0], found.bins[-1], found.bins.sum()) == (1, 1, 3)


def test_counts_add_up() -> None:
    """Those of windows are those of all their rows, in any order."""
    rng = np.random.default_rng(5)
    cells = [mixed(rng, rows) for rows in (700, 90, 1, 65)]
    reference = made([NUMBER, WHOLE, TEXT], cells[0])
    apart = [reference.counted(each) for each in cells]
    one, other = Counts(reference), Counts(reference)
    for each in apart:
        one.add(reference, each)
    for each in reversed(apart):
        other.add(reference, each)
    numbers = np.concatenate([each.numbers for each in cells])
    texts = [value for each in cells for value in each.texts[2]]
    whole = reference.counted(Cells(numbers, {2: texts}))
    for each in (one, other):
        assert each.rows == whole.rows == 856
        assert (each.bins == whole.bins).all()
        assert each.sums == pytest.approx(whole.sums)
        assert each.squares == pytest.approx(whole.squares)
        assert each.spread == pytest.approx(one.spread)
        assert each.pieces == 4
    assert (apart[0].bins == reference.counts).all()


def test_a_reference_is_the_same_after_it_was_kept() -> None:
    """With names that look like markup and texts that are none."""
    rng = np.random.default_rng(5)
    cells = mixed(rng, 300)
    cells.texts[2][:3] = [b"\xff\xfe", "[b]ü".encode(), b"\n"]  # type: ignore[index]
    columns = [NUMBER, WHOLE, Column("[red]<b>\n", "t", Take.ELEMENT, text=True)]
    reference = made(columns, cells).with_effects([1.0, 2.5, 1.0])
    again = from_text(to_text(reference))
    assert again.features == reference.features
    assert again.rows == 300
    assert (again.counted(cells).bins == reference.counts).all()


CORRUPT = [
    "", "[]", "null", "{}", '{"rows": 1, "features": []}', "[" * 100_000, '{"rows": 1, "features": [3]}',
]  # fmt: skip


@pytest.mark.parametrize("text", CORRUPT)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """In one line."""
    with pytest.raises(UnreadableReference, match="cannot be read"):
        from_text(text)


@pytest.mark.parametrize("name", ["\ud800", "x" * 201])
def test_names_and_texts_that_cannot_be_told_are_refused(name: str) -> None:
    """A version brings them, whoever wrote it; they go into every report of the model."""
    texts = Cells(np.full((2, 1), np.nan), {0: [b"a", b"b"]})
    told = json.loads(to_text(made([TEXT], texts)))
    told["features"][0]["column"]["name"] = name
    with pytest.raises(UnreadableReference):
        from_text(json.dumps(told))
    told["features"][0]["column"]["name"] = "t"
    told["features"][0]["known"][0] = "a" * 65
    with pytest.raises(UnreadableReference):
        from_text(json.dumps(told))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_reference_that_was_tampered_with_is_refused_or_can_be_used(data: st.DataObject) -> None:
    """Whatever stands in the place of one of its values."""
    cells = mixed(np.random.default_rng(5), 200)
    told = json.loads(to_text(made([NUMBER, WHOLE, TEXT], cells)))
    feature = told["features"][data.draw(st.integers(0, 2))]
    key = data.draw(st.sampled_from([*feature, "column"]))
    junk = st.one_of(
        st.none(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.floats(), max_size=3), st.booleans()
    )
    value = feature[key]
    if isinstance(value, list) and value and data.draw(st.booleans()):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(junk)
    elif isinstance(value, dict):
        value[data.draw(st.sampled_from([*value]))] = data.draw(junk)
    else:
        feature[key] = data.draw(junk)
    try:
        reference = from_text(json.dumps(told))
    except UnreadableReference:
        return
    tensors = {"x": cells.numbers[:, :1], "n": cells.numbers[:, 1:2]}
    assert reference.counted(reference.layout.cells(tensors, 200)).rows == 200


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=60), st.lists(st.floats(), max_size=20), st.booleans())
def test_every_number_has_a_bin(before: list[float], now: list[float], whole: bool) -> None:
    """Infinite, denormal, enormous: each row is counted once in each feature."""
    reference = of(before, WHOLE if whole else NUMBER)
    assert reference.counts.sum() == len(before)
    assert counts(reference, before) == reference.counts.tolist()
    assert sum(counts(reference, now)) == len(now)
    assert from_text(to_text(reference)).features == reference.features
    assert np.isfinite(reference.gaps).all()
