"""Whether a service level was kept: a line for each limit, and one word for the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadtest.sla.bootstrap import Ratio
from loadtest.sla.figures import QUANTILES, Counts, Latencies
from loadtest.sla.remembered import LEARNS, Remembered
from loadtest.sla.scenario import Limits
from loadtest.sla.units import PartOf, spoken

QUANTILE: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
SAMPLES: Final = 100
"""Beyond a quantile q there must be so many values: fewer than 100/(1 − q) in all conclude nothing."""


class Grade(StrEnum):
    """What a line says."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


Z: Final = 2.576
"""99 % of a normal distribution lie within so many standard deviations."""
EXIT: Final = {Grade.PASS: 0, Grade.FAIL: 1, Grade.INCONCLUSIVE: 3}
EXIT_LACKING: Final = 2
EXIT_INVALID: Final = 4
EXIT_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Line:
    """One limit and what was measured, both as people read them. `kept` is what the figure says, however uncertain."""

    name: str
    limit: str
    measured: str
    grade: Grade
    why: str = ""
    kept: bool = True


def judge(limits: Limits, times: Latencies, counts: Counts, seconds: float, *, quick: bool = False) -> list[Line]:
    """The lines of a service level over `seconds` of measured load. `quick` leaves out what cannot be concluded."""
    lines = [*_times(limits, times), *_shares(limits, counts), *_numbers(limits, counts, seconds)]
    return [line for line in lines if not (quick and line.grade is Grade.INCONCLUSIVE)]


def overall(lines: list[Line]) -> Grade:
    """FAIL where one line fails, else INCONCLUSIVE where one is or where nothing was judged."""
    if not lines:
        return Grade.INCONCLUSIVE
    grades = {line.grade for line in lines}
    return next((grade for grade in (Grade.FAIL, Grade.INCONCLUSIVE) if grade in grades), Grade.PASS)


def _enough(share: float) -> int:
    return math.ceil(round(SAMPLES / share, 6))


def _graded(good: bool, have: int, need: int) -> tuple[Grade, str, bool]:
    """What a line says at its end: grade, reason, and whether the figure keeps its limit."""
    if have < need:
        return Grade.INCONCLUSIVE, f"{have} samples, {need} are needed", good
    return (Grade.PASS if good else Grade.FAIL), "", good


def _times(limits: Limits, times: Latencies) -> list[Line]:
    lines = []
    for name, share in QUANTILE.items():
        limit = getattr(limits, name)
        if limit is not None:
            have = getattr(times, name)
            end = _graded(have <= limit, times.count, _enough(1 - share))
            lines.append(Line(name, f"≤ {spoken(limit)}", spoken(have), *end))
    if limits.max is not None:
        end = _graded(times.max <= limits.max, times.count, 1)
        lines.append(Line("max", f"≤ {spoken(limits.max)}", spoken(times.max), *end))
    return lines


def _shares(limits: Limits, counts: Counts) -> list[Line]:
    lines = []
    for name, many in (("availability", counts.answered), ("told", counts.told)):
        limit = getattr(limits, name)
        if limit is not None:
            lines.append(_share(name, "≥", limit, many, counts.due))
    for name, many in (("degraded", counts.degraded), ("late", counts.late)):
        limit = getattr(limits, name)
        if limit is not None:
            lines.append(_share(name, "≤", limit, many, counts.answered))
    return lines


def _share(name: str, sign: str, limit: float, many: int, of: int) -> Line:
    """A share is on one side of its limit for sure, or it is not known on which. 0 and 100 % allow no exception."""
    low, high = wilson(many, of)
    have = many / of if of else 0.0
    if limit in (0.0, 1.0) and of:
        grade = Grade.PASS if have == limit else Grade.FAIL
    elif (low >= limit) if sign == "≥" else (high <= limit):
        grade = Grade.PASS
    elif (high < limit) if sign == "≥" else (low > limit):
        grade = Grade.FAIL
    else:
        grade = Grade.INCONCLUSIVE
    why = f"surely {_percent(low)} to {_percent(high)}" if grade is Grade.INCONCLUSIVE else ""
    kept = have >= limit if sign == "≥" else have <= limit
    return Line(name, f"{sign} {_percent(limit)}", _percent(have), grade, why, kept)


