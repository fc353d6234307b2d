"""What `router demo retrain` draws: how much came true over time, and what happened when. SVG needs no library."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from router.app.mistake import one_line

WIDTH: Final = 960
HEIGHT: Final = 460
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 150, 50
"""Margins; the top one holds the words of the marks."""
BLUE: Final = "#2563a8"
GREY: Final = "#666666"
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } table { border-collapse: collapse }
td, th { padding: .25rem .8rem; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
td:first-child { white-space: nowrap }
"""
LINE: Final = 16
"""Between the words of two marks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, `seconds` after the beginning. `figure` is a detail for the table, in words."""

    seconds: float
    text: str
    figure: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """`points` are pairs of seconds since the beginning and the share of answers that came true about then."""

    title: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[Mark]

    @property
    def seconds(self) -> float:
        """How long it goes on."""
        return max((*(at for at, _ in self.points), *(mark.seconds for mark in self.marks), 1.0))


def write_html(picture: Picture, path: Path) -> None:
    """A page with the picture and the table of what happened. Raises OSError."""
    rows = "".join(
        f"<tr><td>{mark.seconds:.1f} s</td><td>{escaped(mark.text)}</td><td>{escaped(mark.figure)}</td></tr>"
        for mark in picture.marks
    )
    title = escaped(picture.title)
    _keep(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"
        f"<body><h1>{title}</h1>{svg(picture)}<table><tr><th>after</th><th></th><th></th></tr>{rows}</table></body>"
        "</html>\n",
        path,
    )


def _keep(text: str, path: Path) -> None:
    """Whole: a reader never sees half of it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def svg(picture: Picture) -> str:
    """The picture alone."""
    return "".join(_drawn(picture))


def _drawn(picture: Picture) -> Iterator[str]:
    across = (WIDTH - LEFT - RIGHT) / picture.seconds
    floor = HEIGHT - BOTTOM

    def x(seconds: float) -> float:
        return LEFT + seconds * across

    def y(share: float) -> float:
        return floor - share * (floor - TOP)

    yield (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' font-size='13'"
        " font-family='system-ui, sans-serif'>"
    )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y(share):.1f}' y2='{y(share):.1f}' stroke='#dddddd'/>"
        yield _words(LEFT - 8, y(share) + 4, f"{share:.0%}", "end")
    step = next(each for each in (5, 10, 20, 30, 60, 120, 600) if picture.seconds / each <= 12 or each == 600)
    for seconds in range(0, int(picture.seconds) + 1, step):
        yield _words(x(seconds), floor + 20, f"{seconds} s", "middle")
    yield _words(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 8, "since the traffic began", "middle")
    for number, mark in enumerate(picture.marks):
        at, height = x(mark.seconds), TOP - 8 - LINE * (len(picture.marks) - 1 - number)
        side = "start" if mark.seconds < picture.seconds * 0.6 else "end"
        yield (
            f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{height + 4:.1f}' y2='{floor}' stroke='{GREY}'"
            " stroke-dasharray='3 3'/>"
        )
        yield _words(at + (3 if side == "start" else -3), height, f"{mark.text}, {mark.seconds:.0f} s", side)
    path = " ".join(f"{x(seconds):.1f},{y(share):.1f}" for seconds, share in picture.points)
    yield f"<polyline points='{path}' fill='none' stroke='{BLUE}' stroke-width='2.5'/></svg>"


def _words(x: float, y: float, words: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='#333333'>{escaped(words)}</text>"


def escaped(words: str) -> str:
    """Words of the server as text of a page, in one line."""
    return html.escape(one_line(words))


def check_png() -> None:
    """Whether a PNG can be drawn here: it is better known before the demo than after it. Raises ClickException."""
    _matplotlib()


def write_png(picture: Picture, path: Path) -> None:
    """The picture for pages that show no SVG. Raises OSError, and ClickException without matplotlib."""
    plt = _matplotlib()
    drawing, axes = plt.subplots(figsize=(10, 4.8), dpi=100)
    axes.plot(*zip(*picture.points, strict=True), color=BLUE, linewidth=2)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, picture.seconds)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("seconds since the traffic began")
    axes.set_ylabel("answers that came true")
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    for number, mark in enumerate(picture.marks):
        late = mark.seconds > picture.seconds * 0.6
        above = 6 + 13 * (len(picture.marks) - 1 - number)
        axes.axvline(mark.seconds, color=GREY, linewidth=0.9, linestyle=":")
        axes.annotate(
            f"{mark.text}, {mark.seconds:.0f} s", (mark.seconds, 1.0), (-3 if late else 3, above),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if late else "left",
            fontsize=9, annotation_clip=False,
        )  # fmt: skip
    drawing.suptitle(picture.title, fontsize=11)
    drawing.subplots_adjust(left=0.08, right=0.97, bottom=0.12, top=0.9 - 0.037 * len(picture.marks))
    fresh = path.with_name(f".{path.name}.new")
    try:
        drawing.savefig(fresh, format="png")
    finally:
        plt.close(drawing)
    fresh.replace(path)


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl  # noqa: PLC0415  # where it is there, for PNG only

        mpl.use("Agg")
        import matplotlib.pyplot as plt  # noqa: PLC0415  # after the choice of a backend without a screen
    except ImportError as error:
        raise click.ClickException(
            "--png needs matplotlib: pip install matplotlib; or --html FILE, which needs nothing"
        ) from error
    return plt
