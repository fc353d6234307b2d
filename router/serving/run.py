"""One run of a batch of calls on one session, from its start to its return."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from router.core.breaker import Breaker

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.lanes import Lane
    from router.serving.stories import Hedging


class Stop(Protocol):
    """Ends a run at its next node, if the session can be stopped at all."""

    terminate: bool


class Runnable(Protocol):
    """A session as a lane sees it."""

    def run(self, outputs: Sequence[str], feeds: dict[str, Any], stop: Any = None) -> list[np.ndarray[Any, Any]]:
        """One run, that `stop` may end. Raises ModelFailed."""

    def stop(self) -> Stop:
        """What ends a run."""


class Held(Enum):
    """Who answers for a run's slot."""

    THREAD = "thread"
    """The thread that runs it."""
    MOVED = "moved"
    """The lane: it was the loop thread's, and the loop has been given to another thread."""
    ABANDONED = "abandoned"
    """Nobody: its session has been replaced. Whoever comes back from it finds nothing to give back."""


class Replica:
    """One of the sessions of a lane."""

    __slots__ = ("breaker", "loading", "session")

    def __init__(self, session: Runnable) -> None:
        self.session = session
        self.breaker = Breaker()
        self.loading = False
        """Its session hangs, a fresh one is being loaded: nothing is run on it."""


class Run:
    """A run under way.

    `began` is in seconds. The thread that runs it and whoever finds it hung race for `_token`: the one that pops it
    decides what becomes of the slot (and, for an inline run, of the loop).
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_token",
        "began",
        "calls",
        "inline",
        "lane",
        "replica",
        "session",
        "stop",
        "tell_ns",
    )

    # What few runs differ in stands in the class until they do: a short run shall not pay for it.
    hedge = False
    """Whether it is a second attempt."""
    hedging: Hedging
    """What was decided about a second attempt; unset while nobody had to decide."""
    held = Held.THREAD
    looks = 0
    """How often it was decided whether it gets a second attempt."""
    look_at = 0.0
    """The monotonic second of the next such look; 0 before the first, infinite after the last."""
    stalled = False
    """Whether it has taken longer than most do and waits for something: its slot is lent."""
    native = 0
    """What the system knows its thread by; 0 for the loop thread's."""
    won = False
    """Of a second attempt: whether it answered a caller."""

    def __init__(
        self,
        lane: Lane,
        calls: list[Call],
        replica: Replica,
        began: float,
        stop: Stop,
        *,
        hedge: bool = False,
        inline: bool = False,
    ) -> None:
        self.lane = lane
        self.calls = calls
        self.replica = replica
        self.session = replica.session
        self.began = began
        self.stop = stop
        if hedge:
            self.hedge = True
        self.inline = inline
        """Whether the loop thread began it."""
        self.tell_ns = lane.teller.tell_ns
        """If its first call takes longer in all, a story may be due."""
        self._token = [None]

    def end(self) -> bool:
        """The run has returned: True when its thread still owns what it owned."""
        try:
            self._token.pop()
        except IndexError:
            return False
        return True

    seize = end
    """Take what the thread owns from it: True when it had not returned."""

    @property
    def over(self) -> bool:
        """Whether it has returned, or was taken from its thread."""
        return not self._token

    @property
    def wanted(self) -> bool:
        """Whether a caller still waits for it."""
        return any(not call.over for call in self.calls)
