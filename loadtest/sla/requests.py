"""What is sent: a pool of encoded requests for each kind of the mix, and what a reference answers to them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from loadtest.errors import ScenarioError
from loadtest.sla.core_client import MESSAGE_LIMIT
from loadtest.sla.scenario import Mix
from router import client
from router.client import ModelMetadata, TensorMetadata
from router.control.recorded import Recordings
from router.core.tensor import BYTES, DTYPES

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]

WORDS: Final = ("red", "green", "blue", "white", "alpha", "beta", "gamma", "delta")
OTHER_SIZE: Final = 1
"""Of a free dimension that is not the first."""
MOST_ELEMENTS: Final = 100_000_000
"""Of all inputs of a kind together."""
ID_ROOM: Final = 64
"""Bytes for an id."""
RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""How far an answer may be from the reference: kernels add in another order in a batch of another size."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The requests of one kind: encoded without an id, and by version what they must be answered."""

    messages: list[bytes]
    expected: dict[str, list[Tensors]]


def pool(
    mix: Mix, metadata: ModelMetadata, folders: Sequence[Path], random: np.random.Generator, *, compared: bool
) -> Pool:
    """The pool of a kind. What to expect comes from golden files and from the versions in `folders`: repositories.

    Raises ScenarioError when the inputs cannot be made.
    """
    models = [folder / mix.model for folder in folders]
    given, golden = _inputs(mix, metadata, models, random)
    given = [_as_asked(mix, metadata, each) for each in given]
    messages = _encoded(mix, given)
    if not compared:
        return Pool(messages, {})
    expected: dict[str, list[Tensors]] = {}
    for model in models:
        expected |= _references(model, given)
    for version, stored in golden.items():
        if version in expected:
            expected[version] = [one | other for one, other in zip(expected[version], stored, strict=True)]
        elif all(stored):
            expected[version] = stored
    return Pool(messages, expected)


def _as_asked(mix: Mix, metadata: ModelMetadata, tensors: Tensors) -> Tensors:
    """The inputs in the model's order and datatypes."""
    known = {spec.name: spec for spec in metadata.inputs}
    for name in tensors:
        if name not in known:
            raise ScenarioError(f"`mix.input` gives the input {name!r}; {mix.model} takes {', '.join(known)}")
    try:
        return {
            name: tensors[name] if spec.datatype == BYTES else tensors[name].astype(DTYPES[spec.datatype])
            for name, spec in known.items()
            if name in tensors
        }
    except ValueError as error:
        raise ScenarioError(f"the inputs for {mix.model} do not fit its datatypes: {error}") from None


def _encoded(mix: Mix, given: Sequence[Tensors]) -> list[bytes]:
    """A ModelInferRequest for each, without an id."""
    try:
        messages = [
            client.encode(client.Request(mix.model, each, mix.version, parameters=mix.parameters)) for each in given
        ]
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"a request for {mix.model} cannot be made: {error}") from None
    longest = max(map(len, messages))
    if longest > MESSAGE_LIMIT - ID_ROOM:
        raise ScenarioError(f"a request for {mix.model} has {longest} bytes, at most 64 MB are sent: lower `mix.rows`")
    return messages


def with_id(message: bytes, number: int) -> bytes:
    """The message with an id behind it: protobuf takes its fields in any order."""
    text = b"%d" % number
    return b"".join((message, b"\x1a", bytes((len(text),)), text))


def _inputs(
    mix: Mix, metadata: ModelMetadata, models: Sequence[Path], random: np.random.Generator
) -> tuple[list[Tensors], dict[str, list[Tensors]]]:
    for spec in metadata.inputs:
        if spec.datatype not in DTYPES:
            raise ScenarioError(f"the input {spec.name!r} of {mix.model} is {spec.datatype!r}: no datatype of ours")
    unknown = set(mix.values) - {spec.name for spec in metadata.inputs}
    if unknown:
        have = ", ".join(spec.name for spec in metadata.inputs)
        raise ScenarioError(f"`mix.values` names the input {min(unknown)!r}; {mix.model} takes {have}")
    if mix.input == "random":
        _check_size(mix, metadata)
        return [{spec.name: _random(mix, spec, random) for spec in metadata.inputs} for _ in range(mix.inputs)], {}
    if Path(mix.input).is_dir():
        return _replayed(Path(mix.input), mix)[: mix.inputs], {}
    if mix.input != "golden":
        recorded, _ = _stored(Path(mix.input), mix)
        return recorded[: mix.inputs], {}
    if not models:
        raise ScenarioError("golden inputs lie beside a model: they go with a server that the harness starts")
    version = mix.version or metadata.versions[-1]
    files = sorted(file for model in models for file in (model / version / "golden").glob("*.npz"))
    if not files:
        raise ScenarioError(f'version {version} of {mix.model} has no golden/*.npz: use `input = "random"`')
    given: list[Tensors] = []
    golden: list[Tensors] = []
    for file in files:
        inputs, outputs = _stored(file, mix)
        given += inputs
        golden += outputs if len(outputs) == len(inputs) else [{}] * len(inputs)
    return given, {version: golden}


