"""A whole server whose inputs drift: workers look, the controller compares, the command and the metrics say so."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests import slow_models
from tests.server import Server, eventually, router, running

SETTINGS = """
[drift]
window_s = 1
min_samples = 50
max_per_s = 1000
"""


def send(server: Server, mean: float, requests: int = 20) -> None:
    """So many requests of 16 rows around a mean."""
    rng = np.random.default_rng(requests)
    client = server.client()
    for _ in range(requests):
        client.infer("twice", {"x": rng.normal(mean, 1.0, 16).astype(np.float32)}, deadline=10)


@pytest.mark.story
def test_drift_is_seen_by_a_whole_server(tmp_path: Path) -> None:
    """A reference is set from a table; what comes is like it, then it is not."""
    slow_models.save(slow_models.scale(2.0), tmp_path / "models", "twice", toml=SETTINGS)
    table = tmp_path / "train.csv"
    values = np.random.default_rng(1).normal(size=2000)
    table.write_text("x\n" + "\n".join(f"{each:.4f}" for each in values), encoding="utf-8")
    with running(tmp_path, models=tmp_path / "models") as server:
        set_it = router("reference", "twice", "--data", str(table), "--admin", server.admin)
        assert "2000 rows of train.csv: 1 features" in set_it.output, set_it.output

        def status(mean: float, wanted: str) -> bool:
            send(server, mean)
            told = json.loads(router("drift", "twice", "--json", "--admin", server.admin).output)
            features = {each["name"]: each["status"] for each in told["features"] if "psi" in each}
            return features.get("x") == wanted

        eventually(lambda: status(0.0, "green"), "nothing was compared")
        eventually(lambda: status(2.0, "red"), "drift was not seen")
        page = urllib.request.urlopen(f"{server.url}/metrics", timeout=5).read().decode()
        assert 'router_drift_status{model="twice"} 2.0' in page
