"""Versions tried in a child process: real models in the real child, and fake children that crash, hang and lie."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from router.control.inspection import OWNER, SHOWN, Inspector, Request, Result
from router.core.table import Batching
from router.core.tensor import TensorSpec

PATIENCE_S = 60.0
"""No test waits longer for another process."""


def info(name: str, shape: list[Any] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """A tensor that goes in or out."""
    return helper.make_tensor_value_info(name, kind, shape)


def graph_model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    *weights: TensorProto,
    opset: int = 17,
    ir: int = 10,
    domain: str = "",
) -> onnx.ModelProto:
    """A model of one graph."""
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(weights))
    return helper.make_model(graph, ir_version=ir, opset_imports=opsets)


def weight() -> TensorProto:
    """Three rows, two columns of ones."""
    return numpy_helper.from_array(np.ones((3, 2), np.float32), "w")


def linear() -> onnx.ModelProto:
    """y = x · w."""
    return graph_model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [info("x", ["N", 3])], [info("y", ["N", 2])], weight()
    )


def one(kind: int, operator: str = "Identity", **more: Any) -> onnx.ModelProto:
    """y = operator(x), of one type."""
    nodes = [helper.make_node(operator, ["x"], ["y"], domain=more.get("domain", ""))]
    return graph_model(nodes, [info("x", ["N", 2], kind)], [info("y", ["N", 2], kind)], **more)


def put(root: Path, content: onnx.ModelProto | bytes, **more: Any) -> Request:
    """A version with this content, to be tried."""
    directory = root / "m" / "1"
    directory.mkdir(parents=True, exist_ok=True)
    raw = content if isinstance(content, bytes) else content.SerializeToString()
    (directory / "model.onnx").write_bytes(raw)
    return Request("m", "1", directory, **more)


def ask(inspector: Inspector, request: Request) -> Result:
    """One result."""
    (result,) = inspector.inspect([request])
    assert str(request.directory.parent) not in repr(readable(result))
    return result


def readable(result: Result) -> tuple[str, str, str]:
    """What of a result a person reads."""
    return result.reason, result.note, result.batching.decided_by


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspector]:
    """The real child, shared by the tests of this file."""
    with Inspector(tmp_path_factory.mktemp("state"), limit_s=PATIENCE_S) as real:
        yield real


class TestModels:
    """What the real child says of real models."""

    def test_a_model_that_can_be_served(self, inspector: Inspector, tmp_path: Path) -> None:
        """Its signature, its size, its digest, and that rows may be joined because it was shown."""
        request = put(tmp_path, linear(), batching=Batching(16, 5))
        result = ask(inspector, request)
        assert (result.ok, result.reason, result.note) == (True, "", "")
        assert result.signature.inputs == (TensorSpec("x", "FP32", (-1, 3), ("N", None)),)
        assert result.signature.outputs == (TensorSpec("y", "FP32", (-1, 2), ("N", None)),)
        assert result.batching == Batching(16, 5, SHOWN)
        assert result.file_bytes == (request.directory / "model.onnx").stat().st_size
        assert len(result.digest) == 64

    def test_a_provider_that_is_not_there(self, inspector: Inspector, tmp_path: Path) -> None:
        """The reason names what is; the runtime alone would go on without it."""
        request = put(tmp_path, linear(), providers=("NoneExecutionProvider", "CPUExecutionProvider"))
        reason = ask(inspector, request).reason
        assert reason.startswith("model.toml: `sessions.providers` names 'NoneExecutionProvider'; available here: ")
        assert "CPUExecutionProvider" in reason.partition("available here")[2]

    def test_weights_in_another_file_count(self, inspector: Inspector, tmp_path: Path) -> None:
        """External data are loaded, and are part of the size."""
        request = put(tmp_path, b"")
        onnx.save_model(
            linear(),
            request.directory / "model.onnx",
            save_as_external_data=True,
            location="w.bin",
            size_threshold=0,
        )
        result = ask(inspector, request)
        assert result.ok, result.reason
        assert result.file_bytes == sum(path.stat().st_size for path in request.directory.iterdir())

    def test_an_input_with_a_default_is_optional(self, inspector: Inspector, tmp_path: Path) -> None:
        """Since IR version 4 a caller may replace an initialiser that is listed as an input; before, not."""
        model = linear()
        model.graph.input.append(info("w", [3, 2]))
        result = ask(inspector, put(tmp_path / "new", model))
        assert [(spec.name, spec.optional) for spec in result.signature.inputs] == [("x", False), ("w", True)]
        model.ir_version = 3
        model.opset_import[0].version = 8
        result = ask(inspector, put(tmp_path / "old", model))
        assert [spec.name for spec in result.signature.inputs] == ["x"]

    @pytest.mark.parametrize(
        ("kind", "datatype"),
        [
            (TensorProto.BOOL, "BOOL"),
            (TensorProto.UINT8, "UINT8"),
            (TensorProto.UINT16, "UINT16"),
            (TensorProto.UINT32, "UINT32"),
            (TensorProto.UINT64, "UINT64"),
            (TensorProto.INT8, "INT8"),
            (TensorProto.INT16, "INT16"),
            (TensorProto.INT32, "INT32"),
            (TensorProto.INT64, "INT64"),
            (TensorProto.FLOAT16, "FP16"),
            (TensorProto.BFLOAT16, "BF16"),
            (TensorProto.FLOAT, "FP32"),
            (TensorProto.DOUBLE, "FP64"),
            (TensorProto.STRING, "BYTES"),
        ],
    )
    def test_every_datatype_of_the_protocol(
        self, inspector: Inspector, tmp_path: Path, kind: int, datatype: str
    ) -> None:
        """Each loads and runs with made-up input."""
        result = ask(inspector, put(tmp_path, one(kind)))
        assert (result.ok, result.note) == (True, "")
        assert [spec.datatype for spec in (*result.signature.inputs, *result.signature.outputs)] == [datatype] * 2

    def test_a_run_that_fails_is_noted_only(self, inspector: Inspector, tmp_path: Path) -> None:
        """Made-up input may not suit a model that is in order; but then nothing was shown of its rows."""
        shape = numpy_helper.from_array(np.array([7, 3]), "s")
        model = graph_model(
            [helper.make_node("Reshape", ["x", "s"], ["y"])], [info("x", ["N", "M"])], [info("y", [7, 3])], shape
        )
        result = ask(inspector, put(tmp_path, model))
        assert result.ok
        assert "made-up input failed" in result.note
        assert result.batching.max_size == 1

    def test_an_output_of_unknown_rank_gets_that_of_the_run(self, inspector: Inspector, tmp_path: Path) -> None:
        """Nothing but a run tells what `Reshape` to a given shape makes."""
        model = graph_model(
            [helper.make_node("Reshape", ["x", "s"], ["y"])],
            [info("x", ["N"]), info("s", ["K"], TensorProto.INT64)],
            [info("y", None)],
        )
        result = ask(inspector, put(tmp_path, model))
        assert result.ok, result.reason
        assert result.signature.outputs == (TensorSpec("y", "FP32", (-1,), (None,)),)

    def test_a_scalar_is_not_an_unknown_rank(self, inspector: Inspector, tmp_path: Path) -> None:
        """No dimensions and no word about dimensions are two things."""
        model = graph_model([helper.make_node("Relu", ["x"], ["y"])], [info("x", [])], [info("y", [])])
        assert ask(inspector, put(tmp_path / "scalar", model)).signature.inputs[0].shape == ()
        model = graph_model([helper.make_node("Relu", ["x"], ["y"])], [info("x", None)], [info("y", None)])
        assert "`x` does not say how many dimensions" in ask(inspector, put(tmp_path / "any", model)).reason

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "the file is empty"),
            (b"hello, world\n", "not an ONNX model"),
            (linear().SerializeToString()[:-30], "cut short"),
            (np.random.default_rng(0).bytes(300), "not an ONNX model"),
            (one(1, "Foo"), "unknown operator `Foo` (opset 17)"),
            (one(1, "Foo", domain="my.own"), "unknown operator `Foo` of domain `my.own`"),
            (one(1, "Relu", opset=9999), "opset 9999 of ai.onnx is not supported"),
            (one(1, "Relu", ir=99), "IR version 99"),
            (one(1, "Relu", opset=1), "operator `Relu`, version 1, has no implementation"),
            (graph_model([helper.make_node("Relu", ["q"], ["y"])], [info("x", [1])], [info("y", [1])]), "'q'"),
            (
                graph_model(
                    [helper.make_node("MatMul", ["x", "w"], ["y"])], [info("x", ["N", 4])], [info("y", None)], weight()
                ),
                "Incompatible dimensions",
            ),
        ],
    )
    def test_what_is_broken_says_how(
        self, inspector: Inspector, tmp_path: Path, content: onnx.ModelProto | bytes, why: str
    ) -> None:
        """For a person: without the runtime's codes, the places in its source, and paths."""
        result = ask(inspector, put(tmp_path, content))
        assert not result.ok
        assert why in result.reason
        for noise in ("ONNXRuntimeError", "onnxruntime_src", ".cc:", "std::", "Load model from"):
            assert noise not in result.reason

    @pytest.mark.parametrize(
        ("model", "why"),
        [
            (one(TensorProto.FLOAT8E4M3FN, opset=19), "input `x` is of type float8e4m3fn"),
            (one(TensorProto.COMPLEX64), "input `x` is of type complex64"),
            (one(TensorProto.INT4, opset=21), "input `x` is of type int4"),
            (
                graph_model(
                    [helper.make_node("SequenceConstruct", ["x"], ["y"])],
                    [info("x", [1])],
                    [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
                ),
                "output `y` is of type sequence",
            ),
            (
                graph_model(
                    [helper.make_node("OptionalGetElement", ["x"], ["y"])],
                    [
                        helper.make_value_info(
                            "x", helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
                        )
                    ],
                    [info("y", [1])],
                    opset=18,
                ),
                "input `x` is of type optional",
            ),
        ],
    )
    def test_types_that_the_protocol_does_not_have(
        self, inspector: Inspector, tmp_path: Path, model: onnx.ModelProto, why: str
    ) -> None:
        """The tensor is named."""
        assert why in ask(inspector, put(tmp_path, model)).reason

    @pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "link.bin", "hard.bin", "missing.bin"])
    def test_weights_from_elsewhere_are_not_loaded(self, inspector: Inspector, tmp_path: Path, location: str) -> None:
        """Looked at before the runtime sees the model; and when that is mended, the same digest may be loaded."""
        model = linear()
        request = put(tmp_path, model)
        raw = model.graph.initializer[0].raw_data
        (request.directory.parent / "w.bin").write_bytes(raw)
        (request.directory / "link.bin").symlink_to("../w.bin")
        os.link(request.directory.parent / "w.bin", request.directory / "hard.bin")
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        if location != "link.bin":
            (request.directory / "link.bin").unlink()
        (request.directory / "model.onnx").write_bytes(model.SerializeToString())
        result = ask(inspector, request)
        assert not result.ok
        assert any(word in result.reason for word in ("leaves", "absolute", "hard link", "there is no"))
        if location == "hard.bin":
            (request.directory.parent / "w.bin").unlink()
            mended = ask(inspector, request)
            assert mended.ok, mended.reason
            assert mended.digest == result.digest

    def test_another_file_name_is_hinted_at(self, inspector: Inspector, tmp_path: Path) -> None:
        """The commonest mistake of all."""
        request = put(tmp_path, linear())
        os.rename(request.directory / "model.onnx", request.directory / "net.onnx")
        result = ask(inspector, request)
        assert result.reason.startswith("there is no `model.onnx` in the version's directory; `net.onnx` is there")
        assert ask(inspector, Request("m", "1", request.directory, "net.onnx")).ok

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_random_bytes_and_random_damage_never_raise(self, inspector: Inspector, data: st.DataObject) -> None:
        """Whatever the file holds, there is a result; and one that is not ok has a reason."""
        content = bytearray(data.draw(st.sampled_from([b"", linear().SerializeToString()])))
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)):
            if content:
                content[place % len(content)] = value
        content += data.draw(st.binary(max_size=60))
        with tempfile.TemporaryDirectory() as root:
            result = ask(inspector, put(Path(root), bytes(content)))
        assert result.ok != bool(result.reason)
        assert result.reason.isprintable()


