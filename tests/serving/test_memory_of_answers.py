"""Remembered answers: kept while the model is well, given when it is not, never mixed up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from router.core.table import Route, VersionTable
from router.edge.reply_encoder import ReplyEncoder
from router.errors import InvalidRequest, ModelFailed
from router.model_settings import ModelSettings
from router.serving.answers import Answers
from router.serving.serving_table import ServingTable
from router.serving.stories import FEWEST, SAMPLED
from tests.serving.fakes import Array, FakeReply, FakeSession, World, request, values, version
from tests.serving.test_fallback import failing, marks

CACHED = {"fallback": {"chain": ["cached"], "cached_max_age_s": 60}}


class Remembering(World):
    """A world with a memory of answers on disk and a wall clock of its own."""

    def __init__(self, place: Path, settings: Mapping[str, Any], **about: Any) -> None:
        super().__init__(**about)
        self.wall = 10**18
        self.answers = Answers(place, 4 << 20, lambda: self.wall)
        self.settings = ModelSettings.model_validate(settings)
        self.serve({"1": self.lane})

    def serve(self, lanes: Mapping[str, Any], champion: str = "1") -> None:
        """These versions serve."""
        route = Route("m", champion, {number: lane.version for number, lane in lanes.items()}, self.settings)
        table = VersionTable(1, {"m": route})
        made = {("m", number): lane for number, lane in lanes.items()}
        self.router.install(ServingTable(table, made, ReplyEncoder, self.answers))

    def ask(self, *given: float, **about: Any) -> FakeReply:
        """One request, answered; what is to be kept is written."""
        reply = self.send(*given, **about)
        self.work()
        self.answers.write()
        return reply


@pytest.fixture(params=[True, False])
def inline(request: pytest.FixtureRequest) -> bool:
    """Both sides."""
    return bool(request.param)


@pytest.fixture
def world(tmp_path: Path, inline: bool) -> Iterator[Remembering]:
    """With the chain `cached`."""
    made = Remembering(tmp_path, CACHED, inline=inline)
    yield made
    made.answers.close()


def test_the_same_input_has_its_answer_when_the_model_fails(world: Remembering) -> None:
    """With its age and the mark of a degraded answer; another input has none."""
    world.ask(1, 2, request_id="first")
    world.session.function = failing
    world.wall += 5 * 10**9
    reply = world.ask(1, 2, request_id="second")
    assert values(reply) == [2, 4]
    assert reply.response.id == "second"
    assert marks(reply) == {
        "served_by": "cached", "degraded": True, "fallback_reason": "failed", "model_version": "1", "generation": 1,
        "age_ms": 5000,
    }  # fmt: skip
    assert isinstance(world.ask(1, 3).error, ModelFailed)


def test_an_answer_that_is_too_old_is_none(world: Remembering) -> None:
    """`cached_max_age_s`."""
    world.ask(1)
    world.session.function = failing
    world.wall += 61 * 10**9
    assert isinstance(world.ask(1).error, ModelFailed)


def test_each_row_of_a_batch_is_remembered_by_itself(world: Remembering) -> None:
    """Callers that shared a run do not share answers."""
    replies = [world.send(value) for value in (1, 2, 3)]
    world.work()
    world.answers.write()
    assert all(reply.messages for reply in replies)
    world.session.function = failing
    assert [values(world.ask(value)) for value in (3, 1, 2)] == [[6], [2], [4]]


def test_an_input_that_comes_all_the_time_is_looked_at_twice_a_second(world: Remembering) -> None:
    """Another input is not held up by it, nor is the caller's own key of the same input."""

    def waiting(*given: float, **about: Any) -> int:
        world.send(*given, **about)
        world.work()
        return len(world.answers._waiting)

    assert [waiting(1) for _ in range(10)] == [1, *[2] * 9]
    assert waiting(2) == 3
    assert [waiting(1, parameters={"cache_key": "k"}) for _ in range(3)] == [4, 5, 6]
    world.clock.now += 0.9
    assert waiting(1) == 6
    world.clock.now += 0.2
    assert waiting(1) == 7


def test_degraded_answers_are_never_remembered(world: Remembering) -> None:
    """A remembered answer does not become younger by being given."""
    world.ask(1)
    world.session.function = failing
    world.wall += 50 * 10**9
    assert values(world.ask(1)) == [2]
    world.wall += 50 * 10**9
    assert isinstance(world.ask(1).error, ModelFailed)


