"""The prediction ledger: what workers said and what came true, on a real file that may fill, lock, break or age."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from router.control.events import Events
from router.control.ledger import FILE, MOST_ACTUALS, MOST_ROWS, Actual, Ledger, Submitted
from router.control.ledger_file import LedgerFile
from router.core.prediction import MIRROR, Form, Prediction, Value
from router.core.table import Route, Version, VersionState
from router.core.tensor import ANY, BYTES, Signature, TensorSpec
from router.errors import InvalidRequest, NotFound, NotReady, Refused
from router.model_settings import ModelSettings

Result = TypeVar("Result")

NOW = 1_700_000_000.0
DAY = 86_400.0
OUTPUTS = {
    "m": TensorSpec("label", "INT64", (ANY,)),
    "text": TensorSpec("label", BYTES, (ANY,)),
    "number": TensorSpec("y", "FP32", (ANY,)),
    "off": TensorSpec("label", "INT64", (ANY,)),
}


class FakeClock:
    """Both clocks, which stand still until the test moves them."""

    def __init__(self) -> None:
        self.now = NOW
        self.up = 100.0

    def time(self) -> float:
        """Of the calendar."""
        return self.now

    def monotonic(self) -> float:
        """Of the machine."""
        return self.up

    def passes(self, seconds: float) -> None:
        """Time passes; without this a clock that moves has jumped."""
        self.now += seconds
        self.up += seconds


def routes() -> dict[str, Route]:
    """A model for each form, and one that keeps no ledger."""
    made = {}
    for name, spec in OUTPUTS.items():
        version = Version(name, "1", "", "", VersionState.READY, signature=Signature((), (spec,)))
        settings = ModelSettings.model_validate({"ledger": {"enabled": name != "off", "keep_s": DAY}})
        made[name] = Route(name, "1", {"1": version}, settings)
    return made


class World:
    """A ledger in a folder, by the clock of the test."""

    def __init__(
        self, folder: Path, max_bytes: int = 64 << 20, ask: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.clock = FakeClock()
        self.path = folder / FILE
        self.events = Events(self.clock.time)
        self.routes = routes()
        self.max_bytes = max_bytes
        self.ask = ask
        self.true: list[tuple[str, str, int, Value]] = []
        self.ledger = self.new()

    def new(self) -> Ledger:
        """Another ledger on the same file, as after a restart."""
        self.ledger = Ledger(
            self.path,
            lambda: self.routes,
            self.max_bytes,
            self.ask,
            self.events,
            lambda model, actuals: self.true.extend((model, *actual) for actual in actuals),
            self.clock,
            0.01,
        )
        return self.ledger

    async def keep(self, *predictions: Prediction, model: str = "m") -> None:
        """Predictions are taken, and written when this returns."""
        written = asyncio.Event()
        self.ledger.take(model, predictions, written.set)
        await written.wait()

    def said(
        self,
        request_id: str,
        value: Value = 3,
        row: int = 0,
        version: str = "1",
        served_by: str = "champion",
        ago: float = 0.0,
        form: Form = Form.INTEGER,
    ) -> Prediction:
        """A prediction that was made so many seconds ago."""
        at_ns = round((self.clock.now - ago) * 1e9)
        return Prediction(request_id, row, at_ns, version, 7, served_by, form, value, None)

    async def submit(self, *actuals: tuple[str, Value] | tuple[str, Value, int], model: str = "m") -> Submitted:
        """Actuals by request, truth and row."""
        return await self.ledger.submit(
            model, [Actual(each[0], each[2] if len(each) > 2 else 0, each[1]) for each in actuals]
        )


def run(test: Callable[[], Awaitable[Result]]) -> Result:
    """To its end, in bounded time."""

    async def bounded() -> Result:
        async with asyncio.timeout(20):
            return await test()

    return asyncio.run(bounded())


def played(world: World, story: Callable[[], Awaitable[Result]]) -> Result:
    """A story, after which the ledger is closed."""

    async def all_of_it() -> Result:
        try:
            return await story()
        finally:
            await world.ledger.close()

    return run(all_of_it)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With an empty folder."""
    return World(tmp_path)


# ---- joining ----


