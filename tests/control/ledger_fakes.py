"""A ledger that says what came true, by turns, as it is told."""

from __future__ import annotations

from router.control.ledger_since import Page
from router.core.trial import Answer, Pair


class FakeLedger:
    """What came true of a champion and a challenger, whatever model is asked for."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.answers: list[Answer] = []
        self.contradicted: dict[str, int] = {}
        self.error: Exception | None = None
        self.asked: list[int] = []

    def pair(self, count: int, champion: float, challenger: float) -> None:
        """So many requests of which both were so far off, in a turn."""
        turn = self._last() + 1
        self.pairs += [Pair(turn, f"{turn} {n}", champion, challenger) for n in range(count)]

    def answer(self, count: int, champion: float, challenger: float) -> None:
        """So many of each that were so far off, by turns, in a turn."""
        turn = self._last() + 1
        for n in range(count):
            self.answers.append(Answer(turn, f"{turn} first {n}", by_challenger=False, off=champion))
            self.answers.append(Answer(turn, f"{turn} second {n}", by_challenger=True, off=challenger))

    def _last(self) -> int:
        return max([0, *(each.turn for each in self.pairs), *(each.turn for each in self.answers)])

    async def last_turn(self, model: str) -> int:  # noqa: ARG002
        """Of what came last."""
        if self.error is not None:
            raise self.error
        return self._last()

    async def since(
        self,
        model: str,  # noqa: ARG002
        champion: str,  # noqa: ARG002
        challenger: str,  # noqa: ARG002
        after: int,
        most: int,  # noqa: ARG002
        *,
        paired: bool,
        file: int = 0,  # noqa: ARG002
    ) -> Page:
        """All of it."""
        self.asked.append(after)
        if self.error is not None:
            raise self.error
        pairs = [each for each in self.pairs if paired and each.turn > after]
        answers = [each for each in self.answers if not paired and each.turn > after]
        return Page(max([after, *(each.turn for each in (*pairs, *answers))]), pairs, answers)
