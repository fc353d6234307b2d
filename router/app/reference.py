"""`router reference`: what comes to a model is compared with a table from now on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed, Wrong
from router.app.reference_table import Array, Table, read
from router.app.terminal import json_option, print_json, say
from router.app.version_name import model_argument
from router.core.features import Layout, columns, free_sizes
from router.core.reference import Reference, made
from router.core.reference_text import to_text
from router.core.table import Route
from router.core.tensor import BYTES, DTYPES, TensorSpec
from router.edge.tables import routes_from_messages
from router.pb.drift_pb2 import SetReferenceRequest, SetReferenceResponse
from router.pb.drift_pb2_grpc import DriftStub

LEAST_ROWS: Final = 100
"""With fewer, chance would be taken for drift, or drift for chance."""
MOST_ROWS: Final = 200_000
"""Of a longer table every so many rows are taken."""
NAMED: Final = 8
"""Columns that a mistake names."""


@click.command()
@model_argument
@click.option(
    "--data",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The table: .csv, .npz or .parquet.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Only write it to FILE: as VERSION/reference/inputs.json a version brings it when it is champion.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")
@admin_option
@json_option
def reference(model: str, file: Path, out: Path | None, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Compare what comes to MODEL with FILE from now on, for example with the data that it was trained on.

    FILE is .csv, .npz or .parquet. It has a row for each example, and a column for each feature (as `router drift`
    names them: x[3], or by [drift] features) or one with all of a tensor (x). Columns of outputs may stand there too;
    others are left out.
    """
    with reach.asked() as client:
        routes = routes_from_messages(client.models(model).routes)
        if not routes or routes[0].champion is None:
            raise Failed(f"model '{model}' has no champion: there is nothing to compare")
        table = read(file)
        notes: list[str] = []
        inputs, outputs = references(table, routes[0], notes)
        if out is not None:
            _write(out, inputs, notes, as_json=as_json)
            return
        request = SetReferenceRequest(
            model=model,
            inputs=to_text(inputs),
            outputs=to_text(outputs) if outputs is not None else "",
            source=file.name[:200],
            reason=reason,
        )
        answer: SetReferenceResponse = client.other(DriftStub, "SetReference", request, changes=True)
    if as_json:
        figures = {"inputs": answer.inputs, "outputs": answer.outputs, "rows": inputs.rows}
        print_json({"model": model, "file": file.name, **figures, "notes": notes})
        return
    for note in notes:
        say(f"note: {note}")
    of = f" and {answer.outputs} of the outputs" if answer.outputs else ""
    say(f"model '{model}' is compared with {inputs.rows} rows of {file.name}: {answer.inputs} features{of}")


def _write(out: Path, inputs: Reference, notes: list[str], *, as_json: bool) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = out.with_name(f".{out.name}.new")
        fresh.write_text(to_text(inputs), encoding="utf-8")
        fresh.replace(out)
    except OSError as error:
        raise Failed(f"{out} cannot be written ({error.strerror}): name a file in a folder of yours") from error
    if as_json:
        print_json({"written": str(out), "inputs": len(inputs.features), "rows": inputs.rows, "notes": notes})
    else:
        for note in notes:
            say(f"note: {note}")
        say(f"written to {out}: {len(inputs.features)} features of {inputs.rows} rows")


def references(table: Table, route: Route, notes: list[str]) -> tuple[Reference, Reference | None]:
    """Of the inputs, and of the outputs where the table has them. Raises Wrong, which names the column and the mend."""
    if table.rows < LEAST_ROWS:
        raise Wrong(f"{table.name} has {table.rows} rows: a reference needs at least {LEAST_ROWS}")
    if table.rows > MOST_ROWS:
        notes.append(f"{table.name} has {table.rows} rows: {MOST_ROWS} of them were taken, evenly")
        table = table.some(MOST_ROWS)
    settings, version = route.settings.drift, route.versions[route.champion or ""]
    used: set[str] = set()
    inputs: dict[str, Array] = {}
    for spec in version.signature.inputs:
        if spec.name in settings.ignore:
            continue
        found = _tensor(table, "input", spec, settings.features.get(spec.name, ()), settings.ignore, used)
        if found is None and not spec.optional:
            raise Wrong(_absent(table, spec, settings.features.get(spec.name, ())))
        if found is not None:
            inputs[spec.name] = found
    outputs: dict[str, Array] = {}
    for spec in version.signature.outputs:
        if spec.name not in settings.ignore and spec.name not in inputs:
            found = _tensor(table, "output", spec, (), settings.ignore, used)
            if found is not None:
                outputs[spec.name] = found
    wanted = [spec.name for spec in version.signature.outputs if spec.name not in settings.ignore]
    if outputs and len(outputs) < len(wanted):
        notes.append(f"left out, since a reference of outputs needs all of them: {', '.join(outputs)}")
        outputs = {}
    if left := [name for name in table.columns if name not in used]:
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        notes.append(f"left out, since {route.model} has no such feature: {', '.join(left[:NAMED])}{more}")
    made_inputs = _reference(inputs, version.signature.inputs, route, notes)
    if made_inputs is None:
        raise Wrong(f"no feature of model '{route.model}' is looked at: [drift] ignore leaves all of them out")
    return made_inputs, _reference(outputs, version.signature.outputs, route, notes, outputs=True)


