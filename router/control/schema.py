"""The tables of the store as they are now. How they came to be so is in `migrations`; a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
)

METADATA: Final = MetaData()

SERVING: Final = Table(
    "serving",
    METADATA,
    Column("one", Integer, primary_key=True),  # always 1: the table that serves, older ones are not kept
    Column("generation", Integer, nullable=False),
    Column("routes", Text, nullable=False),
)
VERSIONS: Final = Table(
    "versions",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("number", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("mark", Text, nullable=False),
    Column("memory_bytes", Integer, nullable=False),
    Column("warmed", Boolean, nullable=False),
)
FROZEN: Final = Table("frozen", METADATA, Column("model", Text, primary_key=True))
REPORTS: Final = Table(
    "reports",
    METADATA,
    Column("id", Integer, primary_key=True),  # grows; the clock that `began` is read from may jump
    Column("model", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("began", Float, nullable=False),
    Column("report", Text, nullable=False),
    UniqueConstraint("model", "number", "digest", "kind", "began"),
)
CASES: Final = Table(
    "cases",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("began", Float, nullable=False),
    Column("ended", Float, nullable=False),  # 0: it is open
    Column("state", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Index("cases_model", "model", "kind", "id"),
)
IMPORTANCE: Final = Table(
    "importance",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("level", Text, nullable=False),
)
AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("audit_model", "model", "sequence"),
)
AUDIT_HEAD: Final = Table(
    "audit_head",
    METADATA,
    Column("one", Integer, primary_key=True),  # always 1
    Column("sequence", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)
BASELINES: Final = Table(
    "baselines",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("number", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("file", Integer, nullable=False),  # of the ledger
    Column("turn", Integer, nullable=False),
    Column("since", Float, nullable=False),  # 0: of the first requests of all
    Column("requests", Integer, nullable=False),  # 0: it is still to be made
    Column("loss", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("made", Float, nullable=False),
)
REFERENCES: Final = Table(
    "references",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("side", Text, primary_key=True),  # inputs or outputs
    Column("number", Text, nullable=False),  # of the version whose outputs they are
    Column("source", Text, nullable=False),
    Column("made", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
)
DRIFT: Final = Table(
    "drift",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("side", Text, primary_key=True),
    Column("number", Text, nullable=False),
    Column("made", Float, nullable=False),  # the reference that it is compared with; 0: it is still to be made
    Column("rows", Integer, nullable=False),
    Column("saved", Float, nullable=False),
    Column("body", LargeBinary, nullable=False),  # arrays of numpy
)
OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True),  # the order in which they were told; never given twice
    Column("event", Text, nullable=False),  # the id that a receiver sees
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("told", Float, nullable=False),
    Column("body", Text, nullable=False),  # a CloudEvent in JSON
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("next_try", Float, nullable=False),
    Column("error", Text, nullable=False),
    UniqueConstraint("event"),
    Index("outbox_state", "state", "tries", "id"),
    Index("outbox_told", "told"),
    sqlite_autoincrement=True,
)
OUTBOX_HEAD: Final = Table(
    "outbox_head",
    METADATA,
    Column("one", Integer, primary_key=True),  # always 1
    Column("audit", Integer, nullable=False),  # the last record of the audit log that became an event
    Column("delivered", Integer, nullable=False),
    Column("dropped", Integer, nullable=False),
    Column("last_delivered", Float, nullable=False),
    Column("last_error", Float, nullable=False),
    Column("error", Text, nullable=False),
)

for _act in ("UPDATE", "DELETE"):
    event.listen(
        AUDIT,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER audit_no_{_act.lower()} BEFORE {_act} ON audit"
            " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        ),
    )

_REVISION_METADATA: Final = MetaData()
REVISION: Final = Table(
    "alembic_version",
    _REVISION_METADATA,
    Column("version_num", Text, primary_key=True),
)
"""Alembic's own: which revision the tables are of."""
