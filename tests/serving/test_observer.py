"""Rows of what comes by: which are taken, how much at most, and that nobody waits for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from router.core.observation import Observation
from router.core.request import Header, InputHeader
from router.core.tensor import ANY, TensorSpec
from router.model_settings import ModelSettings
from router.serving import observer as module
from router.serving.observer import Observer, Turn, Wish, wishes_of
from tests.serving.fakes import FakeClock, World, request, values, version
from tests.serving.test_lanes import failing

DAY_NS = 86_400 * 10**9
LOOKED = Wish(1.0, 100)


class Calendar(FakeClock):
    """A clock whose calendar is a day ahead of it."""

    def time_ns(self) -> int:
        """Since 1970."""
        return self.monotonic_ns() + DAY_NS


class Controller:
    """Takes what is handed over, while it is there."""

    def __init__(self) -> None:
        self.there = True
        self.batches: list[list[Observation]] = []

    def take(self, observations: Sequence[Observation]) -> bool:
        """A worker hands over."""
        if self.there:
            self.batches.append(list(observations))
        return self.there

    @property
    def observations(self) -> list[Observation]:
        """All."""
        return [each for batch in self.batches for each in batch]


class Watched:
    """A lane whose rows are looked at; the test is the observer's thread, `chance` what it draws."""

    def __init__(self, world: World | None = None, looked: Wish | None = LOOKED, recorded: Wish | None = None) -> None:
        self.world = world or World()
        self.clock = Calendar(self.world.clock.now)
        self.controller = Controller()
        self.chance = 0.5
        self.observer = Observer(
            self.controller.take, self.clock, lambda: self.chance, lambda rows, many: list(rows)[-many:]
        )
        self.turn = self.follow(looked, recorded)

    def follow(self, looked: Wish | None, recorded: Wish | None) -> Turn:
        """The model's settings say so from now on."""
        turn = self.observer.turns({"m": (looked, recorded)})["m"]
        self.world.lane.observer = turn
        return turn

    def ask(self, *numbers: float) -> None:
        """A caller for each number, all served together."""
        replies = [self.world.send(number, request_id=f"r{number:g}") for number in numbers]
        self.world.work()
        assert [values(reply) for reply in replies] == [[2 * number] for number in numbers]

    def gather(self, seconds: float = 1.0) -> list[Observation]:
        """What is handed over after so long."""
        self.clock.now = self.world.clock.now = self.world.clock.now + seconds
        before = len(self.controller.observations)
        self.observer.gather()
        return self.controller.observations[before:]


@pytest.mark.parametrize("inline", [True, False])
def test_rows_are_handed_over_with_all_that_is_known_of_them(inline: bool) -> None:
    """Of runs of several callers and of one: put together by who answered, in their order."""
    watched = Watched(World(inline=inline))
    watched.world.runs_take(0.004)
    began = watched.world.clock.monotonic_ns()
    watched.ask(1, 2)
    watched.ask(3)
    (seen,) = watched.gather()
    assert (seen.model, seen.number, seen.served_by) == ("m", "1", "champion")
    assert (seen.ids, seen.rows, seen.took_ns) == (("r1", "r2", "r3"), (0, 0, 0), (4_000_000,) * 3)
    assert [end - began - DAY_NS for end in seen.ends_ns] == [4_000_000, 4_000_000, 8_000_000]
    assert seen.inputs["x"].tolist() == [1, 2, 3]
    assert seen.outputs["y"].tolist() == [2, 4, 6]
    assert (seen.recorded, seen.missed) == (False, 0)
    assert watched.turn.looked == 3


def test_nothing_is_taken_where_nobody_wants_it() -> None:
    """A lane has no turn; with neither drift nor recording the settings ask for none."""
    world = World()
    assert world.lane.observer is None
    nothing = ModelSettings.model_validate({"drift": {"enabled": False}})
    assert wishes_of(nothing) == (None, None)
    both = ModelSettings.model_validate({"drift": {"max_per_s": 7}, "recording": {"enabled": True, "share": 0.5}})
    assert wishes_of(both) == (Wish(1.0, 7), Wish(0.5, 50))


def test_runs_that_failed_are_not_looked_at() -> None:
    """What a model could not answer is no row of it."""
    world = World()
    world.session.function = failing
    watched = Watched(world)
    world.send(1)
    world.work()
    assert watched.gather() == []


def test_of_many_rows_a_uniform_sample_is_looked_at() -> None:
    """At first so many as the rate allows at once; then a share of the runs, by what came in the second before."""
    watched = Watched(looked=Wish(1.0, 10))
    for number in range(100):
        watched.ask(number)
    (first,) = watched.gather()
    assert first.inputs["x"].tolist() == list(range(10))
    assert watched.turn.missed == 0
    watched.chance = 0.11
    watched.ask(1)
    assert watched.gather() == []  # 10 of 100
    watched.chance = 0.99
    watched.ask(2)
    assert len(watched.gather()) == 1  # one came in the second before: all of them may


def test_of_a_large_run_only_some_rows_are_taken() -> None:
    """Chosen by chance, and with their places."""
    watched = Watched(looked=Wish(1.0, 3))
    watched.world.send(*range(8), request_id="big")
    watched.world.work()
    (seen,) = watched.gather()
    assert seen.inputs["x"].tolist() == [5, 6, 7]
    assert (seen.ids, seen.rows) == (("big",) * 3, (5, 6, 7))


