"""What router.toml says of models and cannot come about: of one that is not there, or of what nobody looks at."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from router.config import RetrainingSettings, ServerSettings
from router.control.repository import FoundModel
from router.core.gate import named


@dataclass(frozen=True, slots=True)
class Idle:
    """A policy that does nothing, or less than it says, and the mend. `of` names the policy."""

    of: str
    what: str
    mend: str


def idle(settings: ServerSettings, found: Mapping[str, FoundModel]) -> Iterator[Idle]:
    """All of them, where these models are found in the repository."""
    for table, models in (("importance", settings.importance), ("retraining", settings.retraining)):
        for model in sorted(models.keys() - found.keys()):
            what = f"[{table}] names {named(model)}, and {settings.models} has no such model"
            yield Idle(f"{table} {named(model)}", what, _correct(model, found.keys()))
    for model in sorted(settings.retraining.keys() & found.keys()):
        for what, mend in _retraining(settings, settings.retraining[model], found[model]):
            yield Idle(f"retraining {named(model)}", what, mend)


def _correct(model: str, there: Collection[str]) -> str:
    meant = difflib.get_close_matches(model[:100], there, 1)
    like = f" ({named(meant[0])} is there)" if meant else ""
    return f"correct its name in router.toml{like}, or put it there"


def _retraining(settings: ServerSettings, policy: RetrainingSettings, model: FoundModel) -> Iterator[tuple[str, str]]:
    if policy.command and shutil.which(policy.command[0]) is None:
        what = f"its command names the program {named(policy.command[0])}, which is not found here"
        yield what, "give the path of a program that may be run"
    if policy.on_accuracy and not model.settings.ledger.enabled:
        what = "`on_accuracy` waits for figures that nobody has: the model keeps no ledger"
        yield what, "set `enabled = true` under [ledger] in its model.toml"
    if policy.on_drift and not model.settings.drift.enabled:
        what = "`on_drift` waits for what nobody looks at: drift of the model is switched off"
        yield what, "leave `enabled = false` under [drift] out of its model.toml"
    events = settings.webhook.events
    if policy.webhook and (not settings.webhook.url or (events and "retraining" not in events)):
        what = "others are to train it (`webhook = true`), and nobody is told when"
        yield what, "give [webhook] a `url`, and `retraining` among its `events` where it has some"
