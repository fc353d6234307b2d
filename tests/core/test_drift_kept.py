"""What of drift outlives a process: counts and rows come back as they were; what is none is refused in one way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.drift_kept import UNREADABLE, Forgotten, packed, rows_packed, rows_unpacked, unpacked
from router.core.features import Cells, Layout, columns
from router.core.reference import Counts, Reference, made

WORDS = np.array([[b"a"], [b""], ["ü".encode()], [b"a"]], object)


def pieces(seed: int = 1) -> tuple[list, list[Cells]]:  # type: ignore[type-arg]
    """Rows of numbers and texts, in two pieces."""
    tensors = {"x": np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32), "t": WORDS}
    found, _ = columns(tensors)
    cells = Layout(found).cells(tensors, 4)
    return found, [cells, Cells(cells.numbers[:1], {place: each[:1] for place, each in cells.texts.items()})]


def reference() -> Reference:
    """One of these rows."""
    found, parts = pieces()
    return made(found, parts[0])


def test_counts_come_back() -> None:
    """All that is in them, in their order; none where there were none."""
    one = reference()
    counts = [one.counted(piece) for piece in pieces(2)[1]]
    again = unpacked("c", packed("c", counts), one)
    for before, after in zip(counts, again, strict=True):
        for slot in Counts.__slots__:
            np.testing.assert_array_equal(getattr(before, slot), getattr(after, slot))
    assert unpacked("c", packed("c", []), one) == []


def test_counts_of_another_reference_are_refused() -> None:
    """Their bins say nothing of these."""
    found, _ = columns({"z": np.zeros((5, 2))})
    other = made(found, Layout(found).cells({"z": np.zeros((5, 2))}, 5))
    with pytest.raises(UNREADABLE):
        unpacked("c", packed("c", [Counts(other)]), reference())


def test_rows_come_back() -> None:
    """With columns, missing values and texts, piece by piece."""
    found, parts = pieces()
    again, cells = rows_unpacked(rows_packed(found, parts))
    assert again == found
    for before, after in zip(parts, cells, strict=True):
        np.testing.assert_array_equal(before.numbers, after.numbers)
        assert {place: list(each) for place, each in before.texts.items()} == after.texts


@settings(max_examples=30)
@given(st.data())
def test_what_is_none_of_these_is_refused(data: st.DataObject) -> None:
    """Arrays of other kinds and shapes, or none at all: nothing else is raised."""
    found, parts = pieces()
    arrays = rows_packed(found, parts)
    name = data.draw(st.sampled_from(sorted(arrays)))
    arrays[name] = data.draw(
        st.sampled_from([np.zeros(0), np.array(3), np.array(["x"]), np.full((5, 2), np.nan), np.arange(300)])
    )
    for each in (arrays, {}):
        try:
            _, cells = rows_unpacked(each)
        except Forgotten:
            continue
        assert sum(map(len, cells)) == 5
