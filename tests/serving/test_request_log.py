"""Lines about single requests: with their ids, bounded in number and in length."""

from __future__ import annotations

from structlog.testing import capture_logs

from router.serving.request_log import LONGEST, MOST, SHOWN, RequestLog


class FakeCall:
    """A call with an id, as it travels."""

    def __init__(self, name: str) -> None:
        text = name.encode()
        size, length = b"", len(text)
        while length > 0x7F:
            size += bytes([length & 0x7F | 0x80])
            length >>= 7
        self.id_field = b"\x1a" + size + bytes([length]) + text if text else b""


def test_a_line_names_the_requests_that_it_is_about() -> None:
    """One, several or none; what has no id is left out, and of many some are named."""
    log = RequestLog(lambda: 0.0)
    with capture_logs() as lines:
        log.tell("it failed", [FakeCall("a")], "because", model="m")  # type: ignore[list-item]
        log.tell("it failed", map(FakeCall, ["a", "", "b"]), model="m")  # type: ignore[arg-type]
        log.tell("it failed", [FakeCall("")])  # type: ignore[list-item]
        log.tell("it failed", map(FakeCall, map(str, range(100))))  # type: ignore[arg-type]
    assert lines[0] == {
        "event": "it failed",
        "log_level": "warning",
        "model": "m",
        "reason": "because",
        "request_id": "a",
    }
    assert lines[1]["request_ids"] == ["a", "b"]
    assert not {"request_id", "request_ids"} & set(lines[2])
    assert lines[3]["request_ids"] == [str(number) for number in range(SHOWN)]


def test_a_storm_is_told_and_not_written_line_by_line() -> None:
    """So many a second of each kind; the next line says how many were left out."""
    now = [100.0]
    log = RequestLog(lambda: now[0])
    with capture_logs() as lines:
        for _ in range(1000):
            log.tell("it failed", [])
        log.tell("something else", [])
        now[0] += 1.0
        log.tell("it failed", [])
        log.tell("it failed", [])
    assert [line["event"] for line in lines] == ["it failed"] * MOST + ["something else"] + ["it failed"] * 2
    assert [line.get("untold") for line in lines[-2:]] == [1000 - MOST, None]


def test_a_fault_of_ours_comes_with_its_traceback() -> None:
    """It is our own, and nobody else sees it."""
    with capture_logs() as lines:
        try:
            raise ValueError("a fault")
        except ValueError:
            RequestLog(lambda: 0.0).fault("a run failed", [FakeCall("a")])  # type: ignore[list-item]
    assert (lines[0]["log_level"], lines[0]["exc_info"], lines[0]["request_id"]) == ("error", True, "a")


def test_an_id_is_not_endless() -> None:
    """What a caller names its request takes so much of a line at most; it is text, whatever bytes it is."""
    log = RequestLog(lambda: 0.0)
    with capture_logs() as lines:
        log.tell("it failed", [FakeCall("é" * 10_240)])  # type: ignore[list-item]
    assert len(lines[0]["request_id"]) == LONGEST
    assert lines[0]["request_id"].endswith("é…")
