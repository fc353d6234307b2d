"""What keeps a challenger that is right more often from winning: it fails more often, or takes much longer. Pure.

It is looked at once, when the challenger would win, and takes more than chance to hold it: a share of failures by an
exact test (`core/chance`), a time by the interval of its median, as in `core/warmup`. Of challengers that fail as
often as the champion, at most a share `alpha` is held. What is beyond its limit and may be chance holds nobody: where
few requests were seen, the canary that follows is what finds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from router.core.chance import binomial, fisher
from router.core.histogram import RATIOS, Z99, quantile
from router.core.vitals import Vitals
from router.core.warmup import FEW_PAIRS, Figures
from router.version_settings import TrialSettings

RATES: Final = 3
"""Shares that are tested, which have one risk together: of a shadow's failures, of failures, of fallbacks."""


def hindrances(settings: TrialSettings, figures: Figures | None, vitals: tuple[Vitals, Vitals] | None) -> list[str]:
    """Why a challenger does not win, each as a part of a sentence; empty where nothing speaks against it.

    `figures` are those of a shadow, beside the champion on the same runs; `vitals` the champion's and the challenger's
    for their callers. What is None is not known, and does not speak against it.
    """
    made = list(_beside(settings, figures)) if figures is not None else []
    return made + (list(_apart(settings, *vitals)) if vitals is not None else [])


def _beside(settings: TrialSettings, figures: Figures) -> Iterator[str]:
    wrong = figures.errors + figures.broken  # of what is copied the champion has answered all
    if binomial(wrong, figures.total, settings.max_error_rate) < settings.alpha / RATES:
        yield (
            f"it failed on {wrong} of {figures.total} requests that the champion has answered"
            f" ({_part(settings.max_error_rate)} may fail, by `trial.max_error_rate`)"
        )
    ratio = quantile(figures.ratios, RATIOS, 0.5)
    if ratio is not None and sum(figures.ratios) >= FEW_PAIRS and ratio.low > settings.max_latency_ratio:
        yield _slow(ratio.value, settings)


def _apart(settings: TrialSettings, champion: Vitals, challenger: Vitals) -> Iterator[str]:
    for what, theirs, ours in (
        ("of its requests failed", champion.failures, challenger.failures),
        ("of its requests were answered by its fallback", champion.fallbacks, challenger.fallbacks),
    ):
        if _more(ours, challenger.requests, theirs, champion.requests, settings) < settings.alpha / RATES:
            before, now = theirs / champion.requests, ours / challenger.requests
            yield (
                f"{_part(now)} {what}, of the champion's {_part(before)} ({_part(settings.max_error_rate)} more may,"
                " by `trial.max_error_rate`)"
            )
    if min(champion.timed, challenger.timed) < FEW_PAIRS:
        return
    longest, shortest = champion.quantile(0.5 + _spread(champion)), challenger.quantile(0.5 - _spread(challenger))
    theirs_s, ours_s = champion.quantile(0.5), challenger.quantile(0.5)
    if not (theirs_s and ours_s and longest and shortest):
        return
    if shortest > settings.max_latency_ratio * longest:
        yield _slow(ours_s / theirs_s, settings)


def _more(hits: int, of: int, control_hits: int, control_of: int, settings: TrialSettings) -> float:
    """How often chance brings so many to the challenger, if it has as many as the champion and what is allowed."""
    allowed = control_hits + round(settings.max_error_rate * control_of)
    return fisher(hits, of, min(allowed, control_of), control_of)


def _spread(vitals: Vitals) -> float:
    """How far from the half the median lies at most, as a share of the answers: one-sided 99 %, by ranks."""
    return Z99 * 0.5 / math.sqrt(vitals.timed)


def _slow(ratio: float, settings: TrialSettings) -> str:
    limit = f"{settings.max_latency_ratio:g} × at most, by `trial.max_latency_ratio`"
    return f"it takes {ratio:.2f} × the champion's time in the median ({limit})"


def _part(share: float) -> str:
    return f"{share * 100:.3g} %"
