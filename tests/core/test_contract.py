"""What outputs promise, and what is said when they break it."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.contract import FEW, Contract, Promise, check_contract, declared_contract
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.errors import SettingsError

LABEL = TensorSpec("label", "INT64", (ANY,))
SMALL = TensorSpec("small", "UINT8", (ANY,))
SCORES = TensorSpec("scores", "FP32", (ANY, 3))
HALF = TensorSpec("half", "FP16", (ANY,))
BRAIN = TensorSpec("brain", "BF16", (ANY,))
TEXT = TensorSpec("text", BYTES, (ANY,))
YES = TensorSpec("yes", "BOOL", (ANY,))
SIGNATURE = Signature((), (LABEL, SMALL, SCORES, HALF, BRAIN, TEXT, YES))
MANY = 2 * FEW


def one(promise: Promise, values: Any, dtype: Any = np.float32, *, rows: bool = False, asked: int = 1) -> str:
    """What is said of an output 'y' that holds the values."""
    return Contract({"y": promise}, rows).broken([np.array(values, dtype)], asked)


def objects(values: list[Any]) -> np.ndarray[Any, Any]:
    """Text as a session gives it."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("promise", "values", "dtype", "said"),
    [
        (Promise(), [0.5, math.nan], np.float32, "output 'y' has nan, which is not finite"),
        (Promise(), [0.5, -math.inf], np.float64, "output 'y' has -inf, which is not finite"),
        (Promise(), [1.0, math.inf], np.float16, "output 'y' has inf, which is not finite"),
        (Promise(), [1.0, math.nan], ml_dtypes.bfloat16, "output 'y' has nan, which is not finite"),
        (Promise(low=0, high=1), [0.5, 1.5], np.float32, "output 'y' has 1.5, which is not between 0 and 1"),
        (Promise(low=0), [0.5, -2.0], np.float32, "output 'y' has -2.0, which is not at least 0"),
        (Promise(high=3), [2, 4], np.int64, "output 'y' has 4, which is not at most 3"),
        (Promise(finite=False, low=0), [math.nan], np.float32, "output 'y' has nan, which is not at least 0"),
        (Promise(labels=frozenset((2, 0, 1))), [0, 7], np.int64, "output 'y' has 7, which is not one of 0, 1, 2"),
        (Promise(labels=frozenset("ba")), ["a", "c"], object, "output 'y' has 'c', which is not one of 'a', 'b'"),
        (Promise(labels=frozenset("ba")), [b"a", b"\xff"], object, "output 'y' has '\\udcff', which is not one of"),
        (Promise(labels=frozenset("a")), ["x" * 99 + "\n"], object, f"output 'y' has '{'x' * 40}', which"),
    ],
)
@pytest.mark.parametrize("repeat", [1, MANY])
def test_a_reason_names_output_promise_and_what_came(
    promise: Promise, values: list[Any], dtype: Any, said: str, repeat: int
) -> None:
    """One line, the same for small arrays and for large ones, which numpy looks at."""
    reason = one(promise, values * repeat, dtype)
    assert reason.startswith(said)
    assert "\n" not in reason


def test_many_labels_are_counted_not_listed() -> None:
    """The reason stays short."""
    assert one(Promise(labels=frozenset(range(300))), [-1], np.int64).endswith(
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (300 in all)"
    )


def test_promises_that_are_kept() -> None:
    """Bounds are included; what is finite may be large; integers and text are finite; bytes are compared as text."""
    assert not one(Promise(low=0, high=1), [0.0, 1.0])
    assert not one(Promise(), [3e38] * MANY)
    assert not one(Promise(), [60000.0] * MANY, np.float16)
    assert not one(Promise(), [2**62], np.int64)
    assert not one(Promise(), ["a"], object)
    assert not one(Promise(finite=False), [math.nan])
    assert not one(Promise(finite=False, low=0), [math.inf])
    assert not one(Promise(labels=frozenset(("a", "é"))), [b"a", "é".encode()], object)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_an_empty_output_breaks_the_promise_of_rows_alone(shape: tuple[int, ...]) -> None:
    """There is no element that could be wrong."""
    empty = np.empty(shape, np.float32)
    strict = Promise(low=1, high=2, labels=frozenset((1,)))
    assert not Contract({"y": strict}).broken([empty], 9)
    assert not Contract({"y": strict}, rows=True).broken([empty], shape[0])
    assert Contract({"y": strict}, rows=True).broken([empty], 9) == f"output 'y' has {shape[0]} rows, 9 were asked for"