def test_of_large_runs_as_many_rows_are_looked_at_as_of_small_ones() -> None:
    """Each row has the same chance: a caller who sends all of a second at once is no blind spot."""
    watched = Watched(looked=Wish(1.0, 2))
    for _ in range(4):
        watched.world.send(*range(8))
        watched.world.work()
        assert [len(each) for each in watched.gather()] == [2]


def test_what_is_recorded_is_a_share_and_has_its_own_rate() -> None:
    """Runs that are not recorded, by chance or as there is no room, may still be looked at; these are counted and told
    once."""
    watched = Watched(looked=Wish(1.0, 100), recorded=Wish(0.3, 2))
    watched.chance = 0.3
    watched.ask(1)
    watched.chance = 0.2
    for number in (2, 3, 4, 5):
        watched.ask(number)
    looked, recorded = watched.gather()
    assert (looked.recorded, looked.inputs["x"].tolist()) == (False, [1, 4, 5])
    assert (recorded.recorded, recorded.inputs["x"].tolist()) == (True, [2, 3])
    assert looked.missed + recorded.missed == watched.turn.missed == 2
    assert (watched.turn.looked, watched.turn.recorded) == (3, 2)
    watched.ask(6)
    assert [each.missed for each in watched.gather()] == [0]


def test_models_share_what_a_worker_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """All together have so many rows a second; where they may have more in sum, each has less."""
    monkeypatch.setattr(module, "LOOKED_PER_S", 10)
    watched = Watched(looked=Wish(1.0, 100))
    for number in range(40):
        watched.ask(number)
    assert [len(each) for each in watched.gather()] == [10]
    assert watched.turn.missed == 30
    watched.chance = 0.26
    watched.ask(1)
    assert watched.gather() == []
    watched.chance = 0.24
    watched.ask(1)
    assert watched.turn.looking is not None
    assert watched.gather()


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in runs, until the thread has taken it."""
    watched = Watched()
    monkeypatch.setattr(module, "MAX_RUNS", 2)
    for number in range(5):
        watched.ask(number)
    assert watched.turn.missed == 3
    monkeypatch.setattr(module, "BYTES_PER_S", 3)
    watched.gather()
    watched.ask(1)
    assert watched.gather() == []
    assert watched.turn.missed == 4


def test_a_controller_that_is_away_gets_nothing_and_that_is_counted() -> None:
    """Nothing waits for it."""
    watched = Watched()
    watched.controller.there = False
    watched.ask(1, 2)
    assert watched.gather() == []
    assert (watched.turn.looked, watched.turn.missed) == (0, 2)
    watched.controller.there = True
    watched.ask(3)
    (seen,) = watched.gather()
    assert (len(seen), seen.missed) == (1, 2)


def test_large_observations_travel_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message has a bounded size, about."""
    monkeypatch.setattr(module, "MOST_AT_ONCE", 1)
    watched = Watched(recorded=Wish(0.6, 100))
    watched.ask(1)
    watched.chance = 0.7
    watched.ask(2)
    watched.gather()
    assert [len(batch) for batch in watched.controller.batches] == [1, 1]


def test_inputs_without_common_rows_make_one_row_of_a_request() -> None:
    """Its tensors are flat then; other shapes are other observations."""
    inputs = (TensorSpec("a", "INT64", (ANY,)), TensorSpec("b", "FP32", (ANY, 2)))
    world = World(version(inputs=inputs, outputs=(TensorSpec("y", "FP32", (1,)),), max_size=1))
    world.session.function = lambda feeds: [np.full(1, feeds["a"].sum() + feeds["b"].sum(), np.float32)]
    watched = Watched(world)
    for size in (3, 3, 4):
        header = Header("m", "", (InputHeader("a", "INT64", (size,)), InputHeader("b", "FP32", (2, 2))), ())
        asked = request(0, header=header)
        asked.elements = [memoryview(np.arange(size).tobytes()), memoryview(np.ones(4, np.float32).tobytes())]
        assert not world.send_request(asked).errors
        world.work()
    three, four = watched.gather()
    assert three.inputs["a"].tolist() == [[0, 1, 2]] * 2
    assert three.inputs["b"].tolist() == [[1, 1, 1, 1]] * 2
    assert three.outputs["y"].tolist() == [[7], [7]]
    assert (four.inputs["a"].shape, four.rows) == ((1, 4), (0,))


def test_a_request_without_rows_has_none() -> None:
    """It is answered, and nothing came by."""
    watched = Watched()
    watched.world.send()
    watched.world.work()
    assert watched.gather() == []


def test_a_model_that_is_not_looked_at_any_more_keeps_its_figures() -> None:
    """And one that is again goes on with them."""
    watched = Watched()
    watched.ask(1)
    watched.gather()
    assert watched.observer.turns({}) == {}
    assert [(each.model, each.looked) for each in watched.observer.figures()] == [("m", 1)]
    watched.follow(Wish(1.0, 5), None)
    watched.ask(2)
    watched.gather()
    assert watched.turn.looked == 2
