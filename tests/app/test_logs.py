"""Every line of a process's log has one shape and names the process, whoever writes it."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from router.app.logs import configure


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """The settings of the loggers are the process's own: put them back."""
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def test_logs_are_json_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with the process, also for an exception."""
    configure("auto", "worker-7")
    try:
        raise ValueError("a fault")
    except ValueError:
        structlog.get_logger().exception("it failed", model="m")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["process"], line["model"], line["level"]) == ("it failed", "worker-7", "m", "error")
    assert "ValueError: a fault" in line["exception"]


def test_lines_of_other_threads_and_libraries_are_no_different(capsys: pytest.CaptureFixture[str]) -> None:
    """The process is named in each; a library's line names its logger too."""
    configure("json", "controller")

    def write() -> None:
        structlog.get_logger().warning("ours")
        logging.getLogger("uvicorn.error").warning("theirs: %s", "a line")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert set(theirs) == {*ours, "logger"}
    assert (ours["event"], ours["process"], ours["level"]) == ("ours", "controller", "warning")
    assert (theirs["event"], theirs["process"], theirs["level"]) == ("theirs: a line", "controller", "warning")
    assert theirs["logger"] == "uvicorn.error"


def test_at_a_terminal_lines_are_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds of lines, without JSON."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    configure("auto", "controller")
    structlog.get_logger().warning("ours")
    logging.getLogger("library").warning("theirs")
    ours, theirs = capsys.readouterr().err.splitlines()
    assert "ours" in ours
    assert "theirs" in theirs
    assert "{" not in ours + theirs
