"""One Infer from decoded request to answer, in the order in which it happens."""

from __future__ import annotations

import time
from typing import Final

from router.core.admission import DEFAULT_PRIORITY, priority_level
from router.core.fallback import Reason
from router.core.request import Parameters, Request
from router.errors import InvalidRequest, NotReady
from router.serving.call import Call, Reply
from router.serving.inflight import InFlight
from router.serving.loop import Loop, Superseded
from router.serving.memory import callers_key
from router.serving.pace import ALONE_BATCH_S, INLINE_BATCH_S
from router.serving.plan import Plan
from router.serving.request_log import TROUBLES
from router.serving.serving_table import ServingTable
from router.serving.stats import Failure
from router.serving.timers import Clock

WORK_S: Final = 0.0015
"""So long the loop thread runs what waits before it looks at the wire again."""
ALONE_S: Final = 1.0
"""When no other lane had work for so long, nobody has to wait for a long batch."""
LONGEST_TIMEOUT_US: Final = 2**53
"""A timeout beyond this is a mistake (285 years)."""
WHENEVER: Final = 1e8
"""The rank of calls without a deadline: behind all of their level that have one (three years of uptime)."""
LEVEL: Final = 1e9
"""What one level of priority adds to the rank."""
LOWEST: Final = 100
"""Levels beyond are one: a rank is a float, which tells microseconds apart up to here."""
DEFAULT_RANK: Final = DEFAULT_PRIORITY * LEVEL


class Router:
    """The worker's router. All but `install`, `forget` and `withdraw` is called by the loop thread."""

    def __init__(self, word: memoryview, loop: Loop, clock: Clock = time, inflight: InFlight | None = None) -> None:
        self._word = word
        self._inflight = inflight or InFlight()
        self._loop = loop
        self._clock = clock
        self._now_ns = clock.monotonic_ns
        self._tables: dict[int, ServingTable] = {}
        self._latest = 0  # which lane had work; its identity only, a retired one must go
        self._alone_from = 0.0
        self.lag_s = 0.0
        """What answers were measured to need on their way out: they leave so long before their deadline at least."""

    def install(self, table: ServingTable) -> None:
        """Keep a prepared table; it serves from the instant that the generation word names it."""
        self._tables[table.generation] = table

    def forget(self, before: int) -> list[ServingTable]:
        """Let go of the tables of older generations; gives them back."""
        return [self._tables.pop(generation) for generation in sorted(self._tables) if generation < before]

    def withdraw(self, but: int) -> list[int]:
        """Let go of tables beyond the one that serves, but for one generation: they were prepared for changes that were
        given up. Gives their generations."""
        given_up = [generation for generation in self._tables if self._word[0] < generation != but]
        for generation in given_up:
            del self._tables[generation]
        return given_up

    @property
    def table(self) -> ServingTable:
        """The table that serves now. Raises NotReady while this worker has not prepared it."""
        try:
            return self._tables[self._word[0]]
        except KeyError:
            raise NotReady("this worker has not prepared the table of routes that serves now") from None

    def infer(self, request: Request, reply: Reply, deadline: float | None) -> None:
        """Pin the table, find the plan, let the call wait in its lane. Raises a RouterError for the caller."""
        received = self._now_ns()
        # Pin: the word is read once; what this call does from here on belongs to one generation.
        try:
            table = self._tables[self._word[0]]
        except KeyError:
            table = self.table
        plan = table.plans.get(request.header)
        if plan is None:
            arms = table.arms.get(request.header)
            plan = table.planned(request, reply) if arms is None else arms.of(request, reply)
        plan.admit(request.elements)
        level = DEFAULT_RANK
        if plan.sla_s is not None:
            last = received * 1e-9 + plan.sla_s
            if deadline is None or last < deadline:
                deadline = last
        if request.parameters:
            deadline, level = _bounds(request.parameters, deadline, received * 1e-9)
        if deadline is None:
            due, rank = None, WHENEVER + level
        else:
            reserve = plan.reserve_s + self.lag_s
            left = deadline - received * 1e-9
            due = deadline - (reserve if left > 2 * reserve else left / 2)
            rank = due + level
        call = Call(plan, reply, request.id_field, request.elements, request.nbytes, due, received, rank)
        if plan.special and self._answered(call, plan, request):
            return
        refused = self._inflight.refused
        if refused and call.fingerprint() in refused:
            call.give_up(Reason.QUARANTINED, plan.lane.admission.quarantined(), Failure.REJECTED)
            version = plan.lane.version
            what = "a quarantined request came again"
            TROUBLES.tell(what, (call,), model=version.model, version=version.number)
        elif plan.lane.put(call):
            self._loop.busy.append(plan.lane)

    def _answered(self, call: Call, plan: Plan, request: Request) -> bool:
        """Whether no run is needed: the model is switched off, or has just said the same. Raises InvalidRequest."""
        memory = plan.memory
        if "cache_key" in request.parameters and memory is not None:
            call.cache_key = callers_key(call.reply.identity, request.parameters["cache_key"])
        if plan.switched:
            error = NotReady(f"model '{request.header.model}' is switched to its fallback, which has no answer")
            call.give_up(Reason.SWITCHED, error, Failure.OTHER)
            return True
        if memory is None or not memory.fresh_s:
            return False
        message = memory.fresh(call)
        if message is None or not call.finish(message):
            return False
        ended = self._clock.monotonic_ns()
        plan.lane.stats.own_cell().remembered(ended - call.received)
        plan.lane.teller.remembered(call, ended)
        return True

    def work(self) -> bool:
        """Run what waits for the loop thread, a batch of every lane in turn; True when more waits after `WORK_S`.

        More is taken in between two calls than one batch holds: running only one would let the queues grow for ever
        under a load that the runs themselves could bear. A thread that has lost the loop meanwhile leaves all as it is.
        """
        loop = self._loop
        busy = asked = loop.busy
        if not busy:
            return False
        known = len(asked)
        now = self._clock.monotonic()
        until = now + WORK_S
        if len(busy) > 1 or id(busy[0]) != self._latest:
            self._latest = id(busy[0])
            self._alone_from = now + ALONE_S
        batch_s = INLINE_BATCH_S if now < self._alone_from else ALONE_BATCH_S
        try:
            while True:
                busy = [lane for lane in busy if lane.work_inline(batch_s)]
                if not busy or self._clock.monotonic() >= until:
                    break
        except Superseded:
            return False
        loop.busy = busy + asked[known:] if len(asked) > known else busy  # runs that failed may ask other lanes
        loop.run = None
        return bool(loop.busy)


def _bounds(parameters: Parameters, deadline: float | None, now: float) -> tuple[float | None, float]:
    """The earlier of the deadlines, in seconds, and what the priority adds to the rank. Raises InvalidRequest."""
    if "timeout" in parameters:
        at = now + _timeout_us(parameters["timeout"]) / 1e6
        deadline = at if deadline is None else min(deadline, at)
    return deadline, min(priority_level(parameters.get("priority", 0)), LOWEST) * LEVEL


def _timeout_us(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LONGEST_TIMEOUT_US:
        raise InvalidRequest(
            f"parameter 'timeout' is {str(value)[:40]!r}: it takes a whole number of microseconds above 0"
        )
    return value
