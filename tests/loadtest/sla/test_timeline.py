"""Actions at their instants, and what is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.errors import BenchError
from loadtest.sla.scenario import ShellAction, parse
from loadtest.sla.subject import Subject
from loadtest.sla.timeline import Timeline, label, perform

TEXT = """
title = "It"
[[mix]]
model = "digits"
[[phase]]
name = "it"
arrivals = "constant"
rate = "1/s"
lasts = "20s"
[[action]]
at = "9s"
do = "shell"
command = "second"
[[action]]
at = "3s"
do = "kill"
what = "worker-0"
"""
SUBJECT = Subject("127.0.0.1:1", "it", started_pid=1)


def test_actions_are_done_in_the_order_of_their_instants() -> None:
    """Each when its time has come; one that fails is told and does not stop the next."""
    now = [100.0]
    done: list[str] = []

    def do(action: Any, subject: Subject) -> str:
        assert subject is SUBJECT
        done.append(label(action))
        now[0] += 0.5
        if action.do == "kill":
            raise BenchError("no such\nprocess")
        return "fine"

    timeline = Timeline(parse(TEXT, "it.toml"), SUBJECT, 100.0, lambda: now[0], do)
    for action in timeline._actions:
        now[0] = 100.0 + action.at
        timeline.do(action)
    assert done == ["kill worker-0", "shell second"]
    first, second = timeline.deeds
    assert (first.due, first.began, first.ended, first.ok, first.detail) == (3.0, 3.0, 3.5, False, "no such process")
    assert (second.ok, second.detail) == (True, "fine")


def test_a_command_knows_the_servers_addresses() -> None:
    """Its last line is told; a failing one fails, an endless one is ended."""
    told = perform(ShellAction(at="0s", do="shell", command="echo one; echo $TARGET"), SUBJECT)
    assert told == "127.0.0.1:1"
    with pytest.raises(BenchError, match="exit code 3: no"):
        perform(ShellAction(at="0s", do="shell", command="echo no; exit 3"), SUBJECT)
    with pytest.raises(BenchError, match=r"did not end within 0.1 s"):
        perform(ShellAction(at="0s", do="shell", command="sleep 5", within="100ms"), SUBJECT)
