"""How recordings lie on the disk: their folders, and the columns of their Parquet files.

`<state>/recordings/<folder_of(model)>/rows-*.parquet` have one row for each recorded row: `id`, `row` (its place in the
request), `at` (when it was answered), `version`, `served_by`, `took_us`, and a column for each tensor, `input.NAME` or
`output.NAME`: one value, or a list with all values of the row. The datatype of the protocol and the shape of one row
stand in the column's metadata, and whether its values were not kept (`redacted`); BF16, which Parquet does not know,
lies there as the 16 bits of UINT16.

`actuals-*.parquet` beside them have what came true, later and for any row: `id`, `row`, and one of `integer`, `number`
and `text`. Whoever reads joins them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from router.core.tensor import BYTES, DTYPES
from router.errors import InvalidRequest

Array = np.ndarray[Any, Any]

FOLDER: Final = "recordings"
"""In the state directory."""
ROWS, ACTUALS = "rows-", "actuals-"
"""How the names of files begin."""
SUFFIX: Final = ".parquet"
INPUT, OUTPUT = "input.", "output."
REDACTED: Final = b"redacted"
"""In the metadata of a column: its values say nothing."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}")
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


def folder_of(recordings: Path, model: str) -> Path:
    """The folder of a model. One with a name that could mean something to a file system gets another, which is its own.

    No two models share one: the other name has a `~` in it and a part of the name's SHA-256.
    """
    if _PLAIN.fullmatch(model):
        return recordings / model
    digest = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return recordings / f"{re.sub(r'[^A-Za-z0-9_-]', '_', model)[:40]}~{digest}"


def column(name: str, array: Array, *, redacted: bool = False) -> tuple[pa.Field, pa.Array]:
    """The column of a tensor whose first axis is the rows."""
    datatype = _NAMES[array.dtype]
    flat = np.ascontiguousarray(array).reshape(-1)
    if datatype == BYTES:
        values = pa.array(flat.tolist(), pa.binary())
    else:
        values = pa.array(flat.view(np.uint16) if datatype == "BF16" else flat)
    tail = array.shape[1:]
    if tail:
        offsets = np.arange(len(array) + 1, dtype=np.int64) * int(np.prod(tail, dtype=np.int64))
        values = pa.LargeListArray.from_arrays(pa.array(offsets), values)
    about = {b"datatype": datatype.encode(), b"shape": json.dumps(tail).encode()}
    if redacted:
        about[REDACTED] = b"true"
    return pa.field(name, values.type, metadata=about), values


def array_of(field: pa.Field, values: pa.Array) -> Array:
    """That tensor again. Raises InvalidRequest where the column is none."""
    about: Mapping[bytes, bytes] = field.metadata or {}
    try:
        datatype = about[b"datatype"].decode()
        tail = tuple(int(size) for size in json.loads(about[b"shape"]))
        dtype = DTYPES[datatype]
        flat = values.flatten() if tail else values
        if datatype == BYTES:
            made = np.empty(len(flat), object)
            made[:] = flat.to_pylist()
        else:
            made = flat.to_numpy(zero_copy_only=False)
            made = made.view(dtype) if datatype == "BF16" else made.astype(dtype, copy=False)
        return made.reshape((len(values), *tail))
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise InvalidRequest(f"column '{field.name[:200]}' does not say what it holds") from error


def truths(actuals: Sequence[tuple[str, int, int | float | str]]) -> pa.Table:
    """A table of what came true: request id, row, truth."""
    integers: list[int | None] = []
    numbers: list[float | None] = []
    texts: list[str | None] = []
    for _, _, truth in actuals:
        fits = isinstance(truth, int) and -(2**63) <= truth < 2**63
        integers.append(int(truth) if fits else None)
        numbers.append(truth if isinstance(truth, float) else None)
        texts.append(None if fits or isinstance(truth, float) else str(truth))
    return pa.table(
        {
            "id": pa.array([each[0] for each in actuals], pa.string()),
            "row": pa.array([each[1] for each in actuals], pa.uint32()),
            "integer": pa.array(integers, pa.int64()),
            "number": pa.array(numbers, pa.float64()),
            "text": pa.array(texts, pa.string()),
        }
    )
