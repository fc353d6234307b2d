"""Humility rules in a run: who is marked, overridden or refused, what others get, and who sees what the model said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.fallback import Reason, Step
from router.core.request import Header, InputHeader
from router.core.table import Route, VersionTable
from router.core.tensor import ANY, TensorSpec
from router.edge.reply_encoder import ReplyEncoder
from router.errors import Doubted, Status
from router.model_settings import ModelSettings
from router.serving.answers import Answers
from router.serving.predictions import Handed, Predictions
from router.serving.serving_table import ServingTable
from router.serving.stats import MAX_RULES, Cell, Failure
from tests.serving.fakes import Array, FakeReply, World, outputs, request, values, version
from tests.serving.test_fallback import Spared, failing, marks
from tests.serving.test_remote import Apart

Z = TensorSpec("z", "FP32", (ANY, 2))
Y = TensorSpec("y", "FP32", (ANY,))
SPECS = (Y, Z)

FAR = {"name": "far", "kind": "outlying", "input": "x", "high": 10}
LOW = {"name": "low", "kind": "outlying", "input": "x", "low": 0}
TORN = {"name": "torn", "kind": "uncertain", "output": "z", "margin": 1.0}
"""Fires where |x| is below one half: z holds x and -x."""


def put(rule: Mapping[str, Any], **override: Any) -> dict[str, Any]:
    """The rule, with an override."""
    return {**rule, "then": "override", "override": override}


def held(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule, with an error."""
    return {**rule, "then": "error"}


def both(feeds: Mapping[str, Array]) -> list[Array]:
    """y = 2x, z = (x, -x)."""
    x = feeds["x"]
    return [x * 2, np.stack([x, -x], 1)]


class Humble(World):
    """A world whose model has rules, on the second output too; the session gives what it is asked for."""

    def __init__(self, *rules: Mapping[str, Any], inline: bool = True, **more: Any) -> None:
        super().__init__(version(outputs=SPECS), inline=inline)
        self.session.function = both
        self.asked: list[list[str]] = []
        plain = self.session.run

        def run(names: Any, feeds: Any, stop: Any = None) -> list[Array]:
            self.asked.append(list(names))
            said = dict(zip(("y", "z"), plain(names, feeds, stop), strict=True))
            return [said[name] for name in names]

        self.session.run = run  # type: ignore[method-assign]
        self.more = more
        self.handed: list[Handed] = []
        self.predictions = Predictions(self.handed.append)
        self.answers: Answers | None = None
        self.serve(*rules)

    def serve(self, *rules: Mapping[str, Any], generation: int = 1) -> None:
        """These rules hold from now on."""
        settings = {**self.more, **({"humility": {"rules": list(rules)}} if rules else {})}
        route = Route("m", "1", {"1": self.version}, ModelSettings.model_validate(settings))
        table = VersionTable(generation, {"m": route})
        lanes = {("m", "1"): self.lane}
        self.router.install(ServingTable(table, lanes, ReplyEncoder, self.answers, predictions=self.predictions))

    def ask(self, *given: float, **about: Any) -> FakeReply:
        """One request, answered."""
        reply = self.send(*given, **about)
        self.work()
        if self.answers is not None:
            self.answers.write()
        return reply

    @property
    def counted(self) -> dict[tuple[str, str], int]:
        """Rows by rule and what it does."""
        return self.lane.stats.total().doubts


@pytest.fixture(params=[True, False])
def inline(request: pytest.FixtureRequest) -> bool:
    """Both sides."""
    return bool(request.param)


BATCH = ((1.0,), (50.0,), (2.0, 60.0, 3.0), (4.0,))


