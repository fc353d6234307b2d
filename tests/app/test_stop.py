"""How a server stops: what is in flight is answered, nobody waits for what hangs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from router.client import InferenceError, Unavailable
from tests.server import (
    Server,
    eventually,
    pixels,
    put,
    running,
    starting,
)
from tests.slow_models import lasting, save

X = {"x": np.full((1, 1), 666, np.float32)}
SCALE_X = {"x": np.ones(1, np.float32)}


@pytest.mark.parametrize("transport", ["core", "aio"])
def test_sigterm_answers_what_is_in_flight(tmp_path: Path, transport: str) -> None:
    """Watchers are told NOT_SERVING, calls in flight are answered, new ones refused, exit code 0 within the grace.

    An open watch and an idle inference stream do not hold the stop up.
    """
    models = put(tmp_path / "models", "digits")
    save(lasting(0.3), models, "slow", toml="[batch]\nmax_size = 1\n")
    with (
        running(tmp_path, models=models, workers=2, transport=transport, drain_delay="0.3", grace="40") as server,
        grpc.insecure_channel(server.grpc) as channel,
        raised() as idle,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=90)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(silence(idle), timeout=90)
        replies: list[object] = []

        def ask(index: int) -> None:
            try:
                replies.append(server.client(index).infer("slow", X, deadline=60)["y"].item())
            except InferenceError as error:
                replies.append(error)

        callers = [threading.Thread(target=ask, args=(i,)) for i in range(3)]
        server.client(2).infer("slow", X, deadline=60)
        for caller in callers:
            caller.start()
        eventually(lambda: scraped_pending(server) >= 3)
        began = time.monotonic()
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        code = server.process.wait(50)
        took = time.monotonic() - began
        for caller in callers:
            caller.join(15)
        idle.set()
        with pytest.raises(grpc.RpcError) as ended:
            next(watch)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(Unavailable):
            server.client().infer("digits", {"pixels": pixels()}, deadline=2)
        assert code == 0, server.err
        assert replies == [666.0] * 3
        assert took < 40
        assert server.log[-1]["event"] == "stopped"


@contextmanager
def raised() -> Iterator[threading.Event]:
    """An event that is set at the end, whatever happens: nobody waits for it any longer."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def silence(until: threading.Event) -> Iterator[bytes]:
    """No request at all, until the event is set."""
    until.wait()
    yield from ()


def scraped_pending(server: Server) -> int:
    """Requests that wait or run, by the metrics."""
    lines = httpx.get(server.url + "/metrics", timeout=10).text.splitlines()
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("router_pending_requests{")))


def test_the_grace_ends_what_takes_longer(tmp_path: Path) -> None:
    """A run far longer than the grace is not waited for: the caller learns it, the exit code is 0."""
    models = tmp_path / "models"
    save(lasting(0.8), models, "slow", toml="[batch]\nmax_size = 1\n")
    with running(tmp_path, models=models, grace="0.1") as server:
        errors: list[Exception] = []

        def ask() -> None:
            try:
                server.client(1).infer("slow", X, deadline=30)
            except InferenceError as error:
                errors.append(error)

        caller = threading.Thread(target=ask)
        caller.start()
        eventually(lambda: scraped_pending(server) == 1)
        began = time.monotonic()
        server.process.terminate()
        assert server.process.wait(15) == 0, server.err
        assert time.monotonic() - began < 4
        caller.join(10)
        assert len(errors) == 1


def test_readyz_tells_while_nothing_serves(tmp_path: Path) -> None:
    """Before a worker serves /readyz is 503 and /healthz 200; `router stop` ends the server and says so."""
    models = put(tmp_path / "models", "digits:1")
    with starting(tmp_path, models=models) as server:
        eventually((server.state / "server.json").exists)

        def ready() -> int:
            try:
                return httpx.get(server.url + "/readyz", timeout=5).status_code
            except httpx.TransportError:  # not open yet
                return 0

        seen = [eventually(ready)]
        while seen[-1] != 200:
            seen.append(eventually(ready))
        assert set(seen) <= {503, 200}
        router = Path(sys.executable).with_name("router")
        words = [str(router), "stop", "--state", str(server.state)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout) == (0, f"stopped (process {server.process.pid})\n"), done.stderr
        assert server.process.wait(5) == 0
        again = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert again.returncode == 1
        assert again.stderr.startswith("Error: no server runs")
