"""One call on its way through the router."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from router.core.fallback import Reason
from router.core.question import CallersKey
from router.core.request import Elements
from router.errors import RouterError
from router.serving.request_log import TROUBLES

if TYPE_CHECKING:
    from router.serving.plan import Plan
    from router.serving.stats import Failure
    from router.serving.stories import Expected, RunFacts

_attempts = threading.Lock()
"""Guards `Call.attempts` of all calls, which changes only where something is slow or has gone wrong."""


class Reply(Protocol):
    """Where an answer goes; the edge gives it. May be called on any thread."""

    def finish(self, message: bytes) -> None:
        """Send the encoded reply."""

    def fail(self, error: RouterError) -> None:
        """Send an error."""

    @property
    def identity(self) -> str:
        """Who the caller has shown to be, by a certificate; empty for nobody in particular."""

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What the caller sent beside its message, keys in lower case; of a stream: at its start."""

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have `callback` called if the caller goes away first."""


class Call:
    """A request that waits for its answer. Whoever wins `claim` answers, on whatever thread it stands.

    `due` is the instant by which the answer must leave, in seconds of the monotonic clock (None: whenever);
    `received` is in nanoseconds of it. Calls wait in the order of `rank`. `attempts` counts those who may still answer:
    one that fails leaves it to the others. `failed_over` says whether the failover model was asked,
    `alone` that it joins no other call's run, `listens` that it will hear of its caller's going away.

    For its story: what admission `expected`, and the last run that it was in and that is over (`ran`; None of a call
    that was in none and waits no more). Both are unset where there is nothing to say: most calls have no story, and
    shall not pay for one. Nor do they pay for what only calls in trouble need, which stands in the class until it
    differs.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_claims",
        "due",
        "elements",
        "expected",
        "id_field",
        "nbytes",
        "plan",
        "ran",
        "rank",
        "received",
        "reply",
    )

    attempts = 1
    failed_over = False
    alone = False
    listens = False
    cache_key: CallersKey | None = None
    doubt = ""
    """The humility rules that fired for its answer, for its story."""
    trouble: tuple[Reason, RouterError, Failure] | None = None
    expected: Expected
    ran: RunFacts | None

    def __init__(
        self,
        plan: Plan,
        reply: Reply,
        id_field: bytes,
        elements: Sequence[Elements],
        nbytes: int,
        due: float | None,
        received: int,
        rank: float = 0.0,
    ) -> None:
        self.plan = plan
        self.reply = reply
        self.id_field = id_field
        self.elements = elements
        self.nbytes = nbytes
        self.due = due
        self.received = received
        self.rank = rank
        self._claims = [None]

    def fingerprint(self) -> int:
        """What it is known by after a crash, in every process (`core/fingerprint`)."""
        return self.plan.fingerprint(self.elements)

    @property
    def over(self) -> bool:
        """Whether somebody has claimed it."""
        return not self._claims

    @property
    def asked(self) -> Call:
        """The call that the caller made: this one, but for a second attempt."""
        return self

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
        self.send(message)
        return True

    def attempt(self) -> None:
        """Somebody else tries to answer it as well."""
        with _attempts:
            self.attempts += 1

    def attempt_over(self) -> bool:
        """An attempt has failed; True when it was the last."""
        with _attempts:
            self.attempts -= 1
            return not self.attempts

    def give_up(self, reason: Reason, error: RouterError, failure: Failure) -> None:
        """One attempt has failed. Others go on; after the last one the fallback answers, else the error is told.

        The caller learns of what went wrong first. At the deadline nobody is waited for.
        """
        if self._claims and self.trouble is None:
            self.trouble = (reason, error, failure)
        if reason is Reason.DEADLINE or self.attempt_over():
            self.plan.fallback.answer(self, reason)

    def send(self, message: bytes) -> None:
        """Send the answer; for whoever has claimed it."""
        try:
            self.reply.finish(message)
        except Exception:  # noqa: BLE001  # the log has it all
            TROUBLES.fault("an answer could not be sent", (self,))

    def send_error(self, error: RouterError) -> None:
        """Send an error; for whoever has claimed it."""
        try:
            self.reply.fail(error)
        except Exception:  # noqa: BLE001  # the log has it all
            TROUBLES.fault("an error could not be sent", (self,))
