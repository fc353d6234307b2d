"""References in the store: one for each side of each model, there after a restart, whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from router.control.database import FILE
from router.control.records import Entry
from router.control.reference_rows import ReferenceRecord, ReferenceRows
from router.errors import Refused
from tests.control.test_database import store

RECORD = ReferenceRecord("[b]m[/]", "inputs", "", "live", 5.0, "router", "{}")


def test_references_are_kept_by_side(tmp_path: Path) -> None:
    """A new one takes the place of the one before; the act stands in the audit log."""
    outputs = replace(RECORD, side="outputs", number="2")
    with closing(store(tmp_path / FILE)) as database:
        rows = ReferenceRows(database)
        assert rows.load(RECORD.model) == []
        rows.keep([replace(RECORD, model="another")])
        rows.keep([RECORD, outputs])
        rows.keep([replace(RECORD, body="[]", actor="ada")], Entry(5.0, "ada", "reference", RECORD.model))
    with closing(store(tmp_path / FILE)) as database:
        found = sorted(ReferenceRows(database).load(RECORD.model), key=lambda each: each.side)
        assert found == [replace(RECORD, body="[]", actor="ada"), outputs]
        (act,) = database.audit()
        assert (act.entry.actor, act.entry.action) == ("ada", "reference")


def test_what_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    """Another program holds the file."""
    with closing(store(tmp_path / FILE, 0.05)) as database, closing(sqlite3.connect(tmp_path / FILE)) as other:
        rows = ReferenceRows(database)
        rows.keep([RECORD])
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused, match="another program"):
            rows.keep([replace(RECORD, body="[]")])
        assert rows.load(RECORD.model) == [RECORD]
        other.rollback()
