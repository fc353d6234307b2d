"""`router cases`, `router approve` and `router reject`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from router.app.case_text import shown
from router.control.records import Case, Order
from router.core.standing import CaseKind
from router.edge.admin_cases import text
from router.pb.admin_pb2 import Case as Message
from tests.fake_admin import Served, served
from tests.rendering import rendered


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own, with a trial that has ended, a canary and a request."""
    with served() as made:
        house, order = made.lifecycle, Order("ada")
        house.ended(house.opened(CaseKind.TRIAL, "a", "2", order, text="too few [bold]samples[/]"), "undecided")
        house.opened(CaseKind.ROLLOUT, "a", "2", order)
        house.opened(CaseKind.REQUEST, "b", "1", order, strategy="swap", approvals=2, given=[{"actor": "eve"}])
        yield made


def test_cases_are_listed(service: Served) -> None:
    """All or some, newest first, with how each stands; words of others are text."""
    told = service.router("cases")
    assert told.exit_code == 0, told.output
    words = " ".join(told.output.replace("│", " ").split())
    assert [words.index(f" {kind} ") for kind in ("request", "canary", "trial")] == sorted(
        words.index(f" {kind} ") for kind in ("request", "canary", "trial")
    )
    for each in ("waits for", "1 of 2", "(eve)", "222222222222", "[bold]samples[/]", "ada", "open", "2023-11-1"):
        assert each in words


def test_cases_are_chosen(service: Served) -> None:
    """By model, version, kind, those under way, or so many."""

    def found(*words: str) -> list[int]:
        return [each["id"] for each in json.loads(service.router("cases", *words, "--json").output)["cases"]]

    assert found() == [3, 2, 1]
    assert found("--open") == [3, 2]
    assert found("a") == [2, 1]
    assert found("a:2", "--kind", "trial") == [1]
    assert found("a", "2", "--kind", "canary") == [2]
    assert found("--last", "1") == [3]
    assert service.router("cases", "a:1").output == "there have been no trials, canaries or requests\n"
    assert service.router("cases", "a:1", "--open").output == "nothing is under way\n"
    assert service.router("cases", "c").exit_code == 1
    assert service.router("cases", "--kind", "rollout").exit_code == 2


def test_a_request_is_approved(service: Served) -> None:
    """With the digest that was shown, or without; what became of it is told."""
    other = service.router("approve", "3", "--digest", "ab" * 32)
    assert (other.exit_code, other.output) == (1, "Error: request 3 is for files of another digest\n")
    told = service.router("approve", "3", "--digest", "1" * 64, "--reason", "looks well")
    assert (told.exit_code, told.output) == (0, "request 3 of b 1: approved\n")
    again = service.router("approve", "3")
    assert (again.exit_code, again.output) == (1, "Error: request 3 has ended: approved\n")


def test_an_approval_that_could_not_be_carried_out(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1: the champion is as it was."""

    async def refused(number: int, order: Order, digest: str = "") -> Case:  # noqa: ARG001
        house = service.lifecycle
        return house.ended(house.cases[number], "refused", outcome="it needs 3 GB, 2 GB are free")

    monkeypatch.setattr(service.lifecycle, "approve", refused)
    told = service.router("approve", "3")
    assert (told.exit_code, told.output) == (1, "request 3 of b 1: refused: it needs 3 GB, 2 GB are free\n")


def test_a_request_is_rejected(service: Served) -> None:
    """With a reason, which is needed."""
    without = service.router("reject", "3")
    assert (without.exit_code, "give --reason TEXT" in without.output) == (2, True)
    told = json.loads(service.router("reject", "3", "--reason", "not today", "--json").output)
    assert (told["id"], told["state"]) == (3, "rejected")


@pytest.mark.parametrize("words", [("approve",), ("approve", "0"), ("approve", "x"), ("approve", "3", "--digest", "z")])
def test_what_is_typed_wrong(service: Served, words: tuple[str, ...]) -> None:
    """Exit code 2, in one line."""
    wrong = service.router(*words)
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1), wrong.output
    assert service.router("approve", "9").output.startswith("Error: there is no request 9")


def test_the_figures_of_a_case() -> None:
    """Tables within tables in a line each; what is no table has no figures, long lists are left to JSON."""
    body = {"low": -0.5, "arms": {"champion": {"rows": 12}}, "steps": [5, 25], "on": True, "[red]": "\x1b[2J", "s": []}
    body |= {"long": list(range(99)), "deep": [{"a": 1}], "nothing": None}
    lines = rendered(*shown(Message(kind="rollout", id=4, model="m", version="2", text="50 %", body=json.dumps(body))))
    assert "canary 4 of m 2: 50 % (begun – by –)" in lines
    assert [" ".join(line.split()) for line in lines.splitlines()[1:]] == [
        "low -0.5",
        "arms, champion, rows 12",
        "steps 5, 25",
        "on yes",
        "[red] [2J",
    ]
    for broken in ("", "[1]", "nonsense"):
        assert len(list(shown(Message(body=broken)))) == 1


@pytest.mark.parametrize(
    ("kind", "state", "body", "said"),
    [
        ("request", "open", {}, "waits for approval: 0 approvals"),
        ("request", "open", {"given": "x", "approvals": "y"}, "waits for approval: 0 approvals"),
        (
            "request",
            "open",
            {"given": [{"actor": "eve"}, 3], "approvals": 2, "strategy": "canary", "override": True, "level": "high"},
            "waits for approval: 1 of 2 approvals (eve), to be promoted by canary, against its gates, importance high",
        ),
        ("request", "void", {"outcome": "the evidence\nhas changed"}, "void: the evidence has changed"),
        ("request", "approved", {}, "approved"),
        (
            "request",
            "approved",
            {"outcome": "approved by eve: canary 2 has begun"},
            "approved by eve: canary 2 has begun",
        ),
        ("trial", "open", {}, "under way"),
        ("trial", "won", {}, "won"),
        ("rollout", "undone", {}, "undone"),
    ],
)
def test_a_case_in_one_line(kind: str, state: str, body: dict[str, object], said: str) -> None:
    """Whatever its body lacks."""
    ended = 0.0 if state == "open" else 2.0
    assert text(Case(1, CaseKind(kind), "a", "2", "", "ada", 1.0, ended, state, body)) == said
