"""Which rows a humility rule fires in, what is put there, and settings that cannot be meant."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.contract import FEW
from router.core.humility import NAMED, Fired, Humility, overridden, rows_told
from router.core.humility_terms import humility_of
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.errors import SettingsError
from router.humility_settings import HumilitySettings

Array = np.ndarray[Any, Any]

SIGNATURE = Signature(
    (
        TensorSpec("x", "FP32", (ANY, 3)),
        TensorSpec("one", "FP64", (ANY,)),
        TensorSpec("half", "FP16", (ANY, 2)),
        TensorSpec("brain", "BF16", (ANY, 2)),
        TensorSpec("byte", "UINT8", (ANY, 2)),
        TensorSpec("long", "INT64", (ANY, 2)),
        TensorSpec("free", "FP32", (ANY, ANY)),
        TensorSpec("town", BYTES, (ANY, 1)),
        TensorSpec("yes", "BOOL", (ANY,)),
    ),
    (
        TensorSpec("scores", "FP32", (ANY, 3)),
        TensorSpec("score", "FP32", (ANY, 1)),
        TensorSpec("halves", "FP16", (ANY, 3)),
        TensorSpec("cube", "FP32", (ANY, 2, 2)),
        TensorSpec("label", "INT64", (ANY,)),
        TensorSpec("text", BYTES, (ANY,)),
        TensorSpec("wide", "FP32", (ANY, ANY)),
        TensorSpec("scalar", "FP32", ()),
    ),
)
NAN, INF = math.nan, math.inf


def rules(*given: dict[str, Any]) -> Humility:
    """As a model.toml sets them; names are made up where there are none."""
    named = [{"name": f"r{at}", **each} for at, each in enumerate(given)]
    made = humility_of(HumilitySettings.model_validate({"rules": named}), SIGNATURE)
    assert made is not None
    return made


def fires(rule: dict[str, Any], values: Array) -> list[int]:
    """The rows in which a rule fires."""
    made = rules(rule)
    tensor = rule.get("input") or rule["output"]
    found = made.judge({tensor: values}, {tensor: values}, len(values) if values.ndim else 1)
    return np.flatnonzero(found[0].rows).tolist() if found else []


def objects(*values: Any) -> Array:
    """Text as it comes."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ({"low": 0.5}, [[0.4, 0.3, 0.3], [0.5, 0.3, 0.2], [0.9, 0.1, 0.0]], [0]),
        ({"low": 0.4, "high": 0.6}, [[0.3, 0.3, 0.3], [0.4, 0.3, 0.3], [0.6, 0.2, 0.2], [0.7, 0.2, 0.1]], [1, 2]),
        ({"margin": 0.25}, [[0.5, 0.25, 0.25], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]], [1]),
        ({"margin": 0.25, "low": 0.5}, [[0.4, 0.0, 0.1], [0.5, 0.4, 0.1], [0.9, 0.1, 0.0]], [0, 1]),
        ({"low": 0.5}, [[NAN, 0.9, 0.1], [0.9, 0.1, 0.0]], [0]),
        ({"low": 0.4, "high": 0.6}, [[0.9, NAN, 0.0]], [0]),
        ({"margin": 0.1}, [[0.9, NAN, 0.0], [INF, INF, 0.0], [INF, 1.0, 0.0]], [0, 1]),
    ],
)
def test_a_model_in_doubt(rule: dict[str, Any], values: list[list[float]], expected: list[int]) -> None:
    """The top score is low, or between bounds that are included, or hardly ahead of the second; NaN is doubt."""
    assert fires({"kind": "uncertain", "output": "scores", **rule}, np.array(values, np.float32)) == expected


