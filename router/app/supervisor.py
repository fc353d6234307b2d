"""The supervisor: what `router serve` becomes. `python -m router.app.supervisor OPTIONS.json`.

It owns the state directory (`state`) and the ports (`ports`), starts the controller and the workers, watches their
beats (`watch`), restarts what dies, kills what stands still, and takes everything down in order. It answers no
request, imports nothing but the standard library and its own few modules, and has one thread: the kernel ties the
life of a child to the thread that started it. OPTIONS.json holds validated `ServerSettings`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router import __version__
from router.app.board import CONTROLLER, Board, Slot, warmup_slot, worker_slot
from router.app.child import EX_CONFIG
from router.app.crashes import Crashes
from router.app.ports import claim_ports
from router.app.refusal import Refused
from router.app.state import owned, usable, write
from router.app.watch import NICED_STILL_S, STILL_S, Watch

TICK_S = 0.1
LEAVE_S = 2.0
"""What a child may need to leave, beyond the time for calls in flight."""
RELIEF_S = 10.0
"""Workers that are worn out are relieved one at a time, so long after the last: the others carry its load."""
TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
PORT_PATIENCE_S = 5.0
"""How long the workers of a server that was killed may take to give up its ports."""


class Log:
    """One line per event on stderr: for people, or JSON."""

    def __init__(self, log_format: str) -> None:
        self._json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())

    def line(self, level: str, event: str, **facts: object) -> None:
        """Write one line. A reader of stderr that has gone is no reason to stop serving."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        if self._json:
            text = json.dumps({"timestamp": stamp, "level": level, "event": event, "process": "supervisor", **facts})
        else:
            text = f"{stamp} [{level:<7}] supervisor: {event}"
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())  # one write: lines of several processes do not mix


@dataclass(frozen=True, slots=True)
class Child:
    """One process of the server. `index` is a worker's number, None for the others.

    `on_demand`: it runs only while its slot says that it is wanted, and the server is whole without it.
    """

    name: str
    slot: int
    index: int | None
    on_demand: bool = False


def roster(workers: int) -> list[Child]:
    """The controller, the workers, and the warm-up worker."""
    return [
        Child("controller", CONTROLLER, None),
        *(Child(f"worker-{index}", worker_slot(index), index) for index in range(workers)),
        Child("warm-up", warmup_slot(workers), None, on_demand=True),
    ]


def commands_for(options: Path) -> Callable[[Child], list[str]]:
    """The command line of each child."""
    python = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m"]

    def command(child: Child) -> list[str]:
        if child.index is None:
            return [*python, "router.app.warmup" if child.on_demand else "router.app.controller", str(options)]
        return [*python, "router.app.worker", str(options), "--index", str(child.index)]

    return command


def environment() -> dict[str, str]:
    """That of a child. Large blocks of memory are of large pages, where the C library knows how (glibc, 2.35 on).

    A session gives its weights back while it holds the interpreter: with small pages 300 MB took 20 ms, now 1 ms.
    """
    tunables = [each for each in os.environ.get(TUNABLES, "").split(":") if each]
    if not any(each.startswith(LARGE_PAGES.partition("=")[0]) for each in tunables):
        tunables.append(LARGE_PAGES)
    return {**os.environ, TUNABLES: ":".join(tunables)}


class _Ward:
    """A child, the process that stands in for it now, and what we know of it."""

    __slots__ = ("child", "due", "killed", "process", "relieved", "restarts", "seen_serving", "slot", "watch")

    def __init__(self, child: Child, slot: Slot) -> None:
        self.child = child
        self.slot = slot
        self.watch = Watch(NICED_STILL_S if child.on_demand else STILL_S)
        self.process: subprocess.Popen[bytes] | None = None
        self.due = 0.0  # monotonic seconds of the next start, while there is no process
        self.restarts = 0
        self.killed = False  # this process has been killed and is not yet reaped
        self.relieved = False  # this process was told to leave for a fresh one
        self.seen_serving = False


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


