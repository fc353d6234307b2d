"""The supervisor: real processes with fake children."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import router
from router.app.board import CONTROLLER, Board, Slot, warmup_slot, worker_slot
from router.app.supervisor import Child, commands_for, environment, roster
from router.app.watch import STILL_S

LAUNCHER = """
import subprocess, sys
from router.app import supervisor

fake = sys.argv[2]
if len(sys.argv) > 3:  # as a shell leaves its children to what it execs: one that has ended and nobody has reaped
    stranger = subprocess.Popen(["true"])
    print(stranger.pid, flush=True)
commands = lambda options: lambda child: [sys.executable, fake, str(options), str(child.slot), child.name]
sys.exit(supervisor.main([sys.argv[1]], commands))
"""

# What it does is written into files beside the board: `<name>.crash`, `.config`, `.stubborn`, `.mute`.
FAKE = """
import json, os, signal, sys
from pathlib import Path

options, slot, name = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), sys.argv[3]
state = Path(options["state"])
told = lambda word: (state / f"{name}.{word}").exists()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

from router.app.board import Phase
from router.app.child import EX_CONFIG, adopt

board, place = adopt(state, slot)
hang_up = lambda *_: (state / f"{name}.hung-up").touch()
if slot == 0:
    signal.signal(signal.SIGHUP, hang_up)
if told("config"):
    sys.exit(EX_CONFIG)
if not told("mute"):
    place.beat()
    place.phase = Phase.SERVING
while True:
    if told("crash"):
        sys.exit(3)
    if told("worn") and not place.worn:
        (state / f"{name}.worn").unlink()
        place.wear_out()
    if not told("mute"):
        place.beat()
    came = signal.sigtimedwait({signal.SIGTERM}, 0.02)
    # After SIGSTOP and SIGCONT CPython returns an empty record instead of None.
    if came and came.si_signo == signal.SIGTERM and not told("stubborn"):
        with (state / "left").open("a") as file:
            file.write(name + "\\n")
        sys.exit(0)
"""

BOUND_S = 20.0


Value = TypeVar("Value")


def eventually(what: Callable[[], Value]) -> Value:
    """The first true value of `what`; fails after BOUND_S."""
    until = time.monotonic() + BOUND_S
    while not (value := what()):
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.01)
    return value


def alive(pid: int) -> bool:
    """Whether the process runs or sleeps; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Server:
    """A supervisor with fake children in a directory of its own."""

    def __init__(self, folder: Path, **options: object) -> None:
        folder.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        self.options = {
            "grpc": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "workers": 2,
            "state": str(self.state),
            "grace_s": 0.5,
            "drain_delay_s": 0.0,
            "log_format": "console",
            **options,
        }
        (folder / "launcher.py").write_text(LAUNCHER)
        (folder / "fake.py").write_text(FAKE)
        (folder / "options.json").write_text(json.dumps(self.options))
        self._command = [sys.executable, *(str(folder / name) for name in ("launcher.py", "options.json", "fake.py"))]
        self._log = folder / "log"
        self._log.touch()
        self.process: subprocess.Popen[str]

    def tell(self, name: str, word: str) -> None:
        """Have the child `name` do as `word` says."""
        (self.state / f"{name}.{word}").touch()

    def start(self, *arguments: str) -> Server:
        """Started; the children may not serve yet."""
        with self._log.open("a") as log:
            self.process = subprocess.Popen([*self._command, *arguments], stderr=log, stdout=subprocess.PIPE, text=True)
        return self

    def up(self) -> Server:
        """Started, and all children serve."""
        earlier = self.log.count("ready after")
        self.start()
        eventually(lambda: self.log.count("ready after") > earlier)
        return self

    @property
    def log(self) -> str:
        """What the server has written to stderr."""
        return self._log.read_text()

    def slot(self, index: int) -> Slot:
        """The line of a child on the board."""
        return Board.open(self.state / "board").slot(index)

    def pids(self) -> list[int]:
        """Of the controller and the workers."""
        return [self.slot(index).pid for index in range(int(str(self.options["workers"])) + 1)]

    def note(self) -> dict[str, Any]:
        """What stands in `server.json`."""
        note: dict[str, Any] = json.loads((self.state / "server.json").read_text())
        return note

    def code(self) -> int:
        """The exit code, once the supervisor has left."""
        return self.process.wait(BOUND_S)

    def end(self) -> None:
        """Gone for good."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


Servers = Callable[..., Server]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Servers]:
    """Makes servers, each in a directory of its own, and ends them."""
    made: list[Server] = []

    def make(**options: object) -> Server:
        made.append(Server(tmp_path / str(len(made)), **options))
        return made[-1]

    yield make
    for one in made:
        if hasattr(one, "process"):
            one.end()


@pytest.fixture
def taken() -> Iterator[int]:
    """The number of a port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# ------------------------------------------------------------------------------------------------- watch and restart


