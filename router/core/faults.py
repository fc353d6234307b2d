"""Which runs are made to fail, and how. The choice is the same every time, and no stretch of runs is spared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from router.model_settings import FaultSettings as Fault

__all__ = ["Fault", "Faults"]

_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_APART: Final = (math.sqrt(2), math.sqrt(3))
"""Faults and sessions begin at different places, so that they do not strike in step."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Those of one model, which are in effect since an instant in seconds."""

    faults: tuple[Fault, ...] = ()
    since: float = 0.0

    def of(self, run: int, replica: int | None, now: float, version: str = "") -> list[Fault]:
        """What goes wrong in this run of a session of a version, which counts its own runs; `replica` is None for a
        session that has taken another's place.

        A fault strikes where the multiples of the golden ratio, modulo 1, are below its share: of any stretch of runs
        nearly that share, at uneven distances (Weyl's equidistribution; no sequence has smaller gaps).
        """
        return [
            fault
            for order, fault in enumerate(self.faults)
            if now - self.since >= fault.after_s
            and fault.replica in {None, replica}
            and fault.version in {None, version}
            and (run * _GOLDEN + order * _APART[0] + (replica or 0) * _APART[1]) % 1.0 < fault.share
        ]
