"""The predictions of one worker on their way to the ledger, which the controller keeps (`control/ledger`).

The hot path appends what a run gave to a queue and goes on; a thread of this queue's own makes predictions of it, in
batches, and hands them over one sheet after the other: the next goes when the controller has confirmed the one before,
which is when it is on the disk. So

- a controller that dies or stands still loses nothing that was handed over: what it has not confirmed is said again
  when it is back, and a sheet that it knows already changes nothing;
- a worker that dies loses what it had not handed over yet, some `GATHER_S` of predictions while the controller keeps
  up;
- nothing grows without bounds: what finds no place is dropped, counted, and told once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import structlog

from router.core.prediction import MOST_TEXT, Form, Sheet, Value, said, sampled
from router.core.request import id_of

if TYPE_CHECKING:
    from router.serving.call import Call

Array = np.ndarray[Any, Any]

log = structlog.get_logger()

GATHER_S: Final = 0.25
"""So long predictions are gathered."""
STOP_S: Final = 1.0
"""A stop waits this long for the controller to confirm the last ones."""
MOST_RUNS: Final = 8192
MOST_BYTES: Final = 16 << 20
"""Outputs of runs that wait for this queue's thread."""
MOST_ROWS: Final = 1 << 16
"""Predictions that wait for the controller."""
SHEET: Final = 4096
"""Predictions in one sheet, at most."""


class Clock(Protocol):
    """What relates the clock of runs to that of the calendar, both in nanoseconds."""

    def monotonic_ns(self) -> int:
        """Since some instant."""

    def time_ns(self) -> int:
        """Since 1970."""


class Handed(NamedTuple):
    """A sheet as it goes to the controller, which confirms it by its number."""

    number: int
    sheet: Sheet


@dataclass
class Figures:
    """Of one model, since this process began. `kept` are on the disk; `lost` found no place."""

    kept: int = 0
    lost: int = 0


class Notes:
    """What one plan writes down of its runs: the output at `position`, of each request that has an id."""

    __slots__ = ("_queue", "form", "generation", "model", "position", "sample", "served_by", "version")

    def __init__(
        self,
        queue: Predictions,
        position: int,
        form: Form,
        model: str,
        version: str,
        generation: int,
        served_by: str,
        sample: float,
    ) -> None:
        self._queue = queue
        self.position = position
        self.form = form
        self.model = model
        self.version = version
        self.generation = generation
        self.served_by = served_by
        self.sample = sample

    def take(
        self, calls: Sequence[Call], won: Sequence[Call], outputs: Sequence[Array], now_ns: int, *, hedge: bool
    ) -> None:
        """Keep what a run said to those of its calls that it has answered: `won`, in the same order.

        The others have another answer. `outputs` hold the rows of all calls; `now_ns` is monotonic.
        """
        if len(calls) == 1:
            id_field = calls[0].id_field
            if id_field and won:
                self._queue.put((self, (id_field,), None, outputs[self.position], now_ns, hedge))
            return
        ids = [call.id_field for call in calls] if len(won) == len(calls) else _of_those(calls, won)
        if any(ids):
            rows = [call.plan.rows for call in calls]
            self._queue.put((self, ids, rows, outputs[self.position], now_ns, hedge))

    def put(self, ids: Sequence[bytes], rows: Sequence[int] | None, output: Array, now_ns: int) -> None:
        """Keep what an output says to requests: id field (empty: none) and rows of each; `rows` None: one has all."""
        self._queue.put((self, ids, rows, output, now_ns, False))


def _of_those(calls: Sequence[Call], won: Sequence[Call]) -> list[bytes]:
    """The ids of calls, nothing in the place of those that are not among `won`."""
    ids = []
    place = 0
    for call in calls:
        mine = place < len(won) and call is won[place]
        ids.append(call.id_field if mine else b"")
        place += mine
    return ids


_Ran = tuple[Notes, Sequence[bytes], Sequence[int] | None, Array, int, bool]
"""What a run said: ids of its calls (empty: none), rows of each (None: one has all), output, when, whether a hedge."""


class _Kind(NamedTuple):
    """What predictions of one sheet have in common."""

    model: str
    version: str
    generation: int
    served_by: str
    form: Form


@dataclass
class _Columns:
    """Predictions that have all but these in common, as they are gathered."""

    ids: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    at_ns: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, more: _Columns) -> None:
        """Put others below these."""
        self.ids += more.ids
        self.rows += more.rows
        self.at_ns += more.at_ns
        self.values += more.values
        self.scores += more.scores

    def sheets(self, kind: _Kind) -> Iterator[Sheet]:
        """All of them, at most `SHEET` on each."""
        for at in range(0, len(self.ids), SHEET):
            part = slice(at, at + SHEET)
            ids, rows, at_ns = self.ids[part], self.rows[part], self.at_ns[part]
            yield Sheet(*kind, ids, rows, at_ns, self.values[part], self.scores[part])


