"""A sender process: sends its part of the schedule at the instants that it says, whatever becomes of the answers.

    python -m loadtest.sla.sender FOLDER

One thread sends, one for each connection receives. What comes back goes into the columns of the folder.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from loadtest.sla.core_client import Answer, Connection, connections
from loadtest.sla.job import Job
from loadtest.sla.records import Mark, Source, State, Writer
from loadtest.sla.requests import with_id, wrong
from loadtest.sla.schedule import Span
from router import client
from router.pb import inference_pb2 as pb

MOST_OPEN: Final = 20_000
"""Requests that may be open at one time; more are counted as not sent."""
MOST_SOURCES: Final = 255
NAP_S: Final = 0.05
AFTER_S: Final = 2.0
"""After the last deadline: what has not come by then never comes."""
SMALL: Final = 32 << 10
DEADLINE_EXCEEDED: Final = 4

Clock = Callable[[], float]


class Sender:
    """Sends a job over connections. `clock` gives seconds of the monotonic clock, `nap` sleeps for so many."""

    def __init__(
        self, job: Job, lines: Sequence[Connection], writer: Writer, clock: Clock = time.monotonic,
        nap: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._job = job
        self._lines = lines
        self._clock = clock
        self._nap = nap
        self._stopping = False
        self._sent = 0
        self._received = [0] * len(lines)
        self._sources: dict[tuple[str, str], int] = {}
        self._sources_lock = threading.Lock()
        self._column = writer.views
        self._kind: list[int] = job.schedule.kind.tolist()
        self._key: list[int] = job.schedule.key.tolist()
        # Where closed phases stand: place by place, taken by whoever asks next.
        self._next = {span.first: itertools.count(span.first) for span in job.schedule.spans if span.in_flight}

    @property
    def sources(self) -> list[Source]:
        """Who has answered, in the order of the column's numbers."""
        return [Source(*key) for key in self._sources]

    @property
    def open(self) -> int:
        """Requests that wait for their answers."""
        return self._sent - sum(self._received)

    def stop(self) -> None:
        """Send no more."""
        self._stopping = True

    # ---- sending ----

    def send_all(self) -> None:
        """The whole schedule, span after span. Returns when all is sent and answered, or will never be."""
        for span in self._job.schedule.spans:
            if span.in_flight:
                self._closed(span)
            else:
                self._open_loop(span)
        until = self._clock() + self._job.deadline + AFTER_S
        while self.open and self._clock() < until:
            self._nap(min(NAP_S, max(0.0, until - self._clock())))
        for line in self._lines:
            line.close()

    def _open_loop(self, span: Span) -> None:
        start, due = self._job.start, self._job.schedule.due.tolist()
        state = self._column["state"]
        for place in range(span.first, span.last):
            at = start + due[place] / 1e9
            while (left := at - self._clock()) > 0 and not self._stopping:
                self._nap(min(left, NAP_S))
            if self._stopping or self.open >= MOST_OPEN:
                state[place] = State.UNSENT
            else:
                self._sent += 1
                self._send(place)

    def _closed(self, span: Span) -> None:
        begin, end = self._job.start + span.start, self._job.start + span.end
        while (left := begin - self._clock()) > 0 and not self._stopping:
            self._nap(min(left, NAP_S))
        for _ in range(span.in_flight):
            self._sent += self._ask_next(span)
        while (left := end - self._clock()) > 0 and not self._stopping:
            self._nap(min(left, NAP_S))

    def _ask_next(self, span: Span) -> bool:
        """One caller asks again; False when the phase is over."""
        place = next(self._next[span.first])
        if place >= span.last or self._stopping or self._clock() >= self._job.start + span.end:
            return False
        self._send(place)
        return True

    def _send(self, place: int) -> None:
        job = self._job
        message = with_id(job.pools[self._kind[place]].messages[self._key[place]], place)
        self._column["state"][place] = State.OPEN
        self._column["sent"][place] = int((self._clock() - job.start) * 1e9)
        self._lines[place % len(self._lines)].send(place, message, job.deadline)

    # ---- receiving ----

    def receive_all(self, index: int) -> None:
        """Take in what comes over one connection, until it is closed."""
        line = self._lines[index]
        spans = [span for span in self._job.schedule.spans if span.in_flight]
        while (answer := line.receive()) is not None:
            self.take(answer)
            # A caller that asks again at once leaves the number of open requests as it is.
            if not any(span.first <= answer[0] < span.last and self._ask_next(span) for span in spans):
                self._received[index] += 1

    def take(self, answer: Answer) -> None:
        """Write down what became of a request."""
        place, code, text, message = answer
        column = self._column
        column["done"][place] = int((self._clock() - self._job.start) * 1e9)
        column["code"][place] = code
        marks = 0
        if code == 0 and message is not None:
            marks = self._look_at(place, message)
        elif code == DEADLINE_EXCEEDED and text in client.DeadlineExceeded.CLIENT_TEXTS:
            marks = Mark.OWN_DEADLINE
        column["marks"][place] = marks
        column["state"][place] = State.DONE

    def _look_at(self, place: int, message: bytes) -> int:
        response = pb.ModelInferResponse.FromString(message if len(message) <= SMALL else without_elements(message))
        parameters = response.parameters
        served_by = parameters["served_by"].string_param if "served_by" in parameters else ""
        self._column["source"][place] = self._source(served_by, response.model_version)
        if "generation" in parameters:
            given = parameters["generation"]
            self._column["generation"][place] = given.int64_param or given.uint64_param
        marks = Mark.DEGRADED if "degraded" in parameters and parameters["degraded"].bool_param else 0
        if response.id != str(place):
            marks |= self._foreign(response.id)
        every = self._job.check_every
        if every and place % every == 0:
            marks |= self._compare(place, message, response.model_version)
        return int(marks)

    def _foreign(self, bears: str) -> Mark:
        """The answer bears another id than its request."""
        state = self._column["state"]
        if bears.isdecimal() and int(bears) < len(state) and state[int(bears)] == State.DONE:
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

    def _source(self, served_by: str, version: str) -> int:
        key = (served_by, version)
        number = self._sources.get(key)
        if number is None:
            with self._sources_lock:
                number = self._sources.setdefault(key, min(len(self._sources), MOST_SOURCES))
        return number


def without_elements(message: bytes) -> bytes:
    """A ModelInferResponse without its raw contents, which may be large; as it is when it cannot be read."""
    kept = []
    at, end = 0, len(message)
    while at < end:
        start = at
        tag = message[at]
        if tag & 7 != 2 or tag > 0x7F:
            return message
        length = shift = 0
        while True:
            at += 1
            if at >= end:
                return message
            length |= (message[at] & 0x7F) << shift
            shift += 7
            if message[at] < 0x80:
                break
        at += 1 + length
        if tag >> 3 != pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER:
            kept.append(message[start:at])
    return b"".join(kept)


def main(folder: Path) -> None:
    """Do the job in a folder."""
    job = Job.read(folder)
    sender = Sender(job, connections(job.target, job.connections), Writer(folder, len(job.schedule)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells everybody; the harness decides
    signal.signal(signal.SIGTERM, lambda *_: sender.stop())
    receivers = [
        threading.Thread(target=sender.receive_all, args=(index,), daemon=True) for index in range(len(job.connections))
    ]
    for receiver in receivers:
        receiver.start()
    sender.send_all()
    for receiver in receivers:
        receiver.join(5)
    sources = [(source.served_by, source.version) for source in sender.sources]
    (folder / "sources.json").write_text(json.dumps(sources))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
