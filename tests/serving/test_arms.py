"""A model whose requests are split between its champion and challengers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router.core.fallback import Reason, Step
from router.core.request import Header, InputHeader
from router.core.split import NO_SPLIT, PLACES, Match, Split, moved, place
from router.core.table import Route, Version, VersionState, VersionTable
from router.core.tensor import TensorSpec
from router.edge.reply_encoder import ReplyEncoder
from router.errors import InvalidRequest, NotReady
from router.model_settings import ModelSettings
from router.serving import serving_table
from router.serving.answers import Answers
from router.serving.lanes import Lane
from router.serving.predictions import Handed, Predictions
from router.serving.serving_table import ServingTable
from tests.serving.fakes import Array, FakeReply, FakeSession, World, X, Y, request, values, version
from tests.serving.test_fallback import failing, marks, tripled

HALF: Final = moved(NO_SPLIT, {"2": 50.0})
BETA: Final = Match("x-cohort", "beta", "3")
SPLIT: Final = Split(moved(NO_SPLIT, {"2": 20.0, "3": 30.0}).intervals, (BETA,))


def fourfold(feeds: Mapping[str, Array]) -> list[Array]:
    """The second challenger: y = 4x."""
    return [feeds["x"] * 4]


class Divided(World):
    """A world whose model `m` has the champion 1 (y = 2x) and the challengers 2 (3x) and 3 (4x)."""

    def __init__(self, split: Split = SPLIT, settings: Mapping[str, Any] | None = None, **about: Any) -> None:
        super().__init__(**about)
        self.sessions = {"1": self.session, "2": FakeSession(tripled), "3": FakeSession(fourfold)}
        self.lanes = {"1": self.lane}
        for number in ("2", "3"):
            self.lanes[number] = self.new_lane(version(number), self.sessions[number])
            self.lanes[number].inline = self.inline
        self.settings = ModelSettings.model_validate(settings or {})
        self.serve(split)

    def serve(
        self,
        split: Split,
        lanes: Iterable[str] = "123",
        champion: str | None = "1",
        versions: Mapping[str, Version] | None = None,
        store: Answers | None = None,
        predictions: Predictions | None = None,
        **about: Any,
    ) -> None:
        """This split serves; `lanes` are those of the versions that this worker has loaded."""
        versions = versions or {number: lane.version for number, lane in self.lanes.items()}
        route = Route("m", champion, versions, self.settings, split=split, **about)
        made = {("m", number): self.lanes[number] for number in lanes}
        table = VersionTable(self.word[0], {"m": route})
        self.router.install(ServingTable(table, made, ReplyEncoder, store, predictions=predictions))

    def ask(self, *given: float, metadata: tuple[tuple[str, str | bytes], ...] = (), **about: Any) -> FakeReply:
        """One request, answered."""
        reply = FakeReply()
        reply.metadata = metadata
        self.router.infer(request(*given, **about), reply, None)
        self.work()
        return reply

    def served(self, reply: FakeReply) -> tuple[str, str]:
        """The version that has answered, and as what; its numbers are of that version."""
        found = marks(reply)
        factor = {"1": 2, "2": 3, "3": 4}[found["model_version"]]
        assert values(reply) == [factor]
        return found["model_version"], found["served_by"]


CHAMPION, SECOND, THIRD = ("1", "champion"), ("2", "challenger"), ("3", "challenger")


def key_at(low: int, high: int) -> str:
    """A key that stands there."""
    return next(f"user-{each}" for each in range(100_000) if low <= place("m", b"user-%d" % each) < high)


@pytest.mark.parametrize("inline", [True, False])
def test_a_key_always_goes_to_its_version(inline: bool) -> None:
    """As a parameter or as the request's id; to the version at whose places it stands, by the marks of the reply."""
    world = Divided(inline=inline)
    for number in range(60):
        key = f"user-{number}"
        expected = {None: CHAMPION, "2": SECOND, "3": THIRD}[SPLIT.at(place("m", key.encode()))]
        assert world.served(world.ask(1, request_id=key)) == expected
        assert world.served(world.ask(1, request_id=f"{number}", parameters={"route_key": key})) == expected
    assert {number: bool(session.runs) for number, session in world.sessions.items()} == dict.fromkeys("123", True)
    assert [lane.stats.total().keyless for lane in world.lanes.values()] == [0, 0, 0]


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_a_key(key: str, kept: bool) -> None:
    """The same one as a parameter and as an id, also where headers never come again; an empty one is none."""
    world = Divided()
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), (), kept=kept)
    by_id = world.served(world.ask(1, request_id=key, header=header))
    by_parameter = world.served(world.ask(1, parameters={"route_key": key}, header=header))
    if key:
        assert by_id == by_parameter == {None: CHAMPION, "2": SECOND, "3": THIRD}[SPLIT.at(place("m", key.encode()))]
    assert world.lane.stats.total().keyless == (0 if key else 2)
    assert not world.router.table.plans
    assert len(world.router.table.arms) == kept


