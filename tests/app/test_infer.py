"""`router infer`, against a real server of the protocol in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner, Result

from router.app.cli import main
from router.app.infer import infer
from router.core.tensor import DTYPES
from router.pb import inference_pb2 as pb
from tests.fake_inference import FakeServer, Output, Tensor, authority, serving

Run = Callable[..., Result]


def model(name: str, *inputs: Tensor, outputs: tuple[Tensor, ...] = ()) -> pb.ModelMetadataResponse:
    """A model's metadata."""
    return pb.ModelMetadataResponse(name=name, versions=["3"], inputs=inputs, outputs=outputs)


@pytest.fixture
def fake() -> FakeServer:
    """A server with `digits` (pixels FP32 [any, 64]) and `two` (a INT64 [any, 2], b BYTES [any])."""
    fake = FakeServer()
    fake.models["digits"] = model("digits", Tensor(name="pixels", datatype="FP32", shape=[-1, 64]))
    fake.models["two"] = model(
        "two",
        Tensor(name="a", datatype="INT64", shape=[-1, 2]),
        Tensor(name="b", datatype="BYTES", shape=[-1]),
        outputs=(Tensor(name="a", datatype="INT64", shape=[-1, 2]), Tensor(name="b", datatype="BYTES", shape=[-1])),
    )
    return fake


@pytest.fixture
def target(fake: FakeServer) -> Iterator[str]:
    """Where `fake` is served."""
    with serving(fake) as where:
        yield where


