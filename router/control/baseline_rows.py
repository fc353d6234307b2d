"""The baselines of accuracy as they are kept in the store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Protocol

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert as put

from router.control.records import Change, Entry
from router.control.schema import BASELINES


@dataclass(frozen=True, slots=True)
class BaselineRecord:
    """What a version's accuracy is compared with: its mean `loss` over so many `requests`, at most `high` in truth.

    It is that of the files with this `digest`, of what they say in this `output` (empty: the first one) and of its
    `kind`, made of as many requests as were `wanted`. What came true up to a `turn` of the ledger's `file` has had its
    part, and is compared with nothing. Without requests it is still to be made, of what comes true after that.
    `since`: when it was begun anew, 0 where it is of the version's first requests; `made` is when it was whole. Both
    are in seconds since 1970.
    """

    model: str
    number: str
    digest: str
    output: str
    kind: str
    wanted: int
    file: int = 0
    turn: int = 0
    since: float = 0.0
    requests: int = 0
    loss: float = 0.0
    high: float = 0.0
    made: float = 0.0


class Store(Protocol):
    """The store's file. All of it raises RouterErrors."""

    def changing(self) -> AbstractContextManager[Connection]:
        """A change, all of it or nothing."""

    def looking(self) -> AbstractContextManager[Connection]:
        """One moment of it."""

    def save(self, change: Change) -> None:
        """What the audit log is told with."""


class BaselineRows:
    """Keeps one for each version. Its methods block, and raise RouterErrors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> list[BaselineRecord]:
        """All of them."""
        with self._store.looking() as connection:
            return [BaselineRecord(**row) for row in connection.execute(select(BASELINES)).mappings()]

    def tell(self, act: Entry) -> None:
        """For the audit log. Raises Refused."""
        self._store.save(Change(entries=(act,)))

    def keep(self, records: Iterable[BaselineRecord], gone: Iterable[tuple[str, str]] = ()) -> None:
        """In the place of those of the same versions; of the versions that are `gone` (model, number) none stays."""
        with self._store.changing() as connection:
            for model, number in gone:
                connection.execute(delete(BASELINES).where(BASELINES.c.model == model, BASELINES.c.number == number))
            for each in records:
                values = asdict(each)
                others = {name: value for name, value in values.items() if name not in {"model", "number"}}
                connection.execute(
                    put(BASELINES)
                    .values(**values)
                    .on_conflict_do_update(index_elements=("model", "number"), set_=others)
                )
