"""ONNX models made for tests: slow ones, and broken ones."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def save(model: onnx.ModelProto, repository: Path, name: str, version: int = 1, toml: str = "") -> Path:
    """Write a model into a repository, whole at once; the version's directory."""
    directory = repository / name / str(version)
    fresh = repository / f".{name}-{version}"
    fresh.mkdir(parents=True)
    onnx.save(model, fresh / "model.onnx")
    if toml:
        (repository / name).mkdir(exist_ok=True)
        (repository / name / "model.toml").write_text(toml)
    directory.parent.mkdir(exist_ok=True)
    fresh.rename(directory)
    return directory


def slow(layers: int, size: int = 512) -> onnx.ModelProto:
    """x FP32[n, 1] → y FP32[n, 1] = x, by way of `layers` products of size × size matrices for each run.

    The size of the batch changes nothing: the products are those of a constant, made at run time.
    """
    matrix = numpy_helper.from_array(np.full((size, size), 1.0 / size, np.float32), "matrix")
    nodes = [
        # Something that depends on the input, so that nothing is folded at load.
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nought"]),
        helper.make_node("Add", ["matrix", "nought"], ["m0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"m{layer}", "matrix"], [f"m{layer + 1}"]) for layer in range(layers)]
    nodes += [
        helper.make_node("ReduceMax", [f"m{layers}"], ["last"], keepdims=0),
        helper.make_node("Mul", ["last", "zero"], ["none"]),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [matrix, numpy_helper.from_array(np.float32(0), "zero")],
    )
    return _model(graph)


def lasting(seconds: float, size: int = 512) -> onnx.ModelProto:
    """x FP32[n, 1] → y FP32[n, 1] = x; a run takes about so long on the machine that asks, if the largest x is a whole
    number from 600 to 1000, and no time otherwise: trials and gates are not held up.
    """
    sample = 20
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(_on_demand(sample, size).SerializeToString(), options, ["CPUExecutionProvider"])
    x = {"x": np.full((1, 1), 666, np.float32)}
    session.run(None, x)
    began = time.monotonic()
    session.run(None, x)
    return _on_demand(max(1, round(seconds / (time.monotonic() - began) * sample)), size)


def _on_demand(products: int, size: int) -> onnx.ModelProto:
    """So many products of matrices where the input asks for them."""
    constants = {
        "matrix": np.full((size, size), 1.0 / size, np.float32),
        "zero": np.float32(0),
        "least": np.float32(600),
        "thousand": np.float32(1000),
        "products": np.int64(products),
        "yes": np.array(True),
    }
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "matrix"], ["next"]),
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
        ],
        "one_product",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [size, size]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Floor", ["most"], ["floor"]),
        helper.make_node("Equal", ["most", "floor"], ["whole"]),
        helper.make_node("GreaterOrEqual", ["most", "least"], ["enough"]),
        helper.make_node("LessOrEqual", ["most", "thousand"], ["within"]),
        helper.make_node("And", ["whole", "enough"], ["asked"]),
        helper.make_node("And", ["asked", "within"], ["asks"]),
        helper.make_node("Cast", ["asks"], ["times"], to=TensorProto.INT64),
        helper.make_node("Mul", ["times", "products"], ["turns"]),
        helper.make_node("Loop", ["turns", "yes", "matrix"], ["last"], body=body),
        # The result must depend on the work, or it would be left out.
        helper.make_node("ReduceMax", ["last"], ["result"], keepdims=0),
        helper.make_node("Mul", ["result", "zero"], ["none"]),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lasting",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return _model(graph)


def scale(factor: float) -> onnx.ModelProto:
    """x FP32[n] → y FP32[n] = factor · x."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.float32(factor), "factor")],
    )
    return _model(graph)


def unknown_operator() -> onnx.ModelProto:
    """A model with an operator that nobody has."""
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["x"], ["y"])],
        "unknown",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    return _model(graph)


def picky() -> onnx.ModelProto:
    """x FP32[n], i INT64[1] → y: the element of x at i; fails at run time where there is none."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "i"], ["y"])],
        "picky",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("i", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    return _model(graph)


def escaping(target: str) -> onnx.ModelProto:
    """A model whose weights lie in a file outside of its directory."""
    weights = numpy_helper.from_array(np.ones(1024, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "escaping",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1024])],
        [weights],
    )
    tensor = graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=target)
    return _model(graph)


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
