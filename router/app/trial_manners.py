"""How a trial process behaves: it holds nothing but the question, goes first where memory ends, and dies with who asks.

Questions come on stdin, a line each, answers go to what was stdout; whatever else writes to stdout (native libraries
do) is turned to stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, Final

_PR_SET_PDEATHSIG: Final = 1


def begin() -> tuple[SimpleQueue[bytes], BinaryIO] | None:
    """The questions as they come, and where answers go; None when who asked is gone already.

    From here on the process ends when stdin does, also in the middle of a run.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)  # serving comes first
    with contextlib.suppress(OSError):  # and if memory ends, this process goes first
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")
    incoming, answers = os.dup(0), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    questions: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(questions, incoming), name="questions", daemon=True).start()
    return questions, answers


def _listen(questions: SimpleQueue[bytes], handle: int) -> None:
    """Reads on a thread of its own, so that the parent's end is noticed in the middle of a run."""
    with open(handle, "rb") as stream:
        for line in stream:
            questions.put(line)
    os._exit(0)
