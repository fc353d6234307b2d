"""Scenarios: what is possible is read, anything else is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import ScenarioError
from loadtest.sla.arrivals import pieces
from loadtest.sla.scenario import MOST_PER_SENDER, QUICK_SECONDS, Bursts, Closed, load, parse, shipped
from loadtest.sla.units import PartOf

GOOD = """
title = "It"
[[mix]]
model = "digits"
[[phase]]
name = "one"
arrivals = "constant"
rate = "10/s"
lasts = "2s"
"""


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_scenarios_are_good(name: str) -> None:
    """Each measures something, and its service level has a line."""
    scenario = load(name)
    assert any(phase.measured for phase in scenario.phase)
    assert scenario.sla.model_dump(exclude_none=True)
    assert scenario.quick().seconds <= QUICK_SECONDS + 1e-9


def test_the_scenarios_of_the_plan_are_shipped() -> None:
    """Twelve of them."""
    wanted = {
        "steady", "burst", "mixed", "overload", "slow_tail", "hang", "cached", "swap", "worker_kill", "worker_stop",
        "controller_kill", "failing",
    }  # fmt: skip
    assert wanted <= set(shipped())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('kind = "stall"', ["`action[0].faults[0]`", "the kind `stall` needs `ms`"]),
        ('kind = "nap"', ["`action[0].faults[0].kind` = 'nap'", "'hang'"]),
        ('kind = "nan", shre = 1', ["unknown key `action[0].faults[0].shre`", "did you mean `share`"]),
    ],
)
def test_a_bad_fault_is_told_before_any_load(fault: str, words: list[str]) -> None:
    """As in a model's own settings."""
    action = f"[[action]]\nat = '0s'\ndo = 'fault'\nmodel = 'm'\nfaults = [{{ {fault} }}]"
    with pytest.raises(ScenarioError) as error:
        parse(f"{GOOD}\n{action}", "it.toml")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("dedline = '1s'", ["unknown key `dedline`", "did you mean `deadline`"]),
        ("deadline = '1 second'", ["`deadline`", "250ms"]),
        ("deadline = 5", ["`deadline`", "250ms"]),
        ("connections = 0", ["`connections` = 0", "greater than or equal to 1"]),
        ("check = '200%'", ["`check`", "percentage"]),
        ("senders = 'two'", ["`senders`"]),
        ("look = '0s'", ["`look` = 0.0", "greater than or equal to 0.00002"]),
        ("look = '1s'", ["`look` = 1.0", "less than or equal to 0.01"]),
        ("seed = -1", ["`seed` = -1", "greater than or equal to 0"]),
        ("deadline = '601s'", ["`deadline`", "less than or equal to 600"]),
        (f"deadline = '{'9' * 400}s'", ["`deadline`", "finite"]),
    ],
)
def test_a_bad_key_is_named_with_the_mend(more: str, words: list[str]) -> None:
    """One line that says which key, and what it should be."""
    with pytest.raises(ScenarioError) as error:
        parse(f"{more}\n{GOOD}", "it.toml")
    text = str(error.value)
    assert text.startswith("it.toml: ")
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('rate = "10/s"', 'rate = "1000000/s"', ["phase 0 asks for 1000000/s", "senders"]),
        ('rate = "10/s"', "rate = 10", ["`phase[0]", "rate`", "500/s"]),
        ('rate = "10/s"', 'rate = "0/s"', ["rate`", "greater than 0"]),
        ('rate = "10/s"', 'rate = "0% of it"', ["rate`", "500/s", "80% of capacity"]),
        ('rate = "10/s"', 'rate = "50% of it"', ["'50% of it'", "one closed phase", "there are none"]),
        ('rate = "10/s"', 'rat = "10/s"', ["unknown key `phase[0].rat`: did you mean `rate`?"]),
        ('"constant"', '"sometimes"', ["'sometimes' is unknown", "'constant'", "'ramp'"]),
        ('arrivals = "constant"', "", ["`phase[0]", "needs `arrivals`"]),
        ('lasts = "2s"', 'lasts = "5h"', ["at most 14400"]),
        ('lasts = "2s"', "", ["lasts` is missing"]),
        ('"constant"\nrate = "10/s"', '"ramp"\nrate = "10/s"', ["to` is missing"]),
        ('[[mix]]\nmodel = "digits"', "", ["`mix` is missing"]),
        ('model = "digits"', 'model = "digits"\nkeys = "sometimes"', ["`mix[0].keys`"]),
        ('model = "digits"', 'model = "digits"\nweight = inf', ["`mix[0].weight` = inf", "finite"]),
        ('model = "digits"', 'model = "digits"\nweight = nan', ["`mix[0].weight` = nan", "finite"]),
        ('model = "digits"', 'model = "digits"\nweight = 1e308', ["`mix[0].weight` = 1e+308", "less than or equal"]),
        ('model = "digits"', 'model = "digits"\nskew = nan', ["`mix[0].skew` = nan", "finite"]),
        (
            'model = "digits"',
            'model = "digits"\nvalues = { pixels = [] }',
            ["`mix[0].values.pixels`", "at least 1 item"],
        ),
        ('model = "digits"', 'model = "digits"\nvalues = { pixels = [nan] }', ["`mix[0].values.pixels", "finite"]),
        ('model = "digits"', 'model = "digits"\nparameters = { a = nan }', ["`mix[0].parameters.a` = nan", "finite"]),
        ("[[phase]]", "[phases]", ["unknown key `phases`: did you mean `phase`?"]),
        ('title = "It"', "title = It", ["it.toml is not TOML"]),
    ],
)
def test_a_bad_phase_or_mix_is_named_with_the_mend(before: str, after: str, words: list[str]) -> None:
    """Also where it stands in a list."""
    assert before in GOOD
    with pytest.raises(ScenarioError) as error:
        parse(GOOD.replace(before, after), "it.toml")
    assert all(word in str(error.value) for word in words), str(error.value)


