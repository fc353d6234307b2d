"""Servers at the same rates: what their runs are put together to."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtest.errors import ScenarioError
from loadtest.sla import latency as latencies
from loadtest.sla import page
from loadtest.sla.capacity import Bench
from loadtest.sla.latency import latency
from loadtest.sla.result import Document
from loadtest.sla.scenario import load
from loadtest.sla.subject import Subject
from tests.loadtest.sla.test_page import document


class Played(Bench):
    """A server whose results are given, one run after the other; after the last somebody presses Ctrl-C."""

    def __init__(self, title: str, *documents: Document) -> None:
        super().__init__(load("tiny"), Subject("", title), 1.0, ())
        self._documents = list(documents)

    def run(self, rate: float) -> Document:  # noqa: ARG002
        """The next result."""
        if not self._documents:
            raise KeyboardInterrupt
        return self._documents.pop(0)


def compared(checked: int, wrong: int = 0, unsent: int = 0, invalid: tuple[str, ...] = ()) -> Document:
    """A run in which so many answers were compared."""
    made = copy.deepcopy(document())
    made["measured"]["counts"] |= {"checked": checked, "wrong": wrong, "unsent": unsent}
    return {**made, "invalid": list(invalid)}


def measured(*benches: Bench, rounds: int = 1) -> dict[str, Any]:
    """What `latency` finds of servers whose reference does 100/s."""
    return latency(list(benches), 100.0, rounds, lambda _: None)


def shown(found: dict[str, Any]) -> str:
    """What a person sees."""
    console = Console(file=io.StringIO(), markup=False, width=120)
    latencies.show(console, found)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_became_of_all_requests_is_carried() -> None:
    """Compared, wrong and unsent ones add up; a run that says nothing is told with its reason."""
    late = "the sender was late"
    first = Played("one", compared(20, 1, 3), compared(20, 0, 4, (late,)), *[compared(5)] * 2)
    found = measured(first, Played("[two]", *[compared(0)] * 4), rounds=2)
    assert not found["interrupted"]
    one, two = found["rates"][0]["rows"]
    assert [one[name] for name in ("runs", "checked", "wrong", "unsent")] == [2, 40, 1, 7]
    assert one["invalid"] == [late]
    assert two["p50"] == pytest.approx(0.002, rel=0.1)
    assert latencies.invalid(found) == [f"one at 50/s: {late}"]
    text = shown(found)
    assert "1 of 40" in text
    assert f"not valid: one at 50/s: {late}" in text
    assert "[two]" in text


def test_where_nothing_was_compared_nothing_is_right(tmp_path: Path) -> None:
    """A dash instead of `0 wrong`, in the terminal and on the page."""
    found = measured(Played("it", *[compared(0)] * 2))
    assert [row[-1] for row in latencies.cells(found)] == ["–", "–"]
    page.write_latency(found, tmp_path / "page.html")
    assert "<td>–</td></tr>" in (tmp_path / "page.html").read_text()


def test_an_interrupt_keeps_what_was_measured(tmp_path: Path) -> None:
    """A server that was not reached yet has a row without figures."""
    found = measured(Played("one", compared(9)), Played("two"))
    assert found["interrupted"]
    one, two = found["rates"][0]["rows"]
    assert (one["runs"], one["checked"]) == (1, 9)
    assert (two["runs"], two["p99"]) == (0, None)
    assert "two" in shown(found)
    page.write_latency(found, tmp_path / "page.html")
    page.write_latency({"rates": []}, tmp_path / "page.html")


def test_a_rate_that_cannot_be_sent_is_told_before_any_is() -> None:
    """Also when only the second one is too high."""
    unasked = Played("it")
    with pytest.raises(ScenarioError, match="24000/s for 1 s cannot be sent"):
        latency([unasked], 30_000.0, 1, lambda _: None)
