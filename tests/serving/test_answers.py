"""The memory of answers: what comes back is what was said, in time, or nothing."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router.core.frequency import MOST
from router.core.question import CallersKey, Question
from router.core.request import Checked, Feed
from router.core.table import Version, VersionState
from router.core.tensor import TensorSpec
from router.serving import answer_file as file_module
from router.serving import answers as answers_module
from router.serving.answer_file import AnswerFile
from router.serving.answers import Answers, Figures

SIZE = 4 << 20
LIMIT_S = 20.0
VERSION = Version("m", "1", "digest", "", VersionState.READY)
ASKED = Question(VERSION, Checked((Feed("x", "UINT64", 0, (1,), 8),), (TensorSpec("y", "FP32", (1,)),), 1), 60)


class WallClock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        """Nanoseconds."""
        return self.now

    def after(self, seconds: float) -> None:
        """Time passes; before 0 it is set back."""
        self.now += round(seconds * 1e9)


def source(number: int) -> list[Any]:
    """The elements of an input."""
    return [memoryview(number.to_bytes(8, "little"))]


class World:
    """One process's memory, with its clock."""

    def __init__(self, directory: Path, max_bytes: int = SIZE) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.clock = WallClock()
        self.answers = Answers(directory, max_bytes, self.clock)

    def say(self, number: int, body: bytes) -> None:
        """The model answers an input."""
        self.answers.remember(ASKED, source(number), 8, body)

    def write(self, *numbers: int, body: bytes = b"") -> None:
        """The model answers inputs, which is written."""
        for number in numbers:
            self.say(number, body or b"answer to %d" % number)
        self.answers.write()

    def ask(self, number: int, max_age_s: float = 1e9) -> bytes | None:
        """What the memory says of an input."""
        found = self.answers.recall(ASKED.key(source(number)), max_age_s)
        return None if found is None else found.body

    def grow(self, *numbers: int, body: bytes = bytes(3500)) -> None:
        """These inputs come until their answers are remembered, and no more often."""
        for _ in range(MOST):
            missing = [number for number in numbers if self.ask(number) is None]
            if not missing:
                return
            self.write(*missing, body=body)
        raise AssertionError("not remembered")

    def restart(self) -> None:
        """The process ends, another starts."""
        self.answers.close()
        self.answers = Answers(self.directory, self.max_bytes, self.clock)

    @property
    def figures(self) -> Figures:
        """So far."""
        return self.answers.figures()

    @property
    def data(self) -> Path:
        """The file."""
        (found,) = self.directory.glob("*/data.mdb")
        return found

    @property
    def size(self) -> int:
        """What the file and the counts take of the disk."""
        return self.data.stat().st_size + self.data.with_name("counts").stat().st_size


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty memory."""
    world = World(tmp_path / "state" / "answers")
    yield world
    world.answers.close()


def test_what_was_answered_is_recalled(world: World) -> None:
    """With its age and the version that gave it; of what was never asked, nothing."""
    world.write(1, 2)
    world.clock.after(1.5)
    found = world.answers.recall(ASKED.key(source(1)), 60)
    assert found == (1.5, "1", b"answer to 1")
    assert world.ask(3) is None
    assert world.figures[:5] == (1, 1, 2, 0, 0)
    assert world.figures.entries == 2
    assert 0 < world.figures.bytes < SIZE


@pytest.mark.parametrize("size", [0, 1, 3000, SIZE // 256])
def test_bodies_of_every_size_come_back(world: World, size: int) -> None:
    """Up to a 256th of the memory."""
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    world.say(1, body)
    world.answers.write()
    assert world.ask(1) == body


def test_a_body_that_is_too_large_is_dropped(world: World) -> None:
    """And counted."""
    world.write(1, body=bytes(SIZE // 256 + 1))
    assert world.ask(1) is None
    assert world.figures.dropped == 1


def test_a_callers_key_recalls_the_latest_answer(world: World) -> None:
    """For the same client only."""
    world.answers.remember(ASKED, CallersKey("client", "key"), 20, b"answer")
    world.answers.write()
    for client, body in (("client", b"answer"), ("another", None)):
        found = world.answers.recall(ASKED.key(CallersKey(client, "key")), 60)
        assert (found.body if found else None) == body


def test_ages_are_bounded_by_who_asks(world: World) -> None:
    """To the nanosecond; an answer from the future, after the clock was set back, has no age that could be trusted."""
    world.write(1)
    world.clock.after(60)
    assert world.ask(1, 60) is not None
    world.clock.now += 1
    assert world.ask(1, 60) is None
    assert world.ask(1, 61) is not None
    world.clock.after(-61)
    assert world.ask(1) is None


def test_the_age_counts_from_the_answer_and_not_from_the_write(world: World) -> None:
    """However long it waited."""
    world.say(1, b"a")
    world.clock.after(5)
    world.answers.write()
    assert world.ask(1, 4.9) is None
    assert world.ask(1, 5) == b"a"


def test_the_memory_outlives_its_process(world: World) -> None:
    """With what was said before, in time, and also what still waited at the stop."""
    world.write(1)
    world.say(2, b"at the stop")
    world.restart()
    assert world.ask(1) == b"answer to 1"
    assert world.ask(2) == b"at the stop"


def test_the_same_answer_is_not_written_again_and_again(world: World) -> None:
    """Until a tenth of its age has passed; then it counts as new."""
    world.write(*[1] * 100)
    world.clock.after(5.9)
    world.write(1)
    assert world.figures.writes == 1
    world.clock.after(0.1)
    world.write(1)
    assert world.figures.writes == 2
    assert world.ask(1, 0) is not None
    world.clock.after(-3600)
    world.write(1)  # the clock was set back: what was written is of no use
    assert world.ask(1, 0) is not None


def filled(world: World) -> int:
    """Until something has to go; how many inputs it took."""
    number = 0
    while not world.figures.evicted:
        world.grow(*range(number, number + 50))
        number += 50
    return number


def test_of_what_comes_alike_the_oldest_goes_first(world: World) -> None:
    """As many as come; nothing grows beyond the bound."""
    number = filled(world)
    assert number > SIZE // 5000
    for _ in range(4):
        for _ in range(10):
            world.grow(*range(number, number + 50))
            number += 50
        assert world.figures.bytes < 0.9 * SIZE
        kept = [each for each in range(number) if world.ask(each) is not None]
        assert len(set(kept) ^ set(range(number - len(kept), number))) <= len(kept) // 50
    assert len(kept) == world.figures.entries > SIZE // 5000
    assert world.figures.evicted == number - len(kept)
    assert 0.99 * SIZE < world.size <= SIZE


def test_an_answer_whose_input_comes_again_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be written again for that; once nobody asks any more, it goes like the others."""
    monkeypatch.setattr(answers_module, "WINDOW", 1)
    number = filled(world)
    world.grow(10**6)
    for _ in range(30):
        world.write(10**6)
        world.grow(*range(number, number + 50))
        number += 50
    assert world.ask(10**6) is not None
    assert world.ask(number - 1400) is None
    for _ in range(200):
        world.grow(*range(number, number + 50))
        number += 50
        if world.ask(10**6) is None:
            break
    assert world.ask(10**6) is None


