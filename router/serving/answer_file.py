"""The file of remembered answers: an LMDB environment that all workers of a machine map.

What it withstands, and how:

- *kill -9 at any instant.* LMDB writes to free pages and then flips a root; its locks are robust mutexes, so a writer
  that dies holding one loses its batch and nothing else. Slots of dead readers are cleared (`reader_check`).
- *Power loss.* Nothing is synced: a memory is not worth a disk's time. Only the page cache of this boot is therefore
  trusted: the folder is named for the boot, and one of an earlier boot is removed unread.
- *A full disk.* The file takes all of its bytes when it is made and is written through `pwrite`, not through the map:
  a page without a place on the disk would be a SIGBUS. Any other size later means that it was cut off or that the
  setting has changed: it is made anew.
- *Damage.* Every answer carries a checksum of its key and value. One bad answer, a page that makes no sense, or a map
  that stays full all the same (a reader stands still and keeps old pages): the file is removed and made anew, and the
  other processes notice that the one they have is not the one in the folder any more (`current`).

Answers lie in the order in which they were written, close together (`log`), and an index says where the answer of a
key is. When more than `FULL` of the pages are in use, something has to go: of those that were written longest ago the
ones whose inputs come least, and the others move to the young end. How often inputs come is counted beside the answers
(`counts`), by all processes together; a count outlives them as the answers do.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import lmdb
import numpy as np
import numpy.typing as npt
import structlog

from router.core.frequency import Frequencies, memory_bytes
from router.core.question import KEY_BYTES

log = structlog.get_logger()

LAYOUT: Final = 2
"""Of the records; a file of another layout is not read."""
LEAST_BYTES: Final = 4 << 20
FULL: Final = 0.88
NEARLY: Final = 0.95
"""Of `FULL`: from here on a memory counts as full, however many pages have just been freed."""
PATIENCE: Final = 8
"""Turns in which nothing goes that comes often: those that were written together may all do so."""
TURNS: Final = 16
"""In one `put`."""
FEWEST: Final = 4
"""One in so many goes in a turn in which some must,"""
HARDLY: Final = 0.94
"""and all do where so many of the pages are in use."""
SAMPLE: Final = 128
"""So many answers are looked at, to learn how often the inputs come whose answers are here;"""
BAR: Final = SAMPLE // 16
"""so many of them may go for one whose input comes more often."""
STRIDE: Final = (5**0.5 - 1) / 2
"""Of the sample: its multiples lie as evenly as can be on a circle (Knuth, TAOCP 3, section 6.4)."""
MOST_WIDTH: Final = 1 << 20
"""Counters a row: more would take long to halve."""
MAX_READERS: Final = 512
BROKEN: Final = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.MapFullError,
    lmdb.PageFullError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)
"""Errors after which the file is not worth keeping."""
_HEAD: Final = struct.Struct(f"<IQ{KEY_BYTES}sB")
"""Checksum of the rest, created (ns), key, length of the version's name."""
_KEY: Final = slice(12, 12 + KEY_BYTES)


class Damaged(Exception):
    """An answer does not have its checksum, or is not in the index."""


class Answer(NamedTuple):
    """What is remembered: when it was made (wall clock, nanoseconds), by which version, and the reply's body."""

    created: int
    version: str
    body: bytes


def reason(error: OSError | lmdb.Error) -> str:
    """What went wrong, without the call and the path, which LMDB puts in front."""
    if isinstance(error, OSError):
        return error.strerror or "the system refuses"
    return str(error).rpartition(": ")[2].partition(" (")[0]


