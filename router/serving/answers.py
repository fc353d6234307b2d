"""The memory of answers: what models said lately, for the day on which they cannot say it.

One memory a machine, shared by its workers (`answer_file`). The hot path appends to a queue and goes on; a thread of
this memory's own hashes and writes, in batches. Reading takes microseconds and waits for nobody.

What is written, and what is forgotten first:

- An answer that this process wrote less than `Question.refresh_ns` ago is not written again: few inputs make most of
  the traffic, and each would cost a write a time.
- Of an input that comes all the time most answers are not even looked at (`often`).
- Once something has to go, what counts is how often inputs come (`core/frequency`), as all workers have counted it
  together and as it was before a restart: a new input is written when it has come more often than those that would go
  for it, and of what was written longest ago the ones that come least go. Inputs that come once, most of a long tail,
  push nothing out (the admission of TinyLFU: Einziger, Friedman and Manes, ACM Transactions on Storage 13, 2017).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import lmdb
import structlog

from router.core.question import CallersKey, Question
from router.core.request import Elements
from router.serving.answer_file import BROKEN, LEAST_BYTES, Answer, AnswerFile, Damaged, reason

log = structlog.get_logger()

GATHER_S: Final = 0.05
"""So long a batch is gathered."""
RETRY_S: Final = 10.0
"""A memory that is switched off tries again so often."""
FULL_S: Final = (0.01, 0.1, 1.0)
"""A full map is tried again after these pauses: a reader that had to wait for a processor gives its old pages back."""
ROOM: Final = 4
"""Then room is made so often: what goes leaves its pages to the writes after the next."""
STOP_S: Final = 2.0
"""A stop waits this long for the last batch: another process may hold the writers' lock."""
OFTEN: Final = 2
LATELY_S: Final = 1.0
"""An input that came so many times within so long is not looked at again: it is written, and known to come again."""
MOST_LATELY: Final = 16_384
MOST_WAITING: Final = 4096
MOST_WAITING_BYTES: Final = 16 << 20
LEAST_SEEN: Final = 1024
MOST_SEEN: Final = 16_384
"""Bounds of how many of the latest inputs a process knows; between them, as many as the memory holds."""
WINDOW: Final = 64
"""Counts are halved when so many inputs have come for each answer that the memory holds: about ten of each of the last
that are worth a place,"""
CROWDED: Final = 16
"""or so many for each counter: then too many share one."""

NOT_WRITTEN: Final = (0, -1)
DAMAGED: Final = "an answer is damaged"

Source = Sequence[Elements] | CallersKey


class Remembered(NamedTuple):
    """An answer from the memory: how old it is, which version gave it, and the reply's body."""

    age_s: float
    version: str
    body: bytes


class Figures(NamedTuple):
    """Of this process, but `bytes` and `entries`, which are the machine's. `dropped` had no place in the queue."""

    hits: int
    misses: int
    writes: int
    dropped: int
    evicted: int
    bytes: int
    entries: int


