"""What is done again and again goes on, whatever becomes of it once."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from router.app.rounds import rounds
from router.errors import Refused


@pytest.mark.parametrize("where", ["work", "pause"])
def test_a_fault_costs_one_round(where: str) -> None:
    """One that is for a person has its line in the log, one of ours all that is known of it; then it goes on."""

    async def test() -> None:
        stop = asyncio.Event()
        faults: list[Exception] = [Refused("the disk is full"), ValueError("oops")]
        done: list[str] = []

        def pause() -> float:
            if where == "pause" and faults:
                raise faults.pop(0)
            return 0.0

        async def work() -> None:
            if faults:
                raise faults.pop(0)
            done.append("a round")
            if len(done) == 2:
                stop.set()

        with capture_logs() as told:
            await asyncio.wait_for(rounds(work, pause, stop, "it could not go on", rest_s=0.0), 10)
        assert len(done) == 2
        assert [(each["event"], each["log_level"]) for each in told] == [("it could not go on", "error")] * 2
        assert told[0]["reason"] == "the disk is full"
        assert told[1]["exc_info"]

    asyncio.run(test())


def test_it_ends_when_it_is_cancelled() -> None:
    """As at the end of the process: that is no fault."""

    async def test() -> None:
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            await asyncio.Event().wait()

        going = asyncio.ensure_future(rounds(work, lambda: 0.0, asyncio.Event(), "it could not go on"))
        await begun.wait()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    asyncio.run(test())
