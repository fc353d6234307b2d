"""Versions warmed in a real server, while callers ask: nobody notices, whatever becomes of the version."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from router.app.board import warmup_slot
from router.app.child import WARMING
from router.control import artefact
from router.core.fingerprint import names
from router.core.table import Version, VersionState
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Outcome, Report
from router.serving.inflight import REGION, mapped, running
from tests import slow_models
from tests.server import Load, Server, eventually
from tests.server import running as serving

TOML = """
[lifecycle]
initial_champion = 1

[warmup]
min_samples = 40
min_seconds = 0.5
max_seconds = 30
max_per_s = 1000
tolerance = 0.05

[gates]
difference = 100
slowdown = 1000
"""
X = {"x": np.arange(4, dtype=np.float32)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Version 1 serves, 2 says the same, 3 something else. While nothing is warmed there is no warm-up worker.

    Of the model `long` version 2 is warmed for a minute.
    """
    folder = tmp_path_factory.mktemp("warm")
    for number, factor in enumerate((2.0, 2.0000002, 3.0), start=1):
        slow_models.save(slow_models.scale(factor), folder / "models", "m", number, TOML)
    longer = TOML.replace("min_seconds = 0.5", "min_seconds = 60").replace("max_seconds = 30", "max_seconds = 60")
    for number, layers in enumerate((2, 3), start=1):
        slow_models.save(slow_models.slow(layers, 256), folder / "models", "long", number, longer)
    with serving(folder, models=folder / "models", workers=2) as server:
        assert server.board().slot(warmup_slot(2)).pid == 0
        with AdminClient(server.admin) as client:
            assert "warm-up" not in {each.name for each in client.status().processes}
        yield server


@pytest.fixture
def load(server: Server) -> Iterator[Load]:
    """Callers; nobody was told of an error, and each got the champion's answer."""
    with Load(server, callers=3, model="m", **X) as load:
        yield load
        load.more()
    assert load.failed == []
    assert server.client().infer("m", X, deadline=5).outputs["y"].tolist() == [0, 2, 4, 6]


def begun(server: Server, number: str, model: str = "m") -> Future[Report]:
    """A warm-up that goes on beside the test."""
    pool = ThreadPoolExecutor(1)

    def warm() -> Report:
        with AdminClient(server.admin) as client:
            return client.warm(model, number)

    told = pool.submit(warm)
    pool.shutdown(wait=False)
    return told


def outcome(report: Report, gate: str) -> Outcome:
    """One gate's."""
    return next(each for each in report.outcomes if each.gate == gate)


def warmup_worker(server: Server) -> int:
    """The process id of the warm-up worker, once it runs."""
    slot = server.board().slot(warmup_slot(server.workers))
    return eventually(lambda: slot.pid if slot.serves else 0)


def test_a_version_like_the_champion_passes(server: Server, load: Load) -> None:
    """On live requests, in a process of the lowest priority; the report has both versions' times and differences."""
    told = begun(server, "2")
    process = psutil.Process(warmup_worker(server))
    eventually(lambda: process.nice() == 19)
    with AdminClient(server.admin) as client:
        assert "warm-up" in {each.name for each in client.status().processes}
    report = told.result(60)
    assert report.passed, report
    assert (report.kind, report.champion) == ("warm", "1")
    assert outcome(report, "samples").figures["live_requests"] >= 40
    assert outcome(report, "errors").figures["rate"] == 0
    assert outcome(report, "agreement").figures["agreement_y"] == 1
    assert outcome(report, "latency").verdict == "pass"
    names = [each.name for each in report.distributions]
    assert names[0] == "run time"
    assert "absolute difference of 'y'" in names
    assert load.answered


def test_a_version_that_says_something_else_fails(server: Server, load: Load) -> None:
    """By its agreement; the champion serves on."""
    report = begun(server, "3").result(60)
    assert not report.passed
    assert [each.gate for each in report.outcomes if each.blocks and each.verdict == "fail"] == ["agreement"]
    assert load.answered


@pytest.mark.story
def test_a_version_that_takes_the_worker_down_fails_and_no_caller_notices(server: Server, load: Load) -> None:
    """As by a native fault in the middle of a run; the process is there again for the next."""
    told = begun(server, "2", "long")
    runs = mapped(server.state / WARMING, REGION)
    with Load(server, callers=2, model="long", x=np.ones((1, 1), np.float32)) as more:
        digest = artefact.digest(server.folder / "models" / "long" / "2")
        version = Version("long", "2", digest, "", VersionState.READY)
        pid = eventually(lambda: stopped_in_a_run(server, runs, version))
        fault(pid)
        os.kill(pid, signal.SIGCONT)
        more.more(20)
    assert more.failed == []
    report = told.result(60)
    assert not report.passed
    (found,) = report.outcomes
    assert found.gate == "stability"
    assert found.reason.startswith("it crashed on live input: the warm-up worker died while it ran")
    load.more(100)
    assert begun(server, "2").result(60).passed
    assert warmup_worker(server) != pid
    assert not any("Traceback" in line for line in server.err.splitlines()), server.err


def fault(pid: int) -> None:
    """A native fault of a process that is stopped, in whichever thread runs first when it goes on.

    A signal to the process would wait for its main thread, and meanwhile the run could come to its end.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for thread in psutil.Process(pid).threads():
        if libc.tgkill(pid, thread.id, signal.SIGSEGV):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def stopped_in_a_run(server: Server, runs: memoryview, version: Version) -> int:
    """The warm-up worker's process id if it stands still in the middle of a run of this version; else it goes on, as
    when the champion runs beside it, and that is 0."""
    try:
        pid = warmup_worker(server)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except (ProcessLookupError, psutil.NoSuchProcess):  # it was not wanted while the gates were tried
        return 0
    if any(names(mark, version) for mark in running(runs)):
        return pid
    os.kill(pid, signal.SIGCONT)
    return 0


def test_without_traffic_recorded_requests_and_synthetic_input_do(server: Server) -> None:
    """The verdict says so."""
    report = begun(server, "2").result(60)
    assert report.passed, report
    samples = outcome(report, "samples")
    assert samples.verdict == "warn"
    assert samples.figures["live_requests"] == 0
    assert samples.figures["recorded_requests"] > 0
