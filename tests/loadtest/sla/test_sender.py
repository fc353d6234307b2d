"""The sender, on a clock that stands still between its sleeps."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.sla.records import Mark, State
from loadtest.sla.sender import MOST_OPEN, without_elements
from router.pb import inference_pb2 as pb
from tests.loadtest.sla.fakes import START, reply, world


def test_requests_are_sent_at_their_instants_whatever_becomes_of_the_answers(tmp_path: Path) -> None:
    """Open loop: nothing has come back, and still everything is sent when it is due."""
    due = [0.0, 0.01, 0.01, 0.5, 2.0]
    sender, line = world(tmp_path, due)
    sender.send_all(START)
    assert [at - 1000.0 for at, *_ in line.sent] == pytest.approx(due, abs=2e-4)
    assert line.closed
    assert [each[3] for each in line.sent] == [0.5] * 5


def test_a_sender_that_is_slow_sends_late_and_says_so(tmp_path: Path) -> None:
    """Each send costs 30 ms, they are due every 10: the lag is in the column, the due instants stay."""
    sender, line = world(tmp_path, [0.0, 0.01, 0.02, 0.03], costs=0.03)
    sender.send_all(START)
    sent = [each / 1e9 for each in sender._column["sent"]]
    assert sent == pytest.approx([0.0, 0.03, 0.06, 0.09], abs=2e-4)
    assert len(line.sent) == 4


def test_what_is_given_up_is_counted(tmp_path: Path) -> None:
    """After the stop nothing is sent; the rest is UNSENT, not forgotten."""
    sender, line = world(tmp_path, [0.0, 1.0, 2.0])

    def nap(seconds: float) -> None:
        sender.stop()
        line.clock.sleep(seconds)

    sender._nap = nap
    sender.send_all(START)
    assert len(line.sent) == 1
    assert list(sender._column["state"]) == [State.OPEN, State.UNSENT, State.UNSENT]


def test_too_many_open_requests_are_not_sent(tmp_path: Path) -> None:
    """The bound keeps the harness alive when a server answers nothing."""
    sender, line = world(tmp_path, [0.0] * 3)
    sender.open = MOST_OPEN - 1
    sender.send_all(START)
    assert len(line.sent) == 1
    assert list(sender._column["state"]).count(State.UNSENT) == 2


def test_the_id_of_a_request_is_its_place(tmp_path: Path) -> None:
    """Behind the pool's message."""
    sender, line = world(tmp_path, [0.0] * 12)
    sender.send_all(START)
    assert [pb.ModelInferRequest.FromString(message).id for _, _, message, _ in line.sent] == [
        str(number) for number in range(12)
    ]


def test_an_answer_is_taken_in(tmp_path: Path) -> None:
    """Who gave it, of which version and generation, whether it was right."""
    sender, _ = world(tmp_path, [0.0] * 4)
    sender.take((0, 0, "", reply(0)))
    sender.take((1, 0, "", reply(1, "cached", "2", 7, degraded=True)))
    sender.take((2, 0, "", reply(2, value=9)))
    column = sender._column
    assert list(column["state"]) == [State.DONE, State.DONE, State.DONE, State.DUE]
    assert [(each.served_by, each.version) for each in sender.sources] == [("champion", "1"), ("cached", "2")]
    assert list(column["source"])[:3] == [0, 1, 0]
    assert list(column["generation"])[:3] == [1, 7, 1]
    assert Mark(column["marks"][0]) == Mark.CHECKED
    assert Mark(column["marks"][1]) == Mark.DEGRADED  # nobody knows what version 2 should say
    assert Mark(column["marks"][2]) == Mark.CHECKED | Mark.WRONG


@pytest.mark.parametrize("source", ["failover", "default"])
def test_what_another_gives_in_the_models_place_is_not_compared(tmp_path: Path, source: str) -> None:
    """Its version is that of another model; a remembered answer is the model's own and is compared."""
    sender, _ = world(tmp_path, [0.0] * 2)
    sender.take((0, 0, "", reply(0, source, value=9, degraded=True)))
    sender.take((1, 0, "", reply(1, "cached", value=9, degraded=True)))
    assert Mark(sender._column["marks"][0]) == Mark.DEGRADED
    assert Mark(sender._column["marks"][1]) == Mark.DEGRADED | Mark.CHECKED | Mark.WRONG


