"""Predictions on their way to the ledger: noted after the replies, handed over a sheet at a time, never in the way."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.prediction import Form, Prediction, Sheet
from router.core.request import Header, InputHeader
from router.core.table import Route, VersionTable
from router.core.tensor import ANY, TensorSpec
from router.edge.reply_encoder import ReplyEncoder
from router.errors import ModelFailed
from router.model_settings import ModelSettings
from router.pb.inference_pb2 import ModelInferRequest
from router.serving import predictions as sizes
from router.serving.predictions import MOST_BYTES, MOST_ROWS, MOST_RUNS, SHEET, Figures, Handed, Predictions, text
from router.serving.serving_table import ServingTable
from tests.serving.fakes import Array, FakeReply, World, request, values, version

ZERO_NS = 1_600_000_000 * 10**9
"""Where the calendar stands when the clock of the runs stands at 0."""


class FakeLink:
    """The way to the controller: keeps what goes over it; nothing does while it is cut."""

    def __init__(self) -> None:
        self.cut = False
        self.handed: list[Handed] = []

    def hand_over(self, handed: Handed) -> None:
        """A sheet goes."""
        if not self.cut:
            self.handed.append(handed)

    @property
    def sheets(self) -> list[Sheet]:
        """All that went."""
        return [each.sheet for each in self.handed]


class Noting(World):
    """A world whose model keeps a ledger; the test is the queue's thread."""

    def __init__(self, ledger: Mapping[str, Any] | None = None, **about: Any) -> None:
        super().__init__(**about)
        self.link = FakeLink()
        self.predictions = Predictions(self.link.hand_over, self)
        self.ledger = {"enabled": True, **(ledger or {})}
        self.serve()

    def monotonic_ns(self) -> int:
        """The clock of the runs."""
        return self.clock.monotonic_ns()

    def time_ns(self) -> int:
        """The calendar."""
        return ZERO_NS + self.clock.monotonic_ns()

    def serve(self, generation: int = 1, **more: Any) -> None:
        """Install a table with this model's settings."""
        settings = ModelSettings.model_validate({"ledger": self.ledger, **more})
        route = Route("m", "1", {"1": self.lane.version}, settings)
        lanes = {("m", "1"): self.lane}
        made = VersionTable(generation, {"m": route})
        self.router.install(ServingTable(made, lanes, ReplyEncoder, predictions=self.predictions))

    def ask(self, *given: float, **about: Any) -> FakeReply:
        """One request, answered and handed over."""
        reply = self.send(*given, **about)
        self.work()
        self.predictions.work()
        return reply

    def noted(self) -> list[Prediction]:
        """All that went to the controller, confirmed at once."""
        found: list[Prediction] = []
        self.predictions.work()
        while self.link.handed:
            handed, self.link.handed = self.link.handed, []
            for each in handed:
                found += each.sheet
                self.predictions.kept(each.number)
        return found


@pytest.fixture(params=[True, False])
def inline(request: pytest.FixtureRequest) -> bool:
    """Both sides."""
    return bool(request.param)


@pytest.fixture
def world(inline: bool) -> Noting:
    """A model that gives a number for each row."""
    return Noting(inline=inline)


# ---- what is noted ----


def test_the_answer_to_a_request_with_an_id_is_noted(world: Noting) -> None:
    """What was said, when, by which version and generation, and how it was served; row by row."""
    reply = world.ask(1, 2, request_id="a")
    assert values(reply) == [2, 4]
    (sheet,) = world.link.sheets
    at_ns = world.time_ns()
    assert list(sheet) == [
        Prediction("a", 0, at_ns, "1", 1, "champion", Form.NUMBER, 2.0),
        Prediction("a", 1, at_ns, "1", 1, "champion", Form.NUMBER, 4.0),
    ]
    assert (sheet.model, sheet.generation) == ("m", 1)


def test_a_request_without_an_id_is_not_noted(world: Noting) -> None:
    """Nothing could be joined to it."""
    assert values(world.ask(1)) == [2]
    assert world.noted() == []


def test_each_request_of_a_run_has_its_own_rows(world: Noting) -> None:
    """Also when its neighbours have no id."""
    for index, rows in enumerate([(1,), (2, 3), (4,), (5, 6)]):
        world.send(*rows, request_id="" if index == 2 else f"r{index}")
    world.work()
    found = [(each.request_id, each.row, each.value) for each in world.noted()]
    assert sorted(found) == [("r0", 0, 2.0), ("r1", 0, 4.0), ("r1", 1, 6.0), ("r3", 0, 10.0), ("r3", 1, 12.0)]


def test_a_caller_that_was_answered_otherwise_is_not_noted(world: Noting) -> None:
    """During the run, by somebody else; its neighbours keep their rows."""
    for value in (1, 2, 3):
        world.send(value, request_id=f"r{value}")
    world.session.during = list(world.lane.waiting)[1].claim
    world.work()
    found = [(each.request_id, each.value) for each in world.noted()]
    assert found == [("r1", 2.0), ("r3", 6.0)]


