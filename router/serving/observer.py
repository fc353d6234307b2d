"""Rows of what comes by, for those who look at them and for recordings: a sample, sent to the controller each second.

A run that has answered is offered as references to what is there anyway, as it is to a mirror. One thread of low
priority takes rows out of those whose turn it was, puts them together by who answered them, and hands them over.
Nothing is confirmed, and nothing waits: what finds no room is counted, and the next second begins anew.

Rows that are only looked at are a uniform sample of `max_per_s`: of each run so many are taken as its model's rate of
the second before allows. Rows that are recorded are a share of the runs, and no more than `max_per_s`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import structlog

from router.core.observation import Observation
from router.core.request import Elements
from router.core.table import Version
from router.core.tensor import DTYPES
from router.model_settings import ModelSettings
from router.serving.mirror import COPIED, low_priority
from router.serving.predictions import text

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.plan import Plan

Array = np.ndarray[Any, Any]

log = structlog.get_logger()

GATHER_S: Final = 1.0
"""So long rows are gathered."""
LOOKED_PER_S: Final = 500
"""Rows that are only looked at, a second in one worker, of all models together. Where models may have more in sum, each
has less of its own: some 20 µs a row make one percent of a core."""
RECORDED_PER_S: Final = 2000
"""The same for rows that are recorded, which somebody has asked for."""
BYTES_PER_S: Final = 16 << 20
"""The same for inputs and outputs of both. So much waits at most, too."""
TOGETHER: Final = 8
"""Rows that are taken of one run rather than of several: a run is kept whole until the thread has looked at it."""
MAX_RUNS: Final = 4096
"""Runs that wait at most."""
MOST_AT_ONCE: Final = 1 << 20
"""Bytes that are handed over together, about."""


class Clock(Protocol):
    """What relates the clock of runs to that of the calendar, both in nanoseconds."""

    def monotonic_ns(self) -> int:
        """Since some instant."""

    def time_ns(self) -> int:
        """Since 1970."""


class Wish(NamedTuple):
    """A share of a model's runs, and rows a second in this worker that are not exceeded."""

    share: float
    max_per_s: float


Wishes = tuple[Wish | None, Wish | None]
"""What of a model is looked at, and what is recorded."""


def wishes_of(settings: ModelSettings) -> Wishes:
    """What a model's settings ask for."""
    drift, recording = settings.drift, settings.recording
    return (
        Wish(1.0, drift.max_per_s) if drift.enabled else None,
        Wish(recording.share, recording.max_per_s) if recording.enabled else None,
    )


class Seen(NamedTuple):
    """A run as it waits: `take` of its rows have their turn; of each call its plan, its id as it travels, its elements.

    `outputs` hold the rows of all calls together.
    """

    turn: Turn
    version: Version
    served_by: str
    recorded: bool
    rows: int
    take: int
    calls: list[tuple[Plan, bytes, Sequence[Elements]]]
    outputs: Sequence[Array]
    names: Sequence[str]
    run_ns: int
    ended_ns: int


class _Tap:
    """Of one model: rows of it that may be taken now."""

    __slots__ = ("at_ns", "max_per_s", "most", "per_ns", "recorded", "share", "together", "tokens")

    def __init__(self, wish: Wish, *, recorded: bool) -> None:
        self.recorded = recorded
        self.share = wish.share
        self.max_per_s = wish.max_per_s
        self.per_ns = wish.max_per_s / 1e9
        self.most = max(wish.max_per_s, 1.0)
        self.together = int(min(self.most, TOGETHER))
        self.tokens = self.most
        self.at_ns = 0


