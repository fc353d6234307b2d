"""Example files beside models: `.npz` archives of numpy, without pickles, with one array for each input and output.

    <model>/<version>/golden/*.npz     by whoever trains: `input:NAME` and `output:NAME`, what the model gives for it
    <model>/exam/*.npz                 by the operator: `input:NAME` and `label`, one for each row

An input has the model's datatype (texts as numpy's `U`, BF16 as FP32) and a shape that the model takes. Golden inputs
are run as they are. Of an exam the first dimension counts the rows, which may be any number where the model's first
dimension is free or 1; labels are whole numbers, texts, or numbers for models that estimate one (`[rows]`, or `[rows,
values]` for several). Several files of an exam are one exam, in the order of their names.

To be read in the trial process only: an archive may be anything.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from router.control.artefact import shown
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.errors import ModelBroken, SettingsError

Array = np.ndarray[Any, Any]

INPUT: Final = "input:"
OUTPUT: Final = "output:"
LABEL: Final = "label"
SUFFIX: Final = ".npz"
LIMIT_BYTES: Final = 1 << 30
"""All arrays of one file together: an archive of a few bytes may claim any size."""
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Golden:
    """One golden file: what goes in, and what comes out."""

    name: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Exam:
    """All rows of an exam. `labels` [rows] or [rows, values]: integers, floats, or objects that are `str`."""

    inputs: Mapping[str, Array]
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


def example_files(directory: Path) -> tuple[Path, ...]:
    """The archives in a directory, by name; none where there is no such directory. Raises OSError."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return ()
    return tuple(directory / name for name in names if name.endswith(SUFFIX) and not name.startswith("."))


def exam_digest(directory: Path) -> str:
    """SHA-256 (hex) over the names and contents of an exam's archives. Raises OSError for what cannot be read."""
    total = hashlib.sha256()
    for path in example_files(directory):
        content, length = hashlib.sha256(), 0
        with open(_opened(path), "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                content.update(chunk)
                length += len(chunk)
        name = os.fsencode(path.name)
        total.update(len(name).to_bytes(8, "big") + name + length.to_bytes(8, "big") + content.digest())
    return total.hexdigest()


def _opened(path: Path) -> int:
    """A file that can be read to its end: a pipe could not. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(None, "it is not a regular file")
    return handle


def golden_file(path: Path, signature: Signature) -> Golden:
    """One golden file that fits the model. Raises ModelBroken, in one line."""
    where = f"golden/{shown(path.name)}"
    try:
        arrays = _arrays(path)
        _check_names(arrays, signature, (INPUT, OUTPUT), ())
        inputs = _fitting(arrays, INPUT, signature.inputs)
        outputs = _fitting(arrays, OUTPUT, signature.outputs)
        for spec in signature.inputs:
            if spec.name in inputs and not spec.accepts(inputs[spec.name].shape):
                raise _Wrong(f"`{_key(INPUT, spec.name)}` has the shape {_sizes(inputs[spec.name])}, {_wants(spec)}")
        if not outputs:
            have = ", ".join(f"`{_key(OUTPUT, spec.name)}`" for spec in signature.outputs[:4])
            raise _Wrong(f"it holds no outputs: expected {have}")
    except _Wrong as wrong:
        raise ModelBroken(f"{where}: {wrong}") from wrong
    return Golden(path.name, inputs, outputs)


def exam_files(directory: Path, signature: Signature) -> Exam:
    """The exam in a directory. Raises SettingsError, in one line: it is the operator's."""
    try:
        paths = example_files(directory)
    except OSError as error:
        raise SettingsError(f"the exam cannot be read: {error.strerror}") from error
    if not paths:
        raise SettingsError("the directory exam/ holds no .npz file: put one there, or remove the directory")
    parts = []
    for path in paths:
        try:
            parts.append(_exam_part(path, signature))
        except _Wrong as wrong:
            raise SettingsError(f"exam/{shown(path.name)}: {wrong}") from wrong
    first, others = parts[0], parts[1:]
    for path, part in zip(paths[1:], others, strict=True):
        for key, ours, theirs in (
            (LABEL, part.labels, first.labels),
            *((_key(INPUT, name), part.inputs.get(name), array) for name, array in first.inputs.items()),
        ):
            alike = ours is not None and (ours.dtype.kind, ours.shape[1:]) == (theirs.dtype.kind, theirs.shape[1:])
            if not alike:
                raise SettingsError(
                    f"exam/{shown(path.name)}: `{shown(key)}` is not like that of exam/{shown(paths[0].name)}: expected"
                    " one kind and one shape in all files"
                )
    if not others:
        return first
    inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in first.inputs}
    return Exam(inputs, np.concatenate([part.labels for part in parts]))


class _Wrong(Exception):
    """What is wrong with a file, for a person."""


def _exam_part(path: Path, signature: Signature) -> Exam:
    arrays = _arrays(path)
    _check_names(arrays, signature, (INPUT,), (LABEL,))
    if LABEL not in arrays:
        raise _Wrong(f"it has no array `{LABEL}`: expected one label for each row")
    labels = _labels(arrays[LABEL])
    inputs = _fitting(arrays, INPUT, signature.inputs)
    rows = len(labels)
    if not rows:
        raise _Wrong("it is empty: `label` has no rows")
    for spec in signature.inputs:
        array = inputs.get(spec.name)
        if array is None:
            continue
        key = f"`{_key(INPUT, spec.name)}`"
        if not array.ndim or len(array) != rows:
            count = len(array) if array.ndim else "no"
            raise _Wrong(f"{key} has {count} rows, `{LABEL}` has {rows}: expected one label for each row")
        first = spec.shape[0] if spec.shape else 0
        if first not in (ANY, 1):
            raise _Wrong(f"{key}: the model's first dimension is {first or 'missing'}, so rows cannot be told apart")
        if not spec.accepts((1, *array.shape[1:])):
            raise _Wrong(f"{key} has the shape {_sizes(array)}, {_wants(spec)}")
    return Exam(inputs, labels)


