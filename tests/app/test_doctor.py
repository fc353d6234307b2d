"""`router doctor`: what would go wrong is found before it does."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.app import checks, doctor
from router.app.cli import main
from router.app.doctor import Finding, Grade, examine
from router.app.state import owned
from router.config import ServerSettings
from router.control.database import FILE, Database
from router.control.records import Change
from router.edge.tables import from_text, to_text
from tests.server import BOUND_S, MODELS, command, environment, free_port, put
from tests.slow_models import save, scale, unknown_operator


def found(tmp_path: Path, **settings: object) -> dict[str, Finding]:
    """The findings by what was looked at, with a repository of one model unless another one is named."""
    if not (models := tmp_path / "one").exists():
        save(scale(1), models, "scale")
    given = {
        "models": models, "grpc": "127.0.0.1:0", "http": "127.0.0.1:0", "admin": "127.0.0.1:0",
        "state": tmp_path / "state", "workers": 1, **settings,
    }  # fmt: skip
    return {finding.what: finding for finding in examine(ServerSettings.model_validate(given))}


def test_all_is_well(tmp_path: Path) -> None:
    """Nothing bad with the bundled models, and nothing is made or left."""
    findings = found(tmp_path, models=MODELS)
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
    (models / "wine/model.toml").write_text('[fallback]\nchain = ["failover"]\nfailover = "digits:9"\n')
    findings = found(tmp_path, models=models)
    assert "frobnicate" in findings["model digits"].found
    assert "`fallback.failover` = 'digits:9': model 'digits' has no such version; it has 1, 2" in (
        findings["model wine"].found
    )
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


def test_faults_are_worth_a_word(tmp_path: Path) -> None:
    """Where they are allowed, and where a model has some that are not."""
    assert "faults" not in found(tmp_path)
    models = put(tmp_path / "models", "wine")
    (models / "wine/model.toml").write_text('[faults]\nkind = "error"')
    assert "--allow-faults" in found(tmp_path, models=models)["model wine"].found
    allowed = found(tmp_path, models=models, allow_faults=True)
    assert allowed["model wine"].grade is Grade.GOOD
    assert allowed["faults"].grade is Grade.WARNING


def test_the_core_transport_needs_its_grpcio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad for the core transport, a warning with the other one."""
    monkeypatch.setattr(checks, "supported", lambda: "install another grpcio")
    assert found(tmp_path)["grpcio"].grade is Grade.BAD
    assert found(tmp_path, transport="aio")["grpcio"].grade is Grade.WARNING


def test_h2load_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package to install."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    missing = found(tmp_path)["h2load"]
    assert missing.grade is Grade.WARNING
    assert "nghttp2-client" in missing.mend


# ---- what `serve` refuses, the doctor finds ----


