"""Golden files and exams: what they may hold, and one line for everything that is wrong."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.control import example_file
from router.control.example_file import exam_digest, exam_files, example_files, golden_file
from router.core.tensor import ANY, BYTES, Signature, TensorSpec
from router.errors import ModelBroken, SettingsError

Array = np.ndarray[Any, Any]
X = TensorSpec("x", "FP32", (ANY, 4))
WORD = TensorSpec("word", BYTES, (ANY, 1))
W = TensorSpec("w", "FP32", (4,), optional=True)
Y = TensorSpec("y", "FP32", (ANY, 2))
SIGNATURE = Signature((X,), (Y,))


def write(path: Path, **arrays: Any) -> Path:
    """An archive; `input_x` stands for `input:x`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key.replace("put_", "put:"): value for key, value in arrays.items()})
    return path


def floats(*shape: int) -> Array:
    """Numbers that are all the same."""
    return np.ones(shape, np.float32)


def wrong_exam(directory: Path, signature: Signature = SIGNATURE) -> str:
    """What is said of an exam."""
    with pytest.raises(SettingsError) as caught:
        exam_files(directory, signature)
    text = str(caught.value)
    assert "\n" not in text
    assert str(directory) not in text
    return text


class TestExam:
    """The operator's."""

    def test_the_bundled_exams_are_read(self) -> None:
        """As models/train.py writes them: numbers, and texts."""
        models = Path(__file__).parents[2] / "models"
        pixels = TensorSpec("pixels", "FP32", (ANY, 64))
        exam = exam_files(models / "digits" / "exam", Signature((pixels,), ()))
        assert (len(exam), exam.inputs["pixels"].shape, exam.labels.dtype.kind) == (400, (400, 64), "i")
        names = ("alcohol", "flavanoids", "proline")
        inputs = (*(TensorSpec(name, "FP32", (ANY, 1)) for name in names), TensorSpec("color", BYTES, (ANY, 1)))
        exam = exam_files(models / "wine" / "exam", Signature(inputs, ()))
        assert exam.labels.dtype.kind == exam.inputs["color"].dtype.kind == "O"
        assert exam.labels[0] in {"barolo", "grignolino", "barbera"}

    def test_several_files_are_one_exam_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        """Hidden files are none of them."""
        write(tmp_path / "b.npz", input_x=floats(1, 4), label=np.array([2]))
        write(tmp_path / "a.npz", input_x=floats(2, 4), label=np.array([0, 1]))
        (tmp_path / ".c.npz").write_bytes(b"")
        (tmp_path / "notes.txt").write_text("of the operator")
        exam = exam_files(tmp_path, SIGNATURE)
        assert exam.labels.tolist() == [0, 1, 2]
        assert [path.name for path in example_files(tmp_path)] == ["a.npz", "b.npz"]

    def test_datatypes_that_numpy_lacks(self, tmp_path: Path) -> None:
        """Texts as `U` or UTF-8 bytes, BF16 as FP32 or as numpy writes it; an optional input may be left out."""
        half = TensorSpec("x", "BF16", (ANY,))
        signature = Signature((WORD, half, W), ())
        path = tmp_path / "exam.npz"
        for words in (np.array([["ä"]]), np.array([["ä".encode()]])):
            for numbers in (np.ones(1, np.float32), np.ones(1, ml_dtypes.bfloat16)):
                write(path, input_word=words, input_x=numbers, label=np.array(["a"]))
                exam = exam_files(tmp_path, signature)
                assert exam.inputs["word"].tolist() == [["ä"]]
                assert exam.inputs["x"].dtype == ml_dtypes.bfloat16
                assert float(exam.inputs["x"][0]) == 1.0

    def test_labels_of_all_kinds(self, tmp_path: Path) -> None:
        """Whole numbers, truth values, texts, floats, and several floats for each row."""
        for labels, kind, shape in (
            (np.array([1, 2], np.uint8), "i", (2,)),
            (np.array([True, False]), "i", (2,)),
            (np.array([["a"], ["b"]]), "O", (2,)),
            (np.array([0.5, 1], np.float16), "f", (2,)),
            (np.ones((2, 3)), "f", (2, 3)),
        ):
            write(tmp_path / "exam.npz", input_x=floats(2, 4), label=labels)
            found = exam_files(tmp_path, SIGNATURE).labels
            assert (found.dtype.kind, found.shape) == (kind, shape)

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"input_x": floats(2, 4)}, "it has no array `label`: expected one label for each row"),
            ({"label": np.array([1])}, "it has no array `input:x`, which the model needs"),
            ({"input_x": floats(1, 4), "label": [1], "input_z": [1]}, "unknown array `input:z`: expected `input:x`, "),
            ({"input_x": floats(1, 4), "label": [1], "x": [1]}, "unknown array `x`"),
            ({"input_x": floats(2, 4), "label": [1]}, "`input:x` has 2 rows, `label` has 1"),
            ({"input_x": np.float32(1), "label": [1]}, "`input:x` has no rows"),
            ({"input_x": floats(1, 5), "label": [1]}, "`input:x` has the shape [1, 5], the model takes [any, 4]"),
            ({"input_x": floats(1, 4, 1), "label": [1]}, "`input:x` has the shape [1, 4, 1]"),
            ({"input_x": np.ones((1, 4)), "label": [1]}, "is float64, the model's is FP32: save it with .as"),
            ({"input_x": np.array([["a"] * 4]), "label": [1]}, "`input:x` is <U1, the model's is FP32"),
            ({"input_x": floats(0, 4), "label": np.zeros(0, int)}, "it is empty: `label` has no rows"),
            ({"input_x": floats(1, 4), "label": np.ones((1, 2, 2))}, "`label` has the shape [1, 2, 2]"),
            ({"input_x": floats(1, 4), "label": np.float64(1)}, "`label` has the shape []"),
            ({"input_x": floats(2, 4), "label": [1.0, np.nan]}, "`label` of row 1 is nan: expected a finite number"),
            ({"input_x": floats(1, 4), "label": [1j]}, "`label` is complex128"),
            ({"input_x": floats(1, 4), "label": np.array([2**64 - 1], np.uint64)}, "expected at most 922337203685477"),
            ({"input_x": floats(1, 4), "label": np.array([{}])}, "`label` holds Python objects, which are never read"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_in_one_line(self, tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
        """Which file, which array, what was expected."""
        write(tmp_path / "exam.npz", **arrays)
        text = wrong_exam(tmp_path)
        assert text.startswith("exam/exam.npz: ")
        assert said in text

    def test_a_model_that_takes_texts_wants_texts(self, tmp_path: Path) -> None:
        """Numbers are none, nor are bytes that are not UTF-8."""
        signature = Signature((WORD,), ())
        write(tmp_path / "exam.npz", input_word=np.array([[1]]), label=[1])
        assert "the model's is BYTES: save it as texts" in wrong_exam(tmp_path, signature)
        write(tmp_path / "exam.npz", input_word=np.array([[b"\xff"]]), label=[1])
        assert "holds bytes that are not UTF-8" in wrong_exam(tmp_path, signature)

    def test_a_model_without_rows_cannot_be_examined(self, tmp_path: Path) -> None:
        """A first dimension of another size than 1 is no row."""
        write(tmp_path / "exam.npz", input_x=floats(3, 4), label=[1, 2, 3])
        fixed = Signature((TensorSpec("x", "FP32", (3, 4)),), ())
        assert "the model's first dimension is 3, so rows cannot be told apart" in wrong_exam(tmp_path, fixed)
        single = Signature((TensorSpec("x", "FP32", (1, 4)),), ())
        assert len(exam_files(tmp_path, single)) == 3

    def test_files_that_do_not_go_together(self, tmp_path: Path) -> None:
        """One kind of labels, one shape of rows."""
        write(tmp_path / "a.npz", input_x=floats(1, 4), label=[1])
        write(tmp_path / "b.npz", input_x=floats(1, 4), label=["a"])
        assert wrong_exam(tmp_path).startswith("exam/b.npz: `label` is not like that of exam/a.npz")

    def test_no_file_at_all(self, tmp_path: Path) -> None:
        """An empty directory is no exam, and does not pass for one."""
        assert wrong_exam(tmp_path) == "the directory exam/ holds no .npz file: put one there, or remove the directory"

    @pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x93NUMPY\x01\x00"])
    def test_what_is_no_archive(self, tmp_path: Path, content: bytes) -> None:
        """Whatever it is."""
        (tmp_path / "exam.npz").write_bytes(content)
        assert "it is damaged, or no .npz file" in wrong_exam(tmp_path)

    def test_a_pipe_is_never_waited_for(self, tmp_path: Path) -> None:
        """Nor is a directory read."""
        os.mkfifo(tmp_path / "exam.npz")
        assert wrong_exam(tmp_path) == "exam/exam.npz: it cannot be read: it is not a regular file"

    def test_an_archive_that_claims_too_much(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before anything of it is unpacked."""
        write(tmp_path / "exam.npz", input_x=floats(100, 4), label=np.arange(100))
        monkeypatch.setattr(example_file, "LIMIT_BYTES", 1000)
        assert "at most 1000 are read: split it" in wrong_exam(tmp_path)

    def test_a_header_that_claims_more_than_there_is(self, tmp_path: Path) -> None:
        """An array of terabytes in a file of bytes is no reason to fall."""
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {"descr": "<f4", "fortran_order": False, "shape": (1 << 44,)},  # type: ignore[arg-type]
        )
        with zipfile.ZipFile(tmp_path / "exam.npz", "w") as archive:
            archive.writestr("label.npy", header.getvalue())
        assert "`label` is" in wrong_exam(tmp_path)

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_damaged_bytes_are_one_line(self, tmp_path: Path, data: st.DataObject) -> None:
        """An exam whose bytes were changed or cut is read as it is, or refused with one line."""
        path = write(tmp_path / "exam.npz", input_x=floats(2, 4), label=np.array([0, 1]))
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
        try:
            said = str(len(exam_files(tmp_path, SIGNATURE)))
        except SettingsError as error:
            said = str(error)
        assert said == "2" or said.startswith("exam/exam.npz: ")
        assert "\n" not in said


class TestDigest:
    """An exam is named by what it holds."""

    def test_it_follows_names_and_contents(self, tmp_path: Path) -> None:
        """Not times, and not other files."""
        write(tmp_path / "a.npz", label=[1])
        first = exam_digest(tmp_path)
        os.utime(tmp_path / "a.npz", (0, 0))
        (tmp_path / "notes.txt").write_text("x")
        assert exam_digest(tmp_path) == first
        assert len(first) == 64
        (tmp_path / "a.npz").rename(tmp_path / "b.npz")
        renamed = exam_digest(tmp_path)
        write(tmp_path / "b.npz", label=[2])
        assert len({first, renamed, exam_digest(tmp_path)}) == 3

    def test_what_cannot_be_read_has_none(self, tmp_path: Path) -> None:
        """A pipe is not waited for."""
        os.mkfifo(tmp_path / "a.npz")
        with pytest.raises(OSError, match="not a regular file"):
            exam_digest(tmp_path)


class TestGolden:
    """The trainer's."""

    def test_the_bundled_golden_files_are_read(self) -> None:
        """As models/train.py writes them."""
        path = Path(__file__).parents[2] / "models" / "digits" / "1" / "golden" / "smoke.npz"
        outputs = (TensorSpec("label", "INT64", (ANY,)), TensorSpec("probabilities", "FP32", (ANY, 10)))
        golden = golden_file(path, Signature((TensorSpec("pixels", "FP32", (ANY, 64)),), outputs))
        assert golden.inputs["pixels"].shape == (8, 64)
        assert golden.outputs["probabilities"].shape == (8, 10)

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"input_x": floats(2, 4)}, "it holds no outputs: expected `output:y`"),
            ({"output_y": floats(2, 2)}, "it has no array `input:x`"),
            ({"input_x": floats(2, 4), "output_z": [1]}, "unknown array `output:z`: expected `input:x`, `output:y`"),
            ({"input_x": floats(2, 4), "output_y": floats(2, 2), "label": [1]}, "unknown array `label`"),
            ({"input_x": floats(2, 3), "output_y": floats(2, 2)}, "`input:x` has the shape [2, 3]"),
            ({"input_x": floats(2, 4), "output_y": np.ones((2, 2))}, "`output:y` is float64, the model's is FP32"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(self, tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
        """It is the version's fault."""
        with pytest.raises(ModelBroken) as caught:
            golden_file(write(tmp_path / "g.npz", **arrays), SIGNATURE)
        assert str(caught.value).startswith("golden/g.npz: ")
        assert said in str(caught.value)
