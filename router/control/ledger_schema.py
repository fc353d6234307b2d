"""The tables of the ledger, the statements that are made of them, and how predictions stand in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as put

from router.core.prediction import MIRROR, Form, Prediction, Value, deviation, truth_of
from router.errors import InvalidRequest

LAYOUT: Final = 2
"""Of the tables; SQLite keeps it as `user_version`."""

METADATA: Final = MetaData()
MODELS: Final = Table(
    "models",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("turns", Integer, nullable=False, server_default="0"),  # the last one of its predictions
)
SOURCES: Final = Table(
    "sources",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("model", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("served_by", Text, nullable=False),
    Column("form", Text, nullable=False),
    UniqueConstraint("model", "version", "generation", "served_by", "form"),
)
PREDICTIONS: Final = Table(
    "predictions",
    METADATA,
    Column("id", Integer, primary_key=True),  # in the order in which they came: clocks jump
    Column("model", Integer, nullable=False, index=True),
    Column("source", Integer, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("row", Integer, nullable=False),
    Column("mirror", Text, nullable=False),  # which version ran a copy; empty: a caller had it
    Column("at_ns", Integer, nullable=False),
    Column("value", Text, nullable=False),
    Column("score", Float),
    Column("truth", Text),
    Column("deviation", Float),  # NULL: nothing came true yet
    Column("joined_ns", Integer),
    Column("turn", Integer),  # those that were joined together have the same, later ones a higher one: clocks jump
    UniqueConstraint("model", "request_id", "row", "mirror"),
)
JOINED: Final = Index(
    "joined", PREDICTIONS.c.source, PREDICTIONS.c.at_ns, sqlite_where=PREDICTIONS.c.deviation.is_not(None)
)
TURNS: Final = Index("turns", PREDICTIONS.c.model, PREDICTIONS.c.turn, sqlite_where=PREDICTIONS.c.turn.is_not(None))


class Joined(NamedTuple):
    """A prediction and what came true for it, `joined_ns` after 1970; `deviation` as `core/prediction` has it."""

    prediction: Prediction
    truth: Value
    deviation: float
    joined_ns: int


_VALUES: Final = ("id", "model", "source", "request_id", "row", "mirror", "at_ns", "value", "score")
_FRESH: Final = put(PREDICTIONS).values({name: bindparam(name) for name in _VALUES})
_PUT: Final = _FRESH.on_conflict_do_update(
    index_elements=["model", "request_id", "row", "mirror"],
    set_={
        name: _FRESH.excluded[name]
        for name in ("id", "source", "at_ns", "value", "score", "truth", "deviation", "joined_ns", "turn")
    },
    where=_FRESH.excluded.at_ns > PREDICTIONS.c.at_ns,
)
PUT: Final = str(_PUT.compile(dialect=sqlite.dialect()))
"""As text, once: what SQLAlchemy does for each row costs half as much as the row. Values in the order of `row_of`."""
OF_REQUESTS: Final = (
    select(PREDICTIONS, SOURCES.c.form)
    .join_from(PREDICTIONS, SOURCES, PREDICTIONS.c.source == SOURCES.c.id)
    .where(PREDICTIONS.c.model == bindparam("model"))
    .where(PREDICTIONS.c.request_id.in_(bindparam("ids", expanding=True)))
)
JOIN: Final = (
    update(PREDICTIONS)
    .where(PREDICTIONS.c.id == bindparam("which"))
    .values(truth=bindparam("true"), deviation=bindparam("off"), joined_ns=bindparam("now"), turn=bindparam("turn"))
)
_OFF: Final = PREDICTIONS.c.deviation
DEVIATIONS: Final = (
    select(SOURCES.c.form, func.count(), func.count().filter(_OFF == 0), func.sum(_OFF), func.sum(_OFF * _OFF))
    .join_from(SOURCES, PREDICTIONS, PREDICTIONS.c.source == SOURCES.c.id)
    .where(SOURCES.c.model == bindparam("model"), SOURCES.c.version == bindparam("version"))
    .where(PREDICTIONS.c.at_ns >= bindparam("since"), _OFF.is_not(None))
    .group_by(SOURCES.c.form)
    .order_by(func.count().desc())
)
"""Of one version: how many, how many were right, their sum and that of their squares."""
ALL_JOINED: Final = (
    select(PREDICTIONS, SOURCES.c.version, SOURCES.c.generation, SOURCES.c.served_by, SOURCES.c.form)
    .join_from(SOURCES, PREDICTIONS, PREDICTIONS.c.source == SOURCES.c.id)
    .where(SOURCES.c.model == bindparam("model"))
    .where(PREDICTIONS.c.at_ns >= bindparam("since"), _OFF.is_not(None))
    .order_by(PREDICTIONS.c.at_ns.desc(), PREDICTIONS.c.id.desc())
    .limit(bindparam("most"))
)
LAST_TURN: Final = update(MODELS).where(MODELS.c.id == bindparam("which")).values(turns=bindparam("turn"))


def row_of(number: int, model: int, source: int, prediction: Prediction) -> tuple[object, ...]:
    """A prediction as `PUT` takes it."""
    request_id, row, at_ns, version, _, served_by, form, value, score = prediction
    mirror = version if served_by == MIRROR else ""
    return (number, model, source, request_id, row, mirror, at_ns, _text(form, value), score)


def truth_row(row: Row[Any], truth: Value, now_ns: int, turn: int) -> Mapping[str, object]:
    """What came true for a row of `OF_REQUESTS`, as `JOIN` takes it. Raises InvalidRequest: it is of another kind."""
    form = Form(row.form)
    true = truth_of(form, truth)
    off = deviation(form, value_of(form, row.value), true)
    return {"which": row.id, "true": _text(form, true), "off": off, "now": now_ns, "turn": turn}


def contradicts(row: Row[Any], truth: Value) -> bool:
    """Whether something else came true for a row of `OF_REQUESTS`."""
    form = Form(row.form)
    try:
        return bool(row.truth != _text(form, truth_of(form, truth)))
    except InvalidRequest:
        return True


def joined_of(row: Row[Any]) -> Joined:
    """A row of `ALL_JOINED`."""
    form = Form(row.form)
    made = Prediction(
        row.request_id,
        row.row,
        row.at_ns,
        row.version,
        row.generation,
        row.served_by,
        form,
        value_of(form, row.value),
        row.score,
    )
    return Joined(made, value_of(form, row.truth), row.deviation, row.joined_ns)


def _text(form: Form, value: Value) -> str:
    """As it is kept: integers of any size, and numbers with all of their digits."""
    return repr(value) if form is Form.NUMBER else str(value)


def value_of(form: Form, text: str) -> Value:
    """What is kept as this text."""
    if form is Form.TEXT:
        return text
    return int(text) if form is Form.INTEGER else float(text)
