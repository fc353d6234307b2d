"""Servers under test: their command lines, when they are ready, and that nothing of them is left."""

from __future__ import annotations

import random
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import psutil

from loadtest import interrupt
from loadtest.cpu import family
from loadtest.errors import BenchError, said
from router.pb import inference_pb2 as pb

READY_WITHIN: Final = 60.0
"""Seconds from the start until every model answers ready."""
LEAVES_WITHIN: Final = 15.0
"""Seconds from SIGTERM until SIGKILL."""
DEFAULT_WORKERS: Final = 2
TAIL_LINES, TAIL_WIDTH = 6, 500
"""What is shown of a server's log. Of a long line the end: a traceback says there what went wrong."""
SERVICE: Final = "/inference.GRPCInferenceService/"
BELOW_EPHEMERAL: Final = (20_000, 31_999)
"""Ports that no outgoing connection is given."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server works: its port on 127.0.0.1, the models, a directory for itself."""

    port: int
    models: Path
    scratch: Path


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server that can be started. `listeners` processes must accept connections before it counts as ready."""

    name: str
    title: str
    commands: Callable[[Place], list[list[str]]]
    listeners: int = 1


def _peer(module: str, name: str, title: str, processes: int) -> ServerSpec:
    def commands(place: Place) -> list[list[str]]:
        return [[sys.executable, "-m", f"loadtest.peers.{module}", str(place.port), str(place.models)]] * processes

    title = f"{title}, " + ("1 process" if processes == 1 else f"{processes} processes")
    return ServerSpec(f"{name}-{processes}", title, commands, listeners=processes)


def baseline(processes: int) -> ServerSpec:
    """The hand-written peer, as so many processes on one port."""
    return _peer("aio_baseline", "baseline", "grpc.aio baseline", processes)


def bare(processes: int) -> ServerSpec:
    """The bare loop on the completion queue: what the machine allows."""
    return _peer("bare_loop", "bare", "bare loop", processes)


def ours(
    name: str, workers: int, spin_us: int | None = None, admin: int | None = None, flags: tuple[str, ...] = ()
) -> ServerSpec:
    """Our own server. `spin_us` of None leaves the setting alone, `admin` of None is any port; `flags` are further
    words of its command line."""

    def commands(place: Place) -> list[list[str]]:
        command = [sys.executable, "-m", "router.app.cli", "serve", "--models", str(place.models)]
        ports = {"--grpc": place.port, "--http": free_port(), "--admin": free_port() if admin is None else admin}
        for flag, port in ports.items():
            command += [flag, f"127.0.0.1:{port}"]
        command += ["--workers", str(workers), "--state", str(place.scratch / "state")]
        if spin_us is not None:
            config = place.scratch / "router.toml"
            config.write_text(f"[server]\nspin_us = {spin_us}\n")
            command += ["--config", str(config)]
        return [[*command, *flags]]

    title = f"router, {workers} worker" + ("s" if workers > 1 else "")
    title += "" if spin_us is None else f", spin {spin_us} µs"
    return ServerSpec(name, title, commands, listeners=workers)


def named(name: str) -> ServerSpec:
    """A server by its row: `default`, `workers-N` (ours) or `bare-N`. Raises ValueError for another name."""
    if name == "default":
        return ours(name, DEFAULT_WORKERS)
    kind, _, number = name.partition("-")
    if kind in {"workers", "bare"} and number.isdigit() and int(number) >= 1:
        return ours(name, int(number)) if kind == "workers" else bare(int(number))
    raise ValueError(f"{name}: expected default, workers-N or bare-N")


def other(text: str) -> ServerSpec:
    """Any other server: `NAME=COMMAND WITH {port} AND {models}`. Raises ValueError when it is not that."""
    name, equals, command = text.partition("=")
    parts = shlex.split(command)
    if not name.strip() or not equals or not any("{port}" in part for part in parts):
        raise ValueError(f"{text!r}: expected NAME=COMMAND with {{port}} (and {{models}}) in it")

    def commands(place: Place) -> list[list[str]]:
        return [[part.replace("{port}", str(place.port)).replace("{models}", str(place.models)) for part in parts]]

    return ServerSpec(name.strip(), name.strip(), commands)


def free_port() -> int:
    """A port that nobody listens on."""
    for _ in range(1000):
        port = random.randint(*BELOW_EPHEMERAL)
        with socket.socket() as probe, suppress(OSError):
            # No SO_REUSEADDR or SO_REUSEPORT here: they would hide a listener.
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("no free port between {} and {}".format(*BELOW_EPHEMERAL))


class Server:
    """A server that runs."""

    def __init__(self, spec: ServerSpec, port: int, processes: list[subprocess.Popen[bytes]], log: Path) -> None:
        self.spec = spec
        self.port = port
        self._processes = processes
        self._log = log

    @property
    def pids(self) -> list[int]:
        """The processes that were started (not their children)."""
        return [process.pid for process in self._processes]

    def process(self, module: str) -> psutil.Process:
        """The process that runs a module of ours. Raises BenchError where none does."""
        for pid in family(self.pids):
            with suppress(psutil.NoSuchProcess):
                found = psutil.Process(pid)
                if module in found.cmdline():
                    return found
        raise BenchError(f"{self.spec.title}: it has no {module}\n{self.tail()}")

    def wait_ready(self, models: tuple[str, ...], within: float = READY_WITHIN) -> None:
        """Wait until all listeners accept and every model is ready.

        Raises BenchError if that takes longer than `within` seconds: with what the server says of its models, or else
        with the end of its log.
        """
        until = time.monotonic() + within
        while True:
            self.check_alive()
            unready: list[str] = []
            try:
                unready = self._unready(models)
            except grpc.RpcError as error:
                last = said(error)
            else:
                listening = self._listening()
                if not unready and listening >= self.spec.listeners:
                    return
                last = "; ".join(unready) or f"{listening} of {self.spec.listeners} processes listen"
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        words = "" if unready else f"\n{self.tail()}"
        raise BenchError(f"{self.spec.title}: not ready within {within:.0f} s: {last}{words}")

    def check_alive(self) -> None:
        """Raise BenchError when a process has ended by itself."""
        for process in self._processes:
            if process.poll() is not None:
                raise BenchError(f"{self.spec.title}: ended with code {process.returncode}\n{self.tail()}")

    def stop(self, patience: float = 2.0) -> None:
        """End the processes and whatever they have started, each by its own id.

        Children that outlive their parent have `patience` seconds before they are killed.
        """
        started = []
        for pid in family(self.pids):
            with suppress(psutil.NoSuchProcess):
                started.append(psutil.Process(pid))
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + LEAVES_WITHIN
        for process in self._processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # A psutil.Process knows its birth: an id that was given to somebody else meanwhile is left alone.
        _, alive = psutil.wait_procs(started, timeout=patience)
        for straggler in alive:
            with suppress(psutil.NoSuchProcess):
                straggler.kill()
        psutil.wait_procs(alive, timeout=5)

    def tail(self) -> str:
        """The end of what the server has printed."""
        lines = self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(line if len(line) <= TAIL_WIDTH else "…" + line[-TAIL_WIDTH:] for line in lines)

    def _unready(self, models: tuple[str, ...]) -> list[str]:
        """The models that are not ready, each with what the server says of it. Raises RpcError."""
        # A channel of its own every time: a pooled one would back off after the first refusal.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            ready = channel.unary_unary(
                SERVICE + "ServerReady",
                request_serializer=pb.ServerReadyRequest.SerializeToString,
                response_deserializer=pb.ServerReadyResponse.FromString,
            )
            model_ready = channel.unary_unary(
                SERVICE + "ModelReady",
                request_serializer=pb.ModelReadyRequest.SerializeToString,
                response_deserializer=pb.ModelReadyResponse.FromString,
            )
            metadata = channel.unary_unary(
                SERVICE + "ModelMetadata",
                request_serializer=pb.ModelMetadataRequest.SerializeToString,
                response_deserializer=pb.ModelMetadataResponse.FromString,
            )
            if not ready(pb.ServerReadyRequest(), timeout=2).ready:
                return ["it says that it is not ready"]
            unready = []
            for name in models:
                if not model_ready(pb.ModelReadyRequest(name=name), timeout=2).ready:
                    try:
                        metadata(pb.ModelMetadataRequest(name=name), timeout=2)
                    except grpc.RpcError as error:
                        unready.append(f"{name} ({said(error)})")
                    else:
                        unready.append(name)
            return unready

    def _listening(self) -> int:
        count = 0
        for pid in family(self.pids):
            with suppress(psutil.NoSuchProcess):
                sockets = psutil.Process(pid).net_connections("tcp")
                count += any(
                    each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == self.port
                    for each in sockets
                )
        return count


@contextmanager
def started(spec: ServerSpec, models: Path, names: tuple[str, ...]) -> Iterator[Server]:
    """The server, ready for the models `names`; ended on leaving, whatever happens."""
    # The prefix is short because a Unix socket's path, somewhere below, has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        place = Place(free_port(), models, Path(scratch))
        log = Path(scratch) / "log"
        server = Server(spec, place.port, processes := [], log)
        try:
            with log.open("wb") as sink:
                for command in spec.commands(place):
                    try:
                        with interrupt.held():
                            # In a session of its own: Ctrl-C in the terminal is for us.
                            processes.append(
                                subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
                            )
                    except OSError as error:
                        raise BenchError(f"{spec.title}: {error}") from None
            server.wait_ready(names)
            yield server
        finally:
            with interrupt.held():
                server.stop()