def test_rows_and_number_of_outputs() -> None:
    """A scalar has no rows; an output that promises nothing else has as many rows as the others."""
    assert one(Promise(), 1.0, rows=True) == "output 'y' has no rows, 1 were asked for"
    assert not one(Promise(), [1.0, 1.0], rows=True, asked=2)
    contract = Contract({"x": None, "y": Promise()}, rows=True)
    assert contract.broken([np.zeros(3), np.zeros(2)], 2) == "output 'x' has 3 rows, 2 were asked for"
    assert contract.broken([np.zeros(2)], 2) == "1 outputs came, not 2"
    assert contract.broken_parts([np.zeros(2)], [1, 1]) == ["1 outputs came, not 2"] * 2


def test_outputs_are_told_apart_by_the_order_that_was_asked_for() -> None:
    """A caller may ask for some outputs, in any order."""
    contract = Contract({"a": Promise(low=0), "b": Promise(high=0), "c": None})
    asked = contract.of(["c", "b"])
    assert not asked.broken([np.array([9.0]), np.array([-9.0])], 1)
    assert asked.broken([np.array([9.0]), np.array([9.0])], 1).startswith("output 'b' has 9.0")


KINDS = {
    "FP16": st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 60000.0, math.nan, math.inf, -math.inf]),
    "BF16": st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 2.0**120, math.nan, math.inf, -math.inf]),
    "FP32": st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 2.0**127, math.nan, math.inf, -math.inf]),
    "FP64": st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 1e308, math.nan, math.inf, -math.inf]),
    "INT64": st.sampled_from([0, 1, 2, -1, -(2**63), 2**63 - 1]),
    "UINT8": st.sampled_from([0, 1, 2, 255]),
    BYTES: st.sampled_from(["", "a", "b", "0", b"a", b"\xff"]),
}
BOUNDS = st.sampled_from([-math.inf, -1.0, 0.0, 1.0, 2.0, math.inf])


@st.composite
def promised(draw: st.DrawFn) -> tuple[Promise, str]:
    """A datatype, and a promise that fits it."""
    datatype = draw(st.sampled_from(sorted(KINDS)))
    number = datatype != BYTES
    low, high = sorted((draw(BOUNDS), draw(BOUNDS))) if number else (-math.inf, math.inf)
    labels: frozenset[int | str] | None = None
    if datatype in ("INT64", "UINT8"):
        labels = draw(st.none() | st.frozensets(st.sampled_from([0, 1, 2]), min_size=1))
    elif not number:
        labels = draw(st.none() | st.frozensets(st.sampled_from(["", "a", "b"]), min_size=1))
    return Promise(draw(st.booleans()), low, high, labels), datatype


def keeps(value: Any, promise: Promise) -> bool:
    """Whether one element keeps the promise, asked plainly."""
    if isinstance(value, bytes):
        value = value.decode(errors="surrogateescape")
    if isinstance(value, str):
        return promise.labels is None or value in promise.labels
    if promise.finite and not math.isfinite(value):
        return False
    if (promise.low, promise.high) != (-math.inf, math.inf) and not promise.low <= value <= promise.high:
        return False
    return promise.labels is None or value in promise.labels


@given(st.data(), promised())
def test_a_reason_is_given_exactly_where_an_element_breaks_the_promise(
    data: st.DataObject, made: tuple[Promise, str]
) -> None:
    """Whatever the datatype, the shape and the size; and for each caller of a batch by that caller's rows alone."""
    promise, datatype = made
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    width = data.draw(st.sampled_from([1, 2, FEW]))
    few = data.draw(st.lists(KINDS[datatype], min_size=1, max_size=6))
    # Most elements are the first, so that some arrays keep their promises and large ones break them in one place.
    values = [few[0]] * (sum(sizes) * width)
    for value in few:
        if values:
            values[data.draw(st.integers(0, len(values) - 1))] = value
    flat = objects(values) if datatype == BYTES else np.array(values, DTYPES[datatype])
    output = flat.reshape(sum(sizes), width)

    contract = Contract({"y": promise}, rows=True)
    assert bool(contract.broken([output], len(output))) == (not all(keeps(v, promise) for v in values))
    at, expected = 0, []
    for size in sizes:
        expected.append(not all(keeps(v, promise) for v in values[at * width : (at + size) * width]))
        at += size
    assert [bool(reason) for reason in contract.broken_parts([output], sizes)] == expected


def test_one_bad_row_fails_alone() -> None:
    """The others of its batch have their answers."""
    scores = np.array([[0.1], [0.2], [math.nan], [0.3]], np.float32)
    assert Contract({"y": Promise()}).broken_parts([scores], [2, 1, 1]) == [
        "",
        "output 'y' has nan, which is not finite",
        "",
    ]


def test_rows_that_cannot_be_told_apart_fail_all() -> None:
    """Though no promise of rows was made: nobody can be given their own."""
    contract = Contract({"y": Promise()})
    said = "output 'y' has 3 rows, 2 were asked for"
    assert contract.broken_parts([np.zeros(3)], [1, 1]) == [said, said]
    assert contract.broken_parts([np.zeros(3)], [2]) == [""]