def test_a_whole_number_is_the_key_that_it_is_written_as() -> None:
    """Clients in which an account is a number and those in which it is a text hold it to one version."""
    world = Divided(HALF)
    for number in range(20):
        text = world.served(world.ask(1, parameters={"route_key": str(number)}))
        assert world.served(world.ask(1, parameters={"route_key": number})) == text


@pytest.mark.parametrize("wrong", [True, 1.5])
def test_a_key_of_another_kind_is_refused(wrong: bool | float) -> None:
    """One line that names what it takes; nothing is run. Where nothing is split nobody looks at it."""
    world = Divided(HALF)
    with pytest.raises(InvalidRequest) as raised:
        world.ask(1, parameters={"route_key": wrong})
    assert str(raised.value) == f"parameter 'route_key' is '{wrong}': it takes a text or a whole number"
    world.serve(NO_SPLIT)
    assert world.served(world.ask(1, parameters={"route_key": wrong})) == CHAMPION


def test_requests_without_a_key_go_by_chance_and_are_counted() -> None:
    """In the shares of the split, not sticky; the champion's figures say how many there were, over all tables, and the
    log has one line.
    """
    world = Divided()
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), (), kept=True)
    with capture_logs() as logs:
        found = Counter(world.served(world.ask(1, header=header))[0] for _ in range(400))
    assert found["1"] == pytest.approx(200, abs=50)
    assert found["2"] == pytest.approx(80, abs=40)
    assert found["3"] == pytest.approx(120, abs=40)
    assert world.lane.stats.total().keyless == 400
    world.serve(HALF)
    with capture_logs() as more:
        world.ask(1, request_id="")
    assert world.lane.stats.total().keyless == 401
    assert [each["model"] for each in logs + more] == ["m"]


def test_metadata_decide_before_keys() -> None:
    """The first match of the split that the call has, whatever the order of the metadata; else the key."""
    second = Match("x-tier", "gold", "2")
    world = Divided(Split(SPLIT.intervals, (BETA, second)))
    champions = key_at(500_000, PLACES)
    beta, gold = ("x-cohort", "beta"), ("x-tier", "gold")
    for metadata, expected in (
        ((beta,), THIRD),
        ((("user-agent", "test"), gold), SECOND),
        ((gold, beta), THIRD),
        ((("x-cohort", "alpha"), ("x-cohort", "beta")), THIRD),
        ((("x-cohort", "alpha"), ("x-cohort-bin", b"beta")), CHAMPION),
        ((), CHAMPION),
    ):
        assert world.served(world.ask(1, metadata=metadata, request_id=champions)) == expected
    assert world.served(world.ask(1, metadata=(beta,))) == THIRD
    assert world.lane.stats.total().keyless == 0


def test_a_split_by_metadata_alone_needs_no_key() -> None:
    """Nobody is sent by chance, so nobody is counted."""
    world = Divided(Split((), (BETA,)))
    assert world.served(world.ask(1)) == CHAMPION
    assert world.served(world.ask(1, metadata=(("x-cohort", "beta"),))) == THIRD
    assert world.lane.stats.total().keyless == 0


def test_metadata_are_read_only_where_a_split_asks_for_them() -> None:
    """Elsewhere they cost nothing."""

    class Unread(FakeReply):
        read = 0

        @property
        def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
            """Count."""
            self.read += 1
            return ()

        @metadata.setter
        def metadata(self, _: object) -> None:
            """Not kept."""

    world = Divided(HALF)
    reply = Unread()
    world.router.infer(request(1, request_id="a"), reply, None)
    assert reply.read == 0
    world.serve(SPLIT)
    world.router.infer(request(1, request_id="a"), reply, None)
    assert reply.read == 1


