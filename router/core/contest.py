"""A contest: what a trial compares, how far it is, and how it stands; all of it goes to plain JSON and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from router.core.access import Role
from router.core.trial import Answer, Judge, Pair, Trial, trial_of
from router.core.verdict import Standing, standing, words
from router.core.vitals import Vitals, vitals_of
from router.errors import InvalidRequest
from router.version_settings import TrialSettings

_SENT: Final = {"fraction", "max_per_s"}
"""Settings of the copies to a shadow, which may change meanwhile."""

FARTHER: Final = 1.1
"""A point of a trial's path is kept when it has compared so many times what it had at the last one."""

Point = tuple[int, float, float, float]
"""How often both were compared, and the difference between its `low` and `high`: compared, low, difference, high."""


@dataclass(frozen=True, slots=True)
class Contest:
    """A trial of the version `challenger` against `champion` by the `settings` of its start.

    `paired`: both run the same requests. `role` is that of whoever began it. `turn` is how far the ledger was read,
    `seconds` how long it has gone on, while a server watched. `vitals` are those of both at its start: the champion's,
    the challenger's. `contradicting` counts actuals that said something else than what was joined before. `path` is how
    it came to stand as it does. `anew` counts how often the ledger was lost meanwhile and begun anew; `file` is that in
    which `turn` is counted, 0 where nobody knows yet.
    """

    champion: str
    champion_digest: str
    challenger: str
    paired: bool
    judge: Judge
    settings: TrialSettings
    role: Role
    turn: int = 0
    seconds: float = 0.0
    trial: Trial = field(default_factory=Trial)
    vitals: tuple[Vitals, Vitals] | None = None
    contradicting: int = 0
    path: tuple[Point, ...] = ()
    anew: int = 0
    file: int = 0

    def read(self, turn: int, pairs: Sequence[Pair], answers: Sequence[Answer]) -> Contest:
        """With what came true up to a turn. Raises InvalidRequest."""
        judge, within = self.judge, self.settings.within
        if self.paired:
            return replace(self, turn=turn, trial=self.trial.paired(pairs, judge, within))
        return replace(self, turn=turn, trial=self.trial.separate(answers, judge, within))

    def standing(self) -> Standing:
        """How it stands now."""
        return standing(self.trial, self.settings, self.seconds)

    def passed(self, known: Standing) -> Contest:
        """With a point more on its path where it has come far enough, or to its end."""
        last = self.path[-1][0] if self.path else 0
        if known.compared <= last or (known.compared < last * FARTHER and known.winner is None):
            return self
        return replace(self, path=(*self.path, (known.compared, known.low, known.difference, known.high)))

    def text(self, known: Standing) -> str:
        """The same in words."""
        said = words(known, self.settings, self.judge, self.champion, self.challenger)
        if self.contradicting:
            count = "1 actual" if self.contradicting == 1 else f"{self.contradicting} actuals"
            said += f" {count} contradicted what had come true before; what came first counts."
        if self.anew:
            times = "" if self.anew == 1 else f" {self.anew} times"
            said += f" Meanwhile the ledger was lost and begun anew{times}: what was read of it before counts."
        return said

    def body(self, known: Standing, how: str, unread: str = "") -> dict[str, Any]:
        """What is kept of the trial: `plain`, how it stands, and that in words. `how` says where its comparisons come
        from, `unread` why the ledger cannot be read, if that is so."""
        text = f"{self.text(known)} What came true since is not known: {unread}." if unread else self.text(known)
        return {"text": text, "how": how, **self.plain(), "standing": known.plain()}

    def plain(self) -> dict[str, Any]:
        """As plain JSON values, from which `contest_of` makes the same."""
        vitals = None if self.vitals is None else [each.plain() for each in self.vitals]
        return {
            "champion": self.champion,
            "champion_digest": self.champion_digest,
            "challenger": self.challenger,
            "paired": self.paired,
            "judge": self.judge.value,
            "settings": self.settings.model_dump(mode="json", exclude=_SENT),
            "role": self.role.word,
            "turn": self.turn,
            "seconds": self.seconds,
            "trial": self.trial.plain(),
            "vitals": vitals,
            "contradicting": self.contradicting,
            "path": [list(point) for point in self.path],
            **({"anew": self.anew} if self.anew else {}),
            **({"file": self.file} if self.file else {}),
        }


def contest_of(plain: Mapping[str, Any]) -> Contest:
    """The contest of which these are the plain values. Raises InvalidRequest."""
    try:
        vitals = plain["vitals"]
        champion, champion_digest, challenger = (
            str(plain[key]) for key in ("champion", "champion_digest", "challenger")
        )
        return Contest(
            champion,
            champion_digest,
            challenger,
            bool(plain["paired"]),
            Judge(plain["judge"]),
            TrialSettings.model_validate(plain["settings"]),
            Role[plain["role"].upper()],
            int(plain["turn"]),
            float(plain["seconds"]),
            trial_of(plain["trial"]),
            None if vitals is None else (vitals_of(vitals[0]), vitals_of(vitals[1])),
            int(plain["contradicting"]),
            tuple([(int(seen), float(low), float(mean), float(high)) for seen, low, mean, high in plain["path"]]),
            int(plain.get("anew", 0)),
            int(plain.get("file", 0)),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest("what was stored of the trial is damaged: start it anew") from error
