"""Why a server cannot start. Standard library only: the supervisor raises it, `router doctor` shows it."""

from __future__ import annotations


class Refused(Exception):
    """The server cannot start: what is wrong, and the mend. Together they are one line for a person."""

    def __init__(self, wrong: str, mend: str) -> None:
        super().__init__(f"{wrong}; {mend}")
        self.wrong = wrong
        self.mend = mend