class Turn:
    """The rows of one model in one worker. Several threads count here without a lock, as a mirror does.

    `seen` are rows since the last gathering; the others are sums since this worker began: rows that were handed over to
    be looked at only, and to be recorded too, and those whose turn it was and that found no room.
    """

    __slots__ = (
        "_choose",
        "_recording",
        "looked",
        "looking",
        "missed",
        "model",
        "observer",
        "recorded",
        "seen",
        "told",
    )

    def __init__(self, observer: Observer, model: str, choose: Callable[[], float]) -> None:
        self.observer = observer
        self.model = model
        self.seen = 0
        self.looked = 0
        self.recorded = 0
        self.missed = 0
        self.told = 0
        self.looking: _Tap | None = None
        self._recording: _Tap | None = None
        self._choose = choose

    def follow(self, looked: Wish | None, recorded: Wish | None) -> None:
        """Take so much from now on."""
        self.looking = None if looked is None else _Tap(looked, recorded=False)
        self._recording = None if recorded is None else _Tap(recorded, recorded=True)

    def offer(
        self, version: Version, calls: Sequence[Call], outputs: Sequence[Array], run_ns: int, now_ns: int
    ) -> None:
        """A run has answered its calls: take rows of it if its turn has come. From any thread; at once."""
        plan = calls[0].plan
        if plan.served_by not in COPIED:
            return
        rows = plan.rows if len(calls) == 1 else sum([call.plan.rows for call in calls])
        self.seen += rows
        tap = self._recording
        if (
            tap is not None
            and (tap.share >= 1.0 or self._choose() < tap.share)
            and self._take(tap, version, calls, outputs, rows, rows, run_ns, now_ns)
        ):
            return
        tap, wanted = self.looking, rows  # so are rows that find no room in the recordings
        if tap is None:
            return
        if tap.share < 1.0:  # each row has the same chance
            if rows <= tap.together:
                if self._choose() >= tap.share:
                    return
            else:
                wanted = int(rows * tap.share / tap.together + self._choose()) * tap.together
        self._take(tap, version, calls, outputs, rows, wanted, run_ns, now_ns)

    def _take(
        self,
        tap: _Tap,
        version: Version,
        calls: Sequence[Call],
        outputs: Sequence[Array],
        rows: int,
        wanted: int,
        run_ns: int,
        now_ns: int,
    ) -> bool:
        """Whether any were taken."""
        observer = self.observer
        tap.tokens = min(tap.tokens + (now_ns - tap.at_ns) * tap.per_ns, tap.most)
        tap.at_ns = now_ns
        take = min(rows, wanted, int(tap.tokens))
        if not take:
            self.missed += rows if tap.recorded else 0
            return False
        nbytes = sum([call.nbytes for call in calls]) + sum([output.nbytes for output in outputs])
        found = observer.room(take, nbytes, recorded=tap.recorded)
        self.missed += (rows if tap.recorded else take) - found
        if not found:
            return False
        take = found
        tap.tokens -= take
        plan = calls[0].plan
        held = [(call.plan, call.id_field, call.elements) for call in calls]
        observer.put(
            Seen(self, version, plan.served_by, tap.recorded, rows, take, held, outputs, plan.outputs, run_ns, now_ns)
        )
        return True


@dataclass
class _Rows:
    """Rows that fit together, as they are gathered."""

    ids: list[str] = field(default_factory=list)
    ends_ns: list[int] = field(default_factory=list)
    took_ns: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    inputs: list[list[Array]] = field(default_factory=list)
    outputs: list[list[Array]] = field(default_factory=list)


class _Kind(NamedTuple):
    """What rows have in common that fit together; `tensors`: names, datatypes and shapes without the first axis."""

    turn: Turn
    number: str
    served_by: str
    recorded: bool
    inputs: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]
    outputs: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]


