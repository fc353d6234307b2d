"""`router token create`: what it prints is what a server takes; a file is changed as a whole or not at all."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.app import token as token_module
from router.app.access import admin_credentials, open_doors, register_of
from router.app.token import append, token
from router.config import ServerSettings, server_settings
from router.core.access import LOCAL, Caller, Register, Role, digest
from router.errors import SettingsError


def create(*words: str | Path) -> Result:
    """The command, run."""
    return CliRunner().invoke(token, ["create", *map(str, words)])


def shown(result: Result) -> str:
    """The token that was printed."""
    assert result.exit_code == 0, result.output
    (found,) = re.findall("^rt_[A-Za-z0-9_-]{43}$", result.output, re.MULTILINE)
    return str(found)


def test_the_printed_lines_let_the_printed_token_in(tmp_path: Path) -> None:
    """The token itself stands in no file."""
    result = create("ada", "--role", "operator")
    made = shown(result)
    lines = result.output[result.output.index("[tokens.ada]") :]
    assert made not in lines
    (tmp_path / "router.toml").write_text(lines)
    register = register_of(server_settings(tmp_path / "router.toml", {}))
    actor = register.actor(Caller(digest(made)), "Promote")
    assert (actor.name, actor.role) == ("ada", Role.OPERATOR)
    assert shown(create("ada", "--role", "operator")) != made


@pytest.mark.parametrize("name", ["ada", "ada@example.org", 'a "quoted" \\ name', "Zoë 😀", "a.b"])
def test_a_file_gets_the_token(tmp_path: Path, name: str) -> None:
    """Whatever the name; what stood in the file stays, and the file is for its owner only where it is new."""
    config = tmp_path / "router.toml"
    made = shown(create(name, "--role", "admin", "--config", config))
    assert config.stat().st_mode & 0o777 == 0o600
    assert made not in config.read_text()
    config.write_text("# mine\n[server]\nworkers = 1  # one" + "\n\n" + config.read_text())
    config.chmod(0o640)
    second = shown(create("other", "--role", "viewer", "--config", config))
    assert config.read_text().startswith("# mine\n[server]\nworkers = 1  # one\n")
    assert config.stat().st_mode & 0o777 == 0o640
    settings = server_settings(config, {})
    assert settings.workers == 1
    assert {who: each.sha256 for who, each in settings.tokens.items()} == {name: digest(made), "other": digest(second)}
    assert [path.name for path in tmp_path.iterdir()] == ["router.toml"]


def test_for_programs() -> None:
    """One JSON object."""
    told = json.loads(create("ada", "--role", "approver", "--json").output)
    assert (told["name"], told["role"]) == ("ada", "approver")
    assert told["sha256"] == digest(told["token"])


def test_the_first_token_makes_a_file_good_that_was_refused_without_one(tmp_path: Path) -> None:
    """An admin port that others reach needs it."""
    config = tmp_path / "router.toml"
    config.write_text('[server]\nadmin = "0.0.0.0:8003"\n')
    with pytest.raises(SettingsError, match="open to everybody"):
        server_settings(config, {})
    create("ada", "--role", "admin", "--config", config)
    assert server_settings(config, {}).guarded


@pytest.mark.parametrize(
    ("content", "name", "line"),
    [
        ("", "local", "router token create: `tokens.local` = 'local': the audit log has this name"),
        ("", "", "a name has 1 to 80 characters"),
        ("", "a\nb", "a name has 1 to 80 characters that can be printed"),
        ("[tokens.ada]\nrole = 'viewer'\nsha256 = '" + "a" * 64 + "'", "ada", "has a token of 'ada' already"),
        ("tokens = {}", "ada", "is not TOML that a table can be added to"),
        ("[server", "ada", "is not TOML that a table can be added to"),
        ("tokens = 3", "ada", "is not TOML that a table can be added to"),
        ("[server]\nworkers = 0", "ada", "router.toml: [server]: `workers` = 0: "),
    ],
)
def test_what_cannot_be_added_leaves_the_file_as_it_was(tmp_path: Path, content: str, name: str, line: str) -> None:
    """One line, exit code 2, no token."""
    config = tmp_path / "router.toml"
    config.write_text(content)
    result = create(name, "--role", "viewer", "--config", config)
    assert result.exit_code == 2
    assert line in result.output
    assert "rt_" not in result.output
    assert config.read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["router.toml"]


def test_files_that_cannot_be_changed(tmp_path: Path) -> None:
    """A directory, no directory, no text."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    for config, line in (
        (tmp_path, "cannot be changed: Is a directory"),
        (tmp_path / "none" / "router.toml", "cannot be changed: No such file or directory"),
        (tmp_path / "bytes.toml", "cannot be changed: it is not UTF-8 text"),
    ):
        assert line in create("ada", "--role", "viewer", "--config", config).output


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for one."""
    config = tmp_path / "router.toml"
    config.write_text("[server]\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(token_module.os, "fsync", full)
    assert "cannot be changed: No space left on device" in create("ada", "--role", "viewer", "--config", config).output
    assert config.read_text() == "[server]\n"
    assert [path.name for path in tmp_path.iterdir()] == ["router.toml"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it points at is changed."""
    (tmp_path / "real.toml").write_text("[server]\n")
    (tmp_path / "router.toml").symlink_to("real.toml")
    create("ada", "--role", "viewer", "--config", tmp_path / "router.toml")
    assert (tmp_path / "router.toml").is_symlink()
    assert "[tokens.ada]" in (tmp_path / "real.toml").read_text()


