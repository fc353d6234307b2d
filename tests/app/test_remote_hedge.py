"""Two servers: what is slow on the first is answered by the second, and when that is gone the first answers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router.client import Reply
from tests import slow_models
from tests.server import Server, eventually, running

DEADLINE_S = 20.0


QUICK, SLOW = 1, 666


def ask(server: Server, x: int = SLOW) -> Reply:
    """One request, answered rightly."""
    reply = server.client().infer("slow", {"x": np.full((1, 1), x, np.float32)}, deadline=DEADLINE_S)
    assert reply["y"].tolist() == [[x]]
    return reply


def slow_among_quick(server: Server) -> Reply:
    """The answer to a run that takes much longer than most do: only such a run is hedged."""
    for _ in range(20):
        ask(server, QUICK)
    return ask(server)


@pytest.mark.story
def test_a_slow_model_is_hedged_to_another_server(tmp_path: Path) -> None:
    """The reply says that it came from elsewhere, and nothing of where."""
    slow_models.save(slow_models.slow(1, 8), tmp_path / "far/models", "quick")
    with running(tmp_path / "far", models=tmp_path / "far/models") as far:
        toml = f'[hedge]\nbudget = 0.5\ntarget = "grpc://{far.grpc}/quick"\n'
        slow_models.save(slow_models.lasting(0.03), tmp_path / "near/models", "slow", toml=toml)
        with running(tmp_path / "near", models=tmp_path / "near/models") as near:
            hedged = eventually(
                lambda: reply if (reply := slow_among_quick(near)).served_by == "hedge" else None,
                "no slow run was answered by the other server",
            )
            assert hedged is not None
            assert (hedged.model, hedged.version, hedged.degraded) == ("slow", "", False)
            assert hedged.parameters["remote"] is True
            assert far.grpc not in str(hedged.parameters)
            assert far.stop() == 0
            for _ in range(5):
                assert slow_among_quick(near).served_by == "champion"
