"""A sender process: sends its part of the schedule at the instants that it says, whatever becomes of the answers.

    python -m loadtest.sla.sender FOLDER        (the start, in seconds of the monotonic clock, on standard input)

One thread does it all: it sends what is due, takes in what is there, and sleeps for a moment when there is neither.
What comes back goes into the columns of the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from loadtest.sla.core_client import Answer, Connection, connections
from loadtest.sla.job import READY, Job
from loadtest.sla.records import Mark, Source, State, Writer
from loadtest.sla.requests import with_id, wrong
from loadtest.sla.schedule import Span
from router import client
from router.pb import inference_pb2 as pb

MOST_OPEN: Final = 20_000
"""Requests that may be open at one time; more are counted as not sent."""
MOST_SOURCES: Final = 255
LONG_NAP_S: Final = 0.02
"""While no answer is awaited."""
AT_ONCE: Final = 16
"""Requests that are sent, and answers that are taken in, before the other side has its turn."""
AFTER_S: Final = 2.0
"""After the last deadline: what has not come by then never comes."""
SMALL: Final = 32 << 10
DEADLINE_EXCEEDED: Final = 4
INTERNAL: Final = 13
UNKNOWN: Final = 2
LAST_CODE: Final = 16
"""gRPC has no status beyond it; what a server makes up counts as UNKNOWN."""
LONGEST_ID: Final = 20
"""Digits; an id of ours has fewer."""
NO_AGE: Final = -1
_OPEN, _DONE = int(State.OPEN), int(State.DONE)
_ID: Final = pb.ModelInferResponse.ID_FIELD_NUMBER
_RAW: Final = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
PR_SET_TIMERSLACK: Final = 29
"""prctl(2)."""

Clock = Callable[[], float]


def go_first(yes: bool) -> None:
    """Have a core whenever this thread wants one, or no more than others, where the system allows it.

    A caller elsewhere would not wait for the server's cores either. To be nice (or not) is not enough: systems that
    group processes by session (sched(7), autogroup) look at it within the group only, and give a group that computes
    on all cores so much of them that a sender beside it waits for tens of milliseconds.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR if yes else os.SCHED_OTHER, os.sched_param(int(yes)))


NOT_THE_MODEL: Final = frozenset(("failover", "default"))
"""Answers of these sources are others than those of the model that was asked, and right."""


class _Known(NamedTuple):
    """What answers that begin (behind their id) with `text` say of themselves; `version` is empty where nobody knows
    what they should say."""

    text: bytes
    source: int
    generation: int
    marks: int
    version: str
    age_ms: int