def test_bounds_are_those_of_the_datatype() -> None:
    """What a model gives that lies on a bound lies on it, however many digits the owner wrote."""
    half = {"kind": "uncertain", "output": "halves", "low": 0.1}
    assert fires(half, np.array([[0.1, 0.0, 0.0], [0.0999, 0.0, 0.0]], np.float16)) == [1]
    single = {"kind": "uncertain", "output": "score", "low": 0.1, "high": 0.7}
    assert fires(single, np.array([[0.1], [0.7], [0.7000001]], np.float32)) == [0, 1]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ({"input": "x", "low": 0, "high": 1}, [[0, 0.5, 1], [0, 0, 1.5], [-1, 0, 0], [0, NAN, 0]], [1, 2, 3]),
        ({"input": "x", "low": [0, -INF, 5], "high": [1, INF, 6]}, [[0, 99, 5], [0, 0, 4], [2, 0, 5]], [1, 2]),
        ({"input": "x", "low": [0, -INF, -INF], "high": 1}, [[-1, 0, 0], [0, -9, -9], [0, 0, 2]], [0, 2]),
        ({"input": "x", "high": 1, "feature": 1}, [[9, 1, 9], [0, 2, 0], [0, NAN, 0]], [1, 2]),
        ({"input": "one", "low": 0.1}, [0.1, 0.0999, INF], [1]),
        ({"input": "half", "high": 0.1}, [[0.1, 0], [0.1001, 0]], [1]),
        ({"input": "brain", "high": 0.1}, [[0.1, 0], [0.101, 0], [NAN, 0]], [1, 2]),
        ({"input": "byte", "low": 0.5, "high": 254.5}, [[1, 254], [0, 9], [9, 255]], [1, 2]),
        ({"input": "byte", "low": [3, -INF]}, [[3, 0], [2, 9]], [1]),
        ({"input": "long", "high": 2**53}, [[2**53, 0], [2**53 + 1, 0]], [1]),
        ({"input": "free", "low": 0, "feature": 2}, [[-1, -1]], []),
    ],
)
def test_an_outlier(rule: dict[str, Any], values: list[Any], expected: list[int]) -> None:
    """An element beyond its bounds, which are included, or NaN; whole numbers are compared exactly."""
    datatype = next(spec.datatype for spec in SIGNATURE.inputs if spec.name == rule["input"])
    assert fires({"kind": "outlying", **rule}, np.array(values, DTYPES[datatype])) == expected


@pytest.mark.parametrize("repeat", [1, FEW])
@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ({"input": "byte", "known": [1, 2]}, np.array([[1, 2], [2, 3], [0, 0]], np.uint8), [1, 2]),
        ({"input": "long", "known": [-1, 2**62], "feature": 1}, np.array([[9, -1], [9, 2**62], [-1, 9]]), [2]),
        ({"input": "x", "known": [1, 2], "feature": 0}, np.array([[1, 9, 9], [1.5, 1, 1], [NAN, 1, 1]], "f4"), [1, 2]),
        ({"input": "half", "known": [1, 2]}, np.array([[1, 2], [NAN, 1]], np.float16), [1]),
        ({"input": "brain", "known": [1, 2]}, np.array([[1, 2], [3, 1]], ml_dtypes.bfloat16), [1]),
        ({"input": "town", "known": ["Bonn", "Ulm"]}, objects("Ulm", "ulm", "Bonn").reshape(3, 1), [1]),
    ],
)
def test_a_category_that_nobody_knows(rule: dict[str, Any], values: Array, expected: list[int], repeat: int) -> None:
    """Of whole numbers and text, and of numbers in a floating input; the same in few rows and in many."""
    found = fires({"kind": "low_observation", **rule}, np.concatenate([values] * repeat))
    assert found == [at * len(values) + row for at in range(repeat) for row in expected]


def test_what_has_no_rows_or_no_elements_fires_nowhere() -> None:
    """Empty batches, and rows without elements."""
    made = rules(
        {"kind": "uncertain", "output": "wide", "low": 0.5, "margin": 0.1},
        {"kind": "outlying", "input": "free", "low": 0},
        {"kind": "low_observation", "input": "free", "known": [1]},
    )
    for shape, rows in (((0, 3), 0), ((2, 0), 2), ((0, 0), 0)):
        empty = np.zeros(shape, np.float32)
        assert made.judge({"free": empty}, {"wide": empty}, rows) == []