def test_what_comes_least_goes_first_however_long_ago_the_rest_was_written(world: World) -> None:
    """A flood of inputs that come now and then takes nothing from those that come more often."""
    number = filled(world)
    favourites = [each for each in range(number) if world.ask(each) is not None][:150]
    for _ in range(20):
        world.write(*favourites)
    before = world.figures
    for _ in range(40):
        world.grow(*range(number, number + 50))
        number += 50
    assert world.figures.evicted - before.evicted > 1.5 * before.entries
    assert sum(world.ask(each) is not None for each in favourites) > 145


def test_an_answer_that_another_process_let_go_is_written_again(world: World) -> None:
    """Though this one wrote it a moment ago."""
    number = filled(world)
    world.grow(10**6)
    for _ in range(40):
        world.grow(*range(number, number + 50))
        number += 50
        if world.ask(10**6) is None:
            break
    assert world.answers._seen[ASKED.key(source(10**6))][0] == world.clock.now
    world.grow(10**6)
    assert world.ask(10**6) is not None


def test_a_full_memory_writes_new_inputs_when_they_come_more_often(world: World) -> None:
    """What comes once pushes nothing out. What was counted outlives the process, and the others see it too."""
    filled(world)
    world.restart()
    world.write(10**6)
    assert world.ask(10**6) is None
    assert world.figures.writes == 0
    world.restart()
    world.write(10**6)
    assert world.ask(10**6) is not None
    assert world.figures.writes == 1


def test_a_full_memory_refreshes_what_it_has(world: World) -> None:
    """However seldom it comes, also where another process has written it."""
    number = filled(world)
    world.restart()
    world.clock.after(59)
    world.write(number - 1, number - 2)
    assert world.ask(number - 1, 0) is not None
    assert world.figures.writes == 2


