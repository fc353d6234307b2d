"""Drift over a restart of the controller: what was gathered, what was found and what was told goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router.control.database import FILE
from router.control.drift_model import MOST_KEPT_CELLS, STALE_S
from router.control.drift_rows import DriftRows, SeenRecord, from_bytes, to_bytes
from router.core.drift_kept import Forgotten
from router.core.drift_report import INPUTS, OUTPUTS
from router.core.drift_windows import HOUR_S
from router.errors import Refused, RouterError
from tests.control.test_database import store
from tests.control.test_drift import Kept, Rig


class Memory:
    """In the memory of the test; `broken`: it takes nothing, `unreadable`: it gives nothing."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], SeenRecord] = {}
        self.writes = 0
        self.broken = self.unreadable = False

    def load(self, model: str) -> Sequence[SeenRecord]:
        """That of a model."""
        if self.unreadable:
            raise RouterError("the disk is gone")
        return [each for each in self.records.values() if each.model == model]

    def keep(self, records: Sequence[SeenRecord], models: Collection[str]) -> None:
        """Each by its side."""
        assert set(models) == {"m"}
        if self.broken:
            raise Refused("the disk is full")
        self.writes += 1
        self.records |= {(each.model, each.side): each for each in records}


class World:
    """A model whose controller may begin anew: what is kept stays, and so do the clocks."""

    def __init__(self, **settings: Any) -> None:
        self.kept, self.memory, self.settings = Kept(), Memory(), settings
        self.rig = self.begun()

    def begun(self) -> Rig:
        """The controller has begun."""
        rig = Rig(self.kept, **self.settings)
        rig.drift._memory = self.memory
        return rig

    def restart(self, away_s: float = 30.0) -> Rig:
        """It begins anew after a while."""
        before, self.rig = self.rig, self.begun()
        before.drift.close()
        self.rig.clock.now = before.clock.now + away_s
        self.rig.rng, self.rig.champion = before.rng, before.champion
        return self.rig


def run(story: Callable[[World], Any], **settings: Any) -> None:
    """On a loop of its own."""
    world = World(**settings)
    try:
        asyncio.run(story(world))
    finally:
        world.rig.drift.close()


async def hours(rig: Rig, count: float, **moved: Any) -> None:
    """So many pass, with a window in five minutes."""
    for _ in range(round(count * 12)):
        rig.clock.now += 300.0
        rig.drift.observed(rig.rows(120, **moved))
        await rig.drift.tick()


def test_a_reference_that_is_half_made_goes_on() -> None:
    """With the rows that it had, of both sides; then it is kept as a whole, as ever."""

    async def story(world: World) -> None:
        await world.rig.go(6)
        again = world.restart()
        # An eighth of them is written at once, and so what came since then may be lost.
        assert [(each.rows, each.wanted) for each in (await again.report()).references] == [(80, 400)] * 2
        await again.go(16)
        assert {each.source for each in world.kept.records.values()} == {"live"}
        assert [each.rows for each in (await again.report()).references] == [400, 400]
        await again.go(30)
        assert (await again.report()).status == "green"

    run(story)


def test_rows_of_answers_of_another_champion_are_not_gone_on_with() -> None:
    """While nobody looked another version has taken its place."""

    async def story(world: World) -> None:
        await world.rig.go(4)
        world.rig.champion = "2"
        again = world.restart()
        await again.go(2, number="2")
        inputs, outputs = (await again.report()).references
        assert (inputs.rows, outputs.rows) == (120, 40)

    run(story)


def test_what_was_found_stays_and_is_told_once_more() -> None:
    """At once after the restart, as what it is; that it is over is told."""

    async def story(world: World) -> None:
        await world.rig.go(30)
        await world.rig.go(40, shift=2.0)
        assert [each.facts["status"] for each in world.rig.told] == ["red"]
        again = world.restart()
        found = await again.report()
        assert (found.status, found.features[0].status) == ("red", "red")
        assert found.features[0].psi is not None
        await again.go(40, shift=2.0)
        (still,) = again.told
        assert (still.facts["status"], still.facts["again"]) == ("red", "yes")
        assert still.text.startswith("drift of 'm' is still red: ")
        await again.go(60)
        assert [each.facts["status"] for each in again.told] == ["red", "green"]
        assert "again" not in again.told[1].facts

    run(story)


def test_a_day_goes_on() -> None:
    """With its hours and what there is of the next one; nothing is written but what is new."""

    async def story(world: World) -> None:
        await hours(world.rig, 2.5)
        windows = world.rig.drift._models["m"]._sides[INPUTS].windows
        assert windows is not None
        writes = world.memory.writes
        assert 2 <= writes <= 2 + 4 + 2
        await hours(world.rig, 0.2)
        assert world.memory.writes == writes
        again = world.restart()
        await again.report()
        resumed = again.drift._models["m"]._sides[INPUTS].windows
        assert resumed is not None
        assert len(resumed._day) == len(windows._day) == 2
        for (before, took), (after, took_then) in zip(windows._day, resumed._day, strict=True):
            assert (before.rows, took) == (after.rows, took_then)
            assert before.bins.tolist() == after.bins.tolist()
            assert before.bins.dtype == after.bins.dtype
        await hours(again, 1)
        assert len(resumed._day) == 3
        assert sum(took for _, took in resumed._day) < 4 * HOUR_S

    run(story, window_s=300)


