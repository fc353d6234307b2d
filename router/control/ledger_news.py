"""What happened to the predictions of models since somebody last looked: how many were made, and what came true.

What was made is counted by the order in which it was written, what came true is read by its turns (`ledger_since`). So
whoever adds up reads everything once, however late something comes true, and begins anew with no more than `Marks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from router.control.ledger_schema import MODELS, PREDICTIONS, SOURCES, value_of
from router.control.ledger_since import last_of
from router.core.outcome import SLOT_NS, Outcome, Said
from router.core.prediction import Form

RANGE: Final = 1 << 16
"""Predictions that are counted at once."""


class Marks(NamedTuple):
    """How far was read: of which file, to which prediction, and to which turn of each model."""

    file: int = 0
    said: int = 0
    turns: Mapping[str, int] = {}


class News(NamedTuple):
    """What happened by model, up to the `marks`; `more`: that is not all of it."""

    marks: Marks
    said: Mapping[str, list[Said]]
    outcomes: Mapping[str, list[Outcome]]
    more: bool = False


_ENDS: Final = select(func.min(PREDICTIONS.c.id), func.max(PREDICTIONS.c.id))
_SLOT: Final = PREDICTIONS.c.at_ns.op("/")(SLOT_NS)
_SAID: Final = (
    select(MODELS.c.name, SOURCES.c.version, SOURCES.c.form, _SLOT, func.count())
    .join_from(PREDICTIONS, SOURCES, PREDICTIONS.c.source == SOURCES.c.id)
    .join(MODELS, PREDICTIONS.c.model == MODELS.c.id)
    .where(PREDICTIONS.c.id.between(bindparam("first"), bindparam("last")))
    .group_by(PREDICTIONS.c.model, SOURCES.c.version, SOURCES.c.form, _SLOT)
)
_TURNS: Final = select(MODELS.c.id, MODELS.c.name, MODELS.c.turns)
_OUTCOMES: Final = (
    select(
        SOURCES.c.version,
        PREDICTIONS.c.request_id,
        PREDICTIONS.c.turn,
        PREDICTIONS.c.at_ns,
        PREDICTIONS.c.joined_ns,
        SOURCES.c.form,
        PREDICTIONS.c.value,
        PREDICTIONS.c.truth,
        PREDICTIONS.c.deviation,
        PREDICTIONS.c.score,
    )
    .join_from(PREDICTIONS, SOURCES, PREDICTIONS.c.source == SOURCES.c.id)
    .where(PREDICTIONS.c.model == bindparam("model"))
    .where(PREDICTIONS.c.turn.between(bindparam("first"), bindparam("last")))
    .order_by(PREDICTIONS.c.turn, PREDICTIONS.c.id)
)


def news(connection: Connection, file: int, models: frozenset[str], marks: Marks, most: int) -> News:
    """What happened to these models since `marks` were made: whole turns, of about `most` predictions in all.

    Where the marks are of another file, that was lost: all of this one is new. Beyond the end of this very file they
    are where a loss of power took what was read already.
    """
    if marks.file != file:
        marks = Marks(file)
    first, last = connection.execute(_ENDS).one()
    first, last = first or 0, last or 0
    after = max(min(marks.said, last), first - 1)
    upto = min(after + RANGE, last)
    said: dict[str, list[Said]] = {}
    if upto > after:
        for name, version, form, slot, count in connection.execute(_SAID, {"first": after + 1, "last": upto}):
            if name in models:
                said.setdefault(name, []).append(Said(version, Form(form), slot, count))
    turns: dict[str, int] = {}
    outcomes: dict[str, list[Outcome]] = {}
    more = upto < last
    for number, name, turn in connection.execute(_TURNS).all():
        if name not in models:
            continue
        before = turns[name] = min(marks.turns.get(name, 0), turn)
        if turn > before and most > 0:
            end = turns[name] = last_of(connection, number, before, most)
            rows = connection.execute(_OUTCOMES, {"model": number, "first": before + 1, "last": end}).all()
            outcomes[name] = [_outcome(row) for row in rows]
            most -= len(rows)
            # Turns of which nothing is left are passed over at once.
            turns[name] = turn if end == before else end
        more = more or turns[name] < turn
    return News(Marks(file, upto, turns), said, outcomes, more)


def _outcome(row: Sequence[Any]) -> Outcome:
    version, request, turn, at_ns, joined_ns, form, value, truth, off, score = row
    kind = Form(form)
    return Outcome(
        version, request, turn, at_ns, joined_ns, kind, value_of(kind, value), value_of(kind, truth), off, score
    )