def _check_size(mix: Mix, metadata: ModelMetadata) -> None:
    """Before anything is drawn: a server may name any shape."""
    elements = sum(math.prod(_shape(mix, spec)) for spec in metadata.inputs)
    if elements * mix.inputs > MOST_ELEMENTS:
        raise ScenarioError(
            f"{mix.inputs} requests of {elements} elements for {mix.model} are too much to keep: lower `mix.rows` or"
            " `mix.inputs`"
        )


def _shape(mix: Mix, spec: TensorMetadata) -> tuple[int, ...]:
    return tuple(size if size >= 0 else (mix.rows if axis == 0 else OTHER_SIZE) for axis, size in enumerate(spec.shape))


def _random(mix: Mix, spec: TensorMetadata, random: np.random.Generator) -> Array:
    shape = _shape(mix, spec)
    if spec.name in mix.values:
        return random.choice(_values(mix, spec), shape)
    if spec.datatype == BYTES:
        return random.choice(np.array(WORDS, object), shape)
    kind = DTYPES[spec.datatype]
    if kind.kind == "b":
        return random.integers(0, 2, shape).astype(kind)
    if kind.kind in "iu":
        return random.integers(0, 100, shape).astype(kind)
    return random.normal(size=shape).astype(kind)


def _values(mix: Mix, spec: TensorMetadata) -> Array:
    if spec.datatype == BYTES:
        raise ScenarioError(f"`mix.values` gives numbers for {spec.name!r}, which is BYTES: leave it out for words")
    wanted = np.array(mix.values[spec.name])
    with np.errstate(all="ignore"):
        values = wanted.astype(DTYPES[spec.datatype])
        whole = values.dtype.kind in "biu"
        fits = values.astype(float) == wanted if whole else np.isfinite(values.astype(float))
    if not fits.all():
        bad = wanted[~fits][0]
        raise ScenarioError(f"`mix.values` gives {bad:g} for {spec.name!r}, which {spec.datatype} cannot hold")
    return values


def _stored(path: Path, mix: Mix) -> tuple[list[Tensors], list[Tensors]]:
    """Requests of `rows` rows from a file whose arrays `input:NAME` (and `output:NAME`) share their first axis."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(broken)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        reason = error.strerror or "the file is broken"
        raise ScenarioError(f"the inputs {path.name} cannot be read: {reason}") from None
    except Exception:  # noqa: BLE001  # a broken archive raises whatever its bytes lead to
        raise ScenarioError(f"the inputs {path.name} cannot be read: a sound .npz file is expected") from None
    for name, array in arrays.items():
        if not array.ndim or array.dtype.kind not in "biufSU":
            raise ScenarioError(f"{path.name}: {name} is a {array.dtype} of shape {array.shape}: rows are expected")
    parts: list[list[Tensors]] = []
    for prefix in ("input:", "output:"):
        mine = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        count = min((len(array) for array in mine.values()), default=0) // mix.rows
        parts.append(
            [{name: array[at * mix.rows : (at + 1) * mix.rows] for name, array in mine.items()} for at in range(count)]
        )
    if not parts[0]:
        raise ScenarioError(f"{path.name} holds no request of {mix.rows} rows: its arrays are named input:NAME")
    return parts[0], parts[1]


def _replayed(folder: Path, mix: Mix) -> list[Tensors]:
    """Requests of `rows` rows that a server has recorded (`[recording]`), in the order in which they came."""
    recordings = Recordings(folder)
    found: list[Tensors] = []
    try:
        for part in recordings.parts():
            for at in range(0, len(part.ids) - mix.rows + 1, mix.rows):
                found.append({name: array[at : at + mix.rows] for name, array in part.inputs.items()})
                if len(found) == mix.inputs:
                    return found
    except OSError as error:
        raise ScenarioError(f"the recording {folder.name} cannot be read: {error.strerror}") from error
    if not found:
        damaged = f"; {', '.join(recordings.damaged[:3])} cannot be read" if recordings.damaged else ""
        raise ScenarioError(f"the recording {folder.name} holds no request of {mix.rows} rows{damaged}")
    return found


def _references(model: Path, given: Sequence[Tensors]) -> dict[str, list[Tensors]]:
    """What each version at hand answers, by a session of our own."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    found = {}
    for path in sorted(model.glob("*/model.onnx")):
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            found[path.parent.name] = [dict(zip(names, session.run(names, each), strict=True)) for each in given]
        except Exception:  # noqa: BLE001  # a version that cannot run is not compared; that is told by `checked`
            continue
    return found


def wrong(reply: client.Reply, expected: Mapping[str, Array]) -> bool:
    """Whether an answer differs from what is expected, in names, sizes or values."""
    return reply.outputs.keys() != expected.keys() or any(
        _differs(have, expected[name]) for name, have in reply.outputs.items()
    )


def _differs(have: Array, want: Array) -> bool:
    if have.shape != want.shape or (have.dtype == object) != (want.dtype.kind in "OSU"):
        return True
    if have.dtype == object:  # BYTES come as bytes, a session gives text
        return bool(have.tolist() != np.vectorize(_bytes, otypes=[object])(want).tolist())
    if have.dtype.kind in "biu":
        return not np.array_equal(have, want)
    near = np.allclose(have.astype(np.float64), want.astype(np.float64), RELATIVE, ABSOLUTE, equal_nan=True)
    return not bool(near)


def _bytes(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()
