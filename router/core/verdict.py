"""The verdict of a trial: who has won, how sure that is, and both in words for somebody who owns the product. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from router.core.trial import Judge, Trial
from router.version_settings import TrialSettings


class Winner(StrEnum):
    """Who has won a trial."""

    CHALLENGER = "challenger"
    CHAMPION = "champion"
    NONE = "undecided"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a trial stands. `difference` is the challenger's advantage as a share of the requests, `low` and `high`
    enclose the true one. `compared`: how often both were. `winner` None: it is too early."""

    rows: int
    compared: int
    difference: float
    low: float
    high: float
    champion_share: float | None
    challenger_share: float | None
    winner: Winner | None

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "rows": self.rows,
            "compared": self.compared,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "champion_share": self.champion_share,
            "challenger_share": self.challenger_share,
            "winner": None if self.winner is None else self.winner.value,
        }


def standing(trial: Trial, settings: TrialSettings, seconds: float) -> Standing:
    """How a trial stands that has gone on for so long.

    The challenger wins when it is surely better and seems to be so by the margin. The champion keeps its place when the
    challenger is surely not better by the margin (without one: surely worse). Neither is said before `min_samples`.
    """
    seen, alpha = trial.differences, settings.alpha
    low, high, difference = seen.low(alpha), seen.high(alpha), seen.mean
    winner: Winner | None = None
    if trial.rows >= settings.min_samples:
        if low > 0 and difference >= settings.margin:
            winner = Winner.CHALLENGER
        elif high < settings.margin:
            winner = Winner.CHAMPION
    if winner is None and seconds >= settings.max_seconds:
        winner = Winner.NONE
    shares = (trial.champion.share, trial.challenger.share)
    return Standing(trial.rows, seen.seen, difference, low, high, *shares, winner)


def words(known: Standing, settings: TrialSettings, judge: Judge, champion: str, challenger: str) -> str:
    """How it stands, for somebody who owns the product. `champion` and `challenger` are the numbers of versions."""
    return " ".join(_sentences(known, settings, judge, champion, challenger))


def _sentences(known: Standing, settings: TrialSettings, judge: Judge, champion: str, challenger: str) -> Iterator[str]:
    if not known.compared:
        yield f"Undecided after {span(settings.max_seconds)}:" if known.winner is Winner.NONE else "Nothing yet:"
        yield "of no request that both can be compared on has it come true what was right."
        return
    chance = f"{settings.alpha * 100:.2g} of 100 trials"
    margin = f"{_amount(settings.margin)} of 100 that `trial.margin` asks for"
    interval = _interval(known, judge, champion, challenger)
    match known.winner:
        case Winner.CHALLENGER:
            yield f"Version {challenger} is better: {interval}."
            yield f"A version that is no better would be found better in at most {chance}."
        case Winner.CHAMPION if known.high < 0:
            yield f"Version {champion} keeps its place, version {challenger} is worse: {interval}."
            yield f"A version that is no worse would be found worse in at most {chance}."
        case Winner.CHAMPION:
            yield f"Version {champion} keeps its place, version {challenger} is not better by the {margin}: {interval}."
        case Winner.NONE:
            yield f"Undecided after {span(settings.max_seconds)}: {interval}."
            if known.low > 0:
                yield f"That is better, and not by the {margin}."
            else:
                yield "Too few requests came true to tell such versions apart."
        case None:
            yield f"So far {interval}."
            if known.rows < settings.min_samples:
                yield f"No verdict before {settings.min_samples} rows."


def _interval(known: Standing, judge: Judge, champion: str, challenger: str) -> str:
    of = f"of 100 requests version {challenger}"
    rows = f"{known.rows} {'row' if known.rows == 1 else 'rows'} compared"
    low, high = known.low, known.high
    if low >= 0 or high <= 0:
        ends = sorted([abs(low), abs(high)])
        between = f"between {_amount(ends[0])} and {_amount(ends[1])}"
        between += " more" if low >= 0 and high > 0 else " fewer"
    else:
        between = f"between {_amount(low)} fewer and {_amount(high)} more"
    seems = f"{_amount(known.difference)} {'fewer' if known.difference < 0 else 'more'}"
    if judge is Judge.CLOSER:
        return f"{of} is the closer one in {seems} than version {champion} is, in truth {between} ({rows})"
    return f"{of} has {seems} right than version {champion}, in truth {between} ({rows})"


def _amount(share: float) -> str:
    """Of 100, with as many digits as say something."""
    amount = abs(share) * 100
    return f"{amount:.0f}" if amount >= 10 else f"{amount:.1f}" if amount >= 0.1 else f"{amount:.1g}"


def span(seconds: float) -> str:
    """A time as people say it."""
    for name, unit in (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}s"
    return f"{seconds:.3g} second{'' if seconds == 1 else 's'}"
