"""For how long a thread has had a core, and for how long it has waited for one."""

from __future__ import annotations

import os
import threading
import time


class CoreTime:
    """Of the thread that makes it, by the system's account; where there is none a thread seems never to wait."""

    def __init__(self) -> None:
        self._file: int | None = None
        try:
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.spent()
        except (OSError, ValueError, IndexError):
            self.close()

    def close(self) -> None:
        """Read no more."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def now(self) -> int:
        """Nanoseconds of a clock that stands still while the thread waits for a core.

        At the lowest priority waiting is most of a run, and says nothing of the version.
        """
        if self._file is None:
            return time.monotonic_ns()
        while True:
            waited = os.pread(self._file, 64, 0).split()[1]
            instant = time.monotonic_ns()
            if os.pread(self._file, 64, 0).split()[1] == waited:  # else it lost its core between the two
                return instant - int(waited)

    def spent(self) -> tuple[int, int]:
        """Nanoseconds since the thread began: with a core, and waiting for one."""
        if self._file is None:
            return 0, 0
        ran, waited = os.pread(self._file, 64, 0).split()[:2]
        return int(ran), int(waited)
