"""Predictions travel as they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.prediction import Form, Sheet, Value
from router.edge.predictions import from_message, to_message
from router.pb.link_pb2 import Predictions
from router.serving.predictions import Handed

VALUES: dict[Form, st.SearchStrategy[Value]] = {
    Form.INTEGER: st.integers(-(2**63), 2**64 - 1),
    Form.TEXT: st.text(max_size=20),
    Form.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
}


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    """Any sheet."""
    form = draw(st.sampled_from(list(Form)))
    count = draw(st.integers(0, 5))
    scored = draw(st.booleans())

    def column(each: st.SearchStrategy[Value]) -> list[Value]:
        return draw(st.lists(each, min_size=count, max_size=count))

    return Sheet(
        draw(st.text(max_size=9)),
        draw(st.text(max_size=3)),
        draw(st.integers(0, 2**64 - 1)),
        "champion",
        form,
        column(st.text(max_size=9)),  # type: ignore[arg-type]
        column(st.integers(0, 2**32 - 1)),  # type: ignore[arg-type]
        column(st.integers(0, 2**63)),  # type: ignore[arg-type]
        column(VALUES[form]),
        column(st.floats(allow_nan=False)) if scored else [],  # type: ignore[arg-type]
    )


@given(sheets(), st.integers(0, 2**64 - 1))
def test_a_sheet_travels_as_it_is(sheet: Sheet, number: int) -> None:
    """Every column to its last bit, with the number by which it is confirmed."""
    message = Predictions.FromString(to_message(Handed(number, sheet)).SerializeToString())
    assert message.number == number
    assert from_message(message) == sheet