def test_an_answer_with_another_id_is_found(tmp_path: Path) -> None:
    """The id of one that was answered: a duplicate; any other: it went to the wrong caller."""
    sender, _ = world(tmp_path, [0.0] * 4)
    sender.take((0, 0, "", reply(0)))
    sender.take((1, 0, "", reply(1, id="0")))
    sender.take((2, 0, "", reply(2, id="3")))
    marks = [Mark(each) & (Mark.DUPLICATE | Mark.MISDIRECTED) for each in sender._column["marks"]]
    assert marks[:3] == [Mark(0), Mark.DUPLICATE, Mark.MISDIRECTED]


def test_an_id_whose_own_request_failed_makes_no_duplicate(tmp_path: Path) -> None:
    """It was never answered: what bears it has gone to the wrong caller. So has what bears no number at all."""
    sender, _ = world(tmp_path, [0.0] * 5)
    sender.take((0, 4, "Deadline Exceeded", None))
    for place, bears in ((1, "0"), (2, ""), (3, "9" * 5000), (4, "77")):
        sender.take((place, 0, "", reply(place, id=bears)))
    marks = [Mark(each) & (Mark.DUPLICATE | Mark.MISDIRECTED) for each in sender._column["marks"]]
    assert marks[1:] == [Mark.MISDIRECTED] * 4


def test_senders_use_different_ids(tmp_path: Path) -> None:
    """The second of three: an answer to another's request is told apart from one to its own."""
    sender, line = world(tmp_path, [0.0] * 4, first=1, step=3)
    sender.send_all(START)
    assert [pb.ModelInferRequest.FromString(message).id for _, _, message, _ in line.sent] == ["1", "4", "7", "10"]
    sender.take((0, 0, "", reply(0, id="1")))
    sender.take((1, 0, "", reply(1, id="1")))
    sender.take((2, 0, "", reply(2, id="2")))
    sender.take((3, 0, "", reply(3, id="0")))
    marks = [Mark(each) & (Mark.DUPLICATE | Mark.MISDIRECTED) for each in sender._column["marks"]]
    assert marks == [Mark(0), Mark.DUPLICATE, Mark.MISDIRECTED, Mark.MISDIRECTED]


@given(st.binary(max_size=60).filter(bool))
def test_whatever_comes_back_is_taken_in(junk: bytes) -> None:
    """An answer that is none is a wrong one, and the sender goes on."""
    with TemporaryDirectory() as folder:
        sender, _ = world(Path(folder), [0.0] * 2)
        for place, message in enumerate((junk, reply(1))):
            sender.take((place, 0, "", message))
        assert list(sender._column["state"]) == [State.DONE] * 2
        assert Mark(sender._column["marks"][0]) & (Mark.WRONG | Mark.MISDIRECTED)
        assert Mark(sender._column["marks"][1]) == Mark.CHECKED


def test_what_is_no_message_of_the_protocol_is_wrong(tmp_path: Path) -> None:
    """Also where answers are not compared, and where it cannot be compared with anything."""
    sender, _ = world(tmp_path, [0.0] * 2)
    sender.take((0, 0, "", b"\xff\xff"))
    assert Mark(sender._column["marks"][0]) == Mark.CHECKED | Mark.WRONG
    assert sender.sources[sender._column["source"][0]].served_by == ""


def test_ok_without_a_message_is_an_error(tmp_path: Path) -> None:
    """No caller can use it. The generation of a server is never below 0, its codes are those of gRPC."""
    sender, _ = world(tmp_path, [0.0] * 3)
    sender.take((0, 0, "", None))
    assert (sender._column["code"][0], Mark(sender._column["marks"][0])) == (13, Mark.EMPTY)
    sender.take((1, 0, "", reply(1, generation=-1)))
    assert (sender._column["code"][1], sender._column["generation"][1]) == (0, 0)
    sender.take((2, 300, "made up", None))
    assert sender._column["code"][2] == 2


