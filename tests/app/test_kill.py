"""What holds when processes die while callers keep asking."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from router.app.board import CONTROLLER, Board, worker_slot
from router.client import Client, DeadlineExceeded, Unavailable
from tests.server import (
    MODELS,
    Load,
    Server,
    alive,
    environment,
    eventually,
    pixels,
    put,
    running,
    starting,
)


@pytest.fixture(scope="module", params=["core", "aio"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that kill its children, on each transport."""
    folder = tmp_path_factory.mktemp("kill")
    with running(folder, models=put(folder / "models", "digits"), workers=2, transport=request.param) as server:
        yield server


def counted(client: Client) -> int:
    """Successful requests by the statistics; they wait for the controller."""

    def ask() -> int:
        try:
            return sum(each.success.count for each in client.statistics("digits", deadline=5))
        except Unavailable:
            return 0

    return eventually(ask)


def monotonic(load: Load) -> bool:
    """Whether no caller ever saw an older generation after a newer one."""
    return all(seen == sorted(seen) for seen in load.generations)


def test_a_killed_worker_costs_its_calls_in_flight_only(server: Server) -> None:
    """Callers of the killed worker are told UNAVAILABLE, the others notice nothing; it comes back as it was."""
    generation = server.generation
    with Load(server, callers=6) as load:
        before = counted(server.client())
        old = server.worker(0)
        os.kill(old, signal.SIGKILL)
        server.back(worker_slot(0), old)
        load.more(200)
        after = counted(server.client())
    # One call of each caller can have been in flight, and its next may meet the closed connection.
    assert len(load.failed) <= 12
    assert all(isinstance(error, Unavailable) for error in load.failed), load.failed
    assert after >= before
    assert server.generation == generation
    assert monotonic(load)
    assert counted(server.client()) >= after


def test_a_killed_controller_costs_no_call(server: Server) -> None:
    """Inference goes on without it; it comes back with the same generation and counts on."""
    generation = server.generation
    with Load(server, callers=4) as load:
        before = counted(server.client())
        old = server.controller
        os.kill(old, signal.SIGKILL)
        load.more(100)
        server.back(CONTROLLER, old)
        load.more(100)
        assert counted(server.client()) >= before
    assert load.failed == []
    assert server.generation == generation
    assert {g for seen in load.generations for g in seen} == {generation}


def test_without_a_controller_its_questions_are_unavailable(server: Server) -> None:
    """While it stands still or is gone: statistics and index end by the deadline or UNAVAILABLE; inference goes on."""
    client = server.client()
    old = server.controller
    os.kill(old, signal.SIGSTOP)  # the supervisor ends it within about a second
    with pytest.raises((DeadlineExceeded, Unavailable)) as raised:
        client.index(deadline=0.3)
    assert "/" not in raised.value.message
    client.infer("digits", {"pixels": pixels()}, deadline=5)
    server.back(CONTROLLER, old)
    eventually(lambda: answers(client))


def answers(client: Client) -> bool:
    """Whether the controller answers through a worker."""
    try:
        return bool(client.index(deadline=5))
    except Unavailable:
        return False


def test_a_worker_and_the_controller_together(server: Server) -> None:
    """Both killed at once: everything comes back by itself with the same generation."""
    generation = server.generation
    worker, controller = server.worker(1), server.controller
    os.kill(controller, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    server.back(CONTROLLER, controller)
    server.back(worker_slot(1), worker)
    assert server.generation == generation
    client = server.client()

    def infers() -> bool:
        try:
            return client.infer("digits", {"pixels": pixels()}, deadline=5).generation == generation
        except Unavailable:
            return False

    eventually(infers)
    assert not any("Traceback" in line for line in server.err.splitlines()), server.err


def test_a_worker_that_stands_still_is_replaced(server: Server) -> None:
    """Stopped, it beats no more: it is killed and another one serves."""
    old = server.worker(0)
    os.kill(old, signal.SIGSTOP)
    server.back(worker_slot(0), old)
    assert not alive(old)


def test_a_worn_out_worker_is_relieved(server: Server) -> None:
    """It drains and leaves, and another one serves in its place; callers may try again.

    A call that reaches gRPC's server while it shuts down is ended by the core itself: UNAVAILABLE or CANCELLED.
    """
    old = server.worker(0)
    with Load(server, callers=4) as load:
        server.board().slot(worker_slot(0)).wear_out()
        server.back(worker_slot(0), old)
        load.more(100)
    by_core = [error for error in load.failed if getattr(error, "code", None) is grpc.StatusCode.CANCELLED]
    assert all(isinstance(error, Unavailable) or error in by_core for error in load.failed), load.failed
    assert len(by_core) <= 4, by_core  # one a caller
    assert any("is worn out" in line["event"] for line in server.log)


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    """All its children leave with it, and the next server with the same state serves the same generation."""
    models = put(tmp_path / "models", "digits")
    with starting(tmp_path, models=models) as server:
        server.wait()
        generation = server.generation
        family = [each.pid for each in server.family()]
        assert len(family) >= 3
        server.process.kill()
        eventually(lambda: not any(alive(pid) for pid in family[1:]), "children stayed")
    with running(tmp_path, models=models) as server:
        assert server.generation == generation
        assert server.client().infer("digits", {"pixels": pixels()}, deadline=10).generation == generation


def test_a_worker_without_a_controller_waits_and_leaves_when_told(tmp_path: Path) -> None:
    """It beats, opens no port, and SIGTERM ends it at once with exit code 0."""
    state = tmp_path / "state"
    state.mkdir()
    board = Board.create(state / "board", 2)
    (state / "options.json").write_text(f'{{"state": "{state}", "models": "{MODELS}", "grpc": "127.0.0.1:1"}}')
    words = [sys.executable, "-m", "router.app.worker", str(state / "options.json"), "--index", "0"]
    worker = subprocess.Popen(words, env=environment())
    try:
        slot = board.slot(worker_slot(0))
        eventually(lambda: slot.beats > 5)
        assert not slot.serves
        worker.terminate()
        assert worker.wait(5) == 0
    finally:
        worker.kill()
        worker.wait()
        board.close()