def test_nearly_as_much_is_answered_as_by_one_that_knows_what_will_be_asked(world: World) -> None:
    """Of inputs by Zipf's law, a fifth of which it holds: one that holds as many, and those that are asked most."""
    random = np.random.default_rng(5)
    shares = 1.0 / np.arange(1, 4001) ** 0.8
    shares /= shares.sum()
    for _ in range(300):
        world.write(*random.choice(4000, 50, p=shares).tolist(), body=bytes(3500))
    holds = world.figures.entries
    assert 750 < holds < 900
    answered = sum(share for number, share in enumerate(shares) if world.ask(number) is not None)
    assert answered > 0.93 * shares[:holds].sum()


@pytest.mark.parametrize("damage", ["cut off", "gone", "noise"])
def test_answers_outlive_their_counts(world: World, damage: str) -> None:
    """What comes often is learned again; until then nothing that is there is worse for it."""
    number = filled(world)
    counts = world.data.with_name("counts")
    world.answers.close()
    if damage == "gone":
        counts.unlink()
    else:
        counts.write_bytes(os.urandom(counts.stat().st_size if damage == "noise" else 100))
    world.answers = Answers(world.directory, SIZE, world.clock)
    assert world.ask(number - 1) is not None
    assert world.size <= SIZE
    if damage != "noise":
        world.grow(*range(number, number + 50))


@pytest.mark.story
def test_a_refreshed_answer_may_grow(world: World) -> None:
    """Whatever was there before under its key."""
    for size in (1, 10_000, 3, 16_000, 100):
        world.write(*range(300), body=b"b" * size)
        world.clock.after(6)
        kept = [number for number in range(300) if world.ask(number, 6) is not None]
        assert all(world.ask(number, 6) == b"b" * size for number in kept)
        assert len(kept) > 150


def test_a_full_queue_drops_what_comes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By count and by bytes; nobody waits."""
    monkeypatch.setattr(answers_module, "MOST_WAITING", 3)
    for number in range(5):
        world.say(number, b"a")
    assert world.figures.dropped == 2
    world.answers.write()
    monkeypatch.setattr(answers_module, "MOST_WAITING_BYTES", 30)
    for number in range(10, 15):
        world.say(number, b"a")
    assert world.figures.dropped == 4
    world.answers.write()
    assert [number for number in range(20) if world.ask(number)] == [0, 1, 2, 10, 11, 12]


def test_the_writer_writes_without_being_asked(tmp_path: Path) -> None:
    """Its thread gathers a batch, also after a rest."""
    written = []
    answers = Answers(tmp_path / "answers", SIZE)
    answers.start()
    try:
        for number in range(3):
            answers.remember(ASKED, source(number), 8, b"a")
            assert answers._thread.is_alive()
            for _ in range(round(LIMIT_S / 0.01)):
                if answers.recall(ASKED.key(source(number)), 60):
                    written.append(number)
                    break
                answers._stopping.wait(0.01)
        answers.remember(ASKED, source(9), 8, b"at the stop")
    finally:
        answers.close()
    assert written == [0, 1, 2]
    assert not answers._thread.is_alive()
    answers.remember(ASKED, source(10), 8, b"too late")
    assert answers.recall(ASKED.key(source(0)), 60) is None
    again = Answers(tmp_path / "answers", SIZE)
    assert again.recall(ASKED.key(source(9)), 60) is not None
    again.close()


# ---- what may go wrong ----


def test_a_memory_of_an_earlier_boot_is_not_trusted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is synced: after a loss of power pages may be missing. It begins anew, with a line in the log."""
    world.write(1)
    monkeypatch.setattr(file_module, "boot", lambda: "another")
    with capture_logs() as logged:
        world.restart()
    assert [each["event"] for each in logged] == [
        "the memory of answers begins anew: the machine or the layout is another one"
    ]
    assert world.ask(1) is None
    world.write(1)
    assert world.ask(1) is not None
    assert len(list(world.directory.glob("*/data.mdb"))) == 1


