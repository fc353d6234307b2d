"""What became of recent requests: of all that were slow, degraded or failed, and of a sample of the rest.

A run that goes as most do costs one comparison here; a story is made only when it is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from router.core.fallback import Reason, Step
from router.core.hedging import Why
from router.errors import RouterError, Status
from router.serving.run import Held, Run
from router.serving.timers import Clock

if TYPE_CHECKING:
    from router.serving.call import Call

KEPT: Final = 4096
"""Stories that a worker keeps."""
SAMPLED: Final = 256
"""One in so many runs is told whatever it was like, and one in so many requests that needed none."""
SLOW: Final = 0.99
"""A request is slow when it took longer than this share of its lane's."""
FEWEST: Final = 100
"""Requests below which nothing is known of a lane: all of them are told."""


class Hedging(NamedTuple):
    """The last thing that was decided about a second attempt, when the run had taken `delay` seconds."""

    why: Why
    delay: float
    share: float
    """Of the runs, that take no longer than that."""
    target: str
    """Where to; empty where there was nowhere."""


class RunFacts(NamedTuple):
    """A run as a story tells it: began in nanoseconds of the monotonic clock, lasted seconds, so far if not `over`."""

    began: int
    seconds: float
    over: bool
    calls: int
    rows: int
    session: int
    """Counted from 1."""
    inline: bool
    taken: bool
    """Whether the loop was taken from it."""
    hedging: Hedging | None


class Expected(NamedTuple):
    """What admission expected: seconds to wait, behind so many others."""

    wait: float
    behind: int


class Story(NamedTuple):
    """One request. Instants are nanoseconds of the monotonic clock, times are seconds."""

    id_field: bytes
    model: str
    version: str
    generation: int
    why: str
    """Why it is kept: slow, degraded, failed, hedged or sample."""
    received: int
    ended: int
    left: float | None
    """From receipt to the instant by which the answer had to leave; None: no deadline."""
    reserve: float
    rows: int
    expected: Expected | None
    run: RunFacts | None
    hedge: RunFacts | None
    """The second attempt, where it answered."""
    served_by: str
    """As the reply says it; empty: the caller was told an error."""
    served_model: str
    """The failover model that answered."""
    reason: Reason | None
    """Why the model's own answer was not given."""
    cause: str
    """What went wrong, also where the caller was not told."""
    status: Status
    humility: str = ""
    """The rules that fired for its answer, as the reply says it."""