def test_a_killed_worker_is_replaced_and_the_others_stay(server: Servers) -> None:
    """After kill -9 of one worker a new process beats in its slot, counted as a restart; nobody else is touched."""
    running = server().up()
    before = running.pids()
    os.kill(before[2], signal.SIGKILL)
    slot = running.slot(worker_slot(1))
    eventually(lambda: slot.pid not in {0, before[2]} and slot.serves)
    assert slot.restarts == 1
    assert running.pids()[:2] == before[:2]
    assert f"worker-1 (pid {before[2]}) was ended by SIGKILL; restart now" in running.log


def test_worn_out_workers_are_relieved_one_at_a_time(server: Servers) -> None:
    """The first drains and a fresh one serves, without blame; the second has to wait for its turn."""
    running = server().up()
    before = running.pids()
    for name in ("worker-0", "worker-1"):
        running.tell(name, "worn")
    slots = [running.slot(worker_slot(index)) for index in range(2)]
    eventually(lambda: any(slot.restarts == 1 and slot.serves for slot in slots))
    assert sorted(slot.restarts for slot in slots) == [0, 1]
    waiting = next(slot for slot in slots if not slot.restarts)
    eventually(lambda: waiting.worn)
    assert waiting.pid in before
    assert running.log.count("is worn out") == 1
    assert "restart" not in running.log


def test_the_warm_up_worker_runs_while_it_is_wanted(server: Servers) -> None:
    """The server is ready without it; it starts on demand, is not started again when it leaves unwanted, and its
    crashes end nothing."""
    running = server().up()
    slot = running.slot(warmup_slot(2))
    assert slot.pid == 0
    slot.wanted = True
    first = eventually(lambda: slot.serves and slot.pid)
    os.kill(first, signal.SIGKILL)
    second = eventually(lambda: slot.pid not in {0, first} and slot.serves and slot.pid)
    assert slot.restarts == 1
    slot.wanted = False
    os.kill(second, signal.SIGTERM)
    eventually(lambda: slot.pid == 0)
    assert f"warm-up (pid {first}) was ended by SIGKILL; restart now" in running.log
    assert f"warm-up (pid {second})" not in running.log
    running.tell("warm-up", "config")  # not even that is a reason to stop
    slot.wanted = True
    eventually(lambda: slot.restarts >= 3)
    assert running.slot(worker_slot(0)).serves
    running.process.terminate()
    assert running.code() == 0


def test_a_warm_up_worker_that_cannot_work_does_not_keep_the_server_from_starting(server: Servers) -> None:
    """Even if it is wanted before all are up."""
    starting = server()
    starting.tell("warm-up", "config")
    starting.tell("worker-0", "mute")
    starting.start()
    eventually(lambda: (starting.state / "board").exists() and starting.slot(CONTROLLER).serves)
    slot = starting.slot(warmup_slot(2))
    slot.wanted = True
    eventually(lambda: slot.restarts >= 2)
    assert starting.process.poll() is None