class Supervisor:
    """The children of one server, from the first start to the last exit."""

    def __init__(
        self,
        wards: list[_Ward],
        command: Callable[[Child], list[str]],
        drain_s: float,
        log: Log,
        signals: _Signals,
        crashes: Crashes,
    ) -> None:
        self._wards = wards
        self._command = command
        self._drain_s = drain_s
        self._log = log
        self._signals = signals
        self._crashes = crashes
        self._up = (
            False  # every child but those on demand has served: from now on nothing but a signal stops the server
        )
        self._draining = False
        self._next_relief = 0.0  # monotonic seconds

    def run(self) -> int:
        """Start, watch, restart, until a signal or a child that cannot work ends it. Returns the exit code."""
        began = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                self._start_due(now)
                self._signals.wait(TICK_S)
                now = time.monotonic()
                if (code := self._reap(now)) is not None:
                    return code
                for number in self._signals.take():
                    if number == signal.SIGHUP:
                        self._send(self._wards[0], signal.SIGHUP)
                    else:
                        return self._drain(signal.Signals(number).name, 0)
                self._look(now)
                self._relieve(now)
                self._crashes.look()
                if not self._up and all(ward.seen_serving or ward.child.on_demand for ward in self._wards):
                    self._up = True
                    self._log.line("info", f"ready after {now - began:.1f} s")
        finally:
            self._kill(self._wards)

    def _start_due(self, now: float) -> None:
        for ward in self._wards:
            if ward.process is None and ward.due <= now and (ward.slot.wanted or not ward.child.on_demand):
                ward.watch.started(now)
                try:
                    # Blocked in the child until it is ready for them (child.adopt); pending for us meanwhile.
                    early = {signal.SIGINT, signal.SIGHUP}
                    signal.pthread_sigmask(signal.SIG_BLOCK, early)
                    try:
                        ward.process = subprocess.Popen(
                            self._command(ward.child), stdin=subprocess.DEVNULL, env=environment()
                        )
                    finally:
                        signal.pthread_sigmask(signal.SIG_UNBLOCK, early)
                except OSError as error:
                    self._bury(ward, now, f"cannot be started ({error.strerror})", pid=0)
                else:
                    ward.slot.occupy(ward.process.pid, ward.restarts)

    def _reap(self, now: float) -> int | None:
        """Take note of the dead. Returns an exit code when one of them ends the server."""
        for ward in self._wards:
            if ward.process is None or (returncode := ward.process.poll()) is None:
                continue
            pid, ward.process, ward.killed = ward.process.pid, None, False
            relieved, ward.relieved = ward.relieved, False
            ward.slot.vacate()
            if self._draining:
                if returncode not in {0, EX_CONFIG, -signal.SIGTERM, -signal.SIGKILL}:
                    self._log.line("warning", f"{ward.child.name} (pid {pid}) {_how(returncode)} while it drained")
            elif ward.child.on_demand and not returncode:  # it is not wanted any more, or begins afresh
                ward.due = now
            elif returncode == EX_CONFIG and not self._up and not ward.child.on_demand:
                return self._drain(f"{ward.child.name} cannot work with this configuration", 1)
            else:
                if relieved and not returncode:
                    ward.due = now
                    ward.restarts += 1
                else:
                    self._bury(ward, now, _how(returncode), pid)
                if ward.child.index is not None:
                    for line in self._crashes.ended(ward.child.index, returncode, now):
                        self._log.line("error", line)
        _reap_strangers({ward.process.pid for ward in self._wards if ward.process})
        return None

    def _bury(self, ward: _Ward, now: float, how: str, pid: int) -> None:
        delay = ward.watch.died()
        ward.due = now + delay
        ward.restarts += 1
        self._log.line(
            "error",
            f"{ward.child.name} (pid {pid}) {how}; restart {f'in {delay:g} s' if delay else 'now'}",
            child=ward.child.name,
            pid=pid,
            how=how,
            restart_in_s=delay,
        )

    def _look(self, now: float) -> None:
        for ward in self._wards:
            if ward.process is None or ward.killed:
                continue
            if ward.slot.serves:
                ward.seen_serving = True
            if (why := ward.watch.look(now, ward.slot.beats)) is not None:
                pid = ward.process.pid
                self._log.line("error", f"{ward.child.name} (pid {pid}) {why}: killed", child=ward.child.name, pid=pid)
                ward.process.kill()
                ward.killed = True

    def _relieve(self, now: float) -> None:
        """Have a worker that is worn out drain and leave; it has done nothing for which its successor must wait."""
        for ward in self._wards:
            if now >= self._next_relief and ward.slot.worn and ward.process is not None and not ward.relieved:
                self._next_relief = now + RELIEF_S
                ward.relieved = True
                self._log.line("warning", f"{ward.child.name} (pid {ward.process.pid}) is worn out: a fresh one comes")
                self._send(ward, signal.SIGTERM)

    def _drain(self, why: str, code: int) -> int:
        """Workers first, while the controller still hears them; then the controller."""
        self._draining = True
        self._log.line("info", f"stopping: {why}; calls in flight have up to {self._drain_s:g} s")
        controller, workers = self._wards[:1], self._wards[1:]
        for wards, patience in ((workers, self._drain_s + LEAVE_S), (controller, LEAVE_S)):
            for ward in wards:
                self._send(ward, signal.SIGTERM)
            if (second := self._await(wards, patience)) is not None:
                self._log.line("warning", f"stopping at once: a second {signal.Signals(second).name}")
                self._kill(self._wards)
                return 128 + second
            for ward in wards:
                if ward.process is not None:
                    self._log.line("warning", f"{ward.child.name} did not leave within {patience:g} s: killed")
            self._kill(wards)
        self._log.line("info", "stopped")
        return code

    def _await(self, wards: Iterable[_Ward], patience: float) -> int | None:
        """Until they have left or time is over. Returns the number of a second signal to stop."""
        until = time.monotonic() + patience
        while any(ward.process for ward in wards) and (now := time.monotonic()) < until:
            self._signals.wait(min(TICK_S, until - now))
            self._reap(now)
            for number in self._signals.take():
                if number != signal.SIGHUP:
                    return number
        return None

    def _kill(self, wards: Iterable[_Ward]) -> None:
        for ward in wards:
            self._send(ward, signal.SIGKILL)
        for ward in wards:
            if ward.process is not None:
                # One that hangs in the kernel leaves when the kernel lets it: it cannot come back to our ports.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    ward.process.wait(LEAVE_S)

    @staticmethod
    def _send(ward: _Ward, number: signal.Signals) -> None:
        if ward.process is not None:
            ward.process.send_signal(number)  # asks first whether it still lives