def wilson(many: int, of: int) -> tuple[float, float]:
    """The interval that holds a share with 99 % certainty (Wilson, Probable Inference, 1927, JASA 22)."""
    if not of:
        return 0.0, 1.0
    share, z2 = many / of, Z * Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def _percent(share: float) -> str:
    return f"{share * 100:.6g} %"


def _numbers(limits: Limits, counts: Counts, seconds: float) -> list[Line]:
    lines = []
    if limits.throughput is not None:
        assert not isinstance(limits.throughput, PartOf)  # the phase that it is a part of has been run
        have = (counts.answered - counts.late) / seconds if seconds else 0.0
        end = _graded(have >= limits.throughput, counts.due, 1)
        lines.append(Line("throughput", f"≥ {limits.throughput:.0f}/s", f"{have:.0f}/s", *end))
    if limits.wrong is not None:
        end = _graded(counts.wrong <= limits.wrong, counts.checked + counts.misdirected, 1)
        lines.append(Line("wrong", f"≤ {limits.wrong}", f"{counts.wrong} of {counts.checked}", *end))
    told = counts.answered - counts.generations.get("0", 0)  # 0: the answer does not say
    for name, samples in (("duplicates", counts.answered), ("older_generation", told)):
        limit = getattr(limits, name)
        if limit is not None:
            have_count = getattr(counts, name)
            end = _graded(have_count <= limit, samples, 1)
            lines.append(Line(name, f"≤ {limit}", str(have_count), *end))
    return lines


def ratio_line(name: str, about: str, limit: float, found: Ratio) -> Line:
    """A p99 against another, which it is to be at most so many times. `about` says which they are."""
    sign = f"≤ ×{limit:g}"
    if found.ratio is None:
        return Line(name, sign, "–", Grade.INCONCLUSIVE, f"{about}: nothing to compare", kept=False)
    have, need = min(found.count, found.base_count), _enough(1 - QUANTILES["p99"])
    grade, why, kept = _graded(found.ratio <= limit, have, need)
    return Line(name, sign, str(found), grade, f"{about}: {why}" if why else about, kept)


def resident_line(limit: float, shares: Mapping[str, float | None]) -> Line:
    """By how much of itself each worker's memory differs at the end of the run: the worst of them."""
    known = [share for share in shares.values() if share is not None]
    if not known or len(known) < len(shares):
        why = "too short, or a worker was not there all the time"
        return Line("resident", f"≤ {_percent(limit)}", "–", Grade.INCONCLUSIVE, why, kept=False)
    return Line("resident", f"≤ {_percent(limit)}", _percent(max(known)), *_graded(max(known) <= limit, 1, 1))


def remembered_line(limit: float, found: Remembered | None) -> Line:
    """How much was answered from memory, of what one ideal memory of the same size would have answered."""
    if found is None or not found.ideal:
        why = "nobody knows the size of the memory, or of an answer"
        return Line("remembered", f"≥ {_percent(limit)}", "–", Grade.INCONCLUSIVE, why, kept=False)
    about = f"{found.answered} of {found.asked}; an ideal memory of {found.holds} answers: {found.ideal}"
    grade, why, kept = _graded(found.share >= limit, found.ideal, SAMPLES * 10)
    need = LEARNS * found.holds
    if not why and found.learned < need:
        grade, why = Grade.INCONCLUSIVE, f"{found.learned} requests came before, {need} are needed to learn from"
    return Line(
        "remembered", f"≥ {_percent(limit)}", _percent(found.share), grade, f"{about}: {why}" if why else about, kept
    )


def age_line(limit: float, found: Remembered | None) -> Line:
    """How old the oldest answer from memory was."""
    if found is None or not found.answered:
        why = "nothing was answered from memory"
        return Line("age", f"≤ {spoken(limit)}", "–", Grade.INCONCLUSIVE, why, kept=False)
    if found.oldest_ms is None:
        return Line("age", f"≤ {spoken(limit)}", "–", Grade.FAIL, "an answer does not say how old it is", kept=False)
    have = found.oldest_ms / 1e3
    return Line("age", f"≤ {spoken(limit)}", f"{have:.3f} s", *_graded(have <= limit, 1, 1))