def test_a_killed_controller_is_replaced_and_the_generation_stays(server: Servers) -> None:
    """The generation word outlives the controller: workers serve on with the table they have."""
    running = server().up()
    board = Board.open(running.state / "board")
    board.generation = 12
    before = running.pids()
    os.kill(before[0], signal.SIGKILL)
    slot = board.slot(CONTROLLER)
    eventually(lambda: slot.pid not in {0, before[0]} and slot.serves)
    assert board.generation == 12
    assert running.pids()[1:] == before[1:]


def test_a_stopped_worker_is_killed_and_replaced(server: Servers) -> None:
    """A worker that stands still (SIGSTOP) is gone after about a second, and a new one serves."""
    running = server().up()
    stuck = running.slot(worker_slot(0)).pid
    os.kill(stuck, signal.SIGSTOP)
    began = time.monotonic()
    eventually(lambda: not alive(stuck))
    assert time.monotonic() - began >= STILL_S / 2, "killed before it can have stood still"
    slot = running.slot(worker_slot(0))
    eventually(lambda: slot.pid not in {0, stuck} and slot.serves)
    assert f"worker-0 (pid {stuck}) stood still for 1." in running.log


def test_a_stopped_supervisor_blames_nobody(server: Servers) -> None:
    """When the whole server stood still and goes on (a suspended machine, Ctrl-Z), no child is killed for it."""
    running = server().up()
    pids = running.pids()
    for pid in (running.process.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(STILL_S + 0.5)  # the time that must not count
    for pid in (running.process.pid, *pids):
        os.kill(pid, signal.SIGCONT)
    beats = [running.slot(index).beats for index in range(3)]
    eventually(lambda: all(running.slot(index).beats > beats[index] + 20 for index in range(3)))
    assert running.pids() == pids, running.log


def test_a_worker_that_crashes_again_and_again_is_restarted_ever_later(server: Servers) -> None:
    """A crash loop is slowed down (at once, 0.25 s, 0.5 s …), each death one line; it heals when the cause goes."""
    running = server()
    running.tell("worker-1", "crash")
    running.start()
    eventually(lambda: "ended with exit code 3; restart in 0.5 s" in running.log)
    assert running.log.index("code 3; restart now") < running.log.index("code 3; restart in 0.25 s")
    (running.state / "worker-1.crash").unlink()
    eventually(lambda: running.slot(worker_slot(1)).serves)
    eventually(lambda: "ready after" in running.log)


def test_json_lines_tell_a_death(server: Servers) -> None:
    """With the log format `json` every line is an object; a death names the child, how, and when it is restarted."""
    running = server(log_format="json").up()
    pid = running.slot(CONTROLLER).pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: "restart" in running.log)
    death = next(line for line in map(json.loads, running.log.splitlines()) if "how" in line)
    assert (death["child"], death["pid"], death["how"], death["restart_in_s"], death["level"]) == (
        "controller",
        pid,
        "was ended by SIGKILL",
        0,
        "error",
    )


def test_orphans_are_reaped(server: Servers) -> None:
    """A process that is our child by inheritance (as process 1, or by exec) does not stay as a zombie."""
    running = server().start("with a stranger")
    assert running.process.stdout
    stranger = int(running.process.stdout.readline())
    eventually(lambda: not Path(f"/proc/{stranger}").exists())


# ------------------------------------------------------------------------------------------------------------ the end


def test_no_child_outlives_a_killed_supervisor(server: Servers) -> None:
    """After kill -9 of the supervisor all children end, even a stopped one, and a new server takes their place."""
    running = server().up()
    pids = running.pids()
    os.kill(pids[1], signal.SIGSTOP)
    running.process.kill()
    running.process.wait()
    eventually(lambda: not any(map(alive, pids)))
    assert (running.state / "server.json").exists(), "nobody could remove it"
    running.up()
    assert running.note()["pid"] == running.process.pid