@pytest.mark.parametrize("damage", ["garbage", "zeros", "cut off", "longer", "empty"])
def test_a_broken_file_is_made_anew(world: World, damage: str) -> None:
    """With one line; it works at once."""
    world.write(1)
    world.answers.close()
    size = world.data.stat().st_size
    if damage in ("garbage", "zeros"):
        world.data.write_bytes(bytes(size) if damage == "zeros" else os.urandom(size))
    else:
        os.truncate(world.data, {"cut off": size // 2, "longer": 2 * size, "empty": 0}[damage])
    with capture_logs() as logged:
        world.restart()
    assert [each["event"] for each in logged] == ["the memory of answers begins anew"]
    assert world.ask(1) is None
    world.write(1)
    assert world.ask(1) is not None


def test_another_size_begins_anew(world: World) -> None:
    """Larger or smaller: the file is never larger than what is set."""
    for factor in (2, 1):
        world.write(1)
        world.max_bytes = factor * SIZE
        world.restart()
        assert world.ask(1) is None
        assert 0.99 * factor * SIZE < world.size <= factor * SIZE


def test_a_memory_that_is_taken_away_is_made_again(world: World) -> None:
    """Whoever removes its files does no harm: the next batch finds them gone."""
    world.write(1)
    shutil.rmtree(world.directory)
    world.write(2)
    assert world.ask(2) is not None
    assert world.data.exists()


def test_a_place_that_cannot_be_used_switches_the_memory_off(tmp_path: Path) -> None:
    """One line, however often it is tried; it comes back by itself."""
    place = tmp_path / "answers"
    place.write_text("a file")
    with capture_logs() as logged:
        world = World(place)
        for _ in range(3):
            world.write(1)
            assert world.ask(1) is None
        assert world.figures == (0, 3, 0, 0, 0, 0, 0)
        place.unlink()
        world.answers.write()
    assert [(each["event"], each.get("reason")) for each in logged] == [
        ("answers are not remembered", "File exists"),
        ("answers are remembered again", None),
    ]
    world.write(1)
    assert world.ask(1) is not None
    world.answers.close()


def test_a_full_disk_is_noticed_when_the_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is taken at once, so no later write can fail for want of it; nothing is left behind."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, capture_logs() as logged:
        patched.setattr(os, "posix_fallocate", full)
        world = World(tmp_path / "answers")
        world.answers.write()
    assert [(each["event"], each["reason"]) for each in logged] == [
        ("answers are not remembered", "No space left on device")
    ]
    assert not list(world.directory.glob("*/data.mdb"))
    world.answers.write()
    world.write(1)
    assert world.ask(1) is not None
    world.answers.close()


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (lmdb.MapFullError("mdb_put"), "the memory of answers begins anew"),
        (lmdb.CorruptedError("mdb_put"), "the memory of answers begins anew"),
        (lmdb.DiskError("mdb_txn_commit"), "answers are not remembered"),
        (OSError(errno.EIO, "Input/output error"), "answers are not remembered"),
        (ValueError("a fault of ours"), "answers could not be written"),
    ],
)
def test_a_write_that_fails_disturbs_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, event: str
) -> None:
    """One line; the next batch is written."""

    def fails(*_: object) -> int:
        raise error

    monkeypatch.setattr(answers_module, "FULL_S", (0.0,))
    with capture_logs() as logged:
        with monkeypatch.context() as patched:
            patched.setattr(AnswerFile, "put", fails)
            world.write(1)
        world.answers.write()
        world.write(2)
    assert logged[0]["event"] == event
    assert len(logged) <= 2
    assert world.ask(2) is not None
    assert world.ask(1) is None


