"""Events on their way to a webhook: written down before they are sent, sent until they have arrived.

What holds, for an event of a kind that is wanted:

- One that is a record of the audit log (a champion, a freeze, an act of anybody) is never lost: it is made of the
  record, which is one transaction with the change, whenever the process is there again.
- One that is told live (drift, health, a gate) is in the store within milliseconds; a kill before loses it.
- From then on it is sent until it has arrived, at least once, always under the same id; after a kill between its
  arrival and the note of it, once more. A receiver that has seen an id leaves the second one out.
- It leaves in the order in which events were told while all goes well. One that failed is overtaken by others.
- It is let go without having arrived only when it is older than `keep_s`, when `MOST` newer ones wait, or when the
  receiver has refused it `REFUSALS` times. Each is counted, and told by an event of the kind `webhook`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from router.control.cloud_event import Told, body
from router.control.courier import Clocks, Courier, Post
from router.control.events import Event
from router.control.news import OWN, News
from router.control.outbox_rows import OutboxRows, Queue, Row
from router.errors import RouterError

log = structlog.get_logger()

WAITING: Final = 1000
"""Events in memory, where the store cannot take them; beyond that the newest are lost, and counted."""
LOOK_S: Final = 1.0
"""The audit log is looked at so often when nothing wakes us."""
TIDY_S: Final = 60.0
TELL_S: Final = 60.0
"""What is lost is told once in so long at most."""
STOP_S: Final = 2.0
"""What a stop waits for: the store, not the receiver."""


class Outbox:
    """One thread keeps, another sends. `take` may be called on any thread and returns at once.

    `tell` is given one line about events that will not arrive, to be told like any other event of the kind `webhook`;
    on a thread of the outbox. `new_id` gives an id that nobody else gives.
    """

    def __init__(
        self,
        rows: OutboxRows,
        news: News,
        post: Post,
        source: str,
        keep_s: float,
        clocks: Clocks,
        chance: Callable[[], float],
        new_id: Callable[[], str],
        tell: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    ) -> None:
        self._rows = rows
        self._news = news
        self._source = source
        self._keep_s = keep_s
        self._clocks = clocks
        self._new_id = new_id
        self._tell = tell
        self._lock = threading.Lock()
        self._told: deque[Told] = deque()
        self._missed = 0
        self._lost = _Losses()
        self._tidied = -TIDY_S
        self._begun = False
        self._courier = Courier(rows, post, clocks, chance, self._given_up)
        self._stop = threading.Event()
        self._come = threading.Event()  # for the thread that keeps
        self._go = threading.Event()  # for the thread that sends
        self._keeper = threading.Thread(target=self._keep, name="outbox", daemon=True)
        self._sender = threading.Thread(target=self._send, name="webhook", daemon=True)

    # ---- what others call ----

    def begin(self) -> None:
        """From now on all records are told: before anybody may act. Blocks; what fails is made up for by `step`."""
        try:
            self._rows.begin()
        except RouterError as error:  # such as a full disk: nobody can act either
            log.error("events cannot be kept", reason=str(error))
        else:
            self._begun = True

    def start(self) -> None:
        """Begin to keep and to send."""
        self._keeper.start()
        self._sender.start()

    def close(self) -> None:
        """Write down what was told, and end. What is being sent is not waited for: it is sent again, under its id."""
        self._courier.stopping = True
        self._stop.set()
        self._come.set()
        self._go.set()
        self._keeper.join(STOP_S)

    def take(self, event: Event) -> None:
        """Something was told live."""
        told = self._news.of_event(event, self._new_id)
        if told is not None:
            with self._lock:
                if len(self._told) < WAITING:
                    self._told.append(told)
                else:
                    self._missed += 1
        self._come.set()  # a change has its record by now

    def queue(self, last: int) -> Queue:
        """How it is. Blocks; raises RouterError."""
        return self._rows.queue(last)

    def again(self) -> int:
        """Send once more what was given up; how many there were. Blocks; raises RouterError."""
        many = self._rows.again()
        self._go.set()
        return many

    def wake(self) -> None:
        """The receiver is known to be back: what waits is sent."""
        self._courier.wake()
        self._go.set()

    # ---- the thread that keeps ----

    def step(self) -> float:
        """Write down what was told and what the audit log has; in how many seconds to look again.

        Raises RouterErrors: the store cannot be used, and nothing is forgotten.
        """
        if not self._begun:
            self._rows.begin()
            self._begun = True
        with self._lock:
            told, missed = list(self._told), self._missed
        now, steady = self._clocks.wall(), self._clocks.steady()
        tidy = steady - self._tidied >= TIDY_S
        more = False
        if told or tidy or self._rows.behind():
            kept = self._rows.keep(
                told, self._news.of_record, lambda each: body(each, self._source), now - self._keep_s if tidy else 0.0
            )
            with self._lock:
                for _ in told:
                    self._told.popleft()
                self._missed -= missed
            self._tidied = steady if tidy else self._tidied
            self._lost.dropped += kept.dropped + missed
            more = kept.more
            if kept.taken:
                self._go.set()
        self._tell_losses(steady)
        return 0.0 if more else LOOK_S

    def _tell_losses(self, steady: float) -> None:
        with self._lock:
            line = self._lost.line(steady)
        if line:
            log.warning("events for the webhook are lost", what=line)
            self._tell(line)

    # ---- the thread that sends ----

    def _given_up(self, row: Row) -> None:
        if row.kind == OWN:  # or the news of it would be refused as well, and so on
            log.warning("the webhook refuses the news of what it refused", reason=row.error)
            return
        with self._lock:
            self._lost.refused += 1
            self._lost.reason = row.error
        self._come.set()

    def _keep(self) -> None:
        self._until_stopped(self.step, self._come, "events cannot be kept")

    def _send(self) -> None:
        self._until_stopped(self._courier.round, self._go, "events cannot be sent")

    def _until_stopped(self, work: Callable[[], float], wake: threading.Event, trouble: str) -> None:
        told = ""
        while True:
            stopping = self._stop.is_set()
            try:
                rest, reason = work(), ""
            except RouterError as error:
                rest, reason = LOOK_S, str(error)
            except Exception:  # a fault of ours: others go on
                log.exception(trouble)
                rest, reason = TIDY_S, told
            if reason and reason != told:
                log.error(trouble, reason=reason)
            told = reason
            if stopping:
                return
            wake.wait(rest)
            wake.clear()


class _Losses:
    """Events that will not arrive, since it was last told."""

    def __init__(self) -> None:
        self.dropped = 0
        self.refused = 0
        self.reason = ""
        self._told = -TELL_S

    def line(self, steady: float) -> str:
        """What is to be told now, empty for nothing."""
        if not (self.dropped or self.refused) or steady - self._told < TELL_S:
            return ""
        parts = []
        if self.refused:
            parts.append(
                f"{_events(self.refused)} given up, last because of: {self.reason}; `router webhook --retry` sends them"
                " once more"
            )
        if self.dropped:
            parts.append(f"{_events(self.dropped)} dropped: too old, or too many waited")
        self.dropped = self.refused = 0
        self._told = steady
        return "; ".join(parts)


def _events(many: int) -> str:
    return "1 event was" if many == 1 else f"{many} events were"
