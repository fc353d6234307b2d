"""`config.pbtxt`, as repositories made for Triton have it: read as far as it concerns this server, or refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from google.protobuf import text_format

from router.control.artefact import shown
from router.core.tensor import ANY, BYTES
from router.errors import ModelBroken
from router.pb.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelOutput

PBTXT: Final = "config.pbtxt"

_PLATFORMS: Final = frozenset({"", "onnxruntime_onnx", "onnxruntime"})
_BACKENDS: Final = frozenset({"", "onnxruntime"})


@dataclass(frozen=True, slots=True)
class DeclaredTensor:
    """What config.pbtxt says of one tensor. Any of `shapes` will do; `datatype` is empty where it says nothing."""

    name: str
    datatype: str
    shapes: tuple[tuple[int, ...], ...]


def triton_config(text: str, name: str) -> ModelConfig:
    """The file of the model `name`, if it asks for nothing that this server does not do. Raises ModelBroken."""
    config = ModelConfig()
    try:
        text_format.Parse(text, config)
    except (text_format.ParseError, ValueError, RecursionError) as error:
        what = shown(re.sub(r'"(?:\w+\.)*(\w+)"', r"`\1`", str(error)), 200)
        raise ModelBroken(f"{PBTXT} cannot be understood: {what}") from error
    if config.name not in {"", name}:
        raise ModelBroken(f"{PBTXT} names the model `{shown(config.name)}`, its directory `{shown(name)}`")
    for key, value, known in (("platform", config.platform, _PLATFORMS), ("backend", config.backend, _BACKENDS)):
        if value not in known:
            raise ModelBroken(f"{PBTXT}: {key} `{shown(value)}` is not served here; ONNX models are")
    scheduling = config.WhichOneof("scheduling_choice")
    if scheduling not in {None, "dynamic_batching"}:
        raise ModelBroken(f"{PBTXT}: {scheduling} is not offered")
    file = config.default_model_filename
    if file in {".", ".."} or "/" in file or "\0" in file:
        raise ModelBroken(f"{PBTXT}: default_model_filename `{shown(file)}` is not the name of a file")
    if config.max_batch_size < 0:
        raise ModelBroken(f"{PBTXT}: max_batch_size is {config.max_batch_size}; expected 0 or more")
    return config


def tensors(config: ModelConfig | None) -> tuple[tuple[DeclaredTensor, ...], tuple[DeclaredTensor, ...]]:
    """The inputs and outputs that config.pbtxt declares. With a batch size, the batch dimension is left out there."""
    if config is None:
        return (), ()
    batch = (ANY,) if config.max_batch_size > 0 else ()
    return (
        tuple(_declared(tensor, batch) for tensor in config.input),
        tuple(_declared(tensor, batch) for tensor in config.output),
    )


def _declared(tensor: ModelInput | ModelOutput, batch: tuple[int, ...]) -> DeclaredTensor:
    datatype = DataType.Name(tensor.data_type).removeprefix("TYPE_") if tensor.data_type else ""
    shapes = [batch + tuple(tensor.dims)]
    if tensor.HasField("reshape"):
        shapes.append(batch + tuple(tensor.reshape.shape))
    return DeclaredTensor(tensor.name, BYTES if datatype == "STRING" else datatype, tuple(shapes))
