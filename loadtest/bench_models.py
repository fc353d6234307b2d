"""The three models of the benchmark, their requests, and what they must answer.

`tiny` and `mid` are MLPs with ReLU between their layers (about 25 KB and 10 MB of weights), `large` hands a tensor of
602 112 bytes back. Weights and inputs come from fixed seeds: every run, on every machine, asks the same questions.
Further versions, for those who want some, answer otherwise: with other weights, `large` with a multiple.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from router.pb import inference_pb2 as pb

Rows = npt.NDArray[np.float32]

WIDTHS: Final[dict[str, tuple[int, ...]]] = {
    "tiny": (30, 64, 64, 2),
    "mid": (512, 1024, 1024, 1024, 10),
    "value": (512, 1024, 1024, 1024, 1),
    "scores": (8, 64, 960),
}
SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "tiny": (30,), "mid": (512,), "value": (512,), "scores": (8,), "large": (3, 224, 224)
}  # fmt: skip
"""One row of each model's input, without the batch."""

NAMES: Final = ("tiny", "mid", "large")
"""Those of the benchmark. For others: `value`, which answers one number, and `scores`, which answers 3 840 bytes."""
OPSET, IR_VERSION, SEED = 17, 8, 20_240_501
RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""How far an answer may be from a direct run: a batch of 32 adds in another order than a batch of one."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request and the output `y` that a direct run of ONNX Runtime gives for it."""

    request: bytes
    answer: Rows

    def wrong(self, reply: bytes) -> str | None:
        """What is wrong with a serialised ModelInferResponse; None when it is right."""
        response = pb.ModelInferResponse.FromString(reply)
        if len(response.outputs) != 1 or response.outputs[0].name != "y":
            return f"expected the output y, got {[output.name for output in response.outputs]}"
        output = response.outputs[0]
        if output.datatype != "FP32" or tuple(output.shape) != self.answer.shape:
            return f"expected FP32 {self.answer.shape}, got {output.datatype} {tuple(output.shape)}"
        if response.raw_output_contents:
            values = np.frombuffer(response.raw_output_contents[0], "<f4")
        else:
            values = np.array(output.contents.fp32_contents, "<f4")
        if values.size != self.answer.size:
            return f"expected {self.answer.size} values, got {values.size}"
        expected = self.answer.ravel()
        # Asked this way round, what is not a number is not near.
        near = np.abs(values - expected) <= ABSOLUTE + RELATIVE * np.abs(expected)
        if not near.all():
            return f"{values.size - int(near.sum())} of {values.size} values differ from a direct run"
        return None


def make(repository: Path, names: tuple[str, ...] = NAMES, version: str = "1") -> None:
    """Write `<repository>/<name>/<version>/model.onnx` for every name."""
    for name in names:
        path = model_path(repository, name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(_multiple(int(version)) if name == "large" else _mlp(name, int(version)), str(path))


def model_path(repository: Path, name: str, version: str = "1") -> Path:
    """Where a version of a model lies in a repository."""
    return repository / name / version / "model.onnx"


def questions(repository: Path, name: str, count: int) -> list[Question]:
    """`count` different requests of batch 1, with the answers of ONNX Runtime itself."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model_path(repository, name)), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(SEED + 1)
    asked = []
    for _ in range(count):
        rows = random.standard_normal((1, *SHAPES[name]), dtype=np.float32)
        asked.append(Question(request(name, rows), session.run(["y"], {"x": rows})[0]))
    return asked


def request(name: str, rows: Rows) -> bytes:
    """A serialised ModelInferRequest with raw contents."""
    message = pb.ModelInferRequest(model_name=name, id="bench")
    message.inputs.add(name="x", datatype="FP32", shape=rows.shape)
    message.raw_input_contents.append(rows.astype("<f4").tobytes())
    return message.SerializeToString()


def frame(message: bytes) -> bytes:
    """A message as gRPC puts it on the wire: not compressed (0), its length (4 bytes, big-endian), itself."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _mlp(name: str, version: int) -> Any:
    random = np.random.default_rng(SEED if version == 1 else [SEED, version])
    widths = WIDTHS[name]
    nodes, weights, value = [], [], "x"
    last = len(widths) - 2
    for layer, (before, after) in enumerate(pairwise(widths)):
        # He's initialisation keeps the answers near 1 however deep the network is.
        matrix = random.standard_normal((before, after), dtype=np.float32) * np.float32(np.sqrt(2 / before))
        weights += [
            numpy_helper.from_array(matrix, f"w{layer}"),
            numpy_helper.from_array(random.standard_normal(after, dtype=np.float32), f"b{layer}"),
        ]
        out = "y" if layer == last else f"sum{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [out]))
        if layer != last:
            value = f"relu{layer}"
            nodes.append(helper.make_node("Relu", [out], [value]))
    return _model(name, nodes, weights, (widths[0],), (widths[-1],))


def _multiple(of: int) -> Any:
    if of == 1:
        return _model("large", [helper.make_node("Identity", ["x"], ["y"])], [], SHAPES["large"], SHAPES["large"])
    factor = numpy_helper.from_array(np.array(of, np.float32), "factor")
    return _model(
        "large", [helper.make_node("Mul", ["x", "factor"], ["y"])], [factor], SHAPES["large"], SHAPES["large"]
    )


def _model(name: str, nodes: list[Any], weights: list[Any], takes: tuple[int, ...], gives: tuple[int, ...]) -> Any:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *takes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *gives])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
