"""`make drifts`: how often drift is reported where there is none, how soon where there is some, and what it costs.

Time is simulated, the code is the controller's own. A day of stable traffic over many seeds, each with a reference of
its own; one feature of 50 that moves by a standard deviation at a random moment; one that moves slowly over a week, and
what a model's accuracy loses by it; and the seconds of CPU and the memory that 200 models of 50 features take.
"""

from __future__ import annotations

import asyncio
import json
import math
import resource
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from scipy.special import ndtr
from scipy.stats import beta

from loadtest.machine import facts
from router.control.drift import TICK_S, Drift
from router.control.events import Events
from router.core.drift import GREEN
from router.core.drift_windows import DriftWindows
from router.core.features import Cells, Column, Take
from router.core.observation import Observation
from router.core.reference import Counts, Reference, made
from router.core.table import Route, Version, VersionState
from router.core.tensor import Signature, TensorSpec
from router.model_settings import DriftSettings, ModelSettings

FEATURES: Final = 50
COLUMNS: Final = [Column(f"x[{place}]", "x", Take.ELEMENT, place) for place in range(FEATURES)]
DEFAULTS: Final = DriftSettings()
WORKERS: Final = 2
ROWS_PER_S: Final = WORKERS * DEFAULTS.max_per_s
"""Of 500 requests a second so many rows are looked at."""
DAY_S: Final = 86_400.0
SEEDS: Final = 500
"""Where one of so many days has an alarm, at most one in a hundred has (95 %)."""
MOVES: Final = 200
MODELS: Final = 200
COST_S: Final = 60.0
"""Of traffic."""


def _reference(rng: np.random.Generator, rows: int = DEFAULTS.reference_rows) -> Reference:
    return made(COLUMNS, Cells(rng.normal(size=(rows, FEATURES)), {}))


def _shares(reference: Reference, shift: np.ndarray[Any, Any] | None = None) -> list[np.ndarray[Any, Any]]:
    """The true shares of each feature's groups of bins, for normal values whose mean has moved by `shift`."""
    made_shares = []
    for place, feature in enumerate(reference.features):
        below = ndtr(np.array(feature.edges) - (0.0 if shift is None else shift[place]))
        first = int(reference.starts[place])
        groups = reference.group_of[first : first + len(feature.counts)] - reference.group_starts[place]
        bins = np.concatenate(([0.0], np.diff(np.concatenate(([0.0], below, [1.0])))))
        made_shares.append(np.bincount(groups, weights=bins))
    return made_shares


def _drawn(rng: np.random.Generator, reference: Reference, shares: list[Any], windows: int, rows: int) -> Any:
    """Counts by bin, [windows, bins]: those of a group lie in its first bin, which is all that the index looks at."""
    drawn = np.zeros((windows, reference.size), np.int64)
    for place, each in enumerate(shares):
        first = int(reference.group_starts[place])
        bins = np.searchsorted(reference.group_of, np.arange(first, first + len(each)))
        drawn[:, bins] = rng.multinomial(rows, each / each.sum(), windows)
    return drawn


def _piece(reference: Reference, bins: Any, rows: int) -> Counts:
    made_counts = Counts(reference)
    made_counts.rows, made_counts.pieces, made_counts.bins = rows, 1, bins
    return made_counts


def stable(seed: int) -> dict[str, int]:
    """A day in which nothing changes: windows, and in how many of them any feature had a status."""
    rng = np.random.default_rng(seed)
    reference = _reference(rng)
    windows = DriftWindows(reference, DEFAULTS, 0.0)
    rows, count = round(ROWS_PER_S * DEFAULTS.window_s), round(DAY_S / DEFAULTS.window_s)
    shares, alarms, single = _shares(reference), 0, 0
    drawn = _drawn(rng, reference, shares, count, rows)
    for place in range(count):
        windows.add(_piece(reference, drawn[place], rows))
        windows.look((place + 1) * DEFAULTS.window_s)
        alarms += bool(windows.status.max() > GREEN)
        single += bool(windows.last is not None and windows.last.levels.max() > GREEN)
    return {"windows": count, "alarmed_windows": alarms, "windows_above_threshold_and_chance": single}


