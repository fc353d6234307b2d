"""The command line where no server runs: one line for a mistake, help for who asks."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router import __version__
from router.app.banner import Loading, banner
from router.app.cli import main
from router.config import ServerSettings
from router.control.inspection import Request
from router.core.table import Batching, Route, Version, VersionState, VersionTable
from router.core.tensor import Signature, TensorSpec
from tests.server import MODELS, free_port


def router(*words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("words", [["--help"], ["serve", "-h"], ["doctor", "--help"], ["infer", "--help"]])
def test_help(words: list[str]) -> None:
    """Help is printed and is no mistake."""
    result = router(*words)
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_without_a_command_help_is_shown() -> None:
    """All commands are named."""
    for name in ("serve", "infer", "models", "status", "stop", "doctor"):
        assert name in router().output
    assert __version__ in router("--version").output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["srve"], "serve"),
        (["serve", "--frobnicate"], "--frobnicate"),
        (["serve", "--workers", "x"], "--workers"),
        (["serve", "--transport", "tcp"], "--transport"),
        (["serve", "--models", "/nowhere"], "--models"),
        (["serve", "--grpc", "x"], "HOST:PORT"),
        (["serve", "extra"], "extra"),
        (["infer"], "MODEL"),
        (["stop", "--state", "/nowhere"], "--state"),
        (["models", "--admin", "127.0.0.1:1"], "router serve"),
        (["status", "--admin", "127.0.0.1:1"], "--admin"),
        (["doctor", "--workers", "-1"], "workers"),
        (["models", "--admin", ""], "expected HOST:PORT"),
        (["status", "--admin", "localhost"], "expected HOST:PORT"),
        (["infer", "m", "--target", "localhost"], "--target 'localhost' is no address: expected HOST:PORT"),
        (["infer", "m", "--deadline", "nan"], "'nan' is no number of seconds"),
        (["infer", "m", "--deadline", "inf"], "--deadline"),
        (["infer", "m", "--deadline", "0"], "--deadline"),
        (["stop", "--timeout", "nan"], "'nan' is no number of seconds"),
        (["stop", "--timeout", "inf"], "--timeout"),
        (["stop", "--timeout", "-1"], "--timeout"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], text: str) -> None:
    """It names what was wrong, and the exit code is not 0."""
    result = router(*words)
    assert result.exit_code != 0
    assert len(result.output.splitlines()) == 1, result.output
    assert result.output.startswith("Error: ")
    assert text in result.output


def test_stop_never_signals_a_process_that_does_not_own_the_directory(tmp_path: Path) -> None:
    """A killed server leaves its note and its number in the lock; another process may have that number now."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "server.json").write_text(f'{{"pid": {other.pid}}}')
        (tmp_path / "lock").write_text(f"{other.pid}\n")
        result = router("stop", "--state", str(tmp_path))
        assert result.exit_code == 1
        assert "no server runs" in result.output
        assert other.poll() is None
        lock = os.open(tmp_path / "lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)  # as its owner does
        result = router("stop", "--state", str(tmp_path), "--timeout", "0.1")
        assert "still drains" in result.output
        assert other.wait(10) == -signal.SIGTERM
        os.close(lock)
        assert "no server runs" in router("stop", "--state", str(tmp_path)).output
    finally:
        other.kill()
        other.wait()


# ---- what the person at the terminal sees ----


def table(champion: str | None = "2") -> VersionTable:
    """One model, with a broken version whose reason looks like markup."""
    signature = Signature(
        (TensorSpec("pixels", "FP32", (-1, 64), ("n", None)),), (TensorSpec("label", "INT64", (-1,), ("n",)),)
    )
    versions = {
        "1": Version("digits", "1", "", "", VersionState.UNAVAILABLE, "unknown operator [bold]X[/]"),
        "2": Version("digits", "2", "", "", VersionState.READY, "", signature, Batching(32, 0, "shown")),
    }
    return VersionTable(4, {"digits": Route("digits", champion, versions)})


def test_the_banner(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Ports, versions and reasons as they are, and a line to try that fits the address and TLS."""
    banner(ServerSettings(models=MODELS), table())
    out = capsys.readouterr().out
    assert "[bold]X[/]" in out
    assert "up to 32 rows" in out
    assert "infer digits" in out
    assert "--target" not in out
    port = free_port()
    pem = tmp_path / "c.pem"
    banner(ServerSettings(models=MODELS, grpc=f"0.0.0.0:{port}", tls_cert=pem, tls_key=pem), table())
    out = capsys.readouterr().out
    assert f"--target 127.0.0.1:{port} --tls-ca {pem}" in out
    banner(ServerSettings(models=MODELS), table(champion=None))
    assert "try it" not in capsys.readouterr().out


def test_progress_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log file gets no carriage returns; a terminal gets one line that goes away."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for stream, shown in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        loading = Loading()
        for done in range(2):
            loading(done, 2, Request("digits", str(done), Path()))
        loading(2, 2, None)
        assert ("digits" in stream.getvalue()) is shown
        assert stream.getvalue().endswith("\r\x1b[K") is shown
