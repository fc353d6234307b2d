"""Which waiting calls share a run. Nobody waits for company: what is there already is taken."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar


class Kind(Protocol):
    """What calls have in common. Calls join when their `batch_key` is the same object; None joins with nobody."""

    @property
    def batch_key(self) -> object: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102


class Joinable(Protocol):
    """What batching must know of a waiting call: it is over when it has no `_claims`; `due` is an instant, or None."""

    _claims: list[None]

    @property
    def plan(self) -> Kind: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102
    @property
    def alone(self) -> bool: ...  # noqa: D102
    @property
    def due(self) -> float | None: ...  # noqa: D102


C = TypeVar("C", bound=Joinable)


def take(
    waiting: deque[C], max_rows: int, max_bytes: int, latest: float, spared: Callable[[C], bool]
) -> tuple[list[C], list[C], int, float]:
    """Take the first living call and those right behind it that may join its run, within rows and bytes.

    Gives the batch, the dead before and among it, the bytes of both, and when the first of the batch is due. Dead is
    who is over, and who is due by `latest` unless it is `spared`. The order of arrival is kept: the first call that
    does not fit ends the batch; one that is too large runs alone. The batch is empty when nobody alive waits.

    Every request comes through here, so nothing is called for a call that is in no trouble.
    """
    batch: list[C] = []
    dead: list[C] = []
    key: object = None
    rows = nbytes = left = 0
    soonest = math.inf
    while waiting:
        call = waiting[0]
        due = call.due
        if not call._claims or (due is not None and due <= latest and not spared(call)):  # noqa: SLF001  # see `Joinable`
            left += call.nbytes
            dead.append(waiting.popleft())
            continue
        plan = call.plan
        if batch:
            if (
                plan.batch_key is not key
                or call.alone
                or rows + plan.rows > max_rows
                or nbytes + call.nbytes > max_bytes
            ):
                break
        else:
            key = None if call.alone else plan.batch_key
        if due is not None and due < soonest:
            soonest = due
        rows += plan.rows
        nbytes += call.nbytes
        batch.append(waiting.popleft())
        if key is None or rows >= max_rows:
            break
    return batch, dead, left + nbytes, soonest