def test_a_callers_own_key_is_its_own(world: Remembering) -> None:
    """The same key of another client finds nothing; the input does not matter."""

    def ask(value: float, identity: str) -> FakeReply:
        reply = FakeReply()
        reply.identity = identity
        try:
            world.router.infer(request(value, parameters={"cache_key": "user-7"}), reply, None)
        finally:
            world.work()
            world.answers.write()
        return reply

    ask(1, "alice")
    world.session.function = failing
    assert values(ask(9, "alice")) == [2]
    assert isinstance(ask(1, "bob").error, ModelFailed)


@pytest.mark.parametrize("key", [7, "", "x" * 257, True])
def test_a_key_that_is_none_is_refused(world: Remembering, key: object) -> None:
    """By its name."""
    reply = world.ask(1, parameters={"cache_key": key})
    assert isinstance(reply.error, InvalidRequest)
    assert "cache_key" in str(reply.error)


def test_answers_of_another_version_only_where_the_owner_allows_it(tmp_path: Path) -> None:
    """And the reply names that version."""
    for allowed in (False, True):
        settings = {"fallback": {**CACHED["fallback"], "cached_other_versions": allowed}}
        world = Remembering(tmp_path / str(allowed), settings)
        world.ask(1)
        second = FakeSession(failing)
        lane = world.new_lane(version("2"), second)
        lane.inline = True
        world.serve({"1": world.lane, "2": lane}, champion="2")
        reply = world.ask(1)
        if allowed:
            assert values(reply) == [2]
            assert reply.response.model_version == "1"
            assert marks(reply)["other_version"] is True
        else:
            assert isinstance(reply.error, ModelFailed)
        world.answers.close()


def test_a_fresh_answer_saves_the_run_where_the_owner_wants_that(tmp_path: Path) -> None:
    """It is not degraded, and says how old it is; an older one is run again."""
    world = Remembering(tmp_path, {"answers": {"serve_fresh_s": 2}})
    world.ask(1)
    world.wall += 10**9
    reply = world.ask(1)
    assert values(reply) == [2]
    assert (marks(reply)["served_by"], marks(reply)["degraded"], marks(reply)["age_ms"]) == ("cached", False, 1000)
    assert len(world.session.runs) == 1
    world.wall += 2 * 10**9
    assert marks(world.ask(1))["served_by"] == "champion"
    world.answers.close()


def test_a_fresh_answer_is_a_success_and_no_fallback(tmp_path: Path) -> None:
    """Counted among the successes and once more apart; as a run it is not counted."""
    world = Remembering(tmp_path, {"answers": {"serve_fresh_s": 2}})
    world.runs_take(0.0002)
    for _ in range(3):
        world.ask(1)
    total = world.lane.stats.total()
    assert (total.success, total.hits, total.runs, total.rows) == (3, 2, 1, 1)
    assert sum(total.buckets) == 3
    assert sum(total.failures) == len(total.fallbacks) == 0
    world.answers.close()


def test_of_fresh_answers_a_sample_is_told(tmp_path: Path) -> None:
    """All at first, then one in so many; what runs take, and which of them are slow, is not learned from them."""
    world = Remembering(tmp_path, {"answers": {"serve_fresh_s": 2}})
    world.ask(1)
    before = world.lane.stats.buckets()
    stories = world.lane.teller.stories
    stories._kept.clear()
    for _ in range(FEWEST):
        world.ask(1, request_id="a")
    assert len(stories._kept) == FEWEST
    told = stories._kept[-1]
    assert (told.why, told.served_by, told.run, told.reason) == ("sample", "cached", None, None)
    assert told.id_field == request(1, request_id="a").id_field
    stories._kept.clear()
    for _ in range(3 * SAMPLED):
        world.ask(1)
    assert len(stories._kept) == 3
    assert world.lane.stats.buckets() == before
    world.answers.close()


def test_broken_promises_are_not_remembered(tmp_path: Path) -> None:
    """An answer that breaks the contract is none."""
    world = Remembering(tmp_path, {**CACHED, "contract": {}})

    def lies(feeds: Mapping[str, Array]) -> list[Array]:
        return [feeds["x"] * float("nan")]

    world.session.function = lies
    first = world.ask(1)
    assert "broke its contract" in str(first.error)
    assert isinstance(world.ask(1).error, ModelFailed)
    world.answers.close()
