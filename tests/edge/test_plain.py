"""Messages as objects for JSON."""

from __future__ import annotations

import json

from router.edge.plain import plain
from router.pb import admin_pb2 as pb


def test_numbers_are_numbers_and_every_field_is_there() -> None:
    """64-bit integers too, and lists that are empty."""
    assert plain(pb.ListModelsResponse()) == {"generation": 0, "routes": [], "loading": False}
    status = pb.Status(generation=1 << 62, ready=True)
    status.processes.add(name="worker-0", pid=7, resident_bytes=1 << 40)
    status.addresses["grpc"] = "127.0.0.1:8001"
    told = json.loads(json.dumps(plain(status)))
    assert told["generation"] == 1 << 62
    assert told["uptime_seconds"] == 0
    assert told["processes"] == [{"name": "worker-0", "pid": 7, "state": "", "resident_bytes": 1 << 40, "restarts": 0}]
    assert told["addresses"] == {"grpc": "127.0.0.1:8001"}
    assert told["ready"] is True


def test_a_message_that_was_not_set_is_left_out() -> None:
    """Nobody said what the version takes: there is no signature, and no empty one."""
    answer = pb.ListModelsResponse()
    route = answer.routes.add(model="m")
    route.versions.add(number="1")
    route.versions.add(number="2").signature.inputs.add(name="x").shape.add(size=-1)
    first, second = plain(answer)["routes"][0]["versions"]
    assert "signature" not in first
    assert second["signature"]["inputs"][0]["shape"] == [{"size": -1, "symbol": ""}]
