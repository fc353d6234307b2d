"""Copies of the runs of a champion or a challenger for the warm-up worker. Nothing of it ever reaches a caller.

A run is offered once its replies have gone out, as references to what is there anyway: the callers' elements and the
session's outputs. A thread of the lowest priority makes messages of them and writes them to the warm-up worker's
socket. While that is full, copies wait in a bounded queue, and what finds no place there is dropped and counted:
nothing ever waits on the path of a request, and no lock is taken there.
"""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import structlog

from router.core.request import Elements
from router.core.table import Version

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.plan import Plan

Array = np.ndarray[Any, Any]

log = structlog.get_logger()

MAX_RUNS: Final = 256
"""Runs that wait at most."""
MAX_BYTES: Final = 32 << 20
"""A run waits if so many bytes have room for all that wait before it, were they as large as it is."""
BURST_S: Final = 0.1
"""Of the rate, what may come at once."""
LOOK_S: Final = 0.02
"""How often the thread looks for copies: to wake it costs as much as four of them do. So it sleeps for longer where few
may come,"""
LONGEST_LOOK_S: Final = 0.5
"""but not for longer than that."""
FEW: Final = 2
"""Copies for which it is worth while to look."""
TOGETHER: Final = 8
"""Runs that are sent at once,"""
LARGE: Final = 64 << 10
"""if their messages are not larger than this."""
KNOCK_S: Final = 0.2
"""How soon a socket that could not be reached is tried again; what comes meanwhile is dropped."""
NICE: Final = 5
"""Of the thread that sends. Not 19: when a thread asks for the interpreter, who has it waits until that thread has
taken it (CPython's forced switch), and one that hardly ever gets a core would so hold up all the others."""
LENGTH: Final = struct.Struct(">I")
RATE, FULL, ABSENT, FAULT = "rate", "full", "absent", "fault"
"""Why copies are dropped: beyond the rate, no place in the queue, nobody at the socket (or wanted no more), a fault of
ours."""
COPIED: Final = frozenset({"champion", "challenger"})
"""Who answered, of runs that are copied: what was asked for by its number is no part of what a model is asked."""


class Part(NamedTuple):
    """What of a version's runs is copied: this share of them, and at most so many requests a second in each worker."""

    fraction: float
    max_per_s: float


class MirrorOrder(NamedTuple):
    """A model whose runs are to be copied: of which versions (by number), and what of them."""

    model: str
    versions: Mapping[str, Part]


class _Turn:
    """Of one version: which of its runs have their turn, and the requests that may be copied now."""

    __slots__ = ("at_ns", "fraction", "most", "per_ns", "tokens")

    def __init__(self, part: Part, before: _Turn | None = None) -> None:
        self.fraction = part.fraction
        self.per_ns = part.max_per_s / 1e9
        self.most = max(part.max_per_s * BURST_S, 1.0)
        self.tokens: float = self.most if before is None else min(before.tokens, self.most)
        self.at_ns: int = 0 if before is None else before.at_ns


class Copied(NamedTuple):
    """A run as it waits: of each call its plan, its id as it travels and its elements; outputs of all together."""

    version: Version
    calls: list[tuple[Plan, bytes, Sequence[Elements]]]
    outputs: Sequence[Array]
    seconds: float


def low_priority() -> None:
    """Of the thread that calls."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def connected(path: Path) -> socket.socket:
    """A connection to the warm-up worker's socket. Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(KNOCK_S)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made


def pause_s(order: MirrorOrder) -> float:
    """How long there is nothing to look for, in seconds."""
    rate = sum([part.max_per_s for part in order.versions.values()])
    return min(max(LOOK_S, FEW / rate), LONGEST_LOOK_S) if rate > 0 else LONGEST_LOOK_S


