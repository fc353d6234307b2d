"""Files for results: known to be writable before the load, whole when they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadtest.errors import ScenarioError
from loadtest.sla import output


def test_a_file_is_written_whole_in_a_new_folder(tmp_path: Path) -> None:
    """Nothing else is left there; an old one is replaced."""
    path = tmp_path / "new/result.json"
    output.check(path)
    assert not path.exists()
    for text in ("one", "two"):
        output.write(path, text)
        output.check(path)
        assert path.read_text() == text
    assert [each.name for each in path.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize("name", ["file/result.json", "x" * 254])
def test_what_cannot_be_written_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    """Before the load and, should it come to that, after it."""
    (tmp_path / "file").touch()
    for attempt in (output.check, lambda path: output.write(path, "")):
        with pytest.raises(ScenarioError, match="cannot be written") as error:
            attempt(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """`--json /dev/stdout` and its like."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        output.check(path)
        output.write(path, "text")
        assert os.read(reader, 100) == b"text"
        assert path.is_fifo()
    finally:
        os.close(reader)
