"""The board: what one process writes, the others read, whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from router.app.board import CONTROLLER, Board, Phase, worker_slot

WRITER = """
import sys, time
from pathlib import Path
from router.app.board import Board

board = Board.open(Path(sys.argv[1]))
until = time.monotonic() + 60
while min(board.words[8], board.words[16], board.words[24]) < 100 and time.monotonic() < until:
    for step in range(100_000):
        board.generation = 0x0101010101010101 * (1 + step % 255)
board.words[32] = 1  # done
"""

READER = """
import sys, time
from pathlib import Path
from router.app.board import Board

words, mine, seen, torn = Board.open(Path(sys.argv[1])).words, int(sys.argv[2]), set(), 0
until = time.monotonic() + 60
while not words[32] and time.monotonic() < until:
    word = words[0]
    torn += word != 0x0101010101010101 * (word & 0xFF) or (not word and len(seen) > 1)  # 0 only before the first
    seen.add(word)
    words[8 * mine] = len(seen)  # the writer goes on until every reader has seen many values
print(torn, len(seen))
"""


def test_no_reader_ever_sees_half_a_word(tmp_path: Path) -> None:
    """Three processes read the generation word while a fourth writes it: every value is one that was written."""
    path = tmp_path / "board"
    Board.create(path, 5)
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(path), str(index)], stdout=subprocess.PIPE, text=True)
        for index in (1, 2, 3)
    ]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    try:
        for reader in readers:
            torn, different = map(int, reader.communicate(timeout=90)[0].split())
            assert torn == 0
            assert different >= 100, "the reader must have looked while the writer wrote"
        assert writer.wait(30) == 0
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
        writer.kill()
        writer.wait()


def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    """The generation and each child's beats, phase, pid and restarts are seen through another mapping of the file."""
    ours = Board.create(tmp_path / "board", 3)
    theirs = Board.open(tmp_path / "board")
    assert (ours.slots, theirs.slots) == (3, 3)
    ours.generation = 2**64 - 1
    assert (theirs.generation, theirs.words[0]) == (2**64 - 1, 2**64 - 1)
    slot, seen = ours.slot(worker_slot(1)), theirs.slot(worker_slot(1))
    slot.occupy(4321, 7)
    slot.beat()
    slot.beat()
    slot.phase = Phase.SERVING
    assert (seen.pid, seen.restarts, seen.beats, seen.phase, seen.serves) == (4321, 7, 2, Phase.SERVING, True)
    others = [theirs.slot(CONTROLLER), theirs.slot(worker_slot(0))]
    assert [(other.pid, other.restarts, other.beats, other.phase) for other in others] == [(0, 0, 0, 0)] * 2
    slot.wanted = True
    slot.vacate()
    assert seen.wanted  # that is the controller's to say
    slot.wanted = False
    assert not seen.wanted
    assert (seen.pid, seen.restarts, seen.beats, seen.phase) == (0, 7, 0, Phase.STARTING)


def test_a_new_board_begins_at_zero_and_leaves_the_old_one_alone(tmp_path: Path) -> None:
    """Who still maps the board of an earlier server disturbs nobody on the new one."""
    old = Board.create(tmp_path / "board", 2)
    old.generation = 5
    new = Board.create(tmp_path / "board", 2)
    assert new.generation == 0
    old.generation = 6
    assert new.generation == 0


def test_there_are_no_slots_beyond_the_last(tmp_path: Path) -> None:
    """A slot that the board does not have is an error, not another child's words."""
    board = Board.create(tmp_path / "board", 2)
    for index in (-1, 2):
        with pytest.raises(IndexError):
            board.slot(index)


def test_a_closed_board_lets_go_of_the_file(tmp_path: Path) -> None:
    """After `close` the words cannot be touched any more."""
    board = Board.create(tmp_path / "board", 1)
    slot = board.slot(CONTROLLER)
    board.close()
    with pytest.raises(ValueError, match="released"):
        slot.beat()
