"""Pages hold words of others as text: whatever they are, the page has the same elements."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from router.app import accuracy_page, drift_page, evidence_page, health_page, report_page
from router.pb import accuracy_pb2, admin_pb2, drift_pb2, health_report_pb2
from tests.hostile import HOSTILE, filled

WORDS = f"{HOSTILE}<img src=x onerror=alert(1)><b>b</b>&lt;i&gt;<!-- {{{{x}}}} '\"`"


class Elements(HTMLParser):
    """What a browser would make of it: elements and their attributes, but for what these say."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Another one."""
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Its end."""
        self.found.append(("/", tag))

    def handle_comment(self, data: str) -> None:
        """None is ours."""
        self.found.append(("comment", data))

    def handle_data(self, data: str) -> None:
        """Text."""
        self.texts.append(data)


def report(words: str) -> str:
    """Of a test or a warm-up."""
    return "".join(report_page.sections(filled(admin_pb2.Report(), words)))


def evidence(words: str) -> str:
    """Of a dossier in which every text is of others."""
    act = {
        "sequence": 1,
        "seconds": 1.7e9,
        **dict.fromkeys(("actor", "action", "number", "reason", "hash", "stage"), words),
    }
    act |= {"before": {words: words}, "after": {words: [words]}}
    case = {"id": 1, "state": words, "actor": words, "digest": words, "number": words, "began": 1.0, "ended": 2.0}
    dossier: dict[str, Any] = {
        "model": words,
        "router": words,
        "made_at": 1.7e9,
        "version": {"number": words, "stage": words, "reason": words, "actor": words, "mark": words},
        "digests": {"files": words, "champion": words, "exam": words},
        "importance": words,
        "route": {"champion": words, "standby": words, "shares": {words: words}, "shadows": [words]},
        "cases": [
            {**case, "kind": kind, "body": {words: words, "reason": words, "text": words, "given": [act]}}
            for kind in ("request", words)
        ],
        "reports": [{"kind": words}],
        "history": [act],
        "audit": {"records": [act], "finding": words, "head": words, "checked": words},
        "settings": {words: {words: words}},
    }
    return "".join(evidence_page.parts(json.loads(json.dumps(dossier))))


def health(words: str) -> str:
    """Of all models."""
    return health_page.page(filled(health_report_pb2.HealthReport(), words))


def drift(words: str) -> str:
    """Of a model."""
    return "".join(drift_page.parts(filled(drift_pb2.ModelDrift(), words)))


def accuracy(words: str) -> str:
    """Of a model."""
    return "".join(accuracy_page.parts(filled(accuracy_pb2.ModelAccuracy(), words)))


def titled(words: str) -> str:
    """Whatever the page is of."""
    return report_page.document(words, ())


@pytest.mark.parametrize("made", [report, evidence, health, drift, accuracy, titled])
def test_a_page_has_the_same_elements_whatever_the_words(
    made: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No element, attribute or comment is of the words' making; they stand there, as text."""
    monkeypatch.setattr(report_page, "get_plotlyjs", lambda: "")
    plain, hostile = Elements(made("word")), Elements(made(WORDS))
    assert hostile.found == plain.found
    assert any("<img src=x onerror" in text for text in hostile.texts)
    assert not any("\x1b" in text or "\u202e" in text for text in hostile.texts)
