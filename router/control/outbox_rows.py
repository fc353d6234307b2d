"""What is still to be told to a webhook, as rows of the store; and how far the audit log has become events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert as put

from router.control.cloud_event import NAME, Told, sound
from router.control.database import Database, record_of
from router.control.records import AuditRecord, Entry
from router.control.schema import AUDIT, OUTBOX, OUTBOX_HEAD
from router.core.delivery import LONGEST_S
from router.errors import RouterError

MOST: Final = 10_000
"""Rows; beyond that the oldest go."""
AT_ONCE: Final = 500
"""Records of the audit log that become events in one transaction."""
PENDING: Final = "pending"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """An event that is not delivered. `told` and `next_try` are in seconds since 1970; `body` is a CloudEvent."""

    id: int
    event: str
    kind: str
    model: str
    number: str
    told: float
    body: str
    state: str = PENDING
    tries: int = 0
    refusals: int = 0
    next_try: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """How the outbox is. `delivered` and `dropped` count from the beginning; `rows` are some of those that are left.

    `oldest` is when the oldest one that waits was told, 0 without any; times are in seconds since 1970.
    """

    pending: int
    failed: int
    delivered: int
    dropped: int
    oldest: float
    last_delivered: float
    last_error: float
    error: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step has done: how many events it took in and let go undelivered, and whether there is more to take."""

    taken: int
    dropped: int
    more: bool


class OutboxRows:
    """The tables. All methods block; they may be called from any thread, and raise RouterErrors."""

    def __init__(self, database: Database, most: int = MOST) -> None:
        self._database = database
        self._most = most

    def begin(self) -> None:
        """What the audit log holds when there is an outbox for the first time is not told; what comes after it is."""
        with self._database.changing() as connection:
            newest = connection.execute(select(func.max(AUDIT.c.sequence))).scalar() or 0
            head = {"one": 1, "audit": newest, "delivered": 0, "dropped": 0, "error": ""}
            head |= {"last_delivered": 0.0, "last_error": 0.0}
            connection.execute(put(OUTBOX_HEAD).values(**head).on_conflict_do_nothing())
            # A store that was put back from a copy has fewer records than were told.
            connection.execute(update(OUTBOX_HEAD).where(OUTBOX_HEAD.c.audit > newest).values(audit=newest))

    def behind(self) -> bool:
        """Whether the audit log has records that are no events yet."""
        with self._database.looking() as connection:
            newest = connection.execute(select(func.max(AUDIT.c.sequence))).scalar() or 0
            return bool(newest > (connection.execute(select(OUTBOX_HEAD.c.audit)).scalar() or 0))

    def keep(
        self,
        told: Sequence[Told],
        of_record: Callable[[AuditRecord], Told | None],
        body: Callable[[Told], str],
        since: float,
    ) -> Kept:
        """Take in what was told, and what the audit log has beyond what it had, in one transaction.

        `of_record` gives None for a record that nobody is to be told of. What was told before `since` goes, and the
        oldest beyond the bound.
        """
        with self._database.changing() as connection:
            cursor = connection.execute(select(OUTBOX_HEAD.c.audit)).scalar() or 0
            wanted = select(AUDIT).where(AUDIT.c.sequence > cursor).order_by(AUDIT.c.sequence).limit(AT_ONCE)
            records = [_record(row) for row in connection.execute(wanted).mappings()]
            new = [each for each in map(of_record, records) if each is not None]
            for each in sorted((*new, *told), key=lambda each: each.seconds):
                row: dict[str, Any] = {"event": each.id, "kind": each.kind}
                row |= {"model": sound(each.model)[:NAME], "number": sound(each.number)[:NAME]}
                row |= {"told": each.seconds, "body": body(each), "state": PENDING, "error": ""}
                row |= {"tries": 0, "refusals": 0, "next_try": 0.0}
                connection.execute(put(OUTBOX).values(**row).on_conflict_do_nothing(index_elements=["event"]))
            dropped = _tidied(connection, since, self._most)
            if records:
                connection.execute(update(OUTBOX_HEAD).values(audit=records[-1].sequence))
            if dropped:
                connection.execute(update(OUTBOX_HEAD).values(dropped=OUTBOX_HEAD.c.dropped + dropped))
        return Kept(len(new) + len(told), dropped, len(records) == AT_ONCE)

    def due(self, now: float) -> Row | None:
        """The next to be sent: the oldest of those that have failed least often. None while there is none."""
        # A clock that was set back would keep those waiting that it set ahead.
        ripe = or_(OUTBOX.c.next_try <= now, OUTBOX.c.next_try > now + LONGEST_S)
        wanted = select(OUTBOX).where(OUTBOX.c.state == PENDING, ripe).order_by(OUTBOX.c.tries, OUTBOX.c.id).limit(1)
        with self._database.looking() as connection:
            found = connection.execute(wanted).mappings().first()
        return None if found is None else Row(**found)

    def next_try(self) -> float | None:
        """When the first of those that wait is to be sent again; None when nothing waits."""
        with self._database.looking() as connection:
            wanted = select(func.min(OUTBOX.c.next_try)).where(OUTBOX.c.state == PENDING)
            found: float | None = connection.execute(wanted).scalar()
            return found

    def delivered(self, row: Row, now: float) -> None:
        """It has arrived; it goes."""
        with self._database.changing() as connection:
            gone = connection.execute(delete(OUTBOX).where(OUTBOX.c.id == row.id)).rowcount
            counted = {"delivered": OUTBOX_HEAD.c.delivered + gone, "last_delivered": now}
            connection.execute(update(OUTBOX_HEAD).values(**counted))

    def settle(self, row: Row, now: float) -> None:
        """It has not arrived: `row` says how it stands by now."""
        with self._database.changing() as connection:
            values = {name: getattr(row, name) for name in ("state", "tries", "refusals", "next_try", "error")}
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == row.id).values(**values))
            connection.execute(update(OUTBOX_HEAD).values(error=row.error, last_error=now))

    def again(self) -> int:
        """Those that were given up wait again; how many."""
        with self._database.changing() as connection:
            fresh = {"state": PENDING, "refusals": 0, "next_try": 0.0}
            changed: int = connection.execute(update(OUTBOX).where(OUTBOX.c.state == FAILED).values(**fresh)).rowcount
            return changed

    def queue(self, last: int) -> Queue:
        """How it is, with the oldest `last` of the rows, those that were given up first."""
        with self._database.looking() as connection:
            counts = dict(_pairs(connection, select(OUTBOX.c.state, func.count()).group_by(OUTBOX.c.state)))
            oldest = connection.execute(select(func.min(OUTBOX.c.told)).where(OUTBOX.c.state == PENDING)).scalar()
            head = connection.execute(select(OUTBOX_HEAD)).mappings().first()
            wanted = select(OUTBOX).order_by(OUTBOX.c.state, OUTBOX.c.id).limit(last)
            rows = tuple(Row(**row) for row in connection.execute(wanted).mappings())
        known: dict[str, Any] = {} if head is None else dict(head)
        return Queue(
            pending=counts.get(PENDING, 0),
            failed=counts.get(FAILED, 0),
            delivered=known.get("delivered", 0),
            dropped=known.get("dropped", 0),
            oldest=oldest or 0.0,
            last_delivered=known.get("last_delivered", 0.0),
            last_error=known.get("last_error", 0.0),
            error=known.get("error", ""),
            rows=rows,
        )


