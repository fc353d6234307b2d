"""The ledger's SQLite file: predictions, and what came true for them.

It is apart from the store (`control/database`), which holds what has been decided: predictions come by the thousand,
are of use for days, and are not worth a disk's time each. So

- they are written in batches and not brought to the disk at each commit (`synchronous = NORMAL`): they outlive a kill
  of the process, a loss of power may take the last of them. What came true is on the disk before it is acknowledged;
- the file has a bound. The oldest go first, of the model that has the most;
- a file of another layout, or one that is damaged, is moved aside and another begun: there is nothing to migrate.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import URL, Connection, Row, create_engine, delete, event, func, insert, select

from router.control.ledger_news import Marks, News, news
from router.control.ledger_schema import (
    ALL_JOINED,
    DEVIATIONS,
    JOIN,
    LAST_TURN,
    LAYOUT,
    METADATA,
    MODELS,
    OF_REQUESTS,
    PREDICTIONS,
    PUT,
    SOURCES,
    Joined,
    contradicts,
    joined_of,
    row_of,
    truth_row,
)
from router.control.ledger_since import Page, since
from router.control.ledger_trouble import OtherLayout
from router.core.prediction import MIRROR, Form, Prediction, Score, Value, score
from router.errors import InvalidRequest

PATIENCE_S: Final = 2.0
"""How long a write waits for another program that holds the file."""
NEARLY: Final = 0.98
"""When the bound is reached so much of it is left."""
STEP: Final = 4096
"""Predictions that go at once."""
ASKED: Final = 500
"""Requests that are looked up at once."""
TOGETHER_NS: Final = 60 * 10**9
"""A mirror's prediction and the one that its caller had are of one request when they are at most so far apart."""
LOG_BYTES: Final = 16 << 20
"""Of the write-ahead log, when all of it is in the file."""
MOST_FILES: Final = 2**31 - 1
"""Names that SQLite has for files."""
_WRITES: Final = "router_writes"
_DURABLE: Final = "router_durable"


class Actual(NamedTuple):
    """What came true for one row, from 0, of a request."""

    request_id: str
    row: int
    truth: Value


class Found(NamedTuple):
    """What became of actuals. `contradicting` are those of `already` that say something else than what was joined."""

    joined: list[Actual]
    unknown: list[Actual]
    already: list[Actual]
    late: list[Actual]
    contradicting: list[Actual]

    def after(self, other: Found) -> Found:
        """Of both, where these are what was unknown to the other."""
        joined, already, late = other.joined + self.joined, other.already + self.already, other.late + self.late
        return Found(joined, self.unknown, already, late, other.contradicting + self.contradicting)


Batch = Sequence[tuple[str, Sequence[Prediction]]]
"""Predictions by model."""


