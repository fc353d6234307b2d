"""Changes to a scenario from the command line."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.errors import ScenarioError
from loadtest.sla.changes import change
from loadtest.sla.scenario import load


def table() -> dict[str, Any]:
    """A scenario as TOML gives it."""
    return {
        "seed": 1,
        "mix": [{"model": "a"}, {"model": "b"}],
        "phase": [{"name": "warm-up", "rate": "1/s"}, {"name": "tail", "rate": "2/s"}],
        "server": {"settings": {"a": {"faults": [{"ms": 5}]}}, "flags": ["--x", "--y"]},
    }


@pytest.mark.parametrize(
    ("changes", "where", "value"),
    [
        (["seed=7"], ("seed",), 7),
        (["phase.tail.rate=300/s"], ("phase", 1, "rate"), "300/s"),
        (["phase.0.rate=300/s"], ("phase", 0, "rate"), "300/s"),
        (["mix.b.values.work=[15, 16]"], ("mix", 1, "values"), {"work": [15, 16]}),
        (["server.settings.a.faults.0.ms=7.5"], ("server", "settings", "a", "faults", 0, "ms"), 7.5),
        (["server.settings.a.hedge.enabled=false"], ("server", "settings", "a", "hedge"), {"enabled": False}),
        (["server.flags.1=--z"], ("server", "flags", 1), "--z"),
        (["server.settings.a.fallback={ chain = ['default'] }"], ("server", "settings", "a", "fallback"),
         {"chain": ["default"]}),
        (["title=a = b"], ("title",), "a = b"),
        (["seed=2", "seed=3"], ("seed",), 3),
    ],
)  # fmt: skip
def test_a_change_goes_where_its_key_says(changes: list[str], where: tuple[str | int, ...], value: object) -> None:
    """Entries of lists by name or number; what is no TOML is a text; the last one counts."""
    found: Any = table()
    change(found, changes)
    for part in where:
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("change_", "words"),
    [
        ("seed", ["--set seed", "phase.tail.rate=300/s"]),
        ("=1", ["--set =1"]),
        ("phase..rate=1", ["--set phase..rate=1"]),
        ("phase.tale.rate=1", ["there is no 'tale'", "warm-up, tail"]),
        ("phase.2.rate=1", ["there is no '2'"]),
        ("seed.x=1", ["before 'x' is a single value"]),
        ("seed.x.y=1", ["before 'y' is a single value"]),
    ],
)
def test_a_change_that_fits_nowhere_is_told(change_: str, words: list[str]) -> None:
    """In one line."""
    with pytest.raises(ScenarioError) as error:
        change(table(), [change_])
    for word in words:
        assert word in str(error.value)


def test_a_shipped_scenario_is_changed_and_checked_as_a_whole() -> None:
    """As if the file had said so."""
    assert load("slow_tail", ["deadline=2s"]).deadline == 2.0
    with pytest.raises(ScenarioError, match=r"unknown key `dedline`: did you mean `deadline`"):
        load("slow_tail", ["dedline=2s"])
