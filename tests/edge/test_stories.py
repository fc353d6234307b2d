"""Stories as they travel, and those of several workers together."""

from __future__ import annotations

import pytest

from router.core.fallback import Reason
from router.edge.stories import MOST, nothing_found, together, told
from router.pb import story_pb2 as pb
from router.serving.stories import Stories
from tests.serving.fakes import World, version
from tests.serving.test_fallback import DEFAULT, Spared
from tests.serving.test_hedge import Twice

ZERO = 5 * 10**9


def ask(stories: Stories, **wanted: object) -> list[pb.Story]:
    """What worker 3 tells."""
    return list(told(stories, pb.ExplainRequest(**wanted), 3, ZERO).stories)  # type: ignore[arg-type]


def test_an_ordinary_request() -> None:
    """When it came, what it waited and ran, who answered."""
    world = World()
    world.send(1, request_id="a")
    world.clock.now += 0.001
    world.runs_take(0.002)
    world.work()
    (story,) = ask(world.lane.teller.stories, id="a")
    assert (story.id, story.model, story.version, story.generation, story.worker) == ("a", "m", "1", 1, 3)
    assert story.received_unix_ns == ZERO + 1000 * 10**9
    assert (story.took_ms, story.run.waited_ms, story.run.took_ms) == pytest.approx((3.0, 1.0, 2.0))
    assert (story.run.lane, story.run.over, story.served_by, story.status) == ("inline", True, "champion", "OK")
    assert not story.HasField("deadline_ms")
    assert not story.run.HasField("hedging")


@pytest.mark.parametrize(("deadline", "reserve"), [(0.05, 3.0), (0.006, 3.0), (0.004, 2.0)])
def test_the_deadline_is_the_callers(deadline: float, reserve: float) -> None:
    """Whatever was kept in reserve: half of it where it is short."""
    world = World()
    world.send(1, deadline=deadline)
    world.work()
    (story,) = ask(world.lane.teller.stories)
    assert story.deadline_ms == pytest.approx(deadline * 1e3, abs=1e-3)
    assert story.reserve_ms == pytest.approx(reserve, abs=1e-3)


def test_a_degraded_answer() -> None:
    """Its reason and cause."""
    world = Spared(DEFAULT)
    world.fails()
    world.send(1)
    world.work()
    (story,) = ask(world.lane.teller.stories)
    assert (story.served_by, story.fallback_reason, story.cause) == ("default", Reason.FAILED.value, "no")


def test_a_hedge() -> None:
    """Both runs and the decision."""
    world = Twice()
    world.send(3, request_id="h", deadline=5.0)
    world.stalls(0.1)
    world.work()
    (story,) = ask(world.lane.teller.stories, id="h")
    assert (story.run.session, story.hedge.session) == (1, 2)
    assert (story.run.hedging.sent, story.run.hedging.target) == (True, "session 2")
    assert story.run.hedging.share == pytest.approx(0.98)


def test_an_id_used_several_times_tells_all() -> None:
    """Newest first; other ids, other models and requests without one are not among them."""
    world = World(version(max_size=1))
    for rows, request_id in ((1, "a"), (2, "b"), (3, "a"), (4, "")):
        world.send(*[0] * rows, request_id=request_id)
        world.work()
    stories = world.lane.teller.stories
    assert [story.rows for story in ask(stories, id="a")] == [3, 1]
    assert ask(stories, id="c") == []
    assert [story.rows for story in ask(stories, last=2)] == [4, 3]
    assert [story.rows for story in ask(stories, model="m")] == [4, 3, 2, 1]
    assert ask(stories, model="x") == []


def test_those_of_several_workers() -> None:
    """Newest first, at most so many; the oldest of all."""
    one = pb.Stories(stories=[pb.Story(received_unix_ns=at) for at in (9, 4)], oldest_unix_ns=4)
    two = pb.Stories(stories=[pb.Story(received_unix_ns=at) for at in (7, 5)], oldest_unix_ns=3)
    every = together((one, two, pb.Stories()), 3)
    assert [story.received_unix_ns for story in every.stories] == [9, 7, 5]
    assert every.oldest_unix_ns == 3
    many = pb.Stories(stories=[pb.Story()] * (MOST + 5))
    assert len(together((many,), 0).stories) == len(together((many,), 10 * MOST).stories) == MOST


@pytest.mark.parametrize(("age_s", "said"), [(5, "5 s old"), (300, "5 min old")])
def test_nothing_found_says_how_long_stories_are_kept(age_s: int, said: str) -> None:
    """In one line."""
    among = pb.Stories(kept=4096, oldest_unix_ns=10**9)
    line = nothing_found(pb.ExplainRequest(id="x"), among, (1 + age_s) * 10**9)
    assert "request 'x'" in line
    assert "newest 4096" in line
    assert line.endswith(said)
