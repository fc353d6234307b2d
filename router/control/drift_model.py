"""The drift of one model: its references, made or being made, and its windows. Used on one thread only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from router.control.drift_rows import SeenRecord, from_bytes, to_bytes
from router.control.reference_rows import ReferenceRecord
from router.core.drift import GREEN, WORDS
from router.core.drift_kept import Forgotten, rows_packed, rows_unpacked
from router.core.drift_report import (
    INPUTS,
    OUTPUTS,
    SIDES,
    UNKNOWN,
    FeatureDrift,
    ModelDrift,
    ReferenceInfo,
    features_of,
    model_reason,
    worst_first,
)
from router.core.drift_windows import DriftWindows, learned
from router.core.features import Array, Cells, Column, Layout, columns, free_sizes, joined
from router.core.health import duration
from router.core.observation import Observation
from router.core.reference import Reference
from router.core.reference_text import to_text
from router.core.table import Route
from router.core.tensor import Signature
from router.model_settings import DriftSettings

LIVE: Final = "live"
MOST_CELLS: Final = 4 << 20
"""Values that are kept while a reference is being made: of wide models fewer rows are one."""
QUIET_S: Final = 600.0
"""After so long without a full window that is told."""
NO_SIGNATURE: Final = Signature((), ())
MOST_KEPT_CELLS: Final = 1 << 19
"""Of the rows for a reference, in the store: some megabytes."""
KEPT_PARTS: Final = 8
"""So often they are written while they come in."""
STALE_S: Final = 86_400.0
"""What was seen so long ago is no part of a day any more."""


@dataclass(slots=True)
class _Making:
    """Rows that are to become a reference."""

    columns: list[Column]
    layout: Layout
    pieces: list[Cells] = field(default_factory=list)
    rows: int = 0


class _Side:
    """Inputs or outputs of a model."""

    def __init__(self, side: str) -> None:
        self.side = side
        self.record: ReferenceRecord | None = None
        self.windows: DriftWindows | None = None
        self.making: _Making | None = None
        self.notes: tuple[str, ...] = ()
        self._noted: object = 0
        """What was worth being kept, when it was kept last."""

    def set(self, record: ReferenceRecord, reference: Reference, settings: DriftSettings, now: float) -> None:
        """From now on this is the reference."""
        self.record, self.making = record, None
        self.windows = DriftWindows(reference, settings, now)
        self._noted = self.windows.mark

    def forget(self) -> None:
        """There is none any more."""
        self.record = self.windows = self.making = None
        self._noted = 0

    def take(
        self, observations: Sequence[Observation], settings: DriftSettings, signature: Signature
    ) -> Reference | None:
        """Rows that came together; the reference, where they complete one."""
        if self.windows is not None:
            self.windows.settings = settings
        if self.side == OUTPUTS:
            observations = self._whole(observations)
        if not observations:
            return None
        if self.windows is None:
            return self._make(observations, settings, signature)
        layout = self.windows.reference.layout
        cells = joined([layout.cells(self._tensors(each), len(each)) for each in observations])
        self.windows.add(self.windows.reference.counted(cells))
        return None

    def _whole(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """Those with all outputs that are looked at: a caller may ask for some, and what it leaves out is not
        missing."""
        if self.windows is not None:
            wanted = {each.tensor for each in self.windows.reference.layout.columns}
        elif self.making is not None:
            wanted = {each.tensor for each in self.making.columns}
        else:
            wanted = max([set(each.outputs) for each in observations], key=len)
        return [each for each in observations if wanted <= each.outputs.keys()]

    def _make(
        self, observations: Sequence[Observation], settings: DriftSettings, signature: Signature
    ) -> Reference | None:
        making = self.making
        if making is None:
            specs = signature.inputs if self.side == INPUTS else signature.outputs
            seen = [self._tensors(each) for each in observations]
            found, notes = columns(
                max(seen, key=len),
                free_sizes(specs, seen),
                settings.features,
                settings.ignore,
                outputs=self.side == OUTPUTS,
            )
            self.notes = tuple(notes)
            if not found:
                return None
            making = self.making = _Making(found, Layout(found))
        cells = joined([making.layout.cells(self._tensors(each), len(each)) for each in observations])
        making.pieces.append(cells)
        making.rows += len(cells)
        wanted = self.wanted(settings)
        if making.rows < wanted:
            return None
        return learned(making.columns, making.pieces)

    def wanted(self, settings: DriftSettings) -> int:
        """Rows of a reference that is made of what comes."""
        width = len(self.making.columns) if self.making is not None else 1
        return min(settings.reference_rows, max(MOST_CELLS // width, 100))

    def _tensors(self, observation: Observation) -> Mapping[str, Array]:
        return observation.inputs if self.side == INPUTS else observation.outputs

    def seen(self, model: str, number: str, settings: DriftSettings, now: float, wall: float) -> SeenRecord | None:
        """What is to be kept of it, where that is more than was kept before."""
        if self.record is not None and self.windows is not None:
            if self.windows.mark == self._noted:
                return None
            self._noted = self.windows.mark
            body = to_bytes(self.windows.kept(now))
            return SeenRecord(model, self.side, self.record.number, self.record.made, 0, wall, body)
        making = self.making
        before = self._noted if isinstance(self._noted, int) else 0
        if making is None or making.rows - before < max(self.wanted(settings) // KEPT_PARTS, 1):
            return None
        self._noted = making.rows
        small = making.rows * len(making.columns) <= MOST_KEPT_CELLS
        body = to_bytes(rows_packed(making.columns, making.pieces)) if small else b""
        return SeenRecord(model, self.side, number, 0.0, making.rows, wall, body)

    def remember(self, seen: SeenRecord, now: float, wall: float) -> None:
        """Go on from what was kept. Raises Forgotten."""
        if self.record is not None and self.windows is not None:
            if seen.made != self.record.made:
                return  # of another reference, or of this one when it was being made
            if wall - seen.saved > STALE_S:
                raise Forgotten("its windows are of more than a day ago")
            self.windows.resume(from_bytes(seen.body), now)
            self._noted = self.windows.mark
        elif not seen.made:
            if not seen.body:
                raise Forgotten(f"the {seen.rows} rows that it had for a reference were too many to be kept")
            found, pieces = rows_unpacked(from_bytes(seen.body))
            rows = sum(map(len, pieces))
            self.making = _Making(found, Layout(found), pieces, rows)
            self._noted = rows

    def ignored(self, settings: DriftSettings) -> Array:
        """Which features of the reference are not looked at, by now."""
        assert self.windows is not None
        out = set(settings.ignore)
        return np.array(
            [each.column.name in out or each.column.tensor in out for each in self.windows.reference.features]
        )

    def info(self, settings: DriftSettings) -> ReferenceInfo:
        """Where its reference is from."""
        if self.record is not None and self.windows is not None:
            kept = self.record
            rows = self.windows.reference.rows
            number = kept.number if self.side == OUTPUTS else ""
            return ReferenceInfo(self.side, kept.source, rows, rows, kept.made, kept.actor, number)
        return ReferenceInfo(self.side, LIVE, self.making.rows if self.making else 0, self.wanted(settings))


class DriftOfModel:
    """A model. Times in seconds, `now` of a clock that never jumps, `wall` since 1970."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.level = GREEN
        self.again = False
        """It was found before a restart, and is to be told again."""
        self.observed = 0
        self.missed = 0
        self._making_for = ""
        self._sought_for = ""
        self._sides = {side: _Side(side) for side in SIDES}

    def restore(self, record: ReferenceRecord, reference: Reference, settings: DriftSettings, now: float) -> None:
        """A reference that was kept, or that somebody has set."""
        self._sides[record.side].set(record, reference, settings, now)

    def crowned(self, number: str) -> None:
        """This version is the champion: a reference for the outputs of another one is none for its own."""
        side = self._sides[OUTPUTS]
        if side.record is not None and side.record.number != number:
            side.forget()

    def seeks(self, number: str) -> bool:
        """Whether a version that is the champion has to be asked for a reference of its own: once, and not where the
        one that there is was made or set while it was champion."""
        record = self._sides[INPUTS].record
        if self._sought_for == number or (record is not None and record.number == number):
            return False
        self._sought_for = number
        return True

    def take(self, observations: Sequence[Observation], route: Route, now: float, wall: float) -> list[ReferenceRecord]:
        """Rows that came together, in the order in which they came. The references that they complete."""
        settings, champion = route.settings.drift, route.champion or ""
        self.missed += sum(each.missed for each in observations)
        self.observed += sum(map(len, observations))
        version = route.versions.get(champion)
        signature = version.signature if version is not None else NO_SIGNATURE
        own = [each for each in observations if each.number == champion and len(each)]
        made = []
        for side in self._sides.values():
            whole = [each for each in observations if len(each)]
            # What comes is the model's, whichever version answers; what is answered is the champion's.
            fits = own if side.side == OUTPUTS or side.windows is None else whole
            if not fits:
                continue
            if side.making is not None and side.side == OUTPUTS and self._making_for != champion:
                side.forget()
            if side.side == OUTPUTS:
                self._making_for = champion
            reference = side.take(fits, settings, signature)
            if reference is not None:
                record = ReferenceRecord(self.model, side.side, champion, LIVE, wall, "router", to_text(reference))
                side.set(record, reference, settings, now)
                made.append(record)
        return made

    def seen(self, settings: DriftSettings, now: float, wall: float) -> list[SeenRecord]:
        """What is to be kept of it, where that is more than was kept before."""
        found = [side.seen(self.model, self._making_for, settings, now, wall) for side in self._sides.values()]
        return [each for each in found if each is not None]

    def remember(self, seen: SeenRecord, settings: DriftSettings, now: float, wall: float) -> None:
        """Go on from what was kept: it is as if it had never been away. Raises Forgotten."""
        side = self._sides.get(seen.side)
        if side is None:
            return
        side.remember(seen, now, wall)
        if side.making is not None and side.side == OUTPUTS:
            self._making_for = seen.number
        found = self.summary(settings)
        self.level = found[0] if found is not None else GREEN
        self.again = self.level > GREEN

    def look(self, now: float) -> bool:
        """Compare what is full. Whether anything was."""
        looked = [side.windows.look(now) for side in self._sides.values() if side.windows is not None]
        return any(looked)

    def summary(self, settings: DriftSettings) -> tuple[int, float] | None:
        """The model's level, and the highest index of a last window; None before there is one."""
        levels, indices = [], []
        for side in self._sides.values():
            if side.windows is None or side.windows.last is None:
                continue
            kept = ~side.ignored(settings)
            last = side.windows.last
            if kept.any():
                levels.append(int(side.windows.status[kept].max()))
                indices.append(float(last.measures.psi[kept].max()))
        return (max(levels), max(indices)) if levels else None

    def report(self, settings: DriftSettings, now: float) -> ModelDrift:
        """How it stands."""
        features: list[FeatureDrift] = []
        windows = 0
        for side in self._sides.values():
            if side.windows is not None:
                features += features_of(side.windows, side.side, side.ignored(settings))
                windows += side.windows.closed
        features = worst_first(features)
        infos = tuple([side.info(settings) for side in self._sides.values()])
        notes = (*self._quiet(settings, now), *(note for side in self._sides.values() for note in side.notes))
        found = self.summary(settings)
        if found is None:
            status, (reason, step) = UNKNOWN, self._waiting(infos, settings)
        else:
            status = WORDS[found[0]]
            reason, step = model_reason(self.model, status, features)
        return ModelDrift(
            self.model, status, reason, step, infos, tuple(features), self.observed, self.missed, windows, notes
        )

    def _quiet(self, settings: DriftSettings, now: float) -> Iterator[str]:
        """That what is said is of long ago, where so few rows come."""
        windows = self._sides[INPUTS].windows
        if windows is not None and windows.closed and now - windows.since >= max(QUIET_S, 2 * settings.window_s):
            ago = duration(now - windows.since)
            yield (
                f"this is of {ago} ago: {windows.rows} rows were looked at since, and a window needs"
                f" {settings.min_samples}"
            )

    def _waiting(self, infos: Sequence[ReferenceInfo], settings: DriftSettings) -> tuple[str, str]:
        """Why nothing is known yet, and what to do."""
        inputs, windows = infos[0], self._sides[INPUTS].windows
        if windows is None:
            reason = f"the reference is being made of what comes: {inputs.rows} of {inputs.wanted} rows"
            return reason, f"`router reference {self.model} --data FILE` sets one now, such as the training data"
        least = f"{settings.min_samples} and {settings.window_s:g} s are the least"
        return f"the first window is not full: {windows.rows} rows, {least}", ""
