"""`router promote` and `router rollback`: the story, the result, the exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from router.app import story
from router.app.promotion import told
from router.control.records import Case, Order
from router.core.standing import CaseKind
from router.errors import NotReady
from router.pb.admin_pb2 import Case as Message
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


def ends(service: Served, state: str, **body: object) -> None:
    """What was opened ends so as soon as somebody asks how it stands; an event is told on the way."""
    house, cases = service.lifecycle, service.database.cases

    def asked(model: str, number: str, kind: str, last: int) -> Sequence[Case]:
        service.database.cases = cases  # type: ignore[method-assign]
        going = next(each for each in house.cases.values() if each.open)

        def end() -> None:
            if state == "approved":
                house.opened(CaseKind.ROLLOUT, "a", "2", Order())
                ends(service, "finished")
            house.ended(going, state, **body)
            house.events.tell("rollout", "a", "2", "step 2 of 4: [bold]25 %[/]")

        service.loop.call_soon_threadsafe(end)
        return cases(model, number, kind, last)

    service.database.cases = asked  # type: ignore[assignment]


def test_a_canary_is_waited_for(service: Served) -> None:
    """What happens is told; then how it ended."""
    ends(service, "finished", text="version 2 is champion")
    done = service.router("promote", "a", "2", "--canary", "--wait")
    assert done.exit_code == 0, done.output
    first, event, last = done.output.splitlines()
    assert first.startswith("canary 1 of a 2: under way; `router canary a` shows how it goes")
    assert event.endswith(" s  a 2: step 2 of 4: [bold]25 %[/]")
    assert last == "canary 1 of a 2: version 2 is champion"


def test_a_canary_that_is_undone_has_an_exit_code(service: Served) -> None:
    """3, for programs too, which get the end alone."""
    ends(service, "undone", text="errors 5 %, those of version 1 0 %")
    done = service.router("promote", "a", "2", "--strategy", "canary", "--wait", "--json")
    assert done.exit_code == 3
    assert json.loads(done.output)["opened"]["text"] == "errors 5 %, those of version 1 0 %"


def test_a_promotion_that_waits_for_approval_says_so(service: Served) -> None:
    """With its number; one may wait for that, and then for the canary that was approved."""
    service.lifecycle.asks = {"a", "b"}
    asked = service.router("promote", "b", "1")
    assert (asked.exit_code, asked.output) == (
        0,
        "request 1 of b 1: waits for approval: 0 of 1 approval, to be promoted by swap; `router approve 1` agrees to"
        " it, the champion stays until then\n",
    )
    service.router("reject", "1", "--reason", "no")
    ends(service, "rejected", outcome="by eve")
    assert service.router("promote", "a", "2", "--wait").exit_code == 3
    ends(service, "approved")
    done = service.router("promote", "a", "2", "--canary", "--wait")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "canary 4 of a 2: finished")


def test_a_controller_that_begins_anew_is_waited_for(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while; what else is refused ends it at once."""
    monkeypatch.setattr(story, "POLL_S", 0.01)
    cases = service.database.cases

    def away(*_: object) -> Sequence[Case]:
        service.database.cases = cases  # type: ignore[method-assign]
        ends(service, "finished")
        raise NotReady("it has just started")

    service.database.cases = away  # type: ignore[method-assign]
    done = service.router("promote", "a", "2", "--canary", "--wait")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "canary 1 of a 2: finished"), done.output
    monkeypatch.setattr(story, "GONE_S", 0.0)
    service.database.cases = lambda *_: raised(NotReady("it has just started"))  # type: ignore[method-assign]
    gone = service.router("promote", "a", "2", "--canary", "--wait")
    assert (gone.exit_code, gone.output.splitlines()[-1]) == (1, "Error: it has just started")


def raised(error: Exception) -> Sequence[Case]:
    """No cases."""
    raise error


def test_what_one_waits_for_and_nobody_knows_any_more(service: Served) -> None:
    """Exit code 1."""
    service.database.cases = lambda *_: []  # type: ignore[method-assign]
    lost = service.router("promote", "a", "2", "--canary", "--wait")
    assert (lost.exit_code, "knows nothing of canary 1 of a 2 any more" in lost.output) == (1, True)


def test_a_rollback_that_undid_a_canary() -> None:
    """It says what was undone."""
    undone = Message(id=4, kind="rollout", model="m", version="2", ended_seconds=2, text="undone: rolled back by ada")
    assert told(Changed(model="m", champion="1", opened=undone)) == "canary 4 of m 2: undone: rolled back by ada"


@pytest.mark.parametrize(
    "words",
    [
        ("promote", "a"),
        ("promote", "a", "latest"),
        ("promote", "a", "2", "--expect", "x"),
        ("promote", "a", "2", "--strategy", "slow"),
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
