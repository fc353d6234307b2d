"""What came true of a champion and a challenger since somebody last looked, in the order in which it did.

Predictions that were joined to what came true in one transaction have the same turn, later ones a higher one. Turns are
counted and not timed: clocks jump, and a mirror may run long after it came true what was right.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, exists, func, select

from router.control.ledger_schema import PREDICTIONS, SOURCES
from router.core.table import CHAMPION
from router.core.trial import Answer, Pair


class Page(NamedTuple):
    """What came true up to a turn, the next one to ask from: either pairs or answers, in the order of their turns."""

    turn: int
    pairs: list[Pair]
    answers: list[Answer]


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
"""What callers had who named no version."""


def since(
    connection: Connection, model: int, versions: tuple[str, str], after: int, most: int, *, paired: bool
) -> Page:
    """What came true of a model's `versions` (champion, challenger) after a turn: whole turns, about `most` predictions
    but one turn at least."""
    last = after
    for turn, count in connection.execute(_HOW_MANY, {"model": model, "after": after, "most": most}):
        if last > after and count > most:
            break
        last, most = turn, most - count
    champion, challenger = versions
    about = {"model": model, "champion": champion, "challenger": challenger, "first": after + 1, "last": last}
    rows = connection.execute(_PAIRS if paired else _ANSWERS, about).all() if last > after else ()
    if paired:
        return Page(last, [Pair(turn, request, first, second) for turn, request, first, second in rows], [])
    return Page(last, [], [Answer(turn, request, bool(second), off) for turn, request, second, off in rows])