class Observer:
    """The one of a worker. `hand_over` sends observations to the controller; False: it cannot now."""

    def __init__(
        self,
        hand_over: Callable[[Sequence[Observation]], bool],
        clock: Clock = time,
        choose: Callable[[], float] = random.random,
        pick: Callable[[range, int], Sequence[int]] = random.sample,
        calm: Callable[[], None] = low_priority,
    ) -> None:
        self._hand_over = hand_over
        self._clock = clock
        self._choose = choose
        self._pick = pick
        self._calm = calm
        self._turns: dict[str, Turn] = {}
        self._queue: deque[Seen] = deque()
        self._room = {False: LOOKED_PER_S, True: RECORDED_PER_S}
        self._room_bytes = BYTES_PER_S
        self._gathered_ns = clock.monotonic_ns()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        """Begin to hand over."""
        self._thread.start()

    def stop(self) -> None:
        """Hand over no more."""
        self._stopped.set()

    def turns(self, wishes: Mapping[str, Wishes]) -> Mapping[str, Turn]:
        """The turns of the models of which rows are to be looked at, or recorded, and of no others. Figures go on."""
        turns = dict(self._turns)
        for model, (looked, recorded) in wishes.items():
            if model not in turns:
                turns[model] = Turn(self, model, self._choose)
            turns[model].follow(looked, recorded)
        self._turns = turns
        return {model: turns[model] for model in wishes}

    def figures(self) -> Iterable[Turn]:
        """All turns there ever were, with their sums."""
        return self._turns.values()

    # ---- on the path of a request ----

    def room(self, rows: int, nbytes: int, *, recorded: bool) -> int:
        """How many of these rows there is room for in this second: they have it then."""
        left = self._room[recorded]
        if left <= 0 or nbytes > self._room_bytes or len(self._queue) >= MAX_RUNS:
            return 0
        taken = min(rows, left)
        self._room[recorded] = left - taken
        self._room_bytes -= nbytes
        return taken

    def put(self, seen: Seen) -> None:
        """Have rows of a run handed over."""
        self._queue.append(seen)

    # ---- the thread ----

    def _run(self) -> None:
        self._calm()
        while not self._stopped.wait(GATHER_S):
            try:
                self.gather()
            except Exception:  # a fault of ours must not end the thread
                log.exception("what came by could not be handed over")

    def gather(self) -> None:
        """Hand over what waits, and see how much may come in the next second. The thread does so."""
        now = self._clock.monotonic_ns()
        seconds, self._gathered_ns = max((now - self._gathered_ns) / 1e9, 1e-3), now
        waiting = [self._queue.popleft() for _ in range(len(self._queue))]
        self._room = {False: LOOKED_PER_S, True: RECORDED_PER_S}
        self._room_bytes = BYTES_PER_S
        self._share_out(seconds)
        if not waiting:
            return
        gathered = self._gathered(waiting)
        waiting.clear()
        batch: list[Observation] = []
        nbytes = 0
        for turn, each in gathered:
            size = sum([array.nbytes for array in (*each.inputs.values(), *each.outputs.values())])
            if batch and nbytes + size > MOST_AT_ONCE:
                self._send(batch)
                batch, nbytes = [], 0
            batch.append(each)
            nbytes += size
            turn.told += each.missed
        if batch:
            self._send(batch)

    def _share_out(self, seconds: float) -> None:
        """By what came in the seconds since the last time: the share of each model's runs whose rows are looked at."""
        wanted = []
        for turn in self._turns.values():
            seen, turn.seen = turn.seen, 0
            tap = turn.looking
            if tap is not None:
                rate = seen / seconds
                tap.share = min(tap.max_per_s / rate, 1.0) if rate else 1.0
                wanted.append((tap, rate * tap.share))
        in_all = sum([rows for _, rows in wanted])
        if in_all > LOOKED_PER_S:
            for tap, _ in wanted:
                tap.share *= LOOKED_PER_S / in_all

    def _send(self, batch: Sequence[Observation]) -> None:
        sent = self._hand_over(batch)
        for each in batch:
            turn = self._turns[each.model]
            if not sent:
                turn.missed += len(each)
            elif each.recorded:
                turn.recorded += len(each)
            else:
                turn.looked += len(each)

    def _gathered(self, waiting: Sequence[Seen]) -> list[tuple[Turn, Observation]]:
        wall = self._clock.time_ns() - self._clock.monotonic_ns()
        kinds: dict[_Kind, _Rows] = {}
        for seen in waiting:
            try:
                self._add(kinds, seen, wall)
            except Exception:  # a fault of ours costs this run
                log.exception("a run could not be looked at", model=seen.version.model)
                seen.turn.missed += seen.take
        made = []
        counted: set[Turn] = set()
        for kind, rows in kinds.items():
            turn = kind.turn
            missed = 0 if turn in counted else turn.missed - turn.told
            counted.add(turn)
            observation = Observation(
                turn.model,
                kind.number,
                kind.served_by,
                tuple(rows.ids),
                tuple(rows.ends_ns),
                tuple(rows.took_ns),
                {name: _joined(each) for (name, _, _), each in zip(kind.inputs, rows.inputs, strict=True)},
                {name: _joined(each) for (name, _, _), each in zip(kind.outputs, rows.outputs, strict=True)},
                kind.recorded,
                missed,
                tuple(rows.places),
            )
            made.append((turn, observation))
        return made

    def _add(self, kinds: dict[_Kind, _Rows], seen: Seen, wall: int) -> None:
        """Add the rows of a run whose turn it was to those that they fit."""
        chosen = range(seen.rows) if seen.take == seen.rows else sorted(self._pick(range(seen.rows), seen.take))
        at = 0
        for plan, id_field, elements in seen.calls:
            rows = plan.rows
            mine = [each - at for each in chosen if at <= each < at + rows]
            if mine:
                outputs = seen.outputs if len(seen.calls) == 1 else [each[at : at + rows] for each in seen.outputs]
                inputs, arrays, places = _by_rows(plan, elements, outputs, mine)
                if places:
                    self._keep(kinds, seen, text(id_field), inputs, arrays, places, wall)
            at += rows

    def _keep(
        self,
        kinds: dict[_Kind, _Rows],
        seen: Seen,
        request_id: str,
        inputs: dict[str, Array],
        outputs: list[Array],
        places: list[int],
        wall: int,
    ) -> None:
        kind = _Kind(
            seen.turn,
            seen.version.number,
            seen.served_by,
            seen.recorded,
            tuple([(name, each.dtype, each.shape[1:]) for name, each in inputs.items()]),
            tuple([(name, each.dtype, each.shape[1:]) for name, each in zip(seen.names, outputs, strict=True)]),
        )
        rows = kinds.get(kind)
        if rows is None:
            rows = kinds[kind] = _Rows(inputs=[[] for _ in inputs], outputs=[[] for _ in outputs])
        count = len(places)
        rows.ids += [request_id] * count
        rows.ends_ns += [wall + seen.ended_ns] * count
        rows.took_ns += [seen.run_ns] * count
        rows.places += places
        for parts, array in zip(rows.inputs, inputs.values(), strict=True):
            parts.append(array)
        for parts, array in zip(rows.outputs, outputs, strict=True):
            parts.append(array)


