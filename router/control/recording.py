"""Recordings of models: rows that came by, and what came true, as Parquet files (`recorded_schema`).

Rows are taken on the event loop and wait in a bounded queue. One thread puts them together, and writes a file when
enough has come or it is time. So what a process has not written yet when it is killed is lost, `rotate_s` of it at
most; a file that is there is whole. While the disk takes nothing of a model, its recording pauses: that is told once,
the disk is tried again now and then, and what finds no room meanwhile is counted; other models' goes on. Whenever a
file was written, it is looked whether the others can still be read.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import structlog
from pyarrow import parquet

from router.control.ledger_file import Actual
from router.control.recorded_schema import ACTUALS, INPUT, OUTPUT, ROWS, SUFFIX, column, folder_of, truths
from router.control.recording_checks import Checks, told
from router.control.recording_disk import DISK_FULL, Disk
from router.core.observation import Observation
from router.model_settings import RecordingSettings

Array = np.ndarray[Any, Any]
Kind = tuple[Any, ...]

log = structlog.get_logger()

MOST_BYTES: Final = 64 << 20
"""Of rows that wait: in the queue, and the same again put together."""
MOST_KINDS: Final = 16
"""Shapes of rows of one model that are gathered side by side: each is a file of its own."""
MOST_ACTUALS: Final = 100_000
"""What came true and waits."""
RETRY_S: Final = 10.0
"""How often a disk that takes nothing is tried again."""
WORK_S: Final = 1.0
STOP_S: Final = 2.0
ROW: Final = 100
"""Bytes of a row beside its tensors, about."""

Told = Callable[[str, str], None]
"""Hears the model and one line of text. On the recorder's thread."""


@dataclass
class _Gathered:
    """Rows of one shape, that become a file."""

    began: float
    nbytes: int = 0
    parts: list[Observation] = field(default_factory=list)


@dataclass
class _Model:
    """Of one model: what is gathered, by shape, and what came true; and why the disk takes nothing of it, if so."""

    settings: RecordingSettings
    kinds: dict[Kind, _Gathered] = field(default_factory=dict)
    actuals: list[Actual] = field(default_factory=list)
    actuals_began: float = 0.0
    trouble: str = ""
    full: bool = False
    again_at: float = 0.0


def _size(observation: Observation) -> int:
    arrays = (*observation.inputs.values(), *observation.outputs.values())
    return sum(array.nbytes + (_texts(array) if array.dtype.hasobject else 0) for array in arrays) + ROW * len(
        observation
    )


def _texts(array: Array) -> int:
    return sum(len(each) for each in array.ravel())


