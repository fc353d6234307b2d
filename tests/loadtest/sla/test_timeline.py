"""Actions at their instants, and what is told of them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import TypeAdapter

from loadtest.errors import BenchError
from loadtest.sla.actions import Action, FaultAction, ProcessAction, ShellAction
from loadtest.sla.admin_call import Done
from loadtest.sla.scenario import parse
from loadtest.sla.shell import run_shell
from loadtest.sla.subject import Subject
from loadtest.sla.timeline import Timeline, label, lane, perform
from router.app.board import CONTROLLER, Board
from router.client import InferenceError
from router.core.faults import Fault
from router.errors import RouterError
from tests.server import alive, eventually, pixels, running

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

    def do(action: Any, subject: Subject, _: threading.Event) -> str:
        assert subject is SUBJECT
        done.append(label(action))
        now[0] += 0.5
        if action.do == "kill":
            raise BenchError("no such\nprocess")
        return "fine"

    timeline = Timeline(parse(TEXT, "it.toml"), SUBJECT, lambda: now[0], do)
    timeline._start = 100.0
    for action in timeline._scheduled:
        now[0] = 100.0 + action.at
        timeline.do(action)
    assert done == ["kill worker-0", "shell second"]
    first, second = timeline.deeds
    assert (first.due, first.began, first.ended, first.ok, first.detail) == (3.0, 3.0, 3.5, False, "no such process")
    assert (second.ok, second.detail) == (True, "fine")


@pytest.mark.parametrize("error", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), KeyError(), RuntimeError("odd")])
def test_no_failure_ends_the_timeline(error: Exception) -> None:
    """Whatever it is, the action has failed and the next one is done."""

    def do(action: Any, *_: Any) -> str:
        if action.do == "kill":
            raise error
        return "fine"

    now = [100.0]
    timeline = Timeline(parse(TEXT, "it.toml"), SUBJECT, lambda: now[0], do)
    now[0] += 20
    timeline.begin(100.0)
    for thread in timeline._threads:
        thread.join()
    assert [(deed.ok, bool(deed.detail)) for deed in timeline.deeds] == [(False, True), (True, True)]


@pytest.mark.parametrize(("ended", "told"), [(9.5, ["kill worker-0", "shell second"]), (5.0, ["kill worker-0"])])
def test_what_was_due_and_was_not_done_is_told(ended: float, told: list[str]) -> None:
    """One action outlasts the run, the next never has its turn: both have failed. One whose time never came is none."""
    begun = threading.Event()

    def do(_: Any, __: Subject, abandoned: threading.Event) -> str:
        begun.set()
        abandoned.wait()
        raise BenchError("given up")

    now = [103.0]
    timeline = Timeline(parse(TEXT, "it.toml"), SUBJECT, lambda: now[0], do)
    timeline.begin(100.0)
    begun.wait()
    now[0] = 100.0 + ended
    timeline.end(patience=0.0)
    assert [deed.label for deed in timeline.deeds] == told
    assert not any(deed.ok for deed in timeline.deeds)
    assert timeline.deeds[0].detail == "given up"
    assert all(deed.detail.startswith("not done when the run ended") for deed in timeline.deeds[1:])


LANES = (
    TEXT.split("[[action]]", maxsplit=1)[0]
    + """
[[action]]
at = "1s"
do = "admin"
call = "WarmVersion"
request = { model = "a", version = "2" }
[[action]]
at = "2s"
do = "admin"
call = "Rollback"
request = { model = "a" }
[[action]]
at = "3s"
do = "admin"
call = "Rollback"
request = { model = "b" }
[[action]]
at = "4s"
do = "kill"
"""
)


def test_what_takes_long_delays_nothing_else() -> None:
    """Another model is swapped meanwhile; what is about the same model waits for its turn."""
    gate, others = threading.Event(), threading.Barrier(3)
    done: list[str] = []

    def do(action: Any, _: Subject, __: threading.Event) -> Done:
        done.append(label(action))
        if label(action) == "WarmVersion a":
            gate.wait()
        elif label(action) != "Rollback a":
            others.wait()
        return Done("fine", 7, {"n": 1.0})

    now = [120.0]
    timeline = Timeline(parse(LANES, "it.toml"), SUBJECT, lambda: now[0], do)
    timeline.begin(100.0)
    others.wait(10)
    assert sorted(done) == ["Rollback b", "WarmVersion a", "kill supervisor"]
    gate.set()
    for thread in timeline._threads:
        thread.join(10)
    assert done[-1] == "Rollback a"
    assert [deed.due for deed in sorted(timeline.deeds, key=lambda deed: deed.due)] == [1, 2, 3, 4]
    assert all((deed.generation, deed.figures) == (7, {"n": 1.0}) for deed in timeline.deeds)


@pytest.mark.parametrize(
    ("action", "about"),
    [
        ({"do": "kill", "what": "worker-0"}, "process worker-0"),
        ({"do": "hang_up"}, "process supervisor"),
        ({"do": "publish", "model": "a", "version": "2"}, "model a"),
        ({"do": "load", "model": "a"}, "model a"),
        ({"do": "fault", "model": "a"}, "model a"),
        ({"do": "admin", "call": "Promote", "request": {"model": "a"}}, "model a"),
        ({"do": "admin", "call": "GetStatus"}, "model "),
        ({"do": "shell", "command": "true"}, "shell true"),
    ],
)
def test_actions_about_the_same_wait_for_each_other(action: dict[str, Any], about: str) -> None:
    """A model's swaps, its faults and its loads; each command by itself."""
    made: Any = TypeAdapter(Action).validate_python({"at": "0s", **action})
    assert lane(made) == about


