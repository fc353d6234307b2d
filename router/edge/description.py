"""What the protocol says about a model: its metadata and its configuration, made from the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from google.protobuf import text_format

from router.core.table import Route, Version
from router.core.tensor import ANY, BYTES, TensorSpec
from router.pb.inference_pb2 import ModelMetadataResponse
from router.pb.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelInstanceGroup, ModelOutput

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"


def metadata(route: Route, version: Version, versions: Sequence[str]) -> ModelMetadataResponse:
    """The answer to `ModelMetadata`; `versions` are those that can answer."""
    response = ModelMetadataResponse(name=route.model, versions=versions, platform=PLATFORM)
    for spec in version.signature.inputs:
        response.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    for spec in version.signature.outputs:
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return response


def data_type(datatype: str) -> DataType:
    """The configuration's name of a datatype."""
    return cast("DataType", DataType.Value("TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"))


def configuration(version: Version) -> ModelConfig:
    """The answer to `ModelConfig`: what the model's own `config.pbtxt` says, with what the router decided filled in.

    Where `max_batch_size` is above 0 the dimensions leave out the first one, as the protocol's users expect.
    """
    config = ModelConfig()
    if version.declared:
        text_format.Parse(version.declared, config)
    config.name = version.model
    config.platform = PLATFORM
    config.backend = BACKEND
    config.ClearField("input")
    config.ClearField("output")
    joins = version.batching.max_size > 1
    config.max_batch_size = version.batching.max_size if joins else 0
    config.input.extend(
        ModelInput(name=s.name, data_type=data_type(s.datatype), dims=_dims(s, joins), optional=s.optional)
        for s in version.signature.inputs
    )
    config.output.extend(
        ModelOutput(name=s.name, data_type=data_type(s.datatype), dims=_dims(s, joins))
        for s in version.signature.outputs
    )
    if joins:
        config.dynamic_batching.max_queue_delay_microseconds = version.batching.max_wait_us
    if not config.HasField("version_policy"):
        config.version_policy.latest.num_versions = 1
    del config.instance_group[:]
    config.instance_group.add(name=version.model, kind=ModelInstanceGroup.KIND_CPU, count=1)
    config.default_model_filename = config.default_model_filename or "model.onnx"
    return config


def _dims(spec: TensorSpec, without_first: bool) -> tuple[int, ...]:
    dims = spec.shape[1:] if without_first else spec.shape
    return tuple(size if size >= 0 else ANY for size in dims)
