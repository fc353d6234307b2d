"""The outbox: what was told is kept before it is sent, and sent until it has arrived, under an id of its own."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from router.control.courier import Clocks
from router.control.database import FILE, Database
from router.control.events import Events
from router.control.news import News
from router.control.outbox import TELL_S, TIDY_S, WAITING, Outbox
from router.control.outbox_rows import FAILED, PENDING, OutboxRows
from router.control.records import Change, Entry
from router.core.delivery import LONGEST_S, REFUSALS, Answer
from router.core.table import VersionTable
from router.errors import Refused
from tests.control.webhook_receiver import Receiver, receiving, status
from tests.server import ROOT

KEEP_S = 1000.0


def store(path: Path) -> Database:
    """An open store."""
    made = Database(path, lambda table: str(table.generation), lambda text: VersionTable(int(text), {}))
    made.open()
    return made


class World:
    """An outbox without threads: time passes when the test says so. `answers` are given in turn, the last for ever."""

    def __init__(self, database: Database, kinds: tuple[str, ...] = (), most: int = 50, *, look: bool = True) -> None:
        self.database = database
        self.now = 1_700_000_000.0
        self.answers: list[Answer | Callable[[dict[str, Any]], Answer]] = [Answer(204)]
        self.sent: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.rows = OutboxRows(database, most)
        ids = (f"id {number}" for number in itertools.count(1))
        self.outbox = Outbox(
            self.rows,
            News(kinds),
            self._post,
            "/test",
            KEEP_S,
            Clocks(lambda: self.now, lambda: self.now - 1e9),
            lambda: 1.0,
            lambda: next(ids),
            self.told.append,
        )
        self.events = Events(lambda: self.now)
        self.events.follow(self.outbox.take)
        if look:
            self.outbox.step()

    def _post(self, name: str, body: bytes) -> Answer:
        event = json.loads(body)
        assert event["id"] == name
        self.sent.append(event)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, Answer) else answer(event)

    def act(self, action: str, model: str = "digits", number: str = "", **after: Any) -> None:
        """A change with its record in the audit log."""
        self.database.save(Change(entries=(Entry(self.now, "ada", action, model, number, "so", {}, after),)))

    def turn(self) -> float:
        """Keep, then send; how long the sender would rest."""
        while self.outbox.step() == 0:
            pass
        return self.outbox._courier.round()

    @property
    def texts(self) -> list[str]:
        """What was sent, in order."""
        return [event["data"]["text"] for event in self.sent]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An open store."""
    with closing(store(tmp_path / FILE)) as made:
        yield made


@pytest.fixture
def world(database: Database) -> World:
    """An outbox with a receiver that takes everything."""
    return World(database)


# ---- what is told ----


def test_what_is_told_arrives_once_in_its_order(world: World) -> None:
    """Live events and acts; then nothing is left, and it is counted."""
    world.events.tell("drift", "digits", "1", "feature 3 drifts", status="yellow")
    world.now += 1
    world.act("promote", number="2", champion="2")
    world.now += 1
    world.events.tell("health", "digits", "2", "it is red", status="red")
    assert world.turn() == LONGEST_S
    assert [event["type"] for event in world.sent] == ["router.drift", "router.champion", "router.health"]
    assert world.texts[1] == "promote by ada: version 2 is champion, none was before: so"
    assert world.sent[0]["data"]["facts"] == {"status": "yellow"}
    queue = world.outbox.queue(10)
    assert (queue.pending, queue.failed, queue.delivered, queue.dropped, queue.rows) == (0, 0, 3, 0, ())
    world.turn()
    assert len(world.sent) == 3


def test_a_change_is_told_once_though_it_is_told_live_and_in_the_audit_log(world: World) -> None:
    """By its record, which cannot be lost; live events of the kinds that records make are left out."""
    world.act("freeze")
    world.events.tell("frozen", "digits", text="no promotions", actor="ada")
    world.act("test", number="2")
    world.turn()
    assert [event["type"] for event in world.sent] == ["router.frozen", "router.act"]
    assert world.sent[0]["data"]["facts"]["action"] == "freeze"


def test_only_wanted_kinds_go_out(database: Database) -> None:
    """All but progress; or those that are named, progress too."""
    world = World(database)
    for kind in ("progress", "gate", "moved"):
        world.events.tell(kind, "digits")
    world.turn()
    assert [event["type"] for event in world.sent] == ["router.gate", "router.moved"]
    world = World(database, ("progress", "champion"))
    for kind in ("progress", "gate", "champion"):
        world.events.tell(kind, "digits")
    world.act("freeze")
    world.act("rollback", number="1", champion="1")
    world.turn()
    assert sorted(event["type"] for event in world.sent) == ["router.champion", "router.progress"]


