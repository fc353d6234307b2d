"""One memory for several processes, which die as they please."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router.core.question import Question
from router.core.request import Checked, Feed
from router.core.table import Version, VersionState
from router.core.tensor import TensorSpec
from router.serving.answers import Answers

SIZE = 4 << 20
LIMIT_S = 60.0
FEEDS = (Feed("x", "UINT64", 0, (1,), 8),)
ASKED = Question(
    Version("m", "1", "digest", "", VersionState.READY), Checked(FEEDS, (TensorSpec("y", "FP32", (1,)),), 1), 3600
)
COMMON = """
import sys
from pathlib import Path
from tests.serving.test_answers_processes import ASKED, SIZE, body, known, source, write
from router.serving.answers import Answers
answers = Answers(Path(sys.argv[1]), SIZE)
first = int(sys.argv[2])
"""
WRITES = """
number = first
while True:
    write(answers, range(number, number + 50))
    number += 50
    print(number, flush=True)
"""
HOLDS = """
writing = answers._file._env.begin(write=True)
for each in range(100):
    writing.put(b"%d" % each, bytes(1000), db=answers._file._log)
print("holds", flush=True)
sys.stdin.read()
"""
READS = """
reading = answers._file._env.begin()
print("reads", flush=True)
sys.stdin.read()
"""


def source(number: int) -> list[memoryview]:
    """The elements of an input."""
    return [memoryview(number.to_bytes(8, "little"))]


def body(number: int) -> bytes:
    """What the model answers."""
    return b"answer to %d" % number * 10


@contextmanager
def another(directory: Path, script: str, first: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Another process with the same memory; it is killed if it lives too long."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMON + script, str(directory), str(first)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(LIMIT_S)


def line(process: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    assert said, "it died"
    return said


def known(answers: Answers, numbers: range) -> list[int]:
    """Those that are remembered, each with its own answer."""
    found = []
    for number in numbers:
        remembered = answers.recall(ASKED.key(source(number)), 3600)
        if remembered is not None:
            assert remembered.body == body(number)
            found.append(number)
    return found


def write(answers: Answers, numbers: range) -> None:
    """Until they are remembered: where the memory is full, inputs have to come more often than those of others."""
    missing = list(numbers)
    while missing:
        for number in missing:
            answers.remember(ASKED, source(number), 8, body(number))
        answers.write()
        there = known(answers, numbers)
        missing = [number for number in numbers if number not in there]


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    """The memory as this process sees it."""
    answers = Answers(tmp_path / "answers", SIZE)
    yield answers
    answers.close()


def test_what_one_process_writes_the_others_read(tmp_path: Path, answers: Answers) -> None:
    """Both ways, and after the death of the one."""
    write(answers, range(10))
    with another(tmp_path / "answers", WRITES, 100) as process:
        until = int(line(process))
        assert known(answers, range(100, until)) == list(range(100, until))
        process.kill()
    assert known(answers, range(200)) == [*range(10), *known(answers, range(100, 200))]
    with another(
        tmp_path / "answers", "print(len([n for n in range(10) if answers.recall(ASKED.key(source(n)), 60)]))"
    ) as process:
        assert line(process) == "10"


def test_kill_9_between_any_two_instructions_loses_a_batch_at_most(tmp_path: Path) -> None:
    """Whatever was said to be written is there; those that live write on, and so does who comes after."""
    place = tmp_path / "answers"
    answers = Answers(place, SIZE)
    first = 10**6
    for death in range(5):
        with another(place, WRITES, 0) as survivor, another(place, WRITES, first) as process:
            for _ in range(5 + 7 * death):  # at another place each time
                until = int(line(process))
            survivor.send_signal(signal.SIGSTOP)  # what it writes would soon take the place of what is looked for
            process.send_signal(signal.SIGKILL)
            process.wait(LIMIT_S)
            assert len(known(answers, range(until - 50, until))) == 50
            survivor.send_signal(signal.SIGCONT)
            for _ in range(3):
                line(survivor)
            write(answers, range(2 * first, 2 * first + 10))
            assert len(known(answers, range(2 * first, 2 * first + 10))) == 10
        first += 10**5
    answers.close()
    assert len(list(place.glob("*/data.mdb"))) == 1


def test_a_writer_that_is_killed_holding_the_lock_holds_nobody_up(tmp_path: Path, answers: Answers) -> None:
    """Readers go on meanwhile; when it is dead, so do writers; what it had begun is not there."""
    write(answers, range(10))
    with another(tmp_path / "answers", HOLDS) as process:
        assert line(process) == "holds"
        assert known(answers, range(10)) == list(range(10))
        process.kill()
        process.wait(LIMIT_S)
    write(answers, range(10, 20))
    assert known(answers, range(20)) == list(range(20))
    assert answers.figures().entries == 20


def test_the_place_of_a_reader_that_was_killed_is_given_back(tmp_path: Path, answers: Answers) -> None:
    """It would keep old pages from being used again until the memory is full."""
    write(answers, range(10))
    file = answers._file
    assert file is not None
    with another(tmp_path / "answers", READS) as process:
        assert line(process) == "reads"
        assert str(process.pid) in file._env.readers()
        process.kill()
        process.wait(LIMIT_S)
    for number in range(100, 8000, 100):
        write(answers, range(number, number + 100))
    assert str(process.pid) not in file._env.readers()
    assert len(known(answers, range(7800, 8000))) == 200


def test_a_memory_that_one_process_begins_anew_is_found_by_the_others(tmp_path: Path, answers: Answers) -> None:
    """With their next batch."""
    write(answers, range(10))
    anew = "answers._broken = 'damaged'; answers.write(); print('anew', flush=True)" + WRITES
    with another(tmp_path / "answers", anew, 100) as process:
        while line(process) != "anew":  # its log
            pass
        line(process)
        write(answers, range(10, 20))
        assert known(answers, range(10, 20)) == list(range(10, 20))
        assert len(known(answers, range(100, 150))) == 50