def sudden(seed: int) -> float:
    """Seconds from the moment in which one feature moves until a status says so; the real rows are counted."""
    rng = np.random.default_rng(10_000 + seed)
    reference = _reference(rng)
    windows = DriftWindows(reference, DEFAULTS, 0.0)
    piece = round(ROWS_PER_S * TICK_S)
    moved_at = 60.0 + rng.uniform(0.0, DEFAULTS.window_s)
    now = 0.0
    while True:
        now += TICK_S
        instants = now - TICK_S + TICK_S * (np.arange(piece) + 0.5) / piece
        values = rng.normal(size=(piece, FEATURES))
        values[:, 7] += instants > moved_at
        windows.add(reference.counted(Cells(values, {})))
        if windows.look(now) and windows.status[7] > GREEN and now > moved_at:
            return now - moved_at
        if now > moved_at + 600:
            return math.inf


IMPORTANT: Final = 5
"""Features of equal weight on which the label depends; one of them moves."""
BASE: Final = 0.9
"""Accuracy of the model while all is well."""


def accuracy(offset: float) -> float:
    """Of a model that says `score > 0`, where the label is a normal score with noise and what it is given of one of
    `IMPORTANT` features is `offset` standard deviations off."""
    noise = 1.0 / math.tan(math.pi * (BASE - 0.5))
    score = np.linspace(-8, 8, 20_001)
    density = np.exp(-(score**2) / 2) / math.sqrt(2 * math.pi)
    positive = ndtr(score / noise)
    right = np.where(score + offset / math.sqrt(IMPORTANT) > 0, positive, 1 - positive)
    return float((density * right).sum() * (score[1] - score[0]))


def slow(seed: int) -> dict[str, float | str]:
    """A feature moves by a standard deviation within a week. When it is found, and what accuracy has lost by then."""
    rng = np.random.default_rng(20_000 + seed)
    reference = _reference(rng)
    windows = DriftWindows(reference, DEFAULTS, 0.0)
    week, step = 7 * DAY_S, DEFAULTS.window_s
    rows = round(ROWS_PER_S * step)
    still = _shares(reference)
    per_hour = round(3600 / step)
    now = 0.0
    while now < week:
        shift = np.zeros(FEATURES)
        shift[7] = now / week
        shares = [*still]
        shares[7] = _shares(reference, shift)[7]
        drawn = _drawn(rng, reference, shares, per_hour, rows)
        for each in drawn:
            now += step
            windows.add(_piece(reference, each, rows))
            if windows.look(now) and windows.status[7] > GREEN:
                moved = now / week
                return {
                    "hours": now / 3600,
                    "shift": moved,
                    "lost": accuracy(0.0) - accuracy(moved),
                    "horizon": windows.shown()[7][0],
                }
    return {"hours": math.inf, "shift": 1.0, "lost": accuracy(0.0) - accuracy(1.0), "horizon": ""}


def at_most(days: int, of: int) -> float:
    """The share of all days that is no less than the true one, at 95 %, where so many `of` those that were seen are
    (Clopper & Pearson 1934, "The use of confidence or fiducial limits", Biometrika 26)."""
    return 1.0 if days >= of else float(beta.ppf(0.95, days + 1, of - days))


class _Nowhere:
    """Keeps no references."""

    def load(self, model: str) -> tuple[()]:  # noqa: ARG002  # of no model there is one
        """None."""
        return ()

    def keep(self, records: object, act: object = None) -> None:
        """Nothing."""


class _Clock:
    """Moved by hand."""

    now = 0.0

    def time(self) -> float:
        """Since 1970."""
        return self.now

    def monotonic(self) -> float:
        """The same."""
        return self.now


