"""Requests and answers that were looked at, for drift, recordings and whatever else wants to know what came by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """Rows that a version has answered, a sample of all, in the order in which they came.

    `ids`, `ends_ns`, `took_ns` have one entry for each row: the id of its request (empty where it had none), the
    instant of its answer since 1970, and the time of the run. Each array of `inputs` and `outputs` has the rows as its
    first axis; texts are arrays of bytes objects. `recorded`: whether the model wants them kept (`[recording]`), beside
    being looked at. `missed` are rows whose turn it was and that found no room since the observation before.
    """

    model: str
    number: str
    served_by: str
    ids: tuple[str, ...]
    ends_ns: tuple[int, ...]
    took_ns: tuple[int, ...]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    recorded: bool = False
    missed: int = 0
    rows: tuple[int, ...] = ()
    """The place of each row in its request, from 0; empty: all are the first ones."""

    def __len__(self) -> int:
        return len(self.ids)
