"""The table of routes as it travels and as it is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.table import Batching, Route, Version, VersionState, VersionTable
from router.core.tensor import DTYPES, Signature, TensorSpec
from router.edge.tables import from_message, from_text, to_message, to_text
from router.errors import RouterError

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def specs(draw: st.DrawFn) -> TensorSpec:
    """A tensor with a symbol or None for each dimension."""
    shape = draw(st.lists(st.integers(-1, 2**40), max_size=4))
    symbols = tuple(draw(st.none() | text.filter(bool)) for _ in shape)
    return TensorSpec(draw(text), draw(st.sampled_from(sorted(DTYPES))), tuple(shape), symbols, draw(st.booleans()))


@st.composite
def routes(draw: st.DrawFn) -> Route:
    """A model with some versions."""
    model = draw(text)
    versions = {}
    for number in draw(st.lists(st.integers(1, 10**12).map(str), unique=True, max_size=3)):
        versions[number] = Version(
            model,
            number,
            draw(text),
            draw(text),
            draw(st.sampled_from(VersionState)),
            draw(text),
            Signature(tuple(draw(st.lists(specs(), max_size=2))), tuple(draw(st.lists(specs(), max_size=2)))),
            Batching(draw(st.integers(1, 4096)), draw(st.integers(0, 10**6)), draw(text)),
            draw(st.integers(1, 256)),
            draw(st.integers(0, 2**50)),
            draw(text),
            draw(st.booleans()),
        )
    return Route(model, draw(st.none() | st.sampled_from([*versions])) if versions else None, versions)


tables = st.builds(
    lambda generation, made: VersionTable(generation, {route.model: route for route in made}),
    st.integers(0, 2**63),
    st.lists(routes(), max_size=3),
)


@given(tables)
def test_a_table_comes_back_as_it_was(table: VersionTable) -> None:
    """As a message and as text: otherwise a restart would see a change where there is none."""
    assert from_message(to_message(table)) == table
    assert from_text(to_text(table)) == table


def test_the_order_of_models_and_versions_stays() -> None:
    """As people see it in lists."""
    versions = {number: Version("m", number, "", "", VersionState.READY) for number in ("2", "10", "1")}
    table = VersionTable(1, {name: Route(name, "2", versions) for name in ("z", "a")})
    back = from_text(to_text(table))
    assert list(back.routes) == ["z", "a"]
    assert list(back.routes["a"].versions) == ["2", "10", "1"]


@pytest.mark.parametrize(
    "broken",
    ["", "{", "[]", '{"generation": "x"}', '{"frobnicate": 1}', '{"routes": [{"versions": [{"state": "?"}]}]}'],
)
def test_what_is_no_table_is_refused(broken: str) -> None:
    """With an error of ours, whatever is wrong."""
    with pytest.raises(RouterError):
        from_text(broken)