class LedgerFile:
    """The file, used by one thread at a time. All methods raise one of FAILED when it does not do."""

    def __init__(self, path: Path, max_bytes: int, patience_s: float = PATIENCE_S) -> None:
        """Open the file, or make it. Raises OtherLayout too."""
        self._max_bytes = max_bytes
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": patience_s, "isolation_level": None, "check_same_thread": False},
            pool_size=1,
        )
        event.listen(self._engine, "connect", _connected)
        event.listen(self._engine, "begin", _begun)
        self._models: dict[str, int] = {}
        self._turns: dict[int, int] = {}
        self._sources: dict[tuple[object, ...], int] = {}
        self._next = 1
        self._file = 0
        """What no other file has, but by chance: turns are counted in each."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            with self._writing() as connection:
                self._prepare(connection)
        except BaseException:
            self._engine.dispose()
            raise

    def _prepare(self, connection: Connection) -> None:
        known = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
        if known and connection.exec_driver_sql("PRAGMA user_version").scalar() != LAYOUT:
            raise OtherLayout
        METADATA.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {LAYOUT}")
        self._file = int(connection.exec_driver_sql("PRAGMA application_id").scalar() or 0)
        if not self._file:
            self._file = 1 + secrets.randbelow(MOST_FILES)
            connection.exec_driver_sql(f"PRAGMA application_id = {self._file}")
        self._next = (connection.execute(select(func.max(PREDICTIONS.c.id))).scalar() or 0) + 1
        models = connection.execute(select(MODELS)).all()
        self._models = {name: number for number, name, _ in models}
        self._turns = {number: turns for number, _, turns in models}

    @property
    def used_bytes(self) -> int:
        """Of the pages that hold something."""
        with self._engine.begin() as connection:
            return _used(connection)

    @property
    def models(self) -> list[str]:
        """Those of which predictions were ever kept."""
        return list(self._models)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextmanager
    def _writing(self, *, durable: bool = False) -> Iterator[Connection]:
        """All or nothing, also of what is remembered of the file's numbers."""
        known = (dict(self._models), dict(self._turns), dict(self._sources), self._next)
        try:
            with self._engine.execution_options(**{_WRITES: True, _DURABLE: durable}).begin() as connection:
                yield connection
        except BaseException:
            self._models, self._turns, self._sources, self._next = known
            raise

    # ---- predictions ----

    def keep(self, batch: Batch) -> None:
        """Write predictions, and let the oldest go where there are too many.

        For one that is there already (request, row, and which mirror) the newer one counts, without what came true for
        the older: ids are to be used once.
        """
        with self._writing() as connection:
            for model, predictions in batch:
                rows = [self._row(connection, model, each) for each in predictions]
                if rows:
                    connection.exec_driver_sql(PUT, rows)
                    mirrored = {each.request_id for each in predictions if each.served_by == MIRROR}
                    if mirrored:
                        number = self._model(connection, model)
                        turn = self._turns.get(number, 0) + 1
                        if _join_mirrors(connection, number, mirrored, turn):
                            self._turn(connection, number, turn)
        if self.used_bytes > self._max_bytes:
            self._make_room()

    def _row(self, connection: Connection, model: str, prediction: Prediction) -> tuple[object, ...]:
        number = self._next
        self._next += 1
        about = (prediction.version, prediction.generation, prediction.served_by, prediction.form)
        return row_of(number, self._model(connection, model), self._source(connection, model, about), prediction)

    def _model(self, connection: Connection, name: str) -> int:
        number = self._models.get(name)
        if number is None:
            number = self._models[name] = _number(connection.execute(insert(MODELS).values(name=name)))
        return number

    def _turn(self, connection: Connection, model: int, turn: int) -> None:
        """It has been taken. What is deleted does not give it back."""
        connection.execute(LAST_TURN, {"which": model, "turn": turn})
        self._turns[model] = turn

    def _source(self, connection: Connection, model: str, about: tuple[str, int, str, Form]) -> int:
        key = (model, *about)
        number = self._sources.get(key)
        if number is None:
            version, generation, served_by, form = about
            values = {
                "model": self._model(connection, model),
                "version": version,
                "generation": generation,
                "served_by": served_by,
                "form": form.value,
            }
            same = [SOURCES.c[name] == value for name, value in values.items()]
            number = connection.execute(select(SOURCES.c.id).where(*same)).scalar()
            if number is None:
                number = _number(connection.execute(insert(SOURCES).values(**values)))
            self._sources[key] = number
        return number

    def _make_room(self) -> None:
        """Let the oldest go, of the model that has the most, until a little less than the bound is in use."""
        with self._writing() as connection:
            counted = select(PREDICTIONS.c.model, func.count()).group_by(PREDICTIONS.c.model)
            counts = {model: count for model, count in connection.execute(counted)}  # noqa: C416  # typed so
            while counts and _used(connection) > NEARLY * self._max_bytes:
                model = max(counts, key=lambda each: counts[each])
                gone = _let_go(connection, model)
                counts[model] -= gone
                if not gone:
                    del counts[model]
            connection.execute(delete(SOURCES).where(SOURCES.c.id.not_in(select(PREDICTIONS.c.source))))
            self._sources.clear()

    def expire(self, model: str, before_ns: int) -> int:
        """Let some of the oldest predictions of a model go that were made before an instant; how many went."""
        with self._writing() as connection:
            return _let_go(connection, self._model(connection, model), before_ns)

    # ---- what came true ----

    def join(self, model: str, actuals: Sequence[Actual], now_ns: int, keep_ns: int, *, alone: bool) -> Found:
        """Join actuals to predictions that are at most `keep_ns` old. Raises InvalidRequest: nothing was joined then.

        What came true for a request is so for every version that ran it. A mirror's prediction that stands `alone` will
        do, or is unknown: its caller's may still be on its way.
        """
        found = Found([], [], [], [], [])
        with self._writing(durable=True) as connection:
            number = self._models.get(model, 0)
            for at in range(0, len(actuals), ASKED):
                self._join(connection, number, actuals[at : at + ASKED], now_ns, keep_ns, found, alone=alone)
            if found.joined:
                self._turn(connection, number, self._turns.get(number, 0) + 1)
        return found

    def _join(
        self,
        connection: Connection,
        model: int,
        actuals: Sequence[Actual],
        now_ns: int,
        keep_ns: int,
        found: Found,
        *,
        alone: bool,
    ) -> None:
        known: dict[tuple[str, int], list[Row[Any]]] = {}
        for row in connection.execute(OF_REQUESTS, {"model": model, "ids": [each.request_id for each in actuals]}):
            known.setdefault((row.request_id, row.row), []).append(row)
        joining: list[Mapping[str, object]] = []
        turn = self._turns.get(model, 0) + 1
        seen: dict[tuple[str, int], Value] = {}
        for actual in actuals:
            key = (actual.request_id, actual.row)
            rows = known.get(key, [])
            # The one that its caller had, else the newest of the mirrors: which are of the same request, as ids go.
            first = max(rows, key=lambda row: (not row.mirror, row.at_ns)) if rows else None
            if first is None or (first.mirror and not alone):
                found.unknown.append(actual)
            elif key in seen or first.deviation is not None:
                found.already.append(actual)
                if seen[key] != actual.truth if key in seen else contradicts(first, actual.truth):
                    found.contradicting.append(actual)
            elif now_ns - first.at_ns > keep_ns:
                found.late.append(actual)
            else:
                seen[key] = actual.truth
                found.joined.append(actual)
                try:
                    joining.append(truth_row(first, actual.truth, now_ns, turn))
                except InvalidRequest as error:
                    raise InvalidRequest(f"request '{actual.request_id[:80]}': {error}") from None
                joining += _alike(first, actual.truth, now_ns, turn, rows)
        if joining:
            connection.execute(JOIN, joining)

    def accuracy(self, model: str, number: str, since_ns: int) -> Score:
        """How right a version was, of the predictions that it made since an instant and that were joined."""
        about = {"model": self._models.get(model, 0), "version": number, "since": since_ns}
        with self._engine.begin() as connection:
            row = connection.execute(DEVIATIONS, about).first()
        if row is None:
            return Score(number)
        form, joined, right, total, squares = row
        return score(number, Form(form), joined, right, total, squares)

    def joined(self, model: str, since_ns: int, most: int) -> list[Joined]:
        """The newest joined predictions that were made since an instant, oldest of them first."""
        about = {"model": self._models.get(model, 0), "since": since_ns, "most": most}
        with self._engine.begin() as connection:
            return [joined_of(row) for row in reversed(connection.execute(ALL_JOINED, about).all())]

    # ---- what came true since ----

    def last_turn(self, model: str) -> int:
        """Of all that was ever joined of a model; 0 without any."""
        return self._turns.get(self._models.get(model, 0), 0)

    def since(
        self, model: str, versions: tuple[str, str], after: int, most: int, *, paired: bool, file: int = 0
    ) -> Page:
        """What came true after a turn of the champion and the challenger, by `versions`: about `most` predictions.

        Paired: what the challenger said as a mirror and the champion to its caller. Else what callers had of both who
        named no version. Where the turn is of another file than this one, that was lost: all of this one is new; so it
        is where nobody knows of which `file` it is (0), and it is beyond the last one. Beyond the last one of this very
        file it is where a loss of power took what was read already: that does not count twice.
        """
        last = self.last_turn(model)
        anew = file != self._file if file else after > last
        with self._engine.begin() as connection:
            number = self._models.get(model, 0)
            page = since(connection, number, versions, 0 if anew else min(after, last), most, paired=paired)
        return page._replace(anew=anew, file=self._file)

    def news(self, models: frozenset[str], marks: Marks, most: int) -> News:
        """What was said, and what came true, since these marks were made: see `ledger_news`."""
        with self._engine.begin() as connection:
            return news(connection, self._file, models, marks, most)


