"""A model of 300 MB whose runs are short: what it costs to load, to swap and to let go shows beside small models.

`at` INT64[n, 1] → `y` FP32[n, 8]: the row of a table at that place (wherever the number points, it is taken modulo the
table's length), multiplied by a small matrix. Each version has weights of its own, so that an answer of another one is
seen to be wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS: Final = 1_200_000
"""Of the table: 307 MB with its `WIDTH` numbers a row."""
WIDTH: Final = 64
GIVES: Final = 8
SEED: Final = 5_300
NAME: Final = "heavy"


def make(repository: Path, version: str, rows: int = ROWS) -> None:
    """Write one version into a repository: a second or two, and as much disk as the table has bytes."""
    folder = repository / NAME / version
    folder.mkdir(parents=True)
    onnx.save(_model(int(version), rows), str(folder / "model.onnx"))


def _model(version: int, rows: int) -> Any:
    random = np.random.default_rng([SEED, version])
    weights = [
        numpy_helper.from_array(random.standard_normal((WIDTH, GIVES), np.float32), "mix"),
        numpy_helper.from_array(np.array(rows), "rows"),
        numpy_helper.from_array(np.array([1]), "columns"),
    ]
    nodes = [
        helper.make_node("Mod", ["at", "rows"], ["place"]),  # with the divisor's sign: never below 0
        helper.make_node("Squeeze", ["place", "columns"], ["places"]),
        helper.make_node("Gather", ["table", "places"], ["row"]),
        helper.make_node("MatMul", ["row", "mix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("at", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", GIVES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    # Put in at the end: the helpers copy what they are given, and so many bytes take their time.
    table = model.graph.initializer.add(name="table", data_type=TensorProto.FLOAT, dims=(rows, WIDTH))
    table.raw_data = random.random((rows, WIDTH), np.float32).tobytes()
    return model