def _reference(
    tensors: dict[str, Array], specs: Sequence[TensorSpec], route: Route, notes: list[str], *, outputs: bool = False
) -> Reference | None:
    settings = route.settings.drift
    found, told = columns(tensors, free_sizes(specs), settings.features, settings.ignore, outputs=outputs)
    notes += told
    if not found:
        return None
    rows = len(next(iter(tensors.values())))
    return made(found, Layout(found).cells(tensors, rows))


def _labels(spec: TensorSpec, given: Sequence[str]) -> list[str]:
    """What the columns of a tensor's elements are called; none where rows are not all of one size."""
    shape = spec.shape[1:]
    if any(size < 0 for size in shape):
        return []
    elements = int(np.prod(shape))
    if len(given) == elements:
        return list(given)
    places = (np.unravel_index(place, shape) for place in range(elements)) if elements > 1 else ()
    return [f"{spec.name}[{','.join(str(int(each)) for each in place)}]" for place in places] or [spec.name]


def _tensor(
    table: Table, side: str, spec: TensorSpec, given: Sequence[str], ignore: Sequence[str], used: set[str]
) -> Array | None:
    """All rows of a tensor, [rows, …]; None where the table has nothing of it. Raises Wrong."""
    labels = _labels(spec, given)
    for name in (f"{side}:{spec.name}", spec.name):
        if name in table.columns and not (len(labels) == 1 and labels[0] != name and labels[0] in table.columns):
            used.add(name)
            return _whole(table, name, spec)
    there = [label for label in labels if label in table.columns]
    if not there:
        return None
    missing = [label for label in labels if label not in table.columns and label not in ignore]
    if missing:
        if side == "output":
            return None
        raise Wrong(
            f"{table.name} has no column '{missing[0][:80]}', one of {len(missing)} that '{spec.name[:80]}' lacks: add"
            " it, or leave it out with `ignore` in [drift]"
        )
    used.update(there)
    made = [
        _fitting(table, label, spec, table.columns[label]) if label in table.columns else np.full(table.rows, np.nan)
        for label in labels
    ]
    for label, each in zip(labels, made, strict=True):
        if each.ndim != 1:
            raise Wrong(f"{table.name} column '{label[:80]}' has several values in a row: one is expected")
    return np.stack(made, axis=1).reshape(table.rows, *spec.shape[1:])


def _whole(table: Table, name: str, spec: TensorSpec) -> Array:
    """A column that holds all of a tensor."""
    values = _fitting(table, name, spec, table.columns[name])
    sizes = spec.shape[1:]
    flat = values.reshape(table.rows, -1)
    if all(size >= 0 for size in sizes):
        wanted = int(np.prod(sizes))
        if flat.shape[1] != wanted:
            raise Wrong(
                f"{table.name} column '{name[:80]}' has {flat.shape[1]} values in a row, '{spec.name[:80]}' takes"
                f" {wanted}: is it another model's?"
            )
        return flat.reshape(table.rows, *sizes)
    return values if values.ndim > 1 else flat


def _fitting(table: Table, name: str, spec: TensorSpec, values: Array) -> Array:
    """Values of a column in the kind of the tensor. Raises Wrong."""
    if spec.datatype == BYTES:
        return table.texts(name, values)
    numbers = table.numbers(name, values, spec.datatype)
    dtype = DTYPES[spec.datatype]
    if dtype.kind in "iub":
        if not np.isfinite(numbers).all():
            return numbers
        with np.errstate(invalid="ignore"):
            return numbers.astype(np.uint64 if spec.datatype == "UINT64" else np.int64)
    with np.errstate(over="ignore"):  # what comes has been rounded so
        return numbers.astype(dtype).astype(np.float64)


def _absent(table: Table, spec: TensorSpec, given: Sequence[str]) -> str:
    have = ", ".join(list(table.columns)[:NAMED]) or "none"
    labels = _labels(spec, given)
    elements = f", or columns {labels[0]} … {labels[-1]}" if len(labels) > 1 else ""
    return (
        f"{table.name} has no column '{(labels[0] if len(labels) == 1 else spec.name)[:80]}'{elements}; it has {have}:"
        " name the columns as the features are named, or leave them out with `ignore` in [drift]"
    )
