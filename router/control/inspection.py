"""Versions tried in a process of their own: what they take and give, or why they cannot be served.

A model file is somebody else's program. Reading it can crash the process natively or never end; the process it does
that to is a child that holds nothing else. What came out is remembered by the digest of the version's files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Self

from pydantic import TypeAdapter

from router.control import artefact
from router.control.trial_process import Ended, Silent, TrialProcess
from router.core.table import Batching
from router.core.tensor import Signature
from router.errors import ModelBroken
from router.model_settings import CPU

SHOWN: Final = "shown"
OWNER: Final = "owner"
TRIED: Final = "inspected"
"""The folder of the state directory in which results are remembered."""

_COMMAND: Final = (sys.executable, "-X", "faulthandler", "-m", "router.app.inspect")
_FORMAT: Final = 1
"""Raised when the meaning of a remembered result changes."""

_NO_SIGNATURE: Final = Signature((), ())
_NOT_JOINED: Final = Batching()


@dataclass(frozen=True, slots=True)
class Request:
    """One version to try. `never_joined` is the reason why its rows are not joined whatever the graph says."""

    model: str
    number: str
    directory: Path
    filename: str = "model.onnx"
    batching: Batching = _NOT_JOINED
    """Wanted limits; `decided_by` is not read."""
    rows_independent: bool | None = None
    never_joined: str = ""
    providers: tuple[str, ...] = (CPU,)


@dataclass(frozen=True, slots=True)
class Result:
    """What the trial of one version showed. Not `ok`: `reason` says why it cannot be served."""

    model: str
    number: str
    ok: bool
    reason: str = ""
    digest: str = ""
    signature: Signature = _NO_SIGNATURE
    batching: Batching = _NOT_JOINED
    file_bytes: int = 0
    """The model and its external data."""
    note: str = ""
    """Worth a line in the log: for example that the trial run with made-up input failed."""
    log: tuple[str, ...] = ()
    """The last lines that the trial process wrote meanwhile."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The child's answer about one version. `joined` is SHOWN, OWNER or the reason why rows are not joined.

    `lasting`: it follows from the version's contents and the request alone, so it may be remembered.
    """

    ok: bool
    reason: str = ""
    lasting: bool = False
    signature: Signature = _NO_SIGNATURE
    joined: str = ""
    file_bytes: int = 0
    files: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One line of the child. The last about a version has `final`.

    `so_far` is what stands if the child does not survive what it does next, None if that would be the version's fault.
    """

    final: Finding | None = None
    so_far: Finding | None = None


REPLY: Final = TypeAdapter(Reply)


