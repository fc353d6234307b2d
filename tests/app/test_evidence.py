"""`router evidence`: the dossier of a version as JSON, and as a page that needs no network."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.app.evidence_page import ACTS, page, parts
from router.core.audit import canonical
from tests.fake_admin import Served, report, served

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\u202e"
ACT = {
    "sequence": 7, "seconds": 1.7e9, "actor": "ada", "action": "promote", "model": "a", "number": "2",
    "reason": "better", "before": {"champion": "1"}, "after": {"champion": "2"}, "previous": "00" * 32,
    "hash": "ab" * 32,
}  # fmt: skip


STEP = {
    "step": 0, "share": 5.0, "began": 1.7e9, "ended": 1.7e9, "seconds": 300.0,
    "findings": [{"measure": "errors", "text": "5.00% of 200 requests failed", "breach": True}, {"text": "p99 alike"}],
    "candidate": {"requests": 200, "failures": 10, "fallbacks": 0, "buckets": [0, 0, 190]},
    "control": {"requests": 3800, "failures": 0, "fallbacks": 1, "buckets": [0, 3800]},
}  # fmt: skip
ROLLOUT = {
    "id": 3, "kind": "rollout", "model": "a", "number": "2", "actor": "ada", "began": 1.7e9, "ended": 1.7e9,
    "state": "undone", "digest": "2" * 64, "body": {"text": "undone: too many errors", "steps": [STEP]},
}  # fmt: skip
TRIAL = ROLLOUT | {
    "id": 2, "kind": "trial", "state": "won",
    "body": {"text": "Version 2 is better", "standing": {"low": 0.004, "high": 0.021, "difference": 0.012}},
}  # fmt: skip


def reported(kind: str = "warm") -> Any:
    """A report as a dossier holds it."""
    return json.loads(canonical({**asdict(report("a", "2", kind)), "passed": True}))


def dossier(**more: Any) -> dict[str, Any]:
    """A whole one."""
    body = {"given": [{"actor": "eve", "seconds": 1.7e9, "reason": "fine"}], "approvals": 1, "outcome": "by eve"}
    return {
        "format": 1,
        "made_at": 1.7e9,
        "router": "0.1.0",
        "model": "a",
        "version": {"number": "2", "stage": "champion", "reason": "better", "since": 1.7e9, "actor": "ada", "mark": ""},
        "route": {"generation": 8, "champion": "2", "standby": "1", "shares": {"3": 12.5}, "shadows": ["4"]},
        "importance": "high",
        "settings": {"canary": {"bake_seconds": 7.0}, "trial": {"alpha": 0.01}},
        "digests": {"files": "2" * 64, "champion": "c" * 64, "exam": "e" * 64},
        "history": [{**ACT, "stage": "champion"}],
        "reports": [reported()],
        "cases": [
            TRIAL,
            ROLLOUT,
            {"id": 4, "kind": "request", "number": "2", "actor": "ada", "began": 1.7e9, "ended": 1.7e9, "body": body}
            | {"state": "approved", "digest": "2" * 64, "model": "a"},
        ],
        "audit": {"records": [ACT], "complete": True, "whole": True, "checked": 9, "head": "ab" * 32, "finding": ""},
        **more,
    }


class Read(HTMLParser):
    """What a browser would make of a page: its words, what it would run, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag, and what it refers to."""
        self._open.append(tag)
        self.tags.add(tag)
        self.fetched += [str(value) for name, value in attrs if name in {"src", "href"}]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        """Its end."""
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Words, or a script."""
        inside = self._open[-1] if self._open else ""
        (self.scripts if inside == "script" else self.words).append(data)

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def service() -> Iterator[Served]:
    """A service that has a whole dossier."""
    with served() as made:
        made.lifecycle.dossier = dossier()
        yield made


def test_json_by_default(service: Served) -> None:
    """As the server tells it; an alias or a role stands for a version."""
    told = service.router("evidence", "a:2")
    assert told.exit_code == 0, told.output
    assert json.loads(told.output) == dossier()
    assert service.router("evidence", "a", "champion").exit_code == 0
    unknown = service.router("evidence", "a:9")
    assert (unknown.exit_code, unknown.output) == (1, "Error: model 'a' has no version 9\n")


def test_a_file(service: Served, tmp_path: Path) -> None:
    """Its name says what is written."""
    out = tmp_path / "evidence.json"
    told = service.router("evidence", "a:2", "--out", str(out))
    assert (told.exit_code, told.output) == (0, f"written to {out}\n")
    assert json.loads(out.read_text()) == dossier()
    told = service.router("evidence", "a", "2", "--out", str(tmp_path / "e.HTML"), "--json")
    assert json.loads(told.output) == {"written": str(tmp_path / "e.HTML")}
    assert (tmp_path / "e.HTML").read_text().startswith("<!doctype html>")
    other = service.router("evidence", "a:2", "--out", str(tmp_path / "e.pdf"))
    assert (other.exit_code, "ends in .json or .html" in other.output) == (2, True)
    for name in ("e.json", "e.html"):
        missing = service.router("evidence", "a:2", "--out", str(tmp_path / "none" / name))
        assert (missing.exit_code, "cannot be written" in missing.output) == (1, True)


