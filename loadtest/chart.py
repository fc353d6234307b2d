"""The ratios as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl

from loadtest.ratio import Ratio
from loadtest.rounds import Results

COLOURS: Final = ("#2563a8", "#e08a1e", "#4a9b6e", "#8a5aa8", "#777777")
"""Told apart by the colour-blind and in grey."""
PLATE: Final = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""Behind a figure, so that a target's mark does not strike it out."""


def draw(path: Path, results: Results, machine: str) -> None:
    """Grouped bars of ratios by cell, their intervals, and a mark where the target lies."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415  # after the choice of a backend without a screen

    rows = [
        (title, [results.figure(server, cell) for cell in results.cells]) for server, title in results.titles.items()
    ]
    rows = [(title, figures) for title, figures in rows if figures[0].ratio is not None]
    picture, axes = plt.subplots(figsize=(10, 5), dpi=110)
    width = 0.8 / max(1, len(rows))
    targets_named = False
    for number, (title, figures) in enumerate(rows):
        ratios: list[Ratio] = [figure.ratio for figure in figures if figure.ratio is not None]
        places = [cell + (number - (len(rows) - 1) / 2) * width for cell in range(len(ratios))]
        heights = [each.median for each in ratios]
        errors = [
            [each.median - each.low for each in ratios],
            [each.high - each.median for each in ratios],
        ]
        axes.bar(
            places,
            heights,
            width * 0.92,
            yerr=errors,
            capsize=2,
            color=COLOURS[number % len(COLOURS)],
            ecolor="#333333",
            error_kw={"linewidth": 0.8},
            label=title,
        )
        for place, each in zip(places, ratios, strict=True):
            axes.annotate(
                f"{each.median:.1f}", (place, each.high), (0, 3), textcoords="offset points", ha="center", bbox=PLATE
            )
        for place, figure in zip(places, figures, strict=True):
            if figure.target is not None:
                label = None if targets_named else "target"
                half = width * 0.46
                axes.hlines(figure.target, place - half, place + half, colors="black", linewidth=2.2, label=label)
                targets_named = True
    axes.axhline(1, color="#999999", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(results.cells)), [_heading(cell) for cell in results.cells])
    axes.set_ylabel("requests/s ÷ the better baseline's")
    axes.set_title(f"Throughput against a hand-written grpc.aio server (= 1)\n{machine}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    picture.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path)
    plt.close(picture)


def _heading(cell: str) -> str:
    model, _, load = cell.partition(":")
    in_flight, _, connections = load.partition("x")
    return f"{model}\n{in_flight} in flight" + (f"\non {connections} connection" if connections else "")