def test_a_version_that_is_asked_for_by_name_is_not_split() -> None:
    """By number, alias or role: callers get what they name, without the marks of a challenger."""
    world = Divided()
    world.serve(moved(NO_SPLIT, {"2": 100.0}), aliases={"stable": "1", "new": "2"})
    for named, expected in (
        ("", SECOND), ("1", CHAMPION), ("champion", CHAMPION), ("stable", CHAMPION), ("2", ("2", "version")),
        ("new", ("2", "version")),
    ):  # fmt: skip
        for _ in range(2):
            assert world.served(world.ask(1, number=named, request_id="a")) == expected


def test_a_challenger_that_this_worker_cannot_ask_costs_nobody_an_answer() -> None:
    """Not loaded, or not ready: the champion answers, by key, match and chance."""
    world = Divided()
    versions = {number: lane.version for number, lane in world.lanes.items()}
    loading = versions | {number: version(number, state=VersionState.LOADING) for number in "23"}
    for lanes, known in (("1", versions), ("123", loading)):
        world.serve(SPLIT, lanes, versions=known)
        for number in range(40):
            assert world.served(world.ask(1, request_id=f"user-{number}")) == CHAMPION
        assert world.served(world.ask(1, metadata=(("x-cohort", "beta"),))) == CHAMPION
        assert world.served(world.ask(1)) == CHAMPION


def test_without_a_champion_nobody_answers() -> None:
    """As without a split."""
    world = Divided(HALF)
    world.serve(HALF, champion=None)
    for key in (key_at(0, 500_000), key_at(500_000, PLACES)):
        with pytest.raises(NotReady, match="no version that can answer"):
            world.ask(1, request_id=key)


def test_what_only_a_challenger_cannot_take_is_the_champions() -> None:
    """A request for an output that it does not give; the log says so once. What the champion refuses nobody takes."""
    world = Divided(HALF)
    champion = version(outputs=[Y, TensorSpec("z", "FP32", Y.shape)])
    challenger = version("2", inputs=[X, TensorSpec("more", "FP32", X.shape, optional=True)])
    world.lane = world.lanes["1"] = world.new_lane(champion, world.session)
    world.lanes["2"] = world.new_lane(challenger, world.sessions["2"])
    world.lane.inline = world.lanes["2"].inline = True
    world.serve(HALF)
    key = key_at(0, 500_000)
    with capture_logs() as logs:
        for kept in (True, False, False):
            both = Header("m", "", (InputHeader("x", "FP32", (1,)),), ("y", "z"), kept=kept)
            world.session.function = lambda feeds: [feeds["x"] * 2, feeds["x"]]
            reply = world.ask(1, request_id=key, header=both)
            assert marks(reply)["served_by"] == "champion"
    (told,) = logs
    assert told["version"] == "2"
    assert told["reason"] == "model 'm': unknown output 'z'; the model gives 'y'"
    assert world.served(world.ask(1, request_id=key, header=Header("m", "", both.inputs, ("y",)))) == SECOND
    for inputs in (("x", "more"), ("nothing",)):
        unknown = Header("m", "", tuple(InputHeader(name, "FP32", (1,)) for name in inputs), ())
        with pytest.raises(InvalidRequest, match=f"unknown input '{inputs[-1]}'"):
            world.ask(1, request_id=key, header=unknown)


def test_arms_never_share_a_run() -> None:
    """Neither with each other nor with callers that name the version; answers leave in the order of requests."""
    world = Divided(HALF)
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), (), kept=True)
    named = Header("m", "2", (InputHeader("x", "FP32", (1,)),), (), kept=True)
    keys = [key_at(0, 500_000), key_at(500_000, PLACES)]
    replies = []
    for value in range(6):
        replies.append(world.send(value, request_id=keys[value % 2], header=header))
        replies.append(world.send(value, request_id=keys[value % 2], header=named))
    world.work()
    assert [values(reply) for reply in replies] == [
        [value * factor] for value in range(6) for factor in ((3, 3) if value % 2 == 0 else (2, 3))
    ]
    assert world.session.rows == [3]
    plans = [arm for arms in world.router.table.arms.values() for arm in arms._arms]
    assert len({id(plan.batch_key) for plan in (*plans, *world.router.table.plans.values())}) == 3


