"""The receiver of a webhook in load tests: what it believes, what it notes, how it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.receiver import Manner, Receiver, arrivals, genuine
from router.core.signature import signed

SECRET = b"a secret of tests"
BODY = b'{"id":"1"}'


@contextmanager
def listening(notes: Path, manner: Manner) -> Iterator[int]:
    """One that listens on any port."""
    receiver = Receiver(0, SECRET, notes, manner)
    thread = threading.Thread(target=receiver.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver.server_address[1]
    finally:
        receiver.shutdown()
        thread.join(10)
        receiver.server_close()


def sent(port: int, body: bytes, header: str, name: str = "1") -> int:
    """The status that came back."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/events", body, {"x-router-signature": header, "x-router-event": name})
    status = connection.getresponse().status
    connection.close()
    return status


def test_what_the_router_signs_is_genuine_for_five_minutes() -> None:
    """By words of the README alone; another body, another secret and another time are not."""
    header = signed(SECRET, 1_000_000, BODY)
    assert genuine(SECRET, header, BODY, 1_000_299.0)
    assert not genuine(SECRET, header, BODY, 1_000_301.0)
    assert not genuine(SECRET, header, BODY + b" ", 1_000_000.0)
    assert not genuine(b"another secret of tests", header, BODY, 1_000_000.0)
    assert not genuine(SECRET, header.replace("t=1000000", "t=1000001"), BODY, 1_000_000.0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["t=", "v1=", "v2=", ""]), st.text(max_size=20)), max_size=4))
def test_no_header_of_others_is_genuine(parts: list[tuple[str, str]]) -> None:
    """Whatever stands there, nothing is raised."""
    header = ",".join(name + value for name, value in parts)
    assert not genuine(SECRET, header, BODY, 1_000_000.0)


@pytest.mark.parametrize(("manner", "status"), [(Manner.TAKES, 204), (Manner.FAILS, 500)])
def test_what_comes_is_noted_before_it_is_answered(tmp_path: Path, manner: Manner, status: int) -> None:
    """With the manner in which it came, and whether it may be believed."""
    notes = tmp_path / "arrivals"
    assert arrivals(notes) == []
    with listening(notes, manner) as port:
        assert sent(port, BODY, "t=1,v1=0") == status
        assert sent(port, b"no JSON", "", "2") == status
    first, second = arrivals(notes)
    assert (first.event, first.manner, first.named, first.genuine) == (json.loads(BODY), manner, True, False)
    assert (second.event, second.named, second.genuine) == ({}, False, False)


def test_a_silent_one_takes_and_says_nothing(tmp_path: Path) -> None:
    """Until the sender hangs up."""
    notes = tmp_path / "arrivals"
    with listening(notes, Manner.SILENT) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=0.2)
        connection.request("POST", "/events", BODY, {"x-router-event": "1"})
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
    (arrival,) = arrivals(notes)
    assert (arrival.manner, arrival.named) == (Manner.SILENT, True)
