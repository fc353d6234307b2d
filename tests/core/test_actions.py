"""Every action at every stage of a version, by every role, for every importance: as the policy says, or a line why not.

What is expected stands here, in its own words; that the server does the same, in tests/control/test_actions.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from router.config import POLICY, PolicySettings
from router.core.access import NOBODY, Actor, Caller, Register, Role
from router.core.actions import PROMOTIONS, TERMS, Action, check_actor, check_stage
from router.core.importance import rule_of
from router.core.version import MOVES, Stage
from router.errors import Denied, Refused, Unauthenticated

ROLES = ("none", "viewer", "operator", "approver", "admin")
ALL = "found loading testing warming ready champion challenger standby draining retired failed"
EXPECTED: Mapping[str, tuple[str, str]] = {
    "test": ("operator", "found ready retired failed"),
    "warm": ("operator", "found ready retired failed"),
    "load": ("operator", "found ready champion challenger standby retired failed"),
    "unload": ("operator", "ready challenger standby"),
    "promote": ("by importance", "ready challenger standby"),
    "promote by canary": ("by importance", "ready challenger"),
    "promote against the gates": ("by importance", "found ready challenger standby retired failed"),
    "rollback": ("operator", "ready challenger standby retired failed"),
    "challenge": ("operator", "ready challenger"),
    "split": ("operator", "challenger"),
    "withdraw": ("operator", "challenger"),
    "start a trial": ("operator", "challenger"),
    "stop a trial": ("operator", ALL),
    "stop a rollout": ("operator", ALL),
    "approve": ("approver", ALL),
    "reject": ("operator", ALL),
    "alias": ("operator", ALL),
    "freeze": ("operator", ALL),
    "apply": ("operator", ALL),
}
"""The role that it takes, and the stages at which it can be done."""
PROMOTES: Mapping[str, tuple[str, str]] = {
    "low": ("operator", "approver"),
    "moderate": ("operator", "approver"),
    "high": ("operator", "approver"),
    "critical": ("approver", "admin"),
}
"""The role that a promotion takes, and one against the gates; nothing is written in router.toml."""


def expected_role(action: Action, importance: str) -> str:
    """The lowest that may."""
    role = EXPECTED[action][0]
    if role != "by importance":
        return role
    return PROMOTES[importance][action is Action.OVERRIDE]


def said(action: Action, role: str, importance: str, stage: Stage) -> str:
    """What somebody of this role is told; empty where it is done."""
    register = (
        Register({"t": Actor("ada", Role[role.upper()])}) if role != "none" else Register({"x": Actor("x", Role(4))})
    )
    try:
        who = register.actor(Caller("t") if role != "none" else NOBODY, TERMS[action].method)
        check_actor(action, who, rule_of(importance, {}), "digits")
        check_stage(action, "digits", "2", stage)
    except (Unauthenticated, Denied, Refused) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_the_table_is_whole() -> None:
    """Every action stands in it, and every stage, role and importance that there is."""
    assert {str(action) for action in Action} == set(EXPECTED) == {str(action) for action in TERMS}
    assert set(ALL.split()) == {str(stage) for stage in Stage}
    assert ROLES[1:] == tuple(role.word for role in Role)
    assert set(PROMOTES) == set(POLICY)


@pytest.mark.parametrize("action", list(Action))
def test_every_action(action: Action) -> None:
    """At every stage, by every role, for every importance."""
    for importance in POLICY:
        needed = expected_role(action, importance)
        for role in ROLES:
            for stage in Stage:
                line = said(action, role, importance, stage)
                may, can = ROLES.index(role) >= ROLES.index(needed), stage in EXPECTED[action][1].split()
                assert (line == "") is (may and can), (importance, role, stage, line)
                assert line.isprintable()
                if role == "none":
                    assert line.startswith("Unauthenticated: ")
                    lowest = "operator" if action in PROMOTIONS else needed  # whose importance is seen later
                    assert f"{TERMS[action].method} needs the role {lowest}: send `authorization: " in line
                elif not may:
                    assert line.startswith("Denied: ")
                    assert f" needs the role {needed}, and 'ada' is {role}" in line
                    assert (f"[policy.{importance}] " in line) is (action in PROMOTIONS), "the rule and its place"
                elif not can:
                    assert line.startswith("Refused: version 2 of model 'digits' is ")


@pytest.mark.parametrize(
    ("action", "stage", "line"),
    [
        (Action.PROMOTE, Stage.CHAMPION, "version 2 of model 'digits' is its champion already"),
        (Action.PROMOTE, Stage.TESTING, "is testing: wait for its verdict (`router watch digits`)"),
        (Action.CANARY, Stage.DRAINING, "version 2 of model 'digits' is draining: try again in a moment"),
        (Action.CANARY, Stage.STANDBY, "is standby: to promote by canary it must be ready, challenger"),
        (Action.SPLIT, Stage.READY, "version 2 of model 'digits' is ready: to split it must be challenger"),
    ],
)
def test_what_cannot_be_done_now_says_when_it_can(action: Action, stage: Stage, line: str) -> None:
    """The stage that it is at, and the stages at which it could be."""
    with pytest.raises(Refused) as refused:
        check_stage(action, "digits", "2", stage)
    assert line in str(refused.value)


def test_an_action_that_moves_a_version_has_its_move() -> None:
    """What becomes champion, challenger or is tried can go there by the table of moves."""
    for action, after in (
        (Action.TEST, Stage.LOADING),
        (Action.WITHDRAW, Stage.READY),
        (Action.CHALLENGE, Stage.CHALLENGER),
        (Action.CANARY, Stage.CHALLENGER),
        (Action.PROMOTE, Stage.CHAMPION),
    ):
        for stage in TERMS[action].stages - {after}:
            assert (stage, after) in MOVES, (action, stage)


def test_a_written_policy_is_the_rule() -> None:
    """Whatever stands in router.toml, every role is let through from that of its line on."""
    for promote in ("operator", "approver", "admin"):
        policy = {"low": PolicySettings.model_validate({"promote": promote})}
        for role in Role:
            rule = rule_of("low", policy)
            if role >= Role[promote.upper()]:
                check_actor(Action.CANARY, Actor("ada", role), rule, "digits")
                continue
            line = rf"\[policy\.low\] promote = \"{promote}\" in router\.toml$"
            with pytest.raises(Denied, match=line):
                check_actor(Action.CANARY, Actor("ada", role), rule, "digits")