def test_an_answer_that_breaks_the_contract_is_not_noted(world: Noting) -> None:
    """It was none; that of its neighbour is."""
    world.serve(contract={"outputs": {"y": {"high": 5}}})
    replies = [world.send(value, request_id=f"r{value}") for value in (1, 9, 2)]
    world.work()
    assert isinstance(replies[1].error, ModelFailed)
    assert [(each.request_id, each.value) for each in world.noted()] == [("r1", 2.0), ("r2", 4.0)]


def test_a_run_that_fails_leaves_nothing(world: Noting) -> None:
    """Nor does a request that is answered by the chain."""

    def failing(_: Mapping[str, Array]) -> list[Array]:
        raise ModelFailed("broken")

    world.session.function = failing
    world.serve(fallback={"chain": ["default"], "default": {"y": 7}})
    assert values(world.ask(1, request_id="a")) == [7]
    assert world.noted() == []


def test_a_version_that_is_named_is_noted_as_such(world: Noting) -> None:
    """As the reply says it."""
    world.ask(1, request_id="a", number="1")
    world.serve(generation=2)
    world.word[0] = 2
    world.ask(1, request_id="b")
    assert [(each.served_by, each.generation) for each in world.noted()] == [("champion", 1), ("champion", 2)]


def test_a_share_of_the_requests_is_noted() -> None:
    """By their ids: about so many, and the same ones every time."""
    world = Noting({"sample": 0.25})
    for number in range(400):
        world.send(number, request_id=f"r{number}")
        world.work()
    once = {each.request_id for each in world.noted()}
    assert 60 < len(once) < 140
    for number in range(400):
        world.send(number, request_id=f"r{number}")
        world.work()
    assert {each.request_id for each in world.noted()} == once


def test_what_is_predicted_may_be_another_output() -> None:
    """Scores have the place of the highest; a caller that does not ask for them is not noted."""
    outputs = (TensorSpec("y", "FP32", (ANY,)), TensorSpec("scores", "FP32", (ANY, 2)))
    world = Noting({"output": "scores"}, version=version(outputs=outputs))

    def scored(feeds: Mapping[str, Array]) -> list[Array]:
        x = feeds["x"]
        return [x, np.stack([1 - x, x], axis=1)]

    world.session.function = scored
    world.ask(0.75, 0.25, request_id="a")
    assert [(each.value, each.score, each.form) for each in world.noted()] == [
        (1, 0.75, Form.INTEGER),
        (0, 0.75, Form.INTEGER),
    ]
    world.session.function = lambda feeds: [feeds["x"]]
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), ("y",))
    world.send_request(request(1, request_id="b", header=header))
    world.work()
    assert world.noted() == []


def test_a_ledger_that_is_off_costs_one_look() -> None:
    """No plan of it notes anything, whether the model has none or nobody keeps one."""
    world = Noting({"enabled": False})
    world.ask(1, request_id="a")
    assert world.noted() == []
    assert all(plan.notes is None for plan in world.router.table.plans.values())
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), (), kept=True)
    route = Route("m", "1", {"1": world.lane.version}, ModelSettings.model_validate({"ledger": {"enabled": True}}))
    assert (
        ServingTable(VersionTable(1, {"m": route}), {("m", "1"): world.lane}, ReplyEncoder).plan(header).notes is None
    )


def test_a_model_whose_rows_say_nothing_is_not_noted() -> None:
    """Such settings are refused before; a table that has them all the same serves."""
    world = Noting(version=version(outputs=[TensorSpec("y", "FP32", (ANY, 2, 2))]))
    world.session.function = lambda feeds: [np.zeros((len(feeds["x"]), 2, 2), np.float32)]
    assert world.ask(1, request_id="a").messages
    assert world.noted() == []


@given(st.text(max_size=600))
def test_the_text_of_an_id(request_id: str) -> None:
    """As it travels; empty when it is too long to be kept."""
    field = ModelInferRequest(id=request_id).SerializeToString()
    assert text(field) == (request_id if len(request_id) <= 256 else "")


# ---- on the way ----


def test_the_next_sheet_goes_when_the_one_before_is_confirmed(world: Noting) -> None:
    """In order; each is counted when it is kept."""
    for name in "abc":
        world.ask(1, request_id=name)
    assert [each.sheet.ids for each in world.link.handed] == [["a"]]
    world.predictions.kept(world.link.handed[0].number)
    world.predictions.kept(world.link.handed[0].number)  # said twice
    assert [each.sheet.ids for each in world.link.handed] == [["a"], ["b"]]
    assert world.predictions.figures() == {"m": Figures(kept=1)}
    world.predictions.kept(world.link.handed[1].number)
    world.predictions.kept(world.link.handed[2].number)
    assert [each.sheet.ids for each in world.link.handed] == [["a"], ["b"], ["c"]]
    assert world.predictions.figures() == {"m": Figures(kept=3)}


