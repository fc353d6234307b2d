"""A real `router serve` for tests: free ports, a state directory of its own, bounded waits, nothing left behind."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import psutil
from click.testing import CliRunner, Result

from router.app.board import CONTROLLER, Board, worker_slot
from router.app.cli import main
from router.client import Client, InferenceError

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
ROUTER = Path(sys.executable).with_name("router")
BOUND_S = 30.0

Value = TypeVar("Value")


@functools.cache
def tried() -> Path:
    """What trials of versions showed, kept from one server to the next: a trial process takes its time to start.

    Made by whoever starts a server and nobody else, and removed when it ends; what one that was killed has left is
    removed by the next.
    """
    for left in Path(tempfile.gettempdir()).glob("tried-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"tried-{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def eventually(what: Callable[[], Value], why: str = "did not happen in time", bound_s: float = BOUND_S) -> Value:
    """The first true value of `what`; fails after a bound."""
    until = time.monotonic() + bound_s
    while not (value := what()):
        assert time.monotonic() < until, why
        time.sleep(0.02)
    return value


def alive(pid: int) -> bool:
    """Whether the process runs or sleeps; one that only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False


def pixels(rows: int = 1) -> np.ndarray[Any, Any]:
    """Input for the digits models, the same at every call."""
    return np.random.default_rng(7).integers(0, 17, (rows, 64)).astype(np.float32)


def put(models: Path, *names: str) -> Path:
    """A repository with copies of bundled models; `digits:1` copies one version only."""
    models.mkdir(parents=True, exist_ok=True)
    for name in names:
        model, _, version = name.partition(":")
        if not version:
            shutil.copytree(MODELS / model, models / model)
            continue
        shutil.copytree(MODELS / model / version, models / model / version)
        if (MODELS / model / "model.toml").exists():
            shutil.copy(MODELS / model / "model.toml", models / model)
    return models