def test_a_timeline_that_never_began_ends() -> None:
    """A sender did not start: nothing was due."""
    timeline = Timeline(parse(TEXT, "it.toml"), SUBJECT)
    timeline.end()
    assert timeline.deeds == []


def shell(command: str, within: str = "30s") -> str:
    """What a command comes to."""
    action = ShellAction.model_validate({"at": "0s", "do": "shell", "command": command, "within": within})
    return perform(action, SUBJECT, threading.Event())


def test_a_command_knows_the_servers_addresses() -> None:
    """Its last line is told; a failing one fails, an endless one is ended."""
    assert shell("echo one; echo $TARGET") == "127.0.0.1:1"
    with pytest.raises(BenchError, match="exit code 3: no"):
        shell("echo no; exit 3")
    with pytest.raises(BenchError, match=r"did not end within 0.1 s"):
        shell("sleep 5", within="100ms")


def test_odd_bytes_of_a_command_are_told_as_well_as_can_be() -> None:
    """They need not be text."""
    assert shell(r"printf 'caf\351'") == "caf\ufffd"


def test_of_a_command_that_prints_without_end_little_is_kept() -> None:
    """The beginning and the end of a line that is too long, and how much there was between; of many lines the last."""
    line = "b" * 1000 + " … 98000 bytes cut … " + "e" * 1000
    long = "head -c 50000 /dev/zero | tr '\\0' b; head -c 50000 /dev/zero | tr '\\0' e"
    assert shell(long) == line
    with pytest.raises(BenchError) as raised:
        shell(f"({long}) >&2; exit 3")
    assert str(raised.value) == f"exit code 3: {line}"
    assert shell("seq 100000") == "100000"
    for words in ("yes", "exec >&- 2>&-; sleep 300"):
        with pytest.raises(BenchError, match="did not end"):
            shell(words, within="100ms")


def test_what_a_command_has_started_ends_with_it(tmp_path: Path) -> None:
    """A child that would outlive it, in the same session, is killed when the time is up."""
    with pytest.raises(BenchError, match="did not end"):
        shell(f"sleep 300 & echo $! > {tmp_path / 'pid'}; wait", within="300ms")
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(pid), "the child is still there")


def test_an_abandoned_command_is_killed() -> None:
    """The run is over."""
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(BenchError, match="the run ended first"):
        run_shell("sleep 300", {"PATH": "/usr/bin:/bin"}, 300.0, abandoned)


def test_a_controller_that_stands_still_can_be_continued(tmp_path: Path) -> None:
    """Its process id is on the server's board: nobody has to answer for it to be found."""
    board = Board.create(tmp_path / "board", 2)
    subject = Subject("127.0.0.1:1", "it", state=tmp_path, started_pid=os.getpid())
    with subprocess.Popen(["sleep", "300"]) as child:
        board.slot(CONTROLLER).occupy(child.pid, 0)
        state = psutil.Process(child.pid).status
        for word, what in (("stop", True), ("continue", False), ("kill", None)):
            action = ProcessAction.model_validate({"at": "0s", "do": word, "what": "controller"})
            assert perform(action, subject, threading.Event()) == f"process {child.pid}"
            if what is not None:
                eventually(lambda what=what: (state() == psutil.STATUS_STOPPED) is what)  # type: ignore[misc]
        assert child.wait() == -signal.SIGKILL
    assert subject.process("supervisor") == os.getpid()
    with pytest.raises(BenchError, match="no process 'worker-0' runs now"):
        subject.process("worker-0")


def test_a_model_is_made_to_fail_and_is_well_again(tmp_path: Path) -> None:
    """By the admin service of the server; what it refuses is told."""
    error = FaultAction(at="0s", do="fault", model="digits", faults=(Fault(kind="error"),))
    well = FaultAction(at="0s", do="fault", model="digits")
    assert (label(error), label(well)) == ("fault digits: error", "fault digits: none any more")
    with running(tmp_path, allow_faults=True) as server:
        subject = Subject(server.grpc, "it", admin=server.admin, started_pid=1)
        assert perform(error, subject, threading.Event()) == "in 1 of the workers"
        with pytest.raises(InferenceError, match="a fault was injected"):
            server.client().infer("digits", {"pixels": pixels()}, deadline=10)
        perform(well, subject, threading.Event())
        unknown = FaultAction(at="0s", do="fault", model="nothing")
        with pytest.raises(RouterError, match="unknown model 'nothing'"):
            perform(unknown, subject, threading.Event())
