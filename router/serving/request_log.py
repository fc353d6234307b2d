"""Lines of the log about single requests that went wrong: with the caller's id, and never more than a log can bear.

Of what goes well nothing is written. What goes wrong may go wrong for every request: of each kind of trouble so many
lines a second are written, and the next one says how many were left out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import structlog

from router.core.request import id_of

if TYPE_CHECKING:
    from router.serving.call import Call

log = structlog.get_logger()

MOST: Final = 5
"""Lines a second, of each kind, in each process."""
LONGEST: Final = 200
"""Characters of an id."""
SHOWN: Final = 8
"""Ids of a run of several requests."""
REASON: Final = 500


class RequestLog:
    """May be written to on any thread. A kind is a text of the program's own: there are few."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def tell(self, what: str, calls: Iterable[Call], reason: str = "", **facts: Any) -> None:
        """A line about the requests of these calls."""
        self._write(log.warning, what, calls, {**facts, "reason": reason[:REASON]} if reason else facts)

    def fault(self, what: str, calls: Iterable[Call], **facts: Any) -> None:
        """The same of a fault of ours, from within its `except`: with its traceback."""
        self._write(log.exception, what, calls, facts)

    def _write(self, write: Callable[..., Any], what: str, calls: Iterable[Call], facts: dict[str, Any]) -> None:
        with self._lock:
            kind = self._kinds.setdefault(what, _Kind())
            if not kind.may(self._clock()):
                return
            untold, kind.untold = kind.untold, 0
        if untold:
            facts["untold"] = untold
        ids = [name for name in map(request_id, islice(calls, SHOWN)) if name]
        if len(ids) == 1:
            facts["request_id"] = ids[0]
        elif ids:
            facts["request_ids"] = ids
        write(what, **facts)


class _Kind:
    """Lines of one kind within a second."""

    __slots__ = ("_lines", "_second", "untold")

    def __init__(self) -> None:
        self._second = 0.0
        self._lines = 0
        self.untold = 0

    def may(self, now: float) -> bool:
        """Whether another line may be written; counted where not."""
        if now - self._second >= 1.0:
            self._second, self._lines = now, 0
        if self._lines >= MOST:
            self.untold += 1
            return False
        self._lines += 1
        return True


def request_id(call: Call) -> str:
    """The id that the caller gave its request, not endless; empty without one."""
    name = id_of(call.id_field)[: 4 * LONGEST].decode("utf-8", "replace")
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


TROUBLES: Final = RequestLog()
"""That of this process."""
