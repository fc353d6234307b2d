"""Latency by percentile as a picture, for a page that shows no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from loadtest.chart import COLOURS
from loadtest.errors import ScenarioError

MOST_NINES = 6


def draw(path: Path, curves: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> None:
    """One line a result: its name and pairs of share (0-1) and seconds. Raises ScenarioError when that fails."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415  # after the choice of a backend without a screen

    picture, axes = plt.subplots(figsize=(8, 4), dpi=100)
    deepest = 10.0
    for number, (name, curve) in enumerate(curves):
        points = [(1 / (1 - share), seconds * 1e3) for share, seconds in curve if share < 1]
        if points:
            deepest = max(deepest, points[-1][0])
            axes.plot(*zip(*points, strict=True), label=name, color=COLOURS[number % len(COLOURS)], linewidth=1.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [n for n in range(MOST_NINES) if 10**n <= deepest * 1.5]
    axes.set_xticks([10**n for n in ticks], [f"{100 - 100 / 10**n:g} %" for n in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g} ms")
    axes.set_xlabel("share of the requests that took no longer")
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture.tight_layout()
    try:
        picture.savefig(path)
    except OSError as error:
        raise ScenarioError(f"{path} cannot be written ({error.strerror}): name a file in a folder of yours") from None
    finally:
        plt.close(picture)
