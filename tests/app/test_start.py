"""Starts that are refused in one line, and starts with TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.app.cli import main
from router.client import tls
from tests.server import (
    BOUND_S,
    answered,
    certificates,
    command,
    environment,
    pixels,
    put,
    running,
)


def refused(folder: Path, **flags: object) -> str:
    """What a server says that does not start: one line."""
    done = subprocess.run(
        command(folder, **flags), capture_output=True, text=True, timeout=BOUND_S, env=environment(), check=False
    )
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in done.stderr
    return lines[0]


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    """On the same state directory or a taken port, in one line with the mend; the first serves on."""
    first, second = tmp_path / "first", tmp_path / "second"
    with running(first, models=put(first / "models", "digits:1")) as server:
        assert "--state" in refused(second, state=server.state)
        assert "--grpc" in refused(second, grpc=server.grpc)
        assert "--admin" in refused(second, admin=server.admin)
        assert server.client().infer("digits", {"pixels": pixels()}, deadline=10)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"models": "/nowhere"}, "--models"),
        ({"workers": "many"}, "--workers"),
        ({"workers": "0"}, "workers"),
        ({"grpc": "8001"}, "HOST:PORT"),
        ({"admin": "0.0.0.0:8003"}, "admin"),
        ({"transport": "tcp"}, "--transport"),
        ({"frobnicate": "1"}, "--frobnicate"),
        ({"load_model": "x"}, "--model-control explicit"),
        ({"tls_cert": "/nowhere.pem"}, "tls_key"),
        ({"tls_cert": "/nowhere.pem", "tls_key": "/nowhere.pem"}, "cannot be read"),
        ({"config": "/nowhere.toml"}, "cannot be read"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, flags: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each names the setting; no traceback, no page of help; nothing is started."""
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it started"))
    result = CliRunner().invoke(main, command(tmp_path, **flags)[1:])
    assert result.exit_code in {1, 2}
    (line,) = result.output.splitlines()
    assert line.startswith("Error: ")
    assert words in line


def test_load_model_names_a_model_that_is_there(tmp_path: Path) -> None:
    """A name that the repository does not hold ends the start in one line."""
    models = put(tmp_path / "models", "digits:1")
    line = refused(tmp_path, models=models, model_control="explicit", load_model="digitz")
    assert "digitz" in line


def test_a_store_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The mend is named; nothing is overwritten."""
    models = put(tmp_path / "models", "digits:1")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/router.db").write_text("{" * 100)
    assert "router.db" in refused(tmp_path, models=models)
    assert (tmp_path / "state/router.db").read_text() == "{" * 100


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_mutual_tls_on_the_other_transport(tmp_path: Path) -> None:
    """Only clients that the server knows are answered. What the core transport does stands in test_banner."""
    key, certificate = certificates(tmp_path)
    models = put(tmp_path / "models", "digits:1")
    flags = {"transport": "aio", "tls_cert": certificate, "tls_key": key, "tls_client_ca": certificate}
    with running(tmp_path, models=models, **flags) as server:
        ca = certificate.read_bytes()
        assert answered(server.grpc, tls(ca, key.read_bytes(), ca))
        assert not answered(server.grpc, tls(ca))
        assert not answered(server.grpc, None)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_a_key_that_does_not_fit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate with another's key, or no PEM at all, is refused in one line before anything starts."""
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it started"))
    (tmp_path / "other").mkdir()
    _, certificate = certificates(tmp_path)
    other, _ = certificates(tmp_path / "other")
    (tmp_path / "none.pem").write_text("none")
    for pem in (certificate, tmp_path / "none.pem"):
        result = CliRunner().invoke(main, command(tmp_path, tls_cert=pem, tls_key=other)[1:])
        (line,) = result.output.splitlines()
        assert "not a certificate and its key" in line
