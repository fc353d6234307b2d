"""Whether there is memory, before anything is loaded."""

from __future__ import annotations

import pytest

from router.control.room import Room
from router.core.table import Version, VersionState
from router.errors import NoRoom

VERSION = Version("a", "1", "d", "/p", VersionState.READY, file_bytes=100_000_000)


def test_what_a_version_needs() -> None:
    """In all workers together: by what a session was measured to take, else by its files."""
    room = Room(lambda: 0, workers=2)
    assert room.needed(VERSION, 0, replicas=1) == 300_000_000
    assert room.needed(VERSION, 40_000_000, replicas=3) == 240_000_000


def test_a_little_is_never_given_away() -> None:
    """What is free is asked each time."""
    free = [1_000_000_000]
    room = Room(lambda: free[0], workers=2)
    room.check(VERSION, 475_000_000, replicas=1)
    with pytest.raises(NoRoom) as refused:
        room.check(VERSION, 475_000_001, replicas=1)
    assert str(refused.value) == (
        "version 1 of model 'a' needs 950 MB of memory (2 workers, 1 sessions each), 1,000 MB are free: unload another"
        " version, or give the server more"
    )
    free[0] *= 2
    room.check(VERSION, 475_000_001, replicas=1)