def _arrays(path: Path) -> dict[str, Array]:
    """All arrays of an archive. Raises _Wrong."""
    try:
        handle = _opened(path)
    except OSError as error:
        raise _Wrong(f"it cannot be read: {error.strerror}") from error
    with open(handle, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                claimed = sum(member.file_size for member in archive.infolist())
        except Exception as error:  # the archive may be anything
            raise _Wrong(f"it is damaged, or no .npz file ({_said(error)}): write it with numpy.savez") from error
        if claimed > LIMIT_BYTES:
            raise _Wrong(
                f"its arrays have {claimed} bytes; at most {LIMIT_BYTES} are read: split it, or leave rows out"
            )
        file.seek(0)
        name = ""
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {}
                for name in archive.files:
                    arrays[name] = np.asarray(archive[name])
        except MemoryError as error:
            raise _Wrong(f"`{shown(name)}` is too large for the memory of the trial process") from error
        except Exception as error:
            if "allow_pickle" in str(error) or "pickle" in str(error):
                mend = "save texts as numpy's `U`: .astype(str)"
                raise _Wrong(f"`{shown(name)}` holds Python objects, which are never read: {mend}") from error
            what = f"`{shown(name)}` is damaged" if name else "it is damaged"
            raise _Wrong(f"{what} ({_said(error)}): write it again with numpy.savez") from error
    return arrays


def _said(error: Exception) -> str:
    return shown(" ".join(str(error).split()), 100) or type(error).__name__


def _check_names(
    arrays: Mapping[str, Array], signature: Signature, sides: Sequence[str], others: Sequence[str]
) -> None:
    """Only known names, and every input that must be given. Raises _Wrong."""
    specs = {INPUT: signature.inputs, OUTPUT: signature.outputs}
    known = {f"{side}{spec.name}" for side in sides for spec in specs[side]} | set(others)
    for key in arrays:
        if key not in known:
            have = ", ".join(f"`{shown(each)}`" for each in sorted(known)[:8])
            raise _Wrong(f"unknown array `{shown(key)}`: expected {have}")
    for spec in signature.inputs:
        if not spec.optional and f"{INPUT}{spec.name}" not in arrays:
            raise _Wrong(f"it has no array `{_key(INPUT, spec.name)}`, which the model needs")


def _fitting(arrays: Mapping[str, Array], side: str, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The arrays of one side in the model's datatypes, by name. Raises _Wrong."""
    return {
        spec.name: _as_datatype(arrays[f"{side}{spec.name}"], spec, _key(side, spec.name))
        for spec in specs
        if f"{side}{spec.name}" in arrays
    }


def _as_datatype(array: Array, spec: TensorSpec, key: str) -> Array:
    kind, wanted = array.dtype.kind, DTYPES[spec.datatype]
    if spec.datatype == BYTES:
        if kind not in "US":
            raise _Wrong(f"`{key}` is {array.dtype}, the model's is BYTES: save it as texts, .astype(str)")
        return _texts(array, key)
    if spec.datatype == "BF16":  # numpy writes it as two bytes that mean nothing to it
        if array.dtype == np.dtype("V2"):
            return array.view(wanted)
        if array.dtype == np.float32:
            return array.astype(wanted)
        raise _Wrong(f"`{key}` is {array.dtype}, the model's is BF16: save it as FP32, .astype('float32')")
    if array.dtype != wanted:
        raise _Wrong(f"`{key}` is {array.dtype}, the model's is {spec.datatype}: save it with .astype('{wanted.name}')")
    return array


def _texts(array: Array, key: str) -> Array:
    """As `str` objects."""
    made = np.empty(array.shape, object)
    try:
        flat = [each.decode() if isinstance(each, bytes) else str(each) for each in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise _Wrong(f"`{key}` holds bytes that are not UTF-8: models take text") from error
    made.reshape(-1)[:] = flat
    return made


def _labels(array: Array) -> Array:
    """Raises _Wrong for what can be no label."""
    kind = array.dtype.kind
    if not array.ndim or array.ndim > 2:
        raise _Wrong(f"`{LABEL}` has the shape {_sizes(array)}: expected [rows], or [rows, values]")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if kind in "US":
        return _texts(array, LABEL)
    if kind == "b":
        return array.astype(np.int64)
    if kind in "iu":
        if kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
            raise _Wrong(f"`{LABEL}` holds {array.max()}: expected at most {np.iinfo(np.int64).max}")
        return array.astype(np.int64)
    if kind != "f":
        raise _Wrong(f"`{LABEL}` is {array.dtype}: expected whole numbers, texts or floats")
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise _Wrong(f"`{LABEL}` of row {row} is {array[row]}: expected a finite number")
    return array.astype(np.float64)


def _key(side: str, name: str) -> str:
    return shown(f"{side}{name}")


def _sizes(array: Array) -> str:
    return str(list(array.shape))


def _wants(spec: TensorSpec) -> str:
    return "the model takes [" + ", ".join("any" if size == ANY else str(size) for size in spec.shape) + "]"
