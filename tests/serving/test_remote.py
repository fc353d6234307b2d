"""A slow run's calls are asked of a model on another server, whose word is only taken when it is an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.table import Route, VersionTable
from router.edge.remote import RemoteModel
from router.edge.reply_encoder import ReplyEncoder
from router.errors import Cancelled, ModelFailed, RouterError, TooLate
from router.model_settings import ModelSettings
from router.pb.inference_pb2 import ModelInferRequest, ModelInferResponse
from router.serving.remote import MOST_ASKED, Peer
from router.serving.serving_table import ServingTable
from tests.serving.fakes import FakeReply, World, values, version
from tests.serving.test_fallback import failing, marks

RUN_S = 0.002
URL = "grpc://other:1/theirs"


class Question:
    """What the other server was asked."""

    def __init__(self, message: bytes, seconds: float, answered: Callable[[bytes | RouterError], None]) -> None:
        self.request = ModelInferRequest.FromString(message)
        self.seconds = seconds
        self.over = False
        self.taken_back = False
        self._answered = answered

    def answer(self, answer: bytes | RouterError) -> None:
        """The other server's word arrives, unless something did before."""
        if not self.over:
            self.over = True
            self._answered(answer)

    def take_back(self) -> None:
        """The router does not want to know any more."""
        self.taken_back = True
        self.answer(Cancelled("taken back"))

    def reply(self, *rows: float, **about: Any) -> bytes:
        """An honest reply: y is ten times x."""
        x = np.frombuffer(self.request.raw_input_contents[0], np.float32).tolist()
        return reply(*(rows or [10 * value for value in x]), **{"id": self.request.id, **about})


def reply(*rows: float, name: str = "y", datatype: str = "FP32", **about: Any) -> bytes:
    """A reply with one output."""
    response = ModelInferResponse(model_name="theirs", model_version="77", id=about.get("id", ""))
    response.outputs.add(name=name, datatype=datatype, shape=about.get("shape", [len(rows)]))
    response.raw_output_contents.append(about.get("raw", np.array(rows, np.float32).tobytes()))
    return response.SerializeToString()


