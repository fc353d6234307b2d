"""The line to paste works when it is pasted, and a server that serves nothing says so."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from router.app.banner import banner
from router.client import Client, tls
from router.config import ServerSettings
from router.core.table import Route, Version, VersionState, VersionTable
from tests.server import MODELS, ROOT, answered, certificates, environment, eventually, put, running

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def table(**champions: str | None) -> VersionTable:
    """Models with one version each."""
    state = VersionState.READY
    routes = {name: Route(name, number, {"1": Version(name, "1", "", "", state)}) for name, number in champions.items()}
    return VersionTable(1, routes)


def said(capsys: pytest.CaptureFixture[str], made: VersionTable, **settings: object) -> str:
    """What is printed below the table."""
    banner(ServerSettings.model_validate(settings), made)
    return capsys.readouterr().out.partition("admin  ")[2]


def words(text: str) -> list[str]:
    """The words of the line to paste, as a shell splits them."""
    return shlex.split(text.partition("try it in a second terminal:")[2])


def test_what_is_pasted_is_quoted_for_the_shell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Paths, models and hosts with spaces, quotes and brackets stay one word each."""
    models = tmp_path / "my 'models' [x]"
    put(models, "digits")
    (models / "digits").rename(models / "two words")
    line = words(said(capsys, table(**{"two words": "1"}), models=models, grpc="[::1]:9"))
    assert line[1:] == ["infer", "two words", "--input", str(models / "two words/image.npy"), "--target", "[::1]:9"]
    (models / "two words").rename(models / "-x")
    assert words(said(capsys, table(**{"-x": "1"}), models=models)) == []


@needs_openssl
def test_the_line_with_tls_works_when_it_is_pasted(tmp_path: Path) -> None:
    """The certificate is good for `localhost` only, and its path has a space. Who does not trust it is not answered."""
    folder = tmp_path / "two words"
    models = put(folder / "models", "digits")
    key, certificate = certificates(folder, "DNS:localhost")
    with running(folder, models=models, tls_cert=certificate, tls_key=key) as server:
        eventually(lambda: "try it" in server.out)
        line = server.out.partition("try it in a second terminal:")[2].strip()
        done = subprocess.run(
            line, shell=True, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, line + done.stderr
        assert "--tls-ca" in line
        assert answered(server.grpc.replace("127.0.0.1", "localhost"), tls(certificate.read_bytes()))
        assert not answered(server.grpc, None)


@needs_openssl
def test_the_host_is_one_that_the_certificate_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """This machine's by preference; a certificate that somebody signed is not trusted by itself."""
    made = table(digits="1")
    for names, target in (
        ("IP:127.0.0.1", []),
        ("DNS:*.example,DNS:models.example", ["--target", "models.example:8001"]),
        ("IP:::1", ["--target", "[::1]:8001"]),
    ):
        key, certificate = certificates(tmp_path, names)
        line = words(said(capsys, made, models=MODELS, tls_cert=certificate, tls_key=key))
        assert line[5:] == [*target, "--tls-ca", str(certificate)]
    request, signed = tmp_path / "request.pem", tmp_path / "signed.pem"
    for command in (
        f"openssl req -new -key {key} -subj /CN=models.example -out {request}",
        f"openssl x509 -req -in {request} -CA {certificate} -CAkey {key} -CAcreateserial -out {signed} -days 2",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    text = said(capsys, made, models=MODELS, tls_cert=signed, tls_key=key)
    assert words(text)[5:7] == ["--tls-ca", "CA.pem"]
    assert "who signed yours" in text
    text = said(capsys, made, models=MODELS, tls_cert=signed, tls_key=key, tls_client_ca=certificate)
    assert words(text)[5:11] == ["--tls-ca", "CA.pem", "--tls-cert", "CERT.pem", "--tls-key", "KEY.pem"]
    assert "who signed yours; CERT.pem, KEY.pem: a certificate that" in text


@needs_openssl
def test_with_client_certificates_the_line_works_when_they_are_put_in(tmp_path: Path) -> None:
    """Which certificate a caller has is not known here: the line holds its place, and says which one will do.

    Who has none is not answered.
    """
    models = put(tmp_path / "models", "digits:1")
    key, certificate = certificates(tmp_path)
    with running(tmp_path, models=models, tls_cert=certificate, tls_key=key, tls_client_ca=certificate) as server:
        eventually(lambda: "try it" in server.out)
        line, _, note = server.out.partition("try it in a second terminal:")[2].strip().partition("  (")
        assert line.endswith("--tls-cert CERT.pem --tls-key KEY.pem")
        assert f"a certificate that {certificate} has signed, and its key" in note
        line = line.replace("CERT.pem", str(certificate)).replace("KEY.pem", str(key))
        done = subprocess.run(
            line, shell=True, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, line + done.stderr
        ca = certificate.read_bytes()
        assert answered(server.grpc, tls(ca, key.read_bytes(), ca))
        assert not answered(server.grpc, tls(ca))
        assert not answered(server.grpc, None)


def test_nothing_served_is_said_with_the_mend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An empty repository, one in which nothing can be served, and models that wait to be asked for."""
    state = tmp_path / "my state"
    mend = f"kill -HUP $(cat '{state}/lock')"
    empty = said(capsys, table(), models=tmp_path, state=state)
    assert f"nothing is served: {tmp_path} holds no model; put one at {tmp_path}/NAME/1/model.onnx, then" in empty
    assert mend in empty
    broken = said(capsys, table(digits=None), models=MODELS, state=state)
    assert "nothing is served, for the reasons above" in broken
    assert mend in broken
    waiting = said(capsys, table(digits=None), models=MODELS, model_control="explicit")
    assert "nothing is served yet: clients load" in waiting
    assert "--load-model NAME" in waiting
    assert "nothing" not in said(capsys, table(digits="1"), models=MODELS)


def known(client: Client, model: str) -> bool:
    """Whether the server lists the model."""
    return model in {each.name for each in client.index(deadline=10)}


def test_an_empty_repository_is_served_until_it_holds_something(tmp_path: Path) -> None:
    """The server is ready, says that nothing is served, and the command that it shows makes it look again."""
    models = tmp_path / "models"
    models.mkdir()
    with running(tmp_path, models=models) as server:
        eventually(lambda: "nothing is served" in server.out)
        put(models, "digits:1")
        line = server.out.partition("have it looked at again:")[2].strip()
        subprocess.run(line, shell=True, check=True, timeout=10)
        client = server.client()
        eventually(lambda: known(client, "digits") and client.model_ready("digits", deadline=10))