BURSTS = GOOD.replace('"constant"', '"bursts"\non = "10ms"\noff = "90ms"').replace('"2s"', '"200s"')


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('on = "10ms"', 'on = "999us"', ["phase[0].on` = 0.000998", "greater than or equal to 0.001"]),
        ('off = "90ms"', 'off = "0s"', ["phase[0].off` = 0.0", "greater than or equal to 0.001"]),
        (
            'on = "10ms"\noff = "90ms"\nrate = "10/s"\nlasts = "200s"',
            'on = "1ms"\noff = "1ms"\nrate = "10/s"\nlasts = "4h"',
            ["phase 0 has 7200000 bursts, at most 100000", "`on`"],
        ),
    ],
)
def test_bursts_are_bounded(before: str, after: str, words: list[str]) -> None:
    """Each is a piece of the plan, which is made before anything is sent."""
    assert before in BURSTS
    with pytest.raises(ScenarioError) as error:
        parse(BURSTS.replace(before, after), "it.toml")
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_quick_run_has_as_many_bursts() -> None:
    """They shrink with their phase: else a short run would be one burst and no quiet."""
    (whole,), (quick,) = parse(BURSTS, "it.toml").phase, parse(BURSTS, "it.toml").quick().phase
    assert isinstance(whole, Bursts)
    assert isinstance(quick, Bursts)
    assert (quick.on, quick.off) == (pytest.approx(0.001), pytest.approx(0.009))
    assert len(pieces(quick)) == pytest.approx(len(pieces(whole)), abs=1)


def test_an_action_after_the_end_is_refused() -> None:
    """It would never happen."""
    with pytest.raises(ScenarioError, match="action 0 is due at 9 s, the phases end at 2 s"):
        parse(GOOD + "[[action]]\nat = '9s'\ndo = 'kill'\nwhat = 'worker-0'", "it.toml")