def test_the_two_kinds_of_deadline_are_told_apart(tmp_path: Path) -> None:
    """By the text: the gRPC core's own is the client's."""
    sender, _ = world(tmp_path, [0.0] * 2)
    sender.take((0, 4, "Deadline Exceeded", None))
    sender.take((1, 4, "the deadline passed while model 'm' was busy", None))
    assert [Mark(each) for each in sender._column["marks"]] == [Mark.OWN_DEADLINE, Mark(0)]
    assert list(sender._column["code"]) == [4, 4]


def test_answers_are_timed_when_they_come(tmp_path: Path) -> None:
    """To a tenth of a millisecond, also when several come while others are sent."""
    sender, line = world(tmp_path, [0.0, 0.004, 0.008])
    line.answered_after = 0.01
    sender.send_all(START)
    done = [each / 1e9 for each in sender._column["done"]]
    assert done == pytest.approx([0.01, 0.014, 0.018], abs=4e-4)
    assert sender.open == 0


def test_answers_are_looked_for_as_often_as_the_job_says(tmp_path: Path) -> None:
    """While one is awaited; it is known that exactly when it came."""
    for look in (100e-6, 0.01):
        sender, line = world(tmp_path / str(look), [0.0, 1.0], look=look)
        line.answers.append((START + 0.1011, (0, 0, "", reply(0))))
        sender.send_all(START)
        late = sender._column["done"][0] / 1e9 - 0.1011
        assert look / 20 < late <= look


def test_a_sender_goes_before_the_server_unless_it_asks_as_fast_as_it_can(tmp_path: Path) -> None:
    """Callers elsewhere would not wait for the server's cores; but what fills all cores would leave it none."""
    for in_flight, before in ((0, True), (2, False)):
        sender, line = world(tmp_path / str(in_flight), [0.0, 0.1], in_flight=in_flight)
        line.answered_after = 0.01
        sender.send_all(START)
        assert line.precedes == [before]


def test_closed_callers_wait_for_their_answers(tmp_path: Path) -> None:
    """Three callers whose answers take a tenth of a second ask ten times each in a second."""
    sender, line = world(tmp_path, [0.0] * 100, in_flight=3)
    line.answered_after = 0.1
    sender.send_all(START)
    assert len(line.sent) == pytest.approx(30, abs=3)
    assert max(sum(abs(at - other) < 0.05 for other, *_ in line.sent) for at, *_ in line.sent) == 3
    states = list(sender._column["state"])
    assert states.count(State.DONE) == len(line.sent)
    assert states.count(State.DUE) == 100 - len(line.sent)


def test_what_a_server_says_of_itself_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Answers of the same length: another generation, another source, another version."""
    sender, _ = world(tmp_path, [0.0] * 6)
    said = [
        ("champion", "1", 1),
        ("champion", "1", 1),
        ("champion", "1", 2),
        ("champion", "2", 2),
        ("standby1", "2", 2),
    ]
    for place, (served_by, version, generation) in enumerate(said):
        sender.take((place, 0, "", reply(place, served_by, version, generation)))
    told = [
        (sender.sources[sender._column["source"][place]], sender._column["generation"][place]) for place in range(5)
    ]
    assert [(source.served_by, source.version, generation) for source, generation in told] == said


@given(st.binary(max_size=200))
def test_elements_are_left_out_of_any_message(junk: bytes) -> None:
    """What is no message comes back as it is, or without fields; nothing is raised."""
    assert len(without_elements(junk)) <= len(junk)


def test_what_is_left_of_a_large_reply_says_the_same() -> None:
    """All but the elements."""
    whole = pb.ModelInferResponse.FromString(reply(5, generation=3))
    left = pb.ModelInferResponse.FromString(without_elements(whole.SerializeToString()))
    whole.ClearField("raw_output_contents")
    assert left == whole


def test_the_age_of_a_remembered_answer_is_written_down(tmp_path: Path) -> None:
    """Also where it is the only thing that differs; one that does not say so has none."""
    sender, _ = world(tmp_path, [0.0] * 4)
    for place, age in enumerate((1500, 1501, None, 0)):
        response = pb.ModelInferResponse.FromString(reply(place, "cached", degraded=True))
        if age is not None:
            response.parameters["age_ms"].int64_param = age
        sender.take((place, 0, "", response.SerializeToString()))
    assert list(sender._column["age"]) == [1500, 1501, -1, 0]
