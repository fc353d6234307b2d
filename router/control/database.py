"""What must outlive the processes, in one SQLite file: the table that serves, versions, reports, cases, the audit log.

Durable before it is visible: what `save` has returned from survives a kill of the process and a loss of power (a
write-ahead log, brought to the disk at every commit), and of what it has raised on nothing is kept.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import URL, Connection, Engine, RowMapping, create_engine, delete, event, func, insert, inspect, select
from sqlalchemy.dialects.sqlite import insert as put
from sqlalchemy.exc import DBAPIError

from router.control import migrations
from router.control.database_errors import damaged, trouble
from router.control.ended_cases import let_go
from router.control.records import AuditRecord, Case, Change, Entry, Stored, VersionRecord
from router.control.report_text import from_text, to_text
from router.control.schema import (
    AUDIT,
    AUDIT_HEAD,
    CASES,
    FROZEN,
    IMPORTANCE,
    METADATA,
    REPORTS,
    REVISION,
    SERVING,
    VERSIONS,
)
from router.core.audit import GENESIS, Link, Verified, canonical, linked, verified
from router.core.gate import Report
from router.core.standing import EVERYTHING, CaseKind
from router.core.table import VersionTable
from router.core.version import Stage
from router.errors import Refused, RouterError, SettingsError

log = structlog.get_logger()

FILE: Final = "router.db"
"""The file's name in the state directory."""
PATIENCE_S: Final = 2.0
"""How long a change waits for another program that holds the file."""
KEPT_REPORTS: Final = 20
"""Of each model and version, the newest."""
CHECKED_BYTES: Final = 64 << 20
"""A file up to this size is read as a whole when it is opened, in some 0.1 s; of a larger one damage shows later."""

_WRITES: Final = "router_writes"


