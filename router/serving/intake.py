"""What one worker brings of one model's runs, handed to all versions that run copies of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from router.core.mirrored import MirroredRun
from router.serving.candidate import Candidate

BURST_S: Final = 0.1
"""Of a candidate's rate, what may come at once."""
LOOK_S: Final = 0.02
"""How soon it is looked again whether one of several has room: each has more waiting than it runs in that time."""


class Intake:
    """Copies of one model's runs from one worker, which come one after another. `candidates` are those of the model.

    Candidates that take a part of the copies take the same ones: the smaller part is a part of the larger, so that all
    shadows of a model are compared on the same inputs.

    While a candidate has too many waiting, copies are to be dropped where they are made: nothing more is read. Where
    several read here that must not hold up the others: who has room gets its copy, and who has none misses it, which
    is counted. Only while nobody has room is there nothing to hold up, and reading stops. So the fastest of them sets
    the pace, and what is lost where cores are scarce was not even sent.
    """

    def __init__(
        self, candidates: Callable[[], Sequence[Candidate]], choose: Callable[[], float] = random.random
    ) -> None:
        self._candidates = candidates
        self._choose = choose
        self._tokens: dict[Candidate, tuple[float, float]] = {}

    def put(self, run: MirroredRun, now: float) -> None:
        """Hand over a copy that came at `now` (seconds); waits while everybody has too many."""
        chance = self._choose()
        takers = [
            each
            for each in self._candidates()
            if each.takes(run) and chance < each.share and self._in_time(each, len(run.calls), now)
        ]
        while takers:
            left = [each for each in takers if not each.put(run)]
            if len(left) < len(takers) or self._others_have_room(takers):
                for each in left:
                    each.tally.missed(len(run.calls))
                return
            left[0].wait_for_room(LOOK_S)
            takers = [each for each in left if each.takes(run)]

    def _others_have_room(self, takers: Sequence[Candidate]) -> bool:
        """Whether another candidate may wait for copies of other runs of the model: they come here too."""
        return any(each.open and not each.full for each in self._candidates() if each not in takers)

    def _in_time(self, candidate: Candidate, requests: int, now: float) -> bool:
        """Whether it may have so many requests more, by its own rate; a batch may go into debt."""
        per_s = candidate.max_per_s
        if math.isinf(per_s):
            return True
        most = max(per_s * BURST_S, 1.0)
        tokens, at = self._tokens.get(candidate, (most, now))
        tokens = min(tokens + (now - at) * per_s, most)
        if len(self._tokens) > len(candidates := self._candidates()):
            self._tokens = {each: known for each, known in self._tokens.items() if each in candidates}
        allowed = tokens >= 1.0
        self._tokens[candidate] = (tokens - requests if allowed else tokens, now)
        return allowed