@pytest.fixture
def run(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command against `fake`, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words, stdin=None: CliRunner().invoke(infer, [*words, "--target", target], input=stdin)


def sent(fake: FakeServer, place: int = 0) -> np.ndarray:
    """A numeric input of the last request."""
    request = fake.seen[-1]
    tensor = request.inputs[place]
    return np.frombuffer(request.raw_input_contents[place], DTYPES[tensor.datatype]).reshape(tensor.shape)


IMAGE = np.arange(64.0).reshape(8, 8)


class TestSources:
    """Where inputs may come from."""

    @pytest.mark.parametrize("named", [False, True])
    @pytest.mark.parametrize(
        ("name", "write"),
        [
            ("x.npy", lambda path: np.save(path, IMAGE.reshape(1, 64))),
            ("x.npz", lambda path: np.savez(path, pixels=IMAGE.reshape(1, 64))),
            ("y.npz", lambda path: np.savez(path, **{"input:pixels": IMAGE.reshape(1, 64), "label": np.zeros(1)})),
            ("z.npz", lambda path: np.savez(path, anything=IMAGE.reshape(1, 64))),
            ("x.json", lambda path: Path(path).write_text(json.dumps(IMAGE.reshape(1, 64).tolist()))),
            ("y.json", lambda path: Path(path).write_text(json.dumps({"pixels": IMAGE.reshape(1, 64).tolist()}))),
            ("x.csv", lambda path: np.savetxt(path, IMAGE.reshape(1, 64), delimiter=",")),
            ("x.txt", lambda path: np.savetxt(path, IMAGE.reshape(1, 64))),
        ],
    )
    def test_a_file_of_any_kind(
        self, fake: FakeServer, run: Run, name: str, write: Callable[[str], Any], named: bool
    ) -> None:
        """With one input no name is needed; the values go out as FP32."""
        write(name)
        result = run("digits", "--input", f"pixels={name}" if named else name)
        assert result.exit_code == 0, result.stderr
        np.testing.assert_array_equal(sent(fake), IMAGE.reshape(1, 64).astype("f4"))

    @pytest.mark.parametrize("words", [("pixels=-",), ("-",)])
    def test_standard_input(self, fake: FakeServer, run: Run, words: tuple[str]) -> None:
        """`-` reads JSON from standard input."""
        result = run("digits", "-i", *words, stdin=json.dumps(IMAGE.reshape(1, 64).tolist()))
        assert result.exit_code == 0, result.stderr
        assert sent(fake).shape == (1, 64)

    @pytest.mark.parametrize(
        "words",
        [
            ("a=[[1,2],[3,4]]", 'b=["x","é"]'),
            ('{"a": [[1,2],[3,4]], "b": ["x","é"]}',),
            ('{"input:a": [[1,2],[3,4]], "input:b": ["x","é"], "a": 1}',),
        ],
    )
    def test_values_typed_by_hand(self, fake: FakeServer, run: Run, words: tuple[str, ...]) -> None:
        """JSON in place of a file; text goes to a BYTES input in UTF-8."""
        result = run("two", *(part for word in words for part in ("-i", word)))
        assert result.exit_code == 0, result.stderr
        assert sent(fake).tolist() == [[1, 2], [3, 4]]
        assert fake.seen[-1].raw_input_contents[1] == b"\1\0\0\0x\2\0\0\0\xc3\xa9"

    def test_a_file_for_several_inputs(self, fake: FakeServer, run: Run) -> None:
        """An .npz feeds every input it names; what is no input is left out, and that is said."""
        np.savez("all.npz", a=np.ones((1, 2), int), b=np.array(["x"]), c=np.zeros(1))
        result = run("two", "-i", "all.npz")
        assert result.exit_code == 0, result.stderr
        assert [tensor.name for tensor in fake.seen[-1].inputs] == ["a", "b"]
        assert result.stderr == "ignored c: no input of two\n"

    def test_a_heading_is_passed_over(self, fake: FakeServer, run: Run) -> None:
        """The first line of a .csv may hold names: that is said."""
        Path("h.csv").write_text("first;second\n1;2\n3;4\n")
        result = run("two", "-i", "a=h.csv", "-i", 'b=["x"]')
        assert result.exit_code == 0, result.stderr
        assert sent(fake).tolist() == [[1, 2], [3, 4]]
        assert "took the first line of h.csv for a heading" in result.stderr


class TestConversion:
    """Values become what the model wants, or are refused."""

    @pytest.mark.parametrize(
        ("want", "came", "goes"),
        [
            ([-1, 64], (8, 8), (1, 64)),
            ([-1, 64], (5, 8, 8), (5, 64)),
            ([-1, 64], (64,), (1, 64)),
            ([-1, 8, 8], (8, 8), (1, 8, 8)),
            ([-1, 1, 8, 8], (8, 8), (1, 1, 8, 8)),
            ([-1, 1, 8, 8], (3, 8, 8), (3, 1, 8, 8)),
            ([-1, 8, 8], (2, 64), (2, 8, 8)),
            ([-1], (), (1,)),
            ([-1, 1], (7,), (7, 1)),
            ([2, 3], (6,), (2, 3)),
            ([-1, -1], (4,), (1, 4)),
            ([-1, 64], (0, 64), (0, 64)),
        ],
    )
    def test_shapes_are_mended_where_the_meaning_is_clear(
        self, fake: FakeServer, run: Run, want: list[int], came: tuple[int, ...], goes: tuple[int, ...]
    ) -> None:
        """A missing batch dimension is added, an image is flattened or given its sides: and that is said."""
        fake.models["m"] = model("m", Tensor(name="x", datatype="FP32", shape=want))
        array = np.arange(np.prod(came, dtype=int), dtype="f4").reshape(came)
        np.save("x.npy", array)
        result = run("m", "-i", "x.npy")
        assert result.exit_code == 0, result.stderr
        np.testing.assert_array_equal(sent(fake), array.reshape(goes))
        assert (f"{list(came)} → {list(goes)}" in result.stderr) == (came != goes)

    @pytest.mark.parametrize(
        ("want", "came"),
        [
            ([-1, 3, 8, 8], (8, 8, 3)),
            ([-1, 64], (3, 7)),
            ([2, 3], (3, 3)),
            ([-1, -1], (2, 2, 2)),
            ([-1, 2, 3], (4, 3, 2)),
        ],
    )
    def test_shapes_that_do_not_fit_are_refused(
        self, fake: FakeServer, run: Run, want: list[int], came: tuple[int, ...]
    ) -> None:
        """What was expected and what came stand in one line; colours and sides are never swapped by guess."""
        fake.models["m"] = model("m", Tensor(name="x", datatype="FP32", shape=want))
        np.save("x.npy", np.zeros(came))
        result = run("m", "-i", "x.npy")
        sizes = ", ".join("any" if size == -1 else str(size) for size in want)
        assert_one_line(result, 2, f"x: expected x FP32 [{sizes}], came {list(came)}")

    @pytest.mark.parametrize(
        ("kind", "text", "goes"),
        [
            ("FP32", "[0.1]", np.float32([0.1])),
            ("FP64", "[1]", np.float64([1])),
            ("FP16", "[1.5]", np.float16([1.5])),
            ("BF16", "[1.5]", np.array([1.5], ml_dtypes.bfloat16)),
            ("INT8", "[-128.0]", np.int8([-128])),
            ("UINT64", "[18446744073709551615]", np.uint64([2**64 - 1])),
            ("BOOL", "[true]", np.bool_([True])),
            ("BOOL", "[1]", np.bool_([True])),
            ("INT32", "[true]", np.int32([1])),
            ("FP32", "[NaN]", np.float32([np.nan])),
        ],
    )
    def test_numbers_take_the_models_datatype(
        self, fake: FakeServer, run: Run, kind: str, text: str, goes: np.ndarray
    ) -> None:
        """Any number that fits goes out in the datatype of the input."""
        fake.models["m"] = model("m", Tensor(name="x", datatype=kind, shape=[-1]))
        result = run("m", "-i", text)
        assert result.exit_code == 0, result.stderr
        assert fake.seen[-1].raw_input_contents[0] == goes.tobytes()

    @pytest.mark.parametrize(
        ("kind", "text", "why"),
        [
            ("INT8", "[300]", "300 does not fit into INT8"),
            ("UINT8", "[-1]", "-1 does not fit into UINT8"),
            ("INT64", "[1.5]", "1.5 does not fit into INT64"),
            ("INT64", "[NaN]", "nan does not fit into INT64"),
            ("INT64", "[1e30]", "1e+30 does not fit into INT64"),
            ("BOOL", "[2]", "2 does not fit into BOOL"),
            ("FP16", "[70000]", "70000 does not fit into FP16"),
            ("FP32", "[1e39]", "1e+39 does not fit into FP32"),
            ("FP32", '["a"]', "expected FP32, came text"),
            ("FP32", "[1, null]", "expected FP32, came a mixture"),
            ("FP32", '[1, "a"]', "expected FP32, came a mixture"),
            ("BYTES", "[1]", "expected BYTES, so text; came int64"),
            ("BYTES", '["a", 1]', "expected BYTES, so text; came a mixture"),
            ("FP32", "[[1], [1, 2]]", "the lists are not of one length"),
            ("FP9", "[1]", "does not know the datatype FP9"),
        ],
    )
    def test_values_that_do_not_fit_are_refused(
        self, fake: FakeServer, run: Run, kind: str, text: str, why: str
    ) -> None:
        """Nothing is cut off or wrapped round: the value and the datatype stand in the error."""
        fake.models["m"] = model("m", Tensor(name="x", datatype=kind, shape=[-1]))
        assert_one_line(run("m", "-i", text), 2, why)
        assert fake.seen == []


def assert_one_line(result: Result, code: int, text: str) -> None:
    """The command failed with `code` and one line on standard error that holds `text`."""
    assert result.exit_code == code, result.output
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


class TestMistakes:
    """Each mistake is one line that says the mend."""

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (("digits",), "digits needs pixels FP32 [any, 64]; give it with --input pixels=FILE"),
            (("digits", "-i", "x=[1]"), "no input 'x', and there is no file 'x=[1]'; it has pixels FP32 [any, 64]"),
            (("digits", "-i", "gone.npy"), "no file 'gone.npy', and it is not JSON either"),
            (("digits", "-i", "1," * 5000), "it is not JSON either"),
            (("digits", "-i", "[1,"), "'[1,' is not JSON"),
            (("digits", "-i", "bad.npy"), "cannot read bad.npy"),
            (("digits", "-i", "bad.npz"), "cannot read bad.npz"),
            (("digits", "-i", "bad.json"), "bad.json is not JSON"),
            (("digits", "-i", "bad.csv"), "cannot read bad.csv: there are no numbers in it"),
            (("digits", "-i", "empty.csv"), "cannot read empty.csv: it is empty"),
            (("digits", "-i", "bad.png"), "bad.png: give a .npy, .npz, .json, .csv or .txt file"),
            (
                ("two", "-i", "[1]"),
                "say which input '[1]' is for: NAME=…; the inputs are a INT64 [any, 2]; b BYTES [any]",
            ),
            (("two", "-i", '{"c": 1, "d": 2}'), "none of c, d is an input of two"),
            (("two", "-i", "a=two.npz"), "there is no 'a' among c, d"),
            (("two", "-i", "a=[[1,2]]", "-i", 'b=["x"]', "--output", "z"), "two has no output 'z'; it has a INT64"),
        ],
    )
    def test_usage(self, run: Run, words: tuple[str, ...], text: str) -> None:
        """A mistake in what was typed, or in a file: exit code 2."""
        for name in ("bad.npy", "bad.npz", "bad.json", "bad.csv", "bad.png"):
            Path(name).write_text("no such thing")
        Path("empty.csv").touch()
        np.savez("two.npz", c=[1], d=[2])
        assert_one_line(run(*words), 2, text)

    def test_an_unknown_model_shows_what_there_is(self, run: Run) -> None:
        """The server's words, and the models of its index: exit code 1."""
        assert_one_line(run("absent"), 1, "NOT_FOUND: no model 'absent'; there is echo 3 (READY), old 1 (UNAVAILABLE)")

    def test_no_server(self) -> None:
        """The mend is to start one, or to name another."""
        with serving(FakeServer()) as target:
            pass
        result = CliRunner().invoke(infer, ["digits", "--target", target])
        assert_one_line(result, 1, f"cannot reach {target}; start `router serve`, or name another server with --target")

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
    def test_tls(self, fake: FakeServer, tmp_path: Path) -> None:
        """`--tls-ca` trusts the server of that authority; for another one the mend is to look at the file."""
        fake.models["echo"] = model("echo")
        credentials, certificate = authority(tmp_path)
        (tmp_path / "other").mkdir()
        _, other = authority(tmp_path / "other")
        with serving(fake, credentials) as target:
            words = ["echo", "--target", target, "--tls-ca"]
            trusted = CliRunner().invoke(infer, [*words, str(certificate)])
            refused = CliRunner().invoke(infer, [*words, str(other)])
        assert trusted.exit_code == 0, trusted.stderr
        assert_one_line(refused, 1, f"cannot reach {target}; is its --tls-ca right?")

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
    def test_tls_that_is_mixed_up(self, fake: FakeServer, tmp_path: Path) -> None:
        """The line names the flag that is missing, or too much; a bad file is refused before anything is sent."""
        fake.models["echo"] = model("echo")
        credentials, certificate = authority(tmp_path)
        key = tmp_path / "key.pem"
        pair = (key.read_bytes(), certificate.read_bytes())
        mutual = grpc.ssl_server_credentials([pair], certificate.read_bytes(), require_client_auth=True)
        ca, own = ("--tls-ca", str(certificate)), ("--tls-cert", str(certificate), "--tls-key", str(key))

        def ask(target: str, *words: str) -> Result:
            return CliRunner().invoke(infer, ["echo", "--target", target, *words])

        with serving(fake) as plain, serving(fake, credentials) as secured, serving(fake, mutual) as strict:
            assert_one_line(ask(plain, *ca), 1, f"cannot reach {plain}; leave --tls-ca, --tls-cert and --tls-key out")
            assert_one_line(ask(secured), 1, "name the authority of its certificate (PEM) with --tls-ca FILE")
            assert_one_line(ask(strict), 1, "give --tls-ca FILE, --tls-cert FILE and --tls-key FILE")
            assert_one_line(ask(strict, *ca), 1, f"cannot reach {strict}; give --tls-cert FILE and --tls-key FILE")
            assert ask(strict, *ca, *own).exit_code == 0
            assert_one_line(ask(strict, *ca, *own[:2]), 2, "--tls-cert and --tls-key go together")
            assert_one_line(ask(strict, *own), 2, "--tls-cert and --tls-key need --tls-ca FILE")
            assert_one_line(ask(strict, "--tls-ca", str(key)), 2, "is no readable certificate: give a PEM file")
            swapped = ("--tls-cert", str(key), "--tls-key", str(certificate))
            assert_one_line(ask(strict, *ca, *swapped), 2, "are not a certificate and its key")

    def test_another_port(self) -> None:
        """A port that speaks gRPC and knows nothing of inference is not called a server that is missing."""
        with serving(FakeServer(), handlers=(grpc.method_handlers_generic_handler("other", {}),)) as target:
            result = CliRunner().invoke(infer, ["digits", "--target", target])
        assert_one_line(result, 1, f"{target} speaks gRPC, but this is not the inference port (8001)")

    @pytest.mark.parametrize("words", [("x=1", "x=2"), ("1", "2"), ("1", "x=2"), ('{"x": 1}', "x=2")])
    def test_an_input_is_given_once(self, fake: FakeServer, run: Run, words: tuple[str, str]) -> None:
        """Neither of two values is chosen."""
        fake.models["m"] = model("m", Tensor(name="x", datatype="FP32", shape=[-1]))
        assert_one_line(run("m", *(part for word in words for part in ("-i", word))), 2, "input 'x' is given twice")
        assert fake.seen == []

    def test_names_of_others_are_made_one_line(self, fake: FakeServer, run: Run) -> None:
        """Control characters in a model's names, or in those of a file, never reach the terminal."""
        fake.models["m"] = model("m", Tensor(name="\x1b[31mx\n", datatype="FP32", shape=[-1]))
        assert_one_line(run("m"), 2, "m needs  [31mx FP32 [any]")
        assert_one_line(run("m", "-i", '{"\\u001b[1my": 1, "z": 2}'), 2, "none of  [1my, z is an input of m")

    @pytest.mark.parametrize(
        "words", [("\udcff",), ("digits", "--version", "\udcff"), ("digits", "--output", "\udcff")]
    )
    def test_names_are_text(self, run: Run, words: tuple[str, ...]) -> None:
        """Bytes of the command line that are no UTF-8 are told as such."""
        assert_one_line(run(*words), 2, "is not UTF-8 text")

    def test_standard_input_is_text(self, run: Run) -> None:
        """Bytes that are no UTF-8 are told by their place."""
        assert_one_line(run("digits", "-i", "-", stdin=b'["\xe9"]'), 2, "standard input is not UTF-8 text (byte 2)")

    def test_too_late(self, fake: FakeServer, run: Run) -> None:
        """The deadline that was given stands in the error."""
        fake.models["slow"] = model("slow")
        assert_one_line(run("slow", "--deadline", "0.05"), 1, "no answer within 0.05 s; a longer --deadline may help")

    def test_the_servers_words_are_made_one_line(self, fake: FakeServer, run: Run) -> None:
        """Control characters of a server never reach the terminal; a push-back says when to try again."""
        fake.models["busy"] = model("busy")
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        fake.errors["busy"] = (code, "the queue\nis \x1b[31mfull", (("grpc-retry-pushback-ms", "40"),))
        result = run("busy")
        assert_one_line(result, 1, "RESOURCE_EXHAUSTED: the queue is  [31mfull; try again in 40 ms")
        assert "\x1b" not in result.stderr


