"""What becomes of a run: the session's answer, checked, split and sent; or its failure, told to whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from router.core.fallback import Reason
from router.errors import EmptyInput, ModelFailed
from router.serving.inflight import NOWHERE
from router.serving.request_log import TROUBLES
from router.serving.stats import Cell, Failure
from router.serving.stories import SAMPLED, run_facts

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.humility import Doubts
    from router.serving.lanes import Lane
    from router.serving.run import Run

Array = np.ndarray[Any, Any]

SUSPICIOUS_NS: Final = 2_000_000


def execute(run: Run, cell: Cell) -> bool:
    """Run and answer. False when the run was taken from this thread meanwhile: it owns neither loop nor slot."""
    lane, calls = run.lane, run.calls
    plan = calls[0].plan
    clock = lane.clock.monotonic_ns
    place = NOWHERE
    busy_before = lane.clock.thread_time_ns() if run.inline and lane.pace.long_runs else None
    began = fed = clock()
    outputs: list[Array] | None = None
    marks: list[int] = []
    try:
        marks = plan.fingerprints(calls)
        place = lane.inflight.began(marks)
        feeds = plan.feeds(calls)
        fed = clock()
        outputs = run.session.run(plan.wanted, feeds, run.stop)
    except ModelFailed as error:
        # It would hold this frame, which holds it.
        failed = _ended(lane) if run.stop.terminate else error.with_traceback(None)
    except Exception:  # noqa: BLE001  # a fault of ours: the callers are told, the log has it all
        failed = _fault(lane, calls)
    inferred = clock()
    lane.inflight.ended(place, len(calls))
    mine = run.end()
    if not mine:
        cell = lane.stats.own_cell()
    elif busy_before is not None and inferred - fed > SUSPICIOUS_NS:
        # Long by the wall clock. Did it compute so long, or did its thread lose the core meanwhile?
        lane.pace.stolen = lane.clock.thread_time_ns() - busy_before < (inferred - fed) // 2
    if outputs is not None:
        doubts: Doubts | None = None
        try:
            if plan.rules is not None:
                doubts = plan.doubts(calls, feeds, outputs)
                outputs = outputs[: len(plan.outputs)]
            broken = plan.broken(calls, outputs) if plan.contract is not None else None
            if doubts is None:
                replies = plan.replies(calls, outputs, hedge=run.hedge)
            else:
                replies = plan.doubted_replies(calls, doubts, hedge=run.hedge)
        except ModelFailed as error:
            failed = error.with_traceback(None)
        except Exception:  # noqa: BLE001  # as above
            failed = _fault(lane, calls)
        else:
            _answer(run, replies, outputs, broken, doubts, cell, marks, (began, fed, inferred), mine=mine)
            if lane.mirror is not None and mine and broken is None and not run.hedge:
                lane.mirror.offer(lane.version, calls, outputs, inferred - fed, inferred)
            if lane.observer is not None and mine and broken is None and not run.hedge:
                lane.observer.offer(lane.version, calls, outputs, inferred - fed, inferred)
            return mine
    if lane.guarded and mine:
        # Of a batch each call is judged when it runs alone; of a run that we have stopped nothing can be said.
        lane.replicas.report(run.replica, well=False if len(calls) == 1 and not run.stop.terminate else None)
    _fail(run, failed, began, mine=mine)
    return mine


def _answer(
    run: Run,
    replies: list[bytes],
    outputs: list[Array],
    broken: list[str] | None,
    doubts: Doubts | None,
    cell: Cell,
    marks: list[int],
    times: tuple[int, int, int],
    *,
    mine: bool,
) -> None:
    """Send the replies, but for those that break the contract or are held back, and remember what the run was like."""
    lane, calls = run.lane, run.calls
    plan = calls[0].plan
    began, fed, inferred = times
    joined = len(calls) > 1
    rows = sum([call.plan.rows for call in calls]) if joined else plan.rows
    if broken is not None:
        calls, replies, marks = _kept(run, replies, broken, marks)
    if doubts is not None:
        calls, replies, marks = _sure(run, calls, replies, doubts, cell, marks)
    if plan.notes is None and doubts is None:
        answered = [call.received for call, reply in zip(calls, replies, strict=True) if call.finish(reply)]
    else:
        won = [call for call, reply in zip(calls, replies, strict=True) if call.finish(reply)]
        if plan.notes is not None:
            plan.notes.take(run.calls, won, outputs, inferred, hedge=run.hedge)
        if doubts is not None:
            doubts.count(won, cell)
        answered = [call.received for call in won]
    if run.hedge:
        run.won = bool(answered)
    if mine:
        lane.pace.record(rows, (inferred - fed) / 1e9, inferred * 1e-9, joined=joined)
        if not lane.pace.learned % SAMPLED:
            lane.teller.refresh(lane.stats.buckets())
        if lane.guarded:
            lane.replicas.report(run.replica, well=broken is None)
    if plan.memory is not None:
        plan.remember(calls, replies, marks, inferred, hedge=run.hedge)
    if calls:
        ended, first = lane.clock.monotonic_ns(), calls[0]
        cell.ran(answered, rows, began, fed, inferred, ended)
        taken = ended - first.received
        if taken > run.tell_ns or (first.due is not None and ended + taken > first.due * 1e9):
            lane.teller.ran(run, calls, answered, ended)


def _kept(
    run: Run, replies: list[bytes], broken: list[str], marks: list[int]
) -> tuple[list[Call], list[bytes], list[int]]:
    """The calls whose outputs keep the contract, with replies and fingerprints; the others are answered otherwise."""
    lane = run.lane
    for call, reason in zip(run.calls, broken, strict=True):
        if reason:
            call.ran = run_facts(run, lane.clock.monotonic_ns(), over=True)
            version = lane.version
            error = ModelFailed(f"model '{version.model}' broke its contract: {reason}")
            call.give_up(Reason.CONTRACT, error, Failure.BACKEND)
            what = "an answer broke the contract"
            TROUBLES.tell(what, (call,), reason, model=version.model, version=version.number)
    kept = [each for each, reason in enumerate(broken) if not reason]
    return [run.calls[each] for each in kept], [replies[each] for each in kept], [marks[each] for each in kept]


def _sure(
    run: Run, calls: list[Call], replies: list[bytes], doubts: Doubts, cell: Cell, marks: list[int]
) -> tuple[list[Call], list[bytes], list[int]]:
    """The calls whose answers no rule holds back, with replies and fingerprints; the others are told that one does.

    Nothing else answers them: that a model is in doubt is no failure of it. But a failover model that is in doubt is
    no help, and what the caller's own model has left is tried.
    """
    lane, kept = run.lane, []
    for each, call in enumerate(calls):
        doubt = doubts.calls.get(call)
        if doubt is not None:
            call.doubt = doubt.names
        if doubt is None or doubt.error is None:
            kept.append(each)
        elif call.asked is not call:
            call.give_up(Reason.FAILED, doubt.error, Failure.OTHER)
        elif call.claim():
            now = lane.clock.monotonic_ns()
            cell.fail(Failure.OTHER, now - call.received)
            doubt.count(cell)
            call.send_error(doubt.error)
            call.ran = run_facts(run, now, over=True)
            lane.teller.failed(call, None, doubt.error)
    return [calls[each] for each in kept], [replies[each] for each in kept], [marks[each] for each in kept]


def _ended(lane: Lane) -> ModelFailed:
    """What is said of a run that we have stopped, if anybody still waits for it."""
    return ModelFailed(f"model '{lane.version.model}' took many times as long as its runs do, and was ended")


def _fault(lane: Lane, calls: list[Call]) -> ModelFailed:
    TROUBLES.fault("a run failed", calls, model=lane.version.model, version=lane.version.number)
    return ModelFailed(f"model '{lane.version.model}' failed on this input")


def _fail(run: Run, error: ModelFailed, began: int, *, mine: bool) -> None:
    """One bad request fails alone: the others of its batch run again, each for itself."""
    lane, calls = run.lane, run.calls
    if len(calls) > 1:
        lane.again([call for call in calls if not call.over], on_loop=mine and run.inline)
        return
    ended = lane.clock.monotonic_ns()
    calls[0].ran = run_facts(run, ended, over=True)
    calls[0].give_up(Reason.FAILED, error, Failure.BACKEND)
    if not run.stop.terminate and not isinstance(
        error, EmptyInput
    ):  # we have ended it; it is the request that is wrong
        what, version = "a model failed on a request", lane.version
        TROUBLES.tell(what, calls, str(error), model=version.model, version=version.number)
    seconds = (ended - began) / 1e9
    if mine and seconds > lane.pace.expected / 2:  # what fails at once says nothing of the runs that do not
        lane.pace.record(calls[0].plan.rows, seconds, ended / 1e9, joined=False)
