"""What graphs for the tests are made of: ONNX's own text, and weights that are the same each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
from onnx import numpy_helper

from router.core.tensor import ANY, Signature, TensorSpec

DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
    "tensor(uint8)": "UINT8",
    "tensor(int8)": "INT8",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
}


def weights(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Numbers of a normal distribution, the same for the same shape."""
    return np.random.default_rng(shape).standard_normal(shape).astype(dtype)


def ints(*values: int) -> np.ndarray[Any, Any]:
    """A vector of INT64."""
    return np.array(values, np.int64)


def graph(text: str, opset: int = 18, functions: str = "", **initializers: np.ndarray[Any, Any]) -> onnx.ModelProto:
    """`(inputs) => (outputs) { nodes }` as a model; a scalar INT64 is written as a numpy scalar array."""
    head = (
        f'<ir_version: 8, opset_import: ["": {opset}, "ai.onnx.ml": 3, "com.microsoft": 1, "com.example": 1, "own": 1]>'
    )
    model = onnx.parser.parse_model(f"{head} g {text} {functions}")
    for name, array in initializers.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    """The model loaded on one thread, quiet."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def signature(loaded: ort.InferenceSession) -> Signature:
    """The signature as the runtime states it."""

    def specs(nodes: list[Any]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                node.name,
                DATATYPES[node.type],
                tuple(size if isinstance(size, int) else ANY for size in node.shape),
                tuple(size if isinstance(size, str) else None for size in node.shape),
            )
            for node in nodes
        )

    return Signature(specs(loaded.get_inputs()), specs(loaded.get_outputs()))
