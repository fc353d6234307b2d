"""The stages of a version: what may follow what, and the drawing that is made of it."""

from __future__ import annotations

import itertools
import re

import pytest

from router.core.version import MOVES, SERVING, UNDER_TRIAL, Stage, check_move, drawing
from router.errors import Refused

TABLE = """
    found      loading
    loading    testing failed
    testing    ready warming failed
    warming    ready failed
    ready      champion challenger retired loading failed
    challenger champion ready failed
    champion   standby draining failed
    standby    champion draining failed
    draining   retired
    retired    loading
    failed     loading
"""
"""From, and all that may follow: by hand, beside the table of the program."""
LEGAL = {line.split()[0]: set(line.split()[1:]) for line in TABLE.strip().splitlines()}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Stage, Stage)))
def test_every_stage_against_every_stage(before: Stage, after: Stage) -> None:
    """What is in the table is allowed; all else is refused with what would be."""
    if after.value in LEGAL[before.value]:
        check_move("version 1 of model 'a'", before, after)
        return
    with pytest.raises(Refused) as refused:
        check_move("version 1 of model 'a'", before, after)
    said = str(refused.value)
    assert said.startswith(f"version 1 of model 'a' is {before} and cannot become {after}; from here it can become ")
    assert set(said.rpartition("become ")[2].split(", ")) == LEGAL[before.value]


def test_every_stage_can_be_reached_and_left() -> None:
    """From `found`, by any way: nothing is forgotten, and no version is stuck for good."""
    reached, waiting = {Stage.FOUND}, [Stage.FOUND]
    while waiting:
        at = waiting.pop()
        fresh = {after for before, after in MOVES if before is at} - reached
        reached |= fresh
        waiting += fresh
    assert reached == set(Stage)
    assert {before for before, _ in MOVES} == set(Stage)


def test_nothing_serves_that_was_not_tested() -> None:
    """Into the stages that answer the only ways lead from each other, and from trials that have been passed."""
    into = {before for before, after in MOVES if after in SERVING and before not in SERVING}
    assert into == {Stage.TESTING, Stage.WARMING}
    assert into < UNDER_TRIAL
    assert not UNDER_TRIAL & SERVING


def test_the_drawing_shows_every_move_once() -> None:
    """A state diagram in Mermaid's words; a label may not hold what ends one."""
    first, second, *lines = drawing().splitlines()
    assert first == "stateDiagram-v2"
    assert second == "    [*] --> found: seen in the repository"
    matched = [re.fullmatch(r"    (\w+) --> (\w+): ([^:;#\n]+)", line) for line in lines]
    assert all(matched), lines
    arrows = [(Stage(match[1]), Stage(match[2])) for match in matched if match]
    assert arrows == list(MOVES)
    assert len(set(arrows)) == len(arrows) == sum(len(each) for each in LEGAL.values())