def test_in_a_batch_only_the_caller_with_the_row_is_concerned(inline: bool) -> None:
    """The others have, byte for byte, the replies of a model without rules; one run answers them all."""
    worlds = {
        name: Humble(*rules, inline=inline)
        for name, rules in {
            "none": (), "note": (FAR,), "override": (put(FAR, y=-1.0),), "error": (held(FAR),),
        }.items()
    }  # fmt: skip
    replies = {}
    for name, world in worlds.items():
        replies[name] = [world.send(*rows, request_id=f"r{at}") for at, rows in enumerate(BATCH)]
        world.work()
        assert world.session.rows == [6]
    plain = replies["none"]
    for name in ("note", "override", "error"):
        for sure in (0, 3):
            assert replies[name][sure].messages == plain[sure].messages
    assert [values(reply) for reply in replies["note"]] == [values(reply) for reply in plain]
    assert values(replies["override"][1]) == [-1]
    assert values(replies["override"][2]) == [4, -1, 6]
    assert outputs(replies["override"][2].response)["z"].tolist() == [[2, -2], [60, -60], [3, -3]]
    for name in ("note", "override"):
        assert marks(replies[name][1]) == {**marks(plain[1]), "humility": "far", "humility_rows": "0"}
        assert marks(replies[name][2]) == {**marks(plain[2]), "humility": "far", "humility_rows": "1"}
    error = replies["error"][2].error
    assert isinstance(error, Doubted)
    assert error.status is Status.FAILED_PRECONDITION
    assert str(error) == "model 'm': rule 'far' holds back the answer: input 'x' is beyond its bounds in row 1"
    assert {name: world.counted for name, world in worlds.items()} == {
        "none": {}, "note": {("far", "note"): 2}, "override": {("far", "override"): 2}, "error": {("far", "error"): 2},
    }  # fmt: skip
    total = worlds["error"].lane.stats.total()
    assert (total.success, total.failures[Failure.OTHER], total.fallbacks) == (2, 2, {})


@given(
    callers=st.lists(st.lists(st.sampled_from([1.0, 5.0, 50.0, -1.0]), min_size=1, max_size=3), min_size=1, max_size=5)
)
def test_whatever_runs_together_each_caller_has_its_own_word(callers: list[list[float]]) -> None:
    """As by a loop over callers and rows: an error where a row is low, an override where one is far, else no trace."""
    plain, humble = Humble(), Humble(put(FAR, y=-9.0), held(LOW))
    sent = [[world.send(*rows) for rows in callers] for world in (plain, humble)]
    for world in (plain, humble):
        world.work()
    assert humble.session.rows == plain.session.rows
    for rows, before, reply in zip(callers, *sent, strict=True):
        far = [at for at, value in enumerate(rows) if value > 10]
        low = [at for at, value in enumerate(rows) if value < 0]
        if low:
            assert isinstance(reply.error, Doubted)
        elif far:
            assert values(reply) == [-9 if at in far else 2 * value for at, value in enumerate(rows)]
            assert marks(reply)["humility_rows"] == ",".join(map(str, far))
        else:
            assert reply.messages == before.messages


def test_where_no_rule_fires_nothing_is_different(inline: bool) -> None:
    """Also of a caller that runs alone."""
    for rows in BATCH:
        assert Humble(TORN, LOW, inline=inline).ask(*rows).messages == Humble(inline=inline).ask(*rows).messages


def test_a_model_without_rules_has_none_to_look_at() -> None:
    """One attribute that is None; it is asked for what the caller asks for."""
    world = Humble()
    world.ask(50)
    (plan,) = world.router.table.plans.values() or [world.router.table.plan(request(1).header)]
    assert plan.rules is None
    assert plan.wanted is plan.outputs


def test_several_rules_are_told_with_their_rows_and_the_first_error_is_told(inline: bool) -> None:
    """In the order of the settings; an error stands above what others would put in."""
    world = Humble(put(FAR, y=-1.0), TORN, put(LOW, y=-2.0), inline=inline)
    reply = world.ask(0.1, 50, -1, 0.2)
    assert values(reply) == pytest.approx([0.2, -1, -2, 0.4])
    assert (marks(reply)["humility"], marks(reply)["humility_rows"]) == ("far,torn,low", "1;0,3;2")
    world.serve(put(FAR, y=-1.0), held(LOW), held(TORN))
    assert "rule 'low' holds back the answer" in str(world.ask(0.1, 50, -1).error)


def test_an_output_that_only_a_rule_looks_at_is_not_sent() -> None:
    """Who asks for less is judged all the same."""
    world = Humble(TORN, contract={})
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), ("y",))
    reply = world.ask(0.25, header=header)
    assert world.asked == [["y", "z"]]
    assert list(outputs(reply.response)) == ["y"]
    assert (values(reply), marks(reply)["humility"]) == ([0.5], "torn")
    assert "humility" not in marks(world.ask(0.75, header=header))


def test_an_override_of_an_output_that_is_not_asked_for_is_a_mark() -> None:
    """There is nothing to put it into."""
    world = Humble(put(FAR, z=0.0))
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), ("y",))
    reply = world.ask(50, header=header)
    assert (values(reply), marks(reply)["humility"]) == ([100], "far")


