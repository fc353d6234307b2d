"""The audit log as a chain: every record's hash covers what it says and the hash of the record before it.

Who changes, removes or inserts a record has to make all later hashes anew, and then the head is another one. Whoever
has noted a head outside (each goes to the structured log) finds that; a log that is only cut off at its end is whole
in itself, and nothing but a head that was noted finds it. As B. Schneier, J. Kelsey, "Secure Audit Logs to Support
Computer Forensics" (1999), without its keys: the anchor is elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

GENESIS: Final = "0" * 64
"""The hash before the first record."""


@dataclass(frozen=True, slots=True)
class Link:
    """A record as it stands in the log. `act` holds plain JSON values, `hash` and `previous` are 64 hexadecimal digits.

    Sequence numbers begin at 1 and have no gaps.
    """

    sequence: int
    act: Mapping[str, object]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found: `finding` is one line for a person, empty when the log is `whole`.

    `records` are those that were read, `head` is the hash of the newest, empty when there is none.
    """

    whole: bool
    records: int
    head: str
    finding: str = ""


def canonical(value: object) -> str:
    """JSON that is the same for the same value: keys sorted, no spaces, ASCII only.

    JSON has no number for NaN and the infinities: they become texts.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        plain = [_plain(each) for each in value]
        return sorted(plain, key=repr) if isinstance(value, set | frozenset) else plain
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def linked(sequence: int, act: Mapping[str, object], previous: str) -> Link:
    """The record of an act, after the one whose hash is `previous`.

    Its hash is the SHA-256 of the canonical JSON of `act`, `previous` and `sequence`.
    """
    content = canonical({"act": act, "previous": previous, "sequence": sequence})
    return Link(sequence, act, previous, hashlib.sha256(content.encode()).hexdigest())


def verified(links: Iterable[Link], head: str = "", newest: tuple[int, str] | None = None) -> Verified:
    """Whether records, oldest first, are whole: none changed, none missing.

    `newest` are the number and the hash of the last record as they are kept beside the log. `head` is one that was
    noted outside, of the newest record or of an earlier one: the log is to hold it.
    """
    head = head.strip().lower()
    count, last, at, noted = 0, 0, GENESIS, not head
    for link in links:
        finding = _broken(link, last, at)
        if finding:
            return Verified(False, count, at if count else "", finding)
        count, last, at = count + 1, link.sequence, link.hash
        noted = noted or at == head
    finding = ""
    if newest is not None and newest != (last, at if count else ""):
        finding = f"the log ends with record {last}, and the last that was written is record {newest[0]}"
        finding += ": it was cut off" if newest[0] > last else ": records were added past the router"
    if not noted:
        finding = f"no record has the head {head[:12]}… that was noted: the log was cut off, or written anew"
    return Verified(not finding, count, at if count else "", finding)


def _broken(link: Link, last: int, at: str) -> str:
    """What is wrong with a record, read after record `last` whose hash is `at`; empty if nothing is."""
    if link.sequence != last + 1:
        if link.sequence <= last:
            return f"record {link.sequence} stands there twice"
        one = link.sequence == last + 2
        return f"record {last + 1} is missing" if one else f"records {last + 1} to {link.sequence - 1} are missing"
    try:
        fits = linked(link.sequence, link.act, link.previous).hash == link.hash
    except TypeError:  # something that was never written there
        fits = False
    if not fits:
        return f"record {link.sequence} was changed: its hash does not fit what it says"
    if link.previous != at:
        before = f"record {last}" if last else "the beginning"
        return f"record {link.sequence} does not follow {before}: what stood before it was changed or removed"
    return ""
