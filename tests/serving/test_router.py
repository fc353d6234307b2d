"""From request to lane: the table that is pinned, the version that answers, the parameters that count."""

from __future__ import annotations

import pytest

from router.core.request import Header, InputHeader
from router.core.table import VersionState
from router.core.tensor import ANY, TensorSpec
from router.errors import InvalidRequest, NotFound, NotReady, Status, TooLate
from router.serving import serving_table
from router.serving.lanes import Lane
from tests.serving.fakes import FakeSession, World, new_word, request, table, values, version


def second(world: World, number: str = "2", factor: float = 3.0) -> Lane:
    """A lane of another version, y = factor · x."""
    lane = world.new_lane(version(number), FakeSession(lambda feeds: [feeds["x"] * factor]))
    lane.inline = True
    return lane


def test_a_request_is_answered_by_the_champion() -> None:
    """The reply names model, version, id and what answered."""
    world = World()
    reply = world.send(1, 2, request_id="a")
    world.work()
    response = reply.response
    assert (response.model_name, response.model_version, response.id) == ("m", "1", "a")
    assert response.parameters["served_by"].string_param == "champion"
    assert response.parameters["generation"].int64_param == 1
    assert values(reply) == [2, 4]


def test_the_word_decides_which_table_serves() -> None:
    """A request that entered before the word changed is answered by the old table, one after it by the new one."""
    world = World()
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), (), kept=True)
    world.router.install(table(2, {"1": world.lane, "2": second(world)}, champion="2"))
    before = world.send(1, header=header)
    world.word[0] = 2
    after = world.send(1, header=header)
    world.word[0] = 1
    back = world.send(1, header=header)
    world.work()
    for reply, number, generation, answer in ((before, "1", 1, 2.0), (after, "2", 2, 3.0), (back, "1", 1, 2.0)):
        assert reply.response.model_version == number
        assert reply.response.parameters["generation"].int64_param == generation
        assert values(reply) == [answer]


def test_requests_of_two_generations_never_share_a_run() -> None:
    """They go to the same lane, but their replies name different generations."""
    world = World()
    world.router.install(table(2, {"1": world.lane}))
    replies = [world.send(1), world.send(2)]
    world.word[0] = 2
    replies += [world.send(3), world.send(4)]
    world.work()
    assert world.session.rows == [2, 2]
    assert [reply.response.parameters["generation"].int64_param for reply in replies] == [1, 1, 2, 2]


def test_a_version_that_the_caller_names_answers() -> None:
    """Whoever is champion; the reply says that it was asked for."""
    world = World()
    world.router.install(table(2, {"1": world.lane, "2": second(world)}, champion="2"))
    world.word[0] = 2
    replies = [world.send(1, number=number) for number in ("1", "2", "")]
    world.work()
    assert [values(reply) for reply in replies] == [[2], [3], [3]]
    assert [reply.response.parameters["served_by"].string_param for reply in replies] == [
        "version",
        "champion",
        "champion",
    ]


@pytest.mark.parametrize(
    ("model", "number", "kind", "text"),
    [
        ("q", "", NotFound, "unknown model 'q'"),
        ("", "", NotFound, "the request names no model"),
        ("m", "9", NotFound, "model 'm' has no version '9'; it has 1, 2"),
        ("m", "2", NotReady, "version 2 of model 'm' cannot answer: its file is cut off"),
    ],
)
def test_what_cannot_answer_is_said_with_the_reason(model: str, number: str, kind: type, text: str) -> None:
    """NOT_FOUND for what is unknown, UNAVAILABLE for what is known."""
    world = World()
    broken = version("2", state=VersionState.UNAVAILABLE, reason="its file is cut off")
    world.router.install(table(1, {"1": world.lane}, others=[broken]))
    error = world.send(1, header=Header(model, number, (), ())).error
    assert type(error) is kind
    assert str(error) == text


def test_a_model_without_a_champion_is_unavailable_with_the_reasons() -> None:
    """All versions and what is wrong with each."""
    world = World()
    broken = version("2", state=VersionState.UNAVAILABLE, reason="its file is cut off")
    world.router.install(table(1, {}, champion=None, others=[broken]))
    error = world.send(1).error
    assert error.status is Status.UNAVAILABLE
    assert str(error) == "model 'm' has no version that can answer (version 2: its file is cut off)"


def test_a_loading_version_is_unavailable() -> None:
    """Its state is the reason where there is no other."""
    world = World()
    world.router.install(table(1, {"1": world.lane}, others=[version("2", state=VersionState.LOADING)]))
    assert str(world.send(1, number="2").error) == "version 2 of model 'm' cannot answer: LOADING"


def test_a_word_that_names_an_unknown_table_is_not_a_fault() -> None:
    """The caller may try another worker."""
    with pytest.raises(NotReady, match="has not prepared the table"):
        World().router_of(new_word(7)).infer(request(1), None, None)  # type: ignore[arg-type]
    with pytest.raises(NotReady):
        _ = World().router_of(new_word(7)).table


