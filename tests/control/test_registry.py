"""The records, and the routes that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.records import Order, VersionRecord
from router.control.registry import Registry, route_of
from router.control.repository import FoundModel, FoundVersion
from router.core.standing import EVERYTHING
from router.core.table import Route, Version, VersionState
from router.core.version import SERVING, Stage
from router.errors import NotFound, Refused
from router.model_settings import ModelSettings

NEW, OLD = ModelSettings(versions="all"), ModelSettings()


def record(number: str, stage: Stage = Stage.READY, reason: str = "", **more: object) -> VersionRecord:
    """One of model a."""
    return replace(VersionRecord("a", number, "d", stage, reason), **more)  # type: ignore[arg-type]


def known(number: str) -> Version:
    """What is known of one that can be loaded."""
    return Version("a", number, "d", f"/{number}", VersionState.READY)


def found(*numbers: str, reason: str = "", **reasons: str) -> FoundModel:
    """The model's directory; `vN` is what is wrong with version N."""
    versions = {n: FoundVersion(n, Path(f"/{n}"), reasons.get(f"v{n}", reason)) for n in numbers}
    return FoundModel("a", reason, versions, settings=NEW)


def states(route: Route) -> dict[str, str]:
    """Which versions answer, and why others do not."""
    return {n: each.reason or each.state.value for n, each in route.versions.items()}


# ---- records ----


def test_records_are_looked_up_with_what_there_is() -> None:
    """A model, a version: told when there is none."""
    registry = Registry(lambda: 5.0)
    registry.put([record("2"), record("10", Stage.CHAMPION), record("9", Stage.STANDBY)])
    assert [each.number for each in registry.of("a")] == ["10", "9", "2"]
    at = registry.at("a", Stage.STANDBY, Stage.READY)
    assert at is not None
    assert at.number == "9"
    assert registry.at("b", Stage.CHAMPION) is None
    with pytest.raises(NotFound, match="model 'a' has no version '3'; it has 10, 9, 2"):
        registry.record("a", "3")
    with pytest.raises(NotFound, match="unknown model 'b'"):
        registry.record("b", "1")
    registry.found = {"b": FoundModel("b")}
    with pytest.raises(NotFound, match="model 'b' has no version '1'; it has none"):
        registry.record("b", "1")


def test_a_move_is_a_new_record() -> None:
    """With who, why and when; nothing is in place before it is durable. A mark goes with what served."""
    registry = Registry(lambda: 5.0)
    ready = record("1", mark="its files have changed", warmed=True)
    champion = registry.moved(ready, Stage.CHAMPION, Order("ada"), "better", memory_bytes=7)
    assert champion == record(
        "1", Stage.CHAMPION, "better", since=5.0, actor="ada", mark=ready.mark, warmed=True, memory_bytes=7
    )
    assert registry.records == {}
    assert registry.moved(champion, Stage.DRAINING, Order()).mark == ""
    with pytest.raises(Refused, match="version 1 of model 'a' is champion and cannot become found"):
        registry.moved(champion, Stage.FOUND, Order())


def test_a_view_is_what_operators_see() -> None:
    """Newest first, with the route's names and what is frozen."""
    registry = Registry(lambda: 5.0)
    registry.put([record("1", Stage.STANDBY), record("2", Stage.CHAMPION)])
    registry.frozen = frozenset({EVERYTHING})
    view = registry.view("a", Route("a", "2", {}, standby="1", aliases={"stable": "1"}))
    assert [each.number for each in view.records] == ["2", "1"]
    assert (view.champion, view.standby, view.aliases, view.frozen) == ("2", "1", {"stable": "1"}, True)
    assert registry.view("a", None).champion is None


# ---- routes ----