def test_an_actual_is_joined_to_its_prediction(world: World) -> None:
    """By request, row and model; right and wrong ones are told apart."""

    async def story() -> None:
        await world.keep(world.said("a", 3), world.said("b", 4), world.said("b", 5, row=1))
        await world.keep(world.said("a", 9), model="text")
        assert await world.submit(("a", "3"), ("b", 7), ("b", 5, 1), ("c", 5)) == Submitted(3, unknown=("c",))
        assert world.true == [("m", "a", 0, 3), ("m", "b", 0, 7), ("m", "b", 1, 5)]
        score = await world.ledger.accuracy("m", "1", 0)
        assert (score.joined, score.right, score.form) == (3, 2, Form.INTEGER)
        rows = await world.ledger.joined("m", 0)
        assert [(row.prediction.request_id, row.prediction.row, row.truth, row.deviation) for row in rows] == [
            ("a", 0, 3, 0.0),
            ("b", 0, 7, 1.0),
            ("b", 1, 5, 0.0),
        ]
        assert rows[0].prediction == world.said("a", 3)
        assert rows[0].joined_ns == round(NOW * 1e9)

    played(world, story)


def test_an_actual_for_an_unknown_request_is_said_to_be_unknown(world: World) -> None:
    """Each id once; the others of the submission are joined all the same. A row that was not asked is unknown too."""

    async def story() -> None:
        await world.keep(world.said("a"))
        assert await world.submit(("x", 3), ("a", 3), ("x", 4, 1), ("a", 3, 1)) == Submitted(1, unknown=("x", "a"))
        assert (await world.ledger.accuracy("m", "1", 0)).joined == 1

    played(world, story)


def test_the_second_actual_for_a_request_is_said_to_be_repeated(world: World) -> None:
    """The first one stays, whether the second comes in the same submission or another."""

    async def story() -> None:
        await world.keep(world.said("a"))
        assert await world.submit(("a", 3), ("a", 4)) == Submitted(1, already=("a",), contradicting=("a",))
        assert await world.submit(("a", 4)) == Submitted(0, already=("a",), contradicting=("a",))
        assert await world.submit(("a", 3)) == Submitted(0, already=("a",))
        assert world.ledger.contradicted == {"m": 2}
        assert [row.truth for row in await world.ledger.joined("m", 0)] == [3]

    played(world, story)


def test_an_actual_that_comes_too_late_is_said_to_be_late(world: World) -> None:
    """Beyond `keep_s`; while it is still known that there was a prediction, which is as long again."""

    async def story() -> None:
        await world.keep(world.said("old"), world.said("older", ago=60))
        world.clock.passes(DAY)
        assert await world.submit(("old", 3), ("older", 3)) == Submitted(1, late=("older",))
        world.clock.passes(1)
        await world.ledger.tidy()
        assert await world.submit(("older", 3)) == Submitted(late=("older",))
        world.clock.passes(DAY)
        await world.ledger.tidy()
        assert await world.submit(("older", 3)) == Submitted(unknown=("older",))

    played(world, story)


def test_what_came_true_is_so_for_all_versions_that_ran_the_request(world: World) -> None:
    """A mirror's prediction is another row, joined with its caller's, or when it comes later."""

    async def story() -> None:
        mirrored = [world.said(name, 4, version="2", served_by=MIRROR) for name in ("a", "b", "c")]
        await world.keep(world.said("a", 3), world.said("b", 3), mirrored[0])
        assert await world.submit(("a", 4), ("b", 3)) == Submitted(2)
        await world.keep(*mirrored[1:])
        assert await world.submit(("c", 4)) == Submitted(1)
        rows = await world.ledger.joined("m", 0)
        found = {(row.prediction.request_id, row.prediction.version, row.deviation) for row in rows}
        assert found == {("a", "1", 1.0), ("a", "2", 0.0), ("b", "1", 0.0), ("b", "2", 1.0), ("c", "2", 0.0)}
        first, second = [await world.ledger.accuracy("m", number, 0) for number in "12"]
        assert (first.joined, first.right, second.joined, second.right) == (2, 1, 3, 2)

    played(world, story)


