"""Which waiting calls share a run. Nobody waits for company: what is there already is taken."""

from __future__ import annotations

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
    """What batching must know of a waiting call."""

    @property
    def plan(self) -> Kind: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102
    @property
    def alone(self) -> bool: ...  # noqa: D102


C = TypeVar("C", bound=Joinable)


def take(waiting: deque[C], max_rows: int, max_bytes: int, alive: Callable[[C], bool]) -> tuple[list[C], list[C], int]:
    """Take the first living call and those right behind it that may join its run, within rows and bytes.

    The order of arrival is kept: the first call that does not fit ends the batch; one that is too large runs alone.
    Gives the batch, the calls before and among it that are not `alive`, and the bytes of all that were taken out.
    The batch is empty when nobody alive waits.
    """
    batch: list[C] = []
    dead: list[C] = []
    key: object = None
    rows = nbytes = left = 0
    while waiting:
        call = waiting[0]
        if not alive(call):
            left += call.nbytes
            dead.append(waiting.popleft())
            continue
        plan = call.plan
        if batch:
            fits = rows + plan.rows <= max_rows and nbytes + call.nbytes <= max_bytes
            if plan.batch_key is not key or call.alone or not fits:
                break
        else:
            key = None if call.alone else plan.batch_key
        rows += plan.rows
        nbytes += call.nbytes
        batch.append(waiting.popleft())
        if key is None or rows >= max_rows:
            break
    return batch, dead, left + nbytes
