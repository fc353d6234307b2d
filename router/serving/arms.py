"""The arms of a model whose requests are split between versions, and which of them a request goes to.

A request that has a key goes where the key stands, in every worker and at every time. One without goes by chance and is
counted: nothing holds its caller to a version.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Set
from itertools import count
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

from router.core.request import Request, id_of
from router.core.split import PLACES, Split, begun, first, key_of
from router.serving.call import Reply

if TYPE_CHECKING:
    from router.serving.stats import Cell

log = structlog.get_logger()

Arm = TypeVar("Arm")

_SHORT: Final = 130
"""An id field below this size has one byte for its length, behind the one for its tag."""


class Division:
    """How the requests of one model are split in one table of routes.

    What is split to versions that are not among `challengers` is the champion's, as if it were split to nobody.
    Requests without a key are counted in `cell`; `chance` makes their places differ from those in other tables.
    """

    def __init__(self, model: str, split: Split, challengers: Set[str], cell: Cell, chance: int) -> None:
        self._model = model
        self.begun = begun(model)
        ranges = [(first(low), number if number in challengers else None) for low, number in _ranges(split)]
        self.bounds = [digest for digest, _ in ranges[1:]]
        self.numbers = [number for _, number in ranges]
        """The versions in the order of their places: one more than bounds, at each of which the next begins. None: the
        champion."""
        self.matched: dict[tuple[str, str | bytes], tuple[int, str | None]] = {}
        for order, match in enumerate(split.matches):
            number = match.number if match.number in challengers else None
            self.matched.setdefault((match.key, match.value), (order, number))
        self._cell = cell
        self._chance = chance
        self._turns = count()

    def arms(self, of: Callable[[str | None], Arm]) -> Arms[Arm]:
        """What `of` makes of each version's number, first of the champion's, which is None."""
        made: dict[str | None, Arm] = {None: of(None)}
        for number in (*self.numbers, *[number for _, number in self.matched.values()]):
            if number not in made:
                made[number] = of(number)
        return Arms(self, made)

    def by_chance(self) -> bytes:
        """A key for a request that has none. The first one of a champion is told to the log."""
        if not self._cell.keyless:
            log.warning(
                "requests without a key are split by chance, which holds no caller to a version:"
                " callers that give a route_key or an id stay with theirs",
                model=self._model,
            )
        self._cell.keyless += 1
        return b"%d.%d" % (self._chance, next(self._turns))


def _ranges(split: Split) -> Iterator[tuple[int, str | None]]:
    """Where each part of the places begins, and whose it is; None: the champion's."""
    at = 0
    for low, high, number in sorted(split.intervals):
        if low > at:
            yield at, None
        yield low, number
        at = high
    if at < PLACES:
        yield at, None


class Arms(Generic[Arm]):
    """What stands for each version of a split, such as the plans of one header."""

    __slots__ = ("_arms", "_begin", "_bounds", "_by_chance", "_matched")

    def __init__(self, division: Division, made: dict[str | None, Arm]) -> None:
        self._bounds = division.bounds
        self._arms = [made[number] for number in division.numbers]
        self._matched = {pair: (order, made[number]) for pair, (order, number) in division.matched.items()}
        self._begin = division.begun.copy
        self._by_chance = division.by_chance

    def of(self, request: Request, reply: Reply) -> Arm:
        """The arm of a request. Raises InvalidRequest for a key that is none."""
        if self._matched:
            matched = self._matched
            found = [matched[pair] for pair in reply.metadata if pair in matched]
            if found:
                return min(found, key=_order)[1]
        bounds = self._bounds
        if not bounds:  # all places are one version's: no key matters
            return self._arms[0]
        key = key_of(request.parameters) if request.parameters else b""
        if not key:
            id_field = request.id_field
            key = (id_field[2:] if len(id_field) < _SHORT else id_of(id_field)) or self._by_chance()
        place = self._begin()
        place.update(key)
        return self._arms[bisect_right(bounds, place.digest())]


def _order(found: tuple[int, object]) -> int:
    return found[0]