def test_a_full_map_waits_for_a_reader_that_stands_still(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had no processor for a moment; the memory is not thrown away for that."""
    world.write(1)
    put = AnswerFile.put
    tries: list[int] = []

    def full_at_first(*arguments: object) -> list[int]:
        tries.append(len(tries))
        if len(tries) < 3:
            raise lmdb.MapFullError("mdb_put")
        return put(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(answers_module, "FULL_S", (0.0, 0.0))
    with capture_logs() as logged:
        with monkeypatch.context() as patched:
            patched.setattr(AnswerFile, "put", full_at_first)
            world.write(2)
        world.answers.write()
    assert not logged
    assert world.ask(1) is not None
    assert world.ask(2) is not None


def test_answers_of_all_sizes_share_a_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of several pages need them side by side. Where there are none the oldest go, and not the whole memory."""
    monkeypatch.setattr(answers_module, "FULL_S", ())
    random = np.random.default_rng(1)
    with capture_logs() as logged:
        for _ in range(60):
            for number, size in zip(
                random.integers(0, 3000, 100).tolist(), random.choice((10, 300, 3000, 9000, 16000), 100), strict=True
            ):
                world.say(number, bytes(int(size)))
            world.answers.write()
            assert world.figures.bytes < 0.95 * SIZE
    assert not logged
    assert world.figures.evicted > 300


def test_a_failed_read_is_a_miss(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file is made anew by the writer."""
    world.write(1)
    with monkeypatch.context() as patched:
        patched.setattr(AnswerFile, "get", lambda *_: (_ for _ in ()).throw(lmdb.ReadersFullError("mdb_txn_begin")))
        assert world.ask(1) is None
    assert world.ask(1) is not None
    with monkeypatch.context() as patched, capture_logs() as logged:
        patched.setattr(AnswerFile, "get", lambda *_: (_ for _ in ()).throw(lmdb.CorruptedError("mdb_get")))
        assert world.ask(1) is None
        world.answers.write()
    assert [each["event"] for each in logged] == ["the memory of answers begins anew"]
    assert world.ask(1) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=20))
def test_a_damaged_byte_is_never_an_answer(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int, int]]
) -> None:
    """Whichever bytes of keys and values change under a reader: the right body or none; what is noticed is mended."""
    world = World(tmp_path_factory.mktemp("damaged") / "answers")
    bodies = {number: b"%03d" % number * 30 for number in range(20)}
    for number, body in bodies.items():
        world.say(number, body)
    world.answers.write()
    raw = bytearray(world.data.read_bytes())
    for number, at, bits in flips:
        places = [each.start() for each in re.finditer(re.escape(ASKED.key(source(number))), raw)]
        if places:  # else its key was damaged before
            start = places[at % len(places)]  # in the index, or in the log before the body
            raw[start + at % (16 if at % 2 else 18 + len(bodies[number]))] ^= bits
    world.data.write_bytes(raw)
    found = {number: world.ask(number) for number in bodies}
    assert all(body is None or body == bodies[number] for number, body in found.items())
    noticed = world.answers._broken is not None
    world.write(50)
    assert world.ask(50) == b"answer to 50" or not noticed
    world.answers.close()


def test_an_answer_that_the_index_does_not_know_is_noticed_when_it_goes(world: World) -> None:
    """A damaged index can only miss; the memory begins anew."""
    number = filled(world)
    file = world.answers._file
    assert file is not None
    with file._env.begin(write=True) as writing:
        writing.drop(file._index, delete=False)
    with capture_logs() as logged:
        for _ in range(10):
            world.grow(*range(number, number + 50))
            number += 50
    assert [(each["event"], each["reason"]) for each in logged] == [
        ("the memory of answers begins anew", answers_module.DAMAGED)
    ]
    assert world.ask(number - 1) is not None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 60), st.integers(0, 900)),
        st.tuples(st.just("ask"), st.integers(0, 60), st.integers(0, 300)),
        st.tuples(st.just("after"), st.integers(-20, 100), st.just(0)),
        st.tuples(st.sampled_from(["write", "restart", "crowd"]), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=50, deadline=None)
@given(STEPS)
def test_whatever_happens_an_answer_is_the_inputs_own_and_young_enough(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    """Any order of answers, questions, evictions, restarts and jumps of the clock."""
    world = World(tmp_path_factory.mktemp("any") / "answers")
    said: dict[int, dict[bytes, int]] = {}  # by input: each body and when it was given
    crowd = 10**6
    for count, (step, number, size) in enumerate(steps):
        if step == "say":
            body = b"%d %d " % (number, count) + bytes(size)
            said.setdefault(number, {})[body] = world.clock.now
            world.say(number, body)
        elif step == "ask":
            body_found = world.ask(number, size)
            if body_found is not None:
                assert 0 <= world.clock.now - said[number][body_found] <= size * 10**9
        elif step == "after":
            world.clock.after(number)
        elif step == "write":
            world.answers.write()
        elif step == "restart":
            world.restart()
        else:
            for _ in range(2):
                world.write(*range(crowd, crowd + 150), body=bytes(16_000))
            crowd += 150
            assert world.figures.bytes < SIZE
    world.answers.close()


def test_readers_notice_nothing_of_a_file_that_is_let_go(world: World) -> None:
    """Threads that read while the memory begins anew, over and over: the right answer or none."""
    wrong: list[object] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                wrong.extend(each for each in {world.ask(1)} - {None, b"answer to 1"})
        except Exception as error:  # noqa: BLE001  # whatever it is
            wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)  # as in a worker: they take turns more often, and whoever writes waits for none long
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        with capture_logs():
            for _ in range(30):
                world.write(1)
                world.answers._broken = "a test"
        world.answers.close()
    finally:
        over.set()
        sys.setswitchinterval(interval)
    for reader in readers:
        reader.join(LIMIT_S)
    assert not wrong
