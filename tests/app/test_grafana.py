"""The dashboard by Grafana's own types: they know every key of it, and every value is one that they allow."""

from __future__ import annotations

import enum
import json
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog import runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import prometheus, statetimeline, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.app.test_dashboards import DASHBOARD, panels

UNITS = {"short", "percentunit", "s", "bytes", "reqps", "cps", "rowsps"}
"""Of those that Grafana knows (the `id`s of @grafana/data's value formats)."""
OPEN = {"step", "titleFormat", "definition", "expr"}
"""Keys that a data source adds to an annotation or a variable: Grafana's schema leaves both open."""


@pytest.fixture(scope="module")
def read() -> Dashboard:
    """As Grafana's types read it. A panel of a type that is not among these would keep its options unread."""
    for each in (timeseries, statetimeline):
        runtime.register_panelcfg_variant(each.variant_config())
    runtime.register_dataquery_variant(prometheus.variant_config())
    return Dashboard.from_json(DASHBOARD)


def lost(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """What is no longer there, or another value."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost(value, kept[key], f"{place}.{key}")
            elif value is not None and key not in OPEN:
                yield f"{place}.{key}"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (mine, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(mine, other, f"{place}[{index}]")
    elif given != kept:
        yield f"{place}: {given!r} became {kept!r}"


def misfits(value: Any, kind: Any, place: str = "") -> Iterator[str]:
    """Values that are not of the kind that their class says."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union:
        found = [list(misfits(value, part, place)) for part in parts]
        yield from min(found, key=len)
    elif origin is list and isinstance(value, list):
        for index, each in enumerate(value):
            yield from misfits(each, parts[0], f"{place}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, each in value.items():
            yield from misfits(each, parts[1], f"{place}.{key}")
    elif origin is typing.Literal:
        if value not in parts:
            yield f"{place}: {value!r}"
    elif kind in {typing.Any, object}:  # a plugin's: as it was read
        if hasattr(value, "to_json"):
            yield from misfits(value, type(value), place)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in {each.value for each in kind}:
            yield f"{place}: {value!r} is none of {[each.value for each in kind]}"
    elif isinstance(kind, type) and hasattr(kind, "from_json"):
        made = kind.from_json(value) if isinstance(value, dict) else value
        if not isinstance(made, kind):
            yield f"{place}: {value!r} is no {kind.__name__}"
        for name, part in typing.get_type_hints(type(made)).items():
            yield from misfits(getattr(made, name), part, f"{place}.{name}")
    elif not isinstance(value, (int, float) if kind is float else origin or kind) or (
        kind is int and isinstance(value, bool)
    ):
        yield f"{place}: {value!r} is no {kind}"


def test_grafana_knows_every_key(read: Dashboard) -> None:
    """What its types do not know it would drop: nothing is lost on the way through them and back."""
    kept = json.loads(JSONEncoder().encode(read))
    assert list(lost(DASHBOARD, kept)) == []


def test_every_value_is_one_that_grafana_allows(read: Dashboard) -> None:
    """Of the kind, or one of the words, that its types say; of panels and queries too."""
    assert list(misfits(read, Dashboard)) == []


def test_its_types_are_strict() -> None:
    """A key that is misspelt and a word that does not exist are found: what passes above says something."""
    wrong = json.loads(json.dumps(DASHBOARD))
    wrong["grafTooltip"] = 1
    wrong["panels"][2]["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "lines"
    read = Dashboard.from_json(wrong)
    assert list(lost(wrong, json.loads(JSONEncoder().encode(read)))) == [".grafTooltip"]
    (found,) = misfits(read, Dashboard)
    assert "'lines'" in found


def test_units_are_grafanas() -> None:
    """And no panel is without."""
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in panels()} <= UNITS


def test_all_models_is_one_query_however_they_are_named() -> None:
    """Grafana would name each of them in every query, and does not escape a quotation mark in a name."""
    (model,) = (each for each in DASHBOARD["templating"]["list"] if each["name"] == "model")
    assert (model["includeAll"], model["allValue"]) == (True, ".*")
    assert model["datasource"]["uid"] == "${datasource}"