def certificates(folder: Path, names: str = "DNS:localhost,IP:127.0.0.1") -> tuple[Path, Path]:
    """A key and a certificate for this machine that is its own authority."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words.split(), *more], check=True, capture_output=True)
    return key, certificate


def answered(target: str, credentials: grpc.ChannelCredentials | None) -> bool:
    """Whether somebody with these credentials has an answer of `digits`."""
    with Client(target, credentials=credentials) as client:
        try:
            return bool(client.infer("digits", {"pixels": pixels()}, deadline=3).version)
        except InferenceError:
            return False


def router(*words: str) -> Result:
    """What a command says and its exit code, without a process of its own: that would take its time to start."""
    return CliRunner().invoke(main, list(words))


class Server:
    """A server that runs. `process` is the supervisor."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.state = folder / "state"
        self._clients: list[Client] = []

    @property
    def addresses(self) -> dict[str, str]:
        """The real addresses by flag."""
        told: dict[str, str] = json.loads((self.state / "server.json").read_text())
        return told

    @property
    def grpc(self) -> str:
        """HOST:PORT of inference."""
        return self.addresses["grpc"]

    @property
    def admin(self) -> str:
        """HOST:PORT of the admin service."""
        return self.addresses["admin"]

    @property
    def url(self) -> str:
        """Where HTTP answers."""
        return "http://" + self.addresses["http"]

    @property
    def out(self) -> str:
        """Standard output so far."""
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """Standard error so far."""
        return (self.folder / "err").read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log so far."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{") and line.endswith("}")]

    @property
    def workers(self) -> int:
        """How many there are to be."""
        number: int = json.loads((self.state / "options.json").read_text())["workers"]
        return number

    def board(self) -> Board:
        """The board of the processes."""
        return Board.open(self.state / "board")

    @property
    def generation(self) -> int:
        """The generation that serves."""
        return self.board().generation

    def worker(self, index: int) -> int:
        """The process id of a worker."""
        return self.board().slot(worker_slot(index)).pid

    @property
    def controller(self) -> int:
        """The process id of the controller."""
        return self.board().slot(CONTROLLER).pid

    @property
    def serving(self) -> bool:
        """Whether every process says that it serves."""
        note = self.state / "server.json"
        if not note.exists() or json.loads(note.read_text())["pid"] != self.process.pid:  # one that was killed left it
            return False
        board = self.board()
        return all(board.slot(i).serves for i in (CONTROLLER, *map(worker_slot, range(self.workers))))

    def back(self, slot: int, old: int) -> int:
        """Wait until another process than `old` serves in a slot; its process id."""

        def another() -> int:
            place = self.board().slot(slot)
            return place.pid if place.pid != old and place.serves else 0

        return eventually(another, f"nothing came back in slot {slot}: {self.err}")

    def wait(self) -> None:
        """Wait until everything serves; fails when the server ends instead."""

        def up() -> bool:
            assert self.process.poll() is None, f"the server ended: {self.err}"
            return self.serving

        eventually(up, f"does not serve in time: {self.folder}")

    def client(self, index: int = 0) -> Client:
        """A client with connections of its own for each `index`, closed with the server."""
        while len(self._clients) <= index:
            # gRPC shares the connections of channels that have the same options.
            number = len(self._clients)
            self._clients.append(Client(self.grpc, options=[("grpc.use_local_subchannel_pool", 1), ("test", number)]))
        return self._clients[index]

    def hang_up(self) -> None:
        """Send SIGHUP: look at the repository again."""
        self.process.send_signal(signal.SIGHUP)

    def refreshed(self, generation: int) -> None:
        """Wait for a generation."""
        eventually(lambda: self.generation >= generation, f"generation {generation} does not come: {self.err}")

    def family(self) -> list[psutil.Process]:
        """The supervisor and all below it."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self, bound_s: float = 20.0) -> int:
        """SIGTERM, then the exit code. Children that are left are killed, and that fails."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(bound_s)
        finally:
            self.process.kill()
            left = [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
            for each in left:
                each.kill()
        assert not left, f"the server left processes behind: {left}"
        return code


def command(folder: Path, **flags: object) -> list[str]:
    """The command line of a server in a folder. Underscores are dashes; a tuple repeats its flag, True is no value."""
    given: dict[str, object] = {
        "models": MODELS,
        "grpc": "127.0.0.1:0",
        "http": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "workers": 1,
        "state": folder / "state",
        "log_format": "json",
        **flags,
    }
    words = [str(ROUTER), "serve"]
    for name, value in given.items():
        for each in value if isinstance(value, tuple) else (value,):
            words += ["--" + name.replace("_", "-"), *([] if each is True else [str(each)])]
    return words


@contextmanager
def starting(folder: Path, **flags: object) -> Iterator[Server]:
    """A server that has been started and may not serve yet; stopped at the end."""
    (folder / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(tried(), folder / "state/inspected", dirs_exist_ok=True)
    with (folder / "out").open("ab") as out, (folder / "err").open("ab") as err:
        process = subprocess.Popen(
            command(folder, **flags), stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=ROOT, env=environment()
        )
    server = Server(process, folder)
    try:
        yield server
    finally:
        server.stop()
        if (folder / "state/inspected").is_dir():
            shutil.copytree(folder / "state/inspected", tried(), dirs_exist_ok=True)


@contextmanager
def running(folder: Path, **flags: object) -> Iterator[Server]:
    """A server that serves; stopped at the end."""
    with starting(folder, **flags) as server:
        server.wait()
        yield server


def environment() -> dict[str, str]:
    """The environment of the processes that tests start."""
    return {**os.environ, "PYTHONWARNINGS": "ignore", "GRPC_VERBOSITY": "ERROR"}


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Load:
    """Callers that ask one after another, each on a connection of its own, until `stop`.

    They think for a moment after each answer: hundreds of requests a second leave the server room for what is tested.
    """

    def __init__(self, server: Server, callers: int = 4, model: str = "digits", **inputs: Any) -> None:
        self.answered = 0
        self.failed: list[Exception] = []
        self.generations: list[list[int]] = [[] for _ in range(callers)]
        self._stop = threading.Event()
        self._model = model
        self._inputs = inputs or {"pixels": pixels()}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(server.client(10 + i), i), daemon=True) for i in range(callers)
        ]

    def _ask(self, client: Client, index: int) -> None:
        while not self._stop.is_set():
            try:
                reply = client.infer(self._model, self._inputs, deadline=10)
            except Exception as error:  # noqa: BLE001  # told by the test
                with self._lock:
                    self.failed.append(error)
                time.sleep(0.01)
            else:
                with self._lock:
                    self.answered += 1
                self.generations[index].append(reply.generation or 0)
                time.sleep(0.002)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
        assert not any(thread.is_alive() for thread in self._threads), "a call never ended"

    def more(self, count: int = 50) -> None:
        """Wait for so many more answers."""
        goal = self.answered + count
        eventually(lambda: self.answered >= goal, f"no more answers: {self.failed[-3:]}")
