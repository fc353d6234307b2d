"""All that is known of why a version serves, or does not: for an auditor, or for whoever is to approve it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

from router import __version__
from router.control.change import Changes
from router.control.records import AuditRecord, Case, Entry
from router.core.audit import Verified, canonical
from router.core.gate import Report
from router.core.table import Route
from router.core.version import Stage

FORMAT: Final = 1
"""Of the dossier; it rises when a key gets another meaning or goes."""
READ: Final = 10_000
"""Acts about a model that are looked through, from the newest on."""
TOLD: Final = 2000
"""Acts of them that a dossier holds."""
CASES: Final = 200
"""The newest of a version."""

_STAGES: Final[Mapping[str, Stage]] = {
    "test": Stage.LOADING,
    "warm": Stage.LOADING,
    "challenge": Stage.CHALLENGER,
    "withdraw": Stage.READY,
    "retire": Stage.RETIRED,
    "unload": Stage.RETIRED,
    "lost": Stage.FAILED,
}
"""Where acts bring a version that say nothing of it themselves."""
_CANARY: Final[Mapping[str, Stage]] = {"begun": Stage.CHALLENGER, "stopped": Stage.READY}
"""Where a canary does; one that is undone leaves it ready or failed."""


class Kept(Protocol):
    """What the store has. All methods block and raise RouterErrors."""

    def reports(self, model: str, number: str, kind: str, last: int) -> Sequence[Report]:
        """Newest first; `last` 0: the newest of each kind."""

    def cases(self, model: str, number: str, kind: str, last: int) -> Sequence[Case]:
        """Newest first, open and ended."""

    def audit(self, model: str, last: int) -> Sequence[AuditRecord]:
        """The newest acts that concern a model, oldest of them first."""

    def verify(self, head: str) -> Verified:
        """Follow the chain of hashes."""


class Dossier:
    """Gathers what the registry, the table that serves and the store know. Changes nothing."""

    def __init__(self, changes: Changes, kept: Kept) -> None:
        self._changes = changes
        self._kept = kept

    async def evidence(self, model: str, number: str) -> dict[str, object]:
        """The dossier of a version, plain JSON with these keys. Times are in seconds since 1970; what is not a finite
        number is a text, as in the audit log. Raises NotFound, RouterError.

        - `format`: FORMAT. `made_at`, `router`: when, and by which release.
        - `model`, `version`: the record: `number`, `digest` (SHA-256 of its files, empty until it has been ready),
          `stage`, `reason`, `since`, `actor`, `mark`, `memory_bytes`, `warmed`.
        - `route`: how the model's requests are answered now: `generation`, `champion`, `standby`, `shares` (percent by
          challenger), `matches`, `shadows`, `aliases`, `switched`, `frozen`; null where it serves nothing.
        - `importance`: what was declared for the model, empty if nothing was. `settings`: those in force, by table and
          key of `model.toml`; null where it serves nothing.
        - `digests`: of what was compared: `files`, and of the newest report `champion` and `exam`, empty without.
        - `history`: the acts about the version, oldest first, as in `audit`, each with the `stage` that it came to by
          them, empty where it stayed or the log does not say.
        - `reports`: the newest of each kind, whole: `kind`, `passed`, `began`, `took_s`, `outcomes`, `distributions`, …
        - `cases`: trials, rollouts and requests for approval about the version, oldest first: `id`, `kind`, `actor`,
          `began`, `ended` (0: open), `state`, `body`, …
        - `audit`: `records` about the model from the first about the version on, each with its `sequence`, `hash` and
          the hash of the one before it, `previous`; `complete`: none of them was left out. `whole`, `checked`, `head`
          and `finding` tell of the whole log, of all models.
        """
        registry, table = self._changes.registry, self._changes.table
        record, route = registry.record(model, number), table.routes.get(model)
        made: dict[str, object] = {
            "format": FORMAT,
            "made_at": self._changes.clock(),
            "router": __version__,
            "model": model,
            "version": {name: value for name, value in asdict(record).items() if name != "model"},
            "route": _route(route, table.generation, registry.is_frozen(model)) if route is not None else None,
            "importance": registry.importance.get(model, ""),
            "settings": route.settings.model_dump(mode="json") if route is not None else None,
        }
        made |= await asyncio.to_thread(self._stored, model, number, record.digest)
        return {key: json.loads(canonical(value)) for key, value in made.items()}

    def _stored(self, model: str, number: str, digest: str) -> dict[str, object]:
        reports = self._kept.reports(model, number, "", 0)
        cases = self._kept.cases(model, number, "", CASES)
        acts = self._kept.audit(model, READ)
        verified = self._kept.verify("")
        first = next((place for place, each in enumerate(acts) if _about(each.entry, model, number)), len(acts))
        mine, kept = acts[first:], acts[max(first, len(acts) - TOLD) :]
        newest = max(reports, key=lambda each: each.began, default=None)
        return {
            "digests": {
                "files": digest,
                "champion": newest.champion_digest if newest is not None else "",
                "exam": newest.exam_digest if newest is not None else "",
            },
            "history": [
                {**_act(each), "stage": _stage(each.entry, number)}
                for each in mine[-TOLD:]
                if _about(each.entry, model, number)
            ],
            "reports": [{**asdict(each), "passed": each.passed} for each in reports],
            "cases": [asdict(each) for each in reversed(cases)],
            "audit": {
                "records": [_act(each) for each in kept],
                "complete": len(kept) == len(mine) and (first > 0 or len(acts) < READ),
                "whole": verified.whole,
                "checked": verified.records,
                "head": verified.head,
                "finding": verified.finding,
            },
        }


def _route(route: Route, generation: int, frozen: bool) -> dict[str, object]:
    return {
        "generation": generation,
        "champion": route.champion,
        "standby": route.standby,
        "shares": route.split.shares,
        "matches": [asdict(each) for each in route.split.matches],
        "shadows": route.shadows,
        "aliases": route.aliases,
        "switched": route.switched,
        "frozen": frozen,
    }


def _act(record: AuditRecord) -> dict[str, Any]:
    return {
        "sequence": record.sequence,
        **asdict(record.entry),
        "previous": record.previous,
        "hash": record.hash,
    }


def _about(entry: Entry, model: str, number: str) -> bool:
    """Whether an act is about the version: by its name, or as the champion before or after."""
    champions = (entry.before.get("champion"), entry.after.get("champion"))
    return entry.model == model and (entry.number == number or number in champions)


def _stage(entry: Entry, number: str) -> str:
    """Where an act brought the version; empty where it left it where it was, or does not say."""
    before, after = (told.get("champion") for told in (entry.before, entry.after))
    if entry.number == number and isinstance(entry.after.get("stage"), str):
        return str(entry.after["stage"])
    if number in (before, after) and before != after:
        return Stage.CHAMPION if after == number else Stage.STANDBY
    if entry.number != number:
        return ""
    if entry.action == "canary":
        return _CANARY.get(str(entry.after.get("state")), "")
    if entry.action == "trial":
        verdict = entry.after.get("verdict")
        return Stage.READY if isinstance(verdict, str) and verdict != "broke" else ""  # what breaks is lost, too
    return _STAGES.get(entry.action, "")
