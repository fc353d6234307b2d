"""Which rule holds for a model, and whom it lets promote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import POLICY, PolicySettings
from router.core.access import Actor, Role
from router.core.importance import LEAST, MOST, Rule, level_of, rule_of
from router.errors import Denied, Refused


@pytest.mark.parametrize(
    ("declared", "configured", "level"),
    [
        ({}, {}, "low"),
        ({}, {"a": "high"}, "high"),
        ({"a": "moderate"}, {"a": "high"}, "moderate"),
        ({"a": "critical"}, {}, "critical"),
        ({"b": "critical"}, {"b": "high"}, "low"),
    ],
)
def test_what_was_declared_goes_before_what_is_configured(
    declared: dict[str, str], configured: dict[str, str], level: str
) -> None:
    """And a model that neither names is of low importance."""
    assert level_of("a", declared, configured) == level


def test_a_level_is_as_its_table_says_or_as_it_always_was() -> None:
    """One that nobody knows asks for as much as the highest."""
    mine = PolicySettings(approvals=3)
    assert rule_of("low", {"low": mine}) == Rule("low", mine, True)
    assert rule_of("high", {"low": mine}) == Rule("high", POLICY["high"], False)
    assert rule_of("vital", {"low": mine}) == Rule(MOST, POLICY[MOST], False)
    assert next(iter(POLICY)) == LEAST
    assert list(POLICY)[-1] == MOST


@pytest.mark.parametrize("who", list(Role))
@pytest.mark.parametrize("override", ["approver", "admin"])
@pytest.mark.parametrize("promote", ["operator", "approver", "admin"])
def test_who_may_promote(promote: str, override: str, who: Role) -> None:
    """From the role of `promote` on; against the gates from the higher one of both. The refusal has the line."""
    rule = Rule("high", PolicySettings.model_validate({"promote": promote, "override": override}), True)
    for against in (False, True):
        needed = max([Role[promote.upper()], *([Role[override.upper()]] if against else [])])
        if who >= needed:
            rule.permit(Actor("ada", who), "a", override=against)
            continue
        with pytest.raises(Denied, match=f"needs the role {needed.word}, and 'ada' is {who.word}: ") as error:
            rule.permit(Actor("ada", who), "a", override=against)
        key = "promote" if promote == needed.word else "override"
        assert str(error.value).endswith(f': [policy.high] {key} = "{needed.word}" in router.toml')


def test_a_rule_that_is_not_written_says_how_it_would_be() -> None:
    """So that whoever wants another knows the line."""
    with pytest.raises(Denied) as error:
        rule_of("critical", {}).permit(Actor("ada", Role.OPERATOR), "a")
    assert str(error.value) == (
        "a promotion of model 'a' needs the role approver, and 'ada' is operator:"
        ' [policy.critical] promote = "approver", which holds where router.toml has no other'
    )
    written = rule_of("high", {"high": PolicySettings(approvals=2)})
    assert written.place("approvals") == "[policy.high] approvals = 2 in router.toml"
    assert written.place("expires_s") == "[policy.high] expires_s = 86400 in router.toml"


@pytest.mark.parametrize("shares", [{}, {"2": 50.0}, {"2": 25.0, "3": 25.0}, {"2": 50.1}, {"2": 30.0, "3": 30.0}])
def test_challengers_are_no_back_door(shares: dict[str, float]) -> None:
    """Where others must agree, the champion keeps half of the requests; elsewhere it need not keep any."""
    rule_of("low", {}).check_shares("a", {**shares, "9": 40.0})
    if sum(shares.values()) <= 50:
        rule_of("high", {}).check_shares("a", shares)
        return
    with pytest.raises(
        Refused, match=r"% of its requests: beyond 50 % that is a promotion.*\[policy\.high\] approvals = 1"
    ):
        rule_of("high", {}).check_shares("a", shares)


@pytest.mark.parametrize(
    ("after", "may"),
    [
        ({"2": 60.0, "3": 20.0}, True),
        ({"2": 55.0}, True),
        ({"2": 20.0, "3": 30.0}, True),
        ({"2": 40.0, "3": 21.0}, False),
        ({"2": 60.0, "3": 20.0, "4": 0.1}, False),
        ({"4": 60.0}, False),
    ],
)
def test_what_challengers_had_before_may_stay_or_be_less(after: dict[str, float], may: bool) -> None:
    """As in a model that is more important by now: beyond half of the requests no share rises."""
    before, rule = {"2": 60.0, "3": 20.0}, rule_of("high", {})
    if may:
        rule.check_shares("a", after, before)
        return
    with pytest.raises(Refused, match="that is a promotion, to which others must agree"):
        rule.check_shares("a", after, before)


@given(st.text(), st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_every_model_has_a_rule(model: str, declared: dict[str, str], configured: dict[str, str]) -> None:
    """Whatever was stored or written."""
    assert rule_of(level_of(model, declared, configured), {}).level in POLICY
