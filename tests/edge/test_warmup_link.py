"""The warm-up worker on the link: orders and what is seen arrive as they were, and who is who is known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from router.control.rehearsal import Seen, WarmOrder
from router.core.comparison import Kind, OutputFigures
from router.core.mirrored import Truth
from router.core.table import Batching, Version, VersionState
from router.core.tensor import ANY, Signature, TensorSpec
from router.core.warmup import Accuracy, Figures, Mirrored, Purpose, Source
from router.edge.link import LinkServer, WorkerHandle
from router.edge.warmup_link import ROLE, WarmupHandle, WarmupLink, mirror_figures, mirrored
from router.model_settings import ContractSettings, ModelSettings
from router.pb import link_pb2 as pb
from router.serving.mirror import Mirror, MirrorOrder, Part
from router.serving.timers import Timers
from router.version_settings import WarmupSettings
from tests.server import eventually

SIGNATURE = Signature((TensorSpec("x", "FP32", (ANY,), (None,)),), (TensorSpec("y", "INT64", (ANY,), ("n",)),))


def version(number: str) -> Version:
    """A version with a signature."""
    batching = Batching(8, 0, "shown")
    return Version("m", number, f"d{number}", f"/models/m/{number}", VersionState.READY, "", SIGNATURE, batching)


class FakeEnd:
    """The warm-up worker."""

    def __init__(self) -> None:
        self.orders: list[WarmOrder] | None = None
        self.truths: list[tuple[str, int, Truth]] = []

    def attached(self) -> None:
        """The controller is there."""

    def set_warmings(self, orders: Sequence[WarmOrder]) -> None:
        """Remember."""
        self.orders = list(orders)

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """Remember."""
        assert model == "m"
        self.truths += actuals


class FakeController:
    """The controller's end, as far as it is asked here."""

    def __init__(self) -> None:
        self.here: list[WorkerHandle] = []

    async def joined(self, worker: WorkerHandle) -> None:
        """Remember."""
        self.here.append(worker)

    def left(self, worker: WorkerHandle) -> None:
        """Forget."""
        self.here.remove(worker)


class Pair:
    """Both ends on a real socket."""

    def __init__(self, address: Path) -> None:
        self.controller, self.end = FakeController(), FakeEnd()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = LinkServer(self.controller, {ROLE: WarmupHandle})  # type: ignore[arg-type]
        self.run(self.server.start(address))
        self.link = WarmupLink(address, pb.Joined(pid=7, incarnation="one"), self.end, Timers())
        self.link.start()

    def run(self, work: Any) -> Any:
        """On the controller's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    @property
    def handle(self) -> WarmupHandle:
        """The warm-up worker, once it has joined."""
        (worker,) = eventually(lambda: self.controller.here)
        assert isinstance(worker, WarmupHandle)
        return worker

    def call(self, what: Any, *arguments: Any) -> None:
        """A method of the handle on the controller's loop."""

        async def called() -> None:
            what(*arguments)

        self.run(called())


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Both ends."""
    made = Pair(tmp_path / "s")
    yield made
    made.link.stop()
    made.run(made.server.stop())
    made.loop.call_soon_threadsafe(made.loop.stop)
    made.thread.join(10)
    made.loop.close()


@pytest.mark.parametrize("champion", [version("1"), None])
def test_orders_arrive_as_they_were(pair: Pair, champion: Version | None) -> None:
    """Versions with their signatures, settings, the source; and that nothing is to be warmed."""
    settings = ModelSettings(warmup=WarmupSettings(min_samples=7, tolerance=0.5), contract=ContractSettings(rows=True))
    orders = [
        WarmOrder("run", version("2"), champion, settings, Source.RECORDED, 12),
        WarmOrder(
            "more", version("3"), champion, settings, purpose=Purpose.CONTROL, share=0.25, max_per_s=7.5, beside=False
        ),
    ]
    handle = pair.handle
    assert (handle.pid, handle.incarnation) == (7, "one")
    pair.call(handle.set_warmings, orders)
    eventually(lambda: pair.end.orders == orders)
    pair.call(handle.set_warmings, [])
    eventually(lambda: pair.end.orders == [])


def test_what_came_true_keeps_its_kind(pair: Pair) -> None:
    """Integers, numbers and texts."""
    truths: list[tuple[str, int, Truth]] = [("a", 0, -3), ("b", 1, 0.5), ("c", 2, "ü"), ("d", 3, "")]
    pair.call(pair.handle.came_true, "m", truths)
    eventually(lambda: pair.end.truths == truths)


FIGURES = Figures(
    loaded=True,
    seconds=1.5,
    samples={Source.LIVE: 3, Source.SYNTHETIC: 1},
    rows=5,
    errors=1,
    broken=2,
    first_error="it broke",
    times=(0, 1, 2),
    champion_times=(3,),
    ratios=(4, 0),
    outputs=(OutputFigures("y", Kind.SCORES, 5, 4, (1, 2), (3,), 0.25, 10, 1.5),),
    running_s=0.5,
    exhausted=True,
    missed=3,
    rested_s=0.75,
    replayed="5 of them are from 1 file",
    left_out="1 file cannot be read",
)


@pytest.mark.parametrize("figures", [FIGURES, Figures(), Figures(failed="no such operator")])
def test_what_is_seen_arrives_as_it_was(pair: Pair, figures: Figures) -> None:
    """All of it."""
    told: list[Seen] = []
    pair.handle.told = told.extend
    seen = Seen("run", Source.RECORDED, figures, Accuracy(5, 4, 3, 2, 1))
    pair.link.report([seen])
    eventually(lambda: told == [seen])


def test_without_a_controller_nothing_is_told(tmp_path: Path) -> None:
    """Figures are sums: the next report says it all."""
    link = WarmupLink(tmp_path / "nobody", pb.Joined(incarnation="one"), FakeEnd(), Timers())
    link.report([Seen("run", Source.LIVE, FIGURES, Accuracy(0, 0, 0, 0, 0))])
    assert link._outgoing.empty()


def test_a_worker_s_mirrors_are_told_by_model() -> None:
    """With what was dropped, and why."""
    mirror = Mirror(MirrorOrder("m", {"1": Part(1.0, 1.0)}), lambda: None, lambda _: b"")  # type: ignore[arg-type,return-value]
    mirror.offered, mirror.sent = 5, 3
    mirror.dropped["full"] = 2
    told = pb.Telemetry(mirrors=mirror_figures([mirror]))
    assert mirrored(told) == {"m": Mirrored(5, 3, {"rate": 0, "full": 2, "absent": 0, "fault": 0})}
