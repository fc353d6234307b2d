"""One call on its way through the router."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from router.core.request import Elements
from router.errors import RouterError

if TYPE_CHECKING:
    from router.serving.plan import Plan


log = structlog.get_logger()


class Reply(Protocol):
    """Where an answer goes; the edge gives it. May be called on any thread."""

    def finish(self, message: bytes) -> None:
        """Send the encoded reply."""

    def fail(self, error: RouterError) -> None:
        """Send an error."""

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have `callback` called if the caller goes away first."""


class Call:
    """A request that waits for its answer. Whoever wins `claim` answers, on whatever thread it stands.

    `deadline` is in seconds, `received` in nanoseconds of the monotonic clock.
    """

    __slots__ = ("__weakref__", "_claims", "deadline", "elements", "id_field", "nbytes", "plan", "received", "reply")

    def __init__(
        self,
        plan: Plan,
        reply: Reply,
        id_field: bytes,
        elements: Sequence[Elements],
        nbytes: int,
        deadline: float | None,
        received: int,
    ) -> None:
        self.plan = plan
        self.reply = reply
        self.id_field = id_field
        self.elements = elements
        self.nbytes = nbytes
        self.deadline = deadline
        self.received = received
        self._claims = [None]

    @property
    def over(self) -> bool:
        """Whether somebody has claimed it."""
        return not self._claims

    def claim(self) -> bool:
        """True exactly once: the taker answers. (Popping from a list is atomic.)"""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def finish(self, message: bytes) -> bool:
        """Answer unless somebody else does; True when this did. A fault of the wire concerns this call only."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        try:
            self.reply.finish(message)
        except Exception:
            log.exception("an answer could not be sent")
        return True

    def fail(self, error: RouterError) -> bool:
        """Answer with an error unless somebody else answers; True when this did."""
        if not self.claim():
            return False
        try:
            self.reply.fail(error)
        except Exception:
            log.exception("an error could not be sent")
        return True
