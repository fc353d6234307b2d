"""What is sent: a pool of encoded requests for each kind of the mix, and what a reference answers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from loadtest.errors import ScenarioError
from loadtest.sla.scenario import Mix
from router import client
from router.client import ModelMetadata, TensorMetadata
from router.core.tensor import BYTES, DTYPES

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]

WORDS: Final = ("red", "green", "blue", "white", "alpha", "beta", "gamma", "delta")
OTHER_SIZE: Final = 1
"""Of a free dimension that is not the first."""
RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""How far an answer may be from the reference: kernels add in another order in a batch of another size."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The requests of one kind: encoded without an id, and by version what they must be answered."""

    messages: list[bytes]
    expected: dict[str, list[Tensors]]


def pool(
    mix: Mix, metadata: ModelMetadata, repository: Path | None, random: np.random.Generator, *, compared: bool
) -> Pool:
    """The pool of a kind. What to expect comes from golden files, or from the versions in a `repository` at hand.

    Raises ScenarioError when the inputs cannot be made.
    """
    given, expected = _inputs(mix, metadata, repository, random)
    if compared and repository is not None:
        expected = _references(repository / mix.model, given) | expected
    return Pool([encode(mix, metadata, each) for each in given], expected if compared else {})


def encode(mix: Mix, metadata: ModelMetadata, tensors: Tensors) -> bytes:
    """A ModelInferRequest without an id."""
    inputs: Tensors = {}
    for spec in metadata.inputs:
        if spec.name in tensors:
            array = tensors[spec.name]
            inputs[spec.name] = array if spec.datatype == BYTES else array.astype(DTYPES[spec.datatype])
    return client.encode(client.Request(mix.model, inputs, mix.version, parameters=mix.parameters))


def with_id(message: bytes, number: int) -> bytes:
    """The message with an id behind it: protobuf takes its fields in any order."""
    text = b"%d" % number
    return b"".join((message, b"\x1a", bytes((len(text),)), text))


def _inputs(
    mix: Mix, metadata: ModelMetadata, repository: Path | None, random: np.random.Generator
) -> tuple[list[Tensors], dict[str, list[Tensors]]]:
    unknown = set(mix.values) - {spec.name for spec in metadata.inputs}
    if unknown:
        have = ", ".join(spec.name for spec in metadata.inputs)
        raise ScenarioError(f"`mix.values` names the input {min(unknown)!r}; {mix.model} takes {have}")
    if mix.input == "random":
        return [{spec.name: _random(mix, spec, random) for spec in metadata.inputs} for _ in range(mix.inputs)], {}
    if mix.input != "golden":
        recorded, _ = _stored(Path(mix.input), mix)
        return recorded[: mix.inputs], {}
    if repository is None:
        raise ScenarioError("golden inputs lie beside a model: they go with a server that the harness starts")
    version = mix.version or metadata.versions[-1]
    files = sorted((repository / mix.model / version / "golden").glob("*.npz"))
    if not files:
        raise ScenarioError(f'version {version} of {mix.model} has no golden/*.npz: use `input = "random"`')
    given: list[Tensors] = []
    expected: list[Tensors] = []
    for file in files:
        inputs, outputs = _stored(file, mix)
        given += inputs
        expected += outputs
    return given, {version: expected} if all(expected) else {}


def _random(mix: Mix, spec: TensorMetadata, random: np.random.Generator) -> Array:
    shape = tuple(
        size if size >= 0 else (mix.rows if axis == 0 else OTHER_SIZE) for axis, size in enumerate(spec.shape)
    )
    if spec.name in mix.values:
        return random.choice(np.array(mix.values[spec.name]), shape).astype(DTYPES[spec.datatype])
    if spec.datatype == BYTES:
        return random.choice(np.array(WORDS, object), shape)
    kind = DTYPES[spec.datatype]
    if kind.kind == "b":
        return random.integers(0, 2, shape).astype(kind)
    if kind.kind in "iu":
        return random.integers(0, 100, shape).astype(kind)
    return random.normal(size=shape).astype(kind)


def _stored(path: Path, mix: Mix) -> tuple[list[Tensors], list[Tensors]]:
    """Requests of `rows` rows from a file whose arrays `input:NAME` (and `output:NAME`) share their first axis."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise ScenarioError(f"the inputs {path.name} cannot be read: {error}") from None
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
    return not reply.outputs or any(
        name not in expected or _differs(have, expected[name]) for name, have in reply.outputs.items()
    )


def _differs(have: Array, want: Array) -> bool:
    if have.shape != want.shape:
        return True
    if have.dtype == object:  # BYTES come as bytes, a session gives text
        return bool(have.tolist() != np.vectorize(_bytes, otypes=[object])(want).tolist())
    if have.dtype.kind in "biu":
        return not np.array_equal(have, want)
    near = np.allclose(have.astype(np.float64), want.astype(np.float64), RELATIVE, ABSOLUTE, equal_nan=True)
    return not bool(near)


def _bytes(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()
