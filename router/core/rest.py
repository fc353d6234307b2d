"""How a version that runs on copies gives way: after each run its thread rests, the longer the scarcer cores are.

It runs at the lowest priority, and that is not enough: whoever gives up a core at once still has used its caches, and
shares what the cores share. How scarce cores are is seen in what the thread itself goes through: of the time that its
runs take, the share in which it waits for a core. On two cores that was 0.19 where serving took 30 % of them and 0.31
to 0.35 at 70 %. Pure: whoever calls it sleeps.
"""

from __future__ import annotations

from typing import Final

from router.core.warmup import Purpose
from router.version_settings import WarmupSettings

CALM: Final = 0.2
"""Up to this share of waiting there is room for all, and it does not rest."""
CROWDED: Final = 0.35
"""From this share on it rests for `MOST` times as long as it ran; in between for the square of the part, so that where
cores are nearly calm nothing is lost yet."""
MOST: Final = 19.0
"""That leaves it a twentieth of the time."""
RUNS: Final = 50
"""The share is that of the last runs, of so many about: one that waited by chance makes no difference."""
LEAST_PER_S: Final = {Purpose.SHADOW: 2.0, Purpose.CONTROL: 20.0}
"""Requests a second that an observation runs, whatever it costs: a shadow would see nothing for hours else, and the
bake of a canary, which has few copies and is to find out soon, would wait for its control."""


class Rest:
    """The rests of one thread."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._taken = 0.0

    @property
    def share(self) -> float:
        """Of the time that its last runs took, the part in which it waited for a core; 0 before the first."""
        return self._waited / self._taken if self._taken else 0.0

    @property
    def factor(self) -> float:
        """For how many times as long as a run took it rests."""
        return MOST * min(max((self.share - CALM) / (CROWDED - CALM), 0.0), 1.0) ** 2

    def after(self, ran_s: float, waited_s: float, requests: int, least_per_s: float) -> float:
        """Seconds to rest after a run for so many requests, which had a core and waited for one for so long.

        It is not longer than what leaves `least_per_s` requests a second.
        """
        taken = ran_s + waited_s
        self._waited += (waited_s - self._waited) / RUNS
        self._taken += (taken - self._taken) / RUNS
        longest = requests / least_per_s - taken if least_per_s > 0 else taken * MOST
        return max(min(taken * self.factor, longest), 0.0)


def least_per_s(total: int, seconds: float, settings: WarmupSettings) -> float:
    """Requests a second with which a warm-up still comes to its verdict in time, after `total` in `seconds`.

    When its time is over, as many as at the beginning: what is recorded then makes up for what was not live.
    """
    left = settings.max_seconds - seconds
    if left <= 0:
        return settings.min_samples / settings.max_seconds
    return max(settings.min_samples - total, 0) / left
