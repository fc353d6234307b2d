"""What a version takes and gives, as its graph and its loaded session declare it."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Final

import numpy as np

from router.control import artefact
from router.core.tensor import ANY, BYTES, Signature, TensorSpec
from router.errors import ModelBroken

_DATATYPES: Final = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float": "FP32",
    "double": "FP64",
    "string": BYTES,
}
"""The runtime's `tensor(...)` types in the protocol's words."""

_ELEMENTS: Final = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "double", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
}  # fmt: skip
"""TensorProto.DataType in the runtime's words."""


def check_types(model: Any) -> None:
    """Whether the protocol can carry what goes in and out. Raises ModelBroken that names the tensor."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    for side, infos in (("input", model.graph.input), ("output", model.graph.output)):
        for info in infos:
            if side == "input" and info.name in defaults:
                continue  # it need not be given: left out of the signature if the protocol cannot carry it
            kind = info.type.WhichOneof("value")
            if kind is None:
                continue  # not declared: the runtime finds out
            if kind != "tensor_type":
                _refuse(side, info.name, kind.removesuffix("_type").replace("_", " "))
            number = info.type.tensor_type.elem_type
            if number and (element := _ELEMENTS.get(number, f"number {number}")) not in _DATATYPES:
                _refuse(side, info.name, element)


def _refuse(side: str, name: str, what: str) -> None:
    raise ModelBroken(f"{side} `{artefact.shown(name)}` is of type {what}, which the protocol cannot carry")


def declared(session: Any, model: Any) -> tuple[Signature, list[str]]:
    """What the session says, and the names of the outputs whose number of dimensions nobody says."""
    silent = {
        info.name for info in (*model.graph.input, *model.graph.output) if not info.type.tensor_type.HasField("shape")
    }
    inputs = [_spec("input", node) for node in session.get_inputs()]
    for spec in inputs:
        if spec.name in silent and not spec.shape:
            raise ModelBroken(f"input `{artefact.shown(spec.name)}` does not say how many dimensions it has")
    for node in session.get_overridable_initializers():
        with contextlib.suppress(ModelBroken):
            inputs.append(_spec("input", node, optional=True))
    outputs = [_spec("output", node) for node in session.get_outputs()]
    unranked = [spec.name for spec in outputs if spec.name in silent and not spec.shape]
    return Signature(tuple(inputs), tuple(outputs)), unranked


def _spec(side: str, node: Any, *, optional: bool = False) -> TensorSpec:
    found = re.fullmatch(r"tensor\((\w+)\)", node.type)
    if found is None or found[1] not in _DATATYPES:
        _refuse(side, node.name, node.type)
    assert found is not None
    sizes = [size if isinstance(size, int) and size >= 0 else ANY for size in node.shape]
    symbols = [size if isinstance(size, str) and size else None for size in node.shape]
    return TensorSpec(node.name, _DATATYPES[found[1]], tuple(sizes), tuple(symbols), optional)


def with_ranks(signature: Signature, unranked: list[str], outputs: list[np.ndarray[Any, Any]]) -> Signature:
    """Outputs of an unknown number of dimensions get that of the trial run, each of any size."""
    specs = []
    for spec, output in zip(signature.outputs, outputs, strict=True):
        rank = np.ndim(output)
        free = TensorSpec(spec.name, spec.datatype, (ANY,) * rank, (None,) * rank)
        specs.append(free if spec.name in unranked else spec)
    return Signature(signature.inputs, tuple(specs))
