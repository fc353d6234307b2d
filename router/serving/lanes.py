"""Where calls wait for a session, and who runs them.

A *lane* belongs to one session. While its runs are short it is *inline*: the loop thread runs it between two looks
at the queue of the gRPC core, because handing a call to another thread costs more than a short run. A lane whose
runs are long is served by *executor* threads. A lane changes sides by what is measured:

- to inline, when what a caller sends is expected to take at most `INLINE_RUN_S`, shown by `PROOF_RUNS` runs in a row;
- to the executor, when `LONG_RUNS` runs in a row took more than twice that; three times as many where the thread
  did not compute but wait: on a busy machine it lost its core, if that goes on the model stalls.

Only the loop thread changes sides, and only the side whose turn it is takes calls out. Inline batches are capped to
`INLINE_BATCH_S` of expected time, so that the loop is never away for long (twice that while one lane has all the work).
"""

from __future__ import annotations

import itertools
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import numpy as np
import structlog

from router.core.batching import take
from router.core.latency import RunTimes
from router.core.table import Version
from router.errors import ModelFailed, Overloaded, TooLate
from router.serving.call import Call
from router.serving.executor import Executor
from router.serving.stats import Cell, Failure, Stats
from router.serving.timers import Clock, Timers

__all__ = ["Executor", "Lane", "Runnable"]

log = structlog.get_logger()

INLINE_RUN_S: Final = 1e-3
INLINE_BATCH_S: Final = 2e-3
ALONE_BATCH_S: Final = 2 * INLINE_BATCH_S
"""While no other lane has work."""
PROOF_RUNS: Final = 20
RETRY_CAPPED: Final = 32
"""One in so many batches that the time limit cuts short is twice as large, to learn whether it still has to be."""
LONG_RUNS: Final = 3
SUSPICIOUS_NS: Final = 2_000_000
MAX_BATCH_BYTES: Final = 256 << 10
"""Joining larger requests costs fresh memory, which costs more than the join saves."""
MAX_WAITING: Final = 2048
MAX_WAITING_BYTES: Final = 512 << 20
SWEEP_S: Final = 0.02
PROBE_S: Final = 1.0
"""How often a call that looks hopeless is run all the same, to learn whether the model is still that slow."""


