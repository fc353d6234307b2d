"""Which baseline of the accuracy holds for a version, kept so that it stays the same whatever the ledger forgets.

The ledger lets go of its oldest predictions, and is read again from what is left when the controller begins anew. So a
baseline that is whole is written down, with how far in the ledger it went. It holds as long as the settings that it was
made by, and the files that it is of; then another one is made of what comes true from then on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

import structlog

from router.control.baseline_rows import BaselineRecord
from router.control.records import Entry
from router.core.decline import Baseline, Origin
from router.core.outcome import Kind
from router.core.table import Route
from router.errors import RouterError

log = structlog.get_logger()

MOST: Final = 64
"""Of one model; of more versions the baselines that were begun longest ago go."""


class Rows(Protocol):
    """Where they are kept. All methods block and raise RouterErrors."""

    def load(self) -> Sequence[BaselineRecord]:
        """All of them."""

    def tell(self, act: Entry) -> None:
        """For the audit log."""

    def keep(self, records: Collection[BaselineRecord], gone: Collection[tuple[str, str]]) -> None:
        """In the place of those of the same versions; of versions that are gone (model, number) none stays."""


class Terms(NamedTuple):
    """What a baseline holds for: files, output, kind, and how many requests make it. Empty: not known, or the first."""

    digest: str
    output: str
    kind: Kind
    wanted: int

    @classmethod
    def of(cls, route: Route, number: str, kind: Kind, digest: str = "") -> Terms:
        """As they are by now; `digest` where that of the files is not known just now."""
        version = route.versions.get(number)
        known = version.digest if version is not None else ""
        return cls(known or digest, route.settings.ledger.output or "", kind, route.settings.accuracy.baseline_requests)

    def unlike(self, before: Terms) -> str:
        """Why what held for `before` does not hold for these, in words; empty where it does."""
        if before.digest and self.digest and before.digest != self.digest:
            return "its files are others than before"
        if before.output != self.output:
            return f"`ledger.output` was {before.output!r}" if before.output else "`ledger.output` was not set"
        if before.kind is not self.kind:
            return f"it says {self.kind} now, before that {before.kind}"
        if before.wanted != self.wanted:
            return f"`accuracy.baseline_requests` was {before.wanted}"
        return ""


class Baselines:
    """Those of all versions. Used on one thread, on which it may block."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._records: dict[tuple[str, str], BaselineRecord] = {}
        self._unsaved: set[tuple[str, str]] = set()
        self._loaded = False
        self._trouble = ""

    def load(self) -> None:
        """What was kept, once. Raises RouterError: nothing is known then, and it may be asked again."""
        if not self._loaded:
            self._records = {(each.model, each.number): each for each in self._rows.load()}
            self._loaded = True

    def of(self, model: str, number: str, terms: Terms) -> tuple[BaselineRecord | None, str]:
        """What is kept of a version and holds by these terms; and why not, where something is kept that does not.

        One that is still being made goes on where only the number of requests is another one.
        """
        record = self._records.get((model, number))
        if record is None:
            return None, ""
        before = Terms(record.digest, record.output, Kind(record.kind), record.wanted)
        if not record.requests:
            before = before._replace(wanted=terms.wanted)
        why = terms.unlike(before)
        return (None, why) if why else (record, "")

    def tell(self, act: Entry) -> None:
        """For the audit log. Raises RouterErrors."""
        self._rows.tell(act)

    def put(self, model: str, number: str, terms: Terms, **about: float) -> None:
        """Keep this of a version: a baseline, or from where on one is being made. `save` writes it."""
        record = BaselineRecord(model, number, terms.digest, terms.output, terms.kind.value, terms.wanted)
        self._records[model, number] = replace(record, **about)  # type: ignore[arg-type]  # by name
        self._unsaved.add((model, number))

    def save(self, routes: Mapping[str, Route]) -> None:
        """Write what is not written yet, and let go of what is of versions that are gone. What cannot be written is
        tried again the next time; that is logged once."""
        gone = [key for key in self._records if key[0] not in routes or key[1] not in routes[key[0]].versions]
        gone += self._too_many(gone)
        if not self._unsaved and not gone:
            return
        kept = [self._records[key] for key in self._unsaved if key not in gone]
        try:
            self._rows.keep(kept, gone)
        except RouterError as error:
            if str(error) != self._trouble:
                log.warning("baselines of the accuracy count and are not kept yet", reason=str(error))
            self._trouble = str(error)
            return
        self._trouble = ""
        self._unsaved.clear()
        for key in gone:
            del self._records[key]

    def _too_many(self, gone: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of models with more than `MOST` of them, the oldest."""
        by_model: dict[str, list[BaselineRecord]] = {}
        for key, record in self._records.items():
            if key not in gone:
                by_model.setdefault(key[0], []).append(record)
        return [
            (each.model, each.number)
            for records in by_model.values()
            if len(records) > MOST
            for each in sorted(records, key=lambda record: max(record.made, record.since))[: len(records) - MOST]
        ]


def baseline_of(record: BaselineRecord) -> Baseline | None:
    """The baseline in a record; None where it is still to be made."""
    if not record.requests:
        return None
    return Baseline(Origin.FIRST, record.requests, record.loss, record.high, record.since)