def _by_rows(
    plan: Plan, elements: Sequence[Elements], outputs: Sequence[Array], chosen: list[int]
) -> tuple[dict[str, Array], list[Array], list[int]]:
    """Inputs and outputs of one call, the chosen rows of them, and their places in it.

    Where not all tensors have the call's rows as their first axis, the whole call is one row, its tensors flat.
    """
    inputs = {
        name: each.reshape(shape) if isinstance(each, np.ndarray) else np.ndarray(shape, DTYPES[datatype], each)
        for name, datatype, shape, each in plan.given(elements)
    }
    whole = (*inputs.values(), *outputs)
    first = next(iter(inputs.values()), None)
    if first is not None and first.ndim and not first.shape[0]:
        return inputs, list(outputs), []
    if all(each.ndim and each.shape[0] == plan.rows for each in whole):
        if len(chosen) < plan.rows:
            return {name: each[chosen] for name, each in inputs.items()}, [each[chosen] for each in outputs], chosen
        return inputs, list(outputs), chosen
    return {name: each.reshape(1, -1) for name, each in inputs.items()}, [each.reshape(1, -1) for each in outputs], [0]


def _joined(parts: Sequence[Array]) -> Array:
    """One array of several. A single one is copied too: what it is a view of may be large."""
    return np.concatenate(parts)