def test_a_mirror_of_another_request_with_the_same_id_is_left_alone(world: World) -> None:
    """What is minutes apart is not the same request; what predicts another kind of thing cannot be compared."""

    def mirrored(version: str, value: Value, form: Form, ago: float = 0.0) -> Prediction:
        return world.said("a", value, version=version, served_by=MIRROR, ago=ago, form=form)

    async def story() -> None:
        await world.keep(
            world.said("a", "cat", form=Form.TEXT),
            mirrored("2", "cat", Form.TEXT, ago=300),
            mirrored("3", "cat", Form.TEXT, ago=3),
            mirrored("4", 0.5, Form.NUMBER),
            model="text",
        )
        assert await world.submit(("a", "cat"), model="text") == Submitted(1)
        await world.keep(
            mirrored("5", "dog", Form.TEXT, ago=-3), mirrored("6", "cat", Form.TEXT, ago=-300), model="text"
        )
        await world.keep(mirrored("7", 1, Form.INTEGER), model="text")
        found = [(row.prediction.version, row.deviation) for row in await world.ledger.joined("text", 0)]
        assert sorted(found) == [("1", 0.0), ("3", 0.0), ("5", 1.0)]

    played(world, story)


def test_an_id_that_comes_again_begins_anew(world: World) -> None:
    """The newest prediction counts. One that is handed over twice changes nothing, nor does an older one."""

    async def story() -> None:
        first = world.said("a", 3)
        await world.keep(first)
        assert await world.submit(("a", 3)) == Submitted(1)
        await world.keep(first)
        await world.keep(world.said("a", 8, ago=5))
        assert await world.submit(("a", 3)) == Submitted(0, already=("a",))
        world.clock.passes(1)
        await world.keep(world.said("a", 4))
        assert await world.submit(("a", 3)) == Submitted(1)
        (row,) = await world.ledger.joined("m", 0)
        assert (row.prediction.value, row.deviation) == (4, 1.0)

    played(world, story)


def test_the_accuracy_is_by_version_and_time(world: World) -> None:
    """Of what a version predicted since an instant; a number has its mean absolute error."""

    async def story() -> None:
        old = [world.said(f"old{n}", 1.0, ago=100, form=Form.NUMBER) for n in range(4)]
        new = [world.said(f"new{n}", float(n), version="2", form=Form.NUMBER) for n in range(3)]
        await world.keep(*old, *new, model="number")
        truths = [(each.request_id, 2.0) for each in (*old, *new)]
        assert await world.submit(*truths, model="number") == Submitted(7)
        score = await world.ledger.accuracy("number", "1", 0)
        assert (score.joined, score.mean, score.right, score.form) == (4, 1.0, 0, Form.NUMBER)
        assert (await world.ledger.accuracy("number", "1", NOW - 50)).joined == 0
        score = await world.ledger.accuracy("number", "2", NOW - 50)
        assert (score.joined, score.mean, score.right) == (3, 1.0, 1)
        assert score.low is not None
        assert score.high is not None
        assert score.low <= 1 <= score.high
        assert len(await world.ledger.joined("number", NOW - 50)) == 3
        assert [row.prediction.request_id for row in await world.ledger.joined("number", 0, 2)] == ["new1", "new2"]

    played(world, story)


@pytest.mark.parametrize(
    ("value", "form", "truth"),
    [
        (2**64 - 1, Form.INTEGER, 2**64 - 1),
        (-5, Form.INTEGER, "-5"),
        (0.1, Form.NUMBER, 0.1),
        (1e308, Form.NUMBER, "1e308"),
        ("naïve \0 'label'", Form.TEXT, "naïve \0 'label'"),
        ("", Form.TEXT, ""),
    ],
)
def test_values_are_kept_as_they_are(world: World, value: Value, form: Form, truth: Value) -> None:
    """To the last digit, whatever a text holds; ids too."""
    model = {Form.INTEGER: "m", Form.NUMBER: "number", Form.TEXT: "text"}[form]

    async def story() -> None:
        await world.keep(world.said("ü \0 '; --", value, form=form), model=model)
        assert await world.submit(("ü \0 '; --", truth), model=model) == Submitted(1)
        (row,) = await world.ledger.joined(model, 0)
        assert (row.prediction.value, row.truth, row.deviation) == (value, value, 0.0)

    played(world, story)


def test_an_error_without_end_spoils_no_sum(world: World) -> None:
    """The distance of two numbers may be more than a number can say."""

    async def story() -> None:
        await world.keep(world.said("a", 1e308, form=Form.NUMBER), model="number")
        assert await world.submit(("a", -1e308), model="number") == Submitted(1)
        assert (await world.ledger.accuracy("number", "1", 0)).mean == math.inf

    played(world, story)


# ---- what is on its way ----


