"""Crashes of workers, counted by the version whose requests they ran."""

from __future__ import annotations

from pathlib import Path

from router.control.crashes import crashes_of, no_crashes
from router.core.fingerprint import of_version
from router.core.table import Version, VersionState
from router.serving.quarantine import Quarantine


def version(number: str, digest: str = "d") -> Version:
    """Of model m."""
    return Version("m", number, digest, "/model.onnx", VersionState.READY)


def test_crashes_are_counted_by_version(tmp_path: Path) -> None:
    """Those since then, by the second; several requests in one crash are one crash, and both versions of it have it."""
    quarantine = Quarantine(tmp_path / "quarantine")
    crashes = crashes_of(quarantine)
    one, two = version("1"), version("2")
    assert crashes(two, 0.0) == 0
    quarantine.crashed([of_version(two) | 7, of_version(two) | 8], 1000)
    quarantine.crashed([of_version(two) | 9, of_version(one) | 9], 1010)
    assert [crashes(each, 0.0) for each in (one, two)] == [1, 2]
    assert [crashes(two, since) for since in (1000.9, 1001.0, 1011.0)] == [2, 1, 0]
    assert crashes(version("2", "other files"), 0.0) == 0
    assert no_crashes(two, 0.0) == 0
    quarantine.forget()
    assert crashes(two, 0.0) == 0
