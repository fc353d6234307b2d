"""All versions that are known, and where each stands: in memory as in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from router.control.records import Case, ModelView, Order, VersionRecord
from router.control.repository import FoundModel
from router.core.split import NO_SPLIT
from router.core.standing import EVERYTHING, CaseKind
from router.core.table import Route, Version, VersionState
from router.core.version import SERVING, Stage, check_move
from router.errors import NotFound

Records = Mapping[tuple[str, str], VersionRecord]

_GONE: Final = frozenset({Stage.FOUND, Stage.FAILED, Stage.RETIRED})
"""Versions of which nothing is left once their directory has gone."""
_QUIET: Final = frozenset({Stage.FOUND, Stage.LOADING, Stage.TESTING, Stage.WARMING, Stage.DRAINING, Stage.RETIRED})
"""Versions that do not serve, and with which nothing is wrong."""


class Registry:
    """The records, and what the repository holds. Changes nothing that serves: it says what a change would be."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.records: dict[tuple[str, str], VersionRecord] = {}
        self.frozen: frozenset[str] = frozenset()
        self.cases: dict[int, Case] = {}
        """Those that are open, by their numbers."""
        self.importance: Mapping[str, str] = {}
        """What was declared for models."""
        self._last_case = 0
        self.found: Mapping[str, FoundModel] = {}
        """The repository as it was last looked at."""

    def record(self, model: str, number: str) -> VersionRecord:
        """The record of a version. Raises NotFound with the versions that there are."""
        record = self.records.get((model, number))
        if record is None:
            numbers = [each.number for each in self.of(model)]
            self.known(model)
            have = ", ".join(numbers) or "none"
            raise NotFound(f"model '{model[:200]}' has no version '{number[:200]}'; it has {have}")
        return record

    def known(self, model: str) -> None:
        """Raises NotFound for a model that is not known."""
        if model not in self.found and not any(name == model for name, _ in self.records):
            raise NotFound(f"unknown model '{model[:200]}'")

    def of(self, model: str) -> list[VersionRecord]:
        """A model's records, newest first."""
        mine = [each for (name, _), each in self.records.items() if name == model]
        return sorted(mine, key=lambda each: int(each.number), reverse=True)

    def at(self, model: str, *stages: Stage) -> VersionRecord | None:
        """The newest version of a model in one of these stages."""
        return next((each for each in self.of(model) if each.stage in stages), None)

    def is_frozen(self, model: str) -> bool:
        """Whether the model may not be promoted."""
        return model in self.frozen or EVERYTHING in self.frozen

    def view(self, model: str, route: Route | None) -> ModelView:
        """The model as operators see it."""
        return ModelView(
            model,
            tuple(self.of(model)),
            route.aliases if route else {},
            self.is_frozen(model),
            route.champion if route else None,
            route.standby if route else None,
            route.split if route else NO_SPLIT,
            route.shadows if route else frozenset(),
            tuple(each for each in self.cases.values() if each.model == model),
        )

    # ---- moves: new records, which are put in place once they are durable ----

    def moved(
        self, record: VersionRecord, stage: Stage, order: Order, reason: str = "", **changed: object
    ) -> VersionRecord:
        """The record after a move. Raises Refused for one that the table of stages does not have."""
        check_move(f"version {record.number} of model '{record.model}'", record.stage, stage)
        mark = record.mark if stage in SERVING else ""
        fresh = replace(record, stage=stage, reason=reason, since=self._clock(), actor=order.actor, mark=mark)
        return replace(fresh, **changed) if changed else fresh  # type: ignore[arg-type]  # by name

    def take_cases(self, cases: Iterable[Case], last: int) -> None:
        """What was stored: cases that are open, and the highest number that any had."""
        self._last_case = last
        self.put_cases(cases)

    def next_case(self) -> int:
        """A number that no case has had."""
        self._last_case += 1
        return self._last_case

    def case(self, model: str, kind: CaseKind) -> Case | None:
        """The open case of this kind about a model."""
        return next((each for each in self.cases.values() if each.model == model and each.kind is kind), None)

    def put_cases(self, cases: Iterable[Case]) -> None:
        """These are durable now; those that have ended are not under way any more."""
        for case in cases:
            if case.open:
                self.cases[case.id] = case
            else:
                self.cases.pop(case.id, None)

    def put(self, records: Iterable[VersionRecord]) -> None:
        """These are durable now."""
        for record in records:
            self.records[record.model, record.number] = record


def route_of(
    found: FoundModel | None, before: Route | None, records: Iterable[VersionRecord], versions: Mapping[str, Version]
) -> Route:
    """The route that a model's records make. `versions` holds by number what is known of those that serve.

    A model without any version has one of the empty number, which carries the reason. While its settings cannot be read
    it goes on with those of `before`.
    """
    assert found is not None or before is not None, "a model comes from the repository or has served"
    model = found.name if found is not None else before.model  # type: ignore[union-attr]
    there = found.versions if found is not None else {}
    stages = {each.number: each for each in records if each.number in there or each.stage not in _GONE}
    made: dict[str, Version] = {}
    for number in sorted({*stages, *there}, key=int):
        record = stages.get(number)
        known = versions.get(number)
        if record is not None and record.stage in SERVING and known is not None:
            made[number] = replace(known, state=VersionState.READY, reason="", left_out=False)
        else:
            made[number] = _idle(model, number, record, found)
    if not made and found is not None:
        made[""] = Version(model, "", "", "", VersionState.UNAVAILABLE, found.reason, declared=found.declared)
    champion, standby = (
        next((n for n, record in stages.items() if record.stage is stage and _ready(made[n])), None)
        for stage in (Stage.CHAMPION, Stage.STANDBY)
    )
    readable = found is not None and not found.reason
    settings = found.settings if found is not None and (readable or before is None) else before.settings  # type: ignore[union-attr]
    aliases = {name: number for name, number in (before.aliases if before else {}).items() if number in made}
    switched = before is not None and before.switched
    challengers = frozenset(n for n, each in stages.items() if each.stage is Stage.CHALLENGER and _ready(made[n]))
    split = before.split.kept(challengers) if before is not None and champion is not None else NO_SPLIT
    shadows = before.shadows & challengers if before is not None and champion is not None else frozenset()
    return Route(model, champion, made, settings, switched, standby, aliases, split, shadows)


def _ready(version: Version) -> bool:
    return version.state is VersionState.READY


def _idle(model: str, number: str, record: VersionRecord | None, found: FoundModel | None) -> Version:
    """A version that does not serve, with the reason."""
    there = found.versions.get(number) if found is not None else None
    path = str(there.directory / found.filename) if there is not None and found is not None else ""
    quiet = record is None or record.stage in _QUIET
    if there is not None and there.reason and (quiet or there.left_out is False):
        reason, quiet = there.reason, there.left_out
    elif record is None:
        reason = "it has not been looked at yet"
    elif record.stage in SERVING:  # it is to serve, and nothing of it is in memory
        reason = "its directory is gone" if there is None else "it could not be looked at"
    else:
        reason = record.reason or f"it is {record.stage}"
    return Version(
        model,
        number,
        record.digest if record is not None else "",
        path,
        VersionState.LOADING if record is not None and record.stage is Stage.LOADING else VersionState.UNAVAILABLE,
        reason,
        declared=found.declared if found is not None else "",
        left_out=quiet,
    )
