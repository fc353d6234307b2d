"""Sessions that are made to fail, to show that callers are answered all the same. Only with --allow-faults."""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from router.core.contract import FLOATING
from router.core.faults import Fault, Faults
from router.core.tensor import DTYPES
from router.errors import ModelFailed
from router.serving.run import Runnable, Stop
from router.serving.timers import Clock

Array = np.ndarray[Any, Any]

STEP_S: Final = 0.002
"""How soon a hanging run notices that it is to end."""
_BUFFER: Final = bytes(256 << 10)
"""Hashing that much lets go of the interpreter."""
_LEAST_ADDED: Final = 3e7
"""Numbers that any core of today adds up in a second; most do some times as many."""
_FLOATS: Final = frozenset(DTYPES[datatype] for datatype in FLOATING)


def hold(seconds: float) -> None:
    """Compute for at most so long in one call that never lets go of the interpreter: a loop in Python would."""
    sum(range(int(seconds * _LEAST_ADDED)))


class Injection:
    """The faults of one model, in all of its sessions of this process; they change between two runs."""

    def __init__(self, clock: Clock = time) -> None:
        self.current = Faults()
        self._clock = clock
        self._commanded = False

    def configure(self, faults: tuple[Fault, ...]) -> None:
        """What the model's settings say. It counts until an operator has said something."""
        if not self._commanded:
            self._change(faults)

    def command(self, faults: tuple[Fault, ...]) -> None:
        """What an operator says; nothing: the model is well."""
        self._commanded = True
        self._change(faults)

    def _change(self, faults: tuple[Fault, ...]) -> None:
        if faults != self.current.faults:  # told again, they go on as they are
            self.current = Faults(faults, self._clock.monotonic())


class Faulty:
    """A session of a version whose runs fail as they are told to. `replica` is None for one that has taken another's
    place.
    """

    def __init__(
        self,
        session: Runnable,
        injection: Injection,
        replica: int | None = None,
        clock: Clock = time,
        sleep: Callable[[float], None] = time.sleep,
        hold: Callable[[float], None] = hold,
        version: str = "",
    ) -> None:
        self._session = session
        self._injection = injection
        self._replica = replica
        self._clock = clock
        self._sleep = sleep
        self._hold = hold
        self._version = version
        self._runs = itertools.count()

    def stop(self) -> Stop:
        """What ends a run."""
        return self._session.stop()

    def run(self, outputs: Sequence[str], feeds: dict[str, Any], stop: Stop | None = None) -> list[Array]:
        """One run, with what goes wrong in it. Raises ModelFailed."""
        now = self._clock.monotonic()
        faults = self._injection.current.of(next(self._runs), self._replica, now, self._version)
        for fault in faults:
            self._before(fault, stop)
        began = self._clock.monotonic()
        made = self._session.run(outputs, feeds, stop)
        took = self._clock.monotonic() - began
        for fault in faults:
            if fault.kind == "slow":
                assert fault.factor is not None
                self._sleep((fault.factor - 1) * took)
            elif fault.kind == "nan":
                made = [np.full_like(each, np.nan) if each.dtype in _FLOATS else each for each in made]
            elif fault.kind == "shift":
                assert fault.by is not None
                made = [_shifted(each, fault.by) for each in made]
        return made

    def _before(self, fault: Fault, stop: Stop | None) -> None:
        until = math.inf if fault.ms is None else self._clock.monotonic() + fault.ms / 1e3
        match fault.kind:
            case "error":
                raise ModelFailed("the run failed: a fault was injected")
            case "stall" | "hang_hard":
                while (left := until - self._clock.monotonic()) > 0:
                    self._sleep(min(left, 3600.0))
            case "hang":
                while (left := until - self._clock.monotonic()) > 0:
                    if stop is not None and stop.terminate:
                        raise ModelFailed("the run was ended: a fault that was injected made it hang")
                    self._sleep(min(left, STEP_S))
            case "gil":
                while (left := until - self._clock.monotonic()) > 0:
                    self._hold(left)
            case "burn":
                while self._clock.monotonic() < until:
                    hashlib.sha256(_BUFFER)


def _shifted(output: Array, by: float) -> Array:
    """An output with all its numbers shifted; whole numbers stay within what their type holds."""
    kind, shifted = output.dtype, output
    if kind in _FLOATS:
        with np.errstate(over="ignore"):
            shifted = output + np.asarray(by).astype(kind)
    elif kind.kind in "iu":  # not texts, true and false
        bounds = np.iinfo(kind)
        whole = max(-bounds.max, min(round(by), bounds.max))
        if whole >= 0:
            shifted = np.minimum(output, kind.type(bounds.max - whole)) + kind.type(whole)
        else:
            shifted = np.maximum(output, kind.type(bounds.min - whole)) - kind.type(-whole)
    return shifted