class Mirror:
    """The mirror of one model in one worker, from `start` to `stop`. `encode` makes the message of a run.

    `offered`, `sent` and `dropped` count requests. Several threads add to them and to the tokens without a lock: the
    interpreter does not divide an addition, and if it did, a figure would be off by one run.
    """

    def __init__(
        self,
        order: MirrorOrder,
        connect: Callable[[], socket.socket],
        encode: Callable[[Copied], bytes],
        choose: Callable[[], float] = random.random,
        calm: Callable[[], None] = low_priority,
    ) -> None:
        self.offered = 0
        self.sent = 0
        self.dropped = {RATE: 0, FULL: 0, ABSENT: 0, FAULT: 0}
        self.order = order
        self._versions = {number: _Turn(part) for number, part in order.versions.items()}
        self._connect = connect
        self._encode = encode
        self._choose = choose
        self._calm = calm
        self._queue: deque[Copied] = deque()
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        self._knock_at = 0.0
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def follow(self, order: MirrorOrder) -> None:
        """Copy what this order says from now on. What waits is sent, and the figures go on."""
        before = self._versions
        self._versions = {number: _Turn(part, before.get(number)) for number, part in order.versions.items()}
        self.order = order

    def offer(
        self, version: Version, calls: Sequence[Call], outputs: Sequence[Array], run_ns: int, now_ns: int
    ) -> None:
        """A run has answered its calls: copy it if its turn has come and there is room. From any thread; at once."""
        mine = self._versions.get(version.number)
        if mine is None or calls[0].plan.served_by not in COPIED:
            return
        if mine.fraction < 1.0 and self._choose() >= mine.fraction:
            return
        count = len(calls)
        self.offered += count
        tokens = min(mine.tokens + (now_ns - mine.at_ns) * mine.per_ns, mine.most)
        mine.at_ns = now_ns
        if tokens < 1.0:
            mine.tokens = tokens
            self.dropped[RATE] += count
            return
        mine.tokens = tokens - count  # a batch may go into debt
        waiting = len(self._queue)
        if waiting >= MAX_RUNS:
            self.dropped[FULL] += count
            return
        nbytes = sum([call.nbytes for call in calls]) + sum([output.nbytes for output in outputs])
        if (waiting + 1) * nbytes > MAX_BYTES:
            self.dropped[FULL] += count
            return
        copied = [(call.plan, call.id_field, call.elements) for call in calls]
        self._queue.append(Copied(version, copied, outputs, run_ns / 1e9))

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more. Returns at once."""
        self._stopped.set()

    def _run(self) -> None:
        self._calm()
        while not self._stopped.is_set():
            if not self._pass_on():
                time.sleep(pause_s(self.order))
        while self._queue:
            self.dropped[ABSENT] += len(self._queue.popleft().calls)
        self._hang_up()

    def _pass_on(self) -> bool:
        """Send a few of those that wait, together: each call of the system lets another thread in between, and costs
        it the interpreter. Whether more wait than that. A thread at rest keeps none of them."""
        framed: list[bytes] = []
        requests = 0
        taken = min(len(self._queue), TOGETHER)
        somebody = taken > 0 and self._reached()
        for _ in range(taken):
            copied = self._queue.popleft()
            if not somebody:
                self.dropped[ABSENT] += len(copied.calls)
                continue
            try:
                message = self._encode(copied)
            except Exception:  # it costs this copy
                log.exception("a run could not be copied", model=copied.version.model)
                self.dropped[FAULT] += len(copied.calls)
                continue
            framed += (LENGTH.pack(len(message)), message)
            requests += len(copied.calls)
            if len(message) > LARGE:
                break
        if framed:
            if self._send(b"".join(framed)):
                self.sent += requests
            else:
                self.dropped[ABSENT] += requests
        return len(self._queue) >= TOGETHER

    def _reached(self) -> bool:
        """Whether there is somebody at the socket."""
        now = time.monotonic()
        if self._socket is None and now >= self._knock_at:
            self._knock_at = now + KNOCK_S
            try:
                self._socket = self._connect()
                self._socket.setblocking(False)
            except OSError:
                self._hang_up()
        return self._socket is not None

    def _send(self, messages: bytes) -> bool:
        """Write messages as a whole, whenever the socket has room; False when there is nobody any more."""
        connection = self._socket
        assert connection is not None
        left = memoryview(messages)
        while left:
            try:
                left = left[connection.send(left) :]
            except BlockingIOError:
                if self._stopped.is_set():
                    return False
                poll = select.poll()
                poll.register(connection, select.POLLOUT)
                poll.poll(50)
            except OSError:
                self._hang_up()
                return False
        return True

    def _hang_up(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
