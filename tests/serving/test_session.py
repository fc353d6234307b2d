"""ONNX Runtime behind the one class that knows it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from router.core.table import Version, VersionState
from router.core.tensor import ANY, DTYPES, Signature, TensorSpec
from router.errors import EmptyInput, ModelBroken, ModelFailed, Status
from router.serving.session import Session, give_back_memory, synthetic

TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def identity(directory: Path, datatype: str) -> Version:
    """A version that gives back what it gets, of rows of two."""
    kind = TYPES[datatype]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", kind, ["N", 2])],
        [helper.make_tensor_value_info("y", kind, ["N", 2])],
    )
    path = directory / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    spec = TensorSpec("x", datatype, (ANY, 2))
    signature = Signature((spec,), (TensorSpec("y", datatype, (ANY, 2)),))
    return Version("m", "1", "digest", str(path), VersionState.READY, signature=signature)


def array_of(datatype: str) -> np.ndarray[Any, Any]:
    """Two rows."""
    if datatype == "BYTES":
        return np.array([["", "größe"], ["a\0", "b"]], object)
    return np.array([[0, 1], [1, 0]]).astype(DTYPES[datatype])


@pytest.mark.parametrize("datatype", TYPES)
def test_every_datatype_survives_a_run(tmp_path: Path, datatype: str) -> None:
    """Values, numpy type and shape, also without rows, also from memory that is not aligned."""
    session = Session(identity(tmp_path, datatype))
    array = array_of(datatype)
    for given in (array, array[:0]):
        (output,) = session.run(["y"], {"x": given})
        assert output.dtype == DTYPES[datatype]
        assert output.shape == given.shape
        assert output.tolist() == given.tolist()
    if datatype != "BYTES":
        unaligned = np.ndarray(array.shape, array.dtype, memoryview(b"-" + array.tobytes())[1:])
        assert session.run(["y"], {"x": unaligned})[0].tolist() == array.tolist()


def test_a_failed_run_says_what_the_model_had_to_say(tmp_path: Path) -> None:
    """Without codes, paths and addresses."""
    session = Session(identity(tmp_path, "FP32"))
    with pytest.raises(ModelFailed, match="model 'm' failed on this input: Invalid rank for input: x") as failed:
        session.run(["y"], {"x": np.zeros(3, np.float32)})
    assert "/" not in str(failed.value).replace("and/or", "")


def test_a_run_that_fails_without_rows_is_the_callers_mistake(tmp_path: Path) -> None:
    """Some models answer an empty tensor; the error of one that does not names the input."""
    session = Session(identity(tmp_path, "FP32"))
    with pytest.raises(
        EmptyInput, match=r"model 'm' cannot run on empty input 'x', shape \[0\]: Invalid rank"
    ) as failed:
        session.run(["y"], {"x": np.zeros(0, np.float32)})
    assert failed.value.status is Status.INVALID_ARGUMENT


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """The reason names no path."""
    version = identity(tmp_path, "FP32")
    Path(version.path).write_bytes(b"no model")
    with pytest.raises(
        ModelBroken, match=r"`sessions\.providers` names 'None'; available here: .*CPUExecutionProvider"
    ):
        Session(version, ["None"])
    with pytest.raises(ModelBroken, match="ONNX Runtime cannot load it") as broken:
        Session(version)
    assert str(tmp_path) not in str(broken.value)


@pytest.mark.parametrize("datatype", ["FP32", "BF16"])
def test_a_session_goes_by_reference_counting_alone(tmp_path: Path, datatype: str) -> None:
    """Hundreds of megabytes do not wait for the collector; also after a failed run."""
    session = Session(identity(tmp_path, datatype))
    session.run(["y"], {"x": array_of(datatype)})
    with pytest.raises(ModelFailed):
        session.run(["y"], {"x": array_of(datatype)[0]})
    gc.collect()
    gc.disable()
    try:
        inner = weakref.ref(session._session)
        del session
        assert inner() is None
    finally:
        gc.enable()
    give_back_memory()


def test_synthetic_input_fits_every_signature() -> None:
    """Zeros and empty texts; free sizes are 1 but the first, which has the rows; optional inputs are left out."""
    specs = [TensorSpec(name, name, (ANY, 3, ANY)) for name in DTYPES]
    specs += [TensorSpec("scalar", "FP32", ()), TensorSpec("optional", "FP32", (ANY,), optional=True)]
    feeds = synthetic(specs, 4)
    assert set(feeds) == {*DTYPES, "scalar"}
    for name in DTYPES:
        assert feeds[name].shape == (4, 3, 1)
        assert feeds[name].dtype == DTYPES[name]
        assert not feeds[name].any()