def test_a_request_that_does_not_fit_is_refused_in_the_models_name() -> None:
    """The model's name goes before the text of the check."""
    world = World()
    header = Header("m", "", (InputHeader("x", "INT8", (1,)),), ())
    assert str(world.send(1, header=header).error) == "model 'm': input 'x' has datatype 'INT8', the model takes FP32"


@pytest.mark.parametrize("size", [0, 3, 5])
def test_raw_bytes_of_the_wrong_length_are_refused(size: int) -> None:
    """Before anything waits; the text says how many bytes the shape needs."""
    world = World()
    sent = request(1)
    sent.elements[0] = memoryview(bytes(size))
    error = world.send_request(sent).error
    assert isinstance(error, InvalidRequest)
    assert str(error) == f"input 'x' has {size} raw bytes, FP32 of shape [1] needs 4"
    assert world.lane.pending == 0


@pytest.mark.parametrize("timeout", [0, -1, 1.5, "5", True, False, 2**53 + 1, 2**64 - 1, "x" * 10_000])
def test_a_timeout_that_is_no_positive_whole_number_is_refused(timeout: bool | float | str) -> None:
    """INVALID_ARGUMENT, and the caller's text is cut."""
    error = World().send(1, parameters={"timeout": timeout}).error
    assert isinstance(error, InvalidRequest)
    assert "it takes a whole number of microseconds above 0" in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(("deadline", "timeout_us"), [(0.5, 900_000), (0.9, 500_000), (None, 500_000)])
def test_the_earlier_of_deadline_and_timeout_counts(deadline: float | None, timeout_us: int) -> None:
    """In time before it, too late after it."""
    for passed, late in ((0.49, False), (0.51, True)):
        world = World()
        reply = world.send(1, deadline=deadline, parameters={"timeout": timeout_us})
        world.after(passed)
        world.work()
        assert bool(reply.errors) is late
        assert not late or isinstance(reply.error, TooLate)


def test_plans_are_made_once_for_headers_that_come_again() -> None:
    """And never kept for those that do not; both stay bounded."""
    world = World()
    serving = world.router.table
    header = Header("m", "", (InputHeader("x", "FP32", (1,)),), (), kept=True)
    for _ in range(3):
        world.send(1, header=header)
    world.send(1)
    assert list(serving.plans) == [header]
    world.work()


def test_what_a_table_keeps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers with ever new headers and shapes do not fill the memory."""
    monkeypatch.setattr(serving_table, "MAX_KEPT", 5)
    inputs, made = [TensorSpec("x", "FP32", (ANY, ANY))], [TensorSpec("y", "FP32", (ANY, ANY))]
    world = World(version(max_size=64, inputs=inputs, outputs=made))
    serving = world.router.table
    replies = []
    for width in range(1, 30):
        header = Header("m", "", (InputHeader("x", "FP32", (1, width)),), ("y",), kept=True)
        replies.append(world.send(*range(width), header=header))
        assert len(serving.plans) <= 5
        assert len(serving._keys) <= 5
    world.work()
    assert [values(reply) for reply in replies] == [[[2.0 * each for each in range(width)]] for width in range(1, 30)]


def test_forgotten_tables_are_given_back_oldest_first() -> None:
    """Those of older generations only."""
    world = World()
    for generation in (3, 2):
        world.router.install(table(generation, {"1": world.lane}))
    assert [each.generation for each in world.router.forget(3)] == [1, 2]
    world.word[0] = 3
    assert world.router.table.generation == 3


def test_tables_that_were_prepared_in_vain_are_withdrawn() -> None:
    """All beyond the one that serves, but for the one that is prepared now."""
    world = World()
    for generation in (2, 3, 4):
        world.router.install(table(generation, {"1": world.lane}))
    world.word[0] = 2
    assert world.router.withdraw(but=4) == [3]
    assert world.router.withdraw(but=2) == [4]
    assert [each.generation for each in world.router.forget(9)] == [1, 2]


@pytest.mark.parametrize(("left", "lag", "kept_back"), [(1.0, 0.0, 0.003), (1.0, 0.01, 0.013), (0.004, 0.0, 0.002)])
def test_a_reply_leaves_before_its_deadline(left: float, lag: float, kept_back: float) -> None:
    """By what is set and the lag that was measured, and by half of a short time at most."""
    world = World(inline=False)
    world.router.lag_s = lag
    began = world.clock.now
    world.send(1, deadline=left)
    (call,) = world.lane.waiting
    assert call.due == pytest.approx(began + left - kept_back, abs=1e-6)


def test_an_expired_call_stays_expired() -> None:
    """Keeping back half of what is left must not give it time that it does not have."""
    world = World()
    reply = world.send(1, deadline=-1.0)
    world.work()
    assert isinstance(reply.error, TooLate)
    assert not world.session.runs
