"""The steps of a canary as its case tells them: what callers had of both versions in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from router.core.vitals import Vitals, vitals_of

BUCKETS: Final = 64
"""Of times, at most: no router has more."""


@dataclass(frozen=True, slots=True)
class CanaryStep:
    """A step that is over. `place` counts from 1, `share` is in percent, `seconds` is how long it baked.

    `candidate` and `control` are what callers had of the version and of the old champion meanwhile. `findings` say what
    was compared, the breaches are those that ended the canary.
    """

    place: int
    share: float
    seconds: float
    candidate: Vitals
    control: Vitals
    findings: tuple[str, ...]
    breaches: tuple[str, ...]


def steps(body: Mapping[str, Any]) -> Iterator[CanaryStep]:
    """Those of a case's body; what cannot be read is left out, it may be of another release."""
    given = body.get("steps")
    for each in given if isinstance(given, list) else ():
        try:
            told = [found for found in each.get("findings", ()) if isinstance(found.get("text"), str)]
            yield CanaryStep(
                int(each["step"]) + 1,
                float(each["share"]),
                float(each["seconds"]),
                _vitals(each.get("candidate")),
                _vitals(each.get("control")),
                tuple(found["text"] for found in told),
                tuple(found["text"] for found in told if found.get("breach") is True),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue


def _vitals(told: Mapping[str, Any] | None) -> Vitals:
    """Nothing: none were counted in that step."""
    made = vitals_of(told) if told else Vitals()
    if min(*made.counts().values(), *made.buckets) < 0 or len(made.buckets) > BUCKETS:
        raise ValueError("no counts")
    return made


def rate(hits: int, vitals: Vitals) -> float | None:
    """Percent of the requests; None without any."""
    return 100.0 * hits / vitals.requests if vitals.requests else None


def p99_ms(vitals: Vitals) -> float | None:
    """Of the time to an answer; None without any."""
    seconds = vitals.quantile(0.99)
    return seconds * 1e3 if seconds is not None else None
