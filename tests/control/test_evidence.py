"""Reports that hold as long as nothing changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.control.evidence import Evidence
from router.core.gate import Outcome, Report, Verdict
from router.core.table import Version, VersionState
from router.model_settings import ModelSettings

PASSED = Report("test", "m", "1", "d", (Outcome("smoke", Verdict.PASS, "well", blocks=True),), 1000.0, 1.5)


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """A version with a golden file."""
    golden = tmp_path / "models/m/1/golden"
    golden.mkdir(parents=True)
    np.savez(golden / "smoke.npz", x=np.zeros(3))
    return Version("m", "1", "d", str(golden.parent / "model.onnx"), VersionState.READY)


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    """An exam of one file."""
    folder = tmp_path / "exam"
    folder.mkdir()
    np.savez(folder / "exam.npz", x=np.zeros(3))
    return folder


def test_what_passed_is_known_again_under_any_name(tmp_path: Path, version: Version, exam: Path) -> None:
    """By contents: the same files as another model's version 7."""
    evidence, settings = Evidence(tmp_path / "kept"), ModelSettings()
    assert evidence.recall(version, settings, exam) is None
    evidence.keep(PASSED, version, settings, exam)
    assert evidence.recall(version, settings, exam) == PASSED
    other = replace(version, model="n", number="7")
    assert evidence.recall(other, settings, exam) == replace(PASSED, model="n", number="7")


def test_it_holds_only_as_long_as_nothing_changes(tmp_path: Path, version: Version, exam: Path) -> None:
    """Files, exam, golden files, or a setting that gates look at."""
    evidence, settings = Evidence(tmp_path / "kept"), ModelSettings()
    evidence.keep(PASSED, version, settings, exam)
    assert evidence.recall(replace(version, digest="e"), settings, exam) is None
    assert evidence.recall(version, ModelSettings.model_validate({"deadline": {"sla_ms": 5}}), exam) is None
    assert evidence.recall(version, settings, None) is None
    assert evidence.recall(version, ModelSettings.model_validate({"hedge": {"budget": 0.1}}), exam) == PASSED
    np.savez(exam / "exam.npz", x=np.ones(3))
    assert evidence.recall(version, settings, exam) is None
    np.savez(exam / "exam.npz", x=np.zeros(3))
    np.savez(Path(version.path).parent / "golden/smoke.npz", x=np.ones(3))
    assert evidence.recall(version, settings, exam) is None


def test_only_what_holds_another_day_is_kept(tmp_path: Path, version: Version) -> None:
    """No failure, which may have been the machine's, and no comparison with a champion."""
    evidence, settings = Evidence(tmp_path / "kept"), ModelSettings()
    failed = replace(PASSED, outcomes=(Outcome("smoke", Verdict.FAIL, "not met", blocks=True),))
    for report in (failed, replace(PASSED, champion="2")):
        evidence.keep(report, version, settings, None)
        assert evidence.recall(version, settings, None) is None


def test_damage_is_no_evidence(tmp_path: Path, version: Version) -> None:
    """The gates are tried again; and where nothing can be written nothing is lost."""
    evidence, settings = Evidence(tmp_path / "kept"), ModelSettings()
    evidence.keep(PASSED, version, settings, None)
    (path,) = (tmp_path / "kept").glob("report-*.json")
    for text in ("", "{}", "[]", '{"key": 1, "report": 2}', path.read_text()[:-20]):
        path.write_text(text)
        assert evidence.recall(version, settings, None) is None
    (tmp_path / "file").write_text("")
    Evidence(tmp_path / "file").keep(PASSED, version, settings, None)
    assert Evidence(tmp_path / "file").recall(version, settings, None) is None
