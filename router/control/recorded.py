"""Recordings, read back: for people, as training data, and to be asked again. See `recorded_schema`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from router.control.recorded_schema import ACTUALS, INPUT, OUTPUT, REDACTED, ROWS, SUFFIX, array_of
from router.errors import InvalidRequest

Array = np.ndarray[Any, Any]
Truth = int | float | str

DAMAGED: Final = (OSError, pa.ArrowException, InvalidRequest, KeyError, TypeError, ValueError)
"""What readers raise for a file that is none of ours, or not whole."""


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One file. `first` and `last` are instants since 1970 in seconds, None where it has no rows or is no file of rows.

    `damaged`: it cannot be read, and is left out.
    """

    name: str
    nbytes: int
    rows: int = 0
    first: float | None = None
    last: float | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """The rows of one file. Lists have an entry for each row, arrays the rows as their first axis.

    `at` is in seconds since 1970. `actuals`: what came true, None where nothing has. Of tensors that are `redacted` the
    values say nothing.
    """

    ids: Sequence[str]
    rows: Sequence[int]
    at: Array
    versions: Sequence[str]
    served_by: Sequence[str]
    took_us: Array
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    actuals: Sequence[Truth | None]
    redacted: frozenset[str] = frozenset()


class Recordings:
    """Those in a folder. What is damaged is named in `damaged` as it is met, and skipped; nothing is raised for it.

    What goes while it is read, since its time is over, is as if it had not been there. All methods raise OSError where
    the folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damaged: list[str] = []

    def files(self) -> list[RecordedFile]:
        """All files, oldest first."""
        return [each for path in self._paths() if (each := self._look(path)) is not None]

    def parts(self, since: float = 0.0, until: float = float("inf")) -> Iterator[Recorded]:
        """The rows answered from one instant to another, file by file, joined to what came true for them."""
        truths = self._truths()
        for path in self._paths(ROWS):
            try:
                part = rows_of(_read(path), truths)
            except FileNotFoundError:
                continue
            except DAMAGED:
                self._skip(path)
                continue
            yield part if not since and until == float("inf") else _between(part, since, until)

    def labelled(self, name: str, since: float = 0.0, until: float = float("inf")) -> tuple[Array, Array]:
        """The rows of an input of which it came true what is right, and that: `[n, …]` and `[n]`.

        Empty arrays where there is none. Raises InvalidRequest where rows have other shapes than others.
        """
        inputs: list[Array] = []
        actuals: list[Truth] = []
        for part in self.parts(since, until):
            known = [place for place, truth in enumerate(part.actuals) if truth is not None]
            if name in part.inputs and known:
                inputs.append(part.inputs[name][known])
                actuals += [truth for truth in part.actuals if truth is not None]
        if not inputs:
            return np.empty(0), np.empty(0)
        return joined(name, inputs), np.array(actuals)

    def table(self) -> pa.Table:
        """All rows as one table, as they lie on the disk, with what came true as column `actual` (text).

        Raises InvalidRequest where files have other columns than others, or where there is none.
        """
        truths = self._truths()
        tables = []
        for path in self._paths(ROWS):
            try:
                table = _read(path)
                known = _known(table, truths)
            except FileNotFoundError:
                continue
            except DAMAGED:
                self._skip(path)
                continue
            tables.append(
                table.append_column(
                    "actual", pa.array([None if each is None else str(each) for each in known], pa.string())
                )
            )
        if not tables:
            raise InvalidRequest("nothing is recorded yet")
        try:
            return pa.concat_tables(tables)
        except pa.ArrowException as error:
            raise InvalidRequest(
                "the recorded rows have different tensors, and make no single table: read the files one by one"
            ) from error

    def arrays(self) -> dict[str, Array]:
        """All rows as arrays by name, as training data.

        `input:NAME` and `output:NAME`, as exams and the load test have them; `actual`, NaN or empty text where nothing
        came true; `id`, `row`, `at`, `version`, `served_by`, `took_us`. Raises InvalidRequest as `table` does.
        """
        parts = list(self.parts())
        if not parts:
            raise InvalidRequest("nothing is recorded yet")
        actuals = [truth for part in parts for truth in part.actuals]
        made: dict[str, Array] = {
            "id": np.array([each for part in parts for each in part.ids], np.str_),
            "row": np.array([each for part in parts for each in part.rows], np.uint32),
            "at": np.concatenate([part.at for part in parts]),
            "version": np.array([each for part in parts for each in part.versions], np.str_),
            "served_by": np.array([each for part in parts for each in part.served_by], np.str_),
            "took_us": np.concatenate([part.took_us for part in parts]),
            "actual": _actuals(actuals),
        }
        for before, sides in ((INPUT, [each.inputs for each in parts]), (OUTPUT, [each.outputs for each in parts])):
            if any(side.keys() != sides[0].keys() for side in sides):
                raise InvalidRequest("the recorded rows have different tensors: read the files one by one")
            for name in sides[0]:
                made[before.replace(".", ":") + name] = _plain(joined(name, [side[name] for side in sides]))
        return made

    def _paths(self, begins: str = "") -> list[Path]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        found = [name for name in names if name.startswith(begins) and name.endswith(SUFFIX)]
        return [self._folder / name for name in sorted(found, key=lambda name: name.partition("-")[2])]

    def _look(self, path: Path) -> RecordedFile | None:
        """None where it has gone meanwhile."""
        nbytes = 0
        try:
            nbytes = path.stat().st_size
            if not path.name.startswith(ROWS):
                return RecordedFile(path.name, nbytes, parquet.read_metadata(path).num_rows)
            at = _read(path, ["at"])["at"].cast(pa.int64()).to_numpy() / 1e6
        except FileNotFoundError:
            return None
        except DAMAGED:
            self._skip(path)
            return RecordedFile(path.name, nbytes, damaged=True)
        return RecordedFile(
            path.name, nbytes, len(at), *((float(at.min()), float(at.max())) if len(at) else (None, None))
        )

    def _skip(self, path: Path) -> None:
        if path.name not in self.damaged:
            self.damaged.append(path.name)

    def _truths(self) -> dict[tuple[str, int], Truth]:
        """What came true; of what was said twice the later."""
        found: dict[tuple[str, int], Truth] = {}
        for path in self._paths(ACTUALS):
            try:
                table = _read(path).to_pydict()
                for request_id, row, integer, number, text in zip(
                    table["id"], table["row"], table["integer"], table["number"], table["text"], strict=True
                ):
                    truth = next((each for each in (integer, number, text) if each is not None), None)
                    if truth is not None:
                        found[request_id, row] = truth
            except FileNotFoundError:
                continue
            except DAMAGED:
                self._skip(path)
        return found


def _read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A file whose values are what was written: a page that the disk has changed is seen by its checksum."""
    return parquet.read_table(path, columns=columns, page_checksum_verification=True)


