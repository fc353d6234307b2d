"""The page of a result, as text and in a real browser."""

from __future__ import annotations

import copy
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.sla import page
from loadtest.sla.figures import Figures, parts
from loadtest.sla.result import Document, _quantiles
from loadtest.sla.verdict import Grade
from tests.loadtest.sla.fakes import figures


def document(title: str = "Steady load", slower: float = 1.0) -> Document:
    """A result of 10 seconds at 100/s with a failure and an action, made by hand."""
    rows: list[dict[str, Any]] = []
    random = np.random.default_rng(3)
    for number in range(1000):
        due = number / 100
        took = 0.002 * slower * float(random.lognormal(0, 0.5))
        rows.append({"due": due, "done": due + took, "code": 14 if number == 500 else 0, "generation": 1})
    made: Figures = figures(rows)
    everything = made.within(0, 10)
    action = {"label": "kill <worker-0>", "due": 5.0, "began": 5.0, "ended": 5.1, "ok": True, "detail": "process 7"}
    return {
        "format": 1,
        "title": title,
        "seed": 1,
        "server": {"target": "127.0.0.1:1", "title": f"router × {slower:g}"},
        "machine": {"cpu": "a <fast> one", "cores": 2, "python": "3.11", "measured": "2026-11-25"},
        "interrupted": False,
        "invalid": [],
        "closed_loop": True,
        "phases": [],
        "actions": [
            {
                **action,
                "before": parts(made, made.within(3, 5)),
                "after": parts(made, made.within(5, 7)),
                **made.aftermath(5, 10),
            }
        ],
        "measured": {
            "seconds": 10.0,
            **parts(made, everything),
            "lag": _quantiles(made.lag),
            "service": asdict(made.service_times(everything)),
        },
        "seconds": made.seconds(10.0, 0.005),
        "lagged_seconds": [7],
        "curve": made.curve(everything),
        "slices": made.slices(everything),
        "sla": [{"name": "p50", "limit": "≤ 10 ms", "measured": "2 ms", "grade": Grade.PASS, "why": ""}],
    }


def test_what_is_not_ours_is_escaped() -> None:
    """Titles and details are text, not markup."""
    text = page.page([document("<script>alert(1)</script>")])
    assert "<script>alert(1)" not in text
    assert "a &lt;fast&gt; one" in text
    assert "kill &lt;worker-0&gt;" in text
    assert "+0.00 s</td><td>–" in text


def test_an_empty_result_has_a_page_too() -> None:
    """Nothing was answered: no curve, and no error."""
    empty = copy.deepcopy(document())
    empty["curve"], empty["slices"], empty["sla"] = [], [], []
    assert "Latency by percentile" in page.page([empty])


def test_notes_are_shown() -> None:
    """Above the figures that they are about; a result of before there were any has none."""
    assert "class='note'>phase &lt;x&gt; ended early" in page.page([{**document(), "notes": ["phase <x> ended early"]}])


@pytest.mark.browser
@pytest.mark.parametrize("count", [1, 2])
def test_the_charts_are_drawn_without_a_network(tmp_path: Path, count: int) -> None:
    """Chromium draws every chart of the page from the file alone."""
    path = tmp_path / "page.html"
    page.write([document(slower=1.0 + number) for number in range(count)], path)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is not installed: on Debian, apt install chromium"
    words = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--virtual-time-budget=15000", "--dump-dom",
    ]  # fmt: skip
    command = [program, *words, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert done.stdout.count('class="main-svg"') >= 2 * (3 if count == 1 else 5)
    assert "Latency by second" in done.stdout
