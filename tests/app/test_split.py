"""A split on a real server: made by an operator, kept to by every worker, and gone with the challenger."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest

from router.core.split import PLACES, place
from router.edge.admin_client import AdminClient, AdminError
from router.edge.inference import SERVICE
from router.pb import inference_pb2 as pb
from router.pb.admin_pb2 import MetadataMatch
from tests.server import Server, eventually, pixels, put, running

Pairs = tuple[tuple[str, str], ...]
BETA: Final[Pairs] = (("x-cohort", "beta"),)


def asked(request_id: str = "", version: str = "", route_key: str = "") -> bytes:
    """A request for `digits`, as it travels."""
    message = pb.ModelInferRequest(model_name="digits", model_version=version, id=request_id)
    message.inputs.add(name="pixels", datatype="FP32", shape=[1, 64])
    message.raw_input_contents.append(pixels().tobytes())
    if route_key:
        message.parameters["route_key"].string_param = route_key
    return message.SerializeToString()


class Caller:
    """A caller with a connection of its own, that tells who served it."""

    def __init__(self, server: Server) -> None:
        self._channel = grpc.insecure_channel(server.grpc, (("grpc.use_local_subchannel_pool", 1),))

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def ask(self, message: bytes, metadata: Pairs = ()) -> tuple[str, str]:
        """Version and mark."""
        call: Any = self._channel.unary_unary(f"/{SERVICE}/ModelInfer")
        response = pb.ModelInferResponse.FromString(call(message, metadata=metadata, timeout=10))
        return response.model_version, response.parameters["served_by"].string_param

    def stream(self, messages: list[bytes], metadata: Pairs = ()) -> list[str]:
        """The marks of the answers on one stream."""
        call: Any = self._channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        replies = [pb.ModelStreamInferResponse.FromString(each) for each in call(iter(messages), metadata=metadata)]
        return [each.infer_response.parameters["served_by"].string_param for each in replies]


def keyless(server: Server) -> float:
    """How many requests were split by chance."""
    lines = httpx.get(server.url + "/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith('router_keyless_total{model="digits"'))


def test_callers_are_held_to_their_version(tmp_path: Path) -> None:
    """By metadata, route_key or id, on every connection and by both workers; without a key by chance, and counted.

    A share that moves takes no caller from the challenger; a challenger that is withdrawn leaves all to the champion.
    """
    models = put(tmp_path / "models", "digits")
    users = [f"user-{number}" for number in range(40)]
    at = {user: place("digits", user.encode()) for user in users}
    with running(tmp_path, models=models, workers=2) as server, AdminClient(server.admin) as admin:
        admin.challenge("digits", "1", 30.0, matches=[MetadataMatch(key="x-cohort", value="beta")])
        for _ in range(4):
            with Caller(server) as caller:
                for user in users:
                    expected = ("1", "challenger") if at[user] < 0.3 * PLACES else ("2", "champion")
                    assert caller.ask(asked(user)) == expected
                    assert caller.ask(asked("another", route_key=user)) == expected
                assert caller.ask(asked(users[0]), BETA) == ("1", "challenger")
                assert caller.ask(asked(), BETA) == ("1", "challenger")
                assert caller.ask(asked(version="1"), BETA) == ("1", "version")
        assert keyless(server) == 0
        with Caller(server) as caller:
            marks = [caller.ask(asked())[1] for _ in range(60)]
            assert set(marks) == {"champion", "challenger"}
            eventually(lambda: keyless(server) == 60, "the workers do not say how many had no key")
            admin.set_split("digits", {"1": 60.0})
            expected_marks = ["challenger" if at[user] < 0.6 * PLACES else "champion" for user in users]
            assert caller.stream([asked(user) for user in users]) == expected_marks
            assert caller.stream([asked(user) for user in users[:5]], BETA) == ["challenger"] * 5
            with pytest.raises(AdminError, match="it is to lie from 0 to 100"):
                admin.set_split("digits", {"1": 101.0})
            assert caller.stream([asked(user) for user in users]) == expected_marks
            admin.withdraw("digits", "1")
            assert caller.stream([asked(user) for user in users], BETA) == ["champion"] * len(users)