def test_what_serves_makes_the_route() -> None:
    """Champion, standby and all others that are loaded; the rest is listed with its reason."""
    records = [
        record("1", Stage.RETIRED, "unloaded"),
        record("2", Stage.STANDBY),
        record("3", Stage.CHAMPION),
        record("4", Stage.READY),
        record("5", Stage.TESTING),
        record("6", Stage.FAILED, "too slow"),
    ]
    versions = {number: known(number) for number in ("2", "3", "4", "5")}
    route = route_of(found("1", "2", "3", "4", "5", "6", "7"), None, records, versions)
    assert (route.champion, route.standby, route.settings) == ("3", "2", NEW)
    assert states(route) == {
        "1": "unloaded",
        "2": "READY",
        "3": "READY",
        "4": "READY",
        "5": "it is testing",
        "6": "too slow",
        "7": "it has not been looked at yet",
    }
    quiet = [number for number, each in route.versions.items() if each.left_out]
    assert quiet == ["1", "5", "7"], "with these nothing is wrong"


def test_an_owners_rule_explains_what_does_not_serve() -> None:
    """What serves although the rule leaves it out by now serves on."""
    rule = "not loaded: versions = latest"
    model = found("1", "2", v1=rule)
    model = replace(model, versions={**model.versions, "1": replace(model.versions["1"], left_out=True)})
    records = [record("1", Stage.FOUND, "new: not tested yet"), record("2", Stage.CHAMPION)]
    route = route_of(model, None, records, {"2": known("2")})
    assert states(route) == {"1": rule, "2": "READY"}
    records = [record("1", Stage.CHAMPION), record("2", Stage.FOUND, "new: not tested yet")]
    assert states(route_of(model, None, records, {"1": known("1")})) == {"1": "READY", "2": "new: not tested yet"}


def test_a_route_goes_on_with_the_settings_it_had_while_they_cannot_be_read() -> None:
    """Its switch and its aliases are the operators'; aliases of what there is not go."""
    before = Route("a", "1", {}, OLD, switched=True, aliases={"stable": "1", "gone": "9"})
    broken = found("1", reason="model.toml cannot be read")
    route = route_of(broken, before, [record("1", Stage.CHAMPION)], {"1": known("1")})
    assert (route.champion, route.settings, route.switched, route.aliases) == ("1", OLD, True, {"stable": "1"})
    assert route_of(broken, None, [], {}).settings == NEW, "it has had none"
    assert route_of(found("1"), before, [], {}).settings == NEW
    assert route_of(None, before, [record("1", Stage.CHAMPION)], {"1": known("1")}).champion == "1"


def test_what_is_to_serve_and_is_not_in_memory_says_why() -> None:
    """Its settings cannot be read, or its directory is gone; it is nobody's champion meanwhile."""
    champion = [record("1", Stage.CHAMPION, "promoted")]
    broken = route_of(found("1", reason="model.toml cannot be read"), None, champion, {})
    assert (broken.champion, states(broken)) == (None, {"1": "model.toml cannot be read"})
    gone = route_of(None, Route("a", "1", {}), champion, {})
    assert (gone.champion, states(gone)) == (None, {"1": "its directory is gone"})


def test_a_model_without_versions_carries_its_reason() -> None:
    """Under the empty number."""
    route = route_of(found(reason="it has no version"), None, [], {})
    assert (route.champion, states(route)) == (None, {"": "it has no version"})


@given(st.dictionaries(st.sampled_from("123456"), st.sampled_from(list(Stage))), st.sets(st.sampled_from("123456")))
def test_any_records_make_a_route(stages: dict[str, Stage], there: set[str]) -> None:
    """Only what is to serve does; what is gone and did not serve is not listed; all else has a reason."""
    records = [record(number, stage) for number, stage in stages.items()]
    serving = {number for number, stage in stages.items() if stage in SERVING}
    versions = {number: known(number) for number in stages}
    route = route_of(found(*sorted(there)), None, records, versions)
    ready = {number for number, each in route.versions.items() if each.state is VersionState.READY}
    assert ready == serving
    assert there <= set(route.versions) | {""}
    hidden = set(stages) - set(route.versions)
    assert all(stages[number] in {Stage.FOUND, Stage.FAILED, Stage.RETIRED} for number in hidden)
    assert all(each.reason for number, each in route.versions.items() if number and number not in ready)
    assert route.champion is None or stages[route.champion] is Stage.CHAMPION