def _connected(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode = WAL", "cache_size = -32768", f"journal_size_limit = {LOG_BYTES}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begun(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get(_DURABLE) else 'NORMAL'}")
    # Whoever writes waits for the lock here, where it can be had in time; not in the middle, where it could not.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")


def _used(connection: Connection) -> int:
    pages, free, size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _number(result: Any) -> int:
    (number,) = result.inserted_primary_key
    return int(number)


def _let_go(connection: Connection, model: int, before_ns: int | None = None) -> int:
    """Of the oldest of a model, only what was made before an instant where one is given."""
    oldest = select(PREDICTIONS.c.id).where(PREDICTIONS.c.model == model).order_by(PREDICTIONS.c.id).limit(STEP)
    going = delete(PREDICTIONS).where(PREDICTIONS.c.id.in_(oldest))
    if before_ns is not None:
        going = going.where(PREDICTIONS.c.at_ns < before_ns)
    return connection.execute(going).rowcount


def _join_mirrors(connection: Connection, model: int, ids: set[str], turn: int) -> bool:
    """What came true before a mirror had run is so for the mirror too; whether anything was."""
    every = list(ids)
    joining: list[Mapping[str, object]] = []
    for at in range(0, len(every), ASKED):
        by_row: dict[tuple[str, int], list[Row[Any]]] = {}
        for row in connection.execute(OF_REQUESTS, {"model": model, "ids": every[at : at + ASKED]}):
            by_row.setdefault((row.request_id, row.row), []).append(row)
        for rows in by_row.values():
            true = next((row for row in rows if not row.mirror and row.deviation is not None), None)
            if true is not None:
                joining += _alike(true, true.truth, true.joined_ns, turn, rows)
    if joining:
        connection.execute(JOIN, joining)
    return bool(joining)


def _alike(
    first: Row[Any], truth: Value, now_ns: int, turn: int, rows: Sequence[Row[Any]]
) -> list[Mapping[str, object]]:
    """What came true for a request, for the other predictions of it; not for those that are of another kind."""
    joining = []
    for row in rows:
        if row.id != first.id and row.deviation is None and abs(row.at_ns - first.at_ns) <= TOGETHER_NS:
            with suppress(InvalidRequest):
                joining.append(truth_row(row, truth, now_ns, turn))
    return joining