class Apart(World):
    """A world whose lane has a history of runs of 2 ms, and a model on another server that the test answers for."""

    def __init__(self, settings: Any = (), **hedge: Any) -> None:
        super().__init__(version(max_size=4), inline=False)
        self.questions: list[Question] = []
        self.peer = Peer(URL, RemoteModel(self.ask, "theirs"), self.clock)
        about = {"hedge": {"budget": 0.5, "target": URL, **hedge}, "contract": {}, **dict(settings)}
        route = Route("m", "1", {"1": self.version}, ModelSettings.model_validate(about))
        lanes = {("m", "1"): self.lane}
        self.router.install(ServingTable(VersionTable(1, {"m": route}), lanes, ReplyEncoder, peers={URL: self.peer}))
        for _ in range(200):
            self.lane.pace.record(1, RUN_S, self.clock.now, joined=False)
        self.runs_take(RUN_S)
        for _ in range(60):  # earns the budget
            self.send(0)
            self.work()

    def ask(self, message: bytes, seconds: float, answered: Callable[[bytes | RouterError], None]) -> Any:
        """The other server gets a question."""
        self.questions.append(Question(message, seconds, answered))
        return self.questions[-1].take_back

    def stalls(self, seconds: float, meanwhile: Callable[[Question], None] = lambda _: None) -> None:
        """The next run takes so long; `meanwhile` sees each question that comes."""
        known = len(self.questions)

        def during() -> None:
            nonlocal known
            self.session.during = lambda: None
            passed = 0.0
            while passed < seconds:
                self.after(0.0005)
                passed += 0.0005
                while self.executor.step():
                    pass
                for question in self.questions[known:]:
                    known += 1
                    meanwhile(question)

        self.session.during = during

    def hedged(self, answer: Callable[[Question], bytes | RouterError], value: float = 3) -> FakeReply:
        """A call whose run stalls for 20 ms, and whose hedge is answered like this."""
        sent = self.send(value, deadline=1.0)
        self.stalls(0.02, lambda question: question.answer(answer(question)))
        self.work()
        return sent

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held any more."""
        hedger = self.lane.hedger
        assert hedger is not None
        return not (self.lane.pending or self.lane._tokens or hedger._elsewhere or self.peer._asked)


def test_another_server_answers_for_a_stalled_run() -> None:
    """The reply is in our words: that it came from elsewhere, and nothing of where or which version."""
    world = Apart()
    sent = world.send(3, deadline=1.0, request_id="a", parameters={"timeout": 900_000, "priority": 2})
    world.stalls(0.02, lambda question: question.answer(question.reply()))
    world.work()
    assert values(sent) == [30]
    assert sent.response.id == "a"
    assert sent.response.model_name == "m"
    assert marks(sent) == {
        "served_by": "hedge", "degraded": False, "remote": True, "model_version": "", "generation": 1,
    }  # fmt: skip
    (question,) = world.questions
    request = question.request
    assert (request.model_name, request.model_version, request.id) == ("theirs", "", "a")
    assert not request.parameters
    assert [each.name for each in request.outputs] == ["y"]
    assert 0.8 < question.seconds < 0.9
    assert world.lane.hedger is not None
    assert (world.lane.hedger.sent, world.lane.hedger.won) == (1, 1)
    assert world.lane.stats.total().success == 61
    assert world.at_rest


def test_each_call_of_a_batch_is_asked_by_itself() -> None:
    """Some may be answered there and others here."""
    world = Apart()
    replies = [world.send(value, deadline=1.0) for value in (1, 2, 3)]

    def answer(question: Question) -> None:
        said = question.reply()
        question.answer(ModelFailed("no") if said == question.reply(20) else said)

    world.stalls(0.02, answer)
    world.work()
    assert [values(each) for each in replies] == [[10], [4], [30]]
    assert len(world.questions) == 3
    assert world.at_rest


def test_a_question_is_taken_back_when_the_run_wins() -> None:
    """That says nothing of the other server."""
    world = Apart()
    sent = world.send(3, deadline=1.0)
    world.stalls(0.02)
    world.work()
    assert values(sent) == [6]
    assert [question.taken_back for question in world.questions] == [True]
    assert world.peer._breaker.state(world.clock.now).value == "closed"
    assert world.at_rest


def test_the_other_server_is_awaited_when_the_run_fails_first() -> None:
    """The caller never hears of the failure."""
    world = Apart()
    sent = world.send(3, deadline=1.0)
    world.session.function = failing
    world.stalls(0.02)
    world.work()
    assert not sent.answers
    world.questions[0].answer(world.questions[0].reply())
    assert values(sent) == [30]
    assert world.at_rest


@pytest.mark.parametrize("first", [True, False])
def test_when_both_fail_the_caller_hears_of_the_model(first: bool) -> None:
    """Never of another server, whoever failed first."""
    world = Apart()
    world.session.function = failing
    sent = world.send(3, deadline=1.0)
    world.stalls(0.02, lambda question: question.answer(ModelFailed("secret 10.0.0.1")) if first else None)
    world.work()
    world.questions[0].answer(ModelFailed("secret 10.0.0.1"))
    assert str(sent.error) == "no"
    assert world.at_rest


def test_a_call_that_waits_for_the_other_server_alone_ends_by_its_deadline() -> None:
    """Its run has failed and the other says nothing: the silence is a failure too."""
    world = Apart()
    sent = world.send(3, deadline=1.0)
    world.session.function = failing
    world.stalls(0.02)
    world.work()
    assert not sent.answers
    for _ in range(250):
        world.after(0.004)
    assert sent.answers == 1
    assert world.peer._breaker._row == 1
    assert world.at_rest


LIES: dict[str, Callable[[Question], bytes | RouterError]] = {
    "another shape": lambda question: question.reply(1, 2),
    "another rank": lambda question: question.reply(1, shape=[1, 1]),
    "no rows": lambda question: reply(id=question.request.id),
    "a negative size": lambda question: question.reply(1, shape=[-1]),
    "fewer bytes": lambda question: question.reply(1, raw=b"abc"),
    "more bytes": lambda question: question.reply(1, raw=b"abcdefgh"),
    "another datatype": lambda question: question.reply(1, datatype="INT32"),
    "an unknown datatype": lambda question: question.reply(1, datatype="nonsense"),
    "another output": lambda question: question.reply(1, name="z"),
    "no output": lambda question: ModelInferResponse(id=question.request.id).SerializeToString(),
    "an output twice": lambda question: question.reply() + question.reply(),
    "another request's answer": lambda question: question.reply(id="b"),
    "not finite": lambda question: question.reply(float("nan")),
    "garbage": lambda question: b"\xff\xff garbage",  # noqa: ARG005
    "nothing": lambda question: b"",  # noqa: ARG005
    "an error": lambda question: ModelFailed("it answered INTERNAL"),  # noqa: ARG005
    "too late": lambda question: TooLate("it had not answered"),  # noqa: ARG005
}


@pytest.mark.parametrize("lie", LIES)
def test_a_target_that_lies_never_reaches_the_caller_and_is_asked_no_more(lie: str) -> None:
    """The run is awaited; the breaker opens after some failures, and tries again later."""
    world = Apart(budget=1.0)
    for _ in range(40):
        sent = world.send(3, deadline=1.0, request_id="a")
        world.stalls(0.02, lambda question: question.answer(LIES[lie](question)))
        world.work()
        assert values(sent) == [6]
        assert marks(sent)["served_by"] == "champion"
        assert world.at_rest
    asked = len(world.questions)
    assert 5 <= asked < 40
    assert world.peer.seen(world.clock.now) is None
    world.clock.now += 2
    world.hedged(lambda question: question.reply())
    assert len(world.questions) == asked + 1


ANSWERS: dict[str, Callable[[Question], bytes | RouterError]] = {
    "good": lambda question: question.reply(),
    "bad": lambda question: question.reply(1, 2),
    "error": lambda question: ModelFailed("no"),  # noqa: ARG005
}
MOMENTS = st.one_of(st.sampled_from([*ANSWERS, "gone"]), st.sampled_from([0.001, 0.004, 0.02]))


@settings(deadline=None, max_examples=80)
@given(
    moments=st.lists(MOMENTS, max_size=8),
    run_fails=st.booleans(),
    chain=st.booleans(),
    deadline=st.sampled_from([0.006, 0.03, None]),
)
def test_whatever_comes_first_there_is_one_answer(
    moments: list[str | float], run_fails: bool, chain: bool, deadline: float | None
) -> None:
    """Of the run, the other server, the chain or the deadline; nothing is left once all have come back."""
    fallback = {"fallback": {"chain": ["default"], "default": {"y": 7.0}}} if chain else {}
    world = Apart(fallback)
    if run_fails:
        world.session.function = failing
    sent = world.send(3, deadline=deadline)

    def happens(moment: str | float) -> None:
        if isinstance(moment, float):
            world.after(moment)
        elif moment == "gone":
            sent.cancel()
        else:
            for question in world.questions:
                question.answer(ANSWERS[moment](question))
        while world.executor.step():
            pass

    def during() -> None:
        world.session.during = lambda: None
        for moment in moments[:4]:
            happens(moment)

    world.session.during = during
    world.work()
    for moment in moments[4:]:
        happens(moment)
    for question in world.questions:
        question.answer(TooLate("silent"))
    assert sent.answers == (0 if sent.gone else 1)
    if sent.messages:
        assert values(sent) in [[6], [7], [30]]
    assert world.at_rest


def test_a_fallback_of_the_other_server_is_no_answer() -> None:
    """It would go out as if it were not degraded."""
    world = Apart()

    def degraded(question: Question) -> bytes:
        response = ModelInferResponse.FromString(question.reply())
        response.parameters["degraded"].bool_param = True
        return response.SerializeToString()

    assert values(world.hedged(degraded)) == [6]


def test_outputs_may_come_in_typed_contents() -> None:
    """As the protocol allows."""
    world = Apart()

    def typed(question: Question) -> bytes:
        response = ModelInferResponse(id=question.request.id)
        output = response.outputs.add(name="y", datatype="FP32", shape=[1])
        output.contents.fp32_contents.append(5)
        return response.SerializeToString()

    assert values(world.hedged(typed)) == [5]


def test_a_busy_target_is_asked_when_it_is_idle() -> None:
    """The hedge stays armed."""
    world = Apart()
    for _ in range(MOST_ASKED):
        assert world.peer.allow()

    def let_go() -> None:
        world.peer.ended(0.001, None)
        assert world.lane.hedger is not None
        world.lane.hedger.idle()

    sent = world.send(3, deadline=1.0)
    world.timers.at(world.clock.now + 0.01, let_go)
    world.stalls(0.02, lambda question: question.answer(question.reply()))
    world.work()
    assert values(sent) == [30]
    assert len(world.questions) == 1


def test_a_target_that_needs_longer_than_is_left_is_not_asked() -> None:
    """Once that is known."""
    world = Apart()
    for _ in range(3):
        assert world.peer.allow()
        world.peer.ended(5.0, None)
    world.hedged(lambda question: question.reply())
    assert not world.questions


def test_hedges_that_are_switched_off_ask_nobody() -> None:
    """`[hedge] enabled = false`."""
    world = Apart(enabled=False)
    world.hedged(lambda question: question.reply())
    assert not world.questions


@settings(deadline=None)
@given(
    garbage=st.one_of(st.binary(max_size=200), st.integers(0, 40), st.tuples(st.integers(0, 40), st.integers(1, 255)))
)
def test_no_garbage_reaches_a_caller(garbage: bytes | int | tuple[int, int]) -> None:
    """Random bytes, honest replies cut short, and ones with a changed byte: what is not y FP32[1], finite, is not
    taken."""
    world = Apart()

    def answer(question: Question) -> bytes:
        honest = bytearray(question.reply())
        if isinstance(garbage, bytes):
            return garbage
        if isinstance(garbage, int):
            return bytes(honest[: min(garbage, len(honest) - 1)])
        honest[garbage[0] % len(honest)] ^= garbage[1]
        return bytes(honest)

    sent = world.hedged(answer)
    assert len(values(sent)) == 1
    assert sent.response.model_name == "m"
    if marks(sent)["served_by"] == "champion":
        assert values(sent) == [6]
    else:
        assert isinstance(garbage, tuple)
        assert abs(values(sent)[0]) < float("inf")
    assert world.at_rest