def test_the_ledger_has_what_the_model_said(inline: bool) -> None:
    """An override says nothing of the model; of an answer that was held back there is nothing."""
    world = Humble(put(FAR, y=-1.0), held(LOW), inline=inline, ledger={"enabled": True})
    for at, value in enumerate((1, 50, -1)):
        world.send(value, request_id=f"r{at}")
    world.work()
    world.predictions.work()
    (handed,) = world.handed
    assert [(each.request_id, each.value) for each in handed.sheet] == [("r0", 2.0), ("r1", 100.0)]


class FakeMirror:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.offered: list[list[Any]] = []

    def offer(self, _version: Any, _calls: Any, said: Any, _run_ns: int, _now_ns: int) -> None:
        """A run has answered."""
        self.offered.append([each.tolist() for each in said])


def test_the_mirror_has_what_the_model_said() -> None:
    """And no more outputs than were asked for."""
    world = Humble(put(FAR, y=-1.0), TORN)
    mirror = FakeMirror()
    world.lane.mirror = mirror  # type: ignore[assignment]
    world.ask(50, header=Header("m", "", (InputHeader("x", "FP32", (1,)),), ("y",)))
    assert mirror.offered == [[[100.0]]]


def test_what_breaks_the_contract_is_no_matter_of_rules() -> None:
    """The contract is of what the model said; who breaks it is not counted here."""
    world = Humble(put(FAR, y=0.0), contract={"outputs": {"y": {"high": 30}}})
    replies = [world.send(value) for value in (1, 50, 11)]
    world.work()
    assert values(replies[0]) == [2]
    assert "broke its contract" in str(replies[1].error)
    assert values(replies[2]) == [0]
    assert world.counted == {("far", "override"): 1}


def test_a_remembered_answer_keeps_its_mark_and_is_apart_from_those_by_other_rules(tmp_path: Path) -> None:
    """What the caller was given is remembered, since the same input has it again by the same rules."""
    world = Humble(answers={"serve_fresh_s": 60}, fallback={"chain": ["cached"], "cached_max_age_s": 60})
    world.answers = Answers(tmp_path, 4 << 20)
    rule = put(FAR, y=-1.0)
    try:
        world.serve(rule, held(LOW))
        first = world.ask(50)
        runs = len(world.session.runs)
        again = world.ask(50)
        assert len(world.session.runs) == runs
        assert values(again) == values(first) == [-1]
        assert marks(again)["served_by"] == "cached"
        assert (marks(again)["humility"], marks(again)["humility_rows"]) == ("far", "0")
        assert world.counted == {("far", "override"): 1}
        for _ in range(2):
            assert isinstance(world.ask(-1).error, Doubted)
        world.session.function = failing
        world.more["answers"] = {}
        world.serve(rule, held(LOW))
        degraded = world.ask(50)
        assert (values(degraded), marks(degraded)["degraded"], marks(degraded)["humility"]) == ([-1], True, "far")
        world.session.function = both
        world.more["answers"] = {"serve_fresh_s": 60}
        world.serve(put(FAR, y=-3.0))
        assert values(world.ask(50)) == [-3]
        world.serve()
        plain = world.ask(50)
        assert (values(plain), "humility" in marks(plain)) == ([100], False)
    finally:
        world.answers.close()


def test_nothing_stands_in_for_an_answer_that_is_held_back(inline: bool) -> None:
    """It is no failure of the model: who wants another value sets an override."""
    world = Spared(
        {"humility": {"rules": [held(FAR)]}, "fallback": {"chain": ["default"], "default": {"y": 7.0}}}, inline=inline
    )
    reply = world.send(50)
    world.work()
    assert isinstance(reply.error, Doubted)
    assert world.fallbacks() == {}


class HumbleSpare(Spared):
    """A world whose failover model has rules."""

    def __init__(self, *rules: Mapping[str, Any]) -> None:
        chain = {"chain": ["failover", "default"], "failover": "spare", "default": {"y": 7.0}}
        super().__init__({"fallback": chain})
        routes = dict(self.router.table.routes)
        spare = ModelSettings.model_validate({"humility": {"rules": list(rules)}})
        routes["spare"] = Route("spare", "5", {"5": self.spare_lane.version}, spare)
        lanes = {("m", "1"): self.lane, ("spare", "5"): self.spare_lane}
        self.router.install(ServingTable(VersionTable(1, routes), lanes, ReplyEncoder))
        self.fails()

    def ask(self, value: float) -> FakeReply:
        """One request, answered."""
        reply = self.send(value)
        self.work()
        return reply