def test_what_was_answered_before_is_known(tmp_path: Path) -> None:
    """The workers are asked to hand over when a request is unknown, and only then."""
    asked = []

    async def ask() -> None:
        asked.append(1)
        world.ledger.take("m", [world.said("on its way")])

    world = World(tmp_path, ask=ask)

    async def story() -> None:
        await world.keep(world.said("a"))
        assert await world.submit(("a", 3)) == Submitted(1)
        assert asked == []
        assert await world.submit(("on its way", 3), ("a", 3)) == Submitted(1, already=("a",))
        assert asked == [1]

    played(world, story)


def test_a_mirror_that_is_quicker_than_its_callers_worker_is_joined_with_it(tmp_path: Path) -> None:
    """What the caller had is waited for; a mirror's prediction alone is joined when there is no other."""

    async def ask() -> None:
        world.ledger.take("m", [world.said("a")])

    world = World(tmp_path, ask=ask)

    async def story() -> None:
        await world.keep(*[world.said(name, 4, version="2", served_by=MIRROR) for name in "ab"])
        assert await world.submit(("a", 3), ("b", 4)) == Submitted(2)
        found = [(row.prediction.request_id, row.prediction.version) for row in await world.ledger.joined("m", 0)]
        assert sorted(found) == [("a", "1"), ("a", "2"), ("b", "2")]

    played(world, story)


def test_a_submission_is_told_to_whoever_watches(world: World) -> None:
    """How many were joined, and what became of the others."""

    async def story() -> None:
        await world.keep(world.said("a"))
        watching = world.events.watch("m")
        assert (await anext(watching)).kind == "hello"
        await world.submit(("a", 3), ("b", 3))
        event = await anext(watching)
        assert (event.kind, event.text) == ("actuals", "actuals: 1 joined, 1 unknown")
        with pytest.raises(InvalidRequest):
            await world.submit(("a", 3), ("b", "cat"))
        event = await anext(watching)
        assert event.text.startswith("actuals: 2 refused: actuals[1] (request 'b'): the truth is 'cat': expected")

    played(world, story)


# ---- mistakes ----


@pytest.mark.parametrize(
    ("model", "actuals", "error", "said"),
    [
        ("nobody", [("a", 3)], NotFound, "unknown model 'nobody'"),
        ("off", [("a", 3)], Refused, "model 'off' keeps no ledger of its predictions: set `enabled = true` under [led"),
        (
            "m",
            [("a", 3), ("b", "cat")],
            InvalidRequest,
            "actuals[1] (request 'b'): the truth is 'cat': expected an int",
        ),
        ("m", [("a", 3.5)], InvalidRequest, "actuals[0] (request 'a'): the truth is 3.5: expected an integer"),
        ("text", [("a", 3.5)], InvalidRequest, "expected a text"),
        ("number", [("a", "cat")], InvalidRequest, "expected a finite number"),
        ("m", [("", 3)], InvalidRequest, "actuals[0]: it names no request"),
        ("m", [("a", 3, -1)], InvalidRequest, "actuals[0] (request 'a'): row -1: rows are counted from 0"),
        ("m", [("a", 3)] * (MOST_ACTUALS + 1), InvalidRequest, "10001 actuals at once: send at most 10000 in one call"),
    ],
)
def test_a_submission_that_cannot_be_right_is_refused(
    world: World, model: str, actuals: Sequence[Any], error: type[Exception], said: str
) -> None:
    """In one line with the mend; nothing of it is joined."""

    async def story() -> None:
        await world.keep(world.said("a"))
        with pytest.raises(error) as refused:
            await world.submit(*actuals, model=model)
        assert said in str(refused.value)
        assert str(refused.value).isprintable()
        assert (await world.ledger.accuracy("m", "1", 0)).joined == 0

    played(world, story)


def test_a_truth_that_does_not_fit_what_is_kept_is_refused(world: World) -> None:
    """A model without a champion says nothing of its predictions; what is kept of them does."""
    route = world.routes["m"]
    world.routes["m"] = Route("m", None, route.versions, route.settings)

    async def story() -> None:
        await world.keep(world.said("a"), world.said("b"))
        with pytest.raises(InvalidRequest, match="request 'b': the truth is 'cat': expected an integer"):
            await world.submit(("a", 3), ("b", "cat"))
        assert await world.submit(("a", 3), ("b", "3")) == Submitted(2)

    played(world, story)


def test_nothing_is_written_for_models_without_a_ledger(world: World) -> None:
    """No file, and every question has an empty answer."""

    async def story() -> None:
        assert (await world.ledger.accuracy("m", "1", 0)).joined == 0
        assert await world.ledger.joined("m", 0) == []
        assert await world.ledger.used_bytes() == 0
        await world.ledger.tidy()
        assert not world.path.exists()

    played(world, story)


