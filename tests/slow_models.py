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


def lasting(seconds: float) -> onnx.ModelProto:
    """`slow`, with so many layers that a run takes about this long on the machine that asks."""
    sample = 20
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(slow(sample).SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = {"x": np.ones((1, 1), np.float32)}
    session.run(None, x)
    began = time.monotonic()
    session.run(None, x)
    return slow(max(1, round(seconds / (time.monotonic() - began) * sample)))


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
