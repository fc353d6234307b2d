"""Every line of a process's log has one shape and names the process, whoever writes it."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

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


@pytest.mark.parametrize("name", ["\x1b[2J\nnext: line", "</script>\u202e\u200f", "[red]x[/]", "\x00\x7f\x85\u2028"])
@pytest.mark.parametrize("how", ["json", "console"])
def test_words_of_others_are_text_in_one_line(name: str, how: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Of whatever part: the event, a value, several values. No control character, no line of its own."""
    configure(how, "worker-0")
    structlog.get_logger().warning(name, request_id=name, request_ids=[name, name], times=3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    if how == "json":
        told = json.loads(line)
        assert (told["event"], told["request_id"], told["request_ids"]) == (name, name, [name, name])


def test_a_traceback_at_a_terminal_keeps_its_lines_and_shows_no_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What an exception says is text as well."""
    configure("console", "worker-0")
    secret = "rt_" + "a" * 8
    try:
        raise ValueError(f"a fault of \x1b[2J{len(secret)}")
    except ValueError:
        structlog.get_logger().exception("it failed")
    told = capsys.readouterr().err
    assert len(told.splitlines()) > 3
    assert "ValueError: a fault of \\x1b[2J11" in told
    assert all(c.isprintable() or c == "\n" for c in told)
    assert secret not in told