def test_what_may_come_by_the_hundred_goes_out_to_those_who_name_it(database: Database) -> None:
    """A call with actuals is an event of its own, and would drive out all others."""
    for kinds, sent in (((), []), (("actuals",), ["1 joined"])):
        world = World(database, kinds)
        world.events.tell("actuals", "digits", text="1 joined")
        world.events.tell("progress", "digits", text="half")
        world.turn()
        assert world.texts == sent


def test_what_happened_before_there_was_an_outbox_is_not_told(database: Database) -> None:
    """The first one begins with what comes; a later one goes on where the first ended."""
    database.save(Change(entries=(Entry(1.0, "ada", "freeze", "digits"),)))
    world = World(database)
    world.turn()
    assert world.sent == []
    world.act("thaw")
    again = World(database)
    again.turn()
    assert [event["type"] for event in again.sent] == ["router.frozen"]


def test_what_is_done_before_the_first_look_is_told_once_the_outbox_has_begun(database: Database) -> None:
    """It begins before anybody may act, and looks later: an act between the two is heard of."""
    first = World(database, look=False)
    first.outbox.begin()
    first.act("freeze")
    first.turn()
    assert [event["type"] for event in first.sent] == ["router.frozen"]
    again = World(database, look=False)
    again.act("thaw")
    again.outbox.begin()
    again.turn()
    assert [event["data"]["facts"]["action"] for event in again.sent] == ["thaw"]


