"""What a model file says of how it is built: the same after another training, another for another graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from router.control.pedigree import pedigree
from tests.control.row_graphs import graph
from tests.control.safe_graphs import SAFE

X = "(float[N,4] x) => (float[N,3] y)"


def built(text: str, scale: float = 1.0, **metadata: str) -> onnx.ModelProto:
    """A graph with a weight of this scale, and metadata."""
    model = graph(f"{X} {text}", w=np.full((4, 3), scale, np.float32))
    for key, value in metadata.items():
        model.metadata_props.add(key=key.replace("_", "."), value=value)
    return model


def structure(model: onnx.ModelProto) -> str:
    """Its digest."""
    return pedigree(model).structure


def test_other_weights_are_the_same_structure() -> None:
    """So are other names of what lies in between, and of the weights."""
    first = built("{ a = MatMul(x, w) y = Relu(a) }")
    assert structure(first) == structure(built("{ a = MatMul(x, w) y = Relu(a) }", 7.0))
    assert structure(first) == structure(built("{ b = MatMul(x, w) y = Relu(b) }"))


def test_another_graph_is_another_structure() -> None:
    """By its operators, their attributes, how they are joined, and the weights' shapes."""
    texts = [
        "{ a = MatMul(x, w) y = Relu(a) }",
        "{ a = MatMul(x, w) y = Tanh(a) }",
        "{ a = MatMul(x, w) b = Relu(a) y = Relu(b) }",
        "{ a = MatMul(x, w) y = LeakyRelu<alpha=0.1>(a) }",
        "{ a = MatMul(x, w) y = LeakyRelu<alpha=0.2>(a) }",
        "{ a = MatMul(x, w) b = Relu(a) y = Add(a, b) }",
        "{ a = MatMul(x, w) b = Relu(a) y = Add(b, b) }",
    ]
    found = {structure(built(text)) for text in texts}
    found.add(structure(graph(f"{X} {{ a = MatMul(x, w) y = Relu(a) }}", w=np.ones((4, 3), np.float64))))
    assert len(found) == len(texts) + 1


def test_subgraphs_count() -> None:
    """What a Loop or an If runs is part of it."""
    models = [SAFE[name]() for name in SAFE]
    assert len({structure(model) for model in models}) > len(models) * 0.8


def test_what_trees_have_learned_does_not() -> None:
    """They keep it in lists among their attributes, as long as it may be."""

    def tree(leaves: int) -> onnx.ModelProto:
        attributes: dict[str, Any] = {
            "nodes_values": [0.5] * leaves,
            "nodes_modes": ["LEAF"] * leaves,
            "n_targets": 1,
        }
        node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
        info = helper.make_tensor_value_info
        made = helper.make_graph([node], "g", [info("x", 1, ["N", 4])], [info("y", 1, ["N", 1])])
        return helper.make_model(made, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)])

    assert structure(tree(5)) == structure(tree(9))


def test_metadata_name_the_parent_and_the_hyperparameters() -> None:
    """Operator sets and nodes are read too; both names of the default domain are one."""
    found = pedigree(built("{ y = MatMul(x, w) }", router_parent="4", router_hyperparameter_alpha="0.1", other="z"))
    assert (found.parent, found.hyperparameters, found.nodes) == ("4", {"alpha": "0.1"}, 1)
    assert found.operators[""] == 18