def boot() -> str:
    """What names the time since the machine was started. Raises OSError."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class AnswerFile:
    """Opened once in a process. Every method raises lmdb.Error when the file fails, also after `close`."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Open the file in `directory`, or make one of `max_bytes`. Raises OSError, lmdb.Error."""
        # A counter a row for each 256 bytes: the counts take a 64th.
        self._width = min(1 << ((max_bytes // 256).bit_length() - 1), MOST_WIDTH)
        map_bytes = max_bytes - memory_bytes(self._width)
        map_bytes -= map_bytes % mmap.PAGESIZE
        self._folder = directory / f"{LAYOUT}-{boot()}"
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            self._forget_earlier_boots()
            try:
                self._open(map_bytes)
            except BROKEN as error:
                self._begin_anew(reason(error))
                self._open(map_bytes)
        self.pages = map_bytes // self._psize
        # A write takes fresh pages, and those that it frees are of use two writes later: three have to fit beside the
        # rest.
        self.batch = min(500, self.pages // 192)
        """Answers in one `put`, at most."""
        self.batch_bytes = max_bytes // 256
        """Bytes of their bodies, at most."""
        self.full = False
        """Whether something has to go for what comes."""
        self.oldest = 0
        """The place of the oldest answer; what lay before it has gone or moved."""
        self.evicted = 0
        """How many answers this process had to let go."""
        self._sampled = 0.0
        self.look()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process opens, makes or removes the file meanwhile. The kernel frees the lock of one that dies."""
        held = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)

    def _forget_earlier_boots(self) -> None:
        earlier = [path for path in self._directory.iterdir() if path.is_dir() and path != self._folder]
        for path in earlier:
            shutil.rmtree(path)
        if earlier:
            log.info("the memory of answers begins anew: the machine or the layout is another one")

    def _begin_anew(self, why: str) -> None:
        log.warning("the memory of answers begins anew", reason=why)
        shutil.rmtree(self._folder)

    def _open(self, map_bytes: int) -> None:
        data = self._folder / "data.mdb"
        if data.exists() and data.stat().st_size != map_bytes:
            self._begin_anew("its file does not have the size that is set")
        new = not data.exists()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._env = lmdb.open(
            str(self._folder),
            map_size=map_bytes,
            mode=0o600,
            sync=False,
            metasync=False,
            max_dbs=2,
            max_readers=MAX_READERS,
            max_spare_txns=1,
        )
        try:
            self._log = self._env.open_db(b"log")
            self._index = self._env.open_db(b"index")
            if new:
                with data.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, map_bytes)
            self._inode = data.stat().st_ino
            self._psize = self._env.stat()["psize"]
            self.counts = Frequencies(self._mapped())
            """How often inputs came, as all processes have counted together."""
        except BaseException:
            self._env.close()
            if new:
                shutil.rmtree(self._folder)
            raise

    def _mapped(self) -> npt.NDArray[np.uint8]:
        """The memory of the counts. It takes its place on the disk at once, as the file does."""
        path, size = self._folder / "counts", memory_bytes(self._width)
        if not path.exists() or path.stat().st_size != size:
            path.unlink(missing_ok=True)  # who has mapped the one that was cut off keeps that
            with path.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        return np.asarray(np.memmap(path, np.uint8, "r+", shape=(size,)))

    @property
    def current(self) -> bool:
        """Whether this is still the file that others find; not when somebody had to begin anew."""
        try:
            return (self._folder / "data.mdb").stat().st_ino == self._inode
        except OSError:
            return False

    def get(self, key: bytes) -> tuple[int, str, bytes] | None:
        """The answer of a key, its fields as `Answer` has them. Never waits for a writer. Raises Damaged."""
        with self._env.begin(self._log) as reading:
            place = reading.get(key, None, self._index)
            if place is None:
                return None
            record = reading.get(place)
        if record is None or len(record) < _HEAD.size:
            raise Damaged
        checksum, created, written_for, length = _HEAD.unpack_from(record)
        if written_for != key or checksum != zlib.crc32(record[4:]):
            raise Damaged
        end = _HEAD.size + length
        return created, record[_HEAD.size : end].decode(), record[end:]

    def look(self) -> None:
        """See how far others have come."""
        with self._env.begin() as reading, reading.cursor(self._log) as log:
            self._look(reading, log)

    def _look(self, reading: lmdb.Transaction[bytes], log: lmdb.Cursor[bytes]) -> None:
        self.full = self._used(reading) > NEARLY * FULL * self.pages
        self.oldest = int.from_bytes(log.key(), "big") if log.first() else 0

    def resident(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those of the keys whose answers are here."""
        with self._env.begin(self._index) as reading:
            return {key for key in keys if reading.get(key) is not None}

    def bar(self) -> int:
        """An input has to have come more often than this to be worth the place of another: one in sixteen of those
        whose answers are here has not, by a sample of other answers each time."""
        keys = []
        with self._env.begin(buffers=True) as reading, reading.cursor(self._log) as log:
            if not log.last():
                return 0
            newest = int.from_bytes(log.key(), "big")
            log.first()
            oldest = int.from_bytes(log.key(), "big")
            for _ in range(SAMPLE):
                self._sampled = (self._sampled + STRIDE) % 1.0
                place = oldest + int(self._sampled * (newest - oldest + 1))
                if log.set_range(place.to_bytes(8, "big")):
                    keys.append(_key(log.value()))
        return sorted(self.counts.of(keys))[len(keys) * BAR // SAMPLE]

    def put(self, answers: Sequence[tuple[bytes, Answer]], bar: int) -> list[int]:
        """Write answers by their keys, at most `batch`, in one transaction; gives back their places. Then make room.

        An answer that is there already is replaced where it lies: a hole in the middle of the log is of no use before
        all that is older has gone. Of the oldest those go whose inputs came at most so often as the `bar`. Waits for
        other writers. Raises Damaged.
        """
        self._env.reader_check()  # the slot of a reader that died keeps old pages from being used again
        with (
            self._env.begin(write=True) as writing,
            writing.cursor(self._log) as log,
            writing.cursor(self._index) as index,
        ):
            next_place = int.from_bytes(log.key(), "big") + 1 if log.last() else 0
            known = dict(index.getmulti([key for key, _ in answers]))
            places = []
            for key, answer in answers:
                place = known.get(key)
                new = place is None
                if place is None:
                    place = next_place.to_bytes(8, "big")
                    next_place += 1
                    writing.put(key, place, db=self._index)
                writing.put(place, _record(key, answer), append=new, db=self._log)
                places.append(int.from_bytes(place, "big"))
            self._look(writing, log)
            crowded = self._used(writing) > FULL * self.pages
        turns = 0
        while crowded and turns < TURNS:
            try:
                crowded = self._let_some_go(bar, must=turns >= PATIENCE)
            except lmdb.MapFullError:
                self.make_room()
            turns += 1
        return places

    def _let_some_go(self, bar: int, *, must: bool) -> bool:
        """Look at the oldest, as many as one transaction can bear, and let go what came at most so often as the `bar`
        until the pages in use are few enough; where some `must` go, a part of them however often they came. What came
        more often moves to the young end. Whether there is still too little room."""
        with self._env.begin(write=True) as writing, writing.cursor(self._log) as log:
            next_place = int.from_bytes(log.key(), "big") + 1 if log.last() else 0
            oldest = self._oldest(log)
            counts = self.counts.of([_key(record) for _, record in oldest])
            used = self._used(writing)
            gone = 0
            # Of those that came alike the oldest first. One that came seldom and has not to go yet stays: it is next.
            for turn in sorted(range(len(oldest)), key=counts.__getitem__):
                place, record = oldest[turn]
                surplus = must and (gone * FEWEST < len(oldest) or used > HARDLY * self.pages)
                if used > FULL * self.pages and (counts[turn] <= bar or surplus):
                    writing.delete(place, db=self._log)
                    if not writing.delete(_key(record), db=self._index):
                        raise Damaged
                    gone += 1
                    used = self._used(writing)
                elif counts[turn] > bar:
                    young = next_place.to_bytes(8, "big")
                    next_place += 1
                    writing.delete(place, db=self._log)
                    writing.put(young, record, append=True, db=self._log)
                    writing.put(_key(record), young, db=self._index)
            self._look(writing, log)
            crowded = self._used(writing) > FULL * self.pages
        self.evicted += gone
        return crowded and bool(oldest)

    def make_room(self) -> None:
        """Let the oldest go, as many as one transaction can bear. For a map that is full although not so many pages are
        in use: an answer of several pages needs them side by side, to be written or to be moved. Raises Damaged."""
        with self._env.begin(write=True) as writing, writing.cursor(self._log) as log:
            oldest = self._oldest(log)
            for place, record in oldest:
                writing.delete(place, db=self._log)
                if not writing.delete(_key(record), db=self._index):
                    raise Damaged
            self._look(writing, log)
        self.evicted += len(oldest)

    def _oldest(self, log: lmdb.Cursor[bytes]) -> list[tuple[bytes, bytes]]:
        """The places and records of those whose turn it is."""
        found: list[tuple[bytes, bytes]] = []
        nbytes = 0
        more = log.first()
        while more and len(found) < 4 * self.batch and nbytes < 4 * self.batch_bytes:
            found.append(log.item())
            nbytes += len(found[-1][1])
            more = log.next()
        return found

    def _used(self, reading: lmdb.Transaction[bytes]) -> int:
        used = 0
        for database in (self._log, self._index):
            stat = reading.stat(database)
            used += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return used

    @property
    def used(self) -> int:
        """Pages that hold something."""
        with self._env.begin() as reading:
            return self._used(reading)

    @property
    def used_bytes(self) -> int:
        """Bytes of the pages that hold something."""
        return self.used * self._psize

    @property
    def entries(self) -> int:
        """How many answers it holds."""
        with self._env.begin() as reading:
            return reading.stat(self._log)["entries"]

    def discard(self, why: str) -> None:
        """Remove it unless somebody else has done so: whoever opens it next begins anew. Close it first."""
        with self._alone():
            if self.current:
                self._begin_anew(why)

    def close(self) -> None:
        """Nobody's answers are lost by it."""
        self._env.close()


def _key(record: bytes | memoryview) -> bytes:
    """Whose answer a record is. Raises Damaged."""
    if len(record) < _HEAD.size:
        raise Damaged
    return bytes(record[_KEY])


def _record(key: bytes, answer: Answer) -> bytes:
    name = answer.version.encode()
    rest = b"".join((_HEAD.pack(0, answer.created, key, len(name))[4:], name, answer.body))
    return zlib.crc32(rest).to_bytes(4, "little") + rest
