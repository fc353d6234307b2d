"""What every child of the supervisor does first, before it imports anything heavy.

A child never outlives its supervisor, leaves the terminal's Ctrl-C to it, and has its place on the board.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

from router.app.board import Board, Slot

EX_CONFIG = 78
"""Exit code of a child that cannot work with this configuration and has said why; `sysexits.h`."""

RUNNING, QUARANTINE, ANSWERS = "running", "quarantine", "answers"
"""In the state directory: what workers run now, what they run no more, and the folder of the memory of answers."""
WARMING, SAMPLES = "warming", "samples"
"""What the warm-up worker runs now, and the folder of recorded requests."""

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """From now on the kernel kills this process when its parent, the process `parent`, ends. Raises SystemExit.

    It is the *thread* that started the child whose end counts: start children from a thread that stays.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it had gone before we asked
        raise SystemExit("the server that this process belongs to has gone (children are started by `router serve`)")


def adopt(state: Path, index: int) -> tuple[Board, Slot]:
    """Take the place `index` (CONTROLLER or `worker_slot(i)`) under the supervisor of the state directory.

    Call it in the main thread. SIGINT and SIGHUP are ignored afterwards; whoever wants SIGHUP (the controller) sets
    its handler after this. SIGTERM means drain and stays as it was. The child is then expected to call `slot.beat()`
    some ten times a second: once it has begun, a second without a beat is its end. It sets `slot.phase`.
    Raises OSError without a board, SystemExit without the supervisor.
    """
    board = Board.open(state / "board")
    die_with(board.supervisor)
    # The supervisor starts us with both blocked, so that neither can hit a process that is not yet ready for it.
    early = {signal.SIGINT, signal.SIGHUP}
    for number in early:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, early)
    return board, board.slot(index)


def link_path(state: Path) -> Path:
    """Where controller and workers meet, a socket in the state directory."""
    return _socket_path(state, "link.sock")


def mirror_path(state: Path) -> Path:
    """Where the warm-up worker takes copies of the workers' runs, a socket in the state directory."""
    return _socket_path(state, "mirror.sock")


def _socket_path(state: Path, name: str) -> Path:
    """A Unix socket's path has at most 107 bytes; through an open directory it is always short enough."""
    return Path(f"/proc/self/fd/{os.open(state, os.O_PATH | os.O_DIRECTORY)}/{name}")
