"""The command `infer`: ask a model from the command line, with arrays from files or typed by hand."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.client import (
    Client,
    DeadlineExceeded,
    InferenceError,
    ModelMetadata,
    Reply,
    TensorMetadata,
    Unavailable,
    datatype,
    tls,
)
from router.core.tensor import ANY, BYTES, DTYPES

Array = NDArray[Any]

ASK_S: Final = 10.0
"""How long the question for the model's signature may take, seconds."""
ROWS: Final = 20
CLASSES: Final = 5
WIDEST: Final = 1024
BAR: Final = 16
PEEK: Final = 8


class Wrong(click.ClickException):
    """A mistake in what was typed or in a file: one line, exit code 2."""

    exit_code = 2


class Failed(click.ClickException):
    """The server gave no answer: one line, exit code 1."""

    exit_code = 1


@click.command()
@click.argument("model")
@click.option("-i", "--input", "inputs", multiple=True, metavar="[NAME=]FILE", help="Where an input comes from.")
@click.option("--version", default="", metavar="V", help="Ask this version; the server chooses otherwise.")
@click.option("--target", default="127.0.0.1:8001", show_default=True, metavar="HOST:PORT", help="The server.")
@click.option("--deadline", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Wait no longer.")
@click.option("--id", "request_id", default="", metavar="ID", help="Name the request: `router explain ID` tells of it.")
@click.option("--output", "outputs", multiple=True, metavar="NAME", help="Ask for this output only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--tls-ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Use TLS and trust this PEM file."
)
def infer(
    *,
    model: str,
    inputs: tuple[str, ...],
    version: str,
    target: str,
    deadline: float | None,
    request_id: str,
    outputs: tuple[str, ...],
    as_json: bool,
    tls_ca: Path | None,
) -> None:
    """Ask MODEL and print its answer.

    FILE is .npy, .npz (arrays by name), .json (lists, or an object of lists by name), .csv or .txt (numbers), `-` for
    JSON from standard input, or the JSON itself: --input 'x=[[1,2],[3,4]]'. NAME may be left out when the model has
    one input. Values are converted to the model's datatype when nothing is lost but precision; a missing batch
    dimension is added.
    """
    with Client(target, credentials=tls(tls_ca.read_bytes()) if tls_ca else None) as client:
        try:
            signature = client.model_metadata(model, version, deadline=ASK_S)
            notes: list[str] = []
            arrays = _gather(signature, inputs, notes)
            _known(outputs, signature)
            for note in notes:
                click.echo(_line(note), err=True)
            start = time.perf_counter()
            reply = client.infer(
                model, arrays, version=version, outputs=outputs or None, id=request_id, deadline=deadline
            )
            took_ms = (time.perf_counter() - start) * 1e3
        except InferenceError as error:
            text = _explain(error, target, deadline, tls_ca)
            raise Failed(_line(text + _instead(client, error))) from error
    if as_json:
        click.echo(json.dumps(_as_json(reply, took_ms), ensure_ascii=False))
    else:
        _show(reply, took_ms)


def _line(text: str) -> str:
    """One line without control characters, whatever a server wrote."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _explain(error: InferenceError, target: str, deadline: float | None, tls_ca: Path | None) -> str:
    if isinstance(error, DeadlineExceeded) and error.by_client:
        if deadline is None:
            return f"no answer from {target} within {ASK_S:g} s; is it an inference server?"
        return f"no answer within {deadline:g} s; a longer --deadline may help"
    if isinstance(error, Unavailable) and "onnect" in error.message:
        mend = "is its --tls-ca right?" if tls_ca else "start `router serve`, or name another server with --target"
        return f"cannot reach {target}; {mend} ({error.message})"
    if error.retry_after_ms is not None:
        return f"{error}; try again in {error.retry_after_ms} ms"
    return str(error)


def _instead(client: Client, error: InferenceError) -> str:
    """What there is, for a model or version that there is not."""
    if error.code.name != "NOT_FOUND":
        return ""
    try:
        models = client.index(deadline=ASK_S)
    except InferenceError:
        return ""  # not every server keeps an index; the first error says enough
    return "; there is " + ", ".join(f"{m.name} {m.version} ({m.state})" for m in models) if models else ""


# Inputs


def _describe(tensor: TensorMetadata) -> str:
    sizes = ", ".join("any" if size == ANY else str(size) for size in tensor.shape)
    return f"{tensor.name} {tensor.datatype} [{sizes}]"


def _all(tensors: tuple[TensorMetadata, ...]) -> str:
    return "; ".join(_describe(tensor) for tensor in tensors)


def _known(outputs: tuple[str, ...], signature: ModelMetadata) -> None:
    names = {tensor.name for tensor in signature.outputs}
    for name in outputs:
        if names and name not in names:
            raise Wrong(f"{signature.name} has no output {name!r}; it has {_all(signature.outputs)}")


def _gather(signature: ModelMetadata, inputs: tuple[str, ...], notes: list[str]) -> dict[str, Array]:
    """The arrays that go out, in the model's own datatypes and shapes."""
    tensors = {tensor.name: tensor for tensor in signature.inputs}
    found: dict[str, Any] = {}
    for text in inputs:
        name, equals, source = text.partition("=")
        if equals and name in tensors:
            found[name] = _one(name, _read(source, notes))
            continue
        value = _read(text, notes, tensors)
        if not isinstance(value, Mapping):
            if len(tensors) != 1:
                raise Wrong(f"say which input {text[:40]!r} is for: NAME=…; the inputs are {_all(signature.inputs)}")
            value = {next(iter(tensors)): value}
        found |= _matching(value, signature, notes)
    if missing := [tensor for name, tensor in tensors.items() if name not in found]:
        wanted = _all(tuple(missing))
        raise Wrong(f"{signature.name} needs {wanted}; give it with --input {missing[0].name}=FILE")
    return {name: _fit(tensors[name], value, notes) for name, value in found.items()}


def _matching(values: Mapping[str, Any], signature: ModelMetadata, notes: list[str]) -> dict[str, Any]:
    """Those of a file's arrays that are inputs: `input:NAME` before NAME, or the only array for the only input."""
    marked = {name.removeprefix("input:"): value for name, value in values.items() if name.startswith("input:")}
    values = marked or values
    names = {tensor.name for tensor in signature.inputs}
    if not names & values.keys() and len(names) == len(values) == 1:
        (only,) = values.values()
        return {next(iter(names)): only}
    if ignored := sorted(values.keys() - names):
        if not names & values.keys():
            raise Wrong(
                f"none of {', '.join(ignored)} is an input of {signature.name}; it has {_all(signature.inputs)}"
            )
        notes.append(f"ignored {', '.join(ignored)}: no input of {signature.name}")
    return {name: value for name, value in values.items() if name in names}


def _one(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for key in (f"input:{name}", name):
        if key in value:
            return value[key]
    if len(value) == 1:
        return next(iter(value.values()))
    raise Wrong(f"there is no {name!r} among {', '.join(sorted(value))}")


def _read(source: str, notes: list[str], tensors: Mapping[str, TensorMetadata] | None = None) -> Any:
    """What a file, standard input or JSON text holds: an array, nested lists, or a mapping of those."""
    if source == "-":
        return _json(sys.stdin.read(), "standard input")
    if source.lstrip()[:1] in {"[", "{", '"'}:
        return _json(source, repr(source[:40]))
    if not os.path.isfile(source):  # which, other than Path.is_file, takes a text of any length
        try:
            return json.loads(source)
        except ValueError:
            pass
        name, equals, _ = source.partition("=")
        if equals and tensors is not None:
            known = _all(tuple(tensors.values()))
            raise Wrong(f"the model has no input {name!r}, and there is no file {source!r}; it has {known}")
        raise Wrong(f"no file {source!r}, and it is not JSON either")
    return _load(Path(source), notes)


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Wrong(f"{where} is not JSON: {error}") from error


def _load(path: Path, notes: list[str]) -> Any:
    try:
        match path.suffix.lower():
            case ".npy":
                return np.load(path, allow_pickle=False)
            case ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    return {name: arrays[name] for name in arrays.files}
            case ".json":
                return _json(path.read_text(), path.name)
            case ".csv" | ".txt":
                return _numbers(path, notes)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Wrong(f"cannot read {path.name}: {error}") from error
    raise Wrong(f"{path.name}: give a .npy, .npz, .json, .csv or .txt file")


def _numbers(path: Path, notes: list[str]) -> Array:
    lines = [line.replace(",", " ").replace(";", " ").replace("\t", " ") for line in path.read_text().splitlines()]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError("it is empty")
    try:
        [float(word) for word in lines[0].split()]
    except ValueError:
        notes.append(f"took the first line of {path.name} for a heading")
        lines = lines[1:]
        if not lines:
            raise ValueError("there are no numbers in it") from None
    return np.loadtxt(io.StringIO("\n".join(lines)))


# Conversion


def _fit(tensor: TensorMetadata, value: Any, notes: list[str]) -> Array:
    """`value` in the datatype and shape of `tensor`; what was changed of the shape goes into `notes`."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "SU" and not isinstance(value, np.ndarray):
            array = np.asarray(value, dtype=object)
    except ValueError as error:
        raise Wrong(f"{tensor.name}: the lists are not of one length") from error
    shape = _shape(tensor, array.shape)
    if shape is None:
        raise Wrong(f"{tensor.name}: expected {_describe(tensor)}, came {list(array.shape)}")
    if shape != array.shape:
        what = "added the batch dimension" if shape == (1, *array.shape) else "reshaped"
        notes.append(f"{tensor.name}: {what}, {list(array.shape)} → {list(shape)}")
    return _cast(tensor, array).reshape(shape)


def _shape(tensor: TensorMetadata, came: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which `came` goes out: as it is, with a batch of one before it, or each item reshaped.

    Items are reshaped only where no values change places in meaning: flattened, unflattened, or with sizes of one
    more or fewer. Height, width and colours in another order are not guessed at.
    """

    def fits(shape: tuple[int, ...]) -> bool:
        return len(shape) == len(tensor.shape) and all(
            want in {ANY, have} for want, have in zip(tensor.shape, shape, strict=True)
        )

    def alike(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
        plain = min(len(have), len(want)) <= 1
        return math.prod(have) == math.prod(want) and (
            plain or [n for n in have if n != 1] == [n for n in want if n != 1]
        )

    options = [came, (1, *came)]
    item = tensor.shape[1:]
    if tensor.shape and ANY not in item:
        if came and alike(came[1:], item):
            options.append((came[0], *item))
        if alike(came, item):
            options.append((1, *item))
        if len(came) == 1 and alike(came, tensor.shape):
            options.append(tensor.shape)
    return next((shape for shape in options if fits(shape)), None)


def _cast(tensor: TensorMetadata, array: Array) -> Array:
    """`array` in the tensor's datatype. Precision may be lost; anything else is refused."""
    kind = tensor.datatype
    if kind not in DTYPES:
        raise Wrong(f"{tensor.name}: this client does not know the datatype {kind}")
    want = DTYPES[kind]
    text = array.dtype.kind in "OSUT"
    if kind == BYTES:
        if not text or any(not isinstance(item, str | bytes) for item in array.ravel().tolist()):
            raise Wrong(f"{tensor.name}: expected BYTES, so text; came {_kind(array)}")
        return array
    if array.dtype == want:
        return array
    if text:
        raise Wrong(f"{tensor.name}: expected {kind}, came {_kind(array)}")
    with np.errstate(all="ignore"):
        try:
            made: Array = array.astype(want)
        except (TypeError, ValueError, OverflowError) as error:
            raise Wrong(f"{tensor.name}: expected {kind}, came {_kind(array)}") from error
        if want.kind in "biu":
            lost = made != array
        else:
            lost = np.isinf(made.astype(np.float64)) & np.isfinite(array.astype(np.float64))
    if lost.any():
        raise Wrong(f"{tensor.name}: {array[lost].ravel()[0]} does not fit into {kind}")
    return made


def _kind(array: Array) -> str:
    if array.dtype.kind in "SUT" or all(isinstance(item, str | bytes) for item in array.ravel().tolist()):
        return "text"
    return "a mixture" if array.dtype.kind == "O" else str(array.dtype)


# Answers


def _footer(reply: Reply, took_ms: float) -> str:
    parts = []
    if reply.served_by:
        parts.append(f"served by {reply.served_by}")
    if reply.version:
        parts.append(f"version {reply.version}")
    if reply.generation is not None:
        parts.append(f"generation {reply.generation}")
    if reply.degraded:
        parts.append(f"degraded ({reply.parameters.get('fallback_reason', 'no reason given')})")
    return _line(" · ".join([*parts, f"{took_ms:.1f} ms"]))


def _as_json(reply: Reply, took_ms: float) -> dict[str, Any]:
    return {
        "model": reply.model,
        "version": reply.version,
        "outputs": {
            name: {"datatype": datatype(array.dtype), "shape": list(array.shape), "data": _plain(array)}
            for name, array in reply.outputs.items()
        },
        "parameters": reply.parameters,
        "ms": round(took_ms, 3),
    }


def _plain(array: Array) -> Any:
    """Nested lists that JSON can carry: bytes as text, or base64 when they are none; NaN and infinity by name."""

    def value(item: Any) -> Any:
        if isinstance(item, list):
            return [value(inner) for inner in item]
        if isinstance(item, bytes):
            try:
                return item.decode()
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(item).decode()}
        if isinstance(item, float) and not math.isfinite(item):
            return "NaN" if math.isnan(item) else "Infinity" if item > 0 else "-Infinity"
        return item

    if array.dtype == np.float32:
        array = array.astype("U32").astype(np.float64)  # 0.1, not 0.10000000149011612
    return value(_wide(array).tolist())


def _wide(array: Array) -> Array:
    """Small floats as float64, which Python knows how to print."""
    return array.astype(np.float64) if datatype(array.dtype) in {"FP16", "BF16"} else array


def _is_float(array: Array) -> bool:
    return datatype(array.dtype) in {"FP16", "BF16", "FP32", "FP64"}


def _is_label(array: Array) -> bool:
    return not _is_float(array) and (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1))


def _is_scores(array: Array) -> bool:
    return _is_float(array) and array.ndim == 2 and 2 <= array.shape[1] <= WIDEST


def _show(reply: Reply, took_ms: float) -> None:
    """The answer for a person: a row for each item of the batch, other outputs in short, who answered."""
    console = Console(highlight=False)
    by_row = {name: array for name, array in reply.outputs.items() if _is_label(array) or _is_scores(array)}
    rows = max((len(array) for array in by_row.values()), default=0)
    by_row = {name: array for name, array in by_row.items() if len(array) == rows}
    if rows:
        table = Table(show_lines=any(_is_scores(array) for array in by_row.values()))
        table.add_column("row", justify="right")
        for name in by_row:
            table.add_column(Text(_line(name)))
        for row in range(min(rows, ROWS)):
            table.add_row(Text(str(row)), *(_cell(array, row) for array in by_row.values()))
        console.print(table)
        if rows > ROWS:
            console.print(Text(f"… and {rows - ROWS} more rows; --json prints all"))
    for name, array in reply.outputs.items():
        if name not in by_row:
            console.print(Text(_line(f"{name} {datatype(array.dtype)} {list(array.shape)}: {_peek(array)}")))
    console.print(Text(_footer(reply, took_ms)), style="dim")


def _cell(array: Array, row: int) -> Text:
    if _is_scores(array):
        return _bars(_wide(array[row]))
    return Text(_word(array[row].reshape(-1)[0] if array.ndim == 2 else array[row]))


def _bars(scores: Array) -> Text:
    """The highest scores, each with its class; with a bar when they are shares of one."""
    top = np.argsort(-scores, kind="stable")[:CLASSES]
    shares = bool(np.all((scores >= 0) & (scores <= 1)))
    width = len(str(top.max()))
    lines = []
    for place in top:
        bar = f"{'█' * round(float(scores[place]) * BAR):<{BAR}} " if shares else ""
        lines.append(f"{place:>{width}} {bar}{scores[place]:.4g}")
    if len(scores) > CLASSES:
        lines.append(f"… {len(scores) - CLASSES} more")
    return Text("\n".join(lines))


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return _line(value.decode())
        except UnicodeDecodeError:
            return repr(value)
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _peek(array: Array) -> str:
    first = ", ".join(_word(value) for value in _wide(array.reshape(-1)[:PEEK]))
    return first + (", …" if array.size > PEEK else "")
