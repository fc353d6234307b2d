"""Drift in the controller: references are made, kept, set and begun anew; changes are told, what is too much missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.control.drift import MOST_ROWS, Drift
from router.control.drift_model import DriftOfModel
from router.control.events import Event, Events
from router.control.records import Entry, Order
from router.control.reference_rows import ReferenceRecord
from router.core.drift_report import INPUTS, OUTPUTS, ModelDrift
from router.core.features import Layout, columns
from router.core.observation import Observation
from router.core.reference import made
from router.core.reference_text import to_text
from router.core.table import Route, Version, VersionState
from router.core.tensor import Signature, TensorSpec
from router.errors import InvalidRequest, NotFound, Refused, RouterError
from router.model_settings import ModelSettings

X, Y = TensorSpec("x", "FP32", (-1, 3)), TensorSpec("y", "FP32", (-1, 2))
TERMS = {"window_s": 10, "min_samples": 100, "reference_rows": 400}


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        """Since 1970."""
        return 1.7e9 + self.now

    def monotonic(self) -> float:
        """Of this machine."""
        return self.now


class Kept:
    """References in memory; `broken`: the store takes nothing, `unreadable`: it gives nothing."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], ReferenceRecord] = {}
        self.acts: list[Entry] = []
        self.broken = self.unreadable = False

    def load(self, model: str) -> Sequence[ReferenceRecord]:
        """Those of a model."""
        if self.unreadable:
            raise RouterError("the disk is gone")
        return [each for each in self.records.values() if each.model == model]

    def keep(self, records: Sequence[ReferenceRecord], act: Entry | None = None) -> None:
        """Each by its side."""
        if self.broken:
            raise Refused("the disk is full")
        self.records |= {(each.model, each.side): each for each in records}
        self.acts += [act] if act is not None else []


