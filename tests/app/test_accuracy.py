"""`router accuracy`: how right a model's versions are, for people, programs and browsers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from router.app.accuracy_page import parts, write
from router.app.accuracy_text import shown
from router.app.cli import main
from router.errors import NotReady
from router.pb.accuracy_pb2 import (
    Baseline,
    Cell,
    ClassFigures,
    Figure,
    GetAccuracyRequest,
    ModelAccuracy,
    Point,
    VersionAccuracy,
)
from tests.rendering import rendered

BEGAN = 1.795938e9


def version(number: str, role: str, **more: Any) -> VersionAccuracy:
    """Of labels: it has become worse in its second minute."""
    named = {"accuracy": (0.8445, 0.8247, 0.8624), "balanced_accuracy": (0.8447, 0.8259, 0.8636)}
    figures = [Figure(name=name, value=value, low=low, high=high) for name, (value, low, high) in named.items()]
    points = [
        Point(begin=BEGAN, width_seconds=60, said=800, rows=800, value=0.972, low=0.9556, high=0.9831),
        Point(begin=BEGAN + 60, width_seconds=60, said=1200, rows=1000, value=0.759, low=0.7293, high=0.7867),
        Point(begin=BEGAN + 120, width_seconds=60, said=10),
    ]
    classes = [
        ClassFigures(label="cat", actual=213, said=210, precision=0.876, recall=0.864, f1=0.87),
        ClassFigures(label="dog", actual=1587, said=1590, f1=0.0),
    ]
    given: dict[str, Any] = {
        "kind": "labels", "status": "red", "text": f"version {number} is right less often than it was", "said": 2010,
        "rows": 1800, "delay_seconds": 5400.0, "figures": [*figures, Figure(name="macro_f1", value=0.8446)],
        "points": points, "classes": classes, "classes_since": BEGAN, "confusion": [
            Cell(truth="cat", said="dog", count=29), Cell(truth="cat", said="cat", count=184)
        ], "baseline": Baseline(origin="first", requests=300, value=0.97, limit=0.922), **more,
    }  # fmt: skip
    return VersionAccuracy(version=number, role=role, **given)


def model(*versions: VersionAccuracy, **more: Any) -> ModelAccuracy:
    """Of a model; version 2 is champion."""
    given = {"status": "red", "text": "version 2 is right less often", "next_step": "`router drift m` shows", **more}
    actuals = {"joined": 1800, "late": 2, "contradicting": 1}
    return ModelAccuracy(model="m", champion="2", now=BEGAN + 130, versions=versions, actuals=actuals, **given)


def both() -> ModelAccuracy:
    """The champion and the one that stands by."""
    return model(version("2", "champion"), version("1", "standby", status="green", points=[], classes=[]))


def test_a_wide_terminal_has_figures_beside_versions() -> None:
    """The verdict, what next, a line a version, the champion over time and by class, what became of actuals."""
    told = rendered(*shown(both()), width=120)
    lines = told.splitlines()
    assert lines[:2] == ["red, m: version 2 is right less often", "next: `router drift m` shows"]
    (row,) = [line for line in lines if "2 (champion)" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "2 (champion)", "red", "2010", "1800 (90 %)", "210", "1 h 30 min", "accuracy 84.45 % (82.47 to 86.24)",
    ]  # fmt: skip
    assert "macro f1 84.46 %" in told
    assert "version 2, accuracy each minute" in told
    assert [line.split()[-1] for line in lines if "97.2 %" in line or "75.9 %" in line] == ["800", "1000"]
    assert "72.93 to 78.67 %" in told
    assert [line.split() for line in lines if line.startswith("cat")] == [
        ["cat", "213", "210", "87.6", "%", "86.4", "%", "87.0", "%", "dog", "(29)"]
    ]
    assert lines[-1] == "actuals since the controller began: 1800 joined, 1 contradicting, 2 late"


def test_a_narrow_terminal_has_them_below() -> None:
    """Whole: neither cut nor folded in a word, and bars that give way."""
    lines = rendered(*shown(both()), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if line.startswith(("2   ", "1   "))] == [
        ["2", "accuracy", "84.45", "%", "82.47", "to", "86.24"], ["1", "accuracy", "84.45", "%", "82.47", "to", "86.24"]
    ]  # fmt: skip
    (bar,) = [line for line in lines if "75.9 %" in line]
    assert bar.endswith("72.93 to 78.67 %  1000")
    assert "█" in bar
    assert not any("…" in line for line in lines)


def test_with_no_data_it_says_what_to_do() -> None:
    """No table, no chart."""
    step = "say what came true, by the ids of requests: `router actuals m FILE`"
    empty = ModelAccuracy(model="m", status="unknown", text="version 1 has no baseline yet", next_step=step)
    assert rendered(*shown(empty), width=80).splitlines() == [
        "unknown, m: version 1 has no baseline yet",
        f"next: {step}",
        "actuals since the controller began: none",
    ]
    assert "<table>" not in "".join(parts(empty))
    assert "plotly-graph-div" not in "".join(parts(empty))


def test_numbers_have_errors_in_place_of_classes(tmp_path: Path) -> None:
    """The mean absolute error over time, larger is worse; a version of which one point is known has a page too."""
    mae = Figure(name="mae", value=1.25, low=1.0, high=1.5)
    numbers = version(
        "2", "champion", kind="numbers", figures=[mae], classes=[], confusion=[], points=[
            Point(begin=BEGAN, width_seconds=3600, said=9, rows=9, value=1.25)
        ], baseline=Baseline(value=1.0, limit=1.2),
    )  # fmt: skip
    told = rendered(*shown(model(numbers)), width=80)
    assert "version 2, mean absolute error each hour" in told
    assert "classes since" not in told
    page = "".join(parts(model(numbers)))
    assert "Mean absolute error over time" in page
    write(model(version("2", "champion", figures=[], points=[Point(value=0.0)])), tmp_path / "page.html")


def test_a_page_has_all_of_it() -> None:
    """The verdict in its colour, a table of figures, charts over time and of classes; that it is being read is said."""
    page = "".join(parts(both()))
    for words in (
        "background:#c0392b'>red</span> version 2 is right less often", "<b>Next:</b> `router drift m` shows",
        "Version 2 (champion)", "Version 1 (standby)", "2010 predictions: 1800 came true or did not, of 210 it is not",
        "known after 1 h 30 min in the mean", "<td>accuracy</td><td>84.45 %</td><td>82.47 to 86.24</td>",
        "<td>cat</td><td>213</td><td>210</td><td>87.6 %</td><td>86.4 %</td><td>87.0 %</td><td>dog (29)</td>",
        "Accuracy over time", "Rows: what was true, columns: what was said", "1800 joined, 1 contradicting, 2 late",
    ):  # fmt: skip
        assert words in page, words
    assert "still being read" not in page
    assert "still being read" in "".join(parts(model(reading=True)))


class Client:
    """Answers like a server, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[GetAccuracyRequest] = []
        self.error: Exception | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def other(self, _: object, method: str, request: GetAccuracyRequest) -> ModelAccuracy:
        """How right it is."""
        assert method == "GetAccuracy"
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return both()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """In the place of a connection."""
    made = Client()
    monkeypatch.setattr("router.app.admin_reach.AdminReach.client", lambda *_: made)
    return made


