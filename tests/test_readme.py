"""What the README shows works: its commands and its Python are run against a real server."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from loadtest.sla import scenario
from router.config import flag, options, server_settings
from router.core.access import Role, needed
from router.core.version import drawing
from router.model_settings import ModelSettings
from router.model_settings import model_settings as settings_of
from tests.server import MODELS, ROOT, Server, environment, eventually, pixels, put, router, running, starting

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
(PBTXT,) = re.findall(r"```protobuf\n(.*?)```", README, re.DOTALL)
CONTEST = [
    command
    for command in COMMANDS
    if re.search(r"/router (challenge|split|trial|canary|cases|evidence) | --canary ", f"{command} ")
]
DECLARED = [command for command in COMMANDS if re.search(r"/router (diff|apply) ", command)]
LIFE = [
    command
    for command in COMMANDS
    if re.search(r"/router (versions|report|test|warm|plan|promote|rollback|audit|unload) ", f"{command} ")
    and command not in CONTEST
]
OWN = (
    LIFE
    + CONTEST
    + DECLARED
    + [command for command in COMMANDS if re.search(r" (serve|loadtest|explain|demo|token)\b", command)]
)
ASKS = [command for command in COMMANDS if command.startswith(".venv/bin/router ") and command not in OWN]
(
    MODEL_TOML,
    SERVER_TOML,
    CONTEST_TOML,
    DECLARED_TOML,
    HUMILITY_TOML,
    RETRAINING_TOML,
    WEBHOOK_TOML,
    SCENARIO_TOML,
) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The bundled models, on free ports; they may be made to fail."""
    with running(tmp_path_factory.mktemp("readme"), allow_faults=True) as server:
        yield server


