"""The references of drift as they are kept in the store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Protocol

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as put

from router.control.records import Change, Entry
from router.control.schema import REFERENCES


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """A reference of one side of a model. `number` is the version that was champion when it was made or set.

    `source` is a file's name, `live`, or the version that it came with; `made` is in seconds since 1970; `body` is the
    text of `core.reference_text`.
    """

    model: str
    side: str
    number: str
    source: str
    made: float
    actor: str
    body: str


class Store(Protocol):
    """The store's file. Both raise RouterErrors."""

    def changing(self) -> AbstractContextManager[Connection]:
        """A change, all of it or nothing."""

    def looking(self) -> AbstractContextManager[Connection]:
        """One moment of it."""

    def save(self, change: Change) -> None:
        """What the audit log is told with."""


class ReferenceRows:
    """Keeps one reference for each side of each model. Its methods block, and raise RouterErrors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self, model: str) -> list[ReferenceRecord]:
        """Those of a model."""
        wanted = select(REFERENCES).where(REFERENCES.c.model == model)
        with self._store.looking() as connection:
            return [ReferenceRecord(**row) for row in connection.execute(wanted).mappings()]

    def keep(self, records: Sequence[ReferenceRecord], act: Entry | None = None) -> None:
        """In the place of those of the same sides; `act` is for the audit log. Raises Refused."""
        with self._store.changing() as connection:
            for each in records:
                values = asdict(each)
                others = {name: value for name, value in values.items() if name not in {"model", "side"}}
                connection.execute(
                    put(REFERENCES)
                    .values(**values)
                    .on_conflict_do_update(index_elements=("model", "side"), set_=others)
                )
        if act is not None:
            self._store.save(Change(entries=(act,)))