# ---- bounds ----


def test_the_file_has_a_bound_and_the_oldest_go(tmp_path: Path) -> None:
    """Of the model that has the most: one that is asked all the time does not push out another."""
    world = World(tmp_path, max_bytes=4 << 20)

    async def story() -> None:
        await world.keep(*[world.said(f"rare {n}") for n in range(100)], model="text")
        for batch in range(12):
            await world.keep(*[world.said(f"{batch} {n} {'x' * 50}") for n in range(4000)])
            assert await world.ledger.used_bytes() <= world.max_bytes * 1.5
        assert await world.ledger.used_bytes() <= world.max_bytes
        last = f"11 3999 {'x' * 50}"
        first = f"0 0 {'x' * 50}"
        assert await world.submit((last, 3), (first, 3)) == Submitted(1, unknown=(first,))
        assert (await world.submit(*[(f"rare {n}", "3") for n in range(100)], model="text")).unknown == ()

    played(world, story)


def test_what_is_too_old_is_let_go(world: World) -> None:
    """By the settings of its model, in the order in which it came; what is young stays."""

    async def story() -> None:
        await world.keep(*[world.said(f"old {n}") for n in range(9000)])
        world.clock.passes(2 * DAY + 1)
        await world.keep(world.said("young"))
        used = await world.ledger.used_bytes()
        await world.ledger.tidy()
        assert await world.ledger.used_bytes() < used / 4
        assert await world.submit(("young", 3), ("old 8999", 3)) == Submitted(1, unknown=("old 8999",))

    played(world, story)


def test_a_clock_that_jumps_lets_nothing_go(world: World) -> None:
    """Whoever set it may set it right again. After a while it is believed."""

    async def story() -> None:
        await world.keep(world.said("a"))
        world.clock.now += 3 * DAY
        await world.ledger.tidy()
        world.clock.passes(60)
        await world.ledger.tidy()
        world.clock.now -= 3 * DAY
        assert await world.submit(("a", 3)) == Submitted(1)
        await world.ledger.tidy()
        world.clock.now += 3 * DAY
        await world.ledger.tidy()
        world.clock.passes(601)
        await world.ledger.tidy()
        assert (await world.ledger.accuracy("m", "1", 0)).joined == 0

    played(world, story)


def test_what_waits_for_the_disk_is_bounded(world: World) -> None:
    """The rest is counted as lost; whoever handed it over goes on."""

    async def story() -> None:
        over: list[str] = []
        world.ledger.take("m", _Many(MOST_ROWS), lambda: over.append("first"))
        world.ledger.take("m", [world.said("a")], lambda: over.append("second"))
        assert over == ["second"]
        assert world.ledger.lost == {"m": 1}
        while len(over) < 2:
            await asyncio.sleep(0)

    played(world, story)