def test_what_cannot_be_gone_on_with_is_told_in_the_log() -> None:
    """Too old, damaged, or of too many rows to be kept; what is of another reference is nothing to it."""

    async def story(world: World) -> None:
        await world.rig.go(70, shift=2.0)
        await world.rig.go(60)
        assert {key[1] for key in world.memory.records} == {INPUTS, OUTPUTS}

        async def reasons(*changed: SeenRecord, away_s: float = 30.0) -> list[str]:
            world.memory.records |= {(each.model, each.side): each for each in changed}
            with capture_logs() as logs:
                found = await world.restart(away_s).report()
            assert found.status == "unknown"
            return sorted({line["reason"] for line in logs})

        inputs, outputs = world.memory.records["m", INPUTS], world.memory.records["m", OUTPUTS]
        assert await reasons(away_s=STALE_S + 1) == ["its windows are of more than a day ago"]
        now = world.rig.clock.time()
        inputs, outputs = replace(inputs, saved=now), replace(outputs, saved=now)
        assert await reasons(replace(inputs, body=b"?"), replace(outputs, body=b"?")) == [
            "what was kept of drift cannot be read"
        ]
        assert await reasons(replace(inputs, made=1.0), replace(outputs, made=1.0)) == []
        swapped = [replace(inputs, body=outputs.body), replace(outputs, body=inputs.body)]
        assert await reasons(*swapped) == ["the windows of drift that were kept cannot be read"]
        world.kept.records.clear()
        half = replace(inputs, made=0.0, rows=70_000, body=b"")
        assert await reasons(half) == ["the 70000 rows that it had for a reference were too many to be kept"]

    run(story)


def test_more_rows_than_the_store_should_hold_are_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is told that they are lost."""
    assert MOST_KEPT_CELLS >= 1000 * 512  # by default all that is looked at
    monkeypatch.setattr("router.control.drift_model.MOST_KEPT_CELLS", 200)

    async def story(world: World) -> None:
        await world.rig.go(4)
        kept = {side: (each.rows, bool(each.body)) for (_, side), each in world.memory.records.items()}
        assert kept == {INPUTS: (80, False), OUTPUTS: (80, True)}

    run(story)


def test_a_store_that_fails_costs_nothing() -> None:
    """What it does not take is kept when it does, references too; that is logged once."""

    async def story(world: World) -> None:
        world.kept.broken = world.memory.broken = True
        with capture_logs() as logs:
            await world.rig.go(30)
        assert [line["event"] for line in logs] == ["what drift has seen serves and is not kept yet"]
        assert (await world.rig.report()).status == "green"
        world.kept.broken = world.memory.broken = False
        await world.rig.go(2)
        assert len(world.kept.records) == 2
        world.memory.unreadable = True
        again = world.restart()
        with capture_logs() as logs:
            await again.go(6)
        assert [line["event"] for line in logs] == ["drift is not looked at: references cannot be read"]
        world.memory.unreadable = False
        await again.go(30)
        assert (await again.report()).status == "green"

    run(story)


def test_what_was_seen_is_kept_by_side_in_the_store(tmp_path: Path) -> None:
    """In the place of what was there; of models that are gone nothing stays."""
    record = SeenRecord("[b]m[/]", INPUTS, "1", 5.0, 0, 6.0, b"\x00\xff")
    other = replace(record, model="other")
    with closing(store(tmp_path / FILE)) as database:
        rows = DriftRows(database)
        rows.keep([record, replace(record, side=OUTPUTS), other], {"[b]m[/]", "other"})
        rows.keep([replace(record, body=b"new")], {"[b]m[/]"})
    with closing(store(tmp_path / FILE)) as database:
        rows = DriftRows(database)
        found = sorted(rows.load("[b]m[/]"), key=lambda each: each.side)
        assert found == [replace(record, body=b"new"), replace(record, side=OUTPUTS)]
        assert rows.load("other") == []


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_bytes_that_were_changed_are_refused_in_one_way(at: int, by: int) -> None:
    """Or are arrays."""
    arrays = {"a": np.arange(300), "b": np.array(["x", "y"])}
    body = bytearray(to_bytes(arrays))
    body[at % len(body)] ^= by
    assert from_bytes(to_bytes(arrays))["a"].tolist() == list(range(300))
    with suppress(Forgotten):
        assert all(isinstance(each, np.ndarray) for each in from_bytes(bytes(body)).values())
