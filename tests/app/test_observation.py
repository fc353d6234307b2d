"""Several versions of a model observed at once by a real warm-up worker, which is killed in the middle."""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from router.app.board import Board, warmup_slot
from router.app.child import WARMING, link_path, mirror_path
from router.app.warmup_process import WarmupProcess
from router.control import artefact
from router.control.warmup import Observed, Warmups
from router.core.table import Batching, Version, VersionState
from router.core.warmup import Figures
from router.edge.link import LinkServer, WorkerHandle
from router.edge.warmup_link import ROLE, WarmupHandle
from router.model_settings import ModelSettings
from router.pb import mirror_pb2 as pb
from router.serving.inflight import LEFT, REGION, mapped, running
from router.serving.mirror import LENGTH, connected
from tests.control.row_graphs import session, signature
from tests.server import eventually
from tests.slow_models import save, scale

JOINED = Batching(32, 0, "shown")
SAME, MORE = Observed("m", "2", "1", 1.0, 1e6), Observed("m", "3", "1", 1.0, 1e6)
CONTROL = Observed("m", "1", "2", 1.0, 1e6, control=True)
BROKEN = Observed("m", "4", "1", 1.0, 1e6)


class Rig:
    """The controller's end in this process, the warm-up worker in another one, and who brings copies."""

    def __init__(self, folder: Path) -> None:
        state = folder / "state"
        state.mkdir(mode=0o700)
        board = Board.create(state / "board", warmup_slot(1) + 1)
        self.slot = board.slot(warmup_slot(1))
        options = {"state": str(state), "workers": 1, "models": str(folder / "models"), "log_format": "json"}
        (state / "options.json").write_text(json.dumps(options))
        self.command = [sys.executable, "-m", "router.app.warmup", str(state / "options.json")]
        self.state = state
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.warmups = Warmups(WarmupProcess(self.slot, state))
        self.server = LinkServer(self, {ROLE: WarmupHandle})  # type: ignore[arg-type]
        self.run(self.server.start(link_path(state)))
        self.versions = {number: self._version(folder, number, factor) for number, factor in FACTORS.items()}
        Path(self.versions["4"].path).write_bytes(b"no model")
        self.child = self.start()

    def _version(self, folder: Path, number: str, factor: float) -> Version:
        model = scale(factor)
        directory = save(model, folder / "models", "m", int(number))
        told = signature(session(onnx.load(directory / "model.onnx")))
        path = str(directory / "model.onnx")
        return Version("m", number, artefact.digest(directory), path, VersionState.READY, "", told, JOINED)

    def run(self, work: Any) -> Any:
        """On the controller's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def call(self, what: Callable[..., Any], *arguments: Any) -> Any:
        """A method on the controller's loop."""

        async def called() -> Any:
            return what(*arguments)

        return self.run(called())

    async def joined(self, worker: WorkerHandle) -> None:
        """As the controller does it."""
        assert isinstance(worker, WarmupHandle)
        worker.told = functools.partial(self.warmups.seen, worker)
        self.warmups.join(worker)

    def left(self, worker: WarmupHandle) -> None:
        """As the controller does it."""
        self.warmups.leave(worker)

    def start(self) -> subprocess.Popen[bytes]:
        """The warm-up worker."""
        return subprocess.Popen(self.command)

    def want(self, *observed: Observed) -> None:
        """These and no others."""
        about = {
            each: (self.versions[each.number], self.versions[each.reference], ModelSettings()) for each in observed
        }
        self.call(self.warmups.set_observed, about)

    def figures(self, observed: Observed) -> Figures:
        """What is known of one."""
        found: Figures = self.call(self.warmups.observed, observed.model, observed.number, observed.reference)
        return found

    def bring(self, version: str, runs: int) -> None:
        """A serving worker copies runs of this version for two callers each."""
        with connected(mirror_path(self.state)) as connection:
            for number in range(runs):
                x = np.array([number, number + 1], np.float32)
                run = pb.Run(model="m", champion=version, seconds=0.001)
                for each in x:
                    shape = [1]
                    run.calls.add().inputs.add(name="x", datatype="FP32", shape=shape, raw=each.tobytes())
                y = x * np.float32(FACTORS[version])
                run.outputs.add(name="y", datatype="FP32", shape=[2], raw=y.tobytes())
                message = run.SerializeToString()
                connection.sendall(LENGTH.pack(len(message)) + message)

    def end(self) -> None:
        """Everything."""
        self.child.kill()
        self.child.wait()
        self.run(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


FACTORS = {"1": 2.0, "2": 2.0, "3": 3.0, "4": 1.0}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """All of it."""
    made = Rig(tmp_path)
    yield made
    made.end()


def test_several_versions_are_observed_at_once(rig: Rig) -> None:
    """Two shadows and a control, each on the runs of its reference; their sums go on when the process has died."""
    rig.want(SAME, MORE, CONTROL, BROKEN)
    observed = (SAME, MORE, CONTROL)
    assert rig.slot.wanted
    eventually(lambda: all(rig.figures(each).loaded for each in observed))
    eventually(lambda: rig.figures(BROKEN).failed)
    assert rig.figures(BROKEN).failed.startswith("it cannot be loaded: ")
    rig.bring("1", 8)
    rig.bring("2", 5)
    eventually(lambda: [rig.figures(each).total for each in observed] == [16, 16, 10])
    same, more, control = (rig.figures(each).outputs[0] for each in observed)
    assert (same.compared, same.agreed, more.compared) == (16, 16, 16)
    assert more.agreed < 8
    assert (control.compared, control.agreed) == (10, 10)
    rig.child.kill()  # in no run: nobody is to blame
    rig.child.wait()
    assert not any(mapped(rig.state / WARMING, REGION))
    rig.child = rig.start()
    eventually(lambda: not rig.figures(SAME).loaded)
    eventually(lambda: all(rig.figures(each).loaded for each in observed))
    rig.bring("1", 2)
    eventually(lambda: [rig.figures(each).total for each in observed] == [20, 20, 10])
    rig.want()
    assert not rig.slot.wanted
    assert rig.figures(SAME) is None
    assert rig.child.poll() is None  # it stays for a while
    rig.child.terminate()
    rig.child.wait()
    assert running(mapped(rig.state / WARMING, REGION)) == [LEFT]  # it says that it went by itself