class Stories:
    """The newest ones of a worker. Any thread may add."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: deque[Story] = deque(maxlen=kept)
        self.lag_s = 0.0
        """What the router takes for the lag of answers."""

    def keep(self, story: Story) -> None:
        """Add one; the oldest makes room."""
        self._kept.append(story)

    def find(self, fits: Callable[[Story], bool], most: int) -> list[Story]:
        """At most so many, newest first."""
        found: list[Story] = []
        for story in reversed(self._kept.copy()):
            if len(found) >= most:
                break
            if fits(story):
                found.append(story)
        return found

    @property
    def oldest(self) -> int | None:
        """When the request of the oldest was received; None when there is none."""
        try:
            return self._kept[0].received
        except IndexError:
            return None


class Teller:
    """Tells the stories of one lane."""

    def __init__(self, stories: Stories, clock: Clock) -> None:
        self.stories = stories
        self._clock = clock
        self._usual_ns = -1  # what most requests take at most; while it is not known all are slow
        self._sample = False
        self._overtaken = False
        self._counts: list[int] = []
        self._remembered = 0
        self.tell_ns = -1
        """A run whose first call took longer is looked at."""

    def look_at_all(self) -> None:
        """The first call of a run may not be the one that has waited longest: all are looked at as a whole.

        Until nobody waits any more.
        """
        self._overtaken = True
        self.tell_ns = -1

    def refresh(self, counts: list[int]) -> None:
        """Learn what requests take, from all that were ever answered, by the bucket of their time.

        Called once in `SAMPLED` runs: the next one is told of.
        """
        before = self._counts or [0] * len(counts)
        usual = usual_ns([count - known for count, known in zip(counts, before, strict=True)])
        if usual is not None:
            self._counts, self._usual_ns = counts, usual
        self._sample = True
        self.tell_ns = -1

    # ---- what happened ----

    def ran(self, run: Run, calls: Sequence[Call], answered: Sequence[int], ended: int) -> None:
        """A run has answered those of its calls that were received at these instants."""
        if not self._overtaken or not run.lane.waiting:
            self._overtaken = False
            self.tell_ns = self._usual_ns
        facts = None
        place = 0
        for call in calls:
            if place >= len(answered) or call.received != answered[place]:
                continue  # somebody else has answered it, and tells
            place += 1
            taken = ended - call.received
            if run.hedge or hasattr(run, "hedging"):
                why = "hedged"
            elif run.held is not Held.THREAD or (call.due is not None and ended + taken > call.due * 1e9):
                why = "slow"
            elif taken > self._usual_ns:
                why = "slow" if self._usual_ns >= 0 else "sample"
            elif self._sample:
                why = "sample"
            else:
                continue
            self._sample = False
            if call.plan.served_by == Step.FAILOVER:
                continue  # its owner's lane tells
            facts = facts or run_facts(run, ended, over=True)
            first, hedge = (_under_way(call, ended), facts) if run.hedge else (facts, None)
            served_by = "hedge" if run.hedge else call.plan.served_by
            self._keep(call, why, ended, first, hedge, served_by)

    def remembered(self, call: Call, ended: int) -> None:
        """A call needed no run: the model had said the same just now."""
        self._remembered += 1
        if self._remembered <= FEWEST or not self._remembered % SAMPLED:
            self._keep(call, "sample", ended, None, None, Step.CACHED.value)

    def fell_back(self, call: Call, step: Step, reason: Reason, model: str = "") -> None:
        """A call was answered by a step of its chain, by this model if it is another one."""
        self._end(call, "degraded", served_by=step.value, served_model=model, reason=reason)

    def failed(self, call: Call, reason: Reason | None, error: RouterError) -> None:
        """A call was answered with an error; without a reason the model has answered, and its answer was held back."""
        self._end(call, "failed", reason=reason, error=error)

    def cancelled(self, call: Call) -> None:
        """The caller went away."""
        self._end(call, "failed", status=Status.CANCELLED)

    def _end(
        self,
        call: Call,
        why: str,
        *,
        served_by: str = "",
        served_model: str = "",
        reason: Reason | None = None,
        error: RouterError | None = None,
        status: Status = Status.OK,
    ) -> None:
        now = self._clock.monotonic_ns()
        run = call.ran if hasattr(call, "ran") else _under_way(call, now)
        if error is not None:
            status = error.status
        elif call.trouble is not None:
            error = call.trouble[1]
        cause = "" if error is None else str(error)
        self._keep(call, why, now, run, None, served_by, served_model, reason, cause, status)

    def _keep(
        self,
        call: Call,
        why: str,
        ended: int,
        run: RunFacts | None,
        hedge: RunFacts | None,
        served_by: str,
        served_model: str = "",
        reason: Reason | None = None,
        cause: str = "",
        status: Status = Status.OK,
    ) -> None:
        plan = call.plan
        version = plan.lane.version
        self.stories.keep(
            Story(
                id_field=call.id_field,
                model=version.model,
                version=version.number,
                generation=plan.generation,
                why=why,
                received=call.received,
                ended=ended,
                left=None if call.due is None else call.due - call.received / 1e9,
                reserve=plan.reserve_s + self.stories.lag_s,
                rows=plan.rows,
                expected=getattr(call, "expected", None),
                run=run,
                hedge=hedge,
                served_by=served_by,
                served_model=served_model,
                reason=reason,
                cause=cause,
                status=status,
                humility=call.doubt,
            )
        )


def usual_ns(counts: Sequence[int]) -> int | None:
    """What a share `SLOW` of the times in these buckets (`core/latency`) take at most; None while too few are known."""
    total = sum(counts)
    if total < FEWEST:
        return None
    least = SLOW * total
    below = 0
    for index, count in enumerate(counts):
        if below + count >= least:
            upper = 1024 << index
            lower = upper // 2 if index else 0
            return lower + round((upper - lower) * (least - below) / count)
        below += count
    return None


def run_facts(run: Run, until: int, *, over: bool) -> RunFacts:
    """A run as it is at this instant, in nanoseconds."""
    inline = run.inline
    began = round(run.began * 1e9)
    return RunFacts(
        began=began,
        seconds=(until - began) / 1e9,
        over=over,
        calls=len(run.calls),
        rows=sum([call.plan.rows for call in run.calls]),
        session=run.lane.replicas.index(run.replica) + 1,
        inline=inline,
        taken=inline and run.held is not Held.THREAD,
        hedging=getattr(run, "hedging", None),
    )


def _under_way(call: Call, now: int) -> RunFacts | None:
    """The run that a call is in, but for second attempts; None while it waits."""
    for run in call.plan.lane.runs:
        if not run.hedge and any(each is call for each in run.calls):
            return run_facts(run, now, over=False)
    return None
