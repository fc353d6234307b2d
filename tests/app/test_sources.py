"""What is read from files, standard input and JSON: values as they stand there, or one line that says what is wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.app.mistake import Wrong
from router.app.sources import read


def put(folder: Path, name: str, content: str | bytes) -> str:
    """A file; its path."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def refused(source: str) -> str:
    """Why a source is not read: one line."""
    with pytest.raises(Wrong) as wrong:
        read(source, [])
    assert "\n" not in wrong.value.message
    return wrong.value.message


def complaint(source: str) -> str:
    """Why a source is not read; nothing if it is."""
    try:
        read(source, [])
    except Wrong as wrong:
        return wrong.message
    return ""


class TestTables:
    """Tables of numbers."""

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("1,2\n3,4\n", [[1, 2], [3, 4]]),
            ("1;2.5\r\n3;4\r\n", [[1, 2.5], [3, 4]]),
            ("1\t2\n3\t4", [[1, 2], [3, 4]]),
            ("1  2\n\n 3 4 ", [[1, 2], [3, 4]]),
            ("1, 2, 3", [1, 2, 3]),
            ("1\n2\n3\n", [1, 2, 3]),
            ('"1","2"\n3,4', [[1, 2], [3, 4]]),
            ("\ufeff1,2\n3,4", [[1, 2], [3, 4]]),
            ("# a note\n1 2 # another\n3 4", [[1, 2], [3, 4]]),
            ("9007199254740993\n-1", [9007199254740993, -1]),
            ("1e3 inf -0.5", [1000.0, float("inf"), -0.5]),
        ],
    )
    def test_separators_are_found(self, tmp_path: Path, text: str, values: list[Any]) -> None:
        """Semicolons, tabs, commas or blanks; one row or one column is one list; whole numbers stay exact."""
        notes: list[str] = []
        assert read(put(tmp_path, "t.csv", text), notes) == values
        assert notes == []

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("1,,3\n1,2,3", "t.csv, line 1, field 2 is empty: put a number there, nan if there is none"),
            ("a,b,c\n1,2,3\n4,5,", "t.csv, line 3, field 3 is empty"),
            ("1\t\t3", "t.csv, line 1, field 2 is empty"),
            ("1,5;2,5\n", "t.csv, line 1, field 1: '1,5' is no number; write numbers with a decimal point"),
            ("a;b\n1,5;2", "t.csv, line 2, field 1: '1,5' is no number; write numbers with a decimal point"),
            ("1,5\t2,5", "'1,5' is no number; write numbers with a decimal point"),
            ("1,5 2,5", "t.csv, line 1, field 2: '5 2' is no number"),
            ("1,2\n3,x", "t.csv, line 2, field 2: 'x' is no number"),
            ("1,2\n3,4,5", "t.csv, line 2: 3 numbers, the first line has 2"),
            ("a,b", "cannot read t.csv: there are no numbers in it"),
            ("\n \n", "cannot read t.csv: it is empty"),
            (b"1,\xff", "t.csv is not UTF-8 text (byte 2): save it as UTF-8"),
        ],
    )
    def test_nothing_is_guessed(self, tmp_path: Path, text: str | bytes, why: str) -> None:
        """Fields that are empty or no numbers are named by line and place."""
        assert why in refused(put(tmp_path, "t.csv", text))

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.lists(st.integers() | st.floats(allow_nan=False), min_size=2, max_size=4), min_size=2, max_size=5),
        st.sampled_from([",", ";", "\t", " "]),
    )
    def test_numbers_come_as_they_were_written(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], delimiter: str
    ) -> None:
        """Whatever the separator; rows of different lengths are refused."""
        text = "\n".join(delimiter.join(map(repr, row)) for row in rows)
        source = put(tmp_path_factory.mktemp("t"), "t.txt", text)
        if len(set(map(len, rows))) == 1:
            assert read(source, []) == rows
        else:
            assert "the first line has" in refused(source)


class TestArrays:
    """Arrays of numpy."""

    def test_a_header_may_claim_anything(self, tmp_path: Path) -> None:
        """What does not fit into memory is refused."""
        file = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50, 64)}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
        why = refused(put(tmp_path, "huge.npy", file.getvalue()))
        assert why == "cannot read huge.npy: it claims to hold more than memory can; is it damaged?"

    def test_python_objects_are_refused(self, tmp_path: Path) -> None:
        """They would run code; the mend is to save plain arrays."""
        np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
        assert "o.npy: it holds no plain array; save numbers or text" in refused(str(tmp_path / "o.npy"))

    def test_a_name_that_is_there_twice(self, tmp_path: Path) -> None:
        """Neither of the two is chosen."""
        import warnings
        import zipfile

        with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(2):
                member = io.BytesIO()
                np.save(member, np.ones(2))
                archive.writestr("x.npy", member.getvalue())
        assert refused(str(tmp_path / "t.npz")) == "t.npz holds 'x' twice: give each input once"

    @settings(max_examples=200, deadline=None)
    @given(st.data(), st.sampled_from(["x.npy", "x.npz"]))
    def test_damaged_files_are_one_line(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
    ) -> None:
        """Any byte may be wrong and the end may be missing: an array comes, or the reason why not."""
        file = io.BytesIO()
        if name.endswith("z"):
            np.savez_compressed(file, x=np.arange(5), y=np.array(["a"]))
        else:
            np.save(file, np.arange(5))
        raw = bytearray(file.getvalue())
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.sampled_from([0, 1, 8, len(raw) // 2]))
        source = put(tmp_path_factory.mktemp("t"), name, bytes(raw[: len(raw) - cut]))
        assert "\n" not in complaint(source)


class TestJson:
    """JSON from a file or typed."""

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("[" * 100_000 + "]" * 100_000, "x.json is nested too deeply"),
            (b'["\xe9"]', "x.json is not UTF-8 text (byte 2): save it as UTF-8"),
            ("[1,", "x.json is not JSON"),
            (" ", "x.json is empty"),
            ('{"x": 1, "x": 2}', "x.json holds 'x' twice"),
            ("1" * 5000, "x.json is not JSON"),
        ],
    )
    def test_what_is_no_json_is_one_line(self, tmp_path: Path, content: str | bytes, why: str) -> None:
        """What was wrong, with the name of the file."""
        assert why in refused(put(tmp_path, "x.json", content))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps([text]).encode()))
    def test_any_bytes(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        """They are JSON, or it is said what is wrong with them."""
        source = put(tmp_path_factory.mktemp("t"), "x.json", content)
        assert complaint(source)[:7] in {"", "x.json "}