def test_what_was_not_given_is_not_judged() -> None:
    """An optional input that a caller leaves out."""
    assert rules({"kind": "outlying", "input": "x", "low": 0}).judge({}, {}, 3) == []


def test_what_belongs_to_no_row_fires_for_all() -> None:
    """A tensor with another number of rows than the run."""
    made = rules({"kind": "outlying", "input": "x", "low": 0, "then": "override", "override": {"label": -1}})
    fired = made.judge({"x": np.array([[0, 0, 0], [0, -1, 0]], np.float32)}, {}, 3)
    assert fired[0].rows.tolist() == [True] * 3
    assert overridden(fired, ["label"], [np.arange(2)])[0].tolist() == [-1, -1]


def test_the_outputs_that_rules_look_at() -> None:
    """Each once, in the order of the rules."""
    made = rules(
        {"kind": "uncertain", "output": "score", "low": 0.1},
        {"kind": "outlying", "input": "x", "low": 0},
        {"kind": "uncertain", "output": "scores", "low": 0.1},
        {"kind": "uncertain", "output": "score", "low": 0.4, "high": 0.6},
    )
    assert made.outputs == ("score", "scores")
    assert humility_of(HumilitySettings(), SIGNATURE) is None


def test_the_first_of_two_values_is_taken_and_what_the_model_said_stays_as_it_was() -> None:
    """Only outputs that are overridden and asked for are copied; their other rows are the model's."""
    made = rules(
        {"kind": "outlying", "input": "x", "low": 0, "then": "override", "override": {"label": -1, "text": "low"}},
        {"kind": "outlying", "input": "x", "high": 1},
        {
            "kind": "outlying", "input": "x", "high": 1,
            "then": "override", "override": {"label": -2, "scores": [1, 0, 0], "wide": 0.5},
        },
    )  # fmt: skip
    said = [np.arange(4), np.zeros((4, 3), np.float32), objects("a", "b", "c", "d"), np.zeros((4, 2), np.float32)]
    x = np.array([[-1, 0, 0], [0, 0, 2], [-1, 0, 2], [0, 0, 0]], np.float32)
    fired = made.judge({"x": x}, {}, 4)
    label, scores, text, wide = overridden(fired, ["label", "scores", "text", "wide"], said)
    assert label.tolist() == [-1, -2, -1, 3]
    assert scores.tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert text.tolist() == [b"low", "b", b"low", "d"]
    assert wide.tolist() == [[0, 0], [0.5, 0.5], [0.5, 0.5], [0, 0]]
    assert [each.tolist() for each in said[:3]] == [[0, 1, 2, 3], [[0, 0, 0]] * 4, ["a", "b", "c", "d"]]
    (same,) = overridden(fired, ["scores"], said[1:2])
    assert same.tolist() == scores.tolist()
    other = [np.zeros(4)]
    assert overridden(fired, ["score"], other)[0] is other[0]


def test_rows_are_told_by_number_and_are_bounded() -> None:
    """For a program and for a person."""
    assert rows_told([0, 3]) == "0,3"
    assert rows_told(range(NAMED + 5)).endswith(f",{NAMED - 1},+5")
    (rule,) = rules({"kind": "uncertain", "output": "scores", "low": 0.5}).rules
    assert rule.told([4]) == "output 'scores' is uncertain in row 4"
    assert rule.told(range(10)) == "output 'scores' is uncertain in rows 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    (rule,) = rules({"kind": "outlying", "input": "x", "low": 0}).rules
    assert rule.told([1, 2]) == "input 'x' is beyond its bounds in rows 1, 2"
    (rule,) = rules({"kind": "low_observation", "input": "town", "known": ["Ulm"]}).rules
    assert rule.told([0]) == "input 'town' holds an unknown category in row 0"


