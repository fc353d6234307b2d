"""Settings that do not fit their models: the reason names key, value and what is allowed; the model does not serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.policy import REASON_LIMIT, fitted, settled
from router.core.table import Route, Version, VersionState
from router.core.tensor import ANY, Signature, TensorSpec
from router.model_settings import ModelSettings

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (ANY, 3), ("n", None)),),
    (TensorSpec("y", "FP32", (ANY, 2), ("n", None)), TensorSpec("label", "INT64", (ANY,), ("n",))),
)
OTHER_NAMES = Signature(
    (TensorSpec("x", "FP32", (ANY, 3), ("batch", None)),),
    (TensorSpec("label", "INT64", (ANY,), (None,)), TensorSpec("y", "FP32", (ANY, 2), ("batch", None))),
)
NOTHING = Signature((), ())


def version(model: str, number: str, signature: Signature = SIGNATURE, reason: str = "") -> Version:
    """One that is READY, or is not for this reason."""
    state = VersionState.UNAVAILABLE if reason else VersionState.READY
    return Version(model, number, "d", "/p", state, reason, signature)


def route(model: str, settings: dict[str, Any] | None = None, **versions: Signature) -> Route:
    """Versions `v1`, `v2`, …; only version 1 by default."""
    made = {name[1:]: version(model, name[1:], each) for name, each in (versions or {"v1": SIGNATURE}).items()}
    return Route(model, max(made, key=int), made, ModelSettings.model_validate(settings or {}))


def failover(to: str) -> dict[str, Any]:
    """Settings with this failover."""
    return {"fallback": {"chain": ["failover"], "failover": to}}


def default(**outputs: Any) -> dict[str, Any]:
    """Settings with this default."""
    return {"fallback": {"chain": ["default"], "default": outputs}}


def table(*routes: Route) -> dict[str, Route]:
    """By name."""
    return {each.model: each for each in routes}


def reason(route: Route, *others: Route) -> str:
    """Why version 1 does not serve; then nobody does. Empty: it does, and nothing has been changed."""
    made = fitted(table(route, *others))[route.model]
    if made == route:
        return ""
    assert made.champion is None
    assert made.versions["1"].state is VersionState.UNAVAILABLE
    assert made.settings == route.settings
    return made.versions["1"].reason


def test_a_ledger_is_of_an_output_that_there_is() -> None:
    """And of one whose rows can come true; one that is off may say what it likes."""
    for name, said in (("z", "= 'z': the model has no such output; it has 'y', 'label'"), ("label", "")):
        found = reason(route("m", {"ledger": {"enabled": True, "output": name}}))
        assert found.startswith("model.toml: `ledger.output`") == bool(said)
        assert said in found
    assert not reason(route("m", {"ledger": {"output": "z"}}))


def test_settings_that_fit_change_nothing() -> None:
    """All of them together."""
    settings = {
        "fallback": {
            "chain": ["failover", "default"], "failover": "spare", "default": {"y": [0.5, 0.5], "label": -1},
        },
        "contract": {"rows": True, "outputs": {"y": {"low": 0, "high": 1}, "label": {"labels": [1, 2]}}},
        "humility": {"rules": [{"name": "far", "kind": "outlying", "input": "x", "low": [0, 0, 0]}]},
    }  # fmt: skip
    routes = table(route("m", settings), route("spare", v1=OTHER_NAMES), route("plain"))
    assert fitted(routes) == routes


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (default(y=0.0), "model.toml: `fallback.default` says nothing for the output 'label'"),
        (default(y=0.0, label=1, z=1), "model.toml: `fallback.default` names the unknown output 'z'"),
        (default(y=0.0, label=1.5), "model.toml: `fallback.default.label` holds '1.5'; the output is INT64"),
        (default(y=[1.0, 2.0, 3.0], label=1), "model.toml: `fallback.default.y` = [1.0, 2.0, 3.0]: expected a list of"),
        ({"contract": {"outputs": {"z": {}}}}, "model.toml: `contract.outputs.z`: the model has no such output"),
        ({"contract": {"outputs": {"y": {"low": 2, "high": 1}}}}, "model.toml: `contract.outputs.y.low` = 2.0:"),
        ({"contract": {"outputs": {"y": {"labels": [1]}}}}, "model.toml: `contract.outputs.y.labels` = 1:"),
        ({"contract": {"outputs": {"label": {"labels": ["a"]}}}}, "model.toml: `contract.outputs.label.labels`: 'a'"),
        (
            {"humility": {"rules": [{"name": "far", "kind": "outlying", "input": "x", "low": [0, 0]}]}},
            "model.toml: `humility.rules.0.low` = [0.0, 0.0]: a row of the input has 3 elements",
        ),
        (failover("x"), "`fallback.failover` = 'x': the repository holds no such model; it holds 'spare', 'other'"),
        (failover("spare:9"), "`fallback.failover` = 'spare:9': model 'spare' has no such version; it has 1, 2"),
        (failover("spare:"), "`fallback.failover` = 'spare:': model 'spare' has no such version; it has 1, 2"),
        (failover("m"), "`fallback.failover` = 'm': a model cannot stand in for itself"),
        (failover("m:1"), "`fallback.failover` = 'm:1': a model cannot stand in for itself"),
        (
            failover("other"),
            "model.toml: `fallback.failover` = 'other': its signature has to be the same, and output 'y' is FP32[?,2]"
            " here and FP32[?,3] in version 1 of 'other'",
        ),
        (failover("spare:1"), "input 'w' is missing here and FP32[?] (optional) in version 1 of 'spare'"),
    ],
)
def test_what_does_not_fit_is_told(settings: dict[str, Any], said: str) -> None:
    """In one line; nothing of the model serves."""
    other = Signature(SIGNATURE.inputs, (TensorSpec("y", "FP32", (ANY, 3)), SIGNATURE.outputs[1]))
    more = Signature((*SIGNATURE.inputs, TensorSpec("w", "FP32", (ANY,), (), optional=True)), SIGNATURE.outputs)
    told = reason(route("m", settings), route("spare", v1=more, v2=SIGNATURE), route("other", v1=other))
    assert said in told
    assert "\n" not in told


def test_a_failover_that_is_not_loaded_now_will_do() -> None:
    """Nobody has asked for it, it is broken, or what it takes is not known yet."""
    unknown = Route("spare", None, {"1": version("spare", "1", NOTHING, "unloaded")})
    known = Route("spare", None, {"1": version("spare", "1", SIGNATURE, "unloaded")})
    for spare in (unknown, known):
        for to in ("spare", "spare:1"):
            assert reason(route("m", failover(to)), spare) == ""


def test_a_named_version_is_the_one_that_is_compared() -> None:
    """Without a name it is the champion."""
    other = Signature((), SIGNATURE.outputs)
    spare = route("spare", v1=SIGNATURE, v2=other)
    assert reason(route("m", failover("spare:1")), spare) == ""
    assert "version 2 of 'spare'" in reason(route("m", failover("spare")), spare)


@pytest.mark.parametrize(
    ("ways", "circles"),
    [
        ({"a": "b", "b": "a"}, {"a": "a → b → a", "b": "b → a → b"}),
        ({"a": "b:1", "b": "c", "c": "a"}, {"a": "a → b → c → a", "b": "b → c → a → b", "c": "c → a → b → c"}),
        ({"a": "b", "b": "c", "c": "b"}, {"b": "b → c → b", "c": "c → b → c"}),
        ({"a": "b", "b": "c"}, {}),
    ],
)
def test_failovers_that_go_round_in_a_circle(ways: dict[str, str], circles: dict[str, str]) -> None:
    """Of any length; all who are in it are refused, who only leads to it is not."""
    routes = table(*(route(name, failover(ways[name]) if name in ways else None) for name in "abc"))
    refused = {name: each.versions["1"].reason for name, each in fitted(routes).items() if each.champion is None}
    assert refused.keys() == circles.keys()
    for name, circle in circles.items():
        assert circle in refused[name]


def test_each_version_is_looked_at_by_itself() -> None:
    """A champion that does not fit leaves none: nobody is promoted by settings. What was not READY keeps its reason."""
    other = Signature(SIGNATURE.inputs, (TensorSpec("z", "FP32", (ANY,)),))
    before = route("m", default(y=0.0, label=1), v1=SIGNATURE, v2=SIGNATURE, v3=other)
    broken = version("m", "4", NOTHING, "it is broken")
    made = fitted({"m": Route("m", "3", {**before.versions, "4": broken}, before.settings)})["m"]
    assert made.champion is None
    assert [each.state is VersionState.READY for each in made.versions.values()] == [True, True, False, False]
    assert made.versions["4"] == broken
    pinned = Route("m", "1", before.versions, before.settings)
    assert fitted({"m": pinned})["m"].champion == "1", "a champion that fits stays"


def test_what_serves_goes_on_though_its_failover_has_changed() -> None:
    """With the same settings, and if it is the same version; one that is new, or newly set, is looked at anew."""
    other = Signature((), SIGNATURE.outputs)
    before = fitted(table(route("m", failover("spare")), route("spare")))
    after = table(before["m"], route("spare", v1=other))
    assert fitted(after, before)["m"] == before["m"]
    fresh = replace(before["m"].versions["1"], digest="e")
    for changed in (replace(before["m"], versions={"1": fresh}), route("m", failover("spare:1"))):
        assert fitted({**after, "m": changed}, before)["m"].champion is None
    assert fitted(after)["m"].champion is None, "nothing served before"


def test_settings_that_would_end_what_serves_are_not_followed() -> None:
    """Those of before stay, with the reason; where nothing serves, or they fit, the new ones count."""
    before = table(route("m", default(y=0.0, label=1)), route("spare"))
    bad = table(route("m", default(z=1.0)), before["spare"])
    made, reasons = settled(bad, before)
    assert made == before
    assert "unknown output 'z'" in reasons["m"]
    idle = {**before, "m": replace(before["m"], champion=None)}
    assert settled(bad, idle) == (bad, {})
    good = table(route("m", default(y=1.0, label=1)), before["spare"])
    assert settled(good, before) == (good, {})
    assert settled(bad, {}) == (bad, {})


def test_a_circle_that_new_settings_would_close_stays_open() -> None:
    """Nobody in it is left without an answer; one that pointed there before still does."""
    before = table(route("a"), route("b", failover("c")), route("c"))
    closed = table(route("a"), route("b", failover("c")), route("c", failover("b")))
    made, reasons = settled(closed, before)
    assert made == before
    assert reasons.keys() == {"c"}
    assert fitted(made, before) == before


@given(
    st.dictionaries(
        st.text("abc:1", max_size=3),
        st.tuples(st.text("abc:1", min_size=1, max_size=4), st.sampled_from([SIGNATURE, OTHER_NAMES, NOTHING])),
        max_size=4,
    )
)
def test_any_failovers_end_and_what_was_refused_stays_so(ways: dict[str, tuple[str, Signature]]) -> None:
    """Looking twice changes nothing; no two that serve lead to each other; a reason is one line."""
    routes = table(*(route(name, failover(to), v1=signature) for name, (to, signature) in ways.items()))
    made = fitted(routes)
    assert fitted(made) == made
    for name, each in made.items():
        told = each.versions["1"].reason
        assert (each.champion is None) == bool(told)
        assert len(told.splitlines()) <= 1
        assert len(told) <= REASON_LIMIT
        if not told:
            target = each.settings.fallback.failover or ""
            assert target.partition(":")[0] in routes
            assert ways[target.partition(":")[0]][0].partition(":")[0] != name


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["y", "label", "z"]), VALUES, min_size=1))
def test_any_default_fits_or_is_told(outputs: dict[str, Any]) -> None:
    """Never an exception."""
    told = reason(route("m", default(**outputs)))
    assert told == "" or told.startswith("model.toml: `fallback.default")
    assert told.isprintable()
