"""What was kept, on the admin port: reports and the audit log."""

from __future__ import annotations

import asyncio
from typing import Final

from router.control.records import AuditRecord
from router.core.audit import canonical
from router.edge import admin_words as words
from router.edge import reports
from router.edge.admin_sources import Database, Lifecycle
from router.errors import NotFound, Refused
from router.pb import admin_pb2 as pb

REPORTS: Final = 1000
AUDIT: Final = 10_000
"""At most, in one answer."""
USUAL: Final = 100
"""Audit records for who does not say how many."""


class Records:
    """Answers from the database; every method raises RouterErrors."""

    def __init__(self, lifecycle: Lifecycle, database: Database | None) -> None:
        self._lifecycle = lifecycle
        self._database = database

    async def reports(self, request: pb.ListReportsRequest) -> pb.ListReportsResponse:
        """Reports of a model, newest first."""
        model, number = words.model(request.model), words.any_number(request.version)
        kind, last = words.kind(request.kind), min(request.last, REPORTS)
        found = await asyncio.to_thread(self._kept().reports, model, number, kind, last)
        if not found:
            self._known(model, number)
        return pb.ListReportsResponse(reports=[reports.to_message(each) for each in found])

    async def audit(self, request: pb.ListAuditRequest) -> pb.ListAuditResponse:
        """The newest records of the audit log."""
        model, last = words.any_model(request.model), min(request.last or USUAL, AUDIT)
        database = self._kept()
        found = await asyncio.to_thread(database.audit, model, last)
        if model and not any(each.entry.model == model for each in found):
            self._known(model)
        newest = found[-1:] if not model else await asyncio.to_thread(database.audit, "", 1)
        return pb.ListAuditResponse(entries=[_entry(each) for each in found], head=newest[-1].hash if newest else "")

    async def verify(self, request: pb.VerifyAuditRequest) -> pb.VerifyAuditResponse:
        """Whether the audit log is whole."""
        found = await asyncio.to_thread(self._kept().verify, words.head(request.head))
        return pb.VerifyAuditResponse(whole=found.whole, records=found.records, head=found.head, finding=found.finding)

    def _known(self, model: str, number: str = "") -> None:
        """Whether there is such a model and version, of which nothing is kept. Raises NotFound."""
        (view,) = self._lifecycle.versions(model)
        if number and all(each.number != number for each in view.records):
            raise NotFound(f"model '{model}' has no version {number}")

    def _kept(self) -> Database:
        if self._database is None:
            raise Refused("this server keeps no reports and no audit log")
        return self._database


def _entry(record: AuditRecord) -> pb.AuditEntry:
    entry = record.entry
    return pb.AuditEntry(
        sequence=record.sequence,
        seconds=entry.seconds,
        actor=entry.actor,
        action=entry.action,
        model=entry.model,
        version=entry.number,
        reason=entry.reason,
        before=canonical(entry.before),
        after=canonical(entry.after),
        previous=record.previous,
        hash=record.hash,
    )
