"""The parent of the gates' process: children that crash, hang, lie or are ended, and what the report says then."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.control import artefact
from router.control.gates import TRIED, Gates
from router.core.gate import Outcome, Verdict
from router.core.table import Version, VersionState
from router.core.tensor import ANY, Signature, TensorSpec
from router.errors import Refused, RouterError
from router.model_settings import ModelSettings

SIGNATURE = Signature((TensorSpec("x", "FP32", (ANY, 4)),), (TensorSpec("y", "FP32", (ANY, 4)),))
FAKE = """
import json, os, sys, time
from types import SimpleNamespace
def say(**reply):
    print(json.dumps(reply), flush=True)
def passed(gate):
    say(begun=gate)
    say(outcome={"gate": gate, "verdict": "pass", "reason": "well"})
say()
question = SimpleNamespace(**json.loads(sys.stdin.readline()))
gates = question.gates
say(begun="load")
DEED
for gate in gates:
    passed(gate)
say(done=True)
time.sleep(60)
"""


def fake(deed: str) -> Gates:
    """Gates whose process does this once it has been asked."""
    return Gates(command=(sys.executable, "-S", "-c", FAKE.replace("DEED", deed)))


def version(directory: Path, number: str = "2", signature: Signature = SIGNATURE) -> Version:
    """A version whose file nobody looks into."""
    (directory / number).mkdir(parents=True, exist_ok=True)
    path = directory / number / "model.onnx"
    path.write_bytes(number.encode())
    digest = artefact.digest(path.parent)
    return Version("m", number, digest, str(path), VersionState.READY, signature=signature)


def seconds(limit_s: float) -> ModelSettings:
    """Settings with this much time."""
    return ModelSettings.model_validate({"gates": {"limit_s": limit_s}})


def test_every_gate_is_told_of_as_it_ends_and_kept(tmp_path: Path) -> None:
    """The report names both versions and the exam by their digests."""
    exam = tmp_path / "exam"
    exam.mkdir()
    np.savez(exam / "exam.npz", label=[1])
    candidate, champion = version(tmp_path), version(tmp_path, "1")
    told: list[Outcome] = []
    report = fake("").test(candidate, champion, ModelSettings(), exam, told.append)
    assert report.passed
    assert [outcome.gate for outcome in report.outcomes] == ["signature", *TRIED]
    assert tuple(told) == report.outcomes
    assert (report.kind, report.model, report.number, report.digest) == ("test", "m", "2", candidate.digest)
    assert (report.champion, report.champion_digest) == ("1", champion.digest)
    assert len(report.exam_digest) == 64
    assert report.took_s > 0


def test_without_a_champion_or_an_exam_nothing_is_named(tmp_path: Path) -> None:
    """A directory that is not there is no exam."""
    report = fake("assert question.exam is None").test(version(tmp_path), None, ModelSettings(), tmp_path / "exam")
    assert (report.passed, report.champion, report.champion_digest, report.exam_digest) == (True, "", "", "")


def test_a_gate_may_only_warn(tmp_path: Path) -> None:
    """Where the owner says so; its fail is told, and keeps no version from serving."""
    deed = "gates.remove('speed')\nsay(outcome={'gate': 'speed', 'verdict': 'fail', 'reason': 'slow', 'blocks': True})"
    candidate = version(tmp_path)
    assert not fake(deed).test(candidate, None, ModelSettings(), None).passed
    settings = ModelSettings.model_validate({"gates": {"warn_only": ["speed"]}})
    report = fake(deed).test(candidate, None, settings, None)
    assert report.passed
    (speed,) = [outcome for outcome in report.outcomes if outcome.gate == "speed"]
    assert (speed.verdict, speed.blocks, speed.reason) == (Verdict.WARN, False, "slow")


@pytest.mark.parametrize("gate", ["load", "smoke", "batch invariance", "robustness"])
def test_a_crash_fails_the_gate_that_had_begun(tmp_path: Path, gate: str) -> None:
    """It is named with the signal and the input; what comes after is not tried."""
    deed = (
        f"while gates and gates[0] != {gate!r} != 'load':\n    passed(gates.pop(0))\n"
        f"say(begun={gate!r}, what='NaN')\nos.abort()"
    )
    report = fake(deed).test(version(tmp_path), None, ModelSettings(), None)
    assert not report.passed
    found = {outcome.gate: outcome for outcome in report.outcomes}
    assert found[gate].reason == "NaN: the model crashed the trial process (signal SIGABRT)"
    after = TRIED[TRIED.index(gate) + 1 :] if gate in TRIED else TRIED
    assert [name for name in found if found[name].verdict is Verdict.SKIP] == ["signature", *after]


def test_a_run_that_takes_longer_than_was_said_is_drawn(tmp_path: Path) -> None:
    """Without waiting for the end of all time."""
    deed = "say(begun='robustness', what='NaN', within_s=0.05)\ntime.sleep(60)"
    report = fake(deed).test(version(tmp_path), None, ModelSettings(), None)
    assert report.blocking[0].reason == "NaN: a run did not end within 0.05 s"


def test_all_gates_together_have_a_limit(tmp_path: Path) -> None:
    """The operator's."""
    report = fake("say(begun='smoke')\ntime.sleep(60)").test(version(tmp_path), None, seconds(1), None)
    assert report.blocking[0].gate == "smoke"
    assert report.blocking[0].reason == "did not end within 1 s (`gates.limit_s`)"