class Sender:
    """Sends a job over connections. `clock` gives seconds of the monotonic clock, `nap` sleeps for so many.

    `precede` says whether what follows is to go before the server: not where callers ask as fast as they can.
    """

    def __init__(
        self, job: Job, lines: Sequence[Connection], writer: Writer, clock: Clock = time.monotonic,
        nap: Callable[[float], None] = time.sleep, precede: Callable[[bool], None] = go_first,
    ) -> None:  # fmt: skip
        self._job = job
        self._lines = lines
        self._clock = clock
        self._start = clock()
        self._nap = nap
        self._precede = precede
        self._stopping = False
        self._sources: dict[tuple[str, str], int] = {}
        self._known: dict[int, _Known] = {}  # by length without the id
        self._column = writer.views
        self._kind: list[int] = job.schedule.kind.tolist()
        self._key: list[int] = job.schedule.key.tolist()
        self._due: list[float] = (job.schedule.due / 1e9).tolist()
        self.open = 0

    @property
    def sources(self) -> list[Source]:
        """Who has answered, in the order of the column's numbers."""
        return [Source(*key) for key in self._sources]

    def stop(self) -> None:
        """Send no more."""
        self._stopping = True

    # ---- sending ----

    def send_all(self, start: float) -> None:
        """The whole schedule from `start` on, span after span. Returns when all is sent and answered, or never will be.

        `start` is an instant of the monotonic clock, the same for all senders.
        """
        self._start = start
        for span in self._job.schedule.spans:
            self._precede(not span.in_flight)
            if span.in_flight:
                self._closed(span)
            else:
                self._open_loop(span)
        until = self._clock() + self._job.deadline + AFTER_S
        while self.open and self._clock() < until:
            self._take_in(until)
        for line in self._lines:
            line.close()

    def _open_loop(self, span: Span) -> None:
        place, start = span.first, self._start
        while place < span.last and not self._stopping:
            most = min(place + AT_ONCE, span.last)
            now = self._clock()
            while place < most and start + self._due[place] <= now:
                if self.open >= MOST_OPEN:
                    self._column["state"][place] = State.UNSENT
                else:
                    self._send(place)
                place += 1
            self._take_in(start + self._due[place] if place < span.last else now)
        for left in range(place, span.last):
            self._column["state"][left] = State.UNSENT

    def _closed(self, span: Span) -> None:
        begin, end = self._start + span.start, self._start + span.end
        while self._clock() < begin and not self._stopping:
            self._take_in(begin)
        place = span.first
        asking = min(span.in_flight, span.last - span.first)
        while self._clock() < end and not self._stopping:
            for _ in range(asking):
                if place < span.last:
                    self._send(place)
                    place += 1
            asking = sum(span.first <= answered < span.last for answered in self._take_in(end))

    def _take_in(self, until: float) -> list[int]:
        """Take in what is there, or sleep a moment, at most `until`. The places that were answered."""
        taken = []
        for line in self._lines:
            for _ in range(AT_ONCE):
                answer = line.receive()
                if answer is None:
                    break
                self.take(answer)
                taken.append(answer[0])
        self.open -= len(taken)
        if not taken and (left := until - self._clock()) > 0:
            self._nap(min(left, self._job.look if self.open else LONG_NAP_S))
        return taken

    def _send(self, place: int) -> None:
        job = self._job
        message = with_id(job.pools[self._kind[place]].messages[self._key[place]], job.schedule.id(place))
        self._column["sent"][place] = int((self._clock() - self._start) * 1e9)
        self._column["state"][place] = _OPEN
        self.open += 1
        self._lines[place % len(self._lines)].send(place, message, job.deadline)

    # ---- receiving ----

    def take(self, answer: Answer) -> None:
        """Write down what became of a request."""
        place, code, text, message = answer
        column = self._column
        column["done"][place] = int((self._clock() - self._start) * 1e9)
        marks = 0
        if code == 0:
            if message is None:
                code, marks = INTERNAL, Mark.EMPTY
            else:
                marks = self._look_at(place, message)
        elif code == DEADLINE_EXCEEDED and text in client.DeadlineExceeded.CLIENT_TEXTS:
            marks = Mark.OWN_DEADLINE
        column["code"][place] = code if code <= LAST_CODE else UNKNOWN
        column["marks"][place] = marks
        column["state"][place] = _DONE

    def _look_at(self, place: int, message: bytes) -> int:
        number = self._job.schedule.id(place)
        id_field = b"\x1a%c%d" % (len(str(number)), number)
        at = len(id_field)
        known = self._known.get(len(message) - at) if message.startswith(id_field) else None
        if known is None or message[at : at + len(known.text)] != known.text:
            known = self._read(str(number), message)
        column = self._column
        column["source"][place] = known.source
        column["generation"][place] = known.generation
        column["age"][place] = known.age_ms
        every = self._job.check_every
        if every and place % every == 0:
            return int(known.marks | self._compare(place, message, known.version))
        return known.marks

    def _read(self, bears: str, message: bytes) -> _Known:
        """What an answer says of itself. Servers repeat themselves: it is kept with the bytes that say it."""
        try:
            response = pb.ModelInferResponse.FromString(message if len(message) <= SMALL else without_elements(message))
        except DecodeError:
            return _Known(b"", self._source("", ""), 0, int(Mark.CHECKED | Mark.WRONG), "", NO_AGE)
        parameters = response.parameters
        served_by = parameters["served_by"].string_param if "served_by" in parameters else ""
        generation = 0
        if "generation" in parameters:
            generation = max(parameters["generation"].int64_param, parameters["generation"].uint64_param)
        age = parameters["age_ms"].int64_param if "age_ms" in parameters else NO_AGE
        marks = Mark.DEGRADED if "degraded" in parameters and parameters["degraded"].bool_param else Mark(0)
        version = response.model_version
        source = self._source(served_by, version)
        if response.id != bears:
            return _Known(b"", source, generation, int(marks | self._foreign(response.id)), version, age)
        text = about(message)
        known = _Known(text, source, generation, int(marks), "" if served_by in NOT_THE_MODEL else version, age)
        if text:
            self._known[len(message) - (2 + len(response.id))] = known
        return known

    def _source(self, served_by: str, version: str) -> int:
        return self._sources.setdefault((served_by, version), min(len(self._sources), MOST_SOURCES))

    def _foreign(self, bears: str) -> Mark:
        """The answer bears another id than its request: that of one of ours that was answered, or any other."""
        column = self._column
        if bears.isdecimal() and len(bears) < LONGEST_ID:
            place = self._job.schedule.place(int(bears))
            if place is not None and column["state"][place] == State.DONE and column["code"][place] == 0:
                return Mark.DUPLICATE
        return Mark.MISDIRECTED

    def _compare(self, place: int, message: bytes, version: str) -> Mark | int:
        expected = self._job.pools[self._kind[place]].expected.get(version)
        if expected is None:
            return 0
        try:
            reply = client.decode(message)
        except client.InferenceError:
            return Mark.CHECKED | Mark.WRONG
        return Mark.CHECKED | (Mark.WRONG if wrong(reply, expected[self._key[place]]) else 0)


