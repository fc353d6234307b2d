"""The faults that operators have set, on workers that remember what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from router.control.faults import FaultBoard
from router.core.faults import Fault
from router.core.table import Route, VersionTable
from router.model_settings import ModelSettings

ERROR = Fault(kind="error")
NAN = Fault(kind="nan")


class FakeTables:
    """Two models; one has faults of its own."""

    table = VersionTable(1, {"a": Route("a", None, {}, ModelSettings(faults=(NAN,))), "b": Route("b", None, {})})


class FakeWorker:
    """Remembers; fails as told."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.told: list[tuple[str, list[Fault]]] = []
        self.fails = fails

    async def set_faults(self, model: str, faults: Sequence[Fault]) -> None:
        """Remember."""
        if self.fails is not None:
            raise self.fails
        self.told.append((model, list(faults)))


def test_every_worker_has_what_was_set_also_one_that_comes_later() -> None:
    """One that stands still or has gone keeps nobody from it; one that has left is not told."""

    async def story() -> None:
        board = FaultBoard(FakeTables())
        first, gone, stopped, left = (
            FakeWorker(),
            FakeWorker(ConnectionError()),
            FakeWorker(TimeoutError()),
            FakeWorker(),
        )
        for worker in (first, gone, stopped, left):
            await board.join(worker)
        board.leave(left)
        assert await board.set("b", (ERROR,)) == 1
        late = FakeWorker()
        await board.join(late)
        assert first.told == late.told == [("b", [ERROR])]
        assert not left.told

    asyncio.run(story())


def test_what_was_set_goes_before_the_settings() -> None:
    """Also that all is well."""

    async def story() -> None:
        board = FaultBoard(FakeTables())
        assert board.now() == {"a": (NAN,), "b": ()}
        await board.set("a", ())
        assert board.now() == {"a": (), "b": ()}

    asyncio.run(story())