def test_a_champion_that_crashes_is_no_fault_of_the_version(tmp_path: Path) -> None:
    """A fresh process goes on without it, from where the first one was lost; the report says so."""
    deed = (
        "if question.champion:\n    passed(gates.pop(0))\n    passed(gates.pop(0))\n"
        "    say(begun=gates[0], what='the champion', champion=True)\n    os.abort()"
    )
    report = fake(deed).test(version(tmp_path), version(tmp_path, "1"), ModelSettings(), None)
    assert report.passed
    assert [outcome.gate for outcome in report.outcomes] == ["signature", *TRIED]
    noted = {outcome.gate for outcome in report.outcomes if "champion" in outcome.facts}
    assert noted == {"exam", "consistency", "speed"}


def test_a_version_with_another_signature_is_not_given_the_champions_input(tmp_path: Path) -> None:
    """The process is told."""
    other = replace(SIGNATURE, outputs=(TensorSpec("z", "FP32", (ANY, 4)),))
    candidate = version(tmp_path, "2", other)
    report = fake("assert not question.alike").test(candidate, version(tmp_path, "1"), ModelSettings(), None)
    assert [outcome.gate for outcome in report.blocking] == ["signature"]


def test_files_that_changed_are_not_tried(tmp_path: Path) -> None:
    """Before, or while they were."""
    candidate = version(tmp_path)
    Path(candidate.path).write_bytes(b"other")
    report = fake("os.abort()").test(candidate, None, ModelSettings(), None)
    assert report.blocking[0].gate == "load"
    assert report.blocking[0].reason.startswith("its files have changed since it was found")
    candidate = version(tmp_path)
    deed = "open(question.candidate['path'], 'w').write('other')"
    report = fake(deed).test(candidate, None, ModelSettings(), None)
    assert [outcome.gate for outcome in report.blocking] == ["load"]


def test_an_exam_that_changes_meanwhile_is_none(tmp_path: Path) -> None:
    """The digest has to name what was answered."""
    exam = tmp_path / "exam"
    exam.mkdir()
    np.savez(exam / "exam.npz", label=[1])
    deed = "open(os.path.join(question.exam, 'more.npz'), 'w').write('x')"
    report = fake(deed).test(version(tmp_path), None, ModelSettings(), exam)
    assert report.blocking[0].reason.startswith("the exam's files changed while they were read")


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("say(fault='TypeError: x')\ntime.sleep(60)", "the gates failed by a fault of the server: TypeError: x"),
        ("print('chatter', flush=True)\ntime.sleep(60)", "answered what cannot be understood"),
    ],
)
def test_a_fault_of_ours_is_not_the_versions(tmp_path: Path, deed: str, said: str) -> None:
    """Nothing is said of the version then."""
    with pytest.raises(RouterError, match=said):
        fake(deed).test(version(tmp_path), None, ModelSettings(), None)


def test_a_process_that_cannot_start_is_a_fault_of_ours(tmp_path: Path) -> None:
    """With what it had to say last."""
    gates = Gates(command=(sys.executable, "-c", "raise SystemExit('no library')"))
    with pytest.raises(RouterError, match="the process for the gates cannot start: no library"):
        gates.test(version(tmp_path), None, ModelSettings(), None)
    gates = Gates(command=("/nowhere/python",))
    with pytest.raises(RouterError, match="cannot start"):
        gates.test(version(tmp_path), None, ModelSettings(), None)


def test_closing_ends_the_test_that_runs_and_no_later_one(tmp_path: Path) -> None:
    """Whoever waits for it learns that; whoever asks afterwards is served."""
    gates = fake("if not os.path.exists(question.candidate['path'] + '.well'):\n    time.sleep(60)")
    candidate = replace(version(tmp_path), digest="")
    failures: list[Exception] = []
    begun = threading.Event()

    def test() -> None:
        try:
            gates.test(candidate, None, ModelSettings(), None, lambda outcome: begun.set())  # noqa: ARG005
        except Refused as error:
            failures.append(error)

    thread = threading.Thread(target=test)
    thread.start()
    begun.wait(60)
    while thread.is_alive():
        gates.close()
        thread.join(0.05)
    assert [str(error) for error in failures] == ["the test was ended"]
    Path(candidate.path + ".well").touch()
    assert gates.test(candidate, None, ModelSettings(), None).passed
