"""Which requests fit a model, and what callers are told of those that do not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.request import MAX_EMPTY, MAX_RANK, Checked, Header, InputHeader, check, expected
from router.core.tensor import ANY, DTYPES, Signature, TensorSpec
from router.errors import InvalidRequest

X = TensorSpec("x", "FP32", (ANY, 3), ("N", None))
IDS = TensorSpec("ids", "INT64", (ANY,), ("N",))
MASK = TensorSpec("mask", "BOOL", (ANY, 2), ("N", None), optional=True)
SCALE = TensorSpec("scale", "FP64", ())
TEXT = TensorSpec("text", "BYTES", (ANY, ANY), ("T", "T"))
Y = TensorSpec("y", "FP32", (ANY, 1))
Z = TensorSpec("z", "BYTES", (ANY,))


def checked(
    inputs: list[tuple[str, str, tuple[int, ...]]],
    specs: tuple[TensorSpec, ...],
    outputs: tuple[str, ...] = (),
) -> Checked:
    """What `check` makes of a request with these inputs."""
    header = Header("m", "", tuple(InputHeader(*each) for each in inputs), outputs)
    return check(header, Signature(specs, (Y, Z)))


def refusal(
    inputs: list[tuple[str, str, tuple[int, ...]]], specs: tuple[TensorSpec, ...], outputs: tuple[str, ...] = ()
) -> str:
    """The text of the refusal."""
    with pytest.raises(InvalidRequest) as refused:
        checked(inputs, specs, outputs)
    assert len(str(refused.value)) < 1500
    return str(refused.value)


def test_inputs_are_put_in_the_models_order() -> None:
    """Each feed knows the place of its elements among the request's and how many bytes they are."""
    fit = checked([("ids", "INT64", (4,)), ("x", "FP32", (4, 3))], (X, IDS, MASK))
    assert [(feed.name, feed.position, feed.shape, feed.nbytes) for feed in fit.feeds] == [
        ("x", 1, (4, 3), 48),
        ("ids", 0, (4,), 32),
    ]
    assert fit.outputs == (Y, Z)
    assert fit.rows == 4


def test_outputs_are_given_in_the_callers_order() -> None:
    """All in the model's order when none is named."""
    assert checked([("ids", "INT64", (1,))], (IDS,), ("z", "y")).outputs == (Z, Y)
    assert checked([("ids", "INT64", (1,))], (IDS,), ("z",)).outputs == (Z,)


def test_sizes_that_the_request_fixes_are_expected_of_its_outputs() -> None:
    """By their symbols, and by rows where they are independent; other sizes stay free."""
    outputs = (TensorSpec("p", "FP32", (ANY, ANY, 3), ("N", "other", None)), TensorSpec("q", "FP32", (ANY,)))
    signature = Signature((X, IDS), outputs)
    header = Header("m", "", (InputHeader("x", "FP32", (4, 3)), InputHeader("ids", "INT64", (4,))), ())
    fit = check(header, signature)
    assert [spec.shape for spec in expected(fit, signature, rows=False)] == [(4, ANY, 3), (ANY,)]
    assert [spec.shape for spec in expected(fit, signature, rows=True)] == [(4, ANY, 3), (4,)]


def test_no_rows_are_not_the_same_as_no_shared_dimension() -> None:
    """0 is a number of rows; None means that there is nothing to count."""
    free = TensorSpec("free", "FP32", (ANY, ANY))
    other = TensorSpec("other", "FP32", (ANY, ANY))
    assert checked([("free", "FP32", (0, 2))], (free,)).rows == 0
    assert checked([("free", "FP32", (0, 2)), ("other", "FP32", (0, 1))], (free, other)).rows == 0
    assert checked([("free", "FP32", (2, 2)), ("other", "FP32", (3, 1))], (free, other)).rows is None
    assert checked([("free", "FP32", (0, 2)), ("scale", "FP64", ())], (free, SCALE)).rows is None
    assert checked([("scale", "FP64", ())], (SCALE,)).rows is None
    assert checked([], (MASK,)).rows is None