def refused(folder: Path, **flags: object) -> str:
    """The line of a server that does not start."""
    done = subprocess.run(
        command(folder, **flags), capture_output=True, text=True, timeout=BOUND_S, env=environment(), check=False
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return line.removeprefix("Error: ")


def agree(folder: Path, **flags: object) -> None:
    """The doctor's one bad finding says what the server says."""
    (folder / "empty").mkdir(exist_ok=True)  # what models there are changes nothing
    flags = {"models": folder / "empty", **flags}
    bad = [finding for finding in found(folder, **flags).values() if finding.grade is Grade.BAD]
    assert len(bad) == 1, bad
    words = {name.removesuffix("s") if name == "load_models" else name: value for name, value in flags.items()}
    assert refused(folder, **words) == f"{bad[0].found}; {bad[0].mend}"


def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """A file in its place, a running server's, a store that is none."""
    (tmp_path / "file").write_text("")
    agree(tmp_path, state=tmp_path / "file")
    agree(tmp_path, state=tmp_path / "file/below")
    with owned(tmp_path / "taken"):
        agree(tmp_path, state=tmp_path / "taken")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/router.db").write_bytes(b"\xff" * 100)
    agree(tmp_path, state=tmp_path / "torn")


def test_addresses_that_cannot_work(tmp_path: Path) -> None:
    """The same address twice, one that is not ours, a name that can be none."""
    port = free_port()
    agree(tmp_path, grpc=f"127.0.0.1:{port}", http=f"127.0.0.1:{port}")
    agree(tmp_path, grpc="192.0.2.1:80")
    agree(tmp_path, http="a..b:8001")


def test_a_repository_that_cannot_be_served(tmp_path: Path) -> None:
    """None, or without the model that is to be loaded."""
    agree(tmp_path, models=tmp_path / "none")
    models = put(tmp_path / "models", "digits:1")
    agree(tmp_path, models=models, model_control="explicit", load_models=("digits", "digitz"))


@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_models_that_are_loaded_unasked(command: str) -> None:
    """Both refuse in the same words."""
    result = CliRunner().invoke(main, [command, "--load-model", "x"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: --load-model (load_models) goes with --model-control explicit: without it every model is served\n"
    )


# ---- who approves ----


def test_a_model_that_nobody_can_approve(tmp_path: Path) -> None:
    """Where everybody is `local` nobody is somebody else; the line has the mend. Where enough are known all is well."""
    assert "approvals" not in found(tmp_path)
    alone = found(tmp_path, importance={"scale": "high"})["approvals"]
    assert alone.grade is Grade.WARNING
    assert (
        alone.found == "models of importance high ('scale') need 1 approval by others, and whoever asks here is 'local'"
    )
    assert alone.mend.startswith("`router token create NAME --role approver --config FILE` makes somebody known, or")
    tokens = {who: {"role": "approver", "sha256": digit * 64} for who, digit in (("ada", "a"), ("bob", "b"))}
    enough = found(tmp_path, importance={"scale": "high"}, tokens=tokens)["approvals"]
    assert (enough.grade, enough.found) == (Grade.GOOD, "those known here are enough for importance high")


def test_what_was_declared_of_a_model_counts(tmp_path: Path) -> None:
    """As it does for the server; the store is only read."""
    (tmp_path / "state").mkdir()
    database = Database(tmp_path / "state" / FILE, to_text, from_text)
    database.open()
    database.save(Change(importance={"scale": "critical"}))
    database.close()
    short = found(tmp_path)["approvals"]
    assert short.grade is Grade.WARNING
    assert short.found.startswith("models of importance critical ('scale') need 2 approvals by others")


def test_a_policy_of_a_model_that_is_not_there(tmp_path: Path) -> None:
    """It may be a slip of the pen: the model that is meant is of low importance then, and is never trained anew."""
    importance = {"scale": "low", "scala": "moderate"}
    findings = found(tmp_path, importance=importance, retraining={"scala": {"schedule": "0 3 * * *"}})
    slip = findings["importance 'scala'"]
    assert slip.grade is Grade.WARNING
    assert slip.found.startswith("[importance] names 'scala', and ")
    assert "importance 'scale'" not in findings
    other = findings["retraining 'scala'"]
    assert (other.grade, "'scale' is there" in other.mend) == (Grade.WARNING, True)
    settings = ServerSettings.model_validate({"models": tmp_path / "one", "retraining": {"scale": {}}})
    (well,) = doctor._policies(settings)
    assert (well.grade, well.found) == (Grade.GOOD, "has a policy for 'scale'")


# ---- models ----


def test_models_are_tried(tmp_path: Path) -> None:
    """What a server would list as unavailable is found with its reason, and what would answer in its place."""
    models = put(tmp_path / "models", "digits")
    (models / "digits/model.toml").write_text("")
    (models / "digits/3").mkdir()
    (models / "digits/3/model.onnx").write_text("none")
    save(unknown_operator(), models, "broken")
    (models / "flat").mkdir()
    (models / "flat/model.onnx").write_text("")
    listed = list(examine(ServerSettings(models=models, state=tmp_path / "state")))
    by_model = {each.what: (each.grade, each.found) for each in listed if each.what.startswith("model ")}
    assert by_model["model digits"][0] is Grade.WARNING
    assert by_model["model digits"][1].startswith("version 3: ")
    assert "Frobnicate" in by_model["model broken"][1]
    assert by_model["model flat"] == (Grade.WARNING, "it has no version: move `flat/model.onnx` to `flat/1/model.onnx`")
    assert not any("SIGHUP" in each.mend for each in listed), "no server runs"
    (models / "digits/3/model.onnx").unlink()
    (models / "digits/3").rmdir()
    good = found(tmp_path, models=models)["model digits"]
    assert (good.grade, good.found) == (Grade.GOOD, "version 2 would answer")


def test_what_was_found_out_is_there_for_the_server(tmp_path: Path) -> None:
    """In a state directory that is there; none is made for it."""
    models = put(tmp_path / "models", "digits:1")
    found(tmp_path, models=models)
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    found(tmp_path, models=models)
    assert list((tmp_path / "state/inspected").glob("*.json"))


def test_progress_is_told(tmp_path: Path) -> None:
    """Each version before it is tried, and the end."""
    told: list[tuple[int, int, str]] = []
    settings = ServerSettings(models=put(tmp_path / "models", "digits:1", "wine"), state=tmp_path / "state")
    list(examine(settings, lambda done, of, upcoming: told.append((done, of, upcoming.model if upcoming else "-"))))
    assert told == [(0, 2, "digits"), (1, 2, "wine"), (2, 2, "-")]


def test_findings_for_programs(tmp_path: Path) -> None:
    """One JSON object, and the exit code as without it."""
    words = ["doctor", "--json", "--grpc=127.0.0.1:0", "--http=127.0.0.1:0", "--admin=127.0.0.1:0"]
    words += ["--state", str(tmp_path / "state"), "--models"]
    models = put(tmp_path / "models", "wine")
    good = CliRunner().invoke(main, [*words, str(models)])
    assert good.exit_code == 0
    told = json.loads(good.stdout)
    assert told["good"] is True
    assert {"grade": "good", "what": "model wine", "found": "version 1 would answer", "mend": ""} in told["findings"]
    bad = CliRunner().invoke(main, [*words, str(tmp_path / "none")])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["good"] is False


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