def _known(table: pa.Table, truths: Mapping[tuple[str, int], Truth]) -> list[Truth | None]:
    ids, rows = table["id"].to_pylist(), table["row"].to_pylist()
    return [truths.get(each) if each[0] else None for each in zip(ids, rows, strict=True)]


def rows_of(table: pa.Table, truths: Mapping[tuple[str, int], Truth]) -> Recorded:
    """The rows of a file, joined to what came true for them. Raises what is DAMAGED."""
    table = table.combine_chunks()
    sides: dict[str, dict[str, Array]] = {INPUT: {}, OUTPUT: {}}
    redacted = set()
    for field in table.schema:
        for before, side in sides.items():
            if field.name.startswith(before):
                name = field.name.removeprefix(before)
                side[name] = array_of(field, _one(table[field.name]))
                if REDACTED in (field.metadata or {}):
                    redacted.add(name)
    return Recorded(
        table["id"].to_pylist(),
        table["row"].to_pylist(),
        table["at"].cast(pa.int64()).to_numpy() / 1e6,
        table["version"].to_pylist(),
        table["served_by"].to_pylist(),
        table["took_us"].to_numpy(),
        sides[INPUT],
        sides[OUTPUT],
        _known(table, truths),
        frozenset(redacted),
    )


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _between(part: Recorded, since: float, until: float) -> Recorded:
    places = np.flatnonzero((part.at >= since) & (part.at <= until))
    chosen = places.tolist()
    return Recorded(
        [part.ids[each] for each in chosen],
        [part.rows[each] for each in chosen],
        part.at[places],
        [part.versions[each] for each in chosen],
        [part.served_by[each] for each in chosen],
        part.took_us[places],
        {name: each[places] for name, each in part.inputs.items()},
        {name: each[places] for name, each in part.outputs.items()},
        [part.actuals[each] for each in chosen],
        part.redacted,
    )


def joined(name: str, arrays: Sequence[Array]) -> Array:
    """Rows of several arrays. Raises InvalidRequest where they have different shapes."""
    try:
        return np.concatenate(arrays)
    except ValueError as error:
        raise InvalidRequest(
            f"the recorded rows of '{name[:200]}' have different shapes, and make no single array: read the files one"
            " by one"
        ) from error


def _actuals(truths: Sequence[Truth | None]) -> Array:
    if any(isinstance(each, str) for each in truths):
        return np.array(["" if each is None else str(each) for each in truths], np.str_)
    return np.array([np.nan if each is None else float(each) for each in truths], np.float64)


def _plain(array: Array) -> Array:
    """What a .npz holds without pickles: texts as fixed-width bytes, BF16 as the FP32 of the same value."""
    if array.dtype.hasobject:
        return array.astype(np.bytes_)
    return array.astype(np.float32) if array.dtype.kind not in "biuf" else array
