"""Real versions through the real process: each kind of bad one is caught, a good one passes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from router.app.gate_loaded import ordinary_s
from router.control import artefact
from router.control.gates import TRIED, Gates
from router.core.gate import Outcome, Report, Verdict
from router.core.table import Batching, Version, VersionState
from router.model_settings import ModelSettings
from tests.control.row_graphs import graph, ints, session, signature, weights
from tests.slow_models import slow

Array = np.ndarray[Any, Any]
ROWS = 2000
CLASSES = 4
TRUTH = weights(8, CLASSES)
SIGNATURE = f"(float[N,8] x) => (int64[N] label, float[N,{CLASSES}] probabilities)"
HEAD = "s = MatMul(x, w) u = Gather<axis=1>(x, last)"
TAIL = "probabilities = Softmax<axis=1>(t) label = ArgMax<axis=1, keepdims=0>(t)"
JOINED = Batching(32, 0, "shown")


def classifier(middle: str = "t = Identity(s)", **more: Any) -> onnx.ModelProto:
    """Scores of eight numbers, of which the last is even between 0 and 1; `middle` makes `t` of `s` and `u`."""
    given = {"w": TRUTH, "last": ints(7), "few": np.float32(0.03), "fewer": np.float32(0.01), **more}
    return graph(f"{SIGNATURE} {{ {HEAD} {middle} {TAIL} }}", **given)


THREE_POINTS_LESS = "wrong = Less(u, few) turned = Neg(s) t = Where(wrong, turned, s)"
NAN_ON_ONE_IN_A_HUNDRED = "wrong = Less(u, fewer) z = Sub(u, u) n = Div(z, z) t = Where(wrong, n, s)"
COUPLED = "m = ReduceMean<keepdims=1>(s, zero) t = Sub(s, m)"


def put(root: Path, number: str, model: onnx.ModelProto, batching: Batching = JOINED, **golden: Array) -> Version:
    """A version on disk, as the inspection of it would tell."""
    directory = root / number
    directory.mkdir(parents=True)
    path = directory / "model.onnx"
    onnx.save(model, path)
    if golden:
        (directory / "golden").mkdir()
        np.savez(
            directory / "golden" / "smoke.npz", **{key.replace("put_", "put:"): each for key, each in golden.items()}
        )
    told = signature(session(model))
    size = path.stat().st_size
    return Version(
        "m", number, artefact.digest(directory), str(path), VersionState.READY, "", told, batching, file_bytes=size
    )


def rows() -> Array:
    """Of the exam."""
    x = np.random.default_rng(7).standard_normal((ROWS, 8)).astype(np.float32)
    x[:, 7] = (np.arange(ROWS) + 0.5) / ROWS
    return x


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand rows, of which the champion knows nine in ten."""
    directory = tmp_path_factory.mktemp("model") / "exam"
    directory.mkdir()
    x = rows()
    labels = (x @ TRUTH).argmax(1)
    labels[::10] = (labels[::10] + 1) % CLASSES
    np.savez(directory / "exam.npz", **{"input:x": x, "label": labels})
    return directory


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The version that serves."""
    return put(tmp_path_factory.mktemp("champion"), "1", classifier())


def tried(
    candidate: Version, champion: Version | None, exam: Path | None, tables: Mapping[str, Any] | None = None
) -> Report:
    """The report of the real process."""
    told: list[Outcome] = []
    report = Gates().test(candidate, champion, ModelSettings.model_validate(tables or {}), exam, told.append)
    assert tuple(told) == report.outcomes
    for outcome in report.outcomes:
        assert "\n" not in outcome.reason
        assert str(Path(candidate.path).parent) not in repr(outcome)
    return report


def blocking(report: Report) -> list[str]:
    """The gates that keep it from serving."""
    return [outcome.gate for outcome in report.blocking]


def outcome(report: Report, gate: str) -> Outcome:
    """One gate's."""
    return next(each for each in report.outcomes if each.gate == gate)


def test_a_good_version_passes_every_gate(tmp_path: Path, champion: Version, exam: Path) -> None:
    """Each is told of with its figures, and the run times of both versions are kept."""
    x = rows()[:16]
    scores = x @ TRUTH
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    model = classifier()
    model.metadata_props.add(key="router.parent", value="1")
    golden = {"input_x": x, "output_label": scores.argmax(1), "output_probabilities": shares}
    report = tried(
        put(tmp_path, "2", model, **golden), champion, exam, {"gates": {"metrics": ["accuracy", "log_loss"]}}
    )
    assert [(each.gate, each.verdict) for each in report.outcomes] == [
        (gate, Verdict.PASS) for gate in ("signature", *TRIED)
    ]
    assert outcome(report, "lineage").facts["path"] == "retrained"
    assert outcome(report, "exam").figures["accuracy_share"] == pytest.approx(0.9, abs=0.001)
    assert outcome(report, "batch invariance").facts["batched"] == "yes"
    memory = outcome(report, "memory").figures
    assert memory["runs"] >= 100
    assert 0 < memory["session_bytes"] < 64 << 20
    assert [each.name for each in report.distributions] == [
        "time of a single run",
        "champion's time of a single run",
        "time of a batch of 32 rows",
        "champion's time of a batch of 32 rows",
    ]
    assert sum(report.distributions[0].counts) == outcome(report, "speed").figures["single_runs"]
    assert "no rows" in outcome(report, "robustness").facts or outcome(report, "robustness").figures["inputs"] > 10


