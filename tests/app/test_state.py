"""The state directory belongs to one server, and what stands against it is found without making anything."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from router.app.refusal import Refused
from router.app.state import examine, owned, usable, write


def refusal(state: Path) -> str:
    """What both say, the check and the start."""
    lines = []
    for take in (examine, lambda path: owned(path).__enter__()):
        with pytest.raises(Refused) as refused:
            take(state)
        lines.append(str(refused.value))
    assert lines[0] == lines[1]
    assert "\n" not in lines[0]
    assert lines[0].endswith("choose another with --state DIR")
    return lines[0]


def test_it_is_made_and_locked(tmp_path: Path) -> None:
    """With its parents, readable to the owner only; the lock names the owner and is free afterwards."""
    state = tmp_path / "a/b"
    examine(state)
    assert not (tmp_path / "a").exists(), "a check makes nothing"
    with owned(state):
        assert state.stat().st_mode & 0o777 == 0o700
        assert (state / "lock").read_text() == f"{os.getpid()}\n"
        assert f"(pid {os.getpid()})" in refusal(state)
    examine(state)


def test_what_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    """A file in its place or on the way there, in the same words by check and start."""
    (tmp_path / "file").write_text("")
    assert "(it is a file)" in refusal(tmp_path / "file")
    assert "(it is a file)" in refusal(tmp_path / "file/below")


def test_what_may_not_be_written_is_refused() -> None:
    """In the same words by check and start."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as open_to_all:
        closed = Path(open_to_all) / "closed"
        os.chmod(open_to_all, 0o777)
        closed.mkdir(0o555)
        if root:
            os.seteuid(65534)
        try:
            assert "(Permission denied)" in refusal(closed / "state")
            assert "(Permission denied)" in refusal(closed)
        finally:
            if root:
                os.seteuid(0)


def test_a_full_disk_is_a_refusal(tmp_path: Path) -> None:
    """What the system says while a file is written becomes one line; a file is replaced as a whole."""
    write(tmp_path, "note.json", {"pid": 1})
    assert (tmp_path / "note.json").read_text() == '{\n "pid": 1\n}'
    with pytest.raises(Refused, match=r"cannot be used \(No space left on device\)"), usable(tmp_path):
        raise OSError(28, "No space left on device")
