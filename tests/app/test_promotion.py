"""`router promote` and `router rollback`: the story, the result, the exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from router.app.promotion import told
from router.pb.admin_pb2 import Changed
from tests.fake_admin import Served, served


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own."""
    with served() as made:
        yield made


def test_a_promotion_tells_its_story_and_the_way_back(service: Served) -> None:
    """Then a rollback without a version goes back to what stands by."""
    done = service.router("promote", "a", "2", "--reason", "better", "--expect", "1")
    assert done.exit_code == 0, done.output
    first, last = done.output.splitlines()
    assert first.endswith(" s  a 2: generation 8 serves")
    assert last == (
        "model 'a': version 2 is champion, before it 1 (generation 8, took 34 ms); version 1 stands by:"
        " `router rollback a` goes back to it"
    )
    back = service.router("rollback", "a")
    assert "version 1 is champion, before it 2 (generation 9" in back.output
    assert service.router("rollback", "a:2").exit_code == 0
    assert service.lifecycle.orders[0][1].reason == "better"


def test_programs_get_the_change_alone(service: Served) -> None:
    """As one JSON object."""
    changed = json.loads(service.router("promote", "a:2", "--json").output)
    assert (changed["generation"], changed["champion"], changed["standby"]) == (8, "2", "1")


def test_refusals_change_nothing(service: Served) -> None:
    """Exit code 1: not passed, frozen, somebody else was first, no standby."""
    for words, line in (
        (("promote", "a", "3"), "version 3 has not passed its gates"),
        (("promote", "a", "2", "--expect", "2"), "ada made version 1 champion of 'a' before: look again"),
        (("rollback", "a"), "model 'a' has no standby: name a version"),
        (("promote", "c", "2"), "unknown model 'c'"),
    ):
        refused = service.router(*words)
        assert (refused.exit_code, refused.output) == (1, f"Error: {line}\n")
    assert service.lifecycle.table.generation == 7


def test_an_override_needs_a_reason(service: Served) -> None:
    """Exit code 2 without one."""
    without = service.router("promote", "a", "3", "--override")
    assert without.exit_code == 2
    assert "--override needs --reason TEXT" in without.output
    assert service.router("promote", "a", "3", "--override", "--reason", "fire").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("promote", "a"),
        ("promote", "a", "latest"),
        ("promote", "a", "2", "--expect", "x"),
        ("promote", "a", "2", "--strategy", "canary"),
        ("promote", "a", "2", "--reason", "x\ny"),
        ("promote", "a", "02"),
        ("rollback",),
        ("rollback", "a", "champion"),
    ],
)
def test_what_is_typed_wrong(service: Served, words: tuple[str, ...]) -> None:
    """Exit code 2, in one line; roles and aliases may move, so a change of champion takes numbers."""
    wrong = service.router(*words)
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1), wrong.output
    assert service.lifecycle.orders == []


def test_a_first_champion_has_no_way_back() -> None:
    """Nothing stands by, and nothing was before."""
    line = told(Changed(generation=1, model="m", champion="1", took_ms=2.25))
    assert line == "model 'm': version 1 is champion (generation 1, took 2.25 ms)"
