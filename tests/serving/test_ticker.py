"""A look every few milliseconds, on a thread of its own."""

from __future__ import annotations

import threading

from router.serving.ticker import Ticker

LIMIT_S = 30.0


def test_it_looks_until_there_is_nothing_to_see_and_again_when_woken() -> None:
    """A look that fails is no reason to stop looking."""
    rested = threading.Event()
    looks: list[int] = []

    def look() -> bool:
        looks.append(threading.get_ident())
        if len(looks) == 2:
            raise ValueError("a fault of ours")
        if len(looks) % 5 == 0:
            rested.set()
            return False
        return True

    ticker = Ticker(0.0005, look)
    for times in (5, 10):
        ticker.wake()
        ticker.wake()
        assert rested.wait(LIMIT_S)
        rested.clear()
        assert len(looks) >= times
    assert len(set(looks)) == 1
    assert threading.get_ident() not in looks
