"""Which graphs keep rows apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException

from router.control.rows import independent
from router.control.trial_rows import agree
from tests.control.row_graphs import graph, ints, session, signature, weights
from tests.control.safe_graphs import SAFE, nameless
from tests.control.unsafe_graphs import UNSAFE

Build = Callable[[], onnx.ModelProto]

ONLY_BY_NAME = {"the batch in two dimensions"}
"""Refused for what the names say; without them their rows are independent."""


@pytest.mark.parametrize("build", UNSAFE.values(), ids=UNSAFE.keys())
def test_rows_that_reach_each_other_are_never_called_independent(build: Build) -> None:
    """A graph with a cross-row effect gets a reason, in one line."""
    why = independent(build())
    assert why
    assert "\n" not in why


@pytest.mark.parametrize("name", sorted(set(UNSAFE) - ONLY_BY_NAME))
def test_graphs_that_mix_rows_are_refused_without_names_too(name: str) -> None:
    """What an exporter left unnamed is judged by the graph alone: rows that meet are found all the same."""
    assert independent(nameless(UNSAFE[name]())) != ""


@pytest.mark.parametrize("build", SAFE.values(), ids=SAFE.keys())
def test_graphs_that_exporters_write_are_shown_to_be_independent(build: Build) -> None:
    """A common graph whose rows stay apart is not refused."""
    assert independent(build()) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("softmax over rows", "Softmax works over the batch axis at node 0 (Softmax)"),
        ("a fixed count of rows", "input `x` has a fixed first dimension"),
        (
            "two inputs of different batches",
            "the first dimensions of input `x` and input `z` have different names, N and M",
        ),
        ("operator nobody knows", "operator Mystery is not known to keep rows apart at node 0 (Mystery)"),
        ("one noise for all", "operator RandomNormal is not known to keep rows apart at node 0 (RandomNormal)"),
        (
            "divided by the count of rows",
            "the size of the batch is turned into another kind of number at node 2 (Cast)",
        ),
    ],
)
def test_the_reason_names_what_and_where(name: str, reason: str) -> None:
    """A person reads which operator, at which node, or which input."""
    assert independent(UNSAFE[name]()) == reason


def test_a_named_node_is_called_by_its_name() -> None:
    """The reason holds the name that the model gives to the node."""
    model = UNSAFE["softmax over rows"]()
    model.graph.node[0].name = "head/softmax"
    assert independent(model) == "Softmax works over the batch axis at node `head/softmax`"


def test_the_model_is_left_as_it_was() -> None:
    """Looking at a model does not change it."""
    model = SAFE["a function"]()
    before = model.SerializeToString()
    independent(model)
    assert model.SerializeToString() == before


def test_weights_in_files_of_their_own_are_not_read() -> None:
    """The answer does not need the values of large weights, nor their files."""
    model = graph("(float[N,4] x) => (float[N,99] y) { y = MatMul(x, w) }", w=weights(4, 99))
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="nowhere.bin")
    assert independent(model) == ""


def test_shapes_that_a_model_claims_for_its_own_tensors_are_not_believed() -> None:
    """A false note that a merged axis is no batch does not help it."""
    model = graph(
        "(float[N,4] x) => (float[N,4] y) { r = Reshape(x, s) m = Softmax(r) y = Reshape(m, t) }",
        s=ints(-1, 8),
        t=ints(-1, 4),
    )
    model.graph.value_info.append(helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, ["N", 8]))
    assert independent(model) == "Reshape to a shape in which the batch has no axis of its own at node 0 (Reshape)"


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: model.graph.node[0].ClearField("input"),
        lambda model: model.graph.node[0].input.__setitem__(0, "nowhere"),
        lambda model: model.graph.ClearField("input"),
        lambda model: model.graph.ClearField("node"),
        lambda model: model.ClearField("opset_import"),
        lambda model: model.opset_import[0].__setattr__("version", 6),
        lambda model: model.opset_import[0].__setattr__("version", 99),
    ],
    ids=["no operand", "unknown operand", "no input", "no node", "no opset", "old opset", "new opset"],
)
def test_a_damaged_graph_gets_a_reason(damage: Callable[[onnx.ModelProto], Any]) -> None:
    """A graph that cannot be understood is not batched, and nothing is raised."""
    model = graph("(float[N,4] x) => (float[N,4] y) { c = Cast<to=7>(x) y = Cast<to=1>(c) }")
    damage(model)
    assert independent(model)


def test_a_graph_that_contradicts_itself_does_not_end_the_process() -> None:
    """An Expand to a negative size that a later Slice reads is refused, not handed to code that aborts on it."""
    model = graph(
        "(float[N,3,4] x) => (float[N,3,4] y) { n = Shape<end=1>(x) s = Concat<axis=0>(n, c) e = Expand(x, s)"
        " y = Slice(e, z, l, a) }",
        c=ints(-1, 1),
        z=ints(0),
        l=ints(2**40),
        a=ints(1),
    )
    assert independent(model) == "Expand to a shape that is not known at node 2 (Expand)"


def test_a_function_of_another_operator_set_is_read_by_its_own_rules_or_refused() -> None:
    """Softmax from axis 1 covers all later axes before operator set 13, whatever the model itself imports."""
    model = graph(
        "(float[N,4,3] x) => (float[N,4,3] y) { t = Transpose<perm=[1,0,2]>(x) s = own.old(t)"
        " y = Transpose<perm=[1,0,2]>(s) }",
        functions='<domain: "own", opset_import: ["": 11]> old (a) => (b) { b = Softmax<axis=1>(a) }',
    )
    assert independent(model)


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Random operators one after another, over all axes, with shapes by constants and by Shape."""
    nodes: list[onnx.NodeProto] = []
    initializers: dict[str, np.ndarray[Any, Any]] = {}
    ranks = {"x": 3}

    def add(operator: str, inputs: list[str], rank: int, outputs: int = 1, **attributes: Any) -> str:
        names = [f"t{len(nodes)}_{index}" for index in range(outputs)]
        nodes.append(helper.make_node(operator, inputs, names, **attributes))
        ranks.update(dict.fromkeys(names, rank))
        return names[0]

    def constant(array: Any) -> str:
        name = f"c{len(initializers)}"
        initializers[name] = np.asarray(array)
        return name

    def axis(rank: int) -> int:
        return draw(st.integers(-rank, rank - 1))

    def shape(name: str, rank: int) -> str:
        places = constant(np.array(draw(st.permutations(range(rank)))[: draw(st.integers(1, rank))], np.int64))
        sizes = "s" + name
        nodes.append(helper.make_node("Shape", [name], [sizes + str(len(nodes))]))
        picked = f"p{len(nodes)}"
        nodes.append(helper.make_node("Gather", [nodes[-1].output[0], places], [picked]))
        rest = constant(ints(*draw(st.lists(st.sampled_from([-1, 1, 2, 4]), max_size=2))))
        joined = f"j{len(nodes)}"
        nodes.append(helper.make_node("Concat", [picked, rest], [joined], axis=0))
        ranks[joined] = len(initializers[places]) + len(initializers[rest])
        return joined

    last = "x"
    for _ in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from([last, last, last, *[name for name in ranks if name[0] in "xt"]]))
        rank = ranks[source]
        if rank == 0:
            source, rank = "x", 3
        kind = draw(st.sampled_from(OPERATORS))
        match kind:
            case "Transpose":
                last = add(kind, [source], rank, perm=draw(st.permutations(range(rank))))
            case "Softmax" | "LpNormalization":
                last = add(kind, [source], rank, axis=axis(rank))
            case "ReduceSum" | "ReduceMax" | "ReduceMean":
                keep = draw(st.booleans())
                last = add(kind, [source, constant(ints(axis(rank)))], rank if keep else rank - 1, keepdims=int(keep))
            case "CumSum":
                last = add(kind, [source, constant(np.int64(axis(rank)))], rank)
            case "Reshape":
                target = draw(
                    st.sampled_from(
                        [
                            (-1,),
                            (0, -1),
                            (-1, 4),
                            (-1, 12),
                            (3, -1),
                            (0, 0, -1),
                            (-1, 3, 4),
                            (-1, 2),
                            (4, -1, 3),
                            (2, -1),
                            (-1, 6),
                            (0, 4, 3),
                            (1, -1, 4),
                        ]
                    )
                )
                last = add(kind, [source, constant(ints(*target))], len(target))
            case "ReshapeByShape":
                other = draw(st.sampled_from(["x", source]))
                sizes = shape(other, ranks[other])
                last = add("Reshape", [source, sizes], ranks[sizes])
            case "Expand":
                sizes = shape("x", 3)
                last = add("Expand", [source, sizes], max(rank, ranks[sizes]))
            case "Flatten":
                last = add(kind, [source], 2, axis=draw(st.integers(0, rank)))
            case "Concat":
                last = add(kind, [source, source], rank, axis=axis(rank))
            case "Unsqueeze":
                last = add(kind, [source, constant(ints(axis(rank + 1)))], rank + 1)
            case "Squeeze":
                last = add(kind, [source, constant(ints(axis(rank)))], rank - 1)
            case "Gather":
                many = draw(st.booleans())
                places = constant(ints(0, 0) if many else np.int64(0))
                last = add(kind, [source, places], rank if many else rank - 1, axis=axis(rank))
            case "Slice":
                start, end, step = draw(
                    st.sampled_from([(0, 2, 1), (1, 99, 1), (0, 2**40, 1), (-1, -99, -1), (0, -1, 1)])
                )
                last = add(kind, [source, *(constant(ints(item)) for item in (start, end, axis(rank), step))], rank)
            case "Tile":
                last = add(kind, [source, constant(ints(*draw(st.permutations([2] + [1] * (rank - 1)))))], rank)
            case "Pad":
                last = add(kind, [source, constant(ints(*draw(st.permutations([1] + [0] * (2 * rank - 1)))))], rank)
            case "TopK":
                last = add(kind, [source, constant(ints(1))], rank, outputs=2, axis=axis(rank))
                del ranks[nodes[-1].output[1]]
            case "Split":
                last = add(kind, [source], rank, outputs=2, axis=axis(rank), num_outputs=2)
            case "Add" | "MatMul" | "Mul":
                other = draw(st.sampled_from([name for name in ranks if name[0] in "xt"]))
                last = add(kind, draw(st.permutations([source, other])), max(rank, ranks[other]))
                if kind == "MatMul" and 1 in {rank, ranks[other]}:
                    ranks[last] = max(rank, ranks[other]) - 1
            case "AddConstant":
                sizes = draw(st.sampled_from([(4,), (3, 1), (1,), (3, 4), (1, 3, 4), (12,), (2, 1, 1, 1)]))
                last = add("Add", draw(st.permutations([source, constant(weights(*sizes))])), max(rank, len(sizes)))
            case "Einsum":
                equation = draw(
                    st.sampled_from(["...a->...", "...ab->...ba", "a...->a", "...ab->...b", "ab...,ac...->cb"])
                )
                operands = [source] * (1 + equation.count(","))
                last = add(
                    kind,
                    operands,
                    {"a...->a": 1, "ab...,ac...->cb": 2}.get(equation, rank - (equation != "...ab->...ba")),
                    equation=equation,
                )
    if ranks[last] < 1:
        last = "x"
    sizes = ["N", *(f"d{place}" for place in range(ranks[last] - 1))]
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, sizes)],
        [onnx.numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


OPERATORS = (
    *("Transpose", "Softmax", "LpNormalization", "ReduceSum", "ReduceMax", "ReduceMean", "CumSum", "Reshape"),
    *("ReshapeByShape", "Expand", "Flatten", "Concat", "Unsqueeze", "Squeeze", "Gather", "Slice", "Tile", "Pad"),
    *("TopK", "Split", "Add", "MatMul", "Mul", "AddConstant", "Einsum", "Transpose", "Reshape"),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(graphs())
def test_what_the_rules_call_independent_agrees_in_trial_runs(model: onnx.ModelProto) -> None:
    """Soundness: no random graph that the rules accept has a row that changes with its neighbours."""
    if independent(model):
        return
    try:
        loaded = session(model)
    except (Fail, InvalidArgument, InvalidGraph, RuntimeException):  # the graph contradicts itself
        event("not loaded")
        return
    why = agree(lambda feeds: loaded.run(None, feeds), signature(loaded))
    event("agreed" if not why else "no run")
    assert why == "" or (why.startswith("trial runs failed") and "ONNXRuntimeError" in why)
