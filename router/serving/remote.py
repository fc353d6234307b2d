"""A second attempt by a model on another server: whether it is worth asking, and what its word is worth.

A remote target is not trusted. What it says is checked as if it were a caller's; all that is not an answer to what was
asked (an error, silence, another shape, a broken contract) is a failure of the target, which its breaker remembers and
no caller sees.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import structlog

from router.core.breaker import Breaker, State
from router.core.hedging import Target
from router.core.latency import RunTimes
from router.core.request import Checked, Elements
from router.core.tensor import TensorSpec
from router.errors import Cancelled, ModelFailed, RouterError, TooLate
from router.serving.request_log import TROUBLES
from router.serving.timers import Clock

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.humility import Doubts
    from router.serving.plan import Encoder

Array = np.ndarray[Any, Any]

log = structlog.get_logger()

MOST_ASKED: Final = 8
"""With so many questions under way a target is busy."""
LONGEST_S: Final = 30.0
"""How long the answer to a call without a deadline is waited for."""


class Words(Protocol):
    """How requests of one kind are put to a remote target, and how its replies are read; the edge gives it."""

    def request(self, id_field: bytes, elements: Sequence[Elements]) -> bytes:
        """The request as it travels."""

    def outputs(self, id_field: bytes, message: bytes) -> list[Array]:
        """The outputs in a reply. Raises ModelFailed when it is anything else than an answer to such a request."""


class RemoteTarget(Protocol):
    """A model on another server; the edge gives it."""

    def words(self, checked: Checked, outputs: Sequence[TensorSpec]) -> Words:
        """For requests of this kind, whose answers have exactly these outputs, of any size only where a size is ANY."""

    def ask(self, message: bytes, seconds: float, answered: Callable[[bytes | RouterError], None]) -> Callable[[], Any]:
        """Ask without waiting. Gives what takes the question back.

        `answered` is called once, on any thread: with the reply, with Cancelled where the question was taken back, with
        TooLate after so many seconds, or with another error.
        """


class Peer:
    """A remote target as this worker knows it: how well it does, and how much it is asked at the moment.

    `name` is for the log.
    """

    def __init__(self, name: str, target: RemoteTarget, clock: Clock = time) -> None:
        self.target = target
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._breaker = Breaker()
        self._times = RunTimes()
        self._asked = 0

    def seen(self, now: float) -> Target | None:
        """What a hedge has to know of it; None while it is not to be asked."""
        with self._lock:
            if self._breaker.state(now) is State.OPEN:
                return None
            return Target(self._asked < MOST_ASKED, self._times.quantile(1, 0.5, now) or 0.0, shares_cores=False)

    def allow(self) -> bool:
        """Whether one more may be asked. Each that is allowed ends with `ended`."""
        with self._lock:
            allowed = self._breaker.allow(self._clock.monotonic())
            self._asked += allowed
            return allowed

    def ended(self, seconds: float, trouble: RouterError | None) -> None:
        """It answered after so many seconds, or failed; Cancelled says nothing of it."""
        now = self._clock.monotonic()
        with self._lock:
            self._asked -= 1
            if isinstance(trouble, Cancelled):
                self._breaker.released(now)
                return
            if trouble is None or isinstance(trouble, TooLate):  # what fails at once says nothing of its times
                self._times.record(1, seconds, now)
            if trouble is None:
                self._breaker.succeeded(now)
                return
            opened = self._breaker.state(now) is State.CLOSED
            self._breaker.failed(now)
            opened &= self._breaker.state(now) is State.OPEN
            reason = self._breaker.reason
        if opened:
            log.warning("a remote target is not asked for a while", target=self._name, reason=reason, last=str(trouble))


class Remote:
    """What one plan has to do with a remote target."""

    __slots__ = ("encoder", "peer", "words")

    def __init__(self, peer: Peer, words: Words, encoder: Encoder) -> None:
        self.peer = peer
        self.words = words
        self.encoder = encoder


class RemoteHedge:
    """The calls of a slow run, each asked of its remote target: an errand for an executor thread.

    `over` is called once all of them have come back: whether one of them answered its caller.
    """

    def __init__(self, calls: Sequence[Call], clock: Clock, over: Callable[[RemoteHedge, bool], None]) -> None:
        self._over = over
        self._lock = threading.Lock()
        self._won = False
        self._questions = [
            _Question(call, call.plan.remote, clock, self._back)
            for call in calls
            if call.plan.remote is not None and call.plan.remote.peer.allow()
        ]
        self._left = len(self._questions)
        for question in self._questions:
            question.call.attempt()

    def __bool__(self) -> bool:
        """Whether anything may be asked."""
        return bool(self._questions)

    @property
    def calls(self) -> list[Call]:
        """Those that are asked for."""
        return [question.call for question in self._questions]

    def work(self) -> bool:
        """Ask; nobody is to come back for more."""
        for question in self._questions:
            question.ask()
        return False

    def stop_unwanted(self) -> None:
        """Take back the questions whose calls are over."""
        for question in self._questions:
            question.stop_unwanted()

    def _back(self, won: bool) -> None:
        with self._lock:
            self._won |= won
            self._left -= 1
            last = not self._left
        if last:
            self._over(self, self._won)


class _Question:
    """One call, asked of a remote target."""

    __slots__ = ("_asked", "_back", "_began", "_clock", "_doubts", "_remote", "_take_back", "call")

    def __init__(self, call: Call, remote: Remote, clock: Clock, back: Callable[[bool], None]) -> None:
        self.call = call
        self._remote = remote
        self._clock = clock
        self._back = back
        self._began = 0
        self._asked = False
        self._doubts: Doubts | None = None
        self._take_back: Callable[[], Any] | None = None

    def ask(self) -> None:
        """Ask, if somebody still waits for it."""
        call, remote = self.call, self._remote
        self._began = self._clock.monotonic_ns()
        left = LONGEST_S if call.due is None else call.due - self._began / 1e9
        if call.over or left <= 0:
            self._answered(Cancelled("nobody waits for it any more"))
            return
        try:
            message = remote.words.request(call.id_field, call.elements)
            self._asked = True
            self._take_back = remote.peer.target.ask(message, min(left, LONGEST_S), self._answered)
        except Exception:  # noqa: BLE001  # the log has it all
            TROUBLES.fault("a remote target could not be asked", (call,), model=call.plan.lane.version.model)
            self._answered(ModelFailed("it could not be asked"))
        self.stop_unwanted()

    def stop_unwanted(self) -> None:
        """Take the question back if the call is over."""
        if self._take_back is not None and self.call.over:
            self._take_back()

    def _answered(self, answer: bytes | RouterError) -> None:
        """The target has answered, failed, or was told that nobody waits any more."""
        call = self.call
        came = self._clock.monotonic_ns()
        seconds = (came - self._began) / 1e9
        reply: bytes | RouterError = self._reply(answer) if isinstance(answer, bytes) else answer
        if isinstance(reply, bytes):
            self._remote.peer.ended(seconds, None)
            won = call.finish(reply)
            if won:
                cell = call.plan.lane.stats.own_cell()
                began = self._began
                cell.ran([call.received], call.plan.rows, began, began, came, self._clock.monotonic_ns())
                if self._doubts is not None:
                    self._doubts.count([call], cell)
            self._back(won)
            return
        if isinstance(reply, Cancelled) and self._asked and call.due is not None and call.due <= came / 1e9:
            reply = TooLate("it had not answered by the deadline")
        self._remote.peer.ended(seconds, reply)
        self._back(False)
        if call.attempt_over() and call.trouble is not None:  # who tried before it has given up meanwhile
            call.plan.fallback.answer(call, call.trouble[0])

    def _reply(self, answer: bytes) -> bytes | ModelFailed | Cancelled:
        """The reply for the caller, in our own words; what is wrong with the target's where something is.

        Cancelled where it answered well and is not to be trusted.
        """
        call, remote = self.call, self._remote
        try:
            came, plan = remote.words.outputs(call.id_field, answer), call.plan
            outputs: Sequence[Array] = came[: len(plan.outputs)]
            broken = plan.broken([call], outputs)
            if broken is not None:
                return ModelFailed(f"it broke the contract: {broken[0]}")
            doubts = None if plan.rules is None else plan.doubts([call], plan.feeds([call]), came)
            if doubts is not None:
                if doubts.calls[call].error is not None:
                    return Cancelled("a rule holds its answer back: what the model here says decides")
                outputs, self._doubts = doubts.outputs, doubts
                call.doubt = doubts.calls[call].names
            shapes = tuple([output.shape for output in outputs])
            elements = [(each,) for each in plan.elements(outputs)]
            reply = remote.encoder.replies((call.id_field,), shapes, elements)[0]
            return reply if doubts is None else remote.encoder.marked(call.id_field, reply, doubts.calls[call].marks)
        except ModelFailed as error:
            return error.with_traceback(None)
        except Exception:  # noqa: BLE001  # the log has it all
            what, model = "the reply of a remote target could not be read", call.plan.lane.version.model
            TROUBLES.fault(what, (call,), model=model)
            return ModelFailed("its reply could not be read")
