"""Events for programs elsewhere, as CloudEvents 1.0 in JSON (cloudevents.io, "JSON Event Format", section 3).

Whatever a name or a text holds, what comes out is valid: the specification wants attributes without control
characters, and many readers of JSON know no half of a surrogate pair.
"""

from __future__ import annotations

import json
import math
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
TYPE: Final = "router."
"""What the type of every event begins with; its kind follows."""
NAME: Final = 255
"""Characters of a name at most."""
TEXT: Final = 1000
FACTS: Final = 32
FACT: Final = 500
"""Characters of the value of a fact at most; one that is made of others and longer keeps them,"""
PART: Final = 300
"""each with so many."""
BODY: Final = 32 << 10
"""Bytes of an event at most; one that would have more comes without its facts, and says so."""
LAST: Final = 253_402_300_799.0
"""The last second that the form of a time has a year for."""

_REPLACED: Final = "\ufffd"


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened, ready to be told elsewhere. `id` is its own for ever; `seconds` since 1970.

    `facts` hold plain JSON values. `sequence` is the number of its record in the audit log, 0 for what has none.
    """

    id: str
    seconds: float
    kind: str
    model: str = ""
    number: str = ""
    text: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 0
    sequence: int = 0


def body(told: Told, source: str) -> str:
    """The event in JSON, ASCII only, in one line of at most `BODY` bytes."""
    facts = {_cut(sound(str(name)), 64): _fact(value) for name, value in list(told.facts.items())[:FACTS]}
    made = _written(told, source, facts, cut=len(told.facts) > FACTS)
    if len(made) > BODY:
        made = _written(told, source, {}, cut=True)
    return made


def _written(told: Told, source: str, facts: Mapping[str, Any], *, cut: bool) -> str:
    model, number = _cut(sound(told.model), NAME), _cut(sound(told.number), NAME)
    data: dict[str, Any] = {"kind": told.kind, "model": model, "version": number, "text": _cut(sound(told.text), TEXT)}
    if told.generation:
        data["generation"] = told.generation
    if told.sequence:
        data["audit"] = told.sequence
    data["facts"] = facts
    if cut:
        data["cut"] = True  # it had more facts than an event may carry
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": _attribute(told.id),
        "source": _attribute(source),
        "type": TYPE + _attribute(told.kind),
        "time": _time(told.seconds),
        "datacontenttype": "application/json",
        "data": data,
    }
    if told.model:
        event["subject"] = _attribute(f"{model}:{number}" if number else model)
    return json.dumps(event, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _fact(value: Any, most: int = FACT) -> Any:
    """A value of a fact: short, and such as JSON has."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else _cut(hex(value), most)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _cut(sound(value), most)
    try:
        whole = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (ValueError, TypeError):
        return f"({type(value).__name__})"
    # The log holds canonical values: what is short enough goes on as it is, of the rest the beginning is told.
    if len(whole) <= most:
        return _whole(json.loads(whole))
    if isinstance(value, Mapping) and most == FACT:  # who trains elsewhere looks for the parent in it, and finds it
        return {_cut(sound(str(name)), 64): _fact(each, PART) for name, each in list(value.items())[:FACTS]}
    return _cut(whole, most)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {sound(name): _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return sound(value) if isinstance(value, str) else value


def sound(words: str) -> str:
    """Without halves of surrogate pairs, which no UTF-8 holds."""
    return "".join(_REPLACED if "\ud800" <= c <= "\udfff" else c for c in words)


def _attribute(words: str) -> str:
    """What the type String of CloudEvents may hold (specification, section 3.1)."""
    return "".join(_REPLACED if unicodedata.category(c) in {"Cc", "Cs"} or _no_character(c) else c for c in words)


def _no_character(c: str) -> bool:
    return "\ufdd0" <= c <= "\ufdef" or ord(c) & 0xFFFE == 0xFFFE


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def _time(seconds: float) -> str:
    """As RFC 3339 has it, to the millisecond, in UTC; what no calendar has is the beginning of 1970."""
    if not 0 <= seconds <= LAST:
        seconds = 0.0
    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1000):03d}Z"
