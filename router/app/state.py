"""The state directory: one server's alone. Standard library only: it is a part of the supervisor."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from router.app.refusal import Refused

_CHOOSE = "choose another with --state DIR"


@contextlib.contextmanager
def owned(state: Path) -> Iterator[None]:
    """The state directory is ours alone; made where there is none. Raises Refused."""
    with usable(state):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _seize(lock, state)
        with usable(state):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)  # the file stays: whoever removes a lock lets two in


def examine(state: Path) -> None:
    """Raises Refused where `owned` would. Makes nothing."""
    with usable(state):
        nearest = next(path for path in (state.absolute(), *state.absolute().parents) if os.path.lexists(path))
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not (state / "lock").exists():
            return
        lock = os.open(state / "lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        _seize(lock, state)
    finally:
        os.close(lock)


@contextlib.contextmanager
def usable(state: Path) -> Iterator[None]:
    """What the system says against the directory meanwhile becomes a refusal. Raises Refused."""
    try:
        yield
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise Refused(f"state directory {state} cannot be used ({reason})", _CHOOSE) from error


def _seize(lock: int, state: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
        wrong = f"state directory {state} belongs to a running server (pid {holder})"
        raise Refused(wrong, f"stop it or {_CHOOSE}") from error


def write(state: Path, name: str, content: Mapping[str, Any]) -> None:
    """Replace a file of the directory as a whole, readable to its owner only. Raises Refused."""
    with usable(state):
        fresh = state / f"{name}.new"
        fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
        fresh.chmod(0o600)
        fresh.replace(state / name)
