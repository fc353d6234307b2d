"""What answers a caller when the model does not: a failover model, a remembered answer, a default, else the error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import structlog

from router.core.fallback import Reason, Step, default_outputs
from router.core.tensor import BYTES, TensorSpec, encode_bytes
from router.errors import RouterError
from router.serving.call import Call
from router.serving.stats import Failure, Stats
from router.serving.timers import Clock

if TYPE_CHECKING:
    from router.serving.plan import Encoder, Plan

Array = np.ndarray[Any, Any]

log = structlog.get_logger()


class Answerer(Protocol):
    """A step of the chain that answers at once."""

    step: Step

    def answer(self, call: Call, reason: Reason) -> bytes | None:
        """The encoded reply; None when it has none."""


class Failover(Protocol):
    """The way to another model."""

    def __call__(self, reason: Reason) -> Plan:
        """What that model does with requests of this kind. Raises a RouterError when it cannot answer now."""


class Attempt(Call):
    """A second way to answer a call. It is over when the call is: they are claimed together.

    `won` is called if it answers.
    """

    __slots__ = ("_won", "owner", "reason")

    def __init__(self, owner: Call, plan: Plan, reason: Reason, won: Callable[[], None]) -> None:
        super().__init__(
            plan, owner.reply, owner.id_field, owner.elements, owner.nbytes, owner.due, owner.received, owner.rank
        )
        self.cache_key = owner.cache_key
        self._claims = owner._claims  # noqa: SLF001  # its own kind
        self.owner = owner
        self.reason = reason
        self._won = won

    @property
    def asked(self) -> Call:
        """Its owner."""
        return self.owner

    def send(self, message: bytes) -> None:
        """Send the answer; it counts as a fallback of the model that was asked for."""
        super().send(message)
        self._won()
        self.owner.doubt = self.doubt
        plan = self.owner.plan
        plan.fallback.count(self.owner, Step.FAILOVER, self.reason)
        plan.lane.teller.fell_back(self.owner, Step.FAILOVER, self.reason, self.plan.lane.version.model)

    def give_up(self, reason: Reason, error: RouterError, failure: Failure) -> None:
        """It has failed: what its owner has left is tried. The caller asked for another model than this."""
        if reason is Reason.DEADLINE:
            self.owner.give_up(reason, error, failure)
        elif self.owner.attempt_over():
            self.owner.plan.fallback.answer(self.owner, self.reason)


class Fallback:
    """The chain of one plan; without steps it tells the error."""

    def __init__(
        self,
        stats: Stats,
        clock: Clock,
        first: Sequence[Answerer] = (),
        failover: Failover | None = None,
        then: Sequence[Answerer] = (),
    ) -> None:
        self._stats = stats
        self._clock = clock
        self._first = first
        self._failover = failover
        self._then = then

    def __bool__(self) -> bool:
        """Whether anything but the model can answer."""
        return self._failover is not None or bool(self._first)

    def can_join(self, call: Call) -> bool:
        """Whether there is a failover model that has not been asked yet."""
        return self._failover is not None and not call.failed_over

    def join(self, call: Call, reason: Reason, won: Callable[[], None] = lambda: None) -> bool:
        """Have the failover model try as well: the first to answer wins. False when it does not; from any thread.

        `won` is called if that is the failover model.
        """
        if self._failover is None or call.failed_over or call.over:
            return False
        call.failed_over = True
        call.attempt()
        try:
            plan = self._failover(reason)
            plan.lane.offer(Attempt(call, plan, reason, won))
        except RouterError as error:
            log.debug("the failover model cannot answer now", reason=str(error))
            if call.attempt_over() and call.trouble is not None:  # who tried before it has given up meanwhile
                self.answer(call, reason)
            return False
        return True

    def answer(self, call: Call, reason: Reason) -> None:
        """Answer in the model's place: nobody else tries any more, or it is time."""
        if self._sent(call, self._first):
            return
        if reason is not Reason.DEADLINE and self.join(call, reason):
            return
        if self._sent(call, self._then) or not call.claim():
            return
        assert call.trouble is not None
        reason, error, failure = call.trouble
        call.trouble = None
        self._stats.own_cell().fail(failure, self._clock.monotonic_ns() - call.received)
        call.send_error(error)
        call.plan.lane.teller.failed(call, reason, error)

    def _sent(self, call: Call, answerers: Sequence[Answerer]) -> bool:
        """Whether one of them had an answer."""
        trouble = call.trouble
        if not answerers or trouble is None:
            return False
        for answerer in answerers:
            message = answerer.answer(call, trouble[0])
            if message is not None:
                if call.finish(message):
                    self.count(call, answerer.step, trouble[0])
                    call.plan.lane.teller.fell_back(call, answerer.step, trouble[0])
                call.trouble = None
                return True
        return False

    def count(self, call: Call, step: Step, reason: Reason) -> None:
        """A call was answered by a step of the chain."""
        self._stats.own_cell().fell_back(step, reason, self._clock.monotonic_ns() - call.received)


class Default:
    """The fixed answer."""

    step = Step.DEFAULT

    def __init__(
        self, rows: Mapping[str, Array], specs: Sequence[TensorSpec], encoder: Callable[[Reason], Encoder]
    ) -> None:
        self._rows = rows
        self._specs = specs
        self._encoder = encoder

    def answer(self, call: Call, reason: Reason) -> bytes:
        """The encoded reply."""
        outputs = default_outputs(self._rows, self._specs, call.plan.rows)
        elements = [
            encode_bytes(output) if spec.datatype == BYTES else output
            for output, spec in zip(outputs, self._specs, strict=True)
        ]
        shapes = tuple([output.shape for output in outputs])
        return self._encoder(reason).replies((call.id_field,), shapes, [(each,) for each in elements])[0]
