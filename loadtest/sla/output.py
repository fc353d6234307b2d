"""A file for a result: whether it can be written is known before the load, and no reader sees half of it."""

from __future__ import annotations

from pathlib import Path

from loadtest.errors import ScenarioError


def check(path: Path) -> None:
    """Raise ScenarioError when the file cannot be written."""
    try:
        if _whole(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _fresh(path).touch()
            _fresh(path).unlink()
        else:
            path.open("a").close()
    except OSError as error:
        raise _refused(path, error) from None


def write(path: Path, text: str) -> None:
    """Write it at once. Raises ScenarioError when that fails all the same."""
    try:
        if _whole(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _fresh(path).write_text(text, encoding="utf-8")
            _fresh(path).replace(path)
        else:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _refused(path, error) from None


def _whole(path: Path) -> bool:
    """Whether it may be replaced: a pipe or a device is written to instead."""
    return path.is_file() or not path.exists()


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _refused(path: Path, error: OSError) -> ScenarioError:
    return ScenarioError(f"{path} cannot be written ({error.strerror}): name a file in a folder of yours")