def test_sigterm_drains_workers_then_the_controller(server: Servers) -> None:
    """SIGTERM: workers leave first, the controller last; exit code 0, and the note of the server is gone."""
    running = server().up()
    pids = running.pids()
    running.process.terminate()
    assert running.code() == 0
    assert not any(map(alive, pids))
    left = (running.state / "left").read_text().split()
    assert (sorted(left[:2]), left[2:]) == (["worker-0", "worker-1"], ["controller"])
    assert not (running.state / "server.json").exists()
    assert "restart" not in running.log


def test_ctrl_c_is_a_drain_too(server: Servers) -> None:
    """SIGINT to the whole group, as a terminal sends it, drains: children leave it to the supervisor."""
    running = server().up()
    for pid in (*running.pids(), running.process.pid):
        os.kill(pid, signal.SIGINT)
    assert running.code() == 0
    assert len((running.state / "left").read_text().split()) == 3
    assert "Traceback" not in running.log


def test_a_worker_that_does_not_leave_is_killed(server: Servers) -> None:
    """Whoever ignores SIGTERM is killed when the time for calls in flight is over; the exit code is still 0."""
    running = server(grace_s=0.1)
    running.tell("worker-0", "stubborn")
    running.up()
    stubborn = running.slot(worker_slot(0)).pid
    running.process.terminate()
    assert running.code() == 0
    assert not alive(stubborn)
    assert "worker-0 did not leave within 2.1 s: killed" in running.log
    assert "worker-1 did not" not in running.log


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_drain(server: Servers, second: signal.Signals) -> None:
    """While it drains, a second SIGINT or SIGTERM kills all at once: exit code 128 + its number."""
    running = server(grace_s=3600.0)
    running.tell("worker-0", "stubborn")
    running.up()
    pids = running.pids()
    running.process.terminate()
    eventually(lambda: "stopping: SIGTERM" in running.log)
    running.process.send_signal(second)
    assert running.code() == 128 + second
    assert not any(map(alive, pids))
    assert not (running.state / "server.json").exists()


def test_sighup_reaches_the_controller(server: Servers) -> None:
    """SIGHUP is handed on to the controller and ends nobody."""
    running = server().up()
    pids = running.pids()
    running.process.send_signal(signal.SIGHUP)
    eventually((running.state / "controller.hung-up").exists)
    assert running.pids() == pids


def test_a_child_that_cannot_work_with_the_configuration_ends_the_start(server: Servers) -> None:
    """Exit code 78 while the server starts: everything is stopped, exit code 1, no restart."""
    running = server()
    running.tell("worker-1", "config")
    running.start()
    assert running.code() == 1
    assert "worker-1 cannot work with this configuration" in running.log
    assert "restart" not in running.log
    assert not (running.state / "server.json").exists()


def test_a_server_that_served_is_not_ended_by_one_child(server: Servers) -> None:
    """Exit code 78 of a child restarted later (a certificate gone since) costs that child, not the server."""
    running = server().up()
    others = running.pids()[:2]
    running.tell("worker-1", "config")
    os.kill(running.slot(worker_slot(1)).pid, signal.SIGKILL)
    eventually(lambda: "ended with exit code 78; restart in" in running.log)
    assert running.pids()[:2] == others
    assert running.process.poll() is None


def test_no_child_works_without_its_supervisor(tmp_path: Path) -> None:
    """A child started by somebody else than the maker of the board refuses to run."""
    script = "import sys, pathlib, router.app.child as c; c.adopt(pathlib.Path(sys.argv[1]), 0)"
    Board.create(tmp_path / "board", 1)  # our own child, and so allowed
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=BOUND_S).returncode == 0
    board = Board.open(tmp_path / "board")
    board.words[1] = 1
    refused = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=BOUND_S
    )
    assert refused.returncode == 1
    assert "router serve" in refused.stderr


# --------------------------------------------------------------------------------------------- directory and ports