@pytest.mark.parametrize("command", ASKS)
def test_commands_work_as_shown(server: Server, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `router` command of the README, pointed at the server of this test."""
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)[1:]
    ports = {
        "infer": ["--target", server.grpc],
        "doctor": [f"--{name}=127.0.0.1:0" for name in ("grpc", "http", "admin")],
        "token": [],
    }
    done = router(*words, *ports.get(words[0], ["--admin", server.admin]))
    assert done.exit_code == 0, done.stderr
    assert done.stdout


def test_a_request_is_explained_as_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request that the README names, then its story; the lines shown are of that kind."""
    monkeypatch.chdir(ROOT)
    about = [command for command in COMMANDS if "--id r1" in command or " explain " in command]
    assert len(about) == 3
    for _ in range(20):  # what a wait is expected to be is known from runs that came before
        server.client().infer("digits", {"pixels": pixels()}, deadline=10)
    for command in about:
        words = shlex.split(command)[1:]
        done = router(*words, *(["--target", server.grpc] if words[0] == "infer" else ["--admin", server.admin]))
        assert done.exit_code == 0, done.stderr
        if words[0] == "explain":
            (shown,) = re.findall(r"```\n(request .*?)```", README, re.DOTALL)
            told = done.stdout[done.stdout.index("request 'r1'") :]
            kinds = [re.sub(r"[\d.:]+", "#", text).splitlines()[:5] for text in (shown, told)]
            assert kinds[0] == kinds[1]


def test_serve_works_as_shown(tmp_path: Path) -> None:
    """The README's own repository with its config.pbtxt: two versions, the newest one answers."""
    (shown,) = [command for command in COMMANDS if " serve " in command]
    assert "--models my-models" in shown
    models = put(tmp_path / "my-models", "digits")
    (models / "digits").rename(models / "fraud")
    (models / "fraud" / "model.toml").unlink()
    (models / "fraud" / "config.pbtxt").write_text(PBTXT)
    with starting(tmp_path, models=models, grpc="0.0.0.0:0") as server:
        server.wait()
        assert server.process.poll() is None
        eventually(lambda: re.search("fraud .* 2 .* champion", server.out), "the banner does not name the model")


def test_the_signal_is_sent_as_shown(tmp_path: Path) -> None:
    """A version that was added is known after the README's command."""
    (shown,) = [command for command in COMMANDS if command.startswith("kill ")]
    models = put(tmp_path / "models", "digits:1")
    with running(tmp_path, models=models) as server:
        shutil.copytree(MODELS / "digits/2", models / "digits/2")
        subprocess.run(shown.replace(".router", str(server.state)), shell=True, check=True, timeout=10)
        known = server.client().index
        eventually(lambda: [each.version for each in known(deadline=10)] == ["1", "2"])


@pytest.mark.story
def test_the_life_of_a_version_is_as_shown(tmp_path: Path) -> None:
    """The README's commands one after another, as an operator types them: each does what it says."""
    assert len(LIFE) == 11
    with running(tmp_path, workers=2) as server:
        said = []
        for command in LIFE:
            words = shlex.split(command)[1:]
            done = router(*words, "--admin", server.admin)
            assert done.exit_code == 0, done.stderr
            said.append(" ".join(done.stdout.split()))
        reply = server.client().infer("digits", {"pixels": pixels()}, deadline=10)
        assert reply.version == "1"
    began, _, test, warm, report, plan, promoted, versions, back, audit, verified = said
    assert "version 1 is champion, before it 2" in began
    assert "6.0 points better" in test
    assert "agreement" in warm
    assert "exam" in report
    assert "version 2: ready → champion" in plan
    assert "version 2 is champion, before it 1" in promoted
    assert "standby" in versions
    assert "version 1 is champion, before it 2" in back
    assert "customers complain about sevens" in audit
    assert "whole" in verified


def test_the_stages_are_drawn_from_the_table() -> None:
    """The README's diagram is the program's own."""
    assert re.findall(r"```mermaid\n(.*?)```", README, re.DOTALL) == [drawing() + "\n"]


@pytest.mark.story
def test_a_challenger_is_tried_as_shown(tmp_path: Path) -> None:
    """The README's commands one after another, on a server that keeps predictions of `digits`."""
    assert len(CONTEST) == 13
    models = put(tmp_path / "models", "digits")
    with (models / "digits" / "model.toml").open("a", encoding="utf-8") as settings:
        settings.write("\n[ledger]\nenabled = true\n")
    page = tmp_path / "digits-1.html"
    with running(tmp_path, models=models) as server:
        said = []
        for command in CONTEST:
            words = shlex.split(command.replace("build/digits-1.html", str(page)))[1:]
            done = router(*words, "--admin", server.admin)
            assert done.exit_code == 0, done.stderr
            said.append(" ".join(done.stdout.split()))
    assert "25 %" in said[2]
    assert "cohort" in said[2]
    assert "trial 1 of digits 1" in said[5]
    assert "step 1 of 4" in said[8]
    assert "stopped" in said[10]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_what_a_file_declares_is_so_as_shown(tmp_path: Path) -> None:
    """Something differs, it is applied, and nothing differs."""
    diff, apply = [shlex.split(command)[1:] for command in DECLARED]
    file = tmp_path / "production.toml"
    file.write_text(DECLARED_TOML, encoding="utf-8")
    with running(tmp_path) as server:
        codes = []
        for words in (diff, apply, diff):
            command = [str(file) if word == "production.toml" else word for word in words]
            codes.append(router(*command, "--admin", server.admin).exit_code)
    assert codes == [3, 0, 0]


@pytest.mark.story
def test_the_demo_loses_nothing() -> None:
    """As the README says: exit code 0 only if no request failed, was wrong, or went back, the better version has won
    and the broken one was sent back."""
    (shown,) = [command for command in COMMANDS if command.endswith(" demo")]
    words = [str(Path(sys.executable).with_name("router")), *shlex.split(shown)[1:]]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "three in ten runs of version 3 fail" in done.stdout
    assert "router rollback: version 1 answers" in done.stdout


def test_python_works_as_shown(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's Python, pointed at the server of this test."""
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block.replace("127.0.0.1:8001", server.grpc), "README.md", "exec"), {})
    assert "champion 2" in capsys.readouterr().out


