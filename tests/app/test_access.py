"""A server that others reach: who has a token acts under its name, on both ports, and it stands in the audit log."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from router.core.access import digest
from router.edge.admin_client import AdminClient, AdminError
from router.errors import Status
from router.pb import inference_pb2 as pb
from router.pb import inference_pb2_grpc
from tests.server import Server, command, environment, put, running

TOKENS = {"ada": "operator", "bob": "viewer"}


def config(folder: Path) -> Path:
    """A file with a token for each name; the token of NAME is rt_NAME."""
    path = folder / "router.toml"
    path.write_text(
        "\n".join(f'[tokens.{who}]\nrole = "{role}"\nsha256 = "{digest("rt_" + who)}"' for who, role in TOKENS.items())
    )
    return path


def ask_8001(server: Server, verb: str, token: str = "") -> grpc.StatusCode:
    """How a load or unload ends."""
    request = getattr(pb, f"RepositoryModel{verb}Request")(model_name="wine")
    with grpc.insecure_channel(server.grpc) as channel:
        stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        metadata = [("authorization", f"Bearer {token}")] if token else []
        try:
            getattr(stub, f"RepositoryModel{verb}")(request, metadata=metadata, timeout=60)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK


def test_who_has_a_token_acts_under_its_name(tmp_path: Path) -> None:
    """On an address that others reach; without one nothing is shown, and loads on the inference port ask for it too."""
    flags: dict[str, object] = {"config": config(tmp_path), "admin": "0.0.0.0:0", "model_control": "explicit"}
    models = put(tmp_path / "models", "wine")
    with running(tmp_path, models=models, **flags) as server:
        admin = server.admin.replace("0.0.0.0", "127.0.0.1")
        with AdminClient(admin) as nobody, pytest.raises(AdminError, match="GetStatus needs the role viewer") as error:
            nobody.status()
        assert error.value.status is Status.UNAUTHENTICATED
        assert ask_8001(server, "Load") is grpc.StatusCode.UNAUTHENTICATED
        assert ask_8001(server, "Load", "rt_eve") is grpc.StatusCode.UNAUTHENTICATED
        assert ask_8001(server, "Load", "rt_bob") is grpc.StatusCode.PERMISSION_DENIED
        assert ask_8001(server, "Load", "rt_ada") is grpc.StatusCode.OK
        with AdminClient(admin, token="rt_bob") as bob:
            assert [route.champion for route in bob.models("wine").routes] == ["1"]
            with pytest.raises(AdminError, match="SetFallback needs the role operator, and 'bob' is viewer") as error:
                bob.set_fallback("wine", True)
            assert error.value.status is Status.PERMISSION_DENIED
            assert ask_8001(server, "Unload", "rt_ada") is grpc.StatusCode.OK
            assert bob.audit("wine").entries[-1].actor == "ada"
        said = [line["event"] for line in server.log]
        assert any(each.startswith(f"tokens come to the admin port {server.admin} in the clear") for each in said)
        assert not any("rt_" in line for line in server.err.splitlines())
        assert any(line["event"] == "somebody was refused" for line in server.log)


def test_an_address_that_others_reach_is_refused_without_credentials(tmp_path: Path) -> None:
    """One line, before anything is started."""
    done = subprocess.run(
        command(tmp_path, admin="0.0.0.0:0"), capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "Error: --admin (admin) 0.0.0.0:0 can be reached from other machines and is open to everybody"
    )
    assert not (tmp_path / "state").exists()
