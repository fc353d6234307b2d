"""What a model's humility rules say of a run, by the callers whose rows it holds.

The rules are judged once for a whole run (`core/humility`); a run in which none fires goes on as if there were none.
Where one does:

- the callers whose rows it is in get the values of its override, or its error, and their replies name it; the others'
  replies are what they would have been without rules;
- the ledger, the mirror and whatever else looks at models see what the model said: it is the model that they judge, and
  an override says nothing of it. Of a caller that was given an error the ledger has nothing, as of every answer that
  nobody was given;
- what is remembered is what the caller was given, with the mark: the same input has the same answer by the same rules,
  and answers are remembered apart from those by other rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.core.humility import Fired, Humility, Rule, overridden, rows_told
from router.core.request import Parameters
from router.errors import Doubted, RouterError

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.stats import Cell

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What rules said of one call: each with the rows, counted from 0, in which it fired. `error` is the caller's."""

    fired: Sequence[tuple[Rule, Sequence[int]]]
    error: RouterError | None

    @property
    def names(self) -> str:
        """Of the rules."""
        return ",".join([rule.name for rule, _ in self.fired])

    @property
    def marks(self) -> Parameters:
        """How the reply says it: the rules' names, and in the same order the rows of each, divided by semicolons."""
        return {"humility": self.names, "humility_rows": ";".join([rows_told(rows) for _, rows in self.fired])}

    def count(self, cell: Cell) -> None:
        """Count it, once its caller has been answered."""
        for rule, rows in self.fired:
            cell.doubted(rule.name, rule.then, len(rows))


@dataclass(frozen=True, slots=True)
class Doubts:
    """What rules said of a run: `outputs` as callers get them, and the calls that a rule fired for."""

    outputs: Sequence[Array]
    calls: Mapping[Call, Doubt]

    def count(self, answered: Iterable[Call], cell: Cell) -> None:
        """Count what was said of calls that a run has answered."""
        for call in answered:
            doubt = self.calls.get(call)
            if doubt is not None:
                doubt.count(cell)


class Rules:
    """The rules of one plan. `outputs` are what its model is asked for: first what callers ask for, then what only
    rules look at.
    """

    __slots__ = ("_asked", "_humility", "_model", "outputs")

    def __init__(self, humility: Humility, asked: Sequence[str], model: str) -> None:
        self._humility = humility
        self._asked = asked
        self._model = model
        self.outputs = [*asked, *[name for name in humility.outputs if name not in asked]]

    def doubts(
        self, calls: Sequence[Call], sizes: Sequence[int], feeds: Mapping[str, Array], outputs: Sequence[Array]
    ) -> Doubts | None:
        """What they say of a run, in which the calls' rows, `sizes`, follow each other; None where none fires."""
        fired = self._humility.judge(feeds, dict(zip(self.outputs, outputs, strict=False)), sum(sizes))
        if not fired:
            return None
        found = {}
        at = 0
        for call, size in zip(calls, sizes, strict=True):
            own = [(rule, np.flatnonzero(rows[at : at + size]).tolist()) for rule, rows in fired]
            own = [(rule, rows) for rule, rows in own if rows]
            if own:
                found[call] = Doubt(own, self._error(own))
            at += size
        return Doubts(self._overridden(fired, outputs), found)

    def _overridden(self, fired: Sequence[Fired], outputs: Sequence[Array]) -> Sequence[Array]:
        return overridden(fired, self._asked, outputs[: len(self._asked)])

    def _error(self, own: Sequence[tuple[Rule, Sequence[int]]]) -> Doubted | None:
        """Of the first rule that wants one."""
        for rule, rows in own:
            if rule.then == "error":
                return Doubted(f"model '{self._model}': rule '{rule.name}' holds back the answer: {rule.told(rows)}")
        return None