def test_tokens_that_are_added_at_once_are_all_there(tmp_path: Path) -> None:
    """One after the other."""
    config = tmp_path / "router.toml"
    names = [f"n{number}" for number in range(8)]
    threads = [
        threading.Thread(target=append, args=(config, name, token_module.table(name, "viewer", digest(name))))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(server_settings(config, {}).tokens) == set(names)


# ---- what a server makes of it ----

TOKEN = {"ada": {"role": "operator", "sha256": "a" * 64}}


def test_without_tokens_everybody_is_local() -> None:
    """And may do everything."""
    register = register_of(ServerSettings())
    assert register == Register()
    assert register.actor(Caller(), "SetFaults") is LOCAL


def test_the_admin_port_has_tls_of_its_own(tmp_path: Path) -> None:
    """Never that of the inference port; a file that is not there is told."""
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text(name)
    serving = {"tls_cert": tmp_path / "cert", "tls_key": tmp_path / "key"}
    assert admin_credentials(ServerSettings.model_validate(serving)) is None
    own = {f"admin_{key}": value for key, value in serving.items()}
    made = admin_credentials(ServerSettings.model_validate(own))
    assert made is not None
    assert (made.certificate, made.key, made.client_ca) == (b"cert", b"key", None)
    roles = {"admin_tls_client_ca": tmp_path / "ca", "access": {"certificates": {"ada": "admin"}}}
    made = admin_credentials(ServerSettings.model_validate({**own, **roles}))
    assert made is not None
    assert made.client_ca == b"ca"
    (tmp_path / "ca").unlink()
    with pytest.raises(SettingsError, match="ca cannot be read: No such file"):
        admin_credentials(ServerSettings.model_validate({**own, **roles}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ["the admin port 127.0.0.1:8003 is open to every program on this machine"]),
        ({"tokens": TOKEN}, []),
        ({"tokens": TOKEN, "model_control": "explicit"}, []),
        ({"model_control": "explicit"}, ["the admin port"]),
        ({"model_control": "explicit", "grpc": "0.0.0.0:1"}, ["the admin port", "whoever reaches 0.0.0.0:1 may load"]),
        ({"tokens": TOKEN, "admin": "0.0.0.0:2"}, ["tokens come to the admin port 0.0.0.0:2 in the clear"]),
        ({"tokens": TOKEN, "admin": "0.0.0.0:2", "admin_tls_cert": "c", "admin_tls_key": "k"}, []),
        (
            {"tokens": TOKEN, "model_control": "explicit", "grpc": "0.0.0.0:1"},
            ["tokens for loads and unloads come to 0.0.0.0:1 in the clear"],
        ),
        (
            {"tokens": TOKEN, "model_control": "explicit", "grpc": "0.0.0.0:1", "tls_cert": "c", "tls_key": "k"},
            [],
        ),
    ],
)
def test_what_is_open_is_said(settings: dict[str, object], said: list[str]) -> None:
    """A line each, with what closes it."""
    lines = [str(each) for each in open_doors(ServerSettings.model_validate(settings))]
    assert [line.startswith(start) for line, start in zip(lines, said, strict=True)] == [True] * len(said)
