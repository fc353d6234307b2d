"""What the memory gave beside an ideal one: counted from what became of requests, judged against a limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadtest.errors import ScenarioError
from loadtest.sla import result
from loadtest.sla.records import Source
from loadtest.sla.remembered import Remembered, answer_bytes, remembered
from loadtest.sla.requests import Pool
from loadtest.sla.result import Left, made
from loadtest.sla.scenario import parse
from loadtest.sla.schedule import Span
from loadtest.sla.subject import Subject
from loadtest.sla.verdict import Grade, age_line, remembered_line
from tests.loadtest.sla.fakes import figures

TEXT = """
title = "It"
[server]
answers_mib = 4
[[mix]]
model = "m"
inputs = 10
[[phase]]
name = "learn"
arrivals = "constant"
rate = "10/s"
lasts = "2s"
measured = false
[[phase]]
name = "it"
arrivals = "constant"
rate = "10/s"
lasts = "2s"
[sla]
remembered = "90%"
age = "60s"
"""
SPANS = [Span("learn", 0.0, 2.0, False, 0, 20), Span("it", 2.0, 4.0, True, 20, 40)]
SOURCES = [Source("champion", "1"), Source("cached", "1"), Source("cached", "2")]
FOUND = Remembered(holds=10, learned=10_000, asked=5000, answered=1800, ideal=2000, oldest_ms=60_000)


def rows() -> list[dict[str, Any]]:
    """Twenty requests that are learned from, then two for each of ten inputs: the memory answers one of each of the
    first four, and both of the last."""
    learned = [{"due": each / 10, "done": each / 10, "key": each % 10, "age": -1} for each in range(20)]
    asked = []
    for each in range(20):
        key = each % 10
        cached = key == 9 or (key < 4 and each < 10)
        due = 2 + each / 10
        asked.append(
            {"due": due, "done": due, "key": key, "code": 0 if cached else 14, "source": 1 + each % 2 if cached else 0,
             "age": 1000 * each if cached else -1}
        )  # fmt: skip
    return [*learned, *asked]


def test_an_ideal_memory_holds_what_is_asked_most() -> None:
    """As many as go into its bytes, from the first request on: of the measured requests, those for the first inputs."""
    found = remembered(figures(rows(), sources=SOURCES), SPANS, memory_bytes=599, answer_bytes=100.0)
    assert found == Remembered(holds=5, learned=20, asked=20, answered=6, ideal=10, oldest_ms=19_000)
    assert found.share == 0.6


def test_one_that_does_not_say_its_age_is_noticed() -> None:
    """The age of the others says nothing of it."""
    told = rows()
    told[-1]["age"] = -1
    assert remembered(figures(told, sources=SOURCES), SPANS, 500, 100.0).oldest_ms is None


def test_a_share_is_kept_or_not() -> None:
    """Of too few requests, or where too few came before, nothing is concluded."""
    assert remembered_line(0.9, FOUND).grade is Grade.PASS
    assert remembered_line(0.901, FOUND).grade is Grade.FAIL
    assert "an ideal memory of 10 answers: 2000" in remembered_line(0.9, FOUND).why
    few = replace(FOUND, answered=9, ideal=10)
    assert (remembered_line(0.8, few).grade, remembered_line(0.8, few).kept) == (Grade.INCONCLUSIVE, True)
    early = remembered_line(0.95, replace(FOUND, learned=199))
    assert (early.grade, early.kept) == (Grade.INCONCLUSIVE, False)
    assert "199 requests came before, 200 are needed" in early.why
    for nothing in (None, replace(FOUND, ideal=0)):
        assert remembered_line(0.9, nothing).grade is Grade.INCONCLUSIVE


def test_an_answer_may_be_as_old_as_its_bound() -> None:
    """And not a millisecond older; one that does not say so has broken it."""
    assert age_line(60.0, FOUND).grade is Grade.PASS
    assert age_line(60.0, replace(FOUND, oldest_ms=60_001)).grade is Grade.FAIL
    assert age_line(60.0, replace(FOUND, oldest_ms=None)).grade is Grade.FAIL
    for nothing in (None, replace(FOUND, answered=0)):
        assert age_line(60.0, nothing).grade is Grade.INCONCLUSIVE


def left(**about: Any) -> Left:
    """A run against a server that the harness has started."""
    subject = Subject("127.0.0.1:1", "router, 2 workers", started_pid=1, http="127.0.0.1:1")
    scenario = parse(TEXT, "it.toml")
    given = Left(scenario, subject, SPANS, figures(rows(), sources=SOURCES), [], [], {}, 4.0, False, [], [], 1e6)
    return replace(given, **about)


def test_the_result_tells_of_the_memory() -> None:
    """Where its size and that of an answer are known; else the lines conclude nothing."""
    document = made(left())
    assert document["remembered"] == {
        "holds": 4, "learned": 20, "asked": 20, "answered": 6, "ideal": 8, "oldest_ms": 19_000, "share": 0.75,
    }  # fmt: skip
    lines = {line.name: line for line in result.lines(document)}
    assert (lines["remembered"].measured, lines["age"].measured) == ("75 %", "19.000 s")
    for unknown in (left(answer_bytes=None), left(subject=Subject("127.0.0.1:1", "another"))):
        document = made(unknown)
        assert document["remembered"] is None
        assert {line.grade for line in result.lines(document)} == {Grade.INCONCLUSIVE}


def test_the_size_of_an_answer_is_that_of_its_tensors() -> None:
    """On average; texts as they are long."""
    answers = [{"y": np.zeros((1, 4), np.float32)}, {"y": np.zeros(2, np.float32), "z": np.array(["ab", b"c"], object)}]
    assert answer_bytes(Pool([], {"1": answers})) == (16 + 8 + 3) / 2
    assert answer_bytes(Pool([], {})) is None


@pytest.mark.parametrize("without", ["answers_mib = 4", '[[mix]]\nmodel = "m"\ninputs = 10'])
def test_a_share_of_an_unknown_memory_is_refused(without: str) -> None:
    """Its size has to be given, and there has to be a single order of the inputs."""
    text = TEXT.replace(without, f"{without}\n{without}" if "mix" in without else "")
    with pytest.raises(ScenarioError, match=r"`sla\.remembered` needs `server\.answers_mib`"):
        parse(text, "it.toml")
