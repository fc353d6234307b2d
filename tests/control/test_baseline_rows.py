"""Baselines in the store: one for each version, there after a restart, whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from router.control.baseline_rows import BaselineRecord, BaselineRows
from router.control.database import FILE
from router.control.records import Entry
from router.errors import Refused
from tests.control.test_database import store

RECORD = BaselineRecord("[b]m[/]", "1", "d", "y", "labels", 1000, 2**31 - 1, 7, 0.0, 1000, 0.1, 0.2, 1.7e9)


def test_baselines_are_kept_by_version(tmp_path: Path) -> None:
    """A new one takes the place of the one before; those of versions that are gone go. An act is in the audit log."""
    second = replace(RECORD, number="2")
    with closing(store(tmp_path / FILE)) as database:
        rows = BaselineRows(database)
        assert rows.load() == []
        rows.keep([RECORD, second, replace(RECORD, number="3")])
        rows.keep([replace(RECORD, loss=0.5)], [(RECORD.model, "3"), ("nobody", "1")])
        rows.tell(Entry(5.0, "ada", "baseline", RECORD.model, "1"))
    with closing(store(tmp_path / FILE)) as database:
        found = sorted(BaselineRows(database).load(), key=lambda each: each.number)
        assert found == [replace(RECORD, loss=0.5), second]
        (act,) = database.audit()
        assert (act.entry.actor, act.entry.action) == ("ada", "baseline")


def test_what_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    """Another program holds the file."""
    with closing(store(tmp_path / FILE, 0.05)) as database, closing(sqlite3.connect(tmp_path / FILE)) as other:
        rows = BaselineRows(database)
        rows.keep([RECORD])
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused, match="another program"):
            rows.keep([], [(RECORD.model, RECORD.number)])
        assert rows.load() == [RECORD]
        other.rollback()