@pytest.mark.parametrize(
    ("inputs", "specs", "text"),
    [
        ([("q", "FP32", (1, 3))], (X,), "unknown input 'q'; the model takes 'x'"),
        ([("q", "FP32", (1, 3))], (), "unknown input 'q'; the model takes no inputs"),
        ([], (X,), "input 'x' is missing (FP32 [-1,3])"),
        ([("x", "FP32", (1, 3)), ("x", "FP32", (1, 3))], (X,), "input 'x' is given twice"),
        ([("x", "FP64", (1, 3))], (X,), "input 'x' has datatype 'FP64', the model takes FP32"),
        (
            [("x", "float", (1, 3))],
            (X,),
            "input 'x' has datatype 'float' (which is no datatype of the protocol), the model takes FP32",
        ),
        (
            [("x", "FP32", (1, 4))],
            (X,),
            "input 'x' has shape [1,4], the model takes [-1,3] (-1: any size)",
        ),
        ([("x", "FP32", (3,))], (X,), "input 'x' has shape [3], the model takes [-1,3] (-1: any size)"),
        ([("scale", "FP64", (1,))], (SCALE,), "input 'scale' has shape [1], the model takes []"),
        ([("x", "FP32", (-1, 3))], (X,), "input 'x' has shape [-1,3]: a size cannot be negative"),
        (
            [("x", "FP32", (2, 3)), ("ids", "INT64", (3,))],
            (X, IDS),
            "inputs 'x' and 'ids' share the dimension 'N', but it is 2 in the one and 3 in the other",
        ),
        (
            [("text", "BYTES", (2, 3))],
            (TEXT,),
            "input 'text' has shape [2,3]: its dimensions 'T' must have one size",
        ),
        ([("x", "FP32", (1,) * 33)], (X,), "input 'x' has 33 dimensions, at most 32 are served"),
        (
            [("text", "BYTES", (2**40, 0))],
            (TensorSpec("text", "BYTES", (ANY, ANY)),),
            f"input 'text' has shape [{2**40},0]: the other sizes of an empty tensor must multiply to at most 16777216",
        ),
    ],
)
def test_a_refusal_names_the_tensor_what_was_expected_and_what_came(
    inputs: list[tuple[str, str, tuple[int, ...]]], specs: tuple[TensorSpec, ...], text: str
) -> None:
    """The texts that callers read."""
    assert refusal(inputs, specs) == text


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        (("w",), "unknown output 'w'; the model gives 'y', 'z'"),
        (("y", "y"), "output 'y' is asked for twice"),
    ],
)
def test_outputs_are_checked_too(outputs: tuple[str, ...], text: str) -> None:
    """Unknown and repeated outputs are refused."""
    assert refusal([], (), outputs) == text


def test_symbols_of_a_missing_optional_input_bind_nothing() -> None:
    """An optional input may be left out; when it is there, it has to agree with the others."""
    assert checked([("x", "FP32", (5, 3))], (X, MASK)).rows == 5
    assert checked([("x", "FP32", (5, 3)), ("mask", "BOOL", (5, 2))], (X, MASK)).rows == 5
    assert "'N'" in refusal([("x", "FP32", (5, 3)), ("mask", "BOOL", (4, 2))], (X, MASK))


def test_a_callers_long_words_are_cut() -> None:
    """Names and datatypes of any length leave a text that fits into a gRPC status."""
    long = "n" * 100_000
    refusal([(long, "FP32", (1, 3))], (X,))
    refusal([("x", long, (1, 3))], (X,))
    refusal([("x", "FP32", (2**63 - 1,) * MAX_RANK)], (X,))
    refusal([("x", "FP32", (-(2**63),) * MAX_RANK)], (X,))
    refusal([("x", "FP32", (1,) * 100_000)], (X,))
    refusal([("x", "FP32", (1, 3))], (X,), (long,))


