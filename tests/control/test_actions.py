"""The server does what the table of actions says: every action at every stage; and promotions by every role, for every
importance. What is refused changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.config import POLICY
from router.control import change
from router.control.challenge import Challenges
from router.control.change import Draft
from router.control.contests import Contests
from router.control.records import Case, Order, Swapped
from router.core.access import Actor, Role
from router.core.actions import PROMOTIONS, TERMS, Action, check_actor
from router.core.version import UNDER_TRIAL, Stage
from router.core.vitals import Vitals
from router.errors import Conflict, Denied, NotFound, Refused
from tests.control.canary_fakes import Canary
from tests.control.ledger_fakes import FakeLedger
from tests.control.lifecycle_fakes import House, champions, run, stage, started
from tests.control.test_approvals import Door

ADA = Order("ada", "for a reason")


async def at_stage(folder: Path, at: Stage, importance: str = "low") -> Door:
    """A server at which version 2 of model a stands there; version 1 is the champion, or was."""
    folder.mkdir(parents=True)
    house = House(folder, "a", "b")
    house.toml("a", "[ledger]\nenabled = true\n[trial]\nwithin = 0.5\n")
    lifecycle, (worker,) = await started(house, workers=1)
    made = Door(house, lifecycle, importance={"a": importance})
    house.put("a", 2)
    await lifecycle.refresh()
    house.warmth.set()
    if at is Stage.FOUND:
        return made
    await lifecycle.test("a", "2", ADA)
    if at in {Stage.CHAMPION, Stage.STANDBY, Stage.DRAINING}:
        await made.succession.promote("a", "2", ADA)
    if at in {Stage.STANDBY, Stage.DRAINING}:
        await made.succession.rollback("a", "", ADA)
    if at is Stage.DRAINING:
        worker.leases = asyncio.Event()  # somebody is still being answered by it
        await lifecycle.unload("a", "2", ADA)
    if at is Stage.CHALLENGER:
        await challenges(made).challenge("a", "2", ADA, shadow=True)
    if at is Stage.RETIRED:
        await lifecycle.unload("a", "2", ADA)
    if at is Stage.FAILED:
        house.failing["a/2"] = "too slow"
        await lifecycle.test("a", "2", ADA)
        house.failing.clear()
    if at in UNDER_TRIAL:  # as it is for a moment, while its trial runs
        draft, registry = Draft(), lifecycle._registry
        draft.put(replace(registry.records["a", "2"], stage=at))
        await lifecycle._turns.alone(lambda: lifecycle._changes.commit(draft))
    assert stage(lifecycle, "a", "2") == at
    return made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what drains."""
    monkeypatch.setattr(change, "DRAIN_S", 0.0)


def challenges(made: Door) -> Challenges:
    """Who challenges."""
    return Challenges(made.lifecycle._changes)


def contests(made: Door) -> Contests:
    """Trials, of which nothing has come true so far."""

    async def vitals() -> dict[tuple[str, str], Vitals]:
        return {}

    return Contests(made.lifecycle._changes, FakeLedger(), lambda *_: None, vitals, made.promote)


DO: dict[Action, Callable[[Door, str], Coroutine[Any, Any, Any]]] = {
    Action.TEST: lambda made, number: made.lifecycle.test("a", number, ADA),
    Action.WARM: lambda made, number: made.lifecycle.warm("a", number, ADA),
    Action.LOAD: lambda made, number: made.lifecycle.load("a", number, ADA),
    Action.UNLOAD: lambda made, number: made.lifecycle.unload("a", number, ADA),
    Action.PROMOTE: lambda made, number: made.promote("a", number, ADA),
    Action.OVERRIDE: lambda made, number: made.promote("a", number, ADA, override=True),
    Action.CANARY: lambda made, number: Canary(made.house, made.lifecycle).rollouts.begin("a", number, ADA),
    Action.ROLLBACK: lambda made, number: made.succession.rollback("a", number, ADA),
    Action.CHALLENGE: lambda made, number: challenges(made).challenge("a", number, ADA, share=5.0),
    Action.SPLIT: lambda made, number: challenges(made).split("a", {number: 5.0}, None, ADA),
    Action.WITHDRAW: lambda made, number: challenges(made).withdraw("a", number, ADA),
    Action.START_TRIAL: lambda made, number: contests(made).start("a", number, ADA),
    Action.ALIAS: lambda made, number: made.lifecycle.set_alias("a", "mine", number, ADA),
    Action.FREEZE: lambda made, _: made.lifecycle.freeze("a", True, ADA),
}
AFTER = {
    Action.TEST: "ready", Action.WARM: "ready", Action.PROMOTE: "champion", Action.OVERRIDE: "champion",
    Action.ROLLBACK: "champion", Action.CANARY: "challenger", Action.START_TRIAL: "challenger",
    Action.CHALLENGE: "challenger", Action.SPLIT: "challenger", Action.WITHDRAW: "ready",
}  # fmt: skip
"""Where the version stands when it is done."""