def test_what_was_not_confirmed_is_said_again(world: Noting) -> None:
    """When the controller is back: the same sheet by the same number, then the others."""
    world.ask(1, request_id="a")
    world.link.cut = True
    world.ask(2, request_id="b")
    world.link.cut = False
    world.predictions.again()
    first, again = world.link.handed
    assert first == again
    world.predictions.kept(first.number)
    assert world.link.sheets[-1].ids == ["b"]
    world.predictions.kept(world.link.handed[-1].number)
    world.predictions.again()
    assert len(world.link.handed) == 3


def test_whoever_asks_hears_when_all_before_is_kept(world: Noting) -> None:
    """Not before the last sheet is confirmed; at once when there is none."""
    heard: list[str] = []
    world.predictions.ask(lambda: heard.append("nothing"))
    world.predictions.work()
    assert heard == ["nothing"]
    world.send(1, request_id="a")
    world.work()
    world.predictions.ask(lambda: heard.append("a"))
    world.predictions.work()
    world.ask(2, request_id="b")
    assert heard == ["nothing"]
    world.predictions.kept(world.link.handed[0].number)
    assert heard == ["nothing", "a"]
    assert world.link.sheets[-1].ids == ["b"]


def test_a_sheet_holds_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request with more rows than that goes in several; no row is lost."""
    monkeypatch.setattr(sizes, "SHEET", 10)
    world = Noting()
    world.ask(*range(25), request_id="a")
    assert len(world.link.sheets[0]) == 10
    assert [each.row for each in world.noted()] == list(range(25))


def test_what_finds_no_place_is_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """While the controller is away; told once, and when there is room again. Callers notice nothing."""
    monkeypatch.setattr(sizes, "MOST_ROWS", 4)
    world = Noting()
    world.link.cut = True
    for number in range(6):
        assert world.ask(1, request_id=f"r{number}").messages
    assert world.predictions.figures() == {"m": Figures(lost=2)}
    world.link.cut = False
    world.predictions.again()
    assert [each.request_id for each in world.noted()] == ["r0", "r1", "r2", "r3"]
    world.ask(1, request_id="r6")
    assert [each.request_id for each in world.noted()] == ["r6"]
    assert world.predictions.figures() == {"m": Figures(kept=5, lost=2)}
    told = capsys.readouterr().out
    assert told.count("predictions are lost") == 1
    assert told.count("predictions are kept again") == 1


def test_runs_that_wait_for_the_thread_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In number and in bytes."""
    monkeypatch.setattr(sizes, "MOST_RUNS", 2)
    world = Noting()
    for number in range(4):
        world.send(1, 2, request_id=f"r{number}")
        world.work()
    assert world.predictions.figures() == {"m": Figures(lost=4)}
    assert len(world.noted()) == 4
    monkeypatch.setattr(sizes, "MOST_BYTES", 8)
    world.ask(1, 2, 3, request_id="large")
    world.ask(1, 2, request_id="small")
    assert [each.request_id for each in world.noted()] == ["small", "small"]
    assert world.predictions.figures() == {"m": Figures(kept=6, lost=7)}
    assert (MOST_RUNS, MOST_BYTES, MOST_ROWS, SHEET) == (8192, 16 << 20, 65_536, 4096)


def test_an_output_that_cannot_be_read_costs_that_one_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault of ours: the log has it, the others go."""
    world = Noting()
    world.send(1, request_id="a")
    world.work()
    broken = world.predictions._ran.pop()
    world.predictions._ran.append((*broken[:2], [1, 1], *broken[3:]))
    world.serve(generation=2)
    world.word[0] = 2
    world.ask(2, request_id="b")
    assert [each.request_id for each in world.noted()] == ["b"]
    assert "predictions could not be read" in capsys.readouterr().out


def test_a_stop_hands_over_the_rest() -> None:
    """And waits until the controller has it; with a thread of its own, from start to stop."""
    handed: list[Handed] = []
    came = threading.Event()

    def controller(each: Handed) -> None:
        handed.append(each)
        came.set()
        threading.Thread(target=predictions.kept, args=(each.number,)).start()

    predictions = Predictions(controller)
    world = Noting()
    world.predictions = predictions
    world.serve()
    predictions.start()
    world.send(1, request_id="a")
    world.work()
    assert came.wait(20)
    world.send(2, request_id="b")
    world.work()
    predictions.close()
    assert [each.sheet.ids for each in handed] == [["a"], ["b"]]
    assert predictions.figures() == {"m": Figures(kept=2)}


def test_whatever_rows_requests_have_all_are_noted() -> None:
    """Requests of any number of rows, with and without ids, in runs as they come."""

    @given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=12), st.booleans())
    def noted(asked: Sequence[tuple[int, bool]], inline: bool) -> None:
        world = Noting(inline=inline)
        wanted = []
        value = 0
        for index, (rows, named) in enumerate(asked):
            column = list(range(value, value + rows))
            value += rows
            world.send(*column, request_id=f"r{index}" if named else "")
            if named:
                wanted += [(f"r{index}", row, 2.0 * each) for row, each in enumerate(column)]
        world.work()
        assert sorted((each.request_id, each.row, each.value) for each in world.noted()) == sorted(wanted)

    noted()
