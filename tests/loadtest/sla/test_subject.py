"""What a server must have for a scenario, known before any load."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.errors import Lacking, ScenarioError
from loadtest.servers import ServerSpec
from loadtest.sla.scenario import Scenario, parse
from loadtest.sla.subject import Subject, check_features, lay_out, up
from router.app.board import CONTROLLER, Board, warmup_slot, worker_slot

TEXT = """
title = "It"
{more}
[server]
workers = 1
versions = {{ digits = ["1"] }}
[server.settings.digits]
batch = {{ max_size = 3 }}
[[mix]]
model = "{model}"
[[phase]]
name = "it"
arrivals = "constant"
rate = "1/s"
lasts = "5s"
{action}
"""


def scenario(action: str = "", more: str = "", model: str = "digits") -> Scenario:
    """Version 2 of digits is withheld."""
    if action:
        action = f"[[action]]\nat = '2s'\n{action}"
    return parse(TEXT.format(action=action, more=more, model=model), "it.toml")


def subject(folder: Path, *, own: bool = True) -> Subject:
    """A server that is none: one of the harness's own, or somebody else's."""
    (folder / "withheld/digits/2").mkdir(parents=True, exist_ok=True)
    if not own:
        return Subject("127.0.0.1:1", "other", features=frozenset({"statistics"}))
    features = frozenset({"statistics", "model_repository"})
    return Subject("127.0.0.1:1", "own", folder / "models", folder / "withheld", started_pid=1, features=features)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ('do = "kill"\nwhat = "worker-7"', "there are supervisor, controller, worker-0"),
        ('do = "publish"\nmodel = "digits"\nversion = "9"', "does not wait to be published"),
        ('do = "fault"\nmodel = "digits"', "needs 'fault_injection', which the server does not have: set server.flags"),
        ('do = "admin"\ncall = "Explode"', "calls 'Explode', which the server lacks; it has "),
        ('do = "admin"\ncall = "ListModels"\nrequest = { nam = "a" }', "`action[0].request` does not fit ListModels: "),
        ('do = "admin"\ncall = "ListModels"\nrequest = { name = 1979-05-27 }', "`action[0].request` does not fit"),
    ],
)
def test_an_action_that_cannot_be_done_is_told(tmp_path: Path, action: str, told: str) -> None:
    """With what there is instead."""
    with pytest.raises((Lacking, ScenarioError)) as error:
        check_features(scenario(action), subject(tmp_path))
    assert told in str(error.value)


@pytest.mark.parametrize(
    "action",
    [
        'do = "stop"\nwhat = "worker-0"',
        'do = "kill"\nwhat = "controller"',
        'do = "publish"\nmodel = "digits"\nversion = "2"',
        'do = "load"\nmodel = "digits"',
        'do = "admin"\ncall = "GetStatus"',
        'do = "shell"\ncommand = "true"',
    ],
)
def test_an_action_that_can_be_done_passes(tmp_path: Path, action: str) -> None:
    """On a server of the harness's own."""
    check_features(scenario(action), subject(tmp_path))


def test_a_fault_needs_a_server_that_allows_it_and_has_the_model(tmp_path: Path) -> None:
    """One of the harness's own: nobody else's admin port is known."""
    action = 'do = "fault"\nmodel = "digits"\nfaults = [{ kind = "error" }]'
    allowing = replace(subject(tmp_path), features=frozenset({"fault_injection"}))
    (tmp_path / "models/digits").mkdir(parents=True)
    check_features(scenario(action), allowing)
    with pytest.raises(ScenarioError, match=r"`action\[0\].model` = 'digit': the server has no such model"):
        check_features(scenario('do = "fault"\nmodel = "digit"'), allowing)
    with pytest.raises(Lacking, match="leave --target out"):
        check_features(scenario(action), subject(tmp_path, own=False))


def test_processes_are_known_by_name(tmp_path: Path) -> None:
    """From the server's board: those that run now, the warm-up worker while there is one."""
    board = Board.create(tmp_path / "board", warmup_slot(2) + 1)
    for slot, pid in ((CONTROLLER, 11), (worker_slot(1), 13)):
        board.slot(slot).occupy(pid, 0)
    found = Subject("127.0.0.1:1", "it", state=tmp_path, started_pid=10, workers=2)
    assert found.processes() == {"supervisor": 10, "controller": 11, "worker-1": 13}
    board.slot(warmup_slot(2)).occupy(14, 0)
    assert found.processes()["warm-up"] == 14


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/nonexistent/program"], "it: [Errno 2] No such file or directory: '/nonexistent/program'"),
        ([sys.executable, "-c", "raise SystemExit('no such flag')"], "it: ended with code 1 no such flag"),
    ],
)
def test_a_server_that_cannot_be_had_is_told_with_the_reason(tmp_path: Path, command: list[str], told: str) -> None:
    """In one line, whatever it is."""
    with pytest.raises(ScenarioError) as raised, up(ServerSpec("it", "it", lambda _: [command]), tmp_path, scenario()):
        pass
    assert str(raised.value) == told


def test_what_is_asked_of_somebody_elses_server_is_little(tmp_path: Path) -> None:
    """Nobody kills it; a feature that it does not name it does not have."""
    with pytest.raises(Lacking, match="leave --target out"):
        check_features(scenario('do = "kill"\nwhat = "worker-0"'), subject(tmp_path, own=False))
    with pytest.raises(Lacking, match="needs 'model_repository'"):
        check_features(scenario('do = "load"\nmodel = "m"'), subject(tmp_path, own=False))
    with pytest.raises(Lacking, match="needs 'isolation', which the server at"):
        check_features(scenario(more='requires = ["isolation"]'), subject(tmp_path, own=False))


def test_an_address_is_told_where_somebody_has_named_it(tmp_path: Path) -> None:
    """A server that the harness has started is known by its title."""
    with pytest.raises(Lacking, match=r"needs 'isolation', which own does not have"):
        check_features(scenario(more='requires = ["isolation"]'), subject(tmp_path))


def test_a_copy_of_the_models_is_laid_out(tmp_path: Path) -> None:
    """Without the versions to come, with the scenario's settings over the model's own."""
    wanted = scenario()
    lay_out(wanted.server, tmp_path / "models", tmp_path / "later", wanted)
    assert (tmp_path / "models/digits/1/model.onnx").exists()
    assert not (tmp_path / "models/digits/2").exists()
    assert (tmp_path / "later/digits/2/model.onnx").exists()
    text = (tmp_path / "models/digits/model.toml").read_text()
    assert "max_size = 3" in text
    assert 'versions = "all"' in text


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With those that are."""
    wanted = scenario(model="digit")
    with pytest.raises(ScenarioError, match="the model 'digit'; there are digits, digits-small, wine"):
        lay_out(wanted.server, tmp_path / "models", tmp_path / "later", wanted)