def test_a_page_without_the_library(service: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to install; JSON needs none of it."""
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    for name in ("evidence_page", "evidence_charts", "report_page"):
        monkeypatch.delitem(sys.modules, f"router.app.{name}", raising=False)
    told = service.router("evidence", "a:2", "--out", str(tmp_path / "x.html"))
    assert told.exit_code == 1
    assert "pip install 'inference-router[loadtest]'" in told.output
    assert service.router("evidence", "a:2", "--out", str(tmp_path / "x.json")).exit_code == 0


def test_what_a_page_shows() -> None:
    """Where it stands, how it came there, gates, warm-up, approvals, the audit log; charts that fetch nothing."""
    text = page(dossier())
    assert len(text) < 6_000_000
    read = Read(text)
    for words in (
        "Evidence: a 2",
        "Made 2023-11-14 22:13:20 UTC by router 0.1.0.",
        "stage champion",
        "files (SHA-256) " + "2" * 64,
        "shares version 3: 12.5 %",
        "shadows 4",
        "importance, as declared high",
        "passed: warm-up of a 2",
        "p99 is [bold]near[/] its limit",
        "Trial 2 Version 2 is better begun 2023-11-14",
        "Canary 3 undone: too many errors begun 2023-11-14",
        "1 5 % 300 s 200 / 3800 5.00% of 200 requests failed p99 alike",
        "Request for approval 4 approved: by eve",
        "2023-11-14 22:13:20 UTC eve fine",
        "champion: 1 → 2",
        "The whole log, 9 records, is as it was written",
        "canary, bake seconds 7",
    ):
        assert words in read.text, words
    assert read.fetched == []
    drawn = " ".join(read.scripts[1:])
    for words in ("difference", "of 100 requests", "Requests that failed", "p99 of the time", "step 1: 5 %", "UTC"):
        assert words in drawn, words
    assert read.text.count("step 1") == 0


def test_a_log_that_is_not_whole_is_told() -> None:
    """So are acts that are left out."""
    acts = [{**ACT, "sequence": number} for number in range(ACTS + 5)]
    audit = {"records": acts, "complete": False, "whole": False, "head": "", "finding": "record 3 was changed"}
    read = Read(page(dossier(audit=audit)))
    assert "The log is not whole: record 3 was changed." in read.text
    assert "Older acts than these are in the log and not here." in read.text
    assert f"The newest {ACTS} of {ACTS + 5} acts" in read.text


def hostile(value: Any) -> Any:
    """The same with all its words, names too, replaced by bad ones."""
    if isinstance(value, Mapping):
        return {name: hostile(each) for name, each in value.items()}
    if isinstance(value, list):
        return [hostile(each) for each in value]
    return HOSTILE if isinstance(value, str) else value


def test_words_of_others_are_text() -> None:
    """Whatever names, reasons and figures hold, no more is run or fetched than before; charts too are told as text."""
    plain = Read(page(dossier()))
    bad = hostile(dossier(settings={"<b>": HOSTILE}))
    for case, kind in zip(bad["cases"], ("trial", "rollout", "request"), strict=True):
        case["kind"] = kind
    bad["reports"] = [reported() | {"outcomes": [reported()["outcomes"][0] | {"reason": HOSTILE, "gate": HOSTILE}]}]
    bad["reports"][0]["distributions"][0] |= {"name": HOSTILE, "unit": HOSTILE}
    text = page(bad)
    read = Read(text)
    assert read.fetched == []
    assert read.tags == plain.tags
    assert len(read.scripts) == len(plain.scripts)
    assert "<script>alert" not in text.replace("\\u003c", "")
    assert "onerror=alert" in read.text
    assert "\x1b" not in text
    for script in read.scripts[1:]:
        assert re.search(r"<(?!/?br)", script.replace("<br>", "")) is None


NOTHING = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_page_of_whatever_there_is(data: st.DataObject) -> None:
    """Of another release, or of nothing at all: it is a page."""
    assert page({}).endswith("</html>\n")
    keys = sorted(dossier())
    told = {key: data.draw(NOTHING) for key in data.draw(st.lists(st.sampled_from(keys), unique=True, max_size=4))}
    assert "".join(parts({**dossier(), **told})).startswith("<p>Made ")
    steps = {"steps": [{**STEP, **data.draw(st.dictionaries(st.sampled_from(sorted(STEP)), NOTHING, max_size=3))}]}
    assert [*parts({"cases": [{**ROLLOUT, "body": steps}, {**TRIAL, "body": {"standing": data.draw(NOTHING)}}]})]
    case = data.draw(st.dictionaries(st.sampled_from(["kind", "body", "began", "state", "id"]), NOTHING))
    for kind in ("trial", "rollout", "request"):
        assert [*parts({"cases": [{**case, "kind": kind}]})]


@pytest.mark.parametrize(
    ("path", "drawn"),
    [
        ([[50, -0.1, 0.05, 0.2], [300, 0.004, 0.06, 0.13]], "the truth lies in the band"),
        ([[50, -0.1, 0.05, 0.2]], "and where the truth lies"),
        ([[50, "low", None, 0.2], 7, [1, 2]], "and where the truth lies"),
        ("nothing", "and where the truth lies"),
    ],
)
def test_a_trial_is_drawn_as_it_went(path: Any, drawn: str) -> None:
    """Where that is known; else as it stands."""
    trial = TRIAL | {"body": TRIAL["body"] | {"path": path}}
    (chart,) = [each for each in parts(dossier(cases=[trial])) if "more right (or fewer)" in each]
    assert drawn in chart


def test_where_no_request_failed_that_is_said() -> None:
    """A chart of nothing looks like one that could not be drawn."""
    well = STEP | {"candidate": {"requests": 200, "failures": 0, "fallbacks": 0, "buckets": [0, 0, 200]}}
    told = "".join(parts(dossier(cases=[ROLLOUT | {"body": {"text": "finished", "steps": [well]}}])))
    assert "No request failed, of either version." in told
    assert "Requests that failed" not in told