class Recorder:
    """Records what the models' settings ask for, as they are now. `put` and `came_true` return at once."""

    def __init__(
        self,
        recordings: Path,
        settings: Callable[[], Mapping[str, RecordingSettings]],
        tell: Told,
        clock: Callable[[], float] = time.time,
        disk: Disk | None = None,
        retry_s: float = RETRY_S,
    ) -> None:
        self.folder = recordings
        self.written: Counter[str] = Counter()
        """Rows that are in files, since this process began, by model;"""
        self.lost: Counter[str] = Counter()
        """and rows that found no room, or could not be written."""
        self.trouble = ""
        """Why nothing is recorded just now."""
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._disk = disk or Disk()
        self._retry_s = retry_s
        self._queue: deque[tuple[Observation, int]] = deque()
        self._queue_bytes = 0
        self._truths: deque[tuple[str, Sequence[Actual]]] = deque()
        self._truths_waiting = 0
        self._models: dict[str, _Model] = {}
        self._bytes = 0
        self._checks: dict[str, Checks] = {}
        self._paused: dict[str, str] = {}
        """What was told of troubles: the model, empty for all, by the reason."""
        self._crowded = False  # what came true found no room, and that was told
        self._number = 0
        self._begun = False
        self._lock = threading.Lock()  # of the sums of what waits
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)

    # ---- on the event loop ----

    def put(self, observation: Observation) -> None:
        """Record these rows."""
        nbytes = _size(observation)
        with self._lock:
            room = self._queue_bytes + nbytes <= MOST_BYTES
            self._queue_bytes += nbytes if room else 0
        if room:
            self._queue.append((observation, nbytes))
        else:
            self._lose(observation.model, len(observation))

    def _lose(self, model: str, rows: int) -> None:
        with self._lock:
            self.lost[model] += rows

    def came_true(self, model: str, actuals: Sequence[Actual]) -> None:
        """Record what came true, if the model's rows are recorded."""
        settings = self._settings().get(model)
        if settings is None or not settings.enabled:
            return
        with self._lock:
            room = self._truths_waiting + len(actuals) <= MOST_ACTUALS
            self._truths_waiting += len(actuals) if room else 0
        if room:
            self._truths.append((model, actuals))
        else:
            self._crowd(model)

    def _crowd(self, model: str) -> None:
        """Said once, until what came true is written again."""
        if not self._crowded:
            log.warning("what came true is not recorded: more comes than the disk takes", model=model)
        self._crowded = True

    # ---- the thread ----

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what there is, if that is possible soon."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopping.wait(WORK_S):
            self._safely(last=False)
        self._safely(last=True)

    def _safely(self, *, last: bool) -> None:
        try:
            self.work(last=last)
        except Exception:  # a fault of ours costs what was gathered, not the thread
            log.exception("recordings could not be written")
            for model, each in self._models.items():
                self._lose(model, sum(len(part) for kind in each.kinds.values() for part in kind.parts))
            self._models.clear()
            self._bytes = 0

    def work(self, *, last: bool = False) -> None:
        """Put together what has come, and write what is due; with `last` all of it. The thread does so."""
        now = self._clock()
        settings = self._settings()
        self._gather(settings, now)
        for name, model in list(self._models.items()):
            # A clock that was set back keeps nothing waiting.
            if last or not now < model.again_at <= now + self._retry_s:
                self._attend(name, model, settings.get(name), now, last=last)
        self._tell_troubles()

    def _attend(self, name: str, model: _Model, mine: RecordingSettings | None, now: float, *, last: bool) -> None:
        """Write what is due of a model, and look after its files."""
        ended = mine is None or not mine.enabled
        if mine is not None and not ended:
            model.settings = mine
        try:
            if not self._begun:
                self._disk.begin(self.folder)
                self._begun = True
            before = self._number
            self._write_due(name, model, now, everything=last or ended or self._bytes > MOST_BYTES // 2)
        except OSError as error:
            model.trouble, model.full = error.strerror or type(error).__name__, error.errno in DISK_FULL
            model.again_at = now + self._retry_s
            return
        model.trouble, model.again_at = "", 0.0
        if not model.kinds and not model.actuals:
            del self._models[name]
        if self._number > before:
            self._look_after(name)

    def _look_after(self, name: str) -> None:
        """What cannot be read any more is told."""
        try:
            damaged = self._checks.setdefault(name, Checks()).look(folder_of(self.folder, name))
        except OSError as error:
            log.warning("the recordings of a model cannot be looked at", model=name, reason=error.strerror)
            return
        if damaged:
            self._tell(name, told(damaged))
            log.warning("recordings cannot be read", model=name, files=[each.name for each in damaged])

    def _tell_troubles(self) -> None:
        """What pauses, once for each reason, and when it goes on."""
        found: dict[str, list[str]] = {}
        full = set()
        for name, model in self._models.items():
            if model.trouble:
                found.setdefault(model.trouble, []).append(name)
                full |= {model.trouble} if model.full else set()
        for why, names in found.items():
            if why not in self._paused:
                mend = "free some room for" if why in full else "let the server write into"
                self._paused[why] = names[0] if len(names) == 1 and why not in full else ""
                self._tell(
                    self._paused[why],
                    f"recording pauses: {why}; {mend} the folder `recordings` of the state directory, and it goes on by"
                    " itself",
                )
                log.warning("recording pauses", models=names, reason=why)
        for why in [each for each in self._paused if each not in found]:
            self._tell(self._paused.pop(why), "recording goes on")
        self.trouble = "; ".join(found)

    def _gather(self, settings: Mapping[str, RecordingSettings], now: float) -> None:
        for _ in range(len(self._queue)):
            observation, nbytes = self._queue.popleft()
            with self._lock:
                self._queue_bytes -= nbytes
            name = observation.model
            mine = settings.get(name)
            if mine is None or not mine.enabled:
                continue
            model = self._models.setdefault(name, _Model(mine))
            kind = _kind(observation, mine.redact)
            known = kind in model.kinds
            if self._bytes + nbytes > MOST_BYTES or (not known and len(model.kinds) >= MOST_KINDS):
                self._lose(name, len(observation))
                continue
            gathered = model.kinds.setdefault(kind, _Gathered(now))
            gathered.parts.append(_redacted(observation, mine.redact))
            gathered.nbytes += nbytes
            self._bytes += nbytes
        for _ in range(len(self._truths)):
            name, actuals = self._truths.popleft()
            mine = settings.get(name)
            with self._lock:
                self._truths_waiting -= len(actuals)
            if mine is None or not mine.enabled:
                continue
            model = self._models.setdefault(name, _Model(mine))
            if not model.actuals:
                model.actuals_began = now
            if len(model.actuals) + len(actuals) <= MOST_ACTUALS:
                model.actuals += actuals
            else:
                self._crowd(name)

    def _write_due(self, name: str, model: _Model, now: float, *, everything: bool) -> None:
        """Write files of what is gathered, where enough is or it is time. Raises OSError: what is not written stays."""
        settings = model.settings
        crowded = len(model.kinds) >= MOST_KINDS
        for kind, gathered in list(model.kinds.items()):
            old = not 0 <= now - gathered.began < settings.rotate_s  # or the clock was set back
            full = gathered.nbytes >= settings.rotate_mib * (1 << 20) or crowded
            if not (everything or old or full):
                continue
            rows = sum(len(part) for part in gathered.parts)
            if self._write(name, ROWS, _table(gathered.parts, _redacted_of(kind)), settings, now):
                self.written[name] += rows
            else:
                self._lose(name, rows)
            del model.kinds[kind]
            self._bytes -= gathered.nbytes
        old = not 0 <= now - model.actuals_began < settings.rotate_s
        due = old or len(model.actuals) >= MOST_ACTUALS // 2
        if model.actuals and (everything or due):
            self._write(name, ACTUALS, truths(model.actuals), settings, now)
            model.actuals = []
            self._crowded = False

    def _write(self, name: str, begins: str, table: pa.Table, settings: RecordingSettings, now: float) -> bool:
        """Whether it fits into what the model may have at all."""
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
        content = sink.getvalue()
        most = settings.max_mib << 20
        if content.size > most:
            return False
        folder = folder_of(self.folder, name)
        self._disk.make_room(folder, content.size, most, now - settings.keep_s)
        self._number += 1
        path = folder / f"{begins}{round(now * 1000):013d}-{self._number:06d}{SUFFIX}"
        self._disk.write(path, content.to_pybytes())
        return True


def _kind(observation: Observation, redact: Collection[str]) -> Kind:
    """What rows share that are in one file."""
    sides = (observation.inputs, observation.outputs)
    return tuple(
        tuple((name, array.dtype.str, array.shape[1:], name in redact) for name, array in side.items())
        for side in sides
    )


def _redacted_of(kind: Kind) -> frozenset[str]:
    """The tensors of a kind of which no values are kept."""
    return frozenset(name for side in kind for name, _, _, redacted in side if redacted)


def _table(parts: Sequence[Observation], redacted: Collection[str]) -> pa.Table:
    """The rows of several observations of one kind."""
    ids = [each for part in parts for each in part.ids]
    places = [each for part in parts for each in (part.rows or (0,) * len(part))]
    ends = [each // 1000 for part in parts for each in part.ends_ns]
    took = [each // 1000 for part in parts for each in part.took_ns]
    versions = [part.number for part in parts for _ in part.ids]
    served = [part.served_by for part in parts for _ in part.ids]
    fields = [
        pa.field("id", pa.string()),
        pa.field("row", pa.uint32()),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("version", pa.string()),
        pa.field("served_by", pa.string()),
        pa.field("took_us", pa.uint64()),
    ]
    values = [pa.array(each, fields[at].type) for at, each in enumerate((ids, places, ends, versions, served, took))]
    first = parts[0]
    for before, sides in ((INPUT, [part.inputs for part in parts]), (OUTPUT, [part.outputs for part in parts])):
        for name in first.inputs if before == INPUT else first.outputs:
            array = np.concatenate([side[name] for side in sides])
            made, array_values = column(before + name, array, redacted=name in redacted)
            fields.append(made)
            values.append(array_values)
    return pa.Table.from_arrays(values, schema=pa.schema(fields))


def _redacted(observation: Observation, names: Sequence[str]) -> Observation:
    """The same without the values of these tensors."""
    if not names:
        return observation
    inputs, outputs = (
        {name: _nothing(array) if name in names else array for name, array in side.items()}
        for side in (observation.inputs, observation.outputs)
    )
    return replace(observation, inputs=inputs, outputs=outputs)


def _nothing(array: Array) -> Array:
    """As many values that say nothing."""
    if array.dtype.hasobject:
        made = np.empty(array.shape, object)
        made[...] = b""
        return made
    return np.zeros_like(array)