class Runnable(Protocol):
    """A session as a lane sees it."""

    def run(self, outputs: Sequence[str], feeds: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
        """One run. Raises ModelFailed."""


class Lane:
    """The queue of one session and its runs."""

    def __init__(
        self, version: Version, session: Runnable, executor: Executor, timers: Timers, clock: Clock = time
    ) -> None:
        self.version = version
        self.session = session
        self.stats = Stats()
        self.times = RunTimes()
        self.waiting: deque[Call] = deque()
        self.inline = False
        self.joins = version.batching.max_size > 1
        self.loop_cell = self.stats.cell()
        self._executor = executor
        self._timers = timers
        self._clock = clock
        self._wait_s = version.batching.max_wait_us / 1e6
        self._start_by = math.inf  # where calls wait for company: when the next batch leaves at the latest
        # Bytes that ever came (the loop thread writes) and left (whoever takes calls out): both only grow.
        self._bytes_in = 0
        self._bytes_out = 0
        self._lock = threading.Lock()
        self._tokens = 0
        self._batches: list[list[Call]] = []
        self._sweeping = False
        self._expected = 0.0
        self._good_runs = 0
        self._long_runs = 0
        self._stolen = False
        self._capped = 0
        self._probed = -math.inf

    @property
    def pending(self) -> int:
        """Calls that wait or run."""
        return len(self.waiting) + sum([len(batch) for batch in list(self._batches)])

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the messages that wait."""
        return self._bytes_in - self._bytes_out

    # ---- the loop thread ----

    def put(self, call: Call) -> bool:
        """Let a call wait. True when the loop thread has to come, and was not expected already.

        Raises Overloaded when too much waits.
        """
        waiting = self.waiting
        nbytes = call.nbytes
        if waiting and (len(waiting) >= MAX_WAITING or self._bytes_in - self._bytes_out + nbytes > MAX_WAITING_BYTES):
            raise self._overloaded()
        if not self.inline:
            return self._offer(call)
        self._bytes_in += nbytes
        first = not waiting
        waiting.append(call)
        return first

    def _overloaded(self) -> Overloaded:
        self.loop_cell.fail(Failure.REJECTED, 0)
        rows = self.version.batching.max_size
        waiting = len(self.waiting)
        expected = self.times.predict(rows) * max(waiting / rows, 1)
        return Overloaded(
            f"model '{self.version.model}' has {waiting} requests waiting: come back later",
            retry_after_ms=max(1, min(int(expected * 1e3), 10_000)),
        )

    def _offer(self, call: Call) -> bool:
        """Let a call wait for an executor thread, unless the lane has just earned its way back to the loop thread."""
        if self._good_runs >= PROOF_RUNS and not self._wait_s:
            with self._lock:
                self.inline = True
            self._bytes_in += call.nbytes
            self.waiting.append(call)
            return True
        self._listen(call)
        self._bytes_in += call.nbytes
        self.waiting.append(call)
        self._watch((call,), self._clock.monotonic())
        if self._wait_s:
            self._start(call)
        else:
            self.schedule()
        return False

    def work_inline(self, batch_s: float = INLINE_BATCH_S) -> bool:
        """One batch of at most `batch_s` expected seconds on the loop thread; True when more calls wait."""
        if not self.inline:  # handed over since the loop thread was asked to come
            return False
        batch, dead = self._take(self._inline_rows(batch_s) if len(self.waiting) > 1 else 1)
        if dead:
            self._refuse(dead)
        if batch:
            self._run(batch, self.loop_cell)
            if self._long_runs >= LONG_RUNS * LONG_RUNS:
                self._hand_over()
                return False
        return bool(self.waiting)

    def _inline_rows(self, batch_s: float) -> int:
        """How many rows the loop thread may run at once. Now and then twice as many: a size that seemed too long once,
        and is therefore not run any more, could never show that it is not."""
        most = self.version.batching.max_size
        rows = self.times.rows_within(batch_s, most)
        if rows < most and rows < len(self.waiting):
            self._capped += 1
            if self._capped >= RETRY_CAPPED:
                self._capped = 0
                return min(2 * rows, most)
        return rows

    def _hand_over(self) -> None:
        """The runs have become too long for the loop thread: to the executor, with all that waits."""
        log.info(
            "runs have become long: handed to executor threads",
            model=self.version.model,
            version=self.version.number,
            expected_ms=round(self._expected * 1e3, 2),
        )
        moved = [call for call in self.waiting if not call.over]
        for call in moved:
            self._listen(call)
        with self._lock:
            self._good_runs = 0
            self.inline = False
        self._watch(moved, self._clock.monotonic())
        for _ in range(min(len(moved), self._executor.slots)):
            self.schedule()

    # ---- what happens to calls that wait for the executor ----

    def _listen(self, call: Call) -> None:
        """Learn of a caller that goes away. The reply must not hold the call, which holds the reply."""
        held = weakref.ref(call)

        def cancelled() -> None:
            call = held()
            if call is not None and call.claim():
                self._drop(call)
                self.stats.own_cell().fail(Failure.CANCELED, self._clock.monotonic_ns() - call.received)

        call.reply.on_cancel(cancelled)

    def _watch(self, calls: Iterable[Call], now: float) -> None:
        """See to it that calls end by their deadlines. Far ones are left to the sweep: most never come due."""
        far = False
        for call in calls:
            deadline = call.deadline
            if deadline is None:
                continue
            if deadline < now + 2 * SWEEP_S:
                self._timers.at(deadline, self._expiry(weakref.ref(call)))
            else:
                far = True
        if far:
            with self._lock:
                armed, self._sweeping = self._sweeping, True
            if not armed:
                self._timers.at(now + SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Look after all calls that wait or run."""
        with self._lock:
            self._sweeping = False
            pending = [*self.waiting, *itertools.chain.from_iterable(self._batches)]
        self._watch([call for call in pending if not call.over], self._clock.monotonic())

    def _expiry(self, held: weakref.ref[Call]) -> Callable[[], None]:
        def expire() -> None:
            call = held()
            if call is not None and not call.over:
                late = TooLate(f"the deadline passed while model '{self.version.model}' was busy")
                if call.fail(late):
                    self._drop(call)
                    self.stats.own_cell().fail(Failure.OTHER, self._clock.monotonic_ns() - call.received)

        return expire

    def _drop(self, call: Call) -> None:
        """Take a call that is over out of the queue, if it is still there and the loop thread is not at it."""
        with self._lock:
            if self.inline:
                return
            try:
                self.waiting.remove(call)
            except ValueError:
                return
            self._bytes_out += call.nbytes

    # ---- the executor ----

    def _start(self, call: Call) -> None:
        """Have a batch leave when it is full, and in any case in time for this call, which waits for company."""
        by = self._latest(call)
        with self._lock:
            sooner = by < self._start_by
            if sooner:
                self._start_by = by
        if sooner:
            self._timers.at(by, self.schedule)
        self.schedule()

    def _latest(self, call: Call) -> float:
        """When a call that waits for company has to be run at the latest."""
        if call.plan.batch_key is None:
            return call.received / 1e9
        by = call.received / 1e9 + self._wait_s
        return by if call.deadline is None else min(by, call.deadline - 2 * self.times.predict(call.plan.rows))

    def _due(self) -> bool:
        """Whether a batch may leave. Called with the lock held."""
        if not self.waiting:
            return False
        if not self._wait_s or self._clock.monotonic() >= self._start_by:
            return True
        waiting, most = self.waiting, self.version.batching.max_size
        head = range(min(len(waiting), most))  # by index: the loop thread may append meanwhile
        return sum([waiting[index].plan.rows for index in head]) >= most

    def schedule(self) -> None:
        """See to it that an executor thread comes for what waits."""
        with self._lock:
            if self.inline or self._tokens >= self._executor.slots or not self._due():
                return
            self._tokens += 1
        self._executor.put(self)

    def work(self) -> bool:
        """One batch on an executor thread; True when the thread is to come back for more."""
        batch: list[Call] = []
        dead: list[Call] = []
        try:
            with self._lock:
                if not self.inline and self._due():
                    batch, dead = self._take(self.version.batching.max_size)
                    self._batches.append(batch)
                    if self._wait_s:
                        self._start_by = math.inf
                        rest = list(self.waiting)
            if dead:
                self._refuse(dead)
            if batch:
                if self._wait_s:
                    for call in rest:
                        self._start(call)
                self._run(batch, self.stats.own_cell())
        finally:
            with self._lock:
                self._batches = [each for each in self._batches if each is not batch]
                again = not self.inline and self._due()
                if not again:
                    self._tokens -= 1
        return again

    # ---- either side ----

    def _take(self, max_rows: int) -> tuple[list[Call], list[Call]]:
        """A batch to run, and calls that are over or hopeless. The executor calls it with the lock held."""
        now = self._clock.monotonic()
        least = self.times.of_one_row() / 2  # half of the mean: to refuse what would have been in time is worse

        def alive(call: Call) -> bool:
            if not call._claims:  # noqa: SLF001  # Call.over without the price of a property
                return False
            deadline = call.deadline
            if deadline is None or deadline - least > now:
                return True
            if deadline > now and now - self._probed > PROBE_S:
                self._probed = now
                return True
            return False

        batch, dead, nbytes = take(self.waiting, max_rows if self.joins else 1, MAX_BATCH_BYTES, alive)
        self._bytes_out += nbytes
        return batch, dead

    def _refuse(self, dead: list[Call]) -> None:
        """Answer the calls that cannot be answered in time any more. Called without the lock: answers may call back."""
        for call in dead:
            if not call.over and call.fail(
                TooLate(f"the deadline leaves no time for a run of model '{self.version.model}'")
            ):
                self.stats.own_cell().fail(Failure.OTHER, self._clock.monotonic_ns() - call.received)

    def _run(self, calls: list[Call], cell: Cell) -> None:
        plan = calls[0].plan
        clock = self._clock.monotonic_ns
        busy_before = self._clock.thread_time_ns() if self.inline else 0
        began = clock()
        try:
            feeds = plan.feeds(calls)
            fed = clock()
            outputs = self.session.run(plan.outputs, feeds)
            inferred = clock()
            if busy_before and inferred - fed > SUSPICIOUS_NS:
                # Long by the wall clock. Did it compute so long, or did its thread lose the core meanwhile?
                self._stolen = self._clock.thread_time_ns() - busy_before < (inferred - fed) // 2
            replies = plan.replies(calls, outputs)
        except ModelFailed as error:
            self._failed(calls, error, cell, began)
            return
        except Exception:  # a fault of ours: the callers are told, the log has it all
            log.exception("a run failed", model=self.version.model, version=self.version.number)
            self._failed(calls, ModelFailed(f"model '{self.version.model}' failed on this input"), cell, began)
            return
        answered = [call.received for call, reply in zip(calls, replies, strict=True) if call.finish(reply)]
        rows = plan.rows if len(calls) == 1 else sum([call.plan.rows for call in calls])
        cell.ran(answered, rows, began, fed, inferred, clock())
        self._learn(rows, (inferred - fed) / 1e9, len(calls) > 1)

    def _failed(self, calls: list[Call], error: ModelFailed, cell: Cell, began: int) -> None:
        """One bad request fails alone: the others of its batch run again, each for itself."""
        if len(calls) > 1:
            for call in calls:
                if not call.over:
                    self._run([call], cell)
            return
        call = calls[0]
        ended = self._clock.monotonic_ns()
        if call.fail(error):
            cell.fail(Failure.BACKEND, ended - call.received)
        seconds = (ended - began) / 1e9
        if seconds > self._expected / 2:  # what fails at once says nothing of the runs that do not
            self._learn(call.plan.rows, seconds, joined=False)

    def _learn(self, rows: int, seconds: float, joined: bool) -> None:
        """A run took so long. Rows that were joined could have run by themselves; a caller's own rows cannot."""
        times = self.times
        times.record(rows, seconds)
        expected = times.predict(rows)
        long = 2 * (ALONE_BATCH_S if joined else INLINE_RUN_S)
        if seconds <= long:
            self._long_runs = 0
        else:
            self._long_runs += 1 if self._stolen else LONG_RUNS
        self._stolen = False
        if joined:
            expected = min(expected, times.predict(1))
        self._good_runs = self._good_runs + 1 if expected <= INLINE_RUN_S and seconds <= long else 0
        self._expected = expected

    def prove(self, feeds_of: Callable[[int], dict[str, Any]], runs: int = PROOF_RUNS) -> None:
        """Run the session with synthetic input, by rows, to learn its times before the first caller comes.

        `feeds_of(rows)` makes the input. A model that fails on such input is not at fault: it learns from callers.
        """
        names = [spec.name for spec in self.version.signature.outputs]
        rows = 1
        until = self._clock.monotonic() + 1.0
        while rows <= self.version.batching.max_size:
            feeds = feeds_of(rows)
            for _ in range(runs):
                began = self._clock.monotonic()
                try:
                    self.session.run(names, feeds)
                except ModelFailed:
                    return
                ended = self._clock.monotonic()
                self._learn(rows, ended - began, joined=rows > 1)
                if ended > until:
                    break
            if ended > until:
                break
            rows *= 4
        self.inline = self._good_runs >= PROOF_RUNS and not self._wait_s