class Database:
    """One file and its connections. `open` comes first; then every method may be called from any thread, and blocks.

    `encode` and `decode` are the table of routes as text; `decode` raises RouterError.
    """

    def __init__(
        self,
        path: Path,
        encode: Callable[[VersionTable], str],
        decode: Callable[[str], VersionTable],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._path = path
        self._encode = encode
        self._decode = decode
        self._patience_s = patience_s
        self._engine = self._engine_of(path)

    def _engine_of(self, path: Path) -> Engine:
        # Transactions begin and end where we say (isolation_level None), not where the driver thinks best.
        engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": self._patience_s, "isolation_level": None},
        )
        event.listen(engine, "connect", _connected)
        event.listen(engine, "begin", _begun)
        return engine

    # ---- the file ----

    def open(self) -> None:
        """Make the file where there is none, bring an older one up to date. Raises SettingsError with the mend."""
        try:
            if not self._path.exists():
                self._make()
            elif self._path.stat().st_size == 0:  # it is put in its place whole, so it was emptied
                raise damaged(self._path, "it is empty")
            with self._writing() as connection:
                self._check(connection)
        except OSError as error:
            raise SettingsError(f"the store {self._path} cannot be used: {error.strerror}") from error
        except (DBAPIError, sqlite3.Error) as error:
            wrong = trouble(error)
            if wrong.damaged:
                raise damaged(self._path, wrong.reason) from error
            raise SettingsError(f"the store {self._path} cannot be used: {wrong.reason}; {wrong.mend}") from error

    def _make(self) -> None:
        """A new file, whole before it has its name. Nothing left of an earlier one may be taken for a part of it."""
        fresh = self._path.with_name(self._path.name + ".new")
        for path in (self._path, fresh):
            for leftover in ("-wal", "-shm"):
                path.with_name(path.name + leftover).unlink(missing_ok=True)
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        engine = self._engine_of(fresh)
        try:
            with engine.execution_options(**{_WRITES: True}).begin() as connection:
                METADATA.create_all(connection)
                REVISION.create(connection)
                connection.execute(insert(REVISION).values(version_num=migrations.HEAD))
        finally:
            engine.dispose()  # the last one to leave takes the write-ahead log into the file
        fresh.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _check(self, connection: Connection) -> None:
        """Raises SettingsError, DBAPIError."""
        if self._path.stat().st_size <= CHECKED_BYTES:
            finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if finding != "ok":
                raise damaged(self._path, str(finding).splitlines()[0][:200])
        if not inspect(connection).has_table(REVISION.name):
            raise damaged(self._path, "it holds no tables of this program")
        revision = connection.execute(select(REVISION.c.version_num)).scalar() or ""
        if revision > migrations.HEAD:
            raise SettingsError(
                f"the store {self._path} was written by a newer router (its schema is {revision}, this program knows"
                f" {migrations.HEAD}); start that one, or use another state directory with --state DIR"
            )
        if revision < migrations.HEAD:
            log.info("the store is brought up to date", before=revision, after=migrations.HEAD)
            migrations.upgrade(connection)

    def close(self) -> None:
        """Let go of the file. It may be opened again."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.execution_options(**{_WRITES: True}).begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One moment of the store, whatever is written meanwhile. Raises RouterError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except (DBAPIError, sqlite3.Error) as error:
            wrong = trouble(error)
            if wrong.damaged:
                raise damaged(self._path, wrong.reason) from error
            raise RouterError(f"the store cannot be read: {wrong.reason}; {wrong.mend}") from error

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A change to tables that others keep here, all of it or nothing. Raises Refused; nothing has changed then."""
        try:
            with self._writing() as connection:
                yield connection
        except (DBAPIError, sqlite3.Error) as error:
            wrong = trouble(error)
            raise Refused(f"the store cannot be written: {wrong.reason}; {wrong.mend}") from error

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """One moment of the store, for tables that others keep here. Raises RouterError."""
        with self._reading() as connection:
            yield connection

    # ---- what serves ----

    def load(self) -> Stored:
        """All that was stored; an empty table of generation 0 when nothing was. Raises SettingsError."""
        try:
            with self._reading() as connection:
                routes = connection.execute(select(SERVING.c.routes)).scalar()
                versions = connection.execute(select(VERSIONS)).mappings().all()
                frozen = connection.execute(select(FROZEN.c.model)).scalars().all()
                going = select(CASES).where(CASES.c.ended == 0).order_by(CASES.c.id)
                cases = connection.execute(going).mappings().all()
                last_case = connection.execute(select(func.max(CASES.c.id))).scalar() or 0
                importance = {row.model: row.level for row in connection.execute(select(IMPORTANCE))}
            table = VersionTable(0, {}) if routes is None else self._decode(routes)
            records = [VersionRecord(**{**row, "stage": Stage(row["stage"])}) for row in versions]
            open_cases = tuple([_case(row) for row in cases])
        except SettingsError:
            raise
        except (RouterError, ValueError, TypeError) as error:
            raise damaged(self._path, str(error)) from error
        by_key = {(each.model, each.number): each for each in records}
        return Stored(table, by_key, frozenset(frozen), open_cases, last_case, importance)

    def save(self, change: Change) -> None:
        """Make a change durable, all of it or nothing. Raises Refused; then nothing has changed."""
        try:
            with self._writing() as connection:
                if change.table is not None:
                    routes = {"one": 1, "generation": change.table.generation, "routes": self._encode(change.table)}
                    _replace(connection, SERVING, routes, ("one",))
                for record in change.records:
                    _replace(connection, VERSIONS, asdict(record), ("model", "number"))
                if change.frozen is not None:
                    connection.execute(delete(FROZEN))
                    for model in change.frozen:
                        connection.execute(insert(FROZEN).values(model=model))
                for report in change.reports:
                    _keep(connection, report)
                for case in change.cases:
                    _replace(connection, CASES, {**asdict(case), "body": canonical(case.body)}, ("id",))
                for ended in {(each.model, each.kind): each for each in change.cases if not each.open}.values():
                    let_go(connection, ended)
                if change.importance is not None:
                    connection.execute(delete(IMPORTANCE))
                    for model, level in change.importance.items():
                        connection.execute(insert(IMPORTANCE).values(model=model, level=level))
                links = _append(connection, change.entries)
        except (DBAPIError, sqlite3.Error) as error:
            wrong = trouble(error)
            log.error("a change was not stored", reason=wrong.reason, error=repr(getattr(error, "orig", error)))
            raise Refused(f"the change was not made: {wrong.reason}; {wrong.mend}") from error
        with suppress(OSError):  # the change is durable, even if nobody reads the log any more
            for link, entry in zip(links, change.entries, strict=True):
                _tell(link, entry)

    # ---- what is looked up ----

    def reports(self, model: str, number: str = "", kind: str = "", last: int = 0) -> list[Report]:
        """Reports of a model, newest first: the `last`, or with 0 the newest of each kind and version.

        Only those of a version, of a kind, where one is named. Raises RouterError.
        """
        wanted = select(REPORTS.c.report).where(REPORTS.c.model == model).order_by(REPORTS.c.id.desc())
        if number:
            wanted = wanted.where(REPORTS.c.number == number)
        if kind:
            wanted = wanted.where(REPORTS.c.kind == kind)
        if last:
            wanted = wanted.limit(last)
        else:
            each = select(func.max(REPORTS.c.id)).group_by(REPORTS.c.model, REPORTS.c.number, REPORTS.c.kind)
            wanted = wanted.where(REPORTS.c.id.in_(each))
        with self._reading() as connection:
            return [from_text(text) for text in connection.execute(wanted).scalars()]

    def cases(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> list[Case]:
        """Cases, newest first, open and ended: all, or the `last` of them. Raises RouterError."""
        wanted = select(CASES).order_by(CASES.c.id.desc())
        for column, value in ((CASES.c.model, model), (CASES.c.number, number), (CASES.c.kind, kind)):
            if value:
                wanted = wanted.where(column == value)
        if last:
            wanted = wanted.limit(last)
        with self._reading() as connection:
            return [_case(row) for row in connection.execute(wanted).mappings()]

    def audit(self, model: str = "", last: int = 100) -> list[AuditRecord]:
        """The newest `last` records, oldest of them first: all, or what concerns a model. Raises RouterError."""
        wanted = select(AUDIT).order_by(AUDIT.c.sequence.desc()).limit(last)
        if model:
            wanted = wanted.where(AUDIT.c.model.in_((model, EVERYTHING)))
        with self._reading() as connection:
            return [record_of(row) for row in reversed(connection.execute(wanted).mappings().all())]

    def champions(self, model: str) -> list[str]:
        """The versions that have been a model's champion, by the audit log; the latest first. Raises RouterError."""
        wanted = select(AUDIT).where(AUDIT.c.model == model, AUDIT.c.number != "").order_by(AUDIT.c.sequence.desc())
        with self._reading() as connection:
            records = [record_of(row) for row in connection.execute(wanted).mappings()]
        return list(dict.fromkeys([each.entry.number for each in records if _crowns(each.entry)]))

    def verify(self, head: str = "") -> Verified:
        """Whether the audit log is whole, and holds the `head` that was noted outside. Raises RouterError."""
        with self._reading() as connection:
            newest = connection.execute(select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.hash)).first()
            rows = connection.execution_options(yield_per=500).execute(select(AUDIT).order_by(AUDIT.c.sequence))
            ends = (0, "") if newest is None else (newest.sequence, newest.hash)
            return verified((_link(row) for row in rows.mappings()), head, ends)