def test_a_declared_model_promises_finite_outputs() -> None:
    """Where they are floating, and beside what is said of other outputs; in the model's order."""
    contract = declared_contract(SIGNATURE, {"label": Promise(labels=frozenset((0, 1)))})
    assert list(contract.promises) == ["label", "small", "scores", "half", "brain", "text", "yes"]
    promising = {name for name, promise in contract.promises.items() if promise is not None}
    assert promising == {"label", "scores", "half", "brain"}
    assert not contract.rows
    quiet = declared_contract(SIGNATURE, {"scores": Promise(finite=False)}, rows=True)
    assert not quiet.of(["scores"]).broken([np.array([math.nan])], 1)
    assert quiet.of(["scores"]).broken([np.array([math.nan])], 2)


@given(st.floats(-1e4, 1e4), st.sampled_from(["FP16", "BF16", "FP32", "FP64"]))
def test_what_a_model_clips_to_a_bound_lies_within(bound: float, datatype: str) -> None:
    """A bound is rounded as the model rounds it: 0.1 of FP32 is more than 0.1."""
    spec = TensorSpec("y", datatype, (ANY,))
    for promise in (Promise(low=bound), Promise(high=bound)):
        contract = declared_contract(Signature((), (spec,)), {"y": promise})
        assert not contract.broken([np.array([bound], DTYPES[datatype])], 1)


def test_a_bound_beyond_the_datatype_is_no_bound() -> None:
    """FP16 ends at 65504."""
    contract = declared_contract(SIGNATURE, {"half": Promise(high=1e9)})
    assert not contract.of(["half"]).broken([np.array([65504], np.float16)], 1)


@pytest.mark.parametrize(
    ("output", "promise", "said"),
    [
        ("q", Promise(), ".q`: the model has no such output; it has 'label', 'small', 'scores', "),
        ("text", Promise(low=0), ".text.low` = 0: the output is of datatype BYTES, only numbers have a range"),
        ("yes", Promise(high=1), ".yes.high` = 1: the output is of datatype BOOL, only numbers have a range"),
        ("scores", Promise(low=2, high=1), ".scores.low` = 2: it may be at most `high`, which is 1"),
        ("scores", Promise(low=math.nan), ".scores.low` = nan: a bound is a number"),
        ("scores", Promise(high=math.nan), ".scores.high` = nan: a bound is a number"),
        ("scores", Promise(labels=frozenset((1,))), ".scores.labels` = 1: the output is of datatype FP32, only "),
        ("label", Promise(labels=frozenset()), ".label.labels` = []: name at least one label"),
        ("label", Promise(labels=frozenset("a")), ".label.labels`: 'a' is none: labels of datatype INT64 are int"),
        ("label", Promise(labels=frozenset((True,))), ".label.labels`: True is none: labels of datatype INT64 are int"),
        ("small", Promise(labels=frozenset((256,))), ".small.labels`: 256 is none: labels of datatype UINT8 are "),
        ("text", Promise(labels=frozenset((1,))), ".text.labels`: 1 is none: labels of datatype BYTES are text"),
    ],
)  # fmt: skip
def test_a_contract_that_cannot_be_meant_is_refused(output: str, promise: Promise, said: str) -> None:
    """One line that names the key, the value and what is allowed."""
    for check in (
        lambda: check_contract(Contract({output: promise}), SIGNATURE),
        lambda: declared_contract(SIGNATURE, {output: promise}),
    ):
        with pytest.raises(SettingsError) as refused:
            check()
        assert str(refused.value).startswith("model.toml: `contract.outputs" + said)
        assert "\n" not in str(refused.value)


@given(promised())
def test_what_fits_the_datatype_is_taken(made: tuple[Promise, str]) -> None:
    """Whatever promises the properties above are shown with."""
    promise, datatype = made
    declared_contract(Signature((), (TensorSpec("y", datatype, (ANY,)),)), {"y": promise})


def test_labels_fit_into_the_datatype() -> None:
    """The refusal says how far it reaches."""
    with pytest.raises(SettingsError, match=r"256 is none: labels of datatype UINT8 are integers from 0 to 255$"):
        declared_contract(SIGNATURE, {"small": Promise(labels=frozenset((0, 256)))})


def test_large_labels_are_compared_exactly() -> None:
    """UINT64 and small labels have no common integer type: through floats 2^60 + 1 would be 2^60."""
    promise = Promise(labels=frozenset((*range(20), 2**60)))
    assert one(promise, [2**60 + 1] * MANY, np.uint64).startswith(f"output 'y' has {2**60 + 1}, ")
    assert not one(promise, [2**60] * MANY, np.uint64)
