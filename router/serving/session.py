"""One loaded executor of a version: the only place of a worker that knows ONNX Runtime."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime as ort

from router.core.table import Version
from router.core.tensor import ANY, BYTES, DTYPES, TensorSpec
from router.errors import EmptyInput, ModelBroken, ModelFailed
from router.model_settings import CPU

Array = np.ndarray[Any, Any]

_BF16 = np.dtype(ml_dtypes.bfloat16)
_ONNX_BF16 = 16  # TensorProto.DataType.BFLOAT16

ort.set_default_logger_severity(4)


def readable(error: Exception) -> str:
    """What ONNX Runtime says, without its codes, source files and paths."""
    text = str(error).split("Status Message:")[-1]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text.strip())
    text = re.sub(r"(/[^\s:]+)+(:\d+)?( \S+\(.*?\))?", "", text)
    text = re.sub(r"0x[0-9a-fA-F]+", "", text)
    return " ".join(text.split())[:300] or type(error).__name__


def check_providers(providers: Sequence[str]) -> None:
    """Whether all are there; ONNX Runtime would go on without one that is not. Raises ModelBroken."""
    available = ort.get_available_providers()
    for provider in providers:
        if provider not in available:
            raise ModelBroken(
                f"model.toml: `sessions.providers` names {provider[:80]!r}; available here: {', '.join(available)}"
            )


class Session:
    """A version, loaded from its path (never from bytes: that would hold the interpreter's lock).

    Runs are thread-safe and release the lock. Raises ModelBroken when the version cannot be loaded.
    """

    def __init__(self, version: Version, providers: Sequence[str] = (CPU,)) -> None:
        check_providers(providers)
        options = ort.SessionOptions()
        options.intra_op_num_threads = version.intra_op_threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(version.path, options, providers=list(providers))
        except Exception as error:  # ONNX Runtime raises many kinds, some of them bare
            raise ModelBroken(f"ONNX Runtime cannot load it: {readable(error)}") from error
        self._bfloat = any(spec.datatype == "BF16" for spec in (*version.signature.inputs, *version.signature.outputs))
        self._model = version.model

    def stop(self) -> Any:
        """What ends a run at its next node, when its `terminate` is set: for one run, or for several until it is."""
        return ort.RunOptions()

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array], stop: Any = None) -> list[Array]:
        """One run. Raises ModelFailed with what the operator had to say, EmptyInput where it had no rows."""
        try:
            if self._bfloat:
                return self._run_values(outputs, feeds, stop)
            made: list[Array] = self._session.run(outputs, feeds, stop)
        except Exception as error:  # as above
            raise self._failure(feeds, readable(error)) from error
        return made

    def _failure(self, feeds: Mapping[str, Array], why: str) -> ModelFailed:
        for name, array in feeds.items():
            if not array.size:
                shape = list(array.shape)
                return EmptyInput(f"model '{self._model}' cannot run on empty input '{name}', shape {shape}: {why}")
        return ModelFailed(f"model '{self._model}' failed on this input: {why}")

    def _run_values(self, outputs: Sequence[str], feeds: Mapping[str, Array], stop: Any) -> list[Array]:
        """A run of a model that knows BF16, which ONNX Runtime's plain interface to numpy does not."""
        values = {}
        for name, array in feeds.items():
            if array.dtype == _BF16:
                bits = np.ascontiguousarray(array).view(np.uint16)
                values[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _ONNX_BF16)
            else:
                values[name] = ort.OrtValue.ortvalue_from_numpy(array)
        made = self._session.run_with_ort_values(outputs, values, stop)
        return [_bfloats(value) if value.data_type() == "tensor(bfloat16)" else value.numpy() for value in made]


def _bfloats(value: Any) -> Array:
    import ctypes  # noqa: PLC0415  # few models need it

    shape = tuple(value.shape())
    size = int(np.prod(shape, dtype=np.int64)) * 2
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.ndarray(shape, _BF16, raw)


def synthetic(specs: Sequence[TensorSpec], rows: int) -> dict[str, Array]:
    """Zeros (empty texts) that fit the inputs: the first free dimension has `rows`, every other one is 1."""
    feeds = {}
    for spec in specs:
        if spec.optional:
            continue
        shape = tuple(size if size != ANY else (rows if axis == 0 else 1) for axis, size in enumerate(spec.shape))
        if spec.datatype == BYTES:
            feeds[spec.name] = np.full(shape, "", dtype=object)
        else:
            feeds[spec.name] = np.zeros(shape, dtype=DTYPES[spec.datatype])
    return feeds


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library knows how."""
    import ctypes  # noqa: PLC0415  # off the hot path

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
