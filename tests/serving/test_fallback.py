"""What answers when the model does not, and how the reply says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from router.core.breaker import State
from router.core.fallback import Reason, Step
from router.core.table import Route, VersionTable
from router.edge.reply_encoder import ReplyEncoder
from router.errors import ModelFailed, NotReady, TooLate
from router.model_settings import ModelSettings
from router.serving.serving_table import ServingTable
from tests.serving.fakes import Array, FakeReply, FakeSession, World, values, version

DEFAULT = {"fallback": {"chain": ["default"], "default": {"y": 7.0}}}
FAILOVER = {"fallback": {"chain": ["failover"], "failover": "spare"}}
BOTH = {"fallback": {"chain": ["failover", "default"], "failover": "spare", "default": {"y": 7.0}}}


def tripled(feeds: Mapping[str, Array]) -> list[Array]:
    """The failover model: y = 3x."""
    return [feeds["x"] * 3]


def failing(feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ARG001
    """A model that fails."""
    raise ModelFailed("no")


class Spared(World):
    """A world whose model `m` has settings, beside a model `spare` of the same signature."""

    def __init__(self, settings: Mapping[str, Any], *, switched: bool = False, **about: Any) -> None:
        super().__init__(**about)
        self.spare = FakeSession(tripled)
        self.spare_lane = self.new_lane(replace(version("5"), model="spare"), self.spare)
        self.spare_lane.inline = self.inline
        routes = {
            "m": Route("m", "1", {"1": self.version}, ModelSettings.model_validate(settings), switched),
            "spare": Route("spare", "5", {"5": self.spare_lane.version}),
        }
        lanes = {("m", "1"): self.lane, ("spare", "5"): self.spare_lane}
        self.router.install(ServingTable(VersionTable(1, routes), lanes, ReplyEncoder))

    def fails(self) -> None:
        """From now on the model fails."""

        self.session.function = failing

    def fallbacks(self) -> dict[tuple[Step, Reason], int]:
        """How often which step answered for which reason."""
        return {key: figures[0] for key, figures in self.lane.stats.total().fallbacks.items()}


def marks(reply: FakeReply) -> dict[str, Any]:
    """The parameters of a reply."""
    return {
        name: getattr(value, str(value.WhichOneof("parameter_choice")))
        for name, value in reply.response.parameters.items()
    }


@pytest.mark.parametrize("inline", [True, False])
def test_a_default_answers_for_a_model_that_fails(inline: bool) -> None:
    """For all rows, marked as degraded, counted apart."""
    world = Spared(DEFAULT, inline=inline)
    world.fails()
    reply = world.send(1, 2, 3, request_id="a")
    world.work()
    assert values(reply) == [7, 7, 7]
    assert reply.response.id == "a"
    assert marks(reply) == {
        "served_by": "default", "degraded": True, "fallback_reason": "failed", "model_version": "1", "generation": 1,
    }  # fmt: skip
    assert world.fallbacks() == {(Step.DEFAULT, Reason.FAILED): 1}
    assert sum(world.lane.stats.total().failures) == 0


@pytest.mark.parametrize("inline", [True, False])
def test_a_failover_model_answers_for_a_model_that_fails(inline: bool) -> None:
    """Its name and version stand in the reply, under the name that the caller asked for."""
    world = Spared(FAILOVER, inline=inline)
    world.fails()
    replies = [world.send(value) for value in (1, 2)]
    world.work()
    assert [values(reply) for reply in replies] == [[3], [6]]
    assert replies[0].response.model_name == "m"
    assert marks(replies[0]) == {
        "served_by": "failover", "degraded": True, "fallback_reason": "failed", "model_version": "5", "generation": 1,
        "served_model": "spare",
    }  # fmt: skip
    assert world.fallbacks() == {(Step.FAILOVER, Reason.FAILED): 2}


def test_who_is_in_or_behind_a_stuck_run_asks_the_failover_model_in_time() -> None:
    """A sweep sees to it: at the deadline it would be too late. Who has none waits; who is run in time does not ask."""
    world = Spared(FAILOVER, inline=False)
    world.lane.pace.times.record(1, 0.001)
    late: list[FakeReply] = []

    def during() -> None:
        world.after(0.01)
        late.append(world.send(2, deadline=0.05))
        world.after(0.02)
        world.executor.step()

    world.session.during = during
    patient, first = world.send(1), world.send(4, deadline=0.05)
    world.executor.step()
    assert values(patient) == [2]
    assert values(first) == [12]
    assert values(late[0]) == [6]
    assert world.fallbacks() == {(Step.FAILOVER, Reason.SLOW): 2}
    world.session.during = lambda: None
    world.work()
    assert len(world.session.runs) == 1

    world.session.during = lambda: late.append(world.send(3, deadline=0.05)) or world.after(0.02)
    world.send(1)
    world.executor.step()
    world.session.during = lambda: None
    world.work()
    assert values(late[1]) == [6]
    assert world.spare.rows == [2]


def test_failover_calls_never_share_a_run_with_the_models_own() -> None:
    """Their replies say other things."""
    world = Spared(FAILOVER)
    world.fails()
    theirs = [world.send(1), world.send(2)]
    world.router.work()
    own = world.send(3)
    world.work()
    assert [values(reply)[0] for reply in theirs] == [3, 6]
    assert marks(theirs[0])["degraded"] is True
    assert "degraded" in marks(own)


@pytest.mark.parametrize("inline", [True, False])
def test_the_chain_goes_on_where_the_failover_fails_too(inline: bool) -> None:
    """The default, for the reason that came first."""
    world = Spared(BOTH, inline=inline)
    world.fails()
    world.spare.function = world.session.function
    reply = world.send(1)
    world.work()
    assert values(reply) == [7]
    assert marks(reply)["fallback_reason"] == "failed"
    assert world.fallbacks() == {(Step.DEFAULT, Reason.FAILED): 1}


def test_a_failover_that_cannot_answer_now_is_passed_over() -> None:
    """It has not loaded, say."""
    world = Spared({"fallback": {"chain": ["failover", "default"], "failover": "spare:9", "default": {"y": 7.0}}})
    world.fails()
    reply = world.send(1)
    world.work()
    assert values(reply) == [7]


def test_the_error_of_the_model_itself_is_told_when_nothing_answers() -> None:
    """Not that of the failover, which the caller has not asked for."""
    world = Spared(FAILOVER)
    world.fails()

    def broken(feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ARG001
        raise ModelFailed("spare broke")

    world.spare.function = broken
    reply = world.send(1)
    world.work()
    assert "no" in str(reply.error)
    assert "spare" not in str(reply.error)
    assert sum(world.lane.stats.total().failures) == 1


@pytest.mark.parametrize("inline", [True, False])
def test_a_default_answers_at_the_deadline(inline: bool) -> None:
    """While the run goes on; its result is dropped."""
    world = Spared(DEFAULT, inline=inline)
    reply = world.send(1, deadline=0.05)
    at: list[float] = []
    began = world.clock.now

    def during() -> None:
        for _ in range(60):
            world.after(0.002)
            if reply.answers and not at:
                at.append(world.clock.now - began)

    world.session.during = during
    world.work()
    assert values(reply) == [7]
    assert marks(reply)["fallback_reason"] == "deadline"
    assert at
    assert at[0] <= 0.05


def test_the_failover_starts_when_the_loop_is_taken_and_answers_in_time() -> None:
    """A champion that hangs on the loop: its callers are answered long before their deadline."""
    world = Spared(FAILOVER)
    reply = world.send(1, deadline=0.05)

    def during() -> None:
        for _ in range(5):
            world.after(0.004)
        while world.executor.step():
            pass

    world.session.during = during
    world.router.work()
    assert values(reply) == [3]
    assert marks(reply)["fallback_reason"] == "slow"
    assert world.handed_over == 1
    assert world.lane.pending == 0


def test_the_slow_model_is_awaited_where_the_failover_fails_first() -> None:
    """First success wins."""
    world = Spared(FAILOVER)
    world.spare.function = failing
    reply = world.send(1, deadline=0.5)

    def during() -> None:
        for _ in range(5):
            world.after(0.004)
        while world.executor.step():
            pass
        assert not reply.answers

    world.session.during = during
    world.router.work()
    assert values(reply) == [2]
    assert marks(reply)["served_by"] == "champion"


def test_a_model_that_is_switched_to_its_fallback_runs_nothing() -> None:
    """For people who look into a fault."""
    world = Spared(DEFAULT, switched=True)
    reply = world.send(1)
    world.work()
    assert values(reply) == [7]
    assert marks(reply)["fallback_reason"] == "switched"
    assert not world.session.runs


def test_a_switch_without_an_answer_says_so() -> None:
    """The failover does not answer either."""
    world = Spared(FAILOVER, switched=True)
    world.spare.function = failing
    reply = world.send(1)
    world.work()
    assert isinstance(reply.error, NotReady)
    assert "switched to its fallback" in str(reply.error)


def test_a_model_has_an_answer_within_its_own_time() -> None:
    """`sla_ms` bounds what a caller without a deadline waits."""
    world = Spared({"deadline": {"sla_ms": 20, "reserve_ms": 5}}, inline=False)
    reply = world.send(1)
    world.after(0.0149)
    assert not reply.answers
    world.after(0.0002)
    assert isinstance(reply.error, TooLate)


@pytest.mark.parametrize("inline", [True, False])
def test_what_cannot_be_in_time_is_answered_at_once(inline: bool) -> None:
    """Before it has waited in vain."""
    world = Spared(DEFAULT, version=version(max_size=1), inline=inline)
    world.lane.pace.record(1, 0.02, 1000.0, joined=False)
    world.lane.admission.probed = world.clock.now
    replies = [world.send(value, deadline=0.03) for value in (1, 2)]
    assert [reply.answers for reply in replies] == [0, 1]
    assert marks(replies[1])["fallback_reason"] == "overloaded"


@pytest.mark.parametrize("inline", [True, False])
def test_a_probe_that_fails_as_a_batch_leaves_the_verdict_to_its_calls(inline: bool) -> None:
    """A model that has healed is not kept away because callers of one batch cannot be run together."""
    world = Spared(DEFAULT, inline=inline)
    breaker = world.lane.replicas[0].breaker
    world.fails()
    for _ in range(30):
        world.send(1)
        world.work()
        world.after(0.05)
    assert breaker.state(world.clock.now) is State.OPEN

    def alone_only(feeds: Mapping[str, Array]) -> list[Array]:
        if len(feeds["x"]) > 1:
            raise ModelFailed("together")
        return [feeds["x"] * 2]

    world.session.function = alone_only
    world.after(10.0)
    replies = [world.send(value) for value in (1, 2)]
    world.work()
    assert [values(reply) for reply in replies] == [[2], [4]]
    assert [marks(reply)["served_by"] for reply in replies] == ["champion", "champion"]
