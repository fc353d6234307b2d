"""Servers: their command lines, a start that fails, and that nothing is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtest.errors import BenchError
from loadtest.measure import Bench
from loadtest.servers import Place, Server, ServerSpec, baseline, free_port, named, other, ours, started
from tests.fake_inference import FakeServer, serving


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Port 1234, models and scratch below tmp_path."""
    return Place(1234, tmp_path / "models", tmp_path)


def test_our_own_command(place: Place) -> None:
    """`router serve` with ports, workers and a state directory of its own."""
    ((program, *arguments),) = named("workers-1").commands(place)
    assert program == sys.executable
    assert arguments[:3] == ["-m", "router.app.cli", "serve"]
    flags = dict(zip(arguments[3::2], arguments[4::2], strict=True))
    assert flags["--grpc"] == "127.0.0.1:1234"
    assert flags["--workers"] == "1"
    assert flags["--models"] == str(place.models)
    assert flags["--state"].startswith(str(place.scratch))
    assert "--config" not in flags


def test_spinning_is_switched_off_by_a_settings_file(place: Place) -> None:
    """The table [server] of the file that --config names."""
    ((*_, flag, path),) = ours("quiet", 2, spin_us=0).commands(place)
    assert flag == "--config"
    assert Path(path).read_text() == "[server]\nspin_us = 0\n"


def test_its_admin_port_and_further_flags_can_be_chosen(place: Place) -> None:
    """For whoever acts on it while it is under load."""
    ((*words, last),) = ours("it", 1, admin=4321, flags=("--allow-faults",)).commands(place)
    assert words[words.index("--admin") + 1] == "127.0.0.1:4321"
    assert last == "--allow-faults"


def test_the_baseline_comes_as_one_or_two_processes(place: Place) -> None:
    """The same command, twice, on one port; both must listen."""
    assert len(baseline(1).commands(place)) == 1
    first, second = baseline(2).commands(place)
    assert first == second
    assert baseline(2).listeners == 2


def test_the_bare_loop_answers_rightly_and_leaves(tmp_path: Path) -> None:
    """The floor of the benchmark is a real server too: its answers are compared like everybody's."""
    bench = Bench.build(tmp_path, ("tiny", "large"))
    with bench.servers([named("bare-2")]) as (server,):
        for name in bench.names:
            bench.compare(server, name)


def test_any_other_server(place: Place) -> None:
    """{port} and {models} are filled in; quotes hold words together."""
    spec = other("mine=serve --at=:{port} '--models={models} here'")
    assert spec.name == "mine"
    assert spec.commands(place) == [["serve", "--at=:1234", f"--models={place.models} here"]]


@pytest.mark.parametrize("text", ["serve {port}", "=serve {port}", "mine=serve"])
def test_a_server_without_name_or_port_is_refused(text: str) -> None:
    """The message shows the form."""
    with pytest.raises(ValueError, match="NAME=COMMAND"):
        other(text)


@pytest.mark.parametrize("name", ["workers-0", "workers-x", "bare", "standby", ""])
def test_an_unknown_row_is_refused(name: str) -> None:
    """Rows are default, workers-N and bare-N."""
    with pytest.raises(ValueError, match="workers-N"):
        named(name)


def test_a_free_port_is_one_that_nobody_listens_on() -> None:
    """It can be bound without sharing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """The exit code and the end of what it printed."""
    spec = ServerSpec("broken", "broken", lambda _: [[sys.executable, "-c", "raise SystemExit('no such flag')"]])
    with pytest.raises(BenchError, match=r"(?s)ended with code 1.*no such flag"), started(spec, tmp_path, ("tiny",)):
        pass


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    """One line, no traceback."""
    spec = ServerSpec("absent", "absent", lambda _: [["/nonexistent/program"]])
    with pytest.raises(BenchError, match="absent: "), started(spec, tmp_path, ("tiny",)):
        pass


def test_a_model_that_is_not_ready_is_told_with_the_servers_words(tmp_path: Path) -> None:
    """Why it cannot be asked, instead of how the server's log ends."""
    with serving(FakeServer()) as target:
        server = Server(ServerSpec("it", "it", lambda _: []), int(target.rpartition(":")[2]), [], tmp_path / "log")
        with pytest.raises(BenchError) as raised:
            server.wait_ready(("echo", "gone"), within=0)
    assert str(raised.value) == "it: not ready within 0 s: gone (NOT_FOUND: no model 'gone')"


def test_a_server_does_not_hear_the_terminal(tmp_path: Path) -> None:
    """Ctrl-C goes to the group in the foreground: a server that it shot would look like one that failed."""
    with started(baseline(1), tmp_path, ()) as server:
        assert all(os.getpgid(pid) == pid for pid in server.pids)
        assert os.getpgid(0) not in server.pids


def test_a_process_is_found_by_what_it_runs(tmp_path: Path) -> None:
    """Among the processes of a server; one that is not there is told with the end of the log."""
    (tmp_path / "log").write_text("the end\n")
    command = [sys.executable, "-c", "input()", "router.app.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        server = Server(ServerSpec("it", "it", lambda _: []), 1, [process], tmp_path / "log")
        assert server.process("router.app.worker").pid == process.pid
        with pytest.raises(BenchError, match=r"^it: it has no router\.app\.controller\nthe end$"):
            server.process("router.app.controller")
        server.stop(patience=0)


def test_nothing_is_left_of_a_stopped_server(tmp_path: Path) -> None:
    """Not even a child that its parent forgot."""
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        server = Server(ServerSpec("it", "it", lambda _: []), 1, [process], tmp_path / "log")
        server.stop(patience=0)
        assert process.returncode is not None
    # A child of ours that is dead may still be waited for by the process that inherits it.
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