def test_a_switch_to_the_fallback_is_one_for_all_arms() -> None:
    """Nothing is run, so nothing is split."""
    world = Divided(HALF, {"fallback": {"chain": ["default"], "default": {"y": 7.0}}})
    world.serve(HALF, switched=True)
    reply = world.ask(1, request_id=key_at(0, 500_000))
    assert values(reply) == [7]
    assert marks(reply)["fallback_reason"] == "switched"
    assert not any(session.runs for session in world.sessions.values())


def test_a_challenger_that_fails_is_answered_for_by_its_models_fallback() -> None:
    """Counted at the challenger, as the bake of it reads: the champion has nothing to do with it."""
    world = Divided(HALF, {"fallback": {"chain": ["default"], "default": {"y": 7.0}}})
    world.sessions["2"].function = failing
    reply = world.ask(1, request_id=key_at(0, 500_000))
    assert values(reply) == [7]
    assert marks(reply)["served_by"] == "default"
    assert {key: figures[0] for key, figures in world.lanes["2"].stats.total().fallbacks.items()} == {
        (Step.DEFAULT, Reason.FAILED): 1
    }
    assert not world.lane.stats.total().fallbacks


def test_answers_are_remembered_by_version(tmp_path: Path) -> None:
    """A challenger that fails has its own last answer to the same input, never the champion's."""
    world = Divided(HALF, {"fallback": {"chain": ["cached"], "cached_max_age_s": 60}})
    answers = Answers(tmp_path, 4 << 20, lambda: 10**18)
    world.serve(HALF, store=answers)
    mine, champions = key_at(0, 500_000), key_at(500_000, PLACES)
    for key in (mine, champions):
        world.ask(1, request_id=key)
        answers.write()
    world.session.function = world.sessions["2"].function = failing
    for key, expected in ((mine, 3), (champions, 2)):
        reply = world.ask(1, request_id=key)
        assert values(reply) == [expected]
        assert marks(reply)["served_by"] == "cached"
    answers.close()


def test_the_ledger_tells_arms_apart() -> None:
    """Version and `served_by` of each prediction."""
    handed: list[Handed] = []
    world = Divided(HALF, {"ledger": {"enabled": True}})
    predictions = Predictions(handed.append)
    world.serve(HALF, predictions=predictions)
    mine, champions = key_at(0, 500_000), key_at(500_000, PLACES)
    for key in (mine, champions):
        world.ask(1, request_id=key)
    predictions.work()
    for each in handed:  # the next sheet comes when this one is kept
        predictions.kept(each.number)
        predictions.work()
    assert {(each.sheet.version, each.sheet.served_by, *each.sheet.ids) for each in handed} == {
        ("1", "champion", champions),
        ("2", "challenger", mine),
    }


def test_a_challengers_slow_run_is_hedged_on_its_own_sessions() -> None:
    """Never by the champion; the reply says hedge and the challenger's number."""
    world = Divided(HALF, {"sessions": {"replicas": 2}, "hedge": {}}, version=version(max_size=1), inline=False)
    second = FakeSession(tripled)
    first = world.sessions["2"]
    lane = Lane(version("2", max_size=1), [first, second], world.executor, world.timers, world.loop, world.clock)
    world.lanes["2"] = lane
    world.serve(HALF)
    for _ in range(200):
        lane.pace.record(1, 0.002, 1000.0, joined=False)
    world.session.during = first.during = lambda: world.after(0.002)
    key = key_at(0, 500_000)
    for _ in range(60):  # earns the budget
        world.send(0, request_id=key)
        world.work()

    def stalls() -> None:
        first.during = lambda: None
        for _ in range(100):
            world.after(0.0005)
            while world.executor.step():
                pass

    first.during = stalls
    reply = world.send(1, deadline=1.0, request_id=key)
    world.work()
    assert world.served(reply) == ("2", "hedge")
    assert second.runs
    assert not world.session.runs


def test_arms_that_a_table_keeps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As plans are."""
    monkeypatch.setattr(serving_table, "MAX_KEPT", 5)
    world = Divided(HALF)
    for size in range(1, 30):
        header = Header("m", "", (InputHeader("x", "FP32", (size,)),), (), kept=True)
        world.ask(*range(size), request_id="a", header=header)
        assert len(world.router.table.arms) <= 5
    assert not world.router.table.plans