async def _cost() -> dict[str, float]:
    """The controller's share of a core for 200 models of 50 features at 2,000 requests a second, and its memory."""
    signature = Signature((TensorSpec("x", "FP32", (-1, FEATURES)),), (TensorSpec("y", "FP32", (-1, 1)),))
    settings = ModelSettings()
    names = [f"model-{place}" for place in range(MODELS)]
    routes: Mapping[str, Route] = {
        name: Route(name, "1", {"1": Version(name, "1", "d", "/p", VersionState.READY, "", signature)}, settings)
        for name in names
    }
    clock = _Clock()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    drift = Drift(lambda: routes, _Nowhere(), Events(), clock)
    rng = np.random.default_rng(1)
    rows = round(2000 / MODELS)
    x = rng.normal(size=(rows, FEATURES)).astype(np.float32)

    async def tick() -> None:
        for name in names:
            for _ in range(round(TICK_S)):
                ids, zeros = ("",) * rows, (0,) * rows
                drift.observed(Observation(name, "1", "champion", ids, zeros, zeros, {"x": x}, {"y": x[:, :1]}))
        clock.now += TICK_S
        await drift.tick()

    for _ in range(round(DEFAULTS.reference_rows / rows / TICK_S) + 2):
        await tick()
    began, ticks = time.process_time(), round(COST_S / TICK_S)
    for _ in range(ticks):
        await tick()
    cpu = (time.process_time() - began) / COST_S
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    drift.close()
    size = next(iter(drift._models.values()))._sides["inputs"].windows  # noqa: SLF001
    assert size is not None
    hour = size.reference.size * 4 + FEATURES * 32
    return {
        "models": MODELS,
        "features": FEATURES,
        "share_of_a_core": cpu,
        "resident_mb": grown / 1e6,
        "mb_more_after_a_day": MODELS * 24 * hour / 1e6,
    }


@click.command()
@click.option("--seeds", default=SEEDS, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("loadtest/results/drift.json"), show_default=True)
def main(seeds: int, out: Path) -> None:
    """All of it."""
    cost = asyncio.run(_cost())
    print(f"{MODELS} models: {100 * cost['share_of_a_core']:.1f} % of a core, {cost['resident_mb']:.0f} MB")
    with ProcessPoolExecutor() as pool:
        delays = np.array(sorted(pool.map(sudden, range(MOVES), chunksize=10)))
        print(f"moved by one: reported after {np.median(delays):.1f} s, {delays.max():.1f} s at most")
        weeks = [*pool.map(slow, range(5))]
        lost = max(float(each["lost"]) for each in weeks)
        print(f"over a week: found when accuracy had lost {100 * lost:.2f} points at most")
        began = time.monotonic()
        days = [*pool.map(stable, range(seeds))]
    alarmed = sum(each["alarmed_windows"] > 0 for each in days)
    bound = at_most(alarmed, seeds)
    told = f"{alarmed} of {seeds} days with an alarm, so at most {bound:.2%} of all days at 95 %"
    print(f"stable: {told} ({time.monotonic() - began:.0f} s)")
    every = sum(each["windows"] for each in days)
    single = sum(each["windows_above_threshold_and_chance"] for each in days)
    found = {
        "settings": DEFAULTS.model_dump(mode="json"),
        "rows_per_s": ROWS_PER_S,
        "features": FEATURES,
        "stable_days": {
            "days": seeds,
            "days_with_an_alarm": alarmed,
            "share_at_most_at_95_percent": bound,
            "windows": every,
            "single_windows_above": single,
        },
        "moved_by_one_standard_deviation": {
            "runs": MOVES,
            "median_s": float(np.median(delays)),
            "p95_s": float(np.quantile(delays, 0.95)),
            "max_s": float(delays.max()),
        },
        "moved_slowly_within_a_week": {
            "runs": weeks,
            "accuracy_before": accuracy(0.0),
            "most_points_lost": 100 * lost,
            "features_of_equal_weight": IMPORTANT,
        },
        "cost": cost,
        "machine": facts(),
    }
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
