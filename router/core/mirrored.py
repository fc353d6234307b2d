"""A copy of a run, as the warm-up worker gets it; and what came true of such runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from router.core.request import InputHeader
from router.core.warmup import Accuracy

Array = np.ndarray[Any, Any]
Truth = int | float | str

REMEMBERED: Final = 20_000
"""Requests whose classes are kept until it comes true what was right."""


@dataclass(frozen=True, slots=True)
class MirroredCall:
    """One caller's part of a run. `id_field` is the request's id as it travels; `elements` are raw, by input."""

    id_field: bytes
    inputs: tuple[InputHeader, ...]
    elements: tuple[memoryview, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return sum([each.nbytes for each in self.elements])


@dataclass(frozen=True, slots=True)
class MirroredRun:
    """A run of the version `champion` (it may be a challenger's number) for some calls: outputs by name, of all calls
    together, and its seconds.

    Without outputs there is nothing to compare with, as for synthetic input.
    """

    model: str
    champion: str
    calls: tuple[MirroredCall, ...]
    outputs: Mapping[str, Array]
    seconds: float


class Foretold:
    """What two versions said of recent requests, to be held against what comes true. Bounded: the oldest go first."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._most = remembered
        self._said: OrderedDict[str, tuple[Sequence[Truth], Sequence[Truth]]] = OrderedDict()
        self._joined = self._champion = self._version = self._only_champion = self._only_version = 0

    def said(self, request_id: str, champion: Sequence[Truth], version: Sequence[Truth]) -> None:
        """What both said of the rows of a request."""
        self._said[request_id] = (champion, version)
        if len(self._said) > self._most:
            self._said.popitem(last=False)

    def came_true(self, request_id: str, row: int, truth: Truth) -> bool:
        """What was right for a row. False when that request is not known."""
        known = self._said.get(request_id)
        if known is None or not 0 <= row < len(known[0]):
            return False
        champion, version = (_same(said[row], truth) for said in known)
        self._joined += 1
        self._champion += champion
        self._version += version
        self._only_champion += champion and not version
        self._only_version += version and not champion
        return True

    def accuracy(self) -> Accuracy:
        """How often either was right."""
        return Accuracy(self._joined, self._champion, self._version, self._only_champion, self._only_version)


def _same(said: Truth, truth: Truth) -> bool:
    """Labels may come as numbers or as text."""
    return said == truth or str(said) == str(truth)