class TestRows:
    """Who decides whether rows of different callers share a run."""

    def mixing(self) -> onnx.ModelProto:
        """Every row minus the mean of all rows."""
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ]
        return graph_model(nodes, [info("x", ["N", 3])], [info("y", ["N", 3])])

    def test_rows_that_depend_on_each_other_are_not_joined(self, inspector: Inspector, tmp_path: Path) -> None:
        """The version is served all the same."""
        result = ask(inspector, put(tmp_path, self.mixing(), batching=Batching(16, 5)))
        assert result.ok
        assert (result.batching.max_size, result.batching.max_wait_us) == (1, 0)
        assert result.batching.decided_by not in {"", SHOWN, OWNER}

    def test_the_owner_has_the_last_word(self, inspector: Inspector, tmp_path: Path) -> None:
        """Both ways; and a limit of one row needs no proof."""
        request = put(tmp_path / "a", self.mixing(), batching=Batching(16, 5), rows_independent=True)
        assert ask(inspector, request).batching == Batching(16, 5, OWNER)
        request = put(tmp_path / "b", linear(), batching=Batching(16), rows_independent=False)
        assert ask(inspector, request).batching == Batching(decided_by="the owner says that rows are not independent")
        request = put(tmp_path / "c", linear(), batching=Batching(16), never_joined="because")
        assert ask(inspector, request).batching == Batching(decided_by="because")

    def test_rows_need_a_free_first_dimension(self, inspector: Inspector, tmp_path: Path) -> None:
        """Not even the owner can join what has no batch dimension."""
        model = graph_model([helper.make_node("Relu", ["x"], ["y"])], [info("x", [1, 3])], [info("y", [1, 3])])
        result = ask(inspector, put(tmp_path, model, batching=Batching(16), rows_independent=True))
        assert result.batching == Batching(decided_by="the first dimension of input `x` is not free")