def test_three_points_less_accurate(tmp_path: Path, champion: Version, exam: Path) -> None:
    """On two thousand labelled rows: the exam, and nothing else, keeps it from serving."""
    report = tried(put(tmp_path, "2", classifier(THREE_POINTS_LESS)), champion, exam)
    assert blocking(report) == ["exam"]
    assert outcome(report, "exam").figures["accuracy_worse_share"] == pytest.approx(0.03, abs=0.006)


def test_nan_on_one_row_in_a_hundred(tmp_path: Path, champion: Version, exam: Path) -> None:
    """Twenty of two thousand rows; the exam's label alone would not have told."""
    report = tried(put(tmp_path, "2", classifier(NAN_ON_ONE_IN_A_HUNDRED)), champion, exam)
    assert "contract" in blocking(report)
    assert outcome(report, "contract").figures["rows_broken"] == 20
    assert outcome(report, "contract").reason.startswith("20 of 2000 rows of the exam: output 'probabilities' has nan")


def test_rows_that_are_coupled(tmp_path: Path, champion: Version, exam: Path) -> None:
    """They would be joined, by the owner's word, or not: either way callers would get other answers."""
    model = classifier(COUPLED, zero=ints(0))
    joined = tried(put(tmp_path, "2", model, Batching(32, 0, "owner")), None, exam)
    assert "batch invariance" in blocking(joined)
    assert outcome(joined, "batch invariance").reason.startswith("rows would be joined, and output `")
    alone = tried(put(tmp_path, "3", model, Batching(1, 0, "ReduceMean over the rows")), champion, None)
    assert blocking(alone) == ["batch invariance"]


def test_another_signature(tmp_path: Path, champion: Version, exam: Path) -> None:
    """An output of another name; the exam of the champion is not held against it twice."""
    model = classifier()
    model.graph.output[1].name = model.graph.node[-2].output[0] = "shares"
    report = tried(put(tmp_path, "2", model), champion, exam)
    assert blocking(report) == ["signature"]
    assert outcome(report, "signature").reason.startswith("output 'probabilities' is gone")
    assert outcome(report, "consistency").verdict is Verdict.SKIP


def test_five_times_slower(tmp_path: Path) -> None:
    """Beside the champion, which does a fifth of the work."""
    never = Batching(1, 0, "it was not asked")
    report = tried(put(tmp_path, "2", slow(40, 128), never), put(tmp_path, "1", slow(8, 128), never), None)
    assert blocking(report) == ["speed"]
    assert outcome(report, "speed").figures["single_ratio"] > 3


def test_golden_outputs_that_are_not_met_and_files_that_are_none(tmp_path: Path) -> None:
    """The version's own fault either way; it is still tried on, so that people see all that is wrong."""
    x = rows()[:4]
    wrong = (x @ TRUTH).argmax(1)
    wrong[2] = (wrong[2] + 1) % CLASSES
    candidate = put(tmp_path, "2", classifier(), input_x=x, output_label=wrong)
    report = tried(candidate, None, None)
    assert blocking(report) == ["smoke"]
    assert "golden/smoke.npz: output 'label' is " in outcome(report, "smoke").reason
    (Path(candidate.path).parent / "golden" / "more.npz").write_bytes(b"no archive")
    report = tried(candidate, None, None)
    assert outcome(report, "smoke").reason.startswith("golden/more.npz: it is damaged")


def test_an_exam_that_cannot_be_read_does_not_pass(tmp_path: Path, champion: Version) -> None:
    """The operator is told what to mend; without an exam the gate is skipped."""
    exam = tmp_path / "exam"
    exam.mkdir()
    np.savez(exam / "exam.npz", **{"input:x": rows()[:, :7], "label": np.zeros(ROWS, int)})
    report = tried(champion, None, exam)
    assert blocking(report) == ["exam"]
    assert outcome(report, "exam").reason == (
        "exam/exam.npz: `input:x` has the shape [2000, 7], the model takes [any, 8]"
    )


def test_an_exam_that_would_take_too_long_is_foreseen(tmp_path: Path) -> None:
    """It fails at once, with the setting that allows more; the other gates still have their time."""
    exam = tmp_path / "exam"
    exam.mkdir()
    np.savez(exam / "exam.npz", **{"input:x": np.ones((50_000, 1), np.float32), "label": np.ones(50_000)})
    report = tried(put(tmp_path, "2", slow(20, 128), Batching()), None, exam, {"gates": {"limit_s": 10}})
    assert "exam" in blocking(report)
    assert outcome(report, "exam").reason.startswith("50000 rows would take about ")
    assert outcome(report, "exam").reason.endswith(": raise `gates.limit_s` in model.toml, which is 10")
    assert outcome(report, "speed").verdict is Verdict.PASS