def _reap_strangers(ours: set[int]) -> None:
    """As process 1 of a container we inherit orphans; whoever became us by exec may have left us children."""
    with contextlib.suppress(ChildProcessError):
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid in ours:
                return  # Popen takes it at the next look
            os.waitpid(found.si_pid, 0)


class _Signals:
    """The signals that came, and a sleep that any of them ends."""

    def __init__(self) -> None:
        self._came: deque[int] = deque()
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ear, selectors.EVENT_READ)

    def listen(self) -> None:
        """From now on signals are kept instead of ending the process."""
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._came.append(number))
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to end the sleep
        # A parent may have started us with them blocked.
        numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def wait(self, seconds: float) -> None:
        """Sleep, until a signal at most."""
        if self._selector.select(seconds):
            with contextlib.suppress(BlockingIOError):
                self._ear.recv(4096)

    def take(self) -> list[int]:
        """The numbers of the signals that came since, SIGCHLD left out."""
        return [self._came.popleft() for _ in range(len(self._came))]


def serve(options: Mapping[str, Any], commands: Callable[[Path], Callable[[Child], list[str]]]) -> int:
    """The whole life of a server. Returns the exit code. Raises Refused before anything has been touched."""
    signals = _Signals()
    signals.listen()
    state = Path(options["state"])
    with owned(state), contextlib.ExitStack() as at_exit:
        note = state / "server.json"
        # A note that nobody removed: that server was killed, and its workers may still be leaving.
        patience = PORT_PATIENCE_S if note.exists() else 0.0
        addresses, held = claim_ports({flag: options[flag] for flag in ("grpc", "http", "admin")}, patience)
        for reserved in held:
            at_exit.callback(reserved.close)
        children = roster(options["workers"])
        with usable(state):
            board = Board.create(state / "board", len(children))
            crashes = Crashes(state, options["workers"])
        at_exit.callback(board.close)
        write(state, "options.json", {**options, **addresses})
        at_exit.callback(note.unlink, missing_ok=True)
        write(state, note.name, {"pid": os.getpid(), **addresses, "started": time.time(), "version": __version__})
        log = Log(options["log_format"])
        log.line("info", f"router {__version__}, {options['workers']} workers, " + _at(addresses), **addresses)
        wards = [_Ward(child, board.slot(child.slot)) for child in children]
        drain_s = options["drain_delay_s"] + options["grace_s"]
        return Supervisor(wards, commands(state / "options.json"), drain_s, log, signals, crashes).run()


def _at(addresses: Mapping[str, str]) -> str:
    return ", ".join(f"{flag} {address}" for flag, address in addresses.items())


def main(arguments: list[str], commands: Callable[[Path], Callable[[Child], list[str]]] = commands_for) -> int:
    """`python -m router.app.supervisor OPTIONS.json`."""
    if len(arguments) != 1:
        print("Error: start the server with `router serve`", file=sys.stderr)  # noqa: T201 - the answer to a command
        return 2
    try:
        return serve(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), commands)
    except Refused as refused:
        print(f"Error: {refused}", file=sys.stderr)  # noqa: T201 - the answer to a command
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