SURE = {"kind": "uncertain", "output": "scores", "margin": 0.1}
FAR = {"kind": "outlying", "input": "x", "low": 0}
NEW = {"kind": "low_observation", "input": "long", "known": [1]}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (SURE | {"output": "z"}, "rules.0.output` = 'z': the model has no such output; it has 'scores', 'score',"),
        (FAR | {"input": "scores"}, "rules.0.input` = 'scores': the model has no such input; it has 'x',"),
        (SURE | {"output": "label"}, "rules.0.output` = 'label': the output is INT64; scores are floating numbers"),
        (SURE | {"output": "cube"}, "rules.0.output` = 'cube': the output has 3 dimensions; scores are [rows] or"),
        (SURE | {"output": "score"}, "rules.0.margin` = 0.1: the output has one score a row: it takes `low`"),
        (SURE | {"output": "halves", "margin": 1e-9}, "rules.0.margin` = 1e-09: in FP16 no score is below it"),
        (
            {"kind": "uncertain", "output": "halves", "low": -1e9},
            "rules.0.low` = -1000000000.0: in FP16 no score is below it: it could never fire",
        ),
        (FAR | {"input": "town"}, "rules.0.input` = 'town': the input is BYTES; only numbers have bounds"),
        (FAR | {"input": "yes"}, "rules.0.input` = 'yes': the input is BOOL; only numbers have bounds"),
        (FAR | {"low": [0, 0]}, "rules.0.low` = [0.0, 0.0]: a row of the input has 3 elements"),
        (FAR | {"input": "free", "low": [0]}, "rules.0.low` = [0.0]: the size of a row is free: give one number"),
        (FAR | {"feature": 3}, "rules.0.feature` = 3: a row of the input has 3 elements, the first is 0"),
        (FAR | {"low": -1e300}, "rules.0` = 'r0': in FP32 only NaN is beyond its bounds: it could never fire"),
        (FAR | {"input": "byte"}, "rules.0` = 'r0': no UINT8 is beyond its bounds: it could never fire"),
        (FAR | {"input": "byte", "low": 256}, "rules.0` = 'r0': between its bounds there is no UINT8: it would fire"),
        (FAR | {"input": "byte", "low": 0.2, "high": 0.8}, "between its bounds there is no UINT8"),
        (FAR | {"input": "byte", "low": -9, "high": -1}, "between its bounds there is no UINT8"),
        (NEW | {"input": "yes"}, "rules.0.known` = [1]: the input is BOOL, of which both values are known"),
        (NEW | {"known": ["a"]}, "rules.0.known` = 'a': the input is INT64: whole numbers from"),
        (NEW | {"known": [2**63]}, "rules.0.known` = 9223372036854775808: the input is INT64: whole numbers from"),
        (NEW | {"input": "town"}, "rules.0.known` = 1: the input is text"),
        (NEW | {"input": "byte", "known": list(range(256))}, "there is no other UINT8: it could never fire"),
        (NEW | {"input": "x", "known": [2**24 + 1]}, "rules.0.known` = 16777217: the input is FP32, which holds"),
        (NEW | {"input": "x", "known": [10**400]}, "the input is FP32, which holds other whole numbers"),
        (NEW | {"feature": 2}, "rules.0.feature` = 2: a row of the input has 2 elements, the first is 0"),
        (
            FAR | {"then": "override", "override": {"z": 1}},
            "rules.0.override` = 'z': the model has no such output; it has",
        ),
        (
            FAR | {"then": "override", "override": {"label": 1.5}},
            "rules.0.override.label` holds '1.5'; the output is INT64",
        ),
        (
            FAR | {"then": "override", "override": {"scores": [1, 0]}},
            "rules.0.override.scores` = [1, 0]: expected a list of shape [3], the values of one row, or a single value",
        ),
        (FAR | {"then": "override", "override": {"label": [1]}}, "rules.0.override.label` = [1]: expected a single"),
        (
            FAR | {"then": "override", "override": {"wide": [1]}},
            "rules.0.override.wide` = [1]: the size of a row is free: give a single value for all of it",
        ),
        (
            FAR | {"then": "override", "override": {"scalar": 1}},
            "rules.0.override.scalar` = 1: the output is a single value for all rows, which belongs to none",
        ),
    ],
)
def test_a_rule_that_does_not_fit_the_model_is_refused(rule: dict[str, Any], said: str) -> None:
    """One line: key, value, what is allowed."""
    with pytest.raises(SettingsError) as raised:
        rules(rule)
    message = str(raised.value)
    assert message.startswith("model.toml: `humility.rules.0")
    assert said in message
    assert "\n" not in message


