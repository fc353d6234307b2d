"""`router trial` and `router canary`: what goes on for a while, and how it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from router.app.case_text import shown
from router.pb.admin_pb2 import Case
from tests.fake_admin import Served, served
from tests.rendering import rendered


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own, with a challenger."""
    with served() as made:
        made.router("challenge", "a", "2", "--shadow")
        yield made


def test_a_trial_begins_is_shown_and_stopped(service: Served) -> None:
    """A line says how to go on; without a version it is shown, also after its end."""
    begun = service.router("trial", "a", "2", "--reason", "better?")
    assert (begun.exit_code, begun.output) == (
        0,
        "trial 1 of a 2: under way; `router trial a` shows how it stands\n",
    )
    assert service.lifecycle.orders[-1][1].reason == "better?"
    case = service.lifecycle.cases[1]
    service.lifecycle.cases[1] = replace(case, body={"text": "version 2 leads", "rows": 812})
    shown = service.router("trial", "a")
    assert shown.exit_code == 0
    assert "trial 1 of a 2: version 2 leads (begun 2023-11-1" in shown.output
    assert "812" in shown.output
    assert json.loads(service.router("trial", "a", "--json").output)["id"] == 1
    stopped = service.router("trial", "a", "--stop")
    assert (stopped.exit_code, "ended 2023-11-1" in stopped.output) == (0, True)
    assert "ended 2023-11-1" in service.router("trial", "a").output
    again = service.router("trial", "a", "--stop")
    assert (again.exit_code, again.output) == (1, "Error: no trial of model 'a' is under way\n")


def test_where_there_was_none(service: Served) -> None:
    """The command that begins one is named."""
    for words, mend in (("trial", "`router trial b VERSION`"), ("canary", "`router promote b VERSION --canary`")):
        none = service.router(words, "b")
        assert (none.exit_code, mend in none.output) == (1, True)
        assert service.router(words, "c").output == "Error: unknown model 'c'\n"


def test_a_trial_that_cannot_be(service: Served) -> None:
    """Refused in the server's words; a role stands for a version."""
    refused = service.router("trial", "a:latest")
    assert refused.output == "Error: version 3 is no challenger: `router challenge a 3 --shadow` first\n"
    assert service.router("trial", "a:2", "--stop").exit_code == 2
    assert service.router("trial").exit_code == 2


def test_a_canary_is_shown_and_undone(service: Served) -> None:
    """As a promotion began it."""
    begun = service.router("promote", "a", "2", "--canary")
    assert begun.exit_code == 0, begun.output
    assert begun.output.splitlines()[-1] == (
        "canary 1 of a 2: under way; `router canary a` shows how it goes, with --stop it is undone"
    )
    assert "canary 1 of a 2: under way (begun" in service.router("canary", "a").output
    undone = service.router("canary", "a", "--stop", "--reason", "worse")
    assert (undone.exit_code, "canary 1 of a 2: stopped" in undone.output) == (0, True)
    assert service.lifecycle.orders[-1][1].reason == "worse"
    assert service.router("canary", "a", "--stop").exit_code == 1


def test_the_steps_of_a_canary_are_shown() -> None:
    """What callers had of the version, and beside it of the old champion; what ended it; nothing of steps that nobody
    can read."""
    sides = {
        "candidate": {"requests": 200, "failures": 10, "fallbacks": 0, "buckets": [0, 0, 0, 0, 190]},
        "control": {"requests": 3800, "failures": 0, "fallbacks": 38, "buckets": []},
    }
    found = [{"text": "errors are [bold]many[/]", "breach": True}, {"text": "p99 alike"}]
    step = {"step": 0, "share": 12.5, "seconds": 301.0, "findings": found, **sides}
    well = step | {"step": 1, "share": 25, "findings": found[1:], "candidate": {}, "control": {}}
    bad = [{}, 3, step | {"share": "x"}, step | {"control": {"requests": -1}}, step | {"findings": [1]}]
    body = {"steps": [step, well, *bad], "text": "undone"}
    lines = rendered(*shown(Case(kind="rollout", id=4, model="m", version="2", body=json.dumps(body)))).splitlines()
    first, second = [line for line in lines if "%" in line and "│" in line]
    assert [cell.strip() for cell in first.strip("│").split("│")] == [
        "1",
        "12.5 %",
        "301 s",
        "200 / 3800",
        "5 % / 0 %",
        "0 % / 1 %",
        "0.01402 / –",
        "errors are [bold]many[/]",
    ]
    assert [cell.strip() for cell in second.strip("│").split("│")][3:] == [
        "0 / 0",
        "– / –",
        "– / –",
        "– / –",
        "p99 alike",
    ]


TRIAL = {
    "champion": "1", "challenger": "2", "seconds": 7200.0, "trial": {"total": 12345},
    "settings": {"min_samples": 500, "max_seconds": 14400.0},
    "standing": {"rows": 412, "difference": 0.012, "low": -0.02, "high": 0.04},
}  # fmt: skip


@pytest.mark.parametrize(
    ("standing", "ended", "lines"),
    [
        ({}, 0, ["leads version 2", "waits for 500 rows that came true: 412 did so far"]),
        ({"rows": 612, "difference": -0.1}, 0, ["leads version 1", "waits for a difference that is sure, for 2 hours"]),
        ({"rows": 0, "difference": 0.0}, 0, ["leads nobody", "waits for 500 rows that came true: 0 did so far"]),
        ({}, 2, ["leads version 2"]),
    ],
)
def test_who_leads_a_trial_and_what_it_waits_for(standing: dict[str, float], ended: int, lines: list[str]) -> None:
    """What only the test itself needs is left to JSON."""
    body = {**TRIAL, "standing": {**TRIAL["standing"], **standing}}  # type: ignore[dict-item]
    case = Case(kind="trial", id=4, model="m", version="2", ended_seconds=ended, body=json.dumps(body))
    told = [" ".join(line.split()) for line in rendered(*shown(case)).splitlines()[1:]]
    assert [line.startswith(said) for line, said in zip(told, lines, strict=False)] == [True] * len(lines)
    assert any(line.startswith("waits for") for line in told) is not bool(ended)
    assert "12345" not in " ".join(told)