def _fields(message: bytes) -> list[tuple[int, int, int]]:
    """Top-level fields as (number, start, end); empty when the message holds others than those with a length."""
    found = []
    at, end = 0, len(message)
    while at < end:
        start = at
        tag = message[at]
        if tag & 7 != 2 or tag > 0x7F:
            return []
        length = shift = 0
        while True:
            at += 1
            if at >= end:
                return []
            length |= (message[at] & 0x7F) << shift
            shift += 7
            if message[at] < 0x80:
                break
        at += 1 + length
        found.append((tag >> 3, start, at))
    return found


def without_elements(message: bytes) -> bytes:
    """A ModelInferResponse without its raw contents, which may be large; as it is when it cannot be read."""
    fields = _fields(message)
    return b"".join([message[start:end] for number, start, end in fields if number != _RAW]) if fields else message


def about(message: bytes) -> bytes:
    """What stands between the id of an answer, if it comes first, and its elements; empty when it is laid out else."""
    fields = _fields(message)
    if len(fields) < 2 or fields[0][0] != _ID or any(number == _ID for number, *_ in fields[1:]):
        return b""
    ends = next((start for number, start, _ in fields if number == _RAW), 0)
    after = [number for number, start, _ in fields if start >= ends]
    return message[fields[0][2] : ends] if ends and all(number == _RAW for number in after) else b""


def _keep_time() -> None:
    """Have sleeps end when they should: the kernel rounds them up by 50 µs unless told otherwise. And go before the
    server when both want a core; threads that are started from here on do so for good."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1_000, 0, 0, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -5)
    go_first(True)


def main(folder: Path) -> None:
    """Do the job in a folder: say that all is loaded, then wait on standard input for the instant of the start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells everybody; the harness decides
    job = Job.read(folder)
    _keep_time()
    sender = Sender(job, connections(job.target, job.connections), Writer(folder))
    gc.collect()
    gc.freeze()
    gc.disable()
    (folder / READY).touch()
    told = sys.stdin.readline()
    if not told:
        return  # the harness has gone
    signal.signal(signal.SIGTERM, lambda *_: sender.stop())
    sender.send_all(float(told))
    sources = [(source.served_by, source.version) for source in sender.sources]
    (folder / "sources.json").write_text(json.dumps(sources))
    os._exit(0)  # calls that never end must not keep the process


if __name__ == "__main__":
    main(Path(sys.argv[1]))