class Inspector:
    """Tries versions, one after another, in one child process that is started when it is needed.

    `state` is the directory for remembered results (`inspected/` is made in it). A version that takes longer than
    `limit_s` seconds loses its child. `close` ends the child and gives its memory back; the next trial starts another.
    """

    def __init__(
        self,
        state: Path,
        *,
        command: Sequence[str] = _COMMAND,
        limit_s: float = 120.0,
        start_limit_s: float = 60.0,
    ) -> None:
        self._memory = _Memory(state / TRIED)
        self._command = tuple(command)
        self._limit_s = limit_s
        self._start_limit_s = start_limit_s
        self._child: TrialProcess | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child, if there is one."""
        with self._lock:
            self._drop()

    def inspect(self, requests: Iterable[Request]) -> Iterator[Result]:
        """One result for each request, in their order, as they come. Blocks; raises nothing over a broken version."""
        for request in requests:
            with self._lock:
                try:
                    result = self._try(request)
                except ModelBroken as error:
                    result = Result(request.model, request.number, ok=False, reason=str(error))
            yield result

    def _try(self, request: Request) -> Result:
        _present(request)
        before = artefact.stamp(request.directory)
        digest = artefact.digest(request.directory)
        key = self._memory.key(digest, request)
        log: tuple[str, ...] = ()
        finding = self._memory.recall(key, request.directory)
        if finding is None:
            finding, log = self._ask(request)
            if artefact.stamp(request.directory) != before:
                reason = "its files changed while they were read; load it again when they are complete"
                finding = Finding(ok=False, reason=reason)
            if finding.lasting:
                self._memory.keep(key, finding)
        batching = replace(request.batching, decided_by=finding.joined)
        if finding.joined not in {SHOWN, OWNER}:
            batching = Batching(decided_by=finding.joined)
        return Result(
            request.model,
            request.number,
            ok=finding.ok,
            reason=finding.reason,
            digest=digest,
            signature=finding.signature,
            batching=batching,
            file_bytes=finding.file_bytes,
            note=finding.note,
            log=log,
        )

    def _ask(self, request: Request) -> tuple[Finding, tuple[str, ...]]:
        """Asks the child; a child that does not survive the question is the answer."""
        line = json.dumps(
            {
                "directory": str(request.directory),
                "filename": request.filename,
                "rows_independent": request.rows_independent,
                "never_joined": request.never_joined,
                "providers": request.providers,
            }
        ).encode()
        try:
            child = self._ready()
            try:
                child.send(line)
            except Ended:  # it ended between two questions
                self._drop()
                child = self._ready()
                child.send(line)
        except (Ended, Silent, OSError, ValueError) as error:
            log = self._drop()
            why = log[-1] if log else str(error)
            return Finding(ok=False, reason=f"the trial process cannot start: {artefact.shown(why, 200)}"), log
        so_far: Finding | None = None
        until = time.monotonic() + self._limit_s
        try:
            while True:
                reply = REPLY.validate_json(child.receive(until - time.monotonic()), strict=True)
                if reply.final is not None:
                    return reply.final, child.take_log()
                so_far = reply.so_far
        except Ended as error:
            why = str(error)
        except Silent:
            why = f"the trial did not end within {self._limit_s:g} s"
        except ValueError:
            why = "the trial process answered what cannot be understood"
        log = self._drop()
        if so_far is not None:
            return replace(so_far, joined=f"whether its rows are independent was not found out: {why}"), log
        return Finding(ok=False, reason=why), log

    def _ready(self) -> TrialProcess:
        """A child that has said that it listens. Raises Ended, Silent, OSError."""
        if self._child is not None and not self._child.alive():
            self._drop()  # it ended while nobody asked it anything: no version's fault
        if self._child is None:
            self._child = TrialProcess(self._command)
            self._child.receive(self._start_limit_s)  # its greeting
        return self._child

    def _drop(self) -> tuple[str, ...]:
        child, self._child = self._child, None
        return child.end() if child else ()


def _present(request: Request) -> None:
    """Whether there is a model file at all, with a hint where there is another one."""
    try:
        artefact.readable_file(request.directory, request.filename)
    except ModelBroken as error:
        with contextlib.suppress(OSError):
            others = sorted(path.name for path in request.directory.glob("*.onnx") if path.name != request.filename)
            if others and not os.path.lexists(request.directory / request.filename):
                hint = f"`{artefact.shown(others[0])}` is there: rename it, or name it in config.pbtxt"
                raise ModelBroken(f"{error}; {hint} as default_model_filename") from error
        raise


@dataclass(frozen=True, slots=True)
class _Kept:
    key: str
    finding: Finding


_KEPT: Final = TypeAdapter(_Kept)


class _Memory:
    """Results by contents, settings and software, one JSON file each. What cannot be read was never there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def key(self, digest: str, request: Request) -> str:
        """Everything that a lasting finding depends on."""
        return json.dumps(
            {
                "format": _FORMAT,
                "digest": digest,
                "filename": request.filename,
                "rows_independent": request.rows_independent,
                "never_joined": request.never_joined,
                "providers": request.providers,
                "software": {name: installed(name) for name in ("inference-router", "onnxruntime", "onnx", "numpy")},
            },
            sort_keys=True,
        )

    def recall(self, key: str, directory: Path) -> Finding | None:
        """The finding under this key, if the files it was made from are still such as may be read."""
        try:
            kept = _KEPT.validate_json(self._path(key).read_bytes(), strict=True)
            if kept.key != key:
                return None
            finding = kept.finding
            for name in finding.files:  # links are no part of the contents: look again
                artefact.readable_file(directory, name)
        except (OSError, ValueError, ModelBroken):
            return None
        return finding

    def keep(self, key: str, finding: Finding) -> None:
        """Writes beside and renames. A disk that is full costs the memory, not the version."""
        path = self._path(key)
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=self._directory, prefix=".", suffix=".new")
            try:
                with open(handle, "wb") as file:
                    file.write(_KEPT.dump_json(_Kept(key, finding)))
                os.replace(beside, path)
            except OSError:
                os.unlink(beside)
                raise

    def _path(self, key: str) -> Path:
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


@functools.cache
def installed(name: str) -> str:
    """The version of a package; `source` where it is not installed as one."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "source"
