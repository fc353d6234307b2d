"""What was to be told, held against what a receiver has: what is missing, what came twice, and under which ids.

There are three lists of what was to come: the acts that were acknowledged to us, each of which has a reason of its own;
the server's audit log; and what a watcher of the admin port saw told live. Times are in seconds since 1970.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loadtest.receiver import Arrival, Manner

MOMENT_S = 0.5
"""What is told live so shortly before a kill may be lost by it: it is stored a moment after it was told."""


@dataclass(frozen=True, slots=True)
class Act:
    """What we have asked for, under a reason that no other act has. `error` is empty where it was acknowledged."""

    reason: str
    what: str
    at: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One of the audit log."""

    sequence: int
    hash: str
    reason: str


@dataclass(frozen=True, slots=True)
class Live:
    """What a watcher saw; `ms` since 1970."""

    kind: str
    model: str
    version: str
    text: str
    generation: int
    ms: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many, if nothing else is said."""

    acts: int
    """Acknowledged."""
    acts_missing: tuple[str, ...]
    """Reasons of acknowledged acts without an event."""
    unanswered: int
    """Acts without an acknowledgement: the controller was away, or was killed meanwhile."""
    unanswered_done: int
    """Of these, which the audit log has all the same."""
    records: int
    records_missing: tuple[int, ...]
    """Sequence numbers."""
    live: int
    live_lost: tuple[str, ...]
    live_at_a_kill: int
    """Lost as well, told within `MOMENT_S` before a kill."""
    tries: int
    """Everything that came, in any manner."""
    received: int
    """Ids that were taken and acknowledged."""
    twice: int
    """Ids that were taken again."""
    renamed: tuple[str, ...]
    """Ids of events that came under more than one of them."""
    altered: tuple[str, ...]
    """Ids under which different things came."""
    unknown: tuple[str, ...]
    """Ids of acts that the audit log does not know."""
    forged: int
    """Arrivals whose signature, or whose id in the header, was wrong."""
    subjects: int
    overtaken: int
    """Acts that came for the first time after a later one about the same subject."""

    @property
    def kept(self) -> bool:
        """Nothing is lost, and nothing came twice under two ids."""
        lost = self.acts_missing or self.records_missing or self.live_lost
        return not (lost or self.renamed or self.altered or self.unknown or self.forged)


def tally(
    acts: Iterable[Act],
    records: Iterable[Record],
    live: Iterable[Live],
    arrivals: Sequence[Arrival],
    kills: Collection[float] = (),
) -> Tally:
    """Count. An event was received when it came to a receiver that takes them and says so, or does not say so."""
    by_reason = {each.reason: each for each in acts}
    logged = {each.sequence: each for each in records}
    sound = [each for each in arrivals if each.genuine and each.named]
    came = [each for each in sound if each.manner is not Manner.FAILS]
    acknowledged = {str(each.event["id"]): each.event for each in came if each.manner is Manner.TAKES}
    of_record = {_sequence(event) for event in acknowledged.values()} - {0}
    done = {each.reason for each in logged.values()} & set(by_reason)
    told = {_reason(event) for event in acknowledged.values() if _sequence(event)}
    answered = {name for name, each in by_reason.items() if not each.error}
    missing = Counter(live)
    seen = sum(missing.values())
    missing -= Counter(_live(event) for event in acknowledged.values() if not _sequence(event))
    lost = list(missing.elements())
    at_a_kill = [each for each in lost if any(0 <= kill - each.ms / 1000 <= MOMENT_S for kill in kills)]
    contents = _by((str(each.event["id"]), _content(each.event)) for each in sound)
    return Tally(
        acts=len(answered),
        acts_missing=tuple(sorted(answered - told)),
        unanswered=len(by_reason) - len(answered),
        unanswered_done=len(done - answered),
        records=len(logged),
        records_missing=tuple(sorted(set(logged) - of_record)),
        live=seen,
        live_lost=tuple(f"{each.kind}: {each.text}" for each in lost if each not in at_a_kill),
        live_at_a_kill=len(at_a_kill),
        tries=len(arrivals),
        received=len(acknowledged),
        twice=sum(many > 1 for many in Counter(str(each.event["id"]) for each in came).values()),
        renamed=_doubled((_content(each.event), str(each.event["id"])) for each in sound),
        altered=tuple(sorted(name for name, many in contents.items() if len(many) > 1)),
        unknown=tuple(sorted({str(each.event["id"]) for each in sound if _unknown(each.event, logged)})),
        forged=len(arrivals) - len(sound),
        subjects=len({each.event.get("subject", "") for each in came}),
        overtaken=_overtaken(came),
    )


def told_ms(seconds: float) -> int:
    """An instant as an event tells it."""
    return int(seconds) * 1000 + int((seconds - int(seconds)) * 1000)


def instant(event: Mapping[str, Any]) -> float:
    """When it was told."""
    return datetime.fromisoformat(str(event["time"])).timestamp()


def _live(event: Mapping[str, Any]) -> Live:
    data = event["data"]
    kind, model, version, text = (str(data[name]) for name in ("kind", "model", "version", "text"))
    return Live(kind, model, version, text, data.get("generation", 0), round(instant(event) * 1000))


def _sequence(event: Mapping[str, Any]) -> int:
    """Of its record in the audit log; 0 for what was told live."""
    return int(event["data"].get("audit", 0))


def _unknown(event: Mapping[str, Any], logged: Mapping[int, Record]) -> bool:
    """Whether it tells a record that there is not."""
    record = logged.get(_sequence(event))
    return _sequence(event) != 0 and (record is None or record.hash != event["data"]["facts"].get("hash"))


def _reason(event: Mapping[str, Any]) -> str:
    return str(event["data"]["facts"].get("reason", ""))


def _content(event: Mapping[str, Any]) -> str:
    """All but the id."""
    return json.dumps({name: value for name, value in event.items() if name != "id"}, sort_keys=True)


def _by(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        found[key].add(value)
    return found


def _doubled(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted(name for names in _by(pairs).values() if len(names) > 1 for name in names))


def _overtaken(came: Iterable[Arrival]) -> int:
    newest: dict[str, int] = {}
    known: set[str] = set()
    many = 0
    for each in came:
        sequence, name = _sequence(each.event), str(each.event["id"])
        if not sequence or name in known:
            continue
        known.add(name)
        subject = str(each.event.get("subject", ""))
        many += sequence < newest.get(subject, 0)
        newest[subject] = max(sequence, newest.get(subject, 0))
    return many
