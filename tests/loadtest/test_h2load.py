"""h2load: what is read from its output, and when its figures are not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest import h2load
from loadtest.errors import BenchError
from loadtest.h2load import Load, Summary

PRINTED = """\
starting benchmark...
spawning thread #0: 8 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration
Main benchmark duration is started for thread #0.
progress: 100% of clients started
Application protocol: h2c
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 2.00s, 8104.50 req/s, 1.24MB/s
requests: 16209 total, 16273 started, 16209 done, 16209 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 16210 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.49MB (2606634) total, 48.07KB (49227) headers (space savings 96.25%), 1.62MB (1701945) data
                     min         max         mean         sd        +/- sd
time for request:      830us     39.84ms      7.86ms      3.09ms    86.56%
time for connect:       95us       200us       153us        35us    62.50%
time to 1st byte:     1.57ms     19.06ms     11.56ms      5.89ms    75.00%
req/s           :    1004.43     1017.45     1012.99        5.26    75.00%
"""

LOAD = Load(connections=8, streams=8)
EXACTLY_100 = range(100, 101)


def summary(**changed: int) -> Summary:
    """1 000 calls answered by 100 bytes each."""
    figures = {"started": 1010, "succeeded": 1000, "failed": 0, "other_than_2xx": 0, "data": 105_000} | changed
    return Summary(per_second=500.0, min_us=1, max_us=4, mean_us=2, sd_us=1, **figures)


def test_reads_the_summary() -> None:
    """Rate, counts, bytes of data, and latencies in microseconds whatever unit each was printed in."""
    assert h2load.parse(PRINTED) == Summary(
        per_second=8104.5,
        started=16273,
        succeeded=16209,
        failed=0,
        other_than_2xx=0,
        data=1701945,
        min_us=830,
        max_us=39840,
        mean_us=7860,
        sd_us=3090,
    )


def test_counts_every_kind_of_failure() -> None:
    """Failed, errored and timed-out calls add up; so do statuses that are not 2xx."""
    text = PRINTED.replace("0 failed, 0 errored, 0 timeout", "1 failed, 2 errored, 4 timeout")
    text = text.replace("0 3xx, 0 4xx, 0 5xx", "1 3xx, 2 4xx, 4 5xx")
    read = h2load.parse(text)
    assert (read.failed, read.other_than_2xx) == (7, 7)


def test_no_summary_is_an_error_that_quotes_the_end() -> None:
    """A run that printed something else says what it printed last."""
    with pytest.raises(BenchError, match="Connection refused"):
        h2load.parse("starting benchmark...\nConnection refused\n")


def test_believes_a_clean_run() -> None:
    """All answers of the right size: nothing is raised."""
    summary().check(LOAD, EXACTLY_100)


def test_believes_answers_cut_off_by_the_end() -> None:
    """Calls still open at the end may have sent up to all of their bytes."""
    summary(data=105_000 + LOAD.in_flight * 105).check(LOAD, EXACTLY_100)


def test_sees_grpc_errors_behind_http_200() -> None:
    """A gRPC error has no message: one missing answer is enough to notice."""
    with pytest.raises(BenchError, match="gRPC error"):
        summary(data=105_000 - 105).check(LOAD, EXACTLY_100)


def test_sees_answers_that_are_too_long() -> None:
    """More bytes than the calls in flight can explain."""
    with pytest.raises(BenchError, match="wrong answer"):
        summary(data=105_000 + LOAD.in_flight * 105 + 1).check(LOAD, EXACTLY_100)


@pytest.mark.parametrize("changed", [{"failed": 1}, {"succeeded": 0}, {"other_than_2xx": 1}])
def test_failed_calls_are_not_believed(changed: dict[str, int]) -> None:
    """One failed call, no call at all, or one HTTP error spoils a run."""
    with pytest.raises(BenchError, match="succeeded"):
        summary(**changed).check(LOAD, EXACTLY_100)


def test_reads_the_log_of_latencies() -> None:
    """The third column, in microseconds."""
    assert h2load.parse_log("1795453729712765\t200\t877\n1795453729712837\t200\t935\n") == [877, 935]


def test_a_failed_line_of_the_log_is_an_error() -> None:
    """Status -1 is a stream that failed."""
    with pytest.raises(BenchError, match="-1"):
        h2load.parse_log("1795453729712765\t-1\t877\n")


def test_command_of_a_closed_loop() -> None:
    """Connections, streams, duration in ms, the body, the headers of gRPC, and the method."""
    command = h2load.command(8001, Path("body"), Load(8, 2), 2.0)
    assert command[:9] == ["h2load", "-c", "8", "-m", "2", "-D", "2000ms", "-d", "body"]
    assert command[-1] == "http://127.0.0.1:8001/inference.GRPCInferenceService/ModelInfer"
    assert {"content-type: application/grpc", "te: trailers", "grpc-timeout: 5S"} < set(command)
    assert "--rps" not in command


def test_command_of_an_open_loop() -> None:
    """A connection for every 100 calls/s, opened over 10 ms; it ends by number, so that no answer is cut off."""
    load = Load.paced(1950.0)
    assert (load.connections, load.cut_off) == (20, 0)
    command = h2load.command(8001, Path("body"), load, 2.0, Path("log"))
    options = dict(zip(command[1:-1:2], command[2:-1:2], strict=True))
    assert (options["-n"], options["--rps"]) == ("3900", "97.500")
    assert (options["-r"], options["--rate-period"]) == ("2", "1ms")
    assert options["--log-file"] == "log"
    assert "-D" not in options


def test_a_paced_run_has_all_its_bytes() -> None:
    """Not one more than its answers have."""
    with pytest.raises(BenchError, match="wrong answer"):
        summary(data=105_001).check(Load.paced(500.0), EXACTLY_100)