SOURCE = """
import json, os, signal, sys
from pathlib import Path

def answer(**reply):
    print(json.dumps(reply), flush=True)

def finding(**more):
    return {"ok": True, "lasting": True, "joined": "shown", "files": ["model.onnx"], **more}

answer()
for line in sys.stdin:
    request = json.loads(line)
    content = (Path(request["directory"]) / "model.onnx").read_text()
    CODE
    answer(final=finding())
"""


def fake(code: str) -> tuple[str, ...]:
    """A child that does this when it is asked (`content`: the text of the model), and then says that all is well."""
    return sys.executable, "-c", SOURCE.replace("CODE", code)


class TestChild:
    """What becomes of a version whose trial does not go as it should: fake children."""

    @pytest.mark.parametrize(
        ("deed", "why"),
        [
            ("os.kill(os.getpid(), signal.SIGSEGV)", "the model crashed the trial process (signal SIGSEGV)"),
            ("os.abort()", "the model crashed the trial process (signal SIGABRT)"),
            ("os.kill(os.getpid(), signal.SIGKILL)", "(signal SIGKILL; perhaps there was not enough memory)"),
            ("os._exit(3)", "the trial process ended by itself (exit code 3)"),
            ("print('nonsense', flush=True)", "answered what cannot be understood"),
            ("print('{\"final\": 3}', flush=True)", "answered what cannot be understood"),
            ("print('[' * 100000, flush=True)", "answered what cannot be understood"),
            ("signal.pause()", "the trial did not end within 2 s"),
        ],
    )
    def test_a_version_that_takes_the_child_with_it_is_alone_in_that(self, tmp_path: Path, deed: str, why: str) -> None:
        """It has the reason; the versions before and after it are tried as if nothing had been. Not remembered."""
        good, bad = put(tmp_path / "good", b"good"), put(tmp_path / "bad", b"bad")
        command = fake(f"if content == 'bad': print('last words', file=sys.stderr, flush=True); {deed}")
        limit_s = 2.0 if "pause" in deed else PATIENCE_S
        with Inspector(tmp_path / "state", command=command, limit_s=limit_s) as inspector:
            before, broken, after = inspector.inspect([good, bad, put(tmp_path / "other", b"other")])
        assert before.ok
        assert after.ok
        assert not broken.ok
        assert why in broken.reason
        assert "last words" in broken.log
        with Inspector(tmp_path / "state", command=fake("")) as inspector:
            assert ask(inspector, bad).ok

    def test_a_proof_that_kills_does_not_condemn_the_version(self, tmp_path: Path) -> None:
        """What the child had said to stand, stands; its rows are not joined, and nothing of it is remembered."""
        request = put(tmp_path, b"m", batching=Batching(16))
        deed = "answer(so_far=finding(joined='', lasting=False)); os.abort()"
        with Inspector(tmp_path / "state", command=fake(deed)) as inspector:
            result = ask(inspector, request)
        assert result.ok
        assert result.batching.max_size == 1
        assert "SIGABRT" in result.batching.decided_by
        with Inspector(tmp_path / "state", command=fake("answer(so_far=finding()); answer(); os.abort()")) as inspector:
            assert "SIGABRT" in ask(inspector, request).reason

    def test_one_child_serves_many_versions_and_results_come_one_by_one(self, tmp_path: Path) -> None:
        """Whoever waits sees progress; a request is only made when its result is wanted."""
        requests = [put(tmp_path / str(n), str(n).encode()) for n in range(3)]
        made: list[int] = []

        def counted() -> Iterator[Request]:
            for n, request in enumerate(requests):
                made.append(n)
                yield request

        command = fake("print(os.getpid(), file=sys.stderr, flush=True)")
        with Inspector(tmp_path / "state", command=command) as inspector:
            results = inspector.inspect(counted())
            first = next(results)
            assert made == [0]
            others = list(results)
            assert inspector._child is not None
            last_words = inspector._child.end()
        assert [result.ok for result in (first, *others)] == [True, True, True]
        assert len({*first.log, *others[0].log, *others[1].log, *last_words}) == 1

    def test_a_child_that_ended_between_two_questions_is_replaced(self, tmp_path: Path) -> None:
        """That is no version's fault."""
        with Inspector(tmp_path / "state", command=fake("")) as inspector:
            assert ask(inspector, put(tmp_path / "a", b"a")).ok
            assert inspector._child is not None
            inspector._child._process.kill()
            inspector._child._process.wait(PATIENCE_S)
            assert ask(inspector, put(tmp_path / "b", b"b")).ok

    @pytest.mark.parametrize(
        ("command", "why"),
        [
            (("/nonexistent/program",), "No such file"),
            ((sys.executable, "-c", "raise SystemExit('no runtime here')"), "no runtime here"),
            ((sys.executable, "-c", "import signal; signal.pause()"), "cannot start"),
        ],
    )
    def test_a_child_that_cannot_start_is_not_the_models_fault(
        self, tmp_path: Path, command: tuple[str, ...], why: str
    ) -> None:
        """The reason says so, with the child's last line."""
        request = put(tmp_path, b"m")
        start_limit_s = 1.0 if "pause" in command[-1] else PATIENCE_S
        with Inspector(tmp_path / "state", command=command, start_limit_s=start_limit_s) as inspector:
            result = ask(inspector, request)
        assert result.reason.startswith("the trial process cannot start")
        assert why in result.reason

    def test_what_the_child_writes_does_not_reach_the_terminal(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Its last lines come with the result, for the log."""
        code = "for n in range(100): print(f'warning {n}', file=sys.stderr, flush=True)\n    os._exit(3)"
        with Inspector(tmp_path / "state", command=fake(code)) as inspector:
            result = ask(inspector, put(tmp_path, b"m"))
        assert len(result.log) < 100
        assert result.log[-1] == "warning 99"
        assert capfd.readouterr() == ("", "")

    def test_files_that_change_meanwhile_are_looked_at_again(self, tmp_path: Path) -> None:
        """A version that is still being copied is neither served nor remembered."""
        request = put(tmp_path, b"half")
        code = "(Path(request['directory']) / 'model.onnx').write_text('whole')"
        with Inspector(tmp_path / "state", command=fake(code)) as inspector:
            assert "changed while they were read" in ask(inspector, request).reason
        with Inspector(tmp_path / "state", command=fake("")) as inspector:
            assert ask(inspector, request).ok


class TestMemory:
    """Results are remembered by contents, settings and software."""

    MUST_NOT_START = ("/nonexistent/program",)

    def test_what_is_known_is_not_tried_again(self, tmp_path: Path) -> None:
        """The same files elsewhere, under another number: no child is started."""
        with Inspector(tmp_path / "state", command=fake("")) as inspector:
            first = ask(inspector, put(tmp_path / "a", b"m"))
        moved = put(tmp_path / "b", b"m")
        with Inspector(tmp_path / "state", command=self.MUST_NOT_START) as inspector:
            again = ask(inspector, Request("other", "7", moved.directory, batching=Batching(8, 3)))
        assert first.ok
        assert (again.model, again.number, again.digest) == ("other", "7", first.digest)
        assert again.batching == Batching(8, 3, SHOWN)
        assert again.signature == first.signature

    def test_a_broken_model_is_remembered_as_well(self, tmp_path: Path) -> None:
        """If the child says that it will be broken tomorrow."""
        request = put(tmp_path, b"m")
        code = "answer(final=finding(ok=False, reason='no good'))\n    continue"
        with Inspector(tmp_path / "state", command=fake(code)) as inspector:
            assert ask(inspector, request).reason == "no good"
        with Inspector(tmp_path / "state", command=self.MUST_NOT_START) as inspector:
            assert ask(inspector, request).reason == "no good"

    @pytest.mark.parametrize(
        "change", ["content", "settings", "rows", "providers", "corrupt", "truncated", "other key", "hard link"]
    )
    def test_what_differs_is_tried(self, tmp_path: Path, change: str) -> None:
        """Other contents, other settings, a memory that cannot be read or belongs elsewhere, and files now linked."""
        request = put(tmp_path, b"m")
        state = tmp_path / "state"
        with Inspector(state, command=fake("")) as inspector:
            assert ask(inspector, request).ok
        (kept,) = (state / "inspected").iterdir()
        if change == "content":
            put(tmp_path, b"n")
        elif change == "settings":
            request = Request("m", "1", request.directory, never_joined="because")
        elif change == "rows":
            request = Request("m", "1", request.directory, rows_independent=False)
        elif change == "providers":
            request = Request("m", "1", request.directory, providers=("OtherExecutionProvider",))
        elif change == "corrupt":
            kept.write_bytes(b"\xff{" * 100)
        elif change == "truncated":
            kept.write_bytes(kept.read_bytes()[:-20])
        elif change == "other key":
            kept.write_text(json.dumps(json.loads(kept.read_text()) | {"key": "other"}))
        else:
            os.link(request.directory / "model.onnx", tmp_path / "second")
        with Inspector(state, command=self.MUST_NOT_START) as inspector:
            reason = ask(inspector, request).reason
        assert ("hard link" if change == "hard link" else "cannot start") in reason

    def test_no_half_written_memory_is_left(self, tmp_path: Path) -> None:
        """One whole file for each result, nothing beside it."""
        with Inspector(tmp_path / "state", command=fake("")) as inspector:
            list(inspector.inspect([put(tmp_path / str(n), str(n).encode()) for n in range(3)]))
        names = [path.name for path in (tmp_path / "state" / "inspected").iterdir()]
        assert len(names) == 3
        assert all(name.endswith(".json") and not name.startswith(".") for name in names)

    def test_a_state_directory_that_cannot_be_written_costs_only_the_memory(self, tmp_path: Path) -> None:
        """The version is tried each time."""
        (tmp_path / "state").write_text("a file")
        with Inspector(tmp_path / "state", command=fake("")) as inspector:
            assert ask(inspector, put(tmp_path, b"m")).ok


PATCHED = """
import os, re, sys
from router.app import inspect as trial
load = trial._load
def patched(path, providers):
    DEED
    return load(path, providers)
trial._load = patched
trial.main()
"""


def real(deed: str) -> tuple[str, ...]:
    """The real child, which does this before each load."""
    return sys.executable, "-c", PATCHED.replace("DEED", deed)


class TestRealChild:
    """The manners of the real child."""

    def test_chatter_of_libraries_is_no_answer(self, tmp_path: Path) -> None:
        """What native code prints goes to the log, not between the answers; nor can it read the questions."""
        deed = "os.write(1, b'chatter\\n'); assert os.read(0, 9) == b''"
        with Inspector(tmp_path / "state", command=real(deed)) as inspector:
            results = list(inspector.inspect([put(tmp_path / name, linear()) for name in "a"]))
            assert results[0].ok, results[0].reason
            assert inspector._child is not None
            assert "chatter" in (*results[0].log, *inspector._child.end())

    def test_a_run_that_takes_long_is_ended(self, tmp_path: Path) -> None:
        """The version is served, its rows are not joined, and on another day there may be more time for it."""
        body = helper.make_graph(
            [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["a", "a"], ["b"])],
            "body",
            [info("n", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), info("a", ["N", 3])],
            [info("on", [], TensorProto.BOOL), info("b", ["N", 3])],
        )
        model = graph_model(
            [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
            [info("x", ["N", 3])],
            [info("y", ["N", 3])],
            numpy_helper.from_array(np.array(1 << 50), "count"),
        )
        with Inspector(tmp_path / "state", command=real("trial.RUN_LIMIT_S = 0.2")) as inspector:
            result = ask(inspector, put(tmp_path, model, batching=Batching(8)))
            owned = ask(inspector, put(tmp_path, model, batching=Batching(8), rows_independent=True))
        assert result.ok, result.reason
        assert result.note == "a single run takes more than 0.2 s"
        assert result.batching.max_size == 1
        assert owned.batching == Batching(8, 0, OWNER)
        assert not (tmp_path / "state" / "inspected").exists()

    def test_a_crash_in_native_code_is_named(self, tmp_path: Path) -> None:
        """As the operating system saw it."""
        deed = "import ctypes; ctypes.string_at(0)"
        with Inspector(tmp_path / "state", command=real(deed)) as inspector:
            result = ask(inspector, put(tmp_path, linear()))
        assert result.reason == "the model crashed the trial process (signal SIGSEGV)"

    def test_it_leaves_when_its_questions_end(self, tmp_path: Path) -> None:
        """Even in the middle of a load that does not come back."""
        deed = "sys.stderr.write('held\\n'); sys.stderr.flush(); __import__('threading').Event().wait()"
        pipe = subprocess.PIPE
        with subprocess.Popen(real(deed), stdin=pipe, stdout=pipe, stderr=pipe) as child:
            assert child.stdin is not None
            assert child.stderr is not None
            request = put(tmp_path, linear())
            question = {
                "directory": str(request.directory),
                "filename": "model.onnx",
                "rows_independent": None,
                "never_joined": "",
                "providers": ["CPUExecutionProvider"],
            }
            child.stdin.write(json.dumps(question).encode() + b"\n")
            child.stdin.flush()
            assert child.stderr.readline() == b"held\n"
            child.stdin.close()
            assert child.wait(PATIENCE_S) == 0

    def test_it_dies_with_its_parent(self, tmp_path: Path) -> None:
        """Even while native code holds the interpreter, so that no thread could notice the end of stdin."""
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        request = put(tmp_path, linear())
        deed = f"os.write(os.open({str(pipe)!r}, os.O_WRONLY), b'held'); re.match('(a+)+b', 'a' * 64)"
        program = (
            "import sys; from pathlib import Path; from router.control.inspection import Inspector, Request\n"
            f"command = {real(deed)!r}\n"
            f"request = Request('m', '1', Path({str(request.directory)!r}))\n"
            f"list(Inspector(Path({str(tmp_path)!r}), command=command).inspect([request]))\n"
        )
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        with subprocess.Popen([sys.executable, "-c", program]) as parent:
            assert poll.poll(PATIENCE_S * 1000)
            assert os.read(reading, 9) == b"held"
            parent.send_signal(signal.SIGKILL)
            parent.wait(PATIENCE_S)
        poll.modify(reading, select.POLLHUP)  # the last writer, which is the child, has gone
        assert poll.poll(PATIENCE_S * 1000)
        os.close(reading)
