"""Health of a model on a real server: it follows what its sessions do."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests import slow_models
from tests.server import eventually, running

TOML = """
[fallback]
chain = ["default"]
default = { y = 0.0 }
"""


def test_a_model_that_fails_all_the_time_is_not_serving_and_comes_back(tmp_path: Path) -> None:
    """A watch is told of both; the server itself serves on."""
    slow_models.save(slow_models.picky(), tmp_path / "models", "picky", toml=TOML)
    with running(tmp_path, models=tmp_path / "models") as server, grpc.insecure_channel(server.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="picky"), timeout=60)
        check = health_pb2.HealthCheckRequest(service="picky")
        states = (each.status for each in watch)
        assert next(states) == health_pb2.HealthCheckResponse.SERVING
        client = server.client()

        def ask(place: int) -> None:
            inputs = {"x": np.ones(3, np.float32), "i": np.array([place])}
            client.infer("picky", inputs, deadline=5)

        def ill() -> bool:
            ask(99)
            status: int = stub.Check(check, timeout=5).status
            return status == health_pb2.HealthCheckResponse.NOT_SERVING

        eventually(ill)
        assert next(states) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == health_pb2.HealthCheckResponse.SERVING
        assert next(states) == health_pb2.HealthCheckResponse.SERVING
