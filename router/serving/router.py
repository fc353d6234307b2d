"""One Infer from decoded request to answer, in the order in which it happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from router.core.request import Header, Request, check
from router.core.table import Route, VersionState, VersionTable
from router.errors import InvalidRequest, NotFound, NotReady
from router.serving.call import Call, Reply
from router.serving.lanes import ALONE_BATCH_S, INLINE_BATCH_S, Lane
from router.serving.plan import EncoderFactory, Plan
from router.serving.timers import Clock

WORK_S: Final = 0.0015
"""So long the loop thread runs what waits before it looks at the wire again."""
ALONE_S: Final = 1.0
"""When no other lane had work for so long, nobody has to wait for a long batch."""
LONGEST_TIMEOUT_US: Final = 2**53
"""A timeout beyond this is a mistake (285 years)."""
MAX_KEPT: Final = 1024
"""Plans and kinds of batches that a table keeps; when full, all are forgotten and made again."""


class ServingTable:
    """A table of routes with its lanes: what a worker answers from while this generation is pinned."""

    def __init__(self, table: VersionTable, lanes: Mapping[tuple[str, str], Lane], encoder: EncoderFactory) -> None:
        self.generation = table.generation
        self.routes = table.routes
        self.lanes = lanes
        self.plans: dict[Header, Plan] = {}
        """What was made of headers that come again. It goes with the table: a header holds no session."""
        self._encoder = encoder
        self._keys: dict[tuple[object, ...], object] = {}

    def route(self, model: str) -> Route:
        """The route of a model. Raises NotFound."""
        route = self.routes.get(model)
        if route is None:
            raise NotFound(f"unknown model '{model[:200]}'" if model else "the request names no model")
        return route

    def lane(self, model: str, version: str) -> Lane:
        """The lane that answers for a model, or for the version that the caller names.

        Raises NotFound for what is unknown, NotReady for what is known but cannot answer.
        """
        route = self.route(model)
        number = version or route.champion
        if number is None:
            reasons = "; ".join(f"version {v.number}: {v.reason}" for v in route.versions.values() if v.reason)
            raise NotReady(f"model '{model}' has no version that can answer" + (f" ({reasons})" if reasons else ""))
        known = route.versions.get(number)
        if known is None:
            have = ", ".join(route.versions)
            raise NotFound(f"model '{model}' has no version '{number[:200]}'; it has {have or 'none'}")
        lane = self.lanes.get((model, number))
        if lane is None or known.state is not VersionState.READY:
            raise NotReady(f"version {number} of model '{model}' cannot answer: {known.reason or known.state.value}")
        return lane

    def plan(self, header: Header) -> Plan:
        """What to do with requests of this header. Raises a RouterError for the caller."""
        lane = self.lane(header.model, header.version)
        version = lane.version
        try:
            checked = check(header, version.signature)
        except InvalidRequest as error:
            raise InvalidRequest(f"model '{header.model}': {error}") from None
        champion = self.routes[header.model].champion == version.number
        marks = {
            "served_by": "champion" if champion else "version",
            "model_version": version.number,
            "generation": self.generation,
            "degraded": False,
        }
        encoder = self._encoder(header.model, version.number, marks, checked.outputs)
        key: object = None
        given = {feed.name for feed in checked.feeds}
        own_weights = any(spec.optional and spec.name in given for spec in version.signature.inputs)
        if checked.rows and checked.rows <= version.batching.max_size > 1 and not own_weights:
            kinds = tuple([(feed.name, feed.shape[1:]) for feed in checked.feeds])
            same = (lane, kinds, tuple([spec.name for spec in checked.outputs]))
            if len(self._keys) >= MAX_KEPT:
                self._keys.clear()
            key = self._keys.setdefault(same, same)
        plan = Plan(lane, checked, key, encoder)
        if header.kept:
            if len(self.plans) >= MAX_KEPT:
                self.plans.clear()
            self.plans[header] = plan
        return plan


class Router:
    """The worker's router. All but `install` and `forget` is called by the loop thread."""

    def __init__(self, word: memoryview, clock: Clock = time) -> None:
        self._word = word
        self._clock = clock
        self._tables: dict[int, ServingTable] = {}
        self._busy: list[Lane] = []
        self._latest = 0  # which lane had work; its identity only, a retired one must go
        self._alone_from = 0.0

    def install(self, table: ServingTable) -> None:
        """Keep a prepared table; it serves from the instant that the generation word names it."""
        self._tables[table.generation] = table

    def forget(self, before: int) -> list[ServingTable]:
        """Let go of the tables of older generations; gives them back."""
        return [self._tables.pop(generation) for generation in sorted(self._tables) if generation < before]

    @property
    def table(self) -> ServingTable:
        """The table that serves now. Raises NotReady while this worker has not prepared it."""
        try:
            return self._tables[self._word[0]]
        except KeyError:
            raise NotReady("this worker has not prepared the table of routes that serves now") from None

    def infer(self, request: Request, reply: Reply, deadline: float | None) -> None:
        """Pin the table, find the plan, let the call wait in its lane. Raises a RouterError for the caller."""
        received = self._clock.monotonic_ns()
        # Pin: the word is read once; what this call does from here on belongs to one generation.
        try:
            table = self._tables[self._word[0]]
        except KeyError:
            table = self.table
        plan = table.plans.get(request.header)
        if plan is None:
            plan = table.plan(request.header)
        plan.admit(request.elements)
        if request.parameters and "timeout" in request.parameters:
            at = received / 1e9 + _timeout_us(request.parameters["timeout"]) / 1e6
            deadline = at if deadline is None else min(deadline, at)
        call = Call(plan, reply, request.id_field, request.elements, request.nbytes, deadline, received)
        if plan.lane.put(call):
            self._busy.append(plan.lane)

    def work(self) -> bool:
        """Run what waits for the loop thread, a batch of every lane in turn; True when more waits after `WORK_S`.

        More is taken in between two calls than one batch holds: running only one would let the queues grow for ever
        under a load that the runs themselves could bear.
        """
        busy = self._busy
        if not busy:
            return False
        now = self._clock.monotonic()
        until = now + WORK_S
        if len(busy) > 1 or id(busy[0]) != self._latest:
            self._latest = id(busy[0])
            self._alone_from = now + ALONE_S
        batch_s = INLINE_BATCH_S if now < self._alone_from else ALONE_BATCH_S
        while True:
            busy = [lane for lane in busy if lane.work_inline(batch_s)]
            if not busy or self._clock.monotonic() >= until:
                break
        self._busy = busy
        return bool(busy)


def _timeout_us(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LONGEST_TIMEOUT_US:
        raise InvalidRequest(
            f"parameter 'timeout' is {str(value)[:40]!r}: it takes a whole number of microseconds above 0"
        )
    return value
