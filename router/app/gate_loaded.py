"""What stands ready for a trial: the version and the champion, loaded, and the rows that both are given."""

from __future__ import annotations

import gc
import math
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from router.app import gate_rows
from router.app.gate_rows import Rows
from router.app.gate_subject import Overdue, Subject, resident_bytes
from router.app.reasons import plain
from router.control import artefact
from router.control.example_file import Exam, Golden, exam_files, example_files, golden_file
from router.control.gates import LOAD, Question, Reply
from router.control.pedigree import pedigree
from router.core.lineage import Pedigree
from router.core.table import Version, VersionState
from router.errors import ModelBroken, ModelFailed, SettingsError
from router.serving.session import give_back_memory

SOFT: Final = 0.85
"""This part of the time is planned with; the rest is for what nobody can end."""
MOST_JOINED: Final = 32
"""Rows of the largest batch that is tried."""
ORDINARY_RUNS: Final = 3
QUICK_S: Final = 0.002
"""A run that takes less shows what it takes,"""
SLOW_S: Final = 0.1
"""and one that takes more is not made again only for that."""
_MIB: Final = 1 << 20


def ordinary_s(run: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> float:
    """Seconds that a run takes: the least of a few, as a moment without a core is no fault of the model."""
    least = math.inf
    for _ in range(ORDINARY_RUNS):
        began = clock()
        run()
        least = min(least, clock() - began)
        if not QUICK_S < least < SLOW_S:
            break
    return least


class Time:
    """What is left of the time for all gates."""

    def __init__(self, limit_s: float) -> None:
        self._until = time.monotonic() + limit_s * SOFT

    def left(self, part: float) -> float:
        """So much of it, in seconds."""
        return max((self._until - time.monotonic()) * part, 0.01)


class Examples:
    """What lies beside the versions: golden files, the exam, and what is wrong with them."""

    def __init__(self, question: Question) -> None:
        signature = question.candidate.signature
        self.golden: list[Golden] = []
        self.golden_wrong = ""
        self.exam: Exam | None = None
        self.exam_wrong = ""
        try:
            directory = Path(question.candidate.path).parent
            for path in example_files(directory / "golden"):
                artefact.inside(directory, f"golden/{path.name}")
                self.golden.append(golden_file(path, signature))
        except (ModelBroken, OSError) as error:
            why = f"golden/ cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            self.golden_wrong = why
        if question.exam is not None:
            try:
                self.exam = exam_files(Path(question.exam), signature)
            except SettingsError as error:
                self.exam_wrong = str(error)


class Loaded:
    """The versions, and what they are given. Raises ModelBroken when the candidate cannot be tried at all."""

    def __init__(self, question: Question, say: Callable[[Reply], None], spent: Time) -> None:
        self._question = question
        self._time = spent
        self.directory = Path(question.candidate.path).parent
        self.champion: Subject | None = None
        self.note = ""
        """Why the champion takes no part, where there is one."""
        self.champion_pedigree: Pedigree | None = None
        self.ordinary_s = 0.0
        """What a run of one row takes."""
        say(Reply(begun=LOAD))
        self.examples = Examples(question)
        try:
            self.pedigree = _pedigree(question.candidate)
            _prime()
            before = resident_bytes()
            self.candidate = Subject(question.candidate, question.settings.sessions.providers)
        except (ModelBroken, MemoryError) as error:
            if out_of_memory(error):
                raise ModelBroken(no_memory(question)) from error
            raise
        self.rows_wrong = ""
        """Why there are none."""
        self.rows = self._chosen_rows()
        give_back_memory()
        self.session_bytes = resident_bytes() - before
        """What the candidate took once it had run."""
        if question.champion is not None:
            say(Reply(begun=LOAD, what="the champion", champion=True))
            self._load_champion(question.champion)

    def joined(self) -> int:
        """How many rows share a run at most; 1 where they never do."""
        return self._joined(self.rows) if self.rows is not None else 1

    def _joined(self, rows: Rows) -> int:
        return min(self.candidate.joined, MOST_JOINED) if rows.joinable else 1

    def _load_champion(self, champion: Version) -> None:
        """Raises ModelBroken where the champion answers what the candidate does not."""
        rows = self.rows
        try:
            self.champion_pedigree = _pedigree(champion)
            if not self._question.alike:
                self.note = "the champion takes no part: its signature is another one"
                return
            subject = Subject(champion, self._question.settings.sessions.providers)
            if rows is not None:
                subject.run(rows.one(0), self._time.left(0.25))
        except (ModelBroken, ModelFailed, MemoryError) as error:
            self.note = f"the champion takes no part: {plain(str(error), None) or 'there is not enough memory'}"
            return
        self.champion = subject
        for made in self._sources() if rows is None else ():
            try:
                subject.run(made.one(0), self._time.left(0.1))
            except (ModelFailed, MemoryError):
                continue
            raise ModelBroken(f"it fails on what the champion answers: {self.rows_wrong}")

    def _sources(self) -> Iterator[Rows]:
        """Everything that could be given to a version, the best first."""
        signature, examples = self.candidate.signature, self.examples
        if examples.exam is not None:
            yield gate_rows.of_exam(examples.exam.inputs, signature)
        if (golden := gate_rows.of_golden(examples.golden, signature)) is not None:
            yield golden
        yield from gate_rows.made_up(signature)

    def _chosen_rows(self) -> Rows | None:
        """The best there is that the version answers. Raises ModelBroken when it does not end."""
        for rows in self._sources():
            try:
                self._try(rows)
            except Overdue as error:
                raise ModelBroken(f"{rows.source}: {error}; where that is no fault raise `gates.limit_s`") from error
            except (ModelFailed, MemoryError) as error:
                if out_of_memory(error):
                    raise ModelBroken(f"{rows.source}: {no_memory(self._question)}") from error
                self.rows_wrong = self.rows_wrong or f"{rows.source}: {plain(str(error), self.directory)}"
            else:
                return rows
        self.rows_wrong = self.rows_wrong or "its inputs are too large"
        return None

    def _try(self, rows: Rows) -> None:
        """The first runs. Raises ModelFailed."""
        self.candidate.run(rows.one(0), self._time.left(0.25))
        self.ordinary_s = ordinary_s(lambda: self.candidate.run(rows.one(0), self._time.left(0.25)))
        joined = self._joined(rows)
        if joined > 1:
            self.candidate.run(rows.several(joined), self._time.left(0.25))


def out_of_memory(error: Exception) -> bool:
    """Whether that is what the runtime says, which has no error of its own for it."""
    return isinstance(error, MemoryError) or bool(re.search(r"bad_alloc|allocate memory|out of memory", str(error)))


def no_memory(question: Question) -> str:
    """What was too little, and how to mend it."""
    allowed = question.memory_bytes // _MIB
    return f"{allowed} MiB of memory were not enough: raise `gates.memory_limit_mib` in model.toml"


def _pedigree(version: Version) -> Pedigree:
    """What the file says of itself, once everything that a load would read has been looked at. Raises ModelBroken."""
    path = Path(version.path)
    model = artefact.read_model(path)
    artefact.external_files(model, path.parent)
    return pedigree(model)


def _prime() -> None:
    """Load and run a tiny model: what the first one takes of memory is the runtime's."""
    import onnx  # noqa: PLC0415  # the reader of model files has loaded it
    from onnx import TensorProto, helper  # noqa: PLC0415

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "tiny",
        [info("x", TensorProto.FLOAT, [1])],
        [info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tiny.onnx"
        onnx.save(model, path)
        tiny = Version("tiny", "1", "", str(path), VersionState.READY)
        Subject(tiny, ("CPUExecutionProvider",))
    gc.collect()
    give_back_memory()