def test_an_outbox_that_could_not_begin_does_so_later(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts all the same, as it does for all that cannot be stored."""
    world = World(database, look=False)
    rows = world.outbox._rows
    with monkeypatch.context() as patched:

        def full() -> None:
            raise Refused("the store cannot be written: the disk is full")

        patched.setattr(rows, "begin", full)
        world.outbox.begin()
        with pytest.raises(Refused):
            world.outbox.step()
    world.outbox.step()
    world.act("freeze")
    world.turn()
    assert len(world.sent) == 1


def test_a_store_that_was_put_back_does_not_silence_what_comes(database: Database) -> None:
    """It has fewer records than were told: those that come are new."""
    from sqlalchemy import update

    from router.control.schema import OUTBOX_HEAD

    world = World(database)
    with database.changing() as connection:
        connection.execute(update(OUTBOX_HEAD).values(audit=99))
    world = World(database)
    world.act("freeze")
    world.turn()
    assert len(world.sent) == 1


def test_hostile_names_are_kept_and_sent(world: World) -> None:
    """Halves of surrogate pairs, which no database takes, do not stop those behind them."""
    for name in ("\ud83d", "</script>\x1b[2J", "a" * 10_240, "\u202e\n"):
        world.events.tell("drift", name, name, name, fact=name)
    world.turn()
    assert [len(event["data"]["model"]) for event in world.sent] == [1, 13, 255, 2]


# ---- receivers in trouble ----


def test_an_event_is_sent_until_it_arrives_under_one_id(world: World) -> None:
    """However often the receiver is not there; pauses grow, and are never longer than a minute."""
    world.answers = [Answer(0, "no answer: Connection refused")] * 8 + [Answer(503)] * 4 + [Answer(200)]
    world.events.tell("drift", "digits", text="it drifts")
    rests = []
    while world.rows.due(world.now + 1e6) or not world.sent:
        rests.append(world.turn())
        world.now += rests[-1]
    assert len(world.sent) == 13
    assert len({event["id"] for event in world.sent}) == 1
    assert rests[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert max(rests) == LONGEST_S
    assert world.outbox.queue(1).delivered == 1


def test_while_the_receiver_is_away_it_is_asked_now_and_then_only(world: World) -> None:
    """Not once for each event that waits; when it is back they all arrive, each once, none waits for another."""
    world.answers = [Answer(0, "away")]
    for number in range(30):
        world.events.tell("drift", "digits", text=str(number))
    for _ in range(8):
        world.now += world.turn()
    assert len(world.sent) == 8
    world.sent.clear()
    world.answers = [Answer(204)]
    while world.outbox.queue(1).pending:
        world.now += world.turn()
    assert sorted(map(int, world.texts)) == list(range(30))


def test_a_receiver_that_asks_for_time_gets_it(world: World) -> None:
    """`Retry-After` goes before our own pause."""
    world.answers = [Answer(429, "slow down", "300"), Answer(204)]
    world.events.tell("drift", "digits")
    assert world.turn() == 300
    world.now += 299
    assert world.turn() == 1
    assert len(world.sent) == 1
    world.now += 1
    world.turn()
    assert len(world.sent) == 2


def test_one_that_the_receiver_cannot_bear_holds_up_nobody(world: World) -> None:
    """It answers 500 to one event for ever: the others arrive, in their order."""
    world.answers = [lambda event: Answer(500 if event["data"]["text"] == "3" else 204)]
    for number in range(10):
        world.events.tell("drift", "digits", text=str(number))
    for _ in range(12):
        world.now += world.turn()
    arrived = [text for text in world.texts if text != "3"]
    assert arrived == [str(number) for number in range(10) if number != 3]
    assert world.outbox.queue(1).pending == 1


def test_one_that_is_refused_too_often_is_given_up_and_that_is_told(world: World) -> None:
    """Others go on. An operator has it sent once more."""
    world.answers = [lambda event: Answer(410, "410 Gone") if event["data"]["model"] == "old" else Answer(204)]
    world.events.tell("drift", "old")
    world.events.tell("drift", "digits")
    for _ in range(REFUSALS + 2):
        world.now += min(world.turn(), LONGEST_S)
    assert [event["data"]["model"] for event in world.sent].count("old") == REFUSALS
    (row,) = world.outbox.queue(10).rows
    assert (row.state, row.refusals, row.error) == (FAILED, REFUSALS, "410 Gone")
    world.turn()
    assert len(world.told) == 1
    assert world.told[0].startswith("1 event was given up, last because of: 410 Gone")
    world.answers = [Answer(204)]
    assert world.outbox.again() == 1
    world.turn()
    assert world.sent[-1]["data"]["model"] == "old"
    assert world.outbox.queue(10).failed == 0


def test_what_has_arrived_is_not_sent_again_while_the_store_takes_no_note_of_it(world: World) -> None:
    """The disk is full, or the store locked: the next event waits until it is noted, and nothing is sent twice."""
    for number in range(3):
        world.events.tell("drift", "digits", text=str(number))
    world.outbox.step()
    real, full = world.rows.delivered, [True]

    def delivered(row: Any, now: float) -> None:
        if full:
            raise Refused("the store cannot be written: the disk is full")
        real(row, now)

    world.rows.delivered = delivered  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(Refused):
            world.turn()
    assert world.texts == ["0"]
    full.clear()
    world.turn()
    assert world.texts == ["0", "1", "2"]
    assert (world.outbox.queue(1).pending, world.outbox.queue(1).delivered) == (0, 3)


def test_what_was_refused_is_not_sent_again_while_the_store_takes_no_note_of_it(world: World) -> None:
    """Nor is it told to be given up before it is."""
    world.answers = [Answer(410, "410 Gone")]
    world.events.tell("drift", "old")
    world.outbox.step()
    real, full = world.rows.settle, [True]

    def settle(row: Any, now: float) -> None:
        if full:
            raise Refused("the store cannot be written: the disk is full")
        real(row, now)

    world.rows.settle = settle  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(Refused):
            world.turn()
    assert len(world.sent) == 1
    full.clear()
    world.turn()
    (row,) = world.outbox.queue(1).rows
    assert (row.tries, len(world.sent)) == (1, 1)


def test_news_of_refusals_that_is_refused_makes_no_more_news(world: World) -> None:
    """Else there would be no end."""
    world.answers = [Answer(403)]
    world.events.tell("webhook", text="1 event was given up")
    for _ in range(REFUSALS + 1):
        world.now += world.turn()
    world.now += TELL_S
    world.turn()
    assert (world.outbox.queue(1).failed, world.told) == (1, [])


# ---- bounds ----


def test_what_could_not_be_delivered_in_time_is_dropped_counted_and_told(world: World) -> None:
    """Those that are too old; one line says how many."""
    world.answers = [Answer(0, "away")]
    for _ in range(3):
        world.events.tell("drift", "digits")
    world.turn()
    world.now += KEEP_S + TIDY_S
    world.events.tell("drift", "new")
    world.turn()
    queue = world.outbox.queue(10)
    assert (queue.pending, queue.dropped, queue.rows[0].model) == (1, 3, "new")
    assert world.told == ["3 events were dropped: too old, or too many waited"]


def test_the_oldest_go_when_too_many_wait_and_it_is_not_told_for_each(world: World) -> None:
    """The newest stay; the loss is told once in a while."""
    world.answers = [Answer(0, "away")]
    for number in range(120):
        world.events.tell("drift", "digits", text=str(number))
        world.turn()
        world.now += 0.1
    queue = world.outbox.queue(100)
    assert (queue.pending, queue.dropped) == (50, 70)
    assert json.loads(queue.rows[-1].body)["data"]["text"] == "119"
    assert len(world.told) == 1
    world.now += TELL_S
    world.turn()
    assert world.told == ["1 event was dropped: too old, or too many waited", *world.told[1:]]
    assert world.told[1].startswith("69 events")


def test_a_store_that_takes_nothing_keeps_events_in_memory_within_bounds(world: World) -> None:
    """Nothing is forgotten but what is beyond the bound, and that is counted."""

    def full(*_: Any) -> Any:
        raise Refused("the store cannot be written: the disk is full")

    world.rows.keep = full  # type: ignore[method-assign]
    for number in range(WAITING + 5):
        world.events.tell("drift", "digits", text=str(number))
    with pytest.raises(Refused):
        world.outbox.step()
    world.rows = world.outbox._rows = OutboxRows(world.database)
    world.outbox.step()
    assert (world.outbox.queue(1).pending, world.told) == (
        WAITING,
        ["5 events were dropped: too old, or too many waited"],
    )


def test_a_record_that_cannot_be_read_holds_up_no_other(world: World) -> None:
    """Somebody has changed the file: that is told, and what follows as well."""
    import sqlite3

    world.act("freeze")
    world.act("thaw")
    with closing(sqlite3.connect(world.database._path)) as connection, connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("""UPDATE audit SET "after" = '{' WHERE sequence = 1""")
    world.turn()
    assert [event["data"]["facts"]["action"] for event in world.sent] == ["unreadable", "thaw"]


def test_a_clock_that_was_set_back_keeps_nothing_waiting(world: World) -> None:
    """A next try that is further away than any pause is due."""
    world.answers = [Answer(0, "away"), Answer(204)]
    world.events.tell("drift", "digits")
    world.turn()
    (row,) = world.outbox.queue(1).rows
    world.rows.settle(row.__class__(**{**_dict(row), "next_try": world.now + 1e6}), world.now)
    world.outbox.wake()
    world.turn()
    assert (len(world.sent), world.outbox.queue(1).pending) == (2, 0)


def _dict(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


# ---- the real thing ----


def child(path: Path, receiver: Receiver, first: int) -> subprocess.Popen[str]:
    """A process that tells events, from a number on."""
    words = [sys.executable, "-m", "tests.control.outbox_child", str(path), str(receiver.port), str(first)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_no_event_is_lost_when_the_process_is_killed_while_the_receiver_is_away(tmp_path: Path) -> None:
    """SIGKILL in the midst of keeping and sending; the next process delivers all, each under one id."""
    path = tmp_path / FILE
    with receiving() as receiver:
        receiver.answer = status(503)
        kept = 0
        for goal in (5, 10):
            process = child(path, receiver, kept)
            assert process.stdout is not None
            for line in process.stdout:
                kept = int(line) + 1
                if kept >= goal:
                    break
            if goal == 10:  # the first was killed while nothing could arrive, the second in the midst of it
                receiver.answer = status(204)
                arrived = len(receiver.events)
                receiver.until(lambda arrived=arrived: len(receiver.events) > arrived + 2)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:  # what it had said before it was gone
                kept = int(line) + 1
            process.wait(10)
            process.stdout.close()
        with closing(store(path)) as database:
            from router.edge.webhook_post import WebhookPost
            from tests.control.outbox_child import SECRET

            world = World(database, most=10_000)
            post = WebhookPost(receiver.url, SECRET, 5.0)
            world.outbox._courier._post = post
            world.now = 4e9  # whatever is due
            world.outbox._keep_s = 1e10
            world.turn()
            post.close()
            assert world.outbox.queue(1).pending == 0
            acts = {record.entry.model for record in database.audit(last=10_000)}
        subjects: dict[str, set[str]] = {}
        for event in receiver.events:
            subjects.setdefault(event["subject"], set()).add(event["id"])
        assert {f"act {number}" for number in range(kept)} <= acts <= set(subjects)
        assert {f"drift {number}" for number in range(kept)} <= set(subjects)
        # A killed process may have been in the midst of telling one number; the next told it anew.
        assert sum(len(each) for each in subjects.values()) - len(subjects) <= 2
        assert len({event["id"] for event in receiver.events}) >= 2 * kept


def test_pending_is_the_word_for_what_waits() -> None:
    """Rows that were given up come before those that wait, in the order of the words."""
    assert FAILED < PENDING


def test_a_retraining_is_told_by_its_record(world: World) -> None:
    """Whoever trains elsewhere hears of it even after a kill, once: with trigger, reason, parent and window."""
    world.act("retrain", case=7, state="asked", trigger="drift", why="feature 3", parent="1", window="since Monday")
    world.events.tell("retraining", "digits", "1", "retraining 7 begins", run=7, state="asked")
    world.turn()
    (event,) = world.sent
    assert (event["type"], event["data"]["text"]) == ("router.retraining", "retraining 7 begins (drift: feature 3)")
    assert event["data"]["facts"]["after"]["parent"] == "1"
    world.events.tell("retraining", "digits", "1", "the output of retraining 7 is a flood", flood=1 << 24)
    world.events.tell("retraining", "digits", "1", "retraining 7 has ended", run=7)
    world.now += 1
    world.act("retrain", case=7, state="failed", text="the command failed, exit code 3")
    world.turn()
    assert world.texts[1:] == [
        "the output of retraining 7 is a flood",
        "retraining 7 has ended (failed): the command failed, exit code 3",
    ]
