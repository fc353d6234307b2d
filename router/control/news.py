"""What goes to a webhook: records of the audit log, and what is told beside them; each thing once.

A change of the store and its record in the audit log are one transaction, so an event that is made of the record
cannot be lost between the two. What is told live of the same change is therefore left out: its record comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from router.control.cloud_event import Told
from router.control.events import Event
from router.control.records import AuditRecord, Entry

CHATTER: Final = frozenset({"actuals", "progress"})
"""Kinds that are wanted only by those who name them: there may be hundreds of each in a second."""
OWN: Final = "webhook"
"""The kind of events about the webhook itself."""
ACT: Final = "act"
"""The kind of records that have none of their own."""
OF_ACTS: Final[Mapping[str, str]] = {
    "freeze": "frozen",
    "thaw": "frozen",
    "alias": "alias",
    "fallback": "fallback",
    "importance": "importance",
    "challenge": "challenge",
    "withdraw": "challenge",
    "split": "split",
    "request": "request",
    "approve": "request",
    "reject": "request",
    "retrain": "retraining",
}
"""Kinds of events by acts. What is told live of these kinds is left out: what matters of it is such an act."""
FROM_AUDIT: Final = frozenset({"champion", ACT, *OF_ACTS.values()})
"""Kinds that are made of the audit log and not of what is told live,"""
UNRECORDED: Final = frozenset({"flood"})
"""but for what has one of these facts: the log has no act of it."""


class News:
    """Which events are wanted: all but chatter, or those of the kinds that are named."""

    def __init__(self, kinds: Collection[str] = ()) -> None:
        self._kinds = frozenset(kinds)

    def wants(self, kind: str) -> bool:
        """Whether events of a kind go out."""
        return kind in self._kinds if self._kinds else kind not in CHATTER

    def of_event(self, event: Event, new_id: Callable[[], str]) -> Told | None:
        """What was told live, with an id of its own; None where it is not wanted or comes from the audit log."""
        recorded = event.kind in FROM_AUDIT and UNRECORDED.isdisjoint(event.facts)
        if recorded or not self.wants(event.kind):
            return None
        return Told(
            new_id(), event.seconds, event.kind, event.model, event.number, event.text, event.facts, event.generation
        )

    def of_record(self, record: AuditRecord) -> Told | None:
        """What a record of the audit log tells; None where it is not wanted. Its id is the same whenever it is made."""
        entry = record.entry
        kind = kind_of(entry)
        if not self.wants(kind):
            return None
        facts: dict[str, object] = {"action": entry.action, "actor": entry.actor, "reason": entry.reason}
        facts |= {"before": dict(entry.before), "after": dict(entry.after), "hash": record.hash}
        name = f"audit-{record.sequence}-{record.hash[:16]}"
        return Told(name, entry.seconds, kind, entry.model, entry.number, _line(entry), facts, sequence=record.sequence)


def kind_of(entry: Entry) -> str:
    """The kind of event that an act becomes: `champion` for whatever made its version one."""
    if entry.number and (entry.after.get("champion") == entry.number or entry.action == "succeeded"):
        return "champion"
    return OF_ACTS.get(entry.action, ACT)


def _line(entry: Entry) -> str:
    if entry.action == "retrain":
        after = entry.after
        if "text" in after:
            return f"retraining {after.get('case', '')} has ended ({after.get('state', '')}): {after['text']}"
        return f"retraining {after.get('case', '')} begins ({after.get('trigger', '')}: {after.get('why', '')})"
    who = f"{entry.action} by {entry.actor}"
    if kind_of(entry) == "champion":
        was = entry.before.get("champion")
        who = f"{entry.action} by {entry.actor}: version {entry.number} is champion, {was or 'none'} was before"
    return f"{who}: {entry.reason}" if entry.reason else who
