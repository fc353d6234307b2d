"""A table of examples, from .csv, .npz or .parquet, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from router.app import sources
from router.app.mistake import Failed, Wrong

Array = np.ndarray[Any, Any]

MOST_BYTES: Final = 2 << 30
"""Of a file: it is read as a whole."""
MISSING: Final = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""What stands in a column of numbers where there is none."""


@dataclass(frozen=True, slots=True)
class Table:
    """The columns by name, each an array with the rows as its first axis. `name` is the file's."""

    name: str
    columns: Mapping[str, Array]
    rows: int

    def some(self, most: int) -> Table:
        """So many rows, evenly from all of it."""
        places = np.linspace(0, self.rows - 1, most).astype(np.intp)
        return Table(self.name, {name: values[places] for name, values in self.columns.items()}, most)

    def numbers(self, name: str, values: Array, datatype: str) -> Array:
        """A column as numbers, NaN where there is none. Raises Wrong, which names the row."""
        if values.dtype.kind in "biuf":
            made: Array = values.astype(np.float64)
            return made
        flat = values.ravel().tolist()
        try:
            return np.array([_number(each) for each in flat], np.float64).reshape(values.shape)
        except (ValueError, TypeError):
            row = next(place for place, each in enumerate(flat) if not _is_number(each))
            each = flat[row]
            shown = each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)
            width = max(len(flat) // max(self.rows, 1), 1)
            raise Wrong(
                f"{self.name} column '{name[:80]}', row {row // width + 1}: {shown[:40]!r} is no number, and the model"
                f" takes {datatype}: correct it, or leave it empty where there is none"
            ) from None

    def texts(self, name: str, values: Array) -> Array:
        """A column as texts, empty where there is none. Raises Wrong."""
        if values.dtype.kind not in "OSU":
            raise Wrong(
                f"{self.name} column '{name[:80]}' has numbers, and the model takes texts: is it another column?"
            )
        made = np.empty(values.size, object)
        for place, each in enumerate(values.ravel().tolist()):
            made[place] = (
                b"" if each is None else each if isinstance(each, bytes) else str(each).encode("utf-8", "replace")
            )
        return made.reshape(values.shape)


def _number(value: object) -> float:
    if value is None:
        return np.nan
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = value.strip()
        return np.nan if value.lower() in MISSING else float(value)
    if isinstance(value, int | float):
        return float(value)
    raise TypeError


def _is_number(value: object) -> bool:
    try:
        _number(value)
    except (ValueError, TypeError):
        return False
    return True


def read(file: Path) -> Table:
    """The table. Raises Wrong, Failed where what reads it is not installed."""
    size = file.stat().st_size
    if not size:
        raise Wrong(f"{file.name} is empty: a reference needs rows")
    if size > MOST_BYTES:
        raise Wrong(
            f"{file.name} has {size / 1e9:.1f} GB, {MOST_BYTES / 1e9:.1f} are the most: a sample of its rows will do"
        )
    match file.suffix.lower():
        case ".npz":
            return _of_arrays(file)
        case ".csv" | ".parquet":
            return _of_columns(file)
    raise Wrong(f"{file.name}: expected a file that ends in .csv, .npz or .parquet")


def _of_arrays(file: Path) -> Table:
    found = sources.read(str(file), [])
    if not isinstance(found, Mapping) or not found:
        raise Wrong(f"{file.name} holds no arrays: save them by name, with np.savez")
    arrays = {name.removeprefix("inputs."): np.asarray(values) for name, values in found.items()}
    for name, values in arrays.items():
        if values.ndim == 0:
            raise Wrong(f"{file.name} array '{name[:80]}' is a single value: its first size is to be the rows")
    (first, rows) = next((name, len(values)) for name, values in arrays.items())
    for name, values in arrays.items():
        if len(values) != rows:
            raise Wrong(
                f"{file.name} array '{name[:80]}' has {len(values)} rows and '{first[:80]}' {rows}: all need the same"
            )
    return Table(file.name, arrays, rows)


def _of_columns(file: Path) -> Table:
    try:
        import pyarrow as pa  # noqa: PLC0415  # takes its time, and no server needs it
        from pyarrow import csv, parquet  # noqa: PLC0415
    except ImportError as error:
        raise Failed(f"reading {file.suffix} needs {error.name}: pip install pyarrow, or give .npz") from error
    try:
        if file.suffix.lower() == ".parquet":
            found = parquet.read_table(file)
        else:
            with file.open("rb") as opened:
                first = opened.readline(1 << 20).decode("utf-8-sig", "replace")
            kinds = dict.fromkeys(_names(first), pa.string())
            convert = csv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
            found = csv.read_csv(file, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise Wrong(f"{file.name} cannot be read: {str(error)[:200]}") from error
    except (pa.ArrowException, OSError) as error:
        raise Wrong(f"{file.name} cannot be read: it is damaged, or not what its name says") from error
    names = found.column_names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Wrong(f"{file.name} has the column '{twice[:80]}' twice: each stands there once")
    return Table(file.name, {name: _array(file, name, found.column(name), pa) for name in names}, found.num_rows)


def _names(line: str) -> list[str]:
    import csv  # noqa: PLC0415  # Python's own, beside Arrow's

    return next(csv.reader([line.rstrip("\r\n")]), [])


def _array(file: Path, name: str, column: Any, pa: Any) -> Array:
    """A column of single values, or of lists that are all of one length."""
    kind = column.type
    levels = 0
    sizes: list[int] = []
    values = column.combine_chunks()
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = np.unique(values.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)) if len(values) else [0]
        if len(lengths) != 1 or lengths[0] < 0:
            raise Wrong(
                f"{file.name} column '{name[:80]}' has lists that are not of one length: pad them, or leave it out"
            )
        sizes.append(int(lengths[0]))
        values = values.flatten()
        kind = values.type
        levels += 1
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
    flat = values.to_numpy(zero_copy_only=False)
    made: Array = flat.reshape(len(column), *sizes) if sizes else flat
    return made
