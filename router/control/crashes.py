"""How often workers crashed while they ran requests of a version."""

from __future__ import annotations

from collections.abc import Callable

from router.core.fingerprint import names
from router.core.table import Version
from router.serving.quarantine import Quarantine

CrashesOf = Callable[[Version, float], int]
"""Of a version, since an instant in seconds since 1970."""


def no_crashes(version: Version, since: float) -> int:  # noqa: ARG001
    """Where nobody keeps a record of them."""
    return 0


def crashes_of(quarantine: Quarantine) -> CrashesOf:
    """From the requests that were in runs at crashes, as the supervisor writes them down.

    At least so many: of a request that was in several crashes only the last one's time is known, two crashes within one
    second count as one, and what was forgotten by order is forgotten. Where runs of two versions were under way both
    have it.
    """

    def crashes(version: Version, since: float) -> int:
        suspects = quarantine.suspects()
        return len({each.second for each in suspects if each.second >= int(since) and names(each.fingerprint, version)})

    return crashes