def test_a_model_that_no_made_up_input_fits_is_not_refused_for_it(tmp_path: Path) -> None:
    """Its gates are skipped with the reason, and what it takes of memory is known all the same.

    Unless the champion answers such input.
    """
    # Three numbers have no place 7.
    model = graph("(float[3] x) => (float[1] y) { y = Gather(x, place) }", place=ints(7))
    candidate = put(tmp_path, "2", model, Batching())
    well = put(tmp_path, "1", graph("(float[3] x) => (float[1] y) { y = Gather(x, place) }", place=ints(1)), Batching())
    assert tried(candidate, well, None).blocking[0].reason.startswith("it fails on what the champion answers: made-up")
    report = tried(candidate, None, None)
    assert report.passed
    assert outcome(report, "speed").verdict is Verdict.SKIP
    assert "it answers no input that could be made up" in outcome(report, "speed").reason
    assert outcome(report, "memory").figures["session_bytes"] >= 0


PATCHED = """
import ctypes, threading, time
import numpy as np
from router.app import gate_trial, gate_subject
gate_trial.LEAST_RUN_S, gate_trial.PATIENCE, gate_trial.GRACE_S = 0.1, 1, SPARE
run = gate_subject.Session.run
def patched(self, outputs, feeds, stop=None):
    if any(np.isnan(array).any() for array in feeds.values() if array.dtype.kind == "f"):
        DEED
    return run(self, outputs, feeds, stop)
gate_subject.Session.run = patched
gate_trial.main()
"""


def patched(deed: str, grace_s: float = 60.0) -> Gates:
    """The real process, whose runs do this when they are given NaN."""
    return Gates(command=(sys.executable, "-c", PATCHED.replace("DEED", deed).replace("SPARE", str(grace_s))))


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("ctypes.string_at(0)", "NaN: the model crashed the trial process (signal SIGSEGV)"),
        ("ctypes.CDLL(None).abort()", "NaN: the model crashed the trial process (signal SIGABRT)"),
        ("threading.Event().wait()", "NaN: a run did not end within 0.4 s"),
    ],
)
def test_bad_input_that_fells_or_holds_the_process(tmp_path: Path, deed: str, said: str) -> None:
    """The last gate: everything else is known by then."""
    gates = patched(deed, 0.3 if "wait" in deed else 60.0)
    report = gates.test(put(tmp_path, "2", classifier()), None, ModelSettings(), None)
    assert [each.gate for each in report.outcomes] == ["signature", *TRIED]
    assert blocking(report) == ["robustness"]
    assert outcome(report, "robustness").reason == said


def test_a_loop_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """It goes on as long as its input is not a number."""
    body = onnx.parser.parse_graph(
        "body (int64 i, bool go, float[N,2] a) => (bool on, float[N,2] b)"
        " { n = IsNaN(a) c = Cast<to=1>(n) m = ReduceMax<keepdims=0>(c) on = Cast<to=9>(m) b = Identity(a) }"
    )
    model = graph("(float[N,2] x) => (float[N,2] y) { go = IsNaN(zero) y = Identity(x) }", zero=np.float32(0))
    true = onnx.numpy_helper.from_array(np.array(True), "true")
    count = onnx.numpy_helper.from_array(np.array(1 << 50), "count")
    model.graph.initializer.extend([true, count])
    loop = onnx.helper.make_node("Loop", ["count", "true", "x"], ["y"], body=body)
    del model.graph.node[:]
    model.graph.node.append(loop)
    report = patched("pass").test(put(tmp_path, "2", model, Batching()), None, ModelSettings(), None)
    assert blocking(report) == ["robustness"]
    assert outcome(report, "robustness").reason.startswith("NaN: a run did not end within 0.1 s, one of ordinary input")


def test_memory_is_limited(tmp_path: Path) -> None:
    """A version that wants more than it is allowed fails with the setting that allows more."""
    model = graph(
        "(float[N,2] x) => (float[N,2] y) { big = Expand(one, shape) m = ReduceMax<keepdims=0>(big)"
        " z = Mul(m, zero) y = Add(x, z) }",
        one=np.ones((1, 1), np.float32),
        shape=ints(1 << 12, 1 << 14),
        zero=np.float32(0),
    )
    report = tried(put(tmp_path, "2", model, Batching()), None, None, {"gates": {"memory_limit_mib": 128}})
    assert not report.passed
    assert "128 MiB of memory were not enough" in report.blocking[0].reason


@pytest.mark.parametrize(
    ("takes", "least", "runs"),
    [((0.001,), 0.001, 1), ((0.02, 0.001), 0.001, 2), ((0.02, 0.01, 0.03), 0.01, 3), ((0.5,), 0.5, 1)],
)
def test_a_moment_without_a_core_does_not_make_a_model_slow(takes: tuple[float, ...], least: float, runs: int) -> None:
    """A run that takes long is made again, unless it takes so long that this would cost more than it shows."""
    now, made = [0.0], []

    def run() -> None:
        now[0] += takes[len(made)]
        made.append(now[0])

    assert ordinary_s(run, lambda: now[0]) == pytest.approx(least)
    assert len(made) == runs
