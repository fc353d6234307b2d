"""`router doctor`: what would go wrong is found before it does."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.app import doctor
from router.app.cli import main
from router.app.doctor import Finding, Grade, examine
from router.config import ServerSettings
from tests.server import MODELS, put


def found(tmp_path: Path, **settings: object) -> dict[str, Finding]:
    """The findings by what was looked at."""
    given = {
        "models": MODELS, "grpc": "127.0.0.1:0", "http": "127.0.0.1:0", "admin": "127.0.0.1:0",
        "state": tmp_path / "state", "workers": 1, **settings,
    }  # fmt: skip
    return {finding.what: finding for finding in examine(ServerSettings.model_validate(given))}


def test_all_is_well(tmp_path: Path) -> None:
    """Nothing bad with the bundled models, and nothing is made or left."""
    findings = found(tmp_path)
    assert not [each for each in findings.values() if each.grade is Grade.BAD]
    assert {"Python", "grpcio", "onnxruntime", "port grpc", "memory", "cores", "open files", "h2load"} <= set(findings)
    assert not (tmp_path / "state").exists()


def test_a_taken_port(tmp_path: Path) -> None:
    """Named with the flag that chooses another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = found(tmp_path, http=f"127.0.0.1:{other.getsockname()[1]}")["port http"]
    assert taken.grade is Grade.BAD
    assert "--http" in taken.mend
    elsewhere = found(tmp_path, grpc="192.0.2.1:80")["port grpc"]
    assert elsewhere.grade is Grade.BAD


def test_no_models_or_broken_ones(tmp_path: Path) -> None:
    """A missing repository is bad, an empty one and a model with wrong settings are worth a word."""
    assert found(tmp_path, models=tmp_path / "none")["models"].grade is Grade.BAD
    (tmp_path / "empty").mkdir()
    assert found(tmp_path, models=tmp_path / "empty")["models"].grade is Grade.WARNING
    models = put(tmp_path / "models", "digits")
    (models / "digits/model.toml").write_text("frobnicate = 1")
    put(models, "wine")
    findings = found(tmp_path, models=models)
    assert "frobnicate" in findings["model digits"].found
    assert findings["memory"].grade is Grade.GOOD


def test_too_little_memory_or_too_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum is shown; more workers or threads than cores are a warning."""
    models = put(tmp_path / "models", "digits")
    (models / "digits/model.toml").write_text("[sessions]\nintra_op_threads = 200")
    monkeypatch.setattr(doctor, "MEMORY_PER_WORKER", 1 << 50)
    findings = found(tmp_path, models=models, workers=64)
    assert findings["memory"].grade is Grade.BAD
    assert findings["cores"].grade is Grade.WARNING
    assert "200" in findings["model digits"].found


def test_the_core_transport_needs_its_grpcio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad for the core transport, a warning with the other one."""
    monkeypatch.setattr(doctor, "supported", lambda: "install another grpcio")
    assert found(tmp_path)["grpcio"].grade is Grade.BAD
    assert found(tmp_path, transport="aio")["grpcio"].grade is Grade.WARNING


def test_h2load_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package to install."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    missing = found(tmp_path)["h2load"]
    assert missing.grade is Grade.WARNING
    assert "nghttp2-client" in missing.mend


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    """Found before the server is."""
    (tmp_path / "x.pem").write_text("none")
    finding = found(tmp_path, tls_cert=tmp_path / "x.pem", tls_key=tmp_path / "x.pem")["TLS"]
    assert finding.grade is Grade.BAD


def test_the_command_prints_a_table_and_fails_when_something_is_bad(tmp_path: Path) -> None:
    """Exit code 0 or 1; every line of a finding is readable without colour."""
    words = ["doctor", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    words += ["--state", str(tmp_path / "state")]
    good = CliRunner().invoke(main, [*words, "--models", str(MODELS)])
    assert good.exit_code == 0, good.output
    assert "✓" in good.output
    bad = CliRunner().invoke(main, [*words, "--models", str(tmp_path / "none")])
    assert bad.exit_code == 1
    assert "--models DIR" in bad.output