def test_model_toml_is_as_shown(tmp_path: Path) -> None:
    """Every key of the README's model.toml is known, and every known key is shown."""
    shown = MODEL_TOML + CONTEST_TOML
    (tmp_path / "model.toml").write_text(shown)
    read = settings_of(tmp_path / "model.toml")
    for name in ModelSettings.model_fields:
        part = getattr(read, name)
        for key in getattr(type(part), "model_fields", ()):
            assert re.search(rf"^{key} =", shown, re.MULTILINE), f"[{name}] {key} is not shown"
    known = ModelSettings()
    assert read.trial.model_copy(update={"within": None}) == known.trial
    assert read.canary.model_copy(update={"tolerance": None}) == known.canary


def test_rules_of_humility_are_as_shown(tmp_path: Path) -> None:
    """The README's rules fit the bundled model that they are shown for."""
    models = put(tmp_path / "models", "digits-small")
    with (models / "digits-small" / "model.toml").open("a", encoding="utf-8") as settings:
        settings.write(HUMILITY_TOML)
    read = settings_of(models / "digits-small" / "model.toml").humility.rules
    assert [(rule.name, rule.then) for rule in read] == [("torn", "override"), ("off-paper", "error")]


def test_what_begins_a_retraining_and_who_hears_of_it_is_as_shown(tmp_path: Path) -> None:
    """The README's tables of router.toml are read, and are what the server goes by."""
    secret = tmp_path / "webhook.secret"
    secret.write_bytes(b"s" * 32)
    shown = RETRAINING_TOML + WEBHOOK_TOML.replace("/etc/router/webhook.secret", str(secret))
    (tmp_path / "router.toml").write_text(shown, encoding="utf-8")
    read = server_settings(tmp_path / "router.toml", {})
    assert (read.retraining["digits"].on_drift, read.retraining["digits"].then) == ("red", "promote")
    assert read.webhook.url == "https://hooks.example/router"
    assert "retraining" in read.webhook.events


def test_the_settings_of_the_server_are_as_shown(tmp_path: Path) -> None:
    """The example can be read, and the table names every key with its flag, default and meaning."""
    (tmp_path / "router.toml").write_text(SERVER_TOML)
    assert server_settings(tmp_path / "router.toml", {}).model_fields_set == {"models", "grpc", "drain_delay_s"}
    rows = ["| key | flag | default | what |", "|---|---|---|---|"]
    for key, field in options().items():
        default = field.default if isinstance(field.default, int | float) else str(field.default)
        shown = "" if field.default in {None, (), PydanticUndefined} else f"`{json.dumps(default)}`"
        rows.append(f"| `{key}` | `{flag(key)}` | {shown} | {field.description} |")
    table = "\n".join(rows)
    assert table in README, f"the table of settings should be\n{table}"


def test_what_each_role_may_is_as_shown() -> None:
    """The table has every role, in order; what it says of them is what the rules say."""
    shown = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README.partition("### Who may do what")[2], re.MULTILINE)[:4])
    assert list(shown) == [role.word for role in Role]
    says = {"load": "LoadModel", "freeze": "Freeze", "faults": "SetFaults", "quarantine": "ClearQuarantine"}
    for word, method in {**says, "audit log": "ListAudit", "roll back": "Rollback"}.items():
        assert [role for role, text in shown.items() if word in text] == [needed(method).word], word


def test_the_scenario_is_as_shown() -> None:
    """It could be run as it stands; the list of scenarios names all of them."""
    assert scenario.parse(SCENARIO_TOML, "README.md").seconds == 12
    assert all(f"`{name}`" in README for name in scenario.shipped())


def test_the_load_tests_are_those_of_the_makefile() -> None:
    """`make loadtest` runs what the README shows."""
    shown = [command for command in COMMANDS if " loadtest run " in command]
    makefile = (ROOT / "Makefile").read_text()
    assert len(shown) == 2
    for command in shown:
        assert command.split(" --html")[0].removeprefix(".venv/bin/") in makefile


def test_the_two_commands_are_those_of_the_makefile() -> None:
    """`make run` and `make test` are the way in."""
    assert {"make run", "make test"} <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.startswith("make "):
            assert re.search(rf"^{command.removeprefix('make ')}:", makefile, re.MULTILINE)


def test_links_and_pictures_exist() -> None:
    """No dead link inside the repository; pictures are small."""
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target
        if target.endswith((".svg", ".png")):
            assert (ROOT / target).stat().st_size < 200_000
    assert shutil.which("make")