def said(*words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(main, ["accuracy", *words])


def test_the_command(client: Client, tmp_path: Path) -> None:
    """For people, as JSON, as a page, as both; of one version, and so far back."""
    assert "2 (champion)" in said("m").output
    assert json.loads(said("m:2", "--since", "30m", "--json").output)["versions"][0]["rows"] == 1800
    page = tmp_path / "page.html"
    assert said("m", "--version", "1", "--html", str(page)).output == f"written to {page}\n"
    assert "<title>Accuracy of m</title>" in page.read_text(encoding="utf-8")
    assert json.loads(said("m", "--html", str(page), "--json").output)["status"] == "red"
    asked = [(each.model, each.version, each.since_seconds) for each in client.asked]
    assert asked == [("m", "", 86_400), ("m", "2", 1800), ("m", "1", 86_400), ("m", "", 86_400)]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("m", "--since", "yesterday"), 2, "'yesterday' is no time: a number with s, m, h or d is meant, such as 24h"),
        (("m", "--html", "/nowhere/x.html"), 1, "/nowhere/x.html cannot be written (No such file or directory)"),
        ((":2",), 2, "':2' names no model"),
        (("",), 2, "it is empty: name a model"),
    ],
)
def test_mistakes_are_told_in_one_line(words: tuple[str, ...], code: int, told: str) -> None:
    """With what is to be done."""
    result = said(*words)
    assert (result.exit_code, told in " ".join(result.output.split())) == (code, True), result.output


def test_no_answer_is_told_in_one_line(client: Client) -> None:
    """As the server says it; nothing is written then."""
    client.error = NotReady("the server starts: ask again")
    result = said("m", "--html", "/nowhere/x.html")
    assert (result.exit_code, result.output) == (1, "Error: the server starts: ask again\n")


@pytest.mark.browser
def test_a_browser_draws_the_charts_without_a_network(tmp_path: Path) -> None:
    """Chromium draws each chart of the page from the file alone."""
    path = tmp_path / "page.html"
    write(both(), path)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is not installed: on Debian, apt install chromium"
    words = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--virtual-time-budget=15000", "--dump-dom",
    ]  # fmt: skip
    command = [program, *words, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert done.stdout.count('class="main-svg"') >= 2 * 2
    assert "Accuracy over time" in done.stdout
