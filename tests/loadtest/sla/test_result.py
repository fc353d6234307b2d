"""From what a run leaves behind to a result, and to a file and back."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from loadtest.sla import live, page, result, told
from loadtest.sla.flips import Flip
from loadtest.sla.moves import Move
from loadtest.sla.result import Document, Left, made, verdict
from loadtest.sla.scenario import parse
from loadtest.sla.schedule import plan
from loadtest.sla.subject import Subject
from loadtest.sla.timeline import Deed
from tests.loadtest.sla.fakes import figures

TEXT = """
title = "Swaps"
deadline = "1s"
[[mix]]
model = "small"
[[mix]]
model = "large"
[[phase]]
name = "alone"
arrivals = "constant"
rate = "100/s"
lasts = "100s"
[[phase]]
name = "swaps"
arrivals = "constant"
rate = "100/s"
lasts = "100s"
against = "alone"
at_most = 1.1
[sla]
availability = "100%"
older_generation = 0
resident = "3%"
after = { small = 1.2 }
"""
SLOW_S = 0.05
AT = tuple(range(104, 200, 8))
"""When something was done, which took half a second to its flip."""


def left(slower: float = 1.0) -> Left:
    """A swap every eight seconds in the second of two phases, made by hand: small requests of the two seconds after
    each flip take `slower` times as long, and one large request is answered by the old table 50 ms after each."""
    scenario = parse(TEXT, "it.toml")
    random = np.random.default_rng(2)
    flips = np.array(AT) + 0.5
    rows: list[dict[str, Any]] = []
    for number in range(20_000):
        due = number / 100
        took = 0.004 * float(random.lognormal(0, 0.3))
        before = int((flips <= due).sum())
        if before and due < flips[before - 1] + 2 and number % 2 == 0:
            took *= slower
        rows.append({"due": due, "done": due + took, "kind": number % 2, "generation": before + 1, "marks": 0})
    for place, flip in enumerate(flips):
        rows.append({"due": flip - 0.001, "done": flip + SLOW_S, "kind": 1, "generation": place + 1})
    deeds = [Deed("Rollback large", at, at + 0.001, at + 0.6, True, "", place + 2) for place, at in enumerate(AT)]
    moves = [Move(at + more, "large", "1", stage) for at in AT for more, stage in ((0.5, "draining"), (0.7, "retired"))]
    seconds = list(range(200))
    held = [700_000_000 + (300_000_000 if second % 8 < 2 else 0) for second in seconds]
    resident = {
        "seconds": seconds, "bytes": {"worker-0": held, "controller": [None, *held[1:]]},
        "last_third": {"worker-0": 0.012, "controller": 0.3},
    }  # fmt: skip
    spans = plan(scenario, [1, 1]).spans
    subject = Subject("127.0.0.1:1", "router, 2 workers")
    return Left(scenario, subject, spans, figures(rows), deeds, moves, resident, 200.0, False, [], [])


@pytest.fixture(scope="module")
def document() -> Document:
    """A good one."""
    return made(left())


def test_the_table_of_swaps_is_in_the_result(document: Document) -> None:
    """What happened around flips and retirements, how long they took, phases side by side, and the lines on them."""
    alone, swaps = document["phases"]
    assert (alone["happenings"], alone["flips"]) == ([], {})
    assert [(each["what"], each["about"], each["times"]) for each in swaps["happenings"]] == [
        ("doing", "Rollback large", 12), ("flip", "Rollback large", 12), ("retirement", "large", 12),
    ]  # fmt: skip
    assert swaps["happenings"][2]["took"]["max"] == pytest.approx(0.2)
    went = swaps["flips"]["Rollback large"]
    assert went["count"] == 12
    assert went["told"]["max"] == pytest.approx(0.599)
    assert went["all"]["max"] == pytest.approx(0.5 - 0.001 + SLOW_S)
    assert 0.03 < went["handover"]["p50"] < SLOW_S
    assert swaps["against"]["models"]["0:small"]["ratio"] == pytest.approx(1, rel=0.1)
    assert [row["label"] for row in document["repeated"]] == ["Rollback large"]
    assert document["actions"] == []
    lines = {(line.name, line.why.partition(":")[0]): line for line in result.lines(document)}
    assert lines["small p99", "swaps, 2 s after flips by Rollback large"].measured.startswith("×")
    assert lines["small p99", "swaps, 2 s after retirements of large"].kept
    assert lines["large p99", "swaps against alone"].kept
    assert lines["resident", ""].measured == "1.2 %"


def test_slow_requests_after_flips_break_the_level() -> None:
    """Of the model that is named; here too few to be sure."""
    (line,) = [line for line in result.lines(made(left(2.0))) if "flips by" in line.why]
    assert not line.kept
    assert "are needed" in line.why


def test_without_a_flip_a_limit_on_flips_is_not_concluded() -> None:
    """Nor is one on memory of a server that is not ours: a run of which little is known does not pass."""
    quiet = replace(left(), deeds=[], moves=[], resident={})
    found = {line.name: line for line in result.lines(made(quiet)) if "against" not in line.why}
    assert (found["small p99"].measured, found["small p99"].why) == ("–", "after flips: nothing to compare")
    assert found["resident"].measured == "–"
    assert verdict(made(quiet))[0] == "INCONCLUSIVE"


PARTS = """
title = "Parts"
deadline = "100ms"
[[mix]]
model = "small"
[[phase]]
name = "all"
arrivals = "closed"
in_flight = 2
lasts = "1s"
measured = false
[[phase]]
name = "some"
arrivals = "constant"
rate = "50% of all"
lasts = "2s"
[sla]
throughput = "40% of all"
"""


@pytest.mark.parametrize(("late", "grade"), [(20, "PASS"), (21, "FAIL")])
def test_a_throughput_may_be_a_part_of_what_a_closed_phase_gave(late: int, grade: str) -> None:
    """In the same run; on either side what came after the deadline does not count."""
    scenario = parse(PARTS, "it.toml").settled({"all": 99.0})
    rows = [{"due": n / 120, "done": n / 120 + (0.2 if n < 20 else 0.01)} for n in range(120)]
    rows += [{"due": 1 + n / 50, "done": 1 + n / 50 + (0.2 if n < late else 0.01)} for n in range(100)]
    spans = plan(scenario, [1]).spans
    nothing: dict[str, Any] = {}
    subject = Subject("127.0.0.1:1", "router, 2 workers")
    document = made(Left(scenario, subject, spans, figures(rows, 0.1), [], [], nothing, 3.0, False, [], []))
    (line,) = result.lines(document)
    assert (line.limit, str(line.grade)) == ("≥ 40/s", grade)
    assert document["notes"] == ["throughput is a part of what phase 'all' was answered in time, 100/s"]
    assert document["scenario"]["phase"][1]["rate"] == 49.5
    assert document["scenario"]["sla"]["throughput"] == "40% of all"


def test_a_part_of_nothing_is_no_limit() -> None:
    """A server that answers nothing while it is measured does not set itself a bar that it keeps."""
    scenario = parse(PARTS, "it.toml").settled({"all": 99.0})
    rows = [{"due": 1 + n / 50, "done": 1 + n / 50 + 0.01} for n in range(100)]
    subject = Subject("127.0.0.1:1", "router, 2 workers")
    nothing: dict[str, Any] = {}
    left_behind = Left(
        scenario, subject, plan(scenario, [1]).spans, figures(rows, 0.1), [], [], nothing, 3.0, False, [], []
    )
    document = made(left_behind)
    assert verdict(document)[0] == "INVALID"
    assert document["invalid"] == ["phase 'all' had no answer in time, and `sla.throughput` is a part of it"]


def test_a_run_that_was_interrupted_early_has_a_result_too() -> None:
    """The second phase never came."""
    early = replace(left(), deeds=[], moves=[], end=50.0, interrupted=True)
    cut = made(replace(early, figures=early.figures.cut(0.0, 50.0)))
    assert verdict(cut)[0] == "INTERRUPTED"
    assert cut["phases"][1]["against"]["models"]["0:small"]["ratio"] is None
    assert told.lines(cut)


def test_a_result_is_written_with_a_line_for_a_row(document: Document, tmp_path: Path) -> None:
    """And read as it was."""
    path = tmp_path / "it.json"
    result.write(document, path)
    assert result.read(path)["phases"] == document["phases"]
    assert result.read(path)["seconds"] == document["seconds"]
    assert len(path.read_text().splitlines()) < 510


def test_neither_terminal_nor_page_drown_in_repeated_actions(document: Document) -> None:
    """A line for all of them, one for their flips, one for each thing that is compared."""
    out = io.StringIO()
    live.show(Console(file=out, width=80, markup=False), document)
    text = out.getvalue()
    assert text.count("Rollback large,") <= 4
    assert "swaps: Rollback large, 12 of 12 done in 599 ms" in text
    assert "swaps: 12 flips by Rollback large; p99 (and max): its answer after 599 ms (599 ms), the old table's" in text
    assert "swaps, 2 s after the flip, Rollback large (12 times): p99 of small" in text
    assert "swaps, against alone: p99 of large" in text
    assert "memory: worker-0 700 MB to 1000 MB (last third within 1.20%)" in text
    html = page.page([document])
    assert html.count("Resident memory") >= 1
    assert "<h2>Flips</h2>" in html
    assert html.count("12 of 12") == 1


def test_repeated_actions_that_failed_are_told(document: Document) -> None:
    """Some of them, in both."""
    failed = [{"at": 104.0, "detail": "no <such> standby"}]
    bad = {**document, "repeated": [{**document["repeated"][0], "ok": 11, "failures": failed}]}
    out = io.StringIO()
    live.show(Console(file=out, width=80, markup=False), bad)
    assert "104.0 s  Rollback large failed: no <such> standby" in out.getvalue()
    assert "104.0 s  Rollback large failed: no &lt;such&gt; standby" in page.page([bad])


def test_flips_are_found_in_what_was_answered() -> None:
    """The fixture is what it says that it is."""
    from loadtest.sla.flips import flips

    seen = flips(left().figures)
    assert len(seen) == len(AT)
    assert isinstance(seen[0], Flip)
    assert seen[0].last == pytest.approx(AT[0] + 0.5 + SLOW_S)