def test_a_failover_model_has_its_own_rules() -> None:
    """Its override and its mark are in the reply; they count as its own."""
    world = HumbleSpare(put(FAR, y=-1.0))
    reply = world.ask(50)
    assert values(reply) == [-1]
    assert (marks(reply)["served_by"], marks(reply)["humility"]) == ("failover", "far")
    assert world.spare_lane.stats.total().doubts == {("far", "override"): 1}
    assert world.lane.stats.total().doubts == {}


def test_a_failover_model_that_is_in_doubt_is_no_help() -> None:
    """What the caller's own model has left answers."""
    world = HumbleSpare(held(FAR))
    reply = world.ask(50)
    assert (values(reply), marks(reply)["served_by"]) == ([7], "default")
    assert world.fallbacks() == {(Step.DEFAULT, Reason.FAILED): 1}
    assert values(world.ask(5)) == [15]


def test_a_remote_answer_is_judged_by_the_rules_here() -> None:
    """It is marked and overridden as the model's own."""
    world = Apart({"humility": {"rules": [put(FAR, y=-1.0)]}})
    reply = world.hedged(lambda question: question.reply(), 50)
    assert (values(reply), marks(reply)["humility"], marks(reply)["served_by"]) == ([-1], "far", "hedge")
    assert world.lane.stats.total().doubts == {("far", "override"): 1}
    assert world.at_rest
    plain = world.hedged(lambda question: question.reply(), 5)
    assert (values(plain), "humility" in marks(plain)) == ([50], False)


def test_a_remote_answer_that_a_rule_holds_back_leaves_it_to_the_model_here() -> None:
    """Which is in the same doubt, and says so; nobody is blamed."""
    world = Apart({"humility": {"rules": [held(FAR)]}})
    reply = world.hedged(lambda question: question.reply(), 50)
    assert isinstance(reply.error, Doubted)
    assert world.lane.stats.total().doubts == {("far", "error"): 1}
    assert world.at_rest


def test_who_was_answered_otherwise_is_not_counted(inline: bool) -> None:
    """During the run, by somebody else."""
    world = Humble(FAR, inline=inline)
    for value in (50, 60):
        world.send(value)
    world.session.during = list(world.lane.waiting)[1].claim
    world.work()
    assert world.counted == {("far", "note"): 1}


def test_an_empty_batch_is_in_no_doubt() -> None:
    """It has no rows."""
    world = Humble(FAR, TORN)
    reply = world.ask(header=Header("m", "", (InputHeader("x", "FP32", (0,)),), ()))
    assert "humility" not in marks(reply)


def test_the_story_of_an_answer_that_was_held_back() -> None:
    """It failed, by the rule, after a run that is over."""
    world = Humble(held(FAR))
    world.ask(50, request_id="a")
    (story,) = world.lane.teller.stories.find(lambda each: each.why == "failed", 10)
    assert (story.reason, story.status) == (None, Status.FAILED_PRECONDITION)
    assert story.run is not None
    assert story.run.over
    assert "rule 'far'" in story.cause
    assert story.humility == "far"


def test_the_story_of_an_answer_that_is_marked() -> None:
    """It has the rules; that of its neighbour has none. Of a failover model's doubt tells the story of who asked it."""
    world = Humble(put(FAR, y=0.0), TORN)
    for at, value in enumerate((50, 1, 0.1)):
        world.ask(value, request_id=f"r{at}")
    told = world.lane.teller.stories.find(lambda _: True, 10)
    assert [(story.why, story.humility) for story in reversed(told)] == [
        ("sample", "far"), ("sample", ""), ("sample", "torn"),
    ]  # fmt: skip
    broken = Humble(FAR, contract={"outputs": {"y": {"high": 30}}})
    broken.ask(50)
    (story,) = broken.lane.teller.stories.find(lambda _: True, 10)
    assert (story.reason, story.humility) == (Reason.CONTRACT, "")
    spare = HumbleSpare(FAR)
    spare.ask(50)
    (story,) = spare.lane.teller.stories.find(lambda _: True, 10)
    assert (story.served_model, story.humility) == ("spare", "far")


def test_rules_that_are_counted_are_bounded() -> None:
    """Owners rename them: beyond a bound new ones are one."""
    cell = Cell()
    for at in range(MAX_RULES + 10):
        cell.doubted(f"r{at}", "note", 2)
    assert len(cell.doubts) == MAX_RULES + 1
    assert cell.doubts["others", "note"] == 20