def _connected(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begun(connection: Connection) -> None:
    # Whoever writes waits for the lock here, where it can be had in time; not in the middle, where it could not.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


def _replace(connection: Connection, table: Any, values: Mapping[str, object], key: tuple[str, ...]) -> None:
    others = {name: value for name, value in values.items() if name not in key}
    connection.execute(put(table).values(**values).on_conflict_do_update(index_elements=key, set_=others))


def _keep(connection: Connection, report: Report) -> None:
    """Store a report, and let go of the oldest of its version."""
    key = ("model", "number", "digest", "kind", "began")
    _replace(connection, REPORTS, {**{name: getattr(report, name) for name in key}, "report": to_text(report)}, key)
    same = (REPORTS.c.model == report.model, REPORTS.c.number == report.number)
    newest = select(REPORTS.c.id).where(*same).order_by(REPORTS.c.id.desc()).limit(KEPT_REPORTS)
    connection.execute(delete(REPORTS).where(*same, REPORTS.c.id.not_in(newest)))


def _append(connection: Connection, entries: tuple[Entry, ...]) -> list[Link]:
    """Add to the audit log. Numbers follow each other whatever the clock does."""
    if not entries:
        return []
    links: list[Link] = []
    # Where the log was cut off, the next record leaves the gap that a verification finds.
    ends = [
        connection.execute(select(table.c.sequence, table.c.hash).order_by(table.c.sequence.desc()).limit(1)).first()
        for table in (AUDIT, AUDIT_HEAD)
    ]
    sequence, head = max(((end.sequence, end.hash) for end in ends if end is not None), default=(0, GENESIS))
    for entry in entries:
        act = {
            "seconds": float(entry.seconds),
            "actor": entry.actor,
            "action": entry.action,
            "model": entry.model,
            "number": entry.number,
            "reason": entry.reason,
            "before": canonical(entry.before),
            "after": canonical(entry.after),
        }
        link = linked(sequence + 1, act, head)
        connection.execute(insert(AUDIT).values(**act, sequence=link.sequence, previous=head, hash=link.hash))
        links.append(link)
        sequence, head = link.sequence, link.hash
    _replace(connection, AUDIT_HEAD, {"one": 1, "sequence": sequence, "hash": head}, ("one",))
    return links


def _tell(link: Link, entry: Entry) -> None:
    """The anchor outside: whoever keeps the structured log has noted every head."""
    log.info(
        "audit",
        sequence=link.sequence,
        head=link.hash,
        action=entry.action,
        actor=entry.actor,
        model=entry.model,
        version=entry.number,
    )


def _case(row: RowMapping) -> Case:
    unreadable = RouterError(f"case {row['id']} of the store cannot be read")
    try:
        kind, body = CaseKind(row["kind"]), json.loads(row["body"])
    except (ValueError, TypeError) as error:
        raise unreadable from error
    if not isinstance(body, dict):
        raise unreadable
    return Case(**{**row, "kind": kind, "body": body})


def record_of(row: RowMapping) -> AuditRecord:
    """A row of the audit log. Raises RouterError."""
    try:
        told = {name: json.loads(row[name]) for name in ("before", "after")}
    except (ValueError, TypeError) as error:
        raise RouterError(f"record {row['sequence']} of the audit log cannot be read: have the log verified") from error
    entry = Entry(row["seconds"], row["actor"], row["action"], row["model"], row["number"], row["reason"], **told)
    return AuditRecord(row["sequence"], entry, row["previous"], row["hash"])


def _crowns(entry: Entry) -> bool:
    """Whether an act made its version the champion: it says so, or an heir succeeded one that was lost."""
    return entry.after.get("champion") == entry.number or entry.action == "succeeded"


def _link(row: RowMapping) -> Link:
    act = {name: value for name, value in row.items() if name not in {"sequence", "previous", "hash"}}
    return Link(row["sequence"], act, row["previous"], row["hash"])
