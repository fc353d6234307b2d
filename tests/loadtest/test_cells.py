"""Cells by name, and the targets that belong to them."""

from __future__ import annotations

import pytest

from loadtest.cells import DEFAULT_CELLS, TARGETS, Cell
from loadtest.h2load import Load


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ("tiny:1", Load(1, 1)),
        ("mid:16", Load(8, 2)),
        ("tiny:64", Load(8, 8)),
        ("tiny:64x1", Load(1, 64)),
        ("large:6x3", Load(3, 2)),
    ],
)
def test_calls_in_flight_become_connections_and_streams(text: str, load: Load) -> None:
    """Eight connections where that is possible, or as many as are named; the name comes back."""
    cell = Cell.parse(text)
    assert cell.load == load
    assert cell.load.in_flight == cell.in_flight
    assert str(cell) == text


@pytest.mark.parametrize(
    "text", ["", "tiny", "huge:1", "tiny:0", "tiny:x", "tiny:1x", "tiny:6x4", "tiny:6x0", "mid:-1"]
)
def test_a_cell_that_makes_no_sense_is_refused(text: str) -> None:
    """The message shows what is expected."""
    with pytest.raises(ValueError, match=r"expected|evenly"):
        Cell.parse(text)


def test_every_default_cell_has_its_targets() -> None:
    """Both rows, seven columns, in order."""
    for row in ("default", "workers-1"):
        assert list(TARGETS[row]) == [str(Cell.parse(each)) for each in DEFAULT_CELLS.split(",")]
    assert TARGETS["default"]["mid:64"] == 7.0
    assert TARGETS["workers-1"]["tiny:16"] == 5.5
