"""Takes what lies in the outbox to its receiver, one event after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from router.control.outbox_rows import FAILED, Row
from router.core.delivery import LONGEST_S, REFUSALS, Answer, Fate, asked, fate, pause

WORDS: Final = 200
"""Characters of what went wrong."""

Post = Callable[[str, bytes], Answer]
"""Send an event's body under its id. Raises nothing: what goes wrong is in the answer."""


class Rows(Protocol):
    """The outbox, as far as a courier knows it. Methods block and raise RouterErrors."""

    def due(self, now: float) -> Row | None:
        """The next to be sent."""

    def next_try(self) -> float | None:
        """When something is to be sent again."""

    def delivered(self, row: Row, now: float) -> None:
        """It has arrived."""

    def settle(self, row: Row, now: float) -> None:
        """It has not."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall` in seconds since 1970, which outlives a process; `steady` in seconds of a clock that never jumps."""

    wall: Callable[[], float]
    steady: Callable[[], float]


class Courier:
    """For one thread. `chance` gives numbers in [0, 1); `undeliverable` is told of an event that is given up, and why.

    While the receiver is in trouble nothing is sent but one event now and then, to see whether it is back; each time
    another one, so that an event that the receiver cannot bear holds up nobody for long.
    """

    def __init__(
        self,
        rows: Rows,
        post: Post,
        clocks: Clocks,
        chance: Callable[[], float],
        undeliverable: Callable[[Row], None] = lambda row: None,  # noqa: ARG005
    ) -> None:
        self._rows = rows
        self._post = post
        self._clocks = clocks
        self._chance = chance
        self._undeliverable = undeliverable
        self._owed: Callable[[], None] | None = None  # what the store has still to be told of the last one
        self._failures = 0  # in a row, of the receiver
        self._rests_until = 0.0
        self.stopping = False

    def round(self) -> float:
        """Send all that is due. In how many seconds there may be more to do, unless something new comes before.

        Raises RouterErrors: the store cannot be used, and nothing is forgotten.
        """
        while not self.stopping:
            self._pay()
            rest = self._rests_until - self._clocks.steady()
            if rest > 0:
                return rest
            row = self._rows.due(self._clocks.wall())
            if row is None:
                upcoming = self._rows.next_try()
                return LONGEST_S if upcoming is None else min(LONGEST_S, max(0.0, upcoming - self._clocks.wall()))
            self._send(row)
        return LONGEST_S

    def wake(self) -> None:
        """The receiver is known to be back."""
        self._failures, self._rests_until = 0, 0.0

    def _send(self, row: Row) -> None:
        answer = self._post(row.event, row.body.encode())
        now, what = self._clocks.wall(), fate(answer.status)
        if what is Fate.DELIVERED:
            self._failures = 0
            self._owed = partial(self._rows.delivered, row, now)
        elif what is Fate.LATER:
            self._failures += 1
            rest = max(pause(self._failures, self._chance()), asked(answer.retry_after, now))
            self._rests_until = self._clocks.steady() + rest
            later = now + pause(row.tries + 1, self._chance())
            row = replace(row, tries=row.tries + 1, next_try=later, error=_line(answer))
            self._owed = partial(self._rows.settle, row, now)
        else:
            self._failures = 0  # it is there, and takes others
            refusals = row.refusals + 1
            later = now + pause(refusals, self._chance())
            state = FAILED if refusals >= REFUSALS else row.state
            row = replace(row, tries=row.tries + 1, refusals=refusals, next_try=later, state=state, error=_line(answer))
            self._owed = partial(self._refused, row, now)
        self._pay()

    def _refused(self, row: Row, now: float) -> None:
        self._rows.settle(row, now)
        if row.state == FAILED:
            self._undeliverable(row)

    def _pay(self) -> None:
        """Tell the store what became of the last one, before another is sent: or the same would be sent again."""
        if self._owed is not None:
            self._owed()
            self._owed = None


def _line(answer: Answer) -> str:
    words = answer.error or f"status {answer.status}"
    words = "".join(c if c.isprintable() else " " for c in words)
    return words if len(words) <= WORDS else words[: WORDS - 1] + "…"
