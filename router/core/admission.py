"""When a caller that is sent away may come back, what its priority means, and when a reply has to leave."""

from __future__ import annotations

import math
from typing import Final

from router.core.latency import Recent, quantile
from router.errors import InvalidRequest

# ---- time ----

MAX_RETRY_MS: Final = 10_000


def retry_after_ms(wait_s: float) -> int:
    """When a caller that is sent away may come back: once what waits now has run; at least 1 ms, at most 10 s."""
    return math.ceil(min(max(wait_s * 1e3, 1.0), MAX_RETRY_MS))


# ---- order ----

DEFAULT_PRIORITY: Final = 3
"""What a caller's 0 means: two levels above it, 1 and 2, for the urgent, all below it for what can wait."""
MAX_PRIORITY: Final = (1 << 64) - 1


def priority_level(value: object) -> int:
    """The level that the parameter `priority` asks for, the smaller the sooner. Raises InvalidRequest.

    Triton's convention: unsigned, 1 is the highest, larger numbers come later, 0 is the default. Triton leaves to the
    model which level that is; here it is `DEFAULT_PRIORITY`, so that callers can ask for more and for less.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRIORITY:
        raise InvalidRequest(
            f"parameter 'priority' is {str(value)[:40]!r}: it takes a whole number, 1 the highest, 0 the default"
            f" (which is {DEFAULT_PRIORITY})"
        )
    return value or DEFAULT_PRIORITY


# ---- lag ----


class Lag:
    """How late replies leave that are to leave at an instant: the part of the reserve that is measured.

    The lag that 99 of 100 stayed within in the last minute. At most `MOST_S`: beyond that nothing can be saved by
    hurrying. The other part of the reserve is configured and stands for the way to the caller.
    """

    __slots__ = ("_lags", "_read", "_seconds")

    Q: Final = 0.99
    MOST_S: Final = 0.02
    REFRESH_S: Final = 1.0

    def __init__(self) -> None:
        self._lags = Recent()
        self._seconds = 0.0
        self._read = -math.inf

    def record(self, lag_s: float, now: float) -> None:
        """A reply left so much later than the instant at which it was due to."""
        self._lags.record(lag_s, now)

    def seconds(self, now: float) -> float:
        """What to expect of a call that comes now."""
        if now - self._read >= self.REFRESH_S:
            self._read = now
            lag = quantile(self._lags.counts(now), self.Q) or 0.0
            self._seconds = min(lag, self.MOST_S)
        return self._seconds
