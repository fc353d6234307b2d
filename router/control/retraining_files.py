"""What a retraining command brings: a folder outside of the repository, which becomes a version there in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from router.control.artefact import COMPLETE, digest
from router.control.recorded_schema import FOLDER as FOLDER_OF_RECORDINGS
from router.control.recorded_schema import SUFFIX, folder_of
from router.errors import ModelBroken

FOLDER: Final = "retraining"
"""In the state directory."""
OUTPUT: Final = "output"
LOG: Final = "output.log"
KEPT: Final = 20
"""Folders of runs of a model that stay: the last of each one's output lies there."""
ATTEMPTS: Final = 5
"""Somebody else may take the same number."""

_SAFE: Final = re.compile(r"[^\w.-]")


@dataclass(frozen=True, slots=True)
class Brought:
    """What lies in the folder: how many files, whether the model's is among them, and the SHA-256 of all."""

    files: int
    model: bool
    digest: str = ""


class Files(Protocol):
    """Where runs write. All methods block, and raise OSError."""

    def begin(self, model: str, run: int) -> Path:
        """An empty folder for what a run writes."""

    def output(self, model: str, run: int) -> Path:
        """That folder, whether it is there or not."""

    def brought(self, model: str, run: int, filename: str) -> Brought:
        """What lies in it. Raises ModelBroken for what can be no version."""

    def place(self, model: str, run: int, folder: Path, number: int, taken: Callable[[int], None]) -> int:
        """Make it a version below the model's folder, with this number or the next that is free; `taken` is told of
        the number before anything has it. The number that it has."""

    def end(self, model: str, run: int, tail: bytes) -> None:
        """Keep the last of the output, and nothing else of the run."""

    def recordings(self, model: str) -> tuple[Path, tuple[float, float] | None]:
        """The folder of a model's recordings, and the instants of the first and the last in it; None without any."""


class StateFiles:
    """In the state directory. `recordings` says where those of a model are, and from when until when."""

    def __init__(
        self, state: Path, recordings: Callable[[str], tuple[Path, tuple[float, float] | None]] | None = None
    ) -> None:
        self._state = state.absolute()
        self._recordings = recordings or self._recorded

    def begin(self, model: str, run: int) -> Path:
        """What an earlier attempt of the same number has left goes."""
        home = self._home(model, run)
        shutil.rmtree(home, ignore_errors=True)
        output = home / OUTPUT
        output.mkdir(mode=0o700, parents=True)
        self._forget(home)
        return output

    def output(self, model: str, run: int) -> Path:
        """In the run's own folder."""
        return self._home(model, run) / OUTPUT

    def brought(self, model: str, run: int, filename: str) -> Brought:
        """Its digest is that which the version will have."""
        output = self.output(model, run)
        files = sum(len(names) for _, _, names in os.walk(output))
        if not (output / filename).is_file():
            return Brought(files, model=False)
        for name in ("model.toml", "config.pbtxt"):
            if (output / name).exists():
                raise ModelBroken(f"`{name}` lies beside the model: settings are the operator's, never the trainer's")
        return Brought(files, True, digest(output))

    def place(self, model: str, run: int, folder: Path, number: int, taken: Callable[[int], None]) -> int:
        """Whole and on the disk before it has its name; by a copy where the repository is on another file system."""
        output = self.output(model, run)
        (output / COMPLETE).touch()
        source = output
        if output.stat().st_dev != folder.stat().st_dev:
            source = Path(tempfile.mkdtemp(prefix=".retrained-", dir=folder))
            try:
                shutil.copytree(output, source, symlinks=True, dirs_exist_ok=True)
            except (OSError, shutil.Error) as error:
                shutil.rmtree(source, ignore_errors=True)
                raise _plain(error) from error
        try:
            _to_disk(source)
            source.chmod(0o755)
            for attempt in range(ATTEMPTS):
                target = folder / str(number + attempt)
                if target.exists():
                    continue
                taken(number + attempt)
                try:
                    source.rename(target)
                except OSError as error:
                    if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                        continue
                    raise
                _sync(folder)
                return number + attempt
        finally:
            if source != output:
                shutil.rmtree(source, ignore_errors=True)
        raise FileExistsError(errno.EEXIST, "others take each number first")

    def end(self, model: str, run: int, tail: bytes) -> None:
        """What could not become a version is of no use to anybody."""
        home = self._home(model, run)
        shutil.rmtree(home / OUTPUT, ignore_errors=True)
        if home.is_dir() and tail:
            (home / LOG).write_bytes(tail)

    def recordings(self, model: str) -> tuple[Path, tuple[float, float] | None]:
        """Whether there are any or not."""
        return self._recordings(model)

    def _recorded(self, model: str) -> tuple[Path, tuple[float, float] | None]:
        folder = folder_of(self._state / FOLDER_OF_RECORDINGS, model)
        times = []
        for path in folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # its time was over: another has taken its place
                times.append(path.stat().st_mtime)
        return folder, ((min(times), max(times)) if times else None)

    def _home(self, model: str, run: int) -> Path:
        return self._state / FOLDER / _SAFE.sub("_", model)[:100] / str(run)

    def _forget(self, home: Path) -> None:
        runs = [each for each in home.parent.iterdir() if each.name.isdecimal()]
        runs.sort(key=lambda each: int(each.name))
        for old in runs[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _to_disk(folder: Path) -> None:
    """A loss of power leaves the version whole, or not there."""
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(below) / name
            if path.is_file() and not path.is_symlink():
                _sync(path)
        _sync(Path(below))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(error: Exception) -> OSError:
    """A copy gathers its errors; the first of them says why."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    text = str(reasons[0][2]) if reasons and len(reasons[0]) > 2 else "it cannot be copied"
    full = os.strerror(errno.ENOSPC) in text
    return OSError(errno.ENOSPC if full else errno.EIO, os.strerror(errno.ENOSPC) if full else text[:200])