def state(made: Door) -> object:
    """All that must not have changed."""
    house, table = made.house, made.lifecycle.table
    return (
        dict(made.lifecycle._registry.records),
        dict(house.records),
        dict(house.every_case),
        len(house.entries),
        table,
    )


@pytest.mark.parametrize("at", list(Stage))
def test_every_action_at_every_stage(tmp_path: Path, at: Stage) -> None:
    """It is done where the table says so, and the version stands where it should; else there is one line."""

    async def test() -> None:
        refusing = await at_stage(tmp_path / "refusing", at)
        for action, do in DO.items():
            if at in TERMS[action].stages:
                made = await at_stage(tmp_path / action.name, at)
                await do(made, "2")
                after = AFTER.get(action)
                assert after is None or stage(made.lifecycle, "a", "2") == after, action
                continue
            was = state(refusing)
            with pytest.raises((Refused, Conflict)) as error:
                await do(refusing, "2")
            assert state(refusing) == was, (action, str(error.value))
            line = str(error.value)
            assert line.isprintable()
            assert "'a'" in line, action

    run(test())


@pytest.mark.parametrize("importance", list(POLICY))
@pytest.mark.parametrize("role", list(Role))
def test_promotions_by_every_role_for_every_importance(tmp_path: Path, importance: str, role: Role) -> None:
    """At once, or with others, or not at all: as the policy says. A refusal names its rule, and changes nothing."""

    async def test() -> None:
        order, rule = Order("eve", "it is better", role), POLICY[importance]
        refusing = await at_stage(tmp_path / "refusing", Stage.READY, importance)
        for action in sorted(PROMOTIONS):
            more = {"canary": action is Action.CANARY, "override": action is Action.OVERRIDE}
            try:
                check_actor(action, Actor("eve", role), refusing.consent.rule("a"), "a")
            except Denied:
                was = state(refusing)
                with pytest.raises(Denied) as error:
                    await refusing.promote("a", "2", order, **more)
                assert state(refusing) == was
                assert f"[policy.{importance}] " in str(error.value)
                continue
            made = await at_stage(tmp_path / action.name, Stage.READY, importance)
            came = await made.promote("a", "2", order, **more)
            assert isinstance(came, Swapped if not rule.approvals and action is not Action.CANARY else Case)
            if rule.approvals:
                assert not made.carried
                assert champions(made.lifecycle)["a"] == "1"
                for number in range(rule.approvals):
                    assert isinstance(came, Case)
                    with pytest.raises(Denied):
                        await made.approve(came.id, replace(order, role=Role.ADMIN))
                    with pytest.raises(Denied, match="needs the role approver, and 'ann' is operator"):
                        await made.approve(came.id, Order("ann", "", Role.OPERATOR))
                    await made.approve(came.id, Order(f"approver {number}", "", Role.APPROVER))
            assert len(made.carried) == 1
            answers = champions(made.lifecycle)["a"]
            assert answers == ("1" if action is Action.CANARY else "2")

    run(test())


@pytest.mark.parametrize("at", list(Stage))
@pytest.mark.parametrize("action", sorted(PROMOTIONS))
def test_nobody_is_asked_for_what_cannot_be(tmp_path: Path, action: Action, at: Stage) -> None:
    """A request is opened only where the version stands so that it could be promoted."""

    async def test() -> None:
        made = await at_stage(tmp_path / "a", at, "high")
        more = {"canary": action is Action.CANARY, "override": action is Action.OVERRIDE}
        if at in TERMS[action].stages:
            assert isinstance(await made.promote("a", "2", ADA, **more), Case)
            return
        was = state(made)
        with pytest.raises(Refused):
            await made.promote("a", "2", ADA, **more)
        assert state(made) == was

    run(test())


@pytest.mark.parametrize("action", [each for each in DO if each is not Action.FREEZE])
def test_a_version_that_nobody_knows(tmp_path: Path, action: Action) -> None:
    """It is told which there are, whatever is to be done with it."""

    async def test() -> None:
        made = await at_stage(tmp_path / "a", Stage.READY)
        was = state(made)
        with pytest.raises(NotFound, match=r"model 'a'.* has no version '9'; it has 2, 1"):
            await DO[action](made, "9")
        assert state(made) == was

    run(test())
