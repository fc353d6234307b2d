"""A command of the operator, as an action of a scenario."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from loadtest.errors import BenchError

LOOK_S: Final = 0.05


def run_shell(command: str, environment: Mapping[str, str], within: float, abandoned: threading.Event) -> str:
    """Run it in a session of its own; its last line. Whatever it has started is killed when its time is up.

    Raises BenchError when it fails, takes longer than `within` seconds, or is still running once it is `abandoned`.
    """
    until = time.monotonic() + within
    with subprocess.Popen(
        command, shell=True, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace", env=dict(environment),
    ) as process:  # fmt: skip
        while True:
            try:
                out, err = process.communicate(timeout=LOOK_S)
                break
            except subprocess.TimeoutExpired:
                late = time.monotonic() > until
                if late or abandoned.is_set():
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    raise BenchError(f"did not end within {within:g} s" if late else "the run ended first") from None
    lines = (out + err).strip().splitlines()
    last = lines[-1] if lines else ""
    if process.returncode:
        raise BenchError(f"exit code {process.returncode}: {last}")
    return last