# ---- against the plainest loop ----

FLOATS = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0, NAN, INF, -INF]), st.floats(-2, 2, width=16))


def naive(rule: dict[str, Any], row: list[float]) -> bool:
    """Whether a rule fires in a row, number by number."""
    if rule["kind"] == "low_observation":
        return any(each not in rule["known"] for each in row)
    low, high = rule.get("low"), rule.get("high")
    if rule["kind"] == "outlying":
        lows, highs = (low if isinstance(low, list) else [-INF if low is None else low] * len(row),
                       high if isinstance(high, list) else [INF if high is None else high] * len(row))  # fmt: skip
        return any(not at_least <= each <= at_most for each, at_least, at_most in zip(row, lows, highs, strict=True))
    if any(math.isnan(each) for each in row):
        return True
    *_, second, top = sorted(row)
    torn = "margin" in rule and not top - second >= rule["margin"]
    within = low is not None and (top < low if high is None else low <= top <= high)
    return torn or within


RULES = st.one_of(
    st.builds(lambda margin: SURE | {"margin": margin}, st.sampled_from([0.25, 0.5, 1.0])),
    st.builds(lambda low: {"kind": "uncertain", "output": "scores", "low": low}, st.sampled_from([0.0, 0.25, 1.0])),
    st.just({"kind": "uncertain", "output": "scores", "low": 0.25, "high": 0.5}),
    st.just({"kind": "uncertain", "output": "scores", "low": 0.25, "high": 0.5, "margin": 0.25}),
    st.builds(
        lambda low, wide: FAR | {"low": low, "high": low + wide},
        st.sampled_from([-1.0, 0.0, 0.25]),
        st.sampled_from([0.0, 0.5]),
    ),
    st.just(FAR | {"low": [-INF, 0.0, 0.25], "high": 1.0}),
    st.just(FAR | {"low": None, "high": [0.5, INF, -1.0]}),
    st.just(NEW | {"input": "x", "known": [0, 1, -1]}),
)


@given(rule=RULES, rows=st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=20))
def test_all_rows_at_once_are_as_one_by_one(rule: dict[str, Any], rows: list[list[float]]) -> None:
    """Whatever the batch holds."""
    assert fires(rule, np.array(rows, np.float32)) == [at for at, row in enumerate(rows) if naive(rule, row)]


@given(
    masks=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3),
    values=st.lists(st.integers(-9, -1), min_size=3, max_size=3),
)
def test_overrides_are_as_one_by_one(masks: list[list[bool]], values: list[int]) -> None:
    """In each row the first rule that fires there has its way."""
    made = rules(
        *[FAR | {"then": "override", "override": {"label": value}} for value, _ in zip(values, masks, strict=False)]
    )
    fired = [Fired(rule, np.array(mask)) for rule, mask in zip(made.rules, masks, strict=True)]
    (label,) = overridden(fired, ["label"], [np.arange(5)])
    for row, value in enumerate(label.tolist()):
        wanted = [put for put, mask in zip(values, masks, strict=False) if mask[row]]
        assert value == (wanted[0] if wanted else row)