def test_a_second_server_on_the_same_directory_is_refused(server: Servers) -> None:
    """One line with the pid that holds the directory and the mend, exit code 1; the first server is untouched."""
    running = server().up()
    note, pids, log = running.note(), running.pids(), running.log
    second = subprocess.run(running._command, capture_output=True, text=True, check=False, timeout=BOUND_S)
    assert second.returncode == 1
    assert second.stderr == (
        f"Error: state directory {running.state} belongs to a running server (pid {running.process.pid}); "
        "stop it or choose another with --state DIR\n"
    )
    assert (running.note(), running.pids(), running.log) == (note, pids, log)


@pytest.mark.parametrize("flag", ["grpc", "http", "admin"])
def test_a_taken_port_is_refused(server: Servers, taken: int, flag: str) -> None:
    """One line that names the port and the flag to choose another, exit code 1, no child."""
    refused = server(**{flag: f"127.0.0.1:{taken}"}).start()
    assert refused.code() == 1
    assert refused.log == (
        f"Error: port {taken} on 127.0.0.1 is taken by another program; "
        f"stop it or choose another with --{flag} HOST:PORT\n"
    )
    assert not (refused.state / "board").exists()


def test_a_second_server_on_the_same_port_is_refused(server: Servers) -> None:
    """The port of a running server is not shared with a stranger, even where none of its workers listens yet."""
    running = server().up()
    address = running.note()["grpc"]
    refused = server(grpc=address).start()
    assert refused.code() == 1
    assert f"port {address.rpartition(':')[2]} on 127.0.0.1 is taken" in refused.log


def test_port_0_gives_free_ports_that_children_hear_of(server: Servers) -> None:
    """The note and the children's options carry the numbers; workers share one port, the others can be listened on."""
    running = server().up()
    note = running.note()
    options = json.loads((running.state / "options.json").read_text())
    assert options == {**running.options, **{flag: note[flag] for flag in ("grpc", "http", "admin")}}
    assert (note["pid"], note["version"]) == (running.process.pid, "0.1.0")
    assert abs(note["started"] - time.time()) < 60
    ports = {flag: int(note[flag].rpartition(":")[2]) for flag in ("grpc", "http", "admin")}
    assert len(set(ports.values()) - {0}) == 3
    workers = [socket.socket() for _ in range(2)]
    for worker in workers:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        worker.bind(("127.0.0.1", ports["grpc"]))
        worker.listen()
    for flag in ("http", "admin"):
        workers.append(socket.create_server(("127.0.0.1", ports[flag])))
        socket.create_connection(("127.0.0.1", ports[flag]), 5).close()
    for _ in range(20):  # none of these may end at the supervisor, which never answers
        socket.create_connection(("127.0.0.1", ports["grpc"]), 5).close()
    for worker in workers:
        worker.close()


def test_children_are_the_controller_numbered_workers_and_the_warm_up_worker() -> None:
    """Each has a slot of its own and is started as a module of the package with the options' path."""
    children = roster(2)
    slots = [("controller", 0), ("worker-0", 1), ("worker-1", 2), ("warm-up", 3)]
    assert [(child.name, child.slot) for child in children] == slots
    assert [child.on_demand for child in children] == [False, False, False, True]
    command = commands_for(Path("o.json"))
    assert command(children[0])[-2:] == ["router.app.controller", "o.json"]
    assert command(children[3])[-2:] == ["router.app.warmup", "o.json"]
    assert command(Child("worker-1", 2, 1))[-4:] == ["router.app.worker", "o.json", "--index", "1"]


def test_the_supervisor_needs_the_standard_library_only() -> None:
    """Nothing else is imported into the process that must outlive all others, so that it stays small."""
    script = (
        "import sys, router.app.supervisor\n"
        "print({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'router', '__main__'})"
    )
    root = Path(router.__file__).parent.parent
    run = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=root, capture_output=True, text=True, check=True, timeout=BOUND_S
    )
    assert run.stdout == "set()\n"


def test_children_have_large_pages_unless_somebody_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else is tuned stays."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert environment()["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=4")
    assert environment()["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    assert environment()["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"
