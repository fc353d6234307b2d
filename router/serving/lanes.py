"""Where calls wait for a version's sessions, and who runs them.

A *lane* belongs to one version. While its runs are short it is *inline*: the loop thread runs it between two looks
at the queue of the gRPC core, because handing a call to another thread costs more than a short run. A lane whose
runs are long is served by *executor* threads. A lane changes sides by what is measured:

- to inline or to the executor, as its runs become short or long (`serving/pace`);
- to the executor at once, when a run overstays so long that the loop is taken from its thread (`serving/loop`).

Only the loop thread changes sides (or who has taken the loop from it), and only the side whose turn it is takes calls
out. Inline batches are capped to `INLINE_BATCH_S` of expected time, so that the loop is never away for long (twice
that while one lane has all the work). Calls that come from other threads wait *aside* while the lane is inline.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from router.core.batching import take
from router.core.breaker import Breaker
from router.core.fallback import Reason
from router.core.table import Version
from router.errors import ModelFailed, NotReady, RouterError, TooLate
from router.model_settings import ModelSettings
from router.serving.admission import Admission
from router.serving.call import Call
from router.serving.company import Company
from router.serving.execution import execute
from router.serving.executor import Executor
from router.serving.expiry import SWEEP_S, Expiry
from router.serving.fallback import Fallback
from router.serving.hedge import Hedger
from router.serving.inflight import InFlight
from router.serving.loop import ARM_S, Loop, Superseded
from router.serving.mirror import Mirror
from router.serving.observer import Turn
from router.serving.pace import INLINE_BATCH_S, PROOF_RUNS, Pace
from router.serving.replicas import Replicas
from router.serving.request_log import TROUBLES
from router.serving.run import Held, Replica, Run, Runnable
from router.serving.stats import Failure, Stats
from router.serving.stories import Expected, Stories, Teller, run_facts
from router.serving.timers import Clock, Timers

__all__ = ["Executor", "Lane", "Runnable"]

log = structlog.get_logger()

MAX_BATCH_BYTES: Final = 256 << 10
"""Joining larger requests costs fresh memory, which costs more than the join saves."""
SAME_RANK_S: Final = 1e-3
"""Calls that are due within so long of each other keep the order of their arrival, which costs nothing to keep."""
MAX_WAITING: Final = 2048
MAX_WAITING_BYTES: Final = 512 << 20


class Lane:
    """The queue of one version and its runs. `reload` makes a fresh session in the place of one that hangs."""

    def __init__(
        self,
        version: Version,
        sessions: Sequence[Runnable],
        executor: Executor,
        timers: Timers,
        loop: Loop,
        clock: Clock = time,
        reload: Callable[[], Runnable] | None = None,
        stories: Stories | None = None,
        inflight: InFlight | None = None,
    ) -> None:
        self.version = version
        self.replicas = Replicas(sessions, clock, reload)
        self.stats = Stats()
        self.hedger: Hedger | None = None
        self.mirror: Mirror | None = None
        """Takes copies of the runs, while another version is warmed by them."""
        self.observer: Turn | None = None
        """Takes rows of the runs, where somebody looks at them or wants them recorded."""
        self.guarded = False
        """Whether breakers are kept: where something else can answer."""
        self.waiting: deque[Call] = deque()
        self.inline = False
        self.joins = version.batching.max_size > 1
        self.pace = Pace(version.batching.max_size)
        self.admission = Admission(version, self.pace, self.stats)
        self.loop_cell = self.stats.cell()
        self.no_fallback = Fallback(self.stats, clock)
        self.expiry = Expiry(timers, clock, self)
        self.teller = Teller(stories or Stories(), clock)
        self.lost = 0
        """Threads that are in runs which have been given up."""
        self.executor = executor
        self.timers = timers
        self._loop = loop
        self.clock = clock
        self.inflight = inflight or InFlight()
        self._company = Company(version.batching.max_wait_us / 1e6, self.pace, clock, timers)
        # Bytes that ever came to wait and left again. The side whose turn it is writes; those aside do not count.
        self._bytes_in = 0
        self._bytes_out = 0
        self._lock = threading.Lock()
        self._tokens = 0
        self._aside: deque[Call] = deque()
        self._runs: list[Run] = []  # those of the executor; the loop thread's own is in `loop.run`
        self._own = self.replicas[0]  # of the loop thread
        self._inline_stop = self._own.session.stop()
        self._coming = False  # the loop thread, to a lane of the executor
        self._soonest = math.inf  # of the batch that was taken last

    @property
    def pending(self) -> int:
        """Calls that wait or run."""
        return len(self.waiting) + len(self._aside) + sum([len(run.calls) for run in list(self._runs)])

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the messages that wait."""
        return self._bytes_in - self._bytes_out

    @property
    def slots(self) -> int:
        """How many runs may go on at once. Those that stall lend their slots, once: callers need not wait for them."""
        own = self.executor.slots * self.replicas.ready
        lent = sum([run.stalled for run in list(self._runs)]) if self.hedger is not None else 0
        return own + min(lent, own)

    @property
    def underway(self) -> list[Run]:
        """Runs of the executor."""
        return list(self._runs)

    @property
    def runs(self) -> list[Run]:
        """Those under way, on either side."""
        inline = self._loop.run
        if inline is None or inline.lane is not self or inline.over:
            return list(self._runs)
        return [inline, *self._runs]

    def settle(self, settings: ModelSettings) -> None:
        """The settings that a table of routes has for this lane: whether breakers are kept, and how it is hedged."""
        several = len(self.replicas) > 1
        self.guarded = several or bool(settings.fallback.chain)
        hedge = settings.hedge
        if not (hedge.enabled and (several or hedge.target or settings.fallback.failover)):
            self.hedger = None
        elif self.hedger is None or self.hedger.settings != hedge:
            self.hedger = Hedger(self, hedge)

    # ---- the loop thread ----

    def put(self, call: Call) -> bool:
        """Let a call wait. True when the loop thread has to come, and was not expected already.

        One that cannot be run in time, or finds too much waiting, is answered otherwise.
        """
        waiting = self.waiting
        nbytes = call.nbytes
        if waiting and (len(waiting) >= MAX_WAITING or self._bytes_in - self._bytes_out + nbytes > MAX_WAITING_BYTES):
            self._turn_away(call)
            return False
        if not self.inline:
            return self._offer(call)
        due = call.due
        if waiting:
            pace = self.pace
            if due is not None and due - call.received * 1e-9 < len(waiting) * pace.row_s + pace.run_s:
                self._turn_away(call, len(waiting) * pace.row_s)
                return False
            self._bytes_in += nbytes
            if call.rank < waiting[-1].rank - SAME_RANK_S:
                _insert(waiting, call)
                self.teller.look_at_all()
            else:
                waiting.append(call)
            return False
        self._bytes_in += nbytes
        waiting.append(call)
        return True

    def _turn_away(self, call: Call, wait: float | None = None) -> None:
        self.admission.turn_away(call, len(self.waiting), self.pending, wait)

    def _offer(self, call: Call) -> bool:
        """Let a call wait for an executor thread, unless the lane has just earned its way back to the loop thread."""
        if self.pace.proven and not self._company.wait_s and self._loop.runs:
            with self._lock:
                self.inline = True
            self._bytes_in += call.nbytes
            self.waiting.append(call)
            come, self._coming = not self._coming, False
            return come
        now = self.clock.monotonic()
        if call.due is not None:
            wait = self._wait(now)
            if call.due - now < wait + self.pace.run_s:
                idle = not self._runs and not self.waiting
                if not self.admission.probes(now, idle=idle):
                    self._turn_away(call, wait)
                    return False
                call.alone = True
            call.expected = Expected(wait, len(self.waiting))
        self._queue(call)
        if not self.expiry.sweeps(call, now):
            self.expiry.watch((call,), now)
        if self._company.wait_s:
            self._company.join(call)
        come, self._coming = not self._coming, True
        return come

    def _hopeless(self, call: Call, now: float) -> bool:
        """Whether a call that comes now would wait too long for a run in time."""
        return call.due is not None and call.due - now < self._wait(now) + self.pace.run_s

    def _wait(self, now: float) -> float:
        """Seconds until a call that comes now is run."""
        return self.admission.wait(now, len(self.waiting), self._runs, self.slots)

    def _queue(self, call: Call) -> None:
        """Put a call among those who wait for the executor, in the order of rank."""
        with self._lock:
            if self.inline:
                queue = self._aside
            else:
                queue = self.waiting
                self._bytes_in += call.nbytes
            if queue and call.rank < queue[-1].rank - SAME_RANK_S:
                _insert(queue, call)
                self.teller.look_at_all()
            else:
                queue.append(call)

    def offer(self, call: Call) -> None:
        """Let a call wait that comes from within, on any thread. Raises a RouterError when it cannot be run."""
        refused = self.inflight.refused
        if refused and call.fingerprint() in refused:
            raise self.admission.quarantined()
        now = self.clock.monotonic()
        if len(self.waiting) + len(self._aside) >= MAX_WAITING:
            raise self.admission.overloaded(self.pending)
        if self._hopeless(call, now):
            raise self.admission.too_late()
        if self.inline and self._loop.mine:
            if self.put(call):
                self._loop.busy.append(self)
            return
        self._queue(call)
        self.expiry.watch((call,), now)
        self.schedule()

    def work_inline(self, batch_s: float = INLINE_BATCH_S) -> bool:
        """One batch of at most `batch_s` expected seconds on the loop thread; True when more calls wait.

        A lane of the executor gets a thread now that all is taken in which was there: one that came for the first call
        would run it alone, and fight the loop thread for the interpreter over the others.

        Raises Superseded when the loop has been given to another thread meanwhile.
        """
        if not self.inline:
            self._coming = False
            self._come()
            return False
        now = self.clock.monotonic()
        waiting = len(self.waiting)
        batch, dead = self._take(self.waiting, self.pace.rows_within(batch_s, waiting) if waiting > 1 else 1, now)
        if dead:
            self.admission.refuse(dead, self.clock.monotonic())
        if batch:
            loop = self._loop
            if self.guarded and not self._allowed(batch, now):
                return bool(self.waiting)
            run = Run(self, batch, self._own, now, self._inline_stop, inline=True)
            loop.run = run
            if not loop.watched:
                loop.watch()
            if self._soonest < now + ARM_S:
                self.expiry.watch_run(run)
            if not execute(run, self.loop_cell):
                self._returned(run)
                raise Superseded
            if self.pace.strained:
                self._hand_over()
                return False
        return bool(self.waiting)

    def _allowed(self, batch: list[Call], now: float) -> bool:
        """Whether the session of the loop thread may be asked; else the calls are answered otherwise."""
        breaker = self._own.breaker
        if breaker.allow(now) or not batch[0].plan.fallback:
            return True
        self._unhealthy(batch, breaker)
        return False

    def _unhealthy(self, batch: list[Call], breaker: Breaker) -> None:
        error = NotReady(f"model '{self.version.model}' is unhealthy: {breaker.reason}")
        for call in batch:
            call.give_up(Reason.UNHEALTHY, error, Failure.REJECTED)

    def _hand_over(self) -> None:
        """The runs have become too long for the loop thread: to the executor, with all that waits."""
        log.info(
            "runs have become long: handed to executor threads",
            model=self.version.model,
            version=self.version.number,
            expected_ms=round(self.pace.expected * 1e3, 2),
        )
        moved = [call for call in self.waiting if not call.over]
        with self._lock:
            self.pace.good_runs = 0
            self.inline = False
        self._rewatch(moved)

    def _rewatch(self, moved: list[Call]) -> None:
        """Calls wait for the executor now."""
        self.expiry.watch(moved, self.clock.monotonic())
        for _ in range(min(len(moved), self.slots)):
            self.schedule()

    # ---- what happens to calls that wait for the executor, and to runs that do not return ----

    def calls(self) -> list[Call]:
        """Those that wait or run here or elsewhere, but for what the loop thread runs."""
        elsewhere = [] if self.hedger is None else self.hedger.calls_elsewhere()
        with self._lock:
            return [*self.waiting, *self._aside, *[call for run in self._runs for call in run.calls], *elsewhere]

    def linger(self, calls: Sequence[Call]) -> None:
        """These have waited or run for up to a sweep: they listen for their callers.

        Those in a run that is stuck, or behind such runs, ask the failover model: at their deadline there is no time
        for it.
        """
        for call in calls:
            self._listen(call)
        now = self.clock.monotonic()
        with self._lock:
            stuck = [run for run in self._runs if self._stuck(run, now)]
            stranded = [call for run in stuck for call in run.calls]
            if len(stuck) == len(self._runs) >= self.slots:
                stranded += [*self.waiting, *self._aside]
        for call in stranded:
            if call.due is not None:
                call.plan.fallback.join(call, Reason.SLOW)

    def _stuck(self, run: Run, now: float) -> bool:
        """Whether a run has taken so much longer than is known of its kind that who waits for it may wait in vain."""
        expected = self.pace.times.predict(len(run.calls))
        return expected > 0 and now - run.began > SWEEP_S + 2 * expected

    def _listen(self, call: Call) -> None:
        """Learn of it when the caller goes away. The reply must not hold the call, which holds the reply."""
        if call.listens or call.asked is not call:  # a second attempt ends with the first
            return
        call.listens = True
        held = weakref.ref(call)

        def cancelled() -> None:
            call = held()
            if call is not None and call.claim():
                call.asked.plan.lane.teller.cancelled(call.asked)
                self._drop(call)
                self.stats.own_cell().fail(Failure.CANCELED, self.clock.monotonic_ns() - call.received)

        call.reply.on_cancel(cancelled)

    def expired(self, call: Call) -> None:
        """A call is due, wherever it is."""
        late = TooLate(f"the deadline passed while model '{self.version.model}' was busy")
        call.give_up(Reason.DEADLINE, late, Failure.OTHER)
        self._drop(call)

    def _drop(self, call: Call) -> None:
        """Take a call that is over out of the queue, if it is still there and the loop thread is not at it.

        A run that nobody waits for any more is stopped.
        """
        with self._lock:
            if call in self._aside:
                self._aside.remove(call)
            elif not self.inline and call in self.waiting:
                self.waiting.remove(call)
                self._bytes_out += call.nbytes
        self._stop_unwanted()

    def _stop_unwanted(self) -> None:
        """Stop the runs that nobody waits for: at their next node, if they can be stopped at all."""
        for run in list(self._runs):
            if not run.wanted:
                run.stop.terminate = True
        if self.hedger is not None:
            self.hedger.stop_unwanted()

    def take_from_loop(self, run: Run) -> bool:
        """The loop thread is stuck in a run of this lane: to the executor, with all that waits. From the timer thread.

        False when the run has returned in this very moment.
        """
        with self._lock:
            if not run.seize():
                return False
            run.held = Held.MOVED
            run.tell_ns = -1
            self._runs.append(run)
            self._tokens += 1
            self._inline_stop = run.session.stop()  # what ends this run is to end no later one
            self.pace.good_runs = 0
            self.inline = False
            moved = [call for call in (*run.calls, *self.waiting) if not call.over]
        for call in moved:
            call.plan.fallback.join(call, Reason.SLOW)
        self._rewatch(moved)
        if self.hedger is not None:
            self.hedger.moved(run, self.loop_cell.runs)
        return True

    def _returned(self, run: Run) -> None:
        """A thread has come back from a run that was taken from it."""
        with self._lock:
            moved = run.held is Held.MOVED
            if moved:
                self._finish(run)
                self._tokens -= 1
            else:
                self.lost -= 1
        if moved:
            self.schedule()
        else:
            self.executor.back()

    def look(self, now: float) -> None:
        """Give up runs that hang: their session makes room for a fresh one. Called now and then on the timer thread."""
        for run in list(self._runs):
            if self.pace.hangs(len(run.calls), now - run.began):
                self._abandon(run)

    def _abandon(self, run: Run) -> None:
        with self._lock:
            if run not in self._runs or not (run.held is Held.MOVED or run.seize()):
                return
            run.held = Held.ABANDONED
            self._finish(run)
            self._tokens -= 1
            self.lost += 1
            fresh = self.replicas.take_out(run)  # with the lock: nobody else is to run on it meanwhile
        run.stop.terminate = True
        now = self.clock.monotonic()
        self.pace.times.record_at_least(sum([call.plan.rows for call in run.calls]), now - run.began, now)
        for call in run.calls:
            call.ran = run_facts(run, self.clock.monotonic_ns(), over=False)
        if self.guarded:
            self.replicas.report(run.replica, well=False)
        self.expiry.watch_each(run.calls)
        self.executor.lost()
        what, version = "a run hangs: it is given up", self.version
        TROUBLES.tell(what, run.calls, model=version.model, version=version.number)
        if fresh:
            threading.Thread(target=self._replace, args=(run.replica,), name="replace", daemon=True).start()
        else:
            self.schedule()

    def _replace(self, replica: Replica) -> None:
        """Load a fresh session in the place of one that hangs."""
        try:
            self.replicas.replace(replica)
        except RouterError as error:
            log.warning("a session cannot be loaded anew", model=self.version.model, reason=str(error))
        finally:
            self.schedule()

    # ---- the executor ----

    def _come(self) -> None:
        """See to it that an executor thread comes: for what may leave by now, and in time for what may not."""
        self._company.wake(self.schedule)
        self.schedule()

    def _ready(self) -> deque[Call] | None:
        """The queue from which a batch may leave. Called with the lock held."""
        waiting, most = self.waiting, self.version.batching.max_size
        if waiting and not self.inline:
            if self._company.time_is_up:
                return waiting
            head = range(min(len(waiting), most))
            if sum([waiting[index].plan.rows for index in head]) >= most:
                return waiting
        return self._aside or None

    def schedule(self) -> None:
        """See to it that an executor thread comes for what waits."""
        with self._lock:
            if self._tokens >= self.slots or self._ready() is None:
                return
            self._tokens += 1
        self.executor.put(self)

    def work(self) -> bool:
        """One batch on an executor thread; True when the thread is to come back for more."""
        batch: list[Call] = []
        dead: list[Call] = []
        rest: list[Call] = []
        run = None
        left = False
        refused: Breaker | None = None
        try:
            with self._lock:
                queue = self._ready()
                if queue is not None:
                    batch, dead = self._take(queue, self.version.batching.max_size, self.clock.monotonic())
                    left = bool(queue)
                    if self._company.wait_s and queue is self.waiting:
                        self._company.left()
                        rest = list(queue)
                if batch:
                    must_run = not batch[0].plan.fallback
                    replica = self.replicas.choose(self._runs, guarded=self.guarded, must_run=must_run)
                    if isinstance(replica, Breaker):
                        refused = replica
                    else:
                        run = self._begin(batch, replica)
            if left:
                self.schedule()
            if refused is not None:
                self._unhealthy(batch, refused)
            if run is not None and self.hedger is not None:
                self.hedger.began(run)
            if dead:
                self.admission.refuse(dead, self.clock.monotonic())
            if rest:
                for call in rest:
                    self._company.join(call)
                self._come()
            if run is not None and not execute(run, self.stats.own_cell()):
                self._returned(run)
        finally:
            with self._lock:
                again = False
                if run is None or run.held is Held.THREAD:
                    if run is not None:
                        run.end()
                        self._finish(run)
                    again = self._ready() is not None and self._tokens <= self.slots
                    if not again:
                        self._tokens -= 1
            if self.hedger is not None:
                self._stop_unwanted()
                self.hedger.idle()
        return again

    def _begin(self, batch: list[Call], replica: Replica, *, hedge: bool = False) -> Run:
        """A run of the batch. Called with the lock held."""
        run = Run(self, batch, replica, self.clock.monotonic(), replica.session.stop(), hedge=hedge)
        run.native = threading.get_native_id()
        self._runs.append(run)
        self.executor.runs.add(run)
        return run

    def _finish(self, run: Run) -> None:
        """A run is none of this lane's any more. Called with the lock held."""
        self._runs.remove(run)
        self.executor.runs.discard(run)

    def overstays(self, run: Run) -> None:
        """A run has taken longer than most do: if it does not compute, others need not wait for its slot."""
        if not run.stalled and self._loop.blocked(run.native):
            run.stalled = True
            self.schedule()

    def spare(self, run: Run) -> Replica | None:
        """Another session than that of the run, that has nothing to do (or only stalls, once) and may be asked."""
        with self._lock:
            return self.replicas.spare(run, self._runs, self.executor.slots)

    def work_hedge(self, calls: list[Call], replica: Replica) -> bool:
        """The calls of a slow run once more, on an executor thread; True when this answered one of them."""
        living = [call for call in calls if not call.over]
        with self._lock:
            run = self._begin(living, replica, hedge=True) if living else None
            self._tokens += 1
        if run is not None and self.hedger is not None:
            self.hedger.watch(run)
        won = False
        try:
            if run is not None:
                run.tell_ns = -1
                execute(run, self.stats.own_cell())
                won = run.won
                self._stop_unwanted()
                if run.held is not Held.THREAD:
                    self._returned(run)
        finally:
            if run is None or run.held is Held.THREAD:
                with self._lock:
                    self._tokens -= 1
                    if run is not None:
                        run.end()
                        self._finish(run)
                self.schedule()
        return won

    # ---- either side ----

    def _take(self, queue: deque[Call], max_rows: int, now: float) -> tuple[list[Call], list[Call]]:
        """A batch to run, and calls that are over or hopeless. The executor calls it with the lock held."""
        batch, dead, nbytes, self._soonest = take(
            queue,
            max_rows if self.joins else 1,
            MAX_BATCH_BYTES,
            now + self.pace.run_s,
            lambda call: call.due > now and (call.alone or self.admission.probes(now)),  # type: ignore[operator]  # it is due
        )
        if queue is self.waiting:
            self._bytes_out += nbytes
        return batch, dead

    def again(self, calls: list[Call], *, on_loop: bool) -> None:
        """Put calls before all others, each to be run alone."""
        for call in calls:
            call.alone = True
        with self._lock:
            if self.inline and not on_loop:
                self._aside.extendleft(reversed(calls))
            else:
                self.waiting.extendleft(reversed(calls))
                self._bytes_in += sum([call.nbytes for call in calls])
            self._company.hurry()
        if not on_loop:
            self.schedule()

    def prove(self, feeds_of: Callable[[int], dict[str, Any]], runs: int = PROOF_RUNS) -> None:
        """Run the session with synthetic input, by rows, to learn its times before the first caller comes.

        `feeds_of(rows)` makes the input. A model that fails on such input is not at fault: it learns from callers.
        """
        names = [spec.name for spec in self.version.signature.outputs]
        session = self._own.session
        rows = 1
        until = self.clock.monotonic() + 1.0
        while rows <= self.version.batching.max_size:
            feeds = feeds_of(rows)
            for _ in range(runs):
                began = self.clock.monotonic()
                try:
                    session.run(names, feeds)
                except ModelFailed:
                    return
                ended = self.clock.monotonic()
                self.pace.record(rows, ended - began, ended, joined=rows > 1)
                if ended > until:
                    break
            if ended > until:
                break
            rows *= 4
        for replica in self.replicas[1:]:
            replica.session.run(names, feeds_of(1))  # a first run takes longer: let it be no caller's
        self.pace.shown = -math.inf  # no caller's input: the first that looks hopeless is tried
        self.inline = self.pace.proven and not self._company.wait_s and self._loop.runs


def _insert(queue: deque[Call], call: Call) -> None:
    """Put a call before those of a higher rank, behind all others."""
    at = len(queue)
    while at and queue[at - 1].rank > call.rank:
        at -= 1
    queue.insert(at, call)
