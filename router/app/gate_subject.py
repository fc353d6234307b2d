"""A version under trial: loaded as a worker would load it, its runs ended when they take too long, and timed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from router.app.gate_rows import Rows
from router.core.table import Version
from router.core.tensor import ANY
from router.errors import ModelFailed
from router.serving.session import Session

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]
Run = Callable[[Feeds], list[Array]]

MOST_AT_ONCE: Final = 64
"""Rows of an exam that share a run, where rows are joined at all."""
KEPT_ELEMENTS: Final = 4096
"""Outputs that are larger for each row are looked at and not kept."""
_WAITED: Final = 1
"""Which number of a thread's schedstat is the time that it waited for a core, in nanoseconds."""


class Overdue(ModelFailed):
    """A run did not end in time."""


class Subject:
    """A loaded version. Raises ModelBroken when it cannot be loaded."""

    def __init__(self, version: Version, providers: Sequence[str]) -> None:
        self.version = version
        self.signature = version.signature
        self._names = [spec.name for spec in version.signature.outputs]
        self._session = Session(version, providers)

    @property
    def joined(self) -> int:
        """How many rows share a run at most."""
        return self.version.batching.max_size

    @contextlib.contextmanager
    def limited(self, limit_s: float) -> Iterator[Run]:
        """What runs it. All runs within the block together take `limit_s` at most: Overdue then, else ModelFailed.

        A run ends between two operators; within one it cannot be ended.
        """
        stop = self._session.stop()
        over = threading.Event()

        def end() -> None:
            over.set()
            stop.terminate = True

        def run(feeds: Feeds) -> list[Array]:
            try:
                return self._session.run(self._names, feeds, stop)
            except ModelFailed as error:
                if over.is_set():
                    raise Overdue(f"its runs did not end within {limit_s:.3g} s") from error
                raise

        timer = threading.Timer(max(limit_s, 0.0), end)
        timer.daemon = True
        timer.start()
        try:
            yield run
        finally:
            timer.cancel()

    def run(self, feeds: Feeds, limit_s: float) -> list[Array]:
        """One run. Raises Overdue, ModelFailed."""
        with self.limited(limit_s) as run:
            return run(feeds)

    def answers(
        self,
        rows: Rows,
        count: int,
        limit_s: float,
        told: Callable[[Sequence[Array], int], None],
        keep: Collection[str] = (),
    ) -> dict[str, Array]:
        """Outputs by name, their first dimension the rows: those in `keep`, and others that are small.

        `told` of all outputs of each run and how many rows it had. Where rows are whole inputs the outputs are those
        of the first, as they are. Raises Overdue, early where it is foreseen, and ModelFailed with the rows that
        failed.
        """
        batch = min(self.joined, MOST_AT_ONCE) if rows.joinable else 1
        count = 1 if rows.whole else min(count, len(rows))
        parts: dict[str, list[Array]] = {name: [] for name in self._names}
        began = time.monotonic()
        with self.limited(limit_s) as run:
            for at in range(0, count, batch):
                until = min(at + batch, count)
                try:
                    outputs = self._of_rows(run(rows.part(at, until)), until - at, rows.whole)
                except Overdue:
                    raise
                except ModelFailed as error:
                    which = f"row {at}" if until - at == 1 else f"rows {at} to {until - 1}"
                    raise ModelFailed(f"{which}: {error}") from error
                told(outputs, until - at)
                for name, output in zip(self._names, outputs, strict=True):
                    if name in parts and (name in keep or output.size <= KEPT_ELEMENTS * (until - at)):
                        parts[name].append(output)
                    else:
                        parts.pop(name, None)
                needed_s = (time.monotonic() - began) / until * count
                if needed_s > max(limit_s, 0.5):
                    raise Overdue(f"{count} rows would take about {needed_s:.0f} s, {limit_s:.0f} s are left for them")
        if rows.whole:
            return {name: given[0] for name, given in parts.items()}
        try:
            return {name: np.concatenate(given) for name, given in parts.items()}
        except ValueError as error:
            raise ModelFailed("its outputs have other sizes for other rows") from error

    def _of_rows(self, outputs: list[Array], rows: int, whole: bool) -> list[Array]:
        """Outputs with one entry for each row. Raises ModelFailed."""
        made = []
        for spec, output in zip(self.signature.outputs, outputs, strict=True):
            array = np.asarray(output)
            if whole:
                made.append(array)
                continue
            if rows == 1 and spec.shape[:1] not in ((ANY,), (1,)):
                array = array[None]  # of a model without rows
            if len(array) != rows:
                raise ModelFailed(f"output '{spec.name}' has {len(array)} entries for {rows} rows")
            made.append(array)
        return made


class Stopwatch:
    """Times runs without what the thread waited for a core: other programs' work says nothing of the model."""

    def __init__(self) -> None:
        self._handle = -1
        with contextlib.suppress(OSError):
            self._handle = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def close(self) -> None:
        """No more times."""
        if self._handle >= 0:
            os.close(self._handle)

    def seconds(self, run: Run, feeds: Feeds) -> float:
        """Of one run. Raises what the run raises."""
        waited = self._waited()
        began = time.perf_counter_ns()
        run(feeds)
        took = time.perf_counter_ns() - began
        return max(took - (self._waited() - waited), 1) * 1e-9

    def _waited(self) -> int:
        return int(os.pread(self._handle, 96, 0).split()[_WAITED]) if self._handle >= 0 else 0


def resident_bytes() -> int:
    """The memory that this process holds."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
