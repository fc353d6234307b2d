"""What came true of a champion and a challenger since somebody last looked, in the order in which it did.

Predictions that were joined to what came true in one transaction have the same turn, later ones a higher one. Turns are
counted and not timed: clocks jump, and a mirror may run long after it came true what was right.

Within a turn, answers of different requests are in the order of the seconds in which they were given, and within a
second in one that is drawn by lot. The order in which they are kept will not do: workers hand predictions over by
version, some hundred at once, so it is all of the champion's and then all of the challenger's, while a trial compares
where the two follow each other (`core/trial`). Nor will the instant: what ran in one batch has the same. The lot is a
hash of the request's id, another one than that by which requests are split. So the order was settled before anything
came true, by what neither version had a hand in, which is all that the trial's bets ask of it: of those of one second
any may come next, as hard a request as any other, whoever answered it. And it is the same whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2s
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import Connection, Select, bindparam, exists, func, select

from router.control.ledger_schema import PREDICTIONS, SOURCES
from router.core.table import CHAMPION
from router.core.trial import Answer, Pair


class Page(NamedTuple):
    """What came true up to a turn, the next one to ask from: either pairs or answers, in the order of their turns.

    `anew`: the turn that was asked from is of a file that is gone, and this is all of the one that was begun since.
    `file` says of which file the turn is; 0: there is none.
    """

    turn: int
    pairs: list[Pair]
    answers: list[Answer]
    anew: bool = False
    file: int = 0


class Pairs(Protocol):
    """The ledger, as far as trials read it. All methods raise NotReady when it cannot be read."""

    @property
    def contradicted(self) -> Mapping[str, int]:
        """Actuals since this process began that said something else than what was joined, by model."""

    async def last_turn(self, model: str) -> int:
        """The turn of what came true last."""

    async def since(
        self, model: str, champion: str, challenger: str, after: int, most: int, *, paired: bool, file: int
    ) -> Page:
        """What came true after a turn of a file (0: of any): pairs, or answers."""


SECOND_NS: Final = 10**9
_LOT: Final = b"order"
"""What makes the hash another one than that of a split, which is personal to the model."""


_HOW_MANY: Final = (
    select(PREDICTIONS.c.turn, func.count())
    .where(PREDICTIONS.c.model == bindparam("model"), PREDICTIONS.c.turn > bindparam("after"))
    .group_by(PREDICTIONS.c.turn)
    .order_by(PREDICTIONS.c.turn)
    .limit(bindparam("most"))
)
"""Predictions by their turn, which is above one that is known."""
_BEFORE: Final = PREDICTIONS.alias()
_FIRST: Final = ~exists().where(
    _BEFORE.c.model == PREDICTIONS.c.model,
    _BEFORE.c.request_id == PREDICTIONS.c.request_id,
    _BEFORE.c.mirror == PREDICTIONS.c.mirror,
    _BEFORE.c.turn + 0 < PREDICTIONS.c.turn,  # by the index of requests: all that came true before is many
)
"""What rows of one request say hangs together: those that come true later are not told of again."""
_THEN: Final = (
    PREDICTIONS.c.model == bindparam("model"),
    PREDICTIONS.c.turn.between(bindparam("first"), bindparam("last")),
    _FIRST,
)
_CALLERS: Final = PREDICTIONS.alias()
_PAIRS: Final = (
    select(PREDICTIONS.c.turn, PREDICTIONS.c.request_id, _CALLERS.c.deviation, PREDICTIONS.c.deviation)
    .join_from(
        PREDICTIONS,
        _CALLERS,
        (_CALLERS.c.model == PREDICTIONS.c.model)
        & (_CALLERS.c.request_id == PREDICTIONS.c.request_id)
        & (_CALLERS.c.row == PREDICTIONS.c.row)
        & (_CALLERS.c.mirror == ""),
    )
    .join(SOURCES, _CALLERS.c.source == SOURCES.c.id)
    .where(*_THEN, PREDICTIONS.c.mirror == bindparam("challenger"), SOURCES.c.version == bindparam("champion"))
    .where(_CALLERS.c.deviation.is_not(None))
    .order_by(PREDICTIONS.c.turn, PREDICTIONS.c.id)
)
"""What a mirror said, beside what its caller had from the champion."""
_ANSWERS: Final = (
    select(
        PREDICTIONS.c.turn,
        PREDICTIONS.c.request_id,
        PREDICTIONS.c.at_ns,
        SOURCES.c.version == bindparam("challenger"),
        PREDICTIONS.c.deviation,
    )
    .join_from(PREDICTIONS, SOURCES, PREDICTIONS.c.source == SOURCES.c.id)
    .where(*_THEN, PREDICTIONS.c.mirror == "")
    .where(
        ((SOURCES.c.version == bindparam("challenger")) & (SOURCES.c.served_by == "challenger"))
        | ((SOURCES.c.version == bindparam("champion")) & (SOURCES.c.served_by == CHAMPION))
    )
    .order_by(PREDICTIONS.c.turn, PREDICTIONS.c.id)
)
"""What callers had who named no version; rows of a request in their order."""


def since(
    connection: Connection, model: int, versions: tuple[str, str], after: int, most: int, *, paired: bool
) -> Page:
    """What came true of a model's `versions` (champion, challenger) after a turn: whole turns, about `most` predictions
    but one turn at least."""
    last = last_of(connection, model, after, most)
    champion, challenger = versions
    about = {"model": model, "champion": champion, "challenger": challenger, "first": after + 1, "last": last}
    asked: Select[Any] = _PAIRS if paired else _ANSWERS
    rows: Sequence[Any] = connection.execute(asked, about).all() if last > after else []
    if paired:
        return Page(last, [Pair(turn, request, first, second) for turn, request, first, second in rows], [])
    placed = [
        ((turn, at_ns // SECOND_NS, _lot(request)), Answer(turn, request, bool(second), off))
        for turn, request, at_ns, second, off in rows
    ]
    placed.sort(key=itemgetter(0))
    return Page(last, [], [answer for _, answer in placed])


def last_of(connection: Connection, model: int, after: int, most: int) -> int:
    """The last of the turns after one that have about `most` predictions together, but of one turn at least."""
    last = after
    for turn, count in connection.execute(_HOW_MANY, {"model": model, "after": after, "most": most}):
        if last > after and count > most:
            break
        last, most = turn, most - count
    return last


def _lot(request_id: str) -> bytes:
    """What puts a request before or after others of its second."""
    return blake2s(request_id.encode(), digest_size=8, person=_LOT).digest()