def test_an_action_may_be_repeated() -> None:
    """Until an instant, or to the end; in a quick run as often. What cannot be is named."""
    actions = "[[action]]\nat = '2s'\nevery = '3s'\n{}\ndo = 'kill'\n[[action]]\nat = '4s'\ndo = 'hang_up'\n"
    again = GOOD.replace('"2s"', '"30s"') + actions
    scenario = parse(again.format("until = '9s'"), "it.toml")
    assert [(each.at, each.do) for each in scenario.timeline] == [(2, "kill"), (4, "hang_up"), (5, "kill"), (8, "kill")]
    assert [each.at for each in parse(again.format(""), "it.toml").timeline][-2:] == [26, 29]
    assert len(scenario.quick().timeline) == len(scenario.timeline)
    with pytest.raises(ScenarioError, match="`until` without `every`"):
        parse(again.format("").replace("every = '3s'", "until = '3s'"), "it.toml")
    with pytest.raises(ScenarioError, match="at most 2000 are: raise its `every`"):
        parse(again.format("").replace("3s", "1ms"), "it.toml")


TWO = (
    GOOD.replace('"2s"', '"20s"')
    + """
[[phase]]
name = "two"
arrivals = "constant"
rate = "10/s"
lasts = "30s"
against = "one"
at_most = 1.5
"""
)


def test_an_action_may_count_from_its_phase() -> None:
    """And ends with it: a phase that is made shorter takes its actions along. What cannot be is named."""
    action = "[[action]]\nphase = '{}'\nat = '{}'\nevery = '12s'\n{}do = 'kill'\n"
    assert [each.at for each in parse(TWO + action.format("two", "1s", ""), "it.toml").timeline] == [21, 33, 45]
    assert [each.at for each in parse(TWO + action.format("two", "1s", "until = '13s'\n"), "it.toml").timeline] == [21]
    shorter = parse(TWO + action.format("two", "1s", ""), "it.toml", ["phase.two.lasts=13s", "phase.one.lasts=5s"])
    assert [each.at for each in shorter.timeline] == [6]
    assert all(not each.phase for each in shorter.timeline)
    quick = parse(TWO + action.format("two", "1s", ""), "it.toml").quick()
    assert [each.at for each in quick.timeline] == pytest.approx([21 * 0.4, 33 * 0.4, 45 * 0.4])
    with pytest.raises(ScenarioError, match=r"action 0 has `phase` = 'three', which must name one: there are one, two"):
        parse(TWO + action.format("three", "1s", ""), "it.toml")
    with pytest.raises(ScenarioError, match="action 0 is due at 31 s, phase 'two' ends at 30 s"):
        parse(TWO + action.format("two", "31s", ""), "it.toml")
    twice = TWO.replace('"one"\narr', '"two"\narr').replace('against = "one"\nat_most = 1.5', "")
    with pytest.raises(ScenarioError, match="which must name one: there are two, two"):
        parse(twice + action.format("two", "1s", ""), "it.toml")


def test_a_phase_is_compared_with_one_that_is_there() -> None:
    """A limit needs one."""
    assert parse(TWO, "it.toml").phase[1].against == "one"
    with pytest.raises(ScenarioError, match="phase 1 has `against` = 'none': there are one, two"):
        parse(TWO.replace('against = "one"', 'against = "none"'), "it.toml")
    with pytest.raises(ScenarioError, match="phase 1 has `at_most` without `against`"):
        parse(TWO.replace('against = "one"', ""), "it.toml")


def test_limits_on_what_happens_name_models() -> None:
    """How many times the usual p99 that of a model may be."""
    assert parse(GOOD + "[sla]\nresident = '3%'\nafter = { m = 1.2 }", "it.toml").sla.after == {"m": 1.2}
    with pytest.raises(ScenarioError, match=r"`sla.after.m` = 0: input should be greater than 0"):
        parse(GOOD + "[sla]\nafter = { m = 0 }", "it.toml")


def test_an_unknown_action_is_refused() -> None:
    """The known ones are told."""
    with pytest.raises(ScenarioError, match="'explode' is unknown; one of 'kill'"):
        parse(GOOD + "[[action]]\nat = '1s'\ndo = 'explode'", "it.toml")