class Rig:
    """One model, whose traffic goes by a clock of its own."""

    def __init__(self, kept: Kept | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.kept = kept or Kept()
        self.events = Events(self.clock.time)
        self.told: list[Event] = []
        self.events.tell = self._tell  # type: ignore[method-assign]
        self.champion = "1"
        self.path = Path("/p")
        self.settings = ModelSettings.model_validate({"drift": {**TERMS, **settings}})
        self.drift = Drift(lambda: {"m": self.route()}, self.kept, self.events, self.clock)
        self.rng = np.random.default_rng(3)

    def _tell(self, kind: str, model: str = "", number: str = "", text: str = "", **facts: Any) -> None:
        self.told.append(Event(0.0, kind, model, number, text, facts))

    def route(self) -> Route:
        """As it is now."""
        versions = {
            n: Version("m", n, "d", str(self.path / "model.onnx"), VersionState.READY, "", Signature((X,), (Y,)))
            for n in ("1", "2")
        }
        return Route("m", self.champion, versions, self.settings)

    def rows(self, count: int, shift: float = 0.0, number: str = "1", answer: float = 0.0) -> Observation:
        """So many, the second feature moved by `shift` and the answers by `answer`."""
        x = self.rng.normal(size=(count, 3)).astype(np.float32)
        x[:, 1] += shift
        y = (x[:, :2] + answer).astype(np.float32)
        return Observation("m", number, "champion", ("",) * count, (0,) * count, (0,) * count, {"x": x}, {"y": y})

    async def go(self, seconds: float, rows: int = 40, **moved: Any) -> None:
        """For so long, so many rows every two seconds."""
        for _ in range(round(seconds / 2)):
            self.clock.now += 2.0
            self.drift.observed(self.rows(rows, **moved))
            await self.drift.tick()

    async def report(self) -> ModelDrift:
        """How the model stands."""
        (found,) = await self.drift.report("m")
        return found


def run(work: Callable[[Rig], Any], **settings: Any) -> None:
    """On a loop of its own."""
    rig = Rig(**settings)
    try:
        asyncio.run(work(rig))
    finally:
        rig.drift.close()


def test_a_reference_is_made_of_what_comes_and_a_change_is_told_once() -> None:
    """The feature that moved is named; when all is well again that is told too."""

    async def work(rig: Rig) -> None:
        assert (await rig.report()).status == "unknown"
        await rig.go(4)
        found = await rig.report()
        assert found.reason == "the reference is being made of what comes: 80 of 400 rows"
        await rig.go(16)
        assert {side: each.source for (_, side), each in rig.kept.records.items()} == {INPUTS: "live", OUTPUTS: "live"}
        assert rig.kept.records["m", OUTPUTS].number == "1"
        await rig.go(40)
        assert (await rig.report()).status == "green"
        assert rig.told == []
        await rig.go(40, shift=1.5)
        (event,) = rig.told
        assert (event.kind, event.model, event.number, event.facts["status"]) == ("drift", "m", "1", "red")
        assert event.facts["feature"] in {"x[1]", "y[1]"}
        assert "have drifted: " in event.text
        assert "router reference m --data FILE" in event.text
        assert event.text.isprintable()
        found = await rig.report()
        assert {each.name for each in found.features if each.status == "red"} == {"x[1]", "y[1]"}
        assert rig.drift.now["m"].level == 2
        assert found.observed == 2000
        await rig.go(60)
        assert [each.facts["status"] for each in rig.told] == ["red", "green"]

    run(work)


def test_a_new_champion_keeps_the_reference_of_inputs_and_begins_one_of_outputs() -> None:
    """Its answers may be others; the rows of a challenger make no reference."""

    async def work(rig: Rig) -> None:
        await rig.go(30)
        await rig.go(10, number="2", answer=9.0)
        assert all(each.source == "live" for each in (await rig.report()).references)
        assert rig.kept.records["m", OUTPUTS].number == "1"
        rig.champion = "2"
        await rig.go(2, number="2", answer=9.0)
        inputs, outputs = (await rig.report()).references
        assert (inputs.rows, outputs.made, outputs.rows) == (400, 0.0, 40)
        await rig.go(60, number="2", answer=9.0)
        assert rig.kept.records["m", OUTPUTS].number == "2"
        assert (await rig.report()).status == "green"
        assert rig.told == []

    run(work)


def test_references_are_there_after_a_restart() -> None:
    """What is drifted is seen at once, not taken for the reference."""

    async def work(rig: Rig) -> None:
        await rig.go(20)
        again = Rig(rig.kept)
        await again.go(30, shift=2.0)
        assert (await again.report()).status == "red"
        assert [each.facts["status"] for each in again.told] == ["red"]
        again.drift.close()

    run(work)


def test_a_store_that_fails_costs_no_drift() -> None:
    """The reference serves. What cannot be read yet is waited for; what is none is made anew."""

    async def work(rig: Rig) -> None:
        rig.kept.broken = True
        await rig.go(60)
        assert (await rig.report()).status == "green"
        kept = Kept()
        kept.unreadable = True
        kept.records["m", INPUTS] = ReferenceRecord("m", INPUTS, "", "live", 1.0, "router", "{}")
        again = Rig(kept)
        await again.go(30)
        assert kept.records["m", INPUTS].body == "{}"
        kept.unreadable = False
        await again.go(20)
        assert kept.records["m", INPUTS].body != "{}"
        again.drift.close()

    run(work)


def reference(shift: float, tensor: str = "x") -> str:
    """The text of one with a feature that is moved."""
    x = np.random.default_rng(9).normal(size=(500, 3))
    x[:, 1] += shift
    found, _ = columns({tensor: x})
    return to_text(made(found, Layout(found).cells({tensor: x}, 500)))


def test_somebody_sets_a_reference() -> None:
    """It is what comes that counts from then on, and it stands in the audit log."""

    async def work(rig: Rig) -> None:
        await rig.go(30)
        order = Order("ada", "trained on it")
        assert await rig.drift.set_reference("m", {INPUTS: reference(3.0)}, "train.csv", order) == {INPUTS: 3}
        (act,) = rig.kept.acts
        assert (act.actor, act.action, act.model, act.reason) == ("ada", "reference", "m", "trained on it")
        assert act.after == {"source": "train.csv", "inputs": 3}
        await rig.go(30)
        found = await rig.report()
        assert (found.status, found.references[0].source, found.references[0].actor) == ("red", "train.csv", "ada")
        with pytest.raises(NotFound, match="unknown model 'n'"):
            await rig.drift.set_reference("n", {INPUTS: reference(0.0)}, "f", order)
        with pytest.raises(InvalidRequest, match=r"a feature of 'z', which is none of the inputs: 'x'"):
            await rig.drift.set_reference("m", {INPUTS: reference(0.0, "z")}, "f", order)
        with pytest.raises(InvalidRequest, match="make it with `router reference`"):
            await rig.drift.set_reference("m", {INPUTS: "[]"}, "f", order)
        rig.kept.broken = True
        with pytest.raises(Refused, match="the disk is full"):
            await rig.drift.set_reference("m", {INPUTS: reference(0.0)}, "f", order)
        assert (await rig.report()).references[0].source == "train.csv"

    run(work)


def test_a_champion_that_comes_with_a_reference_brings_it(tmp_path: Path) -> None:
    """What it was trained on; the store keeps it. One that is none is told, and the one before goes on."""

    async def work(rig: Rig) -> None:
        rig.path = tmp_path / "2"
        await rig.go(30)
        await rig.go(40, shift=3.0)
        assert (await rig.report()).status == "red"
        (rig.path / "reference").mkdir(parents=True)
        (rig.path / "reference" / "inputs.json").write_text(reference(3.0))
        rig.champion = "2"
        await rig.go(60, shift=3.0, number="2")
        found = await rig.report()
        assert (found.status, found.references[0].source) == ("green", "version 2")
        assert [each.facts["status"] for each in rig.told] == ["red", "green"]
        assert rig.kept.records["m", INPUTS].source == "version 2"
        (rig.path / "reference" / "inputs.json").write_text("[]")
        rig.champion = "1"
        await rig.go(4, shift=3.0)
        assert (await rig.report()).references[0].source == "version 2"

    run(work)


def test_a_reference_is_there_again_when_a_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it was switched off, was gone, or a fault of ours cost all that was known of it: what comes then does not
    take the place of what somebody has set."""

    async def work(rig: Rig) -> None:
        await rig.go(2)
        await rig.drift.set_reference("m", {INPUTS: reference(3.0)}, "train.csv", Order("ada", "trained on it"))
        settings = rig.settings
        rig.settings = ModelSettings.model_validate({"drift": {"enabled": False}})
        await rig.go(4)
        rig.settings = settings
        await rig.go(40)
        assert (await rig.report()).references[0].source == "train.csv"
        with monkeypatch.context() as patch:
            patch.setattr(DriftOfModel, "look", None)
            await rig.go(4)
        await rig.go(40)
        assert (await rig.report()).references[0].source == "train.csv"
        assert rig.kept.records["m", INPUTS].source == "train.csv"

    run(work)


def test_an_output_that_a_caller_does_not_ask_for_is_not_missing() -> None:
    """Its rows are compared where all outputs are asked for; so they are when a reference is made."""

    async def work(rig: Rig) -> None:
        for ticks, others in ((20, 1), (30, 3)):
            for _ in range(ticks):
                rig.clock.now += 2.0
                for _ in range(others):
                    rig.drift.observed(rig.rows(30))
                both = rig.rows(30)
                rig.drift.observed(replace(both, outputs={**both.outputs, "z": np.ones((30, 1), np.float32)}))
                await rig.drift.tick()
        found = await rig.report()
        assert found.status == "green"
        assert {each.name: each.missing for each in found.features if each.side == OUTPUTS} == {
            "y[0]": 0.0, "y[1]": 0.0, "z": 0.0,
        }  # fmt: skip

    run(work)


def test_what_is_ignored_or_switched_off_is_not_looked_at() -> None:
    """By feature or by tensor, from one moment to the next."""

    async def work(rig: Rig) -> None:
        await rig.go(20)
        rig.settings = ModelSettings.model_validate({"drift": {**TERMS, "ignore": ["x[1]", "y"]}})
        await rig.go(40, shift=2.0)
        found = await rig.report()
        assert (found.status, {each.name for each in found.features}) == ("green", {"x[0]", "x[2]"})
        rig.settings = ModelSettings.model_validate({"drift": {"enabled": False}})
        await rig.go(4)
        assert await rig.drift.report() == []
        with pytest.raises(Refused, match="`enabled = true`"):
            await rig.report()

    run(work)


def test_a_model_that_nobody_asks_any_more_is_not_judged_by_what_was() -> None:
    """What is said of it is said to be of then."""

    async def work(rig: Rig) -> None:
        await rig.go(60)
        assert (await rig.report()).notes == ()
        rig.clock.now += 7200.0
        await rig.go(2)
        (note,) = (await rig.report()).notes
        assert note == "this is of 2 hours ago: 40 rows were looked at since, and a window needs 100"
        await rig.go(4)
        assert (await rig.report()).notes == ()

    run(work)


def test_what_is_too_much_is_counted_as_missed() -> None:
    """What workers could not bring is, too."""

    async def work(rig: Rig) -> None:
        for _ in range(3):
            rig.drift.observed(rig.rows(MOST_ROWS // 2))
        await rig.drift.tick()
        assert (await rig.report()).missed == MOST_ROWS // 2
        assert (await rig.report()).observed == MOST_ROWS

    run(work)


def test_rows_that_do_not_fit_cost_nothing() -> None:
    """Of another shape, or none at all: what is not there is missing."""

    async def work(rig: Rig) -> None:
        await rig.go(20)
        rig.drift.observed(Observation("m", "1", "champion", ("",) * 2, (0,) * 2, (0,) * 2, {}, {}))
        rig.drift.observed(replace(rig.rows(100), inputs={"x": np.zeros((100, 7), np.float32)}))
        await rig.drift.tick()
        assert (await rig.report()).observed == 400 + 102

    run(work)
