"""One model of a file, beside how it stands: what follows from both before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from router.core.declared import Declared, DeclaredChallenger, DeclaredModel, short
from router.core.split import NO_SPLIT, moved
from router.core.standing import EVERYTHING, CaseKind, Present
from router.core.version import Stage

_KINDS: Final = (CaseKind.ROLLOUT, CaseKind.TRIAL, CaseKind.REQUEST)


class Contrast:
    """What `file` says of the model, and how it is `now`. To be read only.

    `coming` is the version that is to be champion and is not; `pending`: that is on its way already, else it is what
    the file `promotes`, perhaps by `canary`. `leaving` are challengers that are to go. `held`: all models are frozen,
    and stay so; `frozen`: this one is, by itself.
    """

    def __init__(self, name: str, file: Declared, present: Present) -> None:
        self.name = name
        self.file: DeclaredModel = file.models[name]
        self.now = present.models[name]
        self.held = EVERYTHING in present.frozen and file.frozen is not False
        self.frozen = name in present.frozen
        self.champion = self.now.champion
        wanted = self.file.champion
        self.coming = None if wanted in {None, self.champion} else wanted
        self.rollout, self.trial, self.request = (self.now.under_way(kind) for kind in _KINDS)
        begun = {each.number for each in (self.rollout, self.request) if each is not None}
        self.pending = self.coming is not None and self.coming in begun
        self.promotes = self.coming is not None and not self.pending
        self.canary = self.promotes and self.file.strategy == "canary"
        self.wanted: Mapping[str, DeclaredChallenger] | None = self.file.challengers
        challengers = {number for number, stage in self.now.stages.items() if stage is Stage.CHALLENGER}
        staying = challengers if self.wanted is None else {*self.wanted, self.coming}
        self.leaving = sorted(challengers - staying, key=int)
        self.model = f"model '{short(name)}'"

    def shares(self) -> dict[str, float]:
        """What challengers are to have, as exactly as it can be. Raises InvalidRequest for more than there is."""
        wanted = {number: each.share for number, each in (self.wanted or {}).items() if each.share}
        return dict(moved(NO_SPLIT, wanted).shares)