def test_a_name_that_is_not_shipped_is_refused(tmp_path: Path) -> None:
    """The nearest one is offered; a file that cannot be read says why."""
    with pytest.raises(ScenarioError, match="did you mean steady"):
        load("stedy")
    with pytest.raises(ScenarioError, match="No such file"):
        load(str(tmp_path / "absent.toml"))


def test_a_quick_run_keeps_the_shape() -> None:
    """Phases and actions shrink alike, rates stay."""
    scenario = load("worker_kill")
    quick = scenario.quick()
    assert quick.seconds == pytest.approx(QUICK_SECONDS)
    assert quick.action[0].at / quick.seconds == pytest.approx(scenario.action[0].at / scenario.seconds)
    assert [phase.rate for phase in quick.phase] == [phase.rate for phase in scenario.phase]  # type: ignore[union-attr]


PARTS = (
    GOOD.replace('"constant"\nrate = "10/s"', '"ramp"\nrate = "50% of all"\nto = "250% of all"')
    + """
[[phase]]
name = "all"
arrivals = "closed"
in_flight = 4
lasts = "8s"
measured = false
[[action]]
at = "1s"
do = "kill"
what = "worker-0"
[sla]
throughput = "90% of all"
"""
)


def test_a_quick_run_of_parts_is_no_longer() -> None:
    """What is run first counts."""
    quick = load("overload").quick()
    assert quick.load_seconds == pytest.approx(QUICK_SECONDS)
    assert quick.seconds < QUICK_SECONDS


def test_rates_may_be_parts_of_what_a_closed_phase_gives() -> None:
    """It is run by itself first, without actions; with what it shows the others have rates like any other."""
    scenario = parse(PARTS, "it.toml")
    assert scenario.parts == [PartOf(0.5, "all"), PartOf(2.5, "all"), PartOf(0.9, "all")]
    (alone,) = scenario.calibrating
    assert [(type(each), each.name, each.measured, each.lasts) for each in alone.phase] == [(Closed, "all", True, 8)]
    assert alone.action == ()
    assert not alone.parts  # a limit may be a part of a phase that is not run yet
    assert (scenario.seconds, scenario.load_seconds) == (10, 18)
    settled = scenario.settled({"all": 200.0})
    (piece,) = pieces(settled.phase[0])  # type: ignore[arg-type]
    assert (piece.first, piece.last) == (100, 500)
    assert settled.calibrating == []
    assert settled.action == scenario.action
    assert settled.phase[1] == scenario.phase[1]
    assert settled.sla == scenario.sla
    with pytest.raises(ScenarioError, match=r"phase 0 asks for 25000/s.*at most 20000/s"):
        scenario.settled({"all": MOST_PER_SENDER / 2})


def test_a_part_names_one_closed_phase() -> None:
    """Anything else says nothing of what the server can do; also where only a limit names it."""
    with pytest.raises(
        ScenarioError, match=r"'90% of one', which must be of one closed phase with a name of its own: there are all"
    ):
        parse(PARTS.replace("90% of all", "90% of one"), "it.toml")
    shared = PARTS.replace(
        "[[action]]", '[[phase]]\nname = "all"\narrivals = "constant"\nrate = "1/s"\nlasts = "1s"\n[[action]]'
    )
    with pytest.raises(ScenarioError, match="with a name of its own"):
        parse(shared, "it.toml")
    twice = PARTS.replace(
        "[[action]]", '[[phase]]\nname = "all"\narrivals = "closed"\nin_flight = 1\nlasts = "1s"\n[[action]]'
    )
    with pytest.raises(ScenarioError, match="there are all, all"):
        parse(twice, "it.toml")
    assert parse(GOOD + "[sla]\nthroughput = '5/s'", "it.toml").calibrating == []


def test_every_sender_has_a_caller() -> None:
    """One without would send as if nobody had to wait."""
    text = GOOD.replace('arrivals = "constant"\nrate = "10/s"', 'arrivals = "closed"\nin_flight = 1')
    with pytest.raises(ScenarioError, match="fewer than the 2 senders"):
        parse(f"senders = 2\n{text}", "it.toml")
