"""A model whose runs take as long as a request says: for overload, slow tails and hangs that are real runs.

`work` INT64[n, 1] → `done` INT64[n, 1] = work × the version's number; the run makes as many products of matrices as its
largest element says, `MOST` at most: who tries what a model does with absurd input is not to wait for ever.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SIZE: Final = 128
"""Of the matrices: one product is some tens of microseconds."""
MOST: Final = 1_000
NAME: Final = "pace"


def make(repository: Path, version: str = "1") -> None:
    """Write a version of `pace` into a repository. Its runs are never joined: each is to take its own time."""
    folder = repository / NAME / version
    folder.mkdir(parents=True)
    onnx.save(_model(int(version)), str(folder / "model.onnx"))
    (repository / NAME / "model.toml").write_text("[batch]\nmax_size = 1\n")


def products_per_second() -> float:
    """How many of its products one core of this machine makes in a second, now."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(_model(1).SerializeToString(), options, providers=["CPUExecutionProvider"])
    count = 200
    feeds = {"work": np.full((1, 1), count, np.int64)}
    session.run(None, feeds)
    began = time.perf_counter()
    session.run(None, feeds)
    return count / (time.perf_counter() - began)


def _model(version: int) -> Any:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "eye"], ["next"]),
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
        ],
        "one",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [SIZE, SIZE]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [SIZE, SIZE]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["work"], ["asked"], keepdims=0),
        helper.make_node("Min", ["asked", "most"], ["turns"]),
        helper.make_node("Loop", ["turns", "yes", "eye"], ["last"], body=body),
        # The result must depend on the work, or it would be left out.
        helper.make_node("ReduceMax", ["last"], ["one_"], keepdims=0),
        helper.make_node("Cast", ["one_"], ["one"], to=TensorProto.INT64),
        helper.make_node("Mul", ["version", "one"], ["times"]),
        helper.make_node("Mul", ["work", "times"], ["done"]),
    ]
    weights = [
        numpy_helper.from_array(np.eye(SIZE, dtype=np.float32), "eye"),
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.array(MOST), "most"),
        numpy_helper.from_array(np.array(version), "version"),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("work", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor_value_info("done", TensorProto.INT64, ["n", 1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