class Answers:
    """The memory as one process sees it; opened once in each. `max_bytes` (at least 4 MiB) are taken at once.

    `clock` is the wall clock in nanoseconds: ages outlive processes. A memory that fails switches itself off with one
    line in the log and tries again later; nobody is disturbed.
    """

    def __init__(self, directory: Path, max_bytes: int, clock: Callable[[], int] = time.time_ns) -> None:
        self._directory = directory
        self._max_bytes = max(max_bytes, LEAST_BYTES)
        self._clock = clock
        self._lock = threading.Lock()  # of the queue and the figures; held for no longer than an append
        self._waiting: list[tuple[Question, Source, int, bytes]] = []
        self._waiting_bytes = 0
        self._hits = self._misses = self._writes = self._dropped = self._evicted = 0
        self._lately: dict[int, int] = {}  # marks of requests: how often they were remembered
        self._lately_ends = 0
        self._seen: dict[bytes, tuple[int, int]] = {}  # the latest inputs: when this process wrote them, and where
        self._window = LEAST_SEEN
        self._broken: str | None = None
        self._off = ""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._file: AnswerFile | None = None
        self._open()

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def often(self, mark: int, now_ns: int) -> bool:
        """Whether answers to requests with this fingerprint were remembered lately, so that one more says nothing new.

        Any thread, at the price of a look into a dictionary; threads that meet here may count one too few.
        """
        lately = self._lately
        if now_ns >= self._lately_ends or len(lately) >= MOST_LATELY:
            lately = self._lately = {}
            self._lately_ends = now_ns + round(LATELY_S * 1e9)
        count = lately.get(mark, 0)
        if count >= OFTEN:
            return True
        lately[mark] = count + 1
        return False

    def remember(self, question: Question, source: Source, nbytes: int, body: bytes) -> None:
        """Have an answer written soon. Any thread; takes a microsecond, fails never.

        `nbytes` is what `source` keeps in memory; it must not change any more. `body` is the reply after the parts
        that differ by caller.
        """
        file = self._file
        if file is None:
            return
        size = nbytes + len(body)
        waiting = (question, source, self._clock(), body)
        with self._lock:
            first = not self._waiting
            if (
                len(self._waiting) >= MOST_WAITING
                or self._waiting_bytes + size > MOST_WAITING_BYTES
                or len(body) > file.batch_bytes
            ):
                self._dropped += 1
                return
            self._waiting.append(waiting)
            self._waiting_bytes += size
        if first:
            self._wake.set()

    def recall(self, key: bytes, max_age_s: float) -> Remembered | None:
        """The answer of a key (`Question.key`), if it is at most so old. Any thread; never waits for a writer."""
        found = self._get(key)
        remembered = None
        if found is not None:
            created, version, body = found
            age = self._clock() - created
            if 0 <= age <= max_age_s * 1e9:  # one from the future, after the clock was set back, is of unknown age
                remembered = Remembered(age / 1e9, version, body)
        with self._lock:
            if remembered is None:
                self._misses += 1
            else:
                self._hits += 1
        return remembered

    def figures(self) -> Figures:
        """What happened so far."""
        evicted, nbytes, entries = self._evicted, 0, 0
        file = self._file
        if file is not None:
            with suppress(lmdb.Error):  # just being closed
                evicted += file.evicted
                nbytes, entries = file.used_bytes, file.entries
        return Figures(self._hits, self._misses, self._writes, self._dropped, evicted, nbytes, entries)

    def close(self) -> None:
        """Write what waits, and let go of the file. What others read now, they miss."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
            if self._thread.is_alive():  # held up by another process; the file closes with this one
                return
        else:
            self.write()
        self._let_go()

    # ---- the writer ----

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(None if self._file is not None else RETRY_S)
            self._wake.clear()
            self._stopping.wait(GATHER_S)
            self.write()
        self.write()

    def write(self) -> None:
        """Write all that waits. The writer does so; a fault switches the memory off until the next try."""
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        try:
            self._heal()
            file = self._file
            if file is not None:
                file.look()
                bar, wanted = self._wanted(waiting, file)
                for answers in _batches(wanted, file):
                    places = self._put(file, answers, bar)
                    self._writes += len(answers)
                    for (key, answer), place in zip(answers, places, strict=True):
                        self._seen[key] = (answer.created, place)
        except (Damaged, *BROKEN) as error:
            self._broken = DAMAGED if isinstance(error, Damaged) else reason(error)  # the next visit begins anew
        except (OSError, lmdb.Error) as error:
            self._switch_off(error)
        except Exception:  # a fault of ours must not end the thread
            log.exception("answers could not be written")

    def _put(self, file: AnswerFile, answers: list[tuple[bytes, Answer]], bar: int) -> list[int]:
        for pause in FULL_S:
            try:
                return file.put(answers, bar)
            except lmdb.MapFullError:
                self._stopping.wait(pause)
        for _ in range(ROOM):
            try:
                return file.put(answers, bar)
            except lmdb.MapFullError:
                file.make_room()
        return file.put(answers, bar)

    def _wanted(
        self, waiting: Iterable[tuple[Question, Source, int, bytes]], file: AnswerFile
    ) -> tuple[int, dict[bytes, Answer]]:
        """What is to be written, and how often an input has to have come more than to be worth another's place."""
        holds = max(file.entries, LEAST_SEEN)
        self._window = min(holds, MOST_SEEN)
        given = [(question.key(source), question, created, body) for question, source, created, body in waiting]
        keys = [key for key, *_ in given]
        file.counts.count(keys, min(WINDOW * holds, CROWDED * file.counts.width))
        due = {
            key: Answer(created, question.version, body)
            for key, question, created, body in given
            if self._is_due(key, created, question.refresh_ns, file)
        }
        if not due or not file.full:
            return 0, due
        bar = file.bar()
        often = {key for key, count in zip(due, file.counts.of(list(due)), strict=True) if count > bar}
        worth = often | file.resident(due.keys() - often)
        return bar, {key: answer for key, answer in due.items() if key in worth}

    def _is_due(self, key: bytes, now: int, refresh_ns: int, file: AnswerFile) -> bool:
        """Whether this process has not written the answer lately, or it is not there any more."""
        seen = self._seen
        written, place = seen[key] = seen.pop(key, NOT_WRITTEN)
        while len(seen) > self._window:
            del seen[next(iter(seen))]
        return place < file.oldest or not 0 <= now - written < refresh_ns

    # ---- what may go wrong ----

    def _get(self, key: bytes) -> tuple[int, str, bytes] | None:
        file = self._file
        if file is None:
            return None
        try:
            return file.get(key)
        except Damaged:
            self._broken = DAMAGED
        except BROKEN as error:
            self._broken = reason(error)
        except lmdb.Error:  # just being closed, or every slot for readers is taken
            return None
        self._wake.set()
        return None

    def _open(self) -> None:
        try:
            self._file = AnswerFile(self._directory, self._max_bytes)
        except (OSError, lmdb.Error) as error:
            self._switch_off(error)
        else:
            if self._off:
                log.info("answers are remembered again")
            self._off = ""

    def _heal(self) -> None:
        """Let go of a file that is damaged or that nobody else finds any more; open one where there is none."""
        if self._file is not None:
            if self._broken is not None:
                self._begin_anew(self._broken)
            elif not self._file.current:
                self._let_go()
        if self._file is None and not self._stopping.is_set():
            self._open()

    def _begin_anew(self, why: str) -> None:
        file = self._let_go()
        self._broken = None
        if file is not None:
            file.discard(why)

    def _switch_off(self, error: OSError | lmdb.Error) -> None:
        self._let_go()
        why = reason(error)
        if why != self._off:
            log.warning("answers are not remembered", reason=why)
        self._off = why

    def _let_go(self) -> AnswerFile | None:
        file, self._file = self._file, None
        self._seen.clear()
        if file is not None:
            self._evicted += file.evicted
            file.close()
        return file


def _batches(answers: dict[bytes, Answer], file: AnswerFile) -> Iterable[list[tuple[bytes, Answer]]]:
    """Answers by their keys, as many at a time as one write takes."""
    batch: list[tuple[bytes, Answer]] = []
    nbytes = 0
    for key, answer in answers.items():
        if len(batch) >= file.batch or nbytes + len(answer.body) > file.batch_bytes:
            yield batch
            batch, nbytes = [], 0
        batch.append((key, answer))
        nbytes += len(answer.body)
    if batch:
        yield batch