class TestAnswers:
    """What is printed."""

    @pytest.fixture
    def classified(self, fake: FakeServer) -> None:
        """`digits` answers with a label, shares of ten classes, an embedding and marks."""
        shares = np.full((2, 10), 0.02, "f4")
        shares[0, 7] = 0.82
        shares[1, 3] = 0.82
        parts = {
            "label": np.array([7, 3]),
            "probabilities": shares,
            "embedding": np.arange(24, dtype="f4").reshape(2, 3, 4),
        }
        reply = pb.ModelInferResponse(model_name="digits", model_version="3")
        for name, array in parts.items():
            kind = "INT64" if name == "label" else "FP32"
            reply.outputs.append(Output(name=name, datatype=kind, shape=array.shape))
            reply.raw_output_contents.append(array.tobytes())
        reply.parameters["served_by"].string_param = "failover"
        reply.parameters["generation"].int64_param = 12
        reply.parameters["degraded"].bool_param = True
        reply.parameters["fallback_reason"].string_param = "deadline"
        fake.replies["digits"] = reply

    @pytest.mark.usefixtures("classified")
    def test_a_classifier(self, run: Run) -> None:
        """A row for each item: its label, its best classes with bars; other outputs in short; who answered."""
        result = run("digits", "-i", json.dumps([[0] * 64] * 2))
        assert result.exit_code == 0, result.stderr
        lines = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
        assert "0 7 7 █████████████ 0.82" in lines
        assert "1 3 3 █████████████ 0.82" in lines
        assert lines.count("… 5 more") == 2
        assert "embedding FP32 [2, 3, 4]: 0, 1, 2, 3, 4, 5, 6, 7, …" in lines
        assert lines[-1].startswith("served by failover · version 3 · generation 12 · degraded (deadline) · ")
        assert lines[-1].endswith(" ms")

    @pytest.mark.usefixtures("classified")
    def test_an_answer_that_is_not_to_be_trusted(self, fake: FakeServer, run: Run) -> None:
        """The rules that fired are named, as text."""
        fake.replies["digits"].parameters["humility"].string_param = "far,\x1btorn"
        told = " ".join(run("digits", "-i", json.dumps([[0] * 64] * 2)).stdout.split())
        assert "· not to be trusted (far, torn) ·" in told

    @pytest.mark.usefixtures("classified")
    def test_json(self, run: Run) -> None:
        """One JSON object with everything, whatever had to be said goes to standard error."""
        result = run("digits", "-i", json.dumps(IMAGE.tolist()), "--json")
        told = json.loads(result.stdout)
        assert told["outputs"]["label"] == {"datatype": "INT64", "shape": [2], "data": [7, 3]}
        assert told["parameters"]["served_by"] == "failover"
        assert (told["model"], told["version"]) == ("digits", "3")
        assert told["ms"] > 0
        assert "reshaped" in result.stderr

    def test_json_has_a_word_for_everything(self, fake: FakeServer, run: Run) -> None:
        """Text, bytes that are no text, NaN, infinities and short floats are all valid JSON, and short."""
        reply = fake.replies["echo"] = pb.ModelInferResponse(model_name="echo")
        reply.outputs.append(Output(name="b", datatype="BYTES", shape=[2]))
        reply.raw_output_contents.append(b"\2\0\0\0\xc3\xa9\1\0\0\0\xff")
        reply.outputs.append(Output(name="f", datatype="BF16", shape=[4]))
        reply.raw_output_contents.append(np.array([1.5, "nan", "inf", "-inf"], "f4").astype(DTYPES["BF16"]).tobytes())
        reply.outputs.append(Output(name="g", datatype="FP32", shape=[3]))
        reply.raw_output_contents.append(np.float32([0.1, 1e-30, np.nan]).tobytes())
        fake.models["echo"] = model("echo")

        def forbidden(word: str) -> None:
            raise AssertionError(word)

        told = json.loads(run("echo", "--json").stdout, parse_constant=forbidden)
        assert told["outputs"]["b"]["data"] == ["é", {"base64": "/w=="}]
        assert told["outputs"]["g"]["data"] == [0.1, 1e-30, "NaN"]
        assert told["outputs"]["f"] == {"datatype": "BF16", "shape": [4], "data": [1.5, "NaN", "Infinity", "-Infinity"]}

    def test_an_answer_without_rows(self, fake: FakeServer, run: Run) -> None:
        """Its outputs are named all the same."""
        reply = fake.replies["echo"] = pb.ModelInferResponse(model_name="echo")
        reply.outputs.append(Output(name="label", datatype="INT64", shape=[0]))
        reply.raw_output_contents.append(b"")
        fake.models["echo"] = model("echo")
        assert "label INT64 [0]:" in run("echo").stdout

    def test_json_for_a_terminal_that_knows_ascii_only(self, fake: FakeServer, target: str) -> None:
        """Nothing of an answer is lost on the way; nor of a table, other than its lines."""
        reply = fake.replies["echo"] = pb.ModelInferResponse(model_name="echo")
        reply.outputs.append(Output(name="b", datatype="BYTES", shape=[1]))
        reply.raw_output_contents.append(b"\2\0\0\0\xc3\xa9")
        fake.models["echo"] = model("echo")
        ascii_only = CliRunner(charset="ascii")
        told = json.loads(ascii_only.invoke(main, ["infer", "echo", "--target", target, "--json"]).stdout)
        assert told["outputs"]["b"]["data"] == ["é"]
        result = ascii_only.invoke(main, ["infer", "echo", "--target", target])
        assert result.exit_code == 0, result.exception

    def test_long_answers_are_cut(self, fake: FakeServer, run: Run) -> None:
        """Twenty rows are shown, and how many more there are."""
        reply = fake.replies["echo"] = pb.ModelInferResponse(model_name="echo")
        reply.outputs.append(Output(name="n", datatype="INT64", shape=[50]))
        reply.raw_output_contents.append(np.arange(50).tobytes())
        fake.models["echo"] = model("echo")
        result = run("echo")
        assert "… and 30 more rows; --json prints all" in result.stdout

    def test_text_labels_cannot_paint_the_terminal(self, fake: FakeServer, run: Run) -> None:
        """Control characters and markup in an answer are shown as plain text."""
        reply = fake.replies["echo"] = pb.ModelInferResponse(model_name="echo")
        reply.outputs.append(Output(name="[red]b", datatype="BYTES", shape=[2, 1]))
        reply.raw_output_contents.append(b"\6\0\0\0[b]\x1b[m\1\0\0\0\xff")
        fake.models["echo"] = model("echo")
        result = run("echo")
        assert "[red]b" in result.stdout
        assert "[b] [m" in result.stdout
        assert r"b'\xff'" in result.stdout
        assert "\x1b" not in result.stdout

    def test_scores_that_are_no_shares_have_no_bars(self, fake: FakeServer, run: Run) -> None:
        """Logits are listed, highest first, without bars; nothing comes of an empty answer but who gave it."""
        reply = fake.replies["echo"] = pb.ModelInferResponse(model_name="echo")
        reply.outputs.append(Output(name="logits", datatype="FP32", shape=[1, 3]))
        reply.raw_output_contents.append(np.float32([[-2, 5, 1]]).tobytes())
        reply.outputs.append(Output(name="none", datatype="FP32", shape=[0, 3]))
        reply.raw_output_contents.append(b"")
        reply.outputs.append(Output(name="one", datatype="FP64", shape=[]))
        reply.raw_output_contents.append(np.float64(0.25).tobytes())
        fake.models["echo"] = model("echo")
        lines = [" ".join(line.replace("│", " ").split()) for line in run("echo").stdout.splitlines()]
        assert lines[3:6] == ["0 1 5", "2 1", "0 -2"]
        assert "none FP32 [0, 3]:" in lines
        assert "one FP64 []: 0.25" in lines

    def test_outputs_and_version_are_asked_for(self, fake: FakeServer, run: Run) -> None:
        """`--output` and `--version` go into the request."""
        result = run("two", "-i", "a=[[1,2]]", "-i", 'b=["x"]', "--output", "b", "--version", "3")
        assert result.exit_code == 0, result.stderr
        assert [output.name for output in fake.seen[-1].outputs] == ["b"]
        assert fake.seen[-1].model_version == "3"