class _Many(list[Prediction]):
    """Says that it has many, and has none: what counts is what it says."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def __len__(self) -> int:
        return self._count


# ---- faults ----


def test_predictions_and_truths_outlive_the_process(world: World) -> None:
    """Another ledger on the same file knows them."""

    async def story() -> None:
        await world.keep(world.said("a"), world.said("b"))
        await world.submit(("a", 3))
        await world.ledger.close()
        world.new()
        assert await world.submit(("a", 3), ("b", 3)) == Submitted(1, already=("a",))
        await world.keep(world.said("c"))
        assert (await world.ledger.accuracy("m", "1", 0)).joined == 2

    played(world, story)


@pytest.mark.parametrize("how", ["garbage", "cut", "layout"])
def test_a_file_that_cannot_be_used_is_moved_aside(world: World, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a line in the log, and another one begun: what comes is kept."""

    async def story() -> None:
        await world.keep(*[world.said(f"{n}") for n in range(2000)])
        await world.ledger.close()
        if how == "garbage":
            world.path.write_bytes(b"no database at all" * 1000)
        elif how == "cut":
            whole = world.path.read_bytes()
            world.path.write_bytes(whole[: len(whole) // 2])
        else:
            with closing(sqlite3.connect(world.path)) as connection:
                connection.execute("PRAGMA user_version = 99")
        world.new()
        await world.keep(world.said("a"))
        assert await world.submit(("a", 3)) == Submitted(1)
        assert world.path.with_name(FILE + ".damaged").exists()

    played(world, story)
    assert "moved aside" in capsys.readouterr().out


def test_a_file_that_breaks_while_it_is_used_is_moved_aside(world: World) -> None:
    """Whatever is written over it; the submission in hand is answered from the new one."""

    async def story() -> None:
        await world.keep(*[world.said(f"{n}") for n in range(5000)])
        with closing(sqlite3.connect(world.path, isolation_level=None)) as other:  # else all is remembered
            other.execute("INSERT INTO models (name) VALUES ('x')")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with world.path.open("r+b") as file:
            file.write(b"\xff" * world.path.stat().st_size)
        await world.keep(world.said("a"))
        assert await world.submit(("a", 3), ("17", 3)) == Submitted(1, unknown=("17",))

    played(world, story)


def test_a_full_disk_loses_nothing_that_has_a_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions wait until there is room; a submission is told so and joins nothing."""
    full = True
    keep, join = LedgerFile.keep, LedgerFile.join

    def limited(file: LedgerFile, pages: int) -> None:
        with file._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def keep_on_full_disk(file: LedgerFile, batch: Any) -> None:
        limited(file, 1 if full else 1 << 20)
        keep(file, batch)

    def join_on_full_disk(file: LedgerFile, *about: Any, **more: Any) -> Any:
        limited(file, 1 if full else 1 << 20)
        if full:
            raise sqlite_full()
        return join(file, *about, **more)

    async def story() -> None:
        nonlocal full
        full = False
        await world.keep(world.said("before"))
        full = True
        written = asyncio.Event()
        world.ledger.take("m", [world.said(f"{n} {'x' * 200}") for n in range(1000)], written.set)
        with pytest.raises(NotReady, match="the ledger cannot be written: the disk is full; make room"):
            await world.submit(("before", 3))
        assert not written.is_set()
        full = False
        await written.wait()
        assert await world.submit(("before", 3), (f"999 {'x' * 200}", 3)) == Submitted(2)

    monkeypatch.setattr(LedgerFile, "keep", keep_on_full_disk)
    monkeypatch.setattr(LedgerFile, "join", join_on_full_disk)
    played(world, story)
    assert world.ledger.lost == {}


def sqlite_full() -> sqlite3.OperationalError:
    """As SQLite raises it."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def test_a_file_that_another_program_holds_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions wait; a submission is told to come back, and joins nothing."""
    monkeypatch.setattr("router.control.ledger_file.LedgerFile.__init__.__defaults__", (0.01,))

    async def story() -> None:
        await world.keep(world.said("a"))
        other = sqlite3.connect(world.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        written = asyncio.Event()
        world.ledger.take("m", [world.said("b")], written.set)
        with pytest.raises(NotReady, match="another program holds"):
            await world.submit(("a", 3))
        assert not written.is_set()
        other.execute("ROLLBACK")
        other.close()
        await written.wait()
        assert await world.submit(("a", 3), ("b", 3)) == Submitted(2)

    played(world, story)


def test_a_folder_that_cannot_be_written_costs_predictions_only(tmp_path: Path) -> None:
    """They wait; whoever asks is told; when there is a folder they are kept."""
    world = World(tmp_path / "missing")

    async def story() -> None:
        written = asyncio.Event()
        world.ledger.take("m", [world.said("a")], written.set)
        with pytest.raises(NotReady, match="the ledger cannot be written: No such file or directory"):
            await world.submit(("a", 3))
        world.path.parent.mkdir()
        await written.wait()
        assert await world.submit(("a", 3)) == Submitted(1)

    played(world, story)


def test_predictions_that_cannot_be_kept_for_a_fault_of_ours_hold_up_nobody(world: World) -> None:
    """They are counted as lost, and the next are kept."""

    async def story() -> None:
        await world.keep(world.said("a", form="no form"))  # type: ignore[arg-type]
        assert world.ledger.lost == {"m": 1}
        await world.keep(world.said("b"))
        assert await world.submit(("a", 3), ("b", 3)) == Submitted(1, unknown=("a",))

    played(world, story)


def test_a_ledger_that_is_closed_says_so(world: World) -> None:
    """The server stops: what waited is written, and questions have their answer."""

    async def story() -> None:
        world.ledger.take("m", [world.said("a")])
        await world.ledger.close()
        with pytest.raises(NotReady, match="the server stops"):
            await world.submit(("a", 3))
        world.new()
        assert await world.submit(("a", 3)) == Submitted(1)

    played(world, story)
