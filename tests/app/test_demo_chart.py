"""The picture of a model that is trained anew by itself: as SVG, as a page, as PNG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from router.app.demo_chart import Mark, Picture, svg, write_html, write_png

PICTURE = Picture(
    "answers of 'digits' that came true",
    [(second / 2, 0.95 if second < 40 else 0.45 if second < 90 else 0.96) for second in range(120)],
    [
        Mark(20.0, "drift begins", "another <scanner>"),
        Mark(27.0, "drift seen"),
        Mark(46.0, "re<b>covered", "& \x1b[31m"),
    ],
)


def test_the_picture_shows_the_line_and_every_mark() -> None:
    """It is XML, all of it lies within its frame, and words of others are text."""
    root = ElementTree.fromstring(svg(PICTURE))
    words = ["".join(each.itertext()) for each in root.iter() if each.tag.endswith("text")]
    assert {"drift begins, 20 s", "drift seen, 27 s", "re<b>covered, 46 s", "100%", "0 s"} <= set(words)
    (line,) = [each for each in root.iter() if each.tag.endswith("polyline")]
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == len(PICTURE.points)
    assert all(0 <= x <= 960 and 0 <= y <= 460 for x, y in points)
    heights = [y for _, y in points]
    assert heights[60] > heights[0] > heights[-1], "what is more stands higher"


def test_the_page_is_small_and_shows_what_happened(tmp_path: Path) -> None:
    """Below 200 KB, without a script, with the table of marks; nothing in it is anybody's markup."""
    write_html(PICTURE, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(page) < 200_000
    assert "<script" not in page
    assert "another &lt;scanner&gt;" in page
    assert "re&lt;b&gt;covered" in page
    assert "\x1b" not in page
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_png_is_small(tmp_path: Path) -> None:
    """Below 200 KB, for pages that show no SVG."""
    write_png(PICTURE, tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000


@pytest.mark.parametrize("write", [write_html, write_png])
def test_nothing_is_drawn_of_nothing(write: object, tmp_path: Path) -> None:
    """A demo that failed at once has no points: the picture says so by being empty."""
    assert callable(write)
    write(Picture("nothing", [], []), tmp_path / "file")
    assert (tmp_path / "file").stat().st_size > 0
