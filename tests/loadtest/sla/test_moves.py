"""What the server tells of its versions during a run."""

from __future__ import annotations

import time

from loadtest.servers import free_port
from loadtest.sla.moves import Moves
from tests.fake_admin import served
from tests.server import eventually


def test_the_stages_of_versions_are_heard() -> None:
    """By the server's clock, in seconds since the start; other events are not moves."""
    with served() as server:
        moves = Moves(server.address)
        began = time.monotonic()
        moves.begin(began)

        async def move() -> None:
            server.lifecycle.events.tell("progress", "a", "2", "half of it")
            server.lifecycle.events.tell("moved", "a", "2", "version 2 is retired", stage="retired")

        def heard() -> bool:
            server.run(move())
            return bool(moves.seen)

        eventually(heard)
        seen = moves.end()
        assert {(each.model, each.version, each.stage) for each in seen} == {("a", "2", "retired")}
        assert 0 <= seen[0].at <= time.monotonic() - began + 0.1


def test_a_server_that_does_not_tell_is_left_in_peace() -> None:
    """Nobody is there, or it was never begun: nothing was heard, and the end is not waited for."""
    moves = Moves(f"127.0.0.1:{free_port()}")
    moves.begin(time.monotonic())
    assert moves.end() == []
    assert not moves._thread.is_alive()
    assert Moves("127.0.0.1:1").end() == []