class Predictions:
    """The queue. `hand_over` gives a sheet to the controller, if it is there; `kept` is to be called when it has it."""

    def __init__(self, hand_over: Callable[[Handed], None], clock: Clock = time) -> None:
        self._hand_over = hand_over
        self._clock = clock
        self._lock = threading.Lock()  # of what waits for the thread; held for no longer than an append
        self._ran: list[_Ran] = []
        self._ran_bytes = 0
        self._going = threading.Lock()  # of all below
        self._unkept: deque[Handed | Callable[[], None]] = deque()
        self._unkept_rows = 0
        self._number = 0
        self._figures: dict[str, Figures] = {}
        self._losing = False
        self._asked: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="predictions", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, ran: _Ran) -> None:
        """Take what a run said. Any thread; takes a microsecond, fails never."""
        notes, _, _, output, _, _ = ran
        nbytes = output.nbytes
        with self._lock:
            first = not self._ran
            full = len(self._ran) >= MOST_RUNS or self._ran_bytes + nbytes > MOST_BYTES
            if not full:
                self._ran.append(ran)
                self._ran_bytes += nbytes
        if full:
            self._lose(notes.model, len(output) if output.ndim else 1)
        elif first:
            self._wake.set()

    def figures(self) -> dict[str, Figures]:
        """By model."""
        with self._going:
            return {model: Figures(each.kept, each.lost) for model, each in self._figures.items()}

    # ---- with the controller ----

    def kept(self, number: int) -> None:
        """The controller has confirmed a sheet: the next one goes. Any thread."""
        with self._going:
            first = self._unkept[0] if self._unkept else None
            if not isinstance(first, Handed) or first.number != number:
                return  # it was said twice
            self._unkept.popleft()
            self._unkept_rows -= len(first.sheet)
            self._figures.setdefault(first.sheet.model, Figures()).kept += len(first.sheet)
            if self._losing and self._unkept_rows < MOST_ROWS // 2:
                self._losing = False
                log.info("predictions are kept again")
        self._go_on()

    def again(self) -> None:
        """The controller is there, for the first time or after it was gone: what it has not confirmed is said again."""
        self._say()

    def ask(self, done: Callable[[], None]) -> None:
        """Hand over all that has been put so far, without gathering; `done` is called when it is confirmed."""
        self._asked.append(done)
        self._hurry.set()
        self._wake.set()

    def _go_on(self) -> None:
        """Call those who wait for what is confirmed by now, and say the next sheet."""
        while True:
            with self._going:
                first = self._unkept[0] if self._unkept else None
                if first is None or isinstance(first, Handed):
                    break
                self._unkept.popleft()
            first()
        self._say()

    def _say(self) -> None:
        with self._going:
            first = self._unkept[0] if self._unkept else None
        if isinstance(first, Handed):
            self._hand_over(first)

    # ---- the thread ----

    def close(self) -> None:
        """Hand over the rest, and wait a while until the controller has it."""
        all_kept = threading.Event()
        self._stopping = True
        self.ask(all_kept.set)
        if self._thread.ident is None:
            self.work()
        all_kept.wait(STOP_S)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            self._hurry.wait(GATHER_S)
            self._hurry.clear()
            self.work()
        self.work()

    def work(self) -> None:
        """Make sheets of all that was put, and hand over the first. The thread does so."""
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        with self._lock:
            ran, self._ran, self._ran_bytes = self._ran, [], 0
        sheets = self._sheets(ran)
        lost: list[Sheet] = []
        with self._going:
            idle = not self._unkept
            for sheet in sheets:
                if self._unkept_rows + len(sheet) > MOST_ROWS:
                    lost.append(sheet)
                    continue
                self._number += 1
                self._unkept.append(Handed(self._number, sheet))
                self._unkept_rows += len(sheet)
            self._unkept.extend(asked)
        for sheet in lost:
            self._lose(sheet.model, len(sheet))
        if idle:
            self._go_on()

    def _lose(self, model: str, rows: int) -> None:
        with self._going:
            self._figures.setdefault(model, Figures()).lost += rows
            losing, self._losing = self._losing, True
        if not losing:
            log.warning("predictions are lost: more come than the ledger takes", model=model)

    def _sheets(self, ran: Sequence[_Ran]) -> list[Sheet]:
        """What runs said, put together by who said it."""
        wall = self._clock.time_ns() - self._clock.monotonic_ns()
        alike: dict[tuple[Notes, bool, tuple[int, ...]], list[_Ran]] = {}
        for each in ran:
            alike.setdefault((each[0], each[5], each[3].shape[1:]), []).append(each)
        by_kind: dict[_Kind, _Columns] = {}
        for (notes, hedge, _), group in alike.items():
            served_by = "hedge" if hedge else notes.served_by
            kind = _Kind(notes.model, notes.version, notes.generation, served_by, notes.form)
            try:
                gathered = _gathered(notes, group, wall)
            except Exception:  # a fault of ours must not end the thread
                log.exception("predictions could not be read", model=kind.model, version=kind.version)
                continue
            by_kind.setdefault(kind, _Columns()).add(gathered)
        return [sheet for kind, columns in by_kind.items() for sheet in columns.sheets(kind)]


def _gathered(notes: Notes, group: Sequence[_Ran], wall: int) -> _Columns:
    """The predictions of runs whose outputs have rows of one shape; `wall` is the runs' clock since 1970."""
    columns = _Columns()
    outputs = [output if output.ndim else output.reshape(1) for _, _, _, output, _, _ in group]
    values, scores = said(outputs[0] if len(outputs) == 1 else np.concatenate(outputs), notes.form)
    sample = notes.sample
    at = 0
    for (_, ids, each, _, now_ns, _), output in zip(group, outputs, strict=True):
        when = wall + now_ns
        for id_field, rows in zip(ids, each or (len(output),), strict=True):
            request_id = text(id_field)
            if request_id and (sample >= 1 or sampled(request_id, sample)):
                for row, value in enumerate(values[at : at + rows]):
                    if value is not None:
                        columns.ids.append(request_id)
                        columns.rows.append(row)
                        columns.at_ns.append(when)
                        columns.values.append(value)
                        if scores:
                            columns.scores.append(scores[at + row])
            at += rows
    return columns


def text(id_field: bytes) -> str:
    """The id in a field as it travels (tag, length, text); empty where there is none or it is too long to be kept."""
    found = id_of(id_field).decode()
    return found if len(found) <= MOST_TEXT else ""