def _record(row: RowMapping) -> AuditRecord:
    """One that cannot be read is told as such: those after it do not wait for ever."""
    try:
        return record_of(row)
    except RouterError as error:
        return AuditRecord(row["sequence"], Entry(0.0, "", "unreadable", reason=str(error)), "", "")


def _pairs(connection: Connection, wanted: Select[Any]) -> Iterable[tuple[str, int]]:
    return [(row[0], row[1]) for row in connection.execute(wanted)]


def _tidied(connection: Connection, since: float, most: int) -> int:
    """Let go of what is too old and of the oldest that are too many; how many of them would still have been sent."""
    pending = (OUTBOX.c.state == PENDING,)
    old = connection.execute(delete(OUTBOX).where(*pending, OUTBOX.c.told < since)).rowcount
    connection.execute(delete(OUTBOX).where(OUTBOX.c.told < since))  # it was given up, and that was told
    over = (connection.execute(select(func.count()).select_from(OUTBOX)).scalar() or 0) - most
    if over > 0:
        # Those that were given up go first: nobody waits for them.
        oldest = select(OUTBOX.c.id, OUTBOX.c.state).order_by(OUTBOX.c.state, OUTBOX.c.id).limit(over)
        going = connection.execute(oldest).all()
        for each in going:
            connection.execute(delete(OUTBOX).where(OUTBOX.c.id == each.id))
        old += sum(each.state == PENDING for each in going)
    return old
