"""What keeps a challenger that is right more often from winning: it fails more often, or takes much longer. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from router.core.histogram import RATIOS, quantile
from router.core.vitals import Vitals
from router.core.warmup import FEW_PAIRS, Figures
from router.model_settings import TrialSettings


def hindrances(settings: TrialSettings, figures: Figures | None, vitals: tuple[Vitals, Vitals] | None) -> list[str]:
    """Why a challenger does not win, each as a part of a sentence; empty where nothing speaks against it.

    `figures` are those of a shadow, beside the champion on the same runs; `vitals` the champion's and the challenger's
    for their callers. What is None is not known, and does not speak against it.
    """
    made = list(_beside(settings, figures)) if figures is not None else []
    return made + (list(_apart(settings, *vitals)) if vitals is not None else [])


def _beside(settings: TrialSettings, figures: Figures) -> Iterator[str]:
    wrong = figures.errors + figures.broken
    if wrong > settings.max_error_rate * figures.total:  # of what is copied the champion has answered all
        yield (
            f"it failed on {wrong} of {figures.total} requests that the champion has answered"
            f" ({_part(settings.max_error_rate)} may fail, by `trial.max_error_rate`)"
        )
    ratio = quantile(figures.ratios, RATIOS, 0.5)
    if ratio is not None and sum(figures.ratios) >= FEW_PAIRS and ratio.value > settings.max_latency_ratio:
        yield _slow(ratio.value, settings)


def _apart(settings: TrialSettings, champion: Vitals, challenger: Vitals) -> Iterator[str]:
    for what, theirs, ours in (
        ("of its requests failed", champion.failures, challenger.failures),
        ("of its requests were answered by its fallback", champion.fallbacks, challenger.fallbacks),
    ):
        before, now = theirs / max(champion.requests, 1), ours / max(challenger.requests, 1)
        if now > before + settings.max_error_rate:
            yield (
                f"{_part(now)} {what}, of the champion's {_part(before)} ({_part(settings.max_error_rate)} more may,"
                " by `trial.max_error_rate`)"
            )
    if min(champion.timed, challenger.timed) < FEW_PAIRS:
        return
    theirs_s, ours_s = champion.quantile(0.5), challenger.quantile(0.5)
    if theirs_s and ours_s and ours_s > settings.max_latency_ratio * theirs_s:
        yield _slow(ours_s / theirs_s, settings)


def _slow(ratio: float, settings: TrialSettings) -> str:
    limit = f"{settings.max_latency_ratio:g} × at most, by `trial.max_latency_ratio`"
    return f"it takes {ratio:.2f} × the champion's time in the median ({limit})"


def _part(share: float) -> str:
    return f"{share * 100:.3g} %"
