"""Reports of versions that passed their gates, kept by contents: who begins anew with the same files has them already.

Only of tests without a champion: what a version was compared with is not the same another day.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from router.control.example_file import exam_digest
from router.control.inspection import installed
from router.control.report_text import from_text, to_text
from router.core.gate import Report
from router.core.table import Version
from router.errors import RouterError
from router.model_settings import ModelSettings

_SETTINGS: Final = ("deadline", "sessions", "batch", "contract", "gates")
"""The parts of a model's settings that gates look at."""
_SOFTWARE: Final = ("inference-router", "onnxruntime", "numpy")


class Evidence:
    """One JSON file each in a directory, made when it is needed. What cannot be read was never there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def recall(self, version: Version, settings: ModelSettings, exam: Path | None) -> Report | None:
        """The report of a version with these contents, settings and exam, if one passed."""
        try:
            key = self._key(version, settings, exam)
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            if kept["key"] != key:
                return None
            return replace(from_text(kept["report"]), model=version.model, number=version.number)
        except (OSError, ValueError, KeyError, TypeError, RouterError):
            return None

    def keep(self, report: Report, version: Version, settings: ModelSettings, exam: Path | None) -> None:
        """Write beside and rename. A disk that is full costs the memory, not the version."""
        if report.champion or not report.passed:
            return
        with contextlib.suppress(OSError, RouterError):
            key = self._key(version, settings, exam)
            self._directory.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=self._directory, prefix=".", suffix=".new")
            try:
                with open(handle, "w", encoding="utf-8") as file:
                    json.dump({"key": key, "report": to_text(report)}, file)
                os.replace(beside, self._path(key))
            except OSError:
                os.unlink(beside)
                raise

    def _path(self, key: str) -> Path:
        return self._directory / f"report-{hashlib.sha256(key.encode()).hexdigest()}.json"

    @staticmethod
    def _key(version: Version, settings: ModelSettings, exam: Path | None) -> str:
        """Everything that a verdict depends on. Raises OSError, RouterError for an exam that cannot be read."""
        told = settings.model_dump(mode="json")
        return json.dumps(
            {
                "digest": version.digest,
                "file": Path(version.path).name,
                "golden": exam_digest(golden) if (golden := Path(version.path).parent / "golden").is_dir() else "",
                "exam": exam_digest(exam) if exam is not None else "",
                "settings": {name: told[name] for name in _SETTINGS},
                "batching": [version.batching.max_size, version.batching.max_wait_us, version.batching.decided_by],
                "software": {name: installed(name) for name in _SOFTWARE},
            },
            sort_keys=True,
        )
