"""Models that the harness makes: which, in which versions, and that no two versions answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from loadtest.sla import heavy_model, made_models, pace_model
from loadtest.sla.requests import pool, wrong
from loadtest.sla.scenario import Mix, Scenario, parse
from router.client import ModelMetadata, Reply, TensorMetadata

TEXT = """
title = "It"
[server]
models = "made"
{server}
[[mix]]
model = "tiny"
{mix}
[[phase]]
name = "it"
arrivals = "constant"
rate = "1/s"
lasts = "5s"
{action}
"""
INPUTS = {
    "tiny": ("x", "FP32", (-1, 30)),
    "scores": ("x", "FP32", (-1, 8)),
    "pace": ("work", "INT64", (-1, 1)),
    "heavy": ("at", "INT64", (-1, 1)),
}


def scenario(server: str = "", mix: str = "", action: str = "") -> Scenario:
    """One of made models."""
    return parse(TEXT.format(server=server, mix=mix, action=action), "it.toml")


def small(repository: Path, version: str) -> None:
    """The heavy model, a light one."""
    heavy_model.make(repository, version, rows=50)


def test_there_are_the_versions_that_a_scenario_speaks_of() -> None:
    """At the start, later, by its actions, in its requests; else the first."""
    versions = made_models.versions
    assert versions(scenario(), "tiny") == ["1"]
    assert versions(scenario('versions = { tiny = ["1", "12", "3", "latest"] }'), "tiny") == ["1", "3", "12"]
    assert versions(scenario(mix='version = "4"'), "tiny") == ["1", "4"]
    publish = '[[action]]\nat = "1s"\ndo = "publish"\nmodel = "pace"\nversion = "2"'
    assert versions(scenario(action=publish), "pace") == ["1", "2"]
    promote = '[[action]]\nat = "1s"\ndo = "admin"\ncall = "Promote"\nrequest = { model = "mid", version = "7" }'
    assert versions(scenario(action=promote), "mid") == ["1", "7"]
    assert versions(scenario(action=promote), "tiny") == ["1"]
    assert versions(scenario(), "heavy") == ["1", "2", "3"]


def test_the_heavy_model_is_made_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a gigabyte; most others are always there."""
    monkeypatch.setitem(made_models.MAKERS, "heavy", small)  # type: ignore[arg-type]  # a dict
    made_models.make(tmp_path / "without", scenario())
    assert {path.name for path in (tmp_path / "without").iterdir()} == {"tiny", "mid", "large", "pace"}
    made_models.make(tmp_path / "with", scenario(mix='[[mix]]\nmodel = "heavy"'))
    assert {path.name for path in (tmp_path / "with/heavy").iterdir()} == {"1", "2", "3"}


@pytest.mark.parametrize("model", INPUTS)
def test_an_answer_of_another_version_is_wrong(tmp_path: Path, model: str) -> None:
    """What each version must answer is known, and no two answer alike."""
    name, datatype, shape = INPUTS[model]
    maker = small if model == "heavy" else made_models.MAKERS[model]
    for version in ("1", "2", "3"):
        maker(tmp_path, version)
    metadata = ModelMetadata(model, ("1",), "onnx", (TensorMetadata(name, datatype, shape),), ())
    mix = Mix(model=model, inputs=4, values={"work": (3.0,)} if model == "pace" else {})
    expected = pool(mix, metadata, [tmp_path], np.random.default_rng(1), compared=True).expected
    assert set(expected) == {"1", "2", "3"}
    for told, asked in expected.items():
        for given, answers in expected.items():
            for answer, want in zip(answers, asked, strict=True):
                assert wrong(Reply(model, told, "", answer, {}), want) is (told != given)


def run(path: Path, **feeds: Any) -> Any:
    """The first output."""
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def test_every_number_is_a_place_in_the_heavy_models_table(tmp_path: Path) -> None:
    """The table is taken to go on and on, also below 0; the same version is the same everywhere."""
    small(tmp_path / "a", "2")
    small(tmp_path / "b", "2")
    path = tmp_path / "a/heavy/2/model.onnx"
    places = np.array([[7], [57], [-43], [np.iinfo(np.int64).max]])
    first, again, below, far = run(path, at=places)
    assert (first == again).all()
    assert (first == below).all()
    assert np.isfinite(far).all()
    assert path.read_bytes() == (tmp_path / "b/heavy/2/model.onnx").read_bytes()


def test_absurd_work_ends(tmp_path: Path) -> None:
    """The pace model makes so many products and no more; its answer is still that of its input."""
    pace_model.make(tmp_path, "2")
    most = np.iinfo(np.int64).max // 2
    done = run(tmp_path / "pace/2/model.onnx", work=np.array([[most], [-5]]))
    assert done.tolist() == [[most * 2], [-10]]