def test_the_bytes_of_a_huge_shape_do_not_overflow() -> None:
    """The product of sizes is exact, so that no caller gets along with few bytes for a shape that wraps around."""
    spec = TensorSpec("x", "FP64", (ANY, ANY, ANY))
    assert checked([("x", "FP64", (2**62, 2**62, 4))], (spec,)).feeds[0].nbytes == 2**129


SIZES = st.integers(-2, 4) | st.sampled_from([2**31, 2**63 - 1])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_request_is_taken_exactly_if_every_rule_holds(data: st.DataObject) -> None:
    """Any signature and any request, most of them near misses, against the rules written down independently."""
    names = ["a", "b", "c"]
    specs = []
    for name in data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True)):
        shape = tuple(data.draw(st.lists(st.sampled_from([ANY, ANY, 0, 2]), max_size=3)))
        symbols = tuple(data.draw(st.sampled_from([None, "N", "M"])) if size == ANY else None for size in shape)
        datatype = data.draw(st.sampled_from(["FP32", "BYTES"]))
        specs.append(TensorSpec(name, datatype, shape, symbols, data.draw(st.booleans())))
    inputs: list[tuple[str, str, tuple[int, ...]]] = []
    for spec in specs:
        if data.draw(st.integers(0, 9)) == 0:
            continue
        fitting: Any = tuple(size if size != ANY else data.draw(st.integers(0, 2)) for size in spec.shape)
        if data.draw(st.integers(0, 7)) == 0:
            fitting = tuple(data.draw(st.lists(SIZES, max_size=3)))
        datatype = spec.datatype if data.draw(st.integers(0, 15)) else data.draw(st.sampled_from([*DTYPES, "", "é"]))
        inputs.append((spec.name, datatype, fitting))
    if data.draw(st.integers(0, 7)) == 0:
        inputs.append((data.draw(st.sampled_from([*names, "d"])), "FP32", ()))
    inputs = data.draw(st.permutations(inputs))
    outputs = tuple(data.draw(st.lists(st.sampled_from(["y", "y", "z", "w"]), max_size=2)))

    by_name = {spec.name: spec for spec in specs}
    given_names = [name for name, _, _ in inputs]
    fits = (
        len(set(given_names)) == len(given_names)
        and set(given_names) <= set(by_name)
        and all(spec.optional or spec.name in given_names for spec in specs)
        and len(set(outputs)) == len(outputs)
        and set(outputs) <= {"y", "z"}
    )
    bound: dict[str, set[int]] = {}
    for name, datatype, shape in inputs if fits else ():
        spec = by_name[name]
        fits = fits and datatype == spec.datatype and len(shape) == len(spec.shape)
        for size, want, symbol in zip(shape, spec.shape, spec.symbols, strict=False):
            fits = fits and size >= 0 and want in {ANY, size}
            if symbol:
                bound.setdefault(symbol, set()).add(size)
        empty = 0 in shape and math.prod(size for size in shape if size) > MAX_EMPTY
        fits = fits and not empty
    fits = fits and all(len(sizes) == 1 for sizes in bound.values())

    if not fits:
        refusal(inputs, tuple(specs), outputs)
        return
    fit = checked(inputs, tuple(specs), outputs)
    assert [feed.name for feed in fit.feeds] == [spec.name for spec in specs if spec.name in given_names]
    for feed in fit.feeds:
        assert inputs[feed.position] == (feed.name, feed.datatype, feed.shape)
        assert feed.nbytes == (-1 if feed.datatype == "BYTES" else math.prod(feed.shape) * 4)
    firsts = {shape[0] if shape else None for _, _, shape in inputs}
    assert fit.rows == (firsts.pop() if len(firsts) == 1 else None)
    assert tuple(spec.name for spec in fit.outputs) == (outputs or ("y", "z"))
