"""Recorded requests as runs of a model: its newest ones, for a version that is warmed where nobody asks.

A request is what was recorded of it, without its id. What it was answered is left aside: rows of it that were not
recorded may have had a part in that, and the champion answers the same rows again beside the version.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyarrow import parquet

from router.control.recorded import DAMAGED, Recorded, rows_of
from router.control.recorded_schema import ROWS, SUFFIX
from router.core.mirrored import MirroredCall, MirroredRun
from router.core.request import Header, InputHeader, check
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec, encode_bytes
from router.errors import InvalidRequest

Array = np.ndarray[Any, Any]

MOST_FILES: Final = 200
"""That are looked into: where rows come in one by one, each file has few."""
MOST_BYTES: Final = 64 << 20
"""Of all requests together, and of one file in memory."""
NAMED: Final = 3
"""Files that are named, of those that are left out for one reason."""
FOREIGN: Final = (*DAMAGED, ArithmeticError, AttributeError, LookupError, RecursionError)
"""What readers raise for a file that may hold anything."""

_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


class RecordedRuns:
    """The newest `most` requests to `model` in a folder, of the newest file the last ones first.

    Only such as a version of this `signature` takes, and none with an input that is `redacted`, or was. Reads files as
    it goes, so not on an event loop. Files that cannot be used are left out and counted; nothing is raised for them.
    """

    def __init__(
        self, folder: Path, model: str, signature: Signature, redacted: Collection[str] = (), most: int = 1
    ) -> None:
        self.sent = 0
        """Requests that were given out so far,"""
        self.files = 0
        """of so many files,"""
        self.newest_s = 0.0
        """and when the newest of them was answered, in seconds since 1970."""
        self._folder = folder
        self._model = model
        self._signature = signature
        self._redacted = frozenset(redacted)
        self._most = most
        self._room = MOST_BYTES
        self._left_out: dict[str, list[str]] = {}
        self._fits: dict[tuple[InputHeader, ...], bool] = {}

    def __iter__(self) -> Iterator[MirroredRun]:
        for path in self._paths()[:MOST_FILES]:
            if self.sent >= self._most:
                return
            runs = self._runs(path)
            self.files += bool(runs)
            for run in runs:
                self._room -= run.calls[0].nbytes
                if self._room < 0:
                    return
                self.sent += 1
                yield run

    @property
    def words(self) -> str:
        """What was given out; empty while nothing was."""
        if not self.sent:
            return ""
        newest = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.newest_s))
        files = "1 file" if self.files == 1 else f"{self.files} files"
        return f"{self.sent} of the recorded ones are from {files} of its recordings, the newest of {newest}"

    @property
    def left_out(self) -> str:
        """Which files were left out and why, in one line; empty where none was."""
        return "; ".join(_told(why, list(names)) for why, names in list(self._left_out.items()))

    def _paths(self) -> list[Path]:
        """Files with rows, the newest first."""
        try:
            names = [name for name in os.listdir(self._folder) if name.startswith(ROWS) and name.endswith(SUFFIX)]
        except FileNotFoundError:
            return []
        except OSError:
            self._leave_out(self._folder.name, "cannot be read")
            return []
        names.sort(key=lambda name: name.partition("-")[2], reverse=True)
        return [self._folder / name for name in names]

    def _leave_out(self, name: str, why: str) -> None:
        self._left_out.setdefault(why, []).append(name)

    # ---- one file ----

    def _runs(self, path: Path) -> list[MirroredRun]:
        """The last of its requests, as many as are wanted still, the oldest of them first."""
        try:
            part = _read(path)
            if part is None:
                self._leave_out(path.name, f"have more than {MOST_BYTES >> 20} MiB")
                return []
            hidden = [name for name in part.inputs if name in self._redacted | part.redacted]
            if hidden:
                self._leave_out(path.name, f"have the input '{hidden[0][:80]}' redacted")
                return []
            wanted = self._most - self.sent
            runs: list[MirroredRun] = []
            for first, last in reversed(_requests(part)):
                if len(runs) == wanted:
                    break
                call = self._call(part, first, last)
                if call is not None:
                    runs.append(MirroredRun(self._model, "", (call,), {}, 0.0))
                    self.newest_s = max(self.newest_s, float(part.at[last - 1]))
        except FileNotFoundError:  # its time was over
            return []
        except FOREIGN:
            self._leave_out(path.name, "cannot be read")
            return []
        if not runs and len(part.ids):
            self._leave_out(path.name, "hold other requests than it takes")
        return runs[::-1]

    def _call(self, part: Recorded, first: int, last: int) -> MirroredCall | None:
        """The rows from one to another as a request; None where that is none for this signature."""
        specs = {spec.name: spec for spec in self._signature.inputs}
        inputs: list[InputHeader] = []
        elements: list[memoryview] = []
        for name, array in part.inputs.items():
            rows = array[first:last]
            shape = _shape(specs[name], rows, self._whole) if name in specs else None
            if shape is None:
                return None
            datatype = _NAMES[array.dtype]
            inputs.append(InputHeader(name, datatype, shape))
            elements.append(memoryview(encode_bytes(rows) if datatype == BYTES else rows.tobytes()))
        headers = tuple(inputs)
        return MirroredCall(b"", headers, tuple(elements)) if self._fit(headers) else None

    def _fit(self, headers: tuple[InputHeader, ...]) -> bool:
        known = self._fits.get(headers)
        if known is None:
            try:
                check(Header(self._model, "", headers, ()), self._signature)
                known = True
            except InvalidRequest:
                known = False
            self._fits[headers] = known
        return known

    @property
    def _whole(self) -> bool:
        """Whether a request may be recorded as one row, its tensors flat: not all of them have the same rows."""
        specs = (*self._signature.inputs, *self._signature.outputs)
        return any(not spec.shape or spec.shape[0] != ANY for spec in specs)


def _read(path: Path) -> Recorded | None:
    """The rows of a file; None where it is too large. Raises what is FOREIGN."""
    if not path.exists():
        raise FileNotFoundError
    if not path.is_file():
        raise InvalidRequest("no file")
    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        about = file.metadata
        if sum(about.row_group(at).total_byte_size for at in range(about.num_row_groups)) > MOST_BYTES:
            return None
        return rows_of(file.read(use_threads=False), {})


def _requests(part: Recorded) -> list[tuple[int, int]]:
    """From which row to which the requests are: rows of one were answered at the same time, and their places rise."""
    about = list(zip(part.ids, part.at.tolist(), part.took_us.tolist(), part.versions, strict=True))
    starts = [
        at for at in range(len(about)) if not at or about[at] != about[at - 1] or not part.rows[at] > part.rows[at - 1]
    ]
    return list(zip(starts, [*starts[1:], len(about)], strict=True))


def _shape(spec: TensorSpec, rows: Array, whole: bool) -> tuple[int, ...] | None:
    """The shape in which these rows were asked; None where there is none. `whole`: they may lie flat in one row."""
    free = spec.shape.count(ANY)
    if spec.accepts(rows.shape) and not (whole and free > 1):
        shape: tuple[int, ...] = rows.shape
        return shape
    if len(rows) != 1 or free > 1:
        return None
    fixed = math.prod(size for size in spec.shape if size != ANY)
    if not free:
        return spec.shape if fixed == rows.size else None
    if not fixed or rows.size % fixed:
        return None
    return tuple(rows.size // fixed if size == ANY else size for size in spec.shape)


def _told(why: str, names: Sequence[str]) -> str:
    count = "1 file of recordings" if len(names) == 1 else f"{len(names)} files of recordings"
    if len(names) == 1:
        why = why.replace("have ", "has ", 1).replace("hold ", "holds ", 1)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{count} {why}: {', '.join(name[:80] for name in names[:NAMED])}{more}"
