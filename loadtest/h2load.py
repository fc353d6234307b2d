"""h2load, the load generator: how it is called, what it prints, and when its figures may be believed.

h2load counts HTTP 200 as success, and a gRPC error is an HTTP 200 without a message. Therefore a run is believed only
when the bytes of all replies add up to the size of the right reply (`Summary.check`), besides the client that compares
answers during the run.

Its own `--warm-up-time` is not used: it leaves the requests of the warm-up out of the count but their bytes in, so the
bytes could no longer be checked. A warm-up is a run of its own that nobody counts.

A constant rate (`--rps`) is kept per connection by a timer of 10 ms: one connection at 1 000/s sends ten calls at once
every 10 ms, and connections that open together send together. So a paced load gets a connection for every 100 calls/s,
opened one after the other over those 10 ms: what is left are bursts of one millisecond.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from loadtest.errors import BenchError

PROGRAM: Final = "h2load"
MISSING: Final = "h2load is not installed: on Debian and Ubuntu, apt install nghttp2-client"
METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
FRAME_HEADER: Final = 5
TICK_MS: Final = 10
TICKS_PER_SECOND: Final = 100
"""How often h2load looks which calls are due on a connection."""
LATE: Final = 30.0
"""Seconds that h2load may take beyond its duration before it is ended."""

_MICROSECONDS: Final = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_FINISHED = re.compile(r"finished in \S+, ([\d.]+) req/s")
_REQUESTS = re.compile(
    r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)
_STATUS = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")
_DATA = re.compile(r"traffic: .*\((\d+)\) data")
_DURATION = r"([\d.]+)(us|ms|s|m|h)"
_LATENCY = re.compile(rf"time for request:\s+{_DURATION}\s+{_DURATION}\s+{_DURATION}\s+{_DURATION}")


@dataclass(frozen=True, slots=True)
class Load:
    """How many connections, how many calls at once on each, and (open loop) how many calls a second in all."""

    connections: int
    streams: int
    per_second: float | None = None

    @classmethod
    def paced(cls, per_second: float) -> Self:
        """An open loop: calls are sent when they are due, however many are still open (up to 64 a connection)."""
        return cls(math.ceil(per_second / TICKS_PER_SECOND), 64, per_second)

    @property
    def in_flight(self) -> int:
        """The most calls that can be open at one time."""
        return self.connections * self.streams

    @property
    def cut_off(self) -> int:
        """How many calls the end of a run may cut off: a paced run waits for its last answer."""
        return self.in_flight if self.per_second is None else 0

    def __str__(self) -> str:
        return f"{self.in_flight} in flight" if self.per_second is None else f"{self.per_second:.0f}/s"


@dataclass(frozen=True, slots=True)
class Summary:
    """One run of h2load. Latencies in microseconds, sizes in bytes."""

    per_second: float
    started: int
    succeeded: int
    failed: int
    other_than_2xx: int
    data: int
    min_us: float
    max_us: float
    mean_us: float
    sd_us: float

    def check(self, load: Load, reply: range) -> None:
        """Raise BenchError unless every call was answered by a message whose size lies in `reply`.

        What was still open at the end may have sent some of its bytes: at most `load.cut_off` replies more.
        """
        if self.failed or self.other_than_2xx or self.succeeded == 0:
            raise BenchError(
                f"of {self.started} calls {self.succeeded} succeeded, {self.failed} failed, "
                f"{self.other_than_2xx} had another status than 2xx"
            )
        least = self.succeeded * (reply.start + FRAME_HEADER)
        most = (self.succeeded + load.cut_off) * (reply.stop - 1 + FRAME_HEADER)
        if not least <= self.data <= most:
            raise BenchError(
                f"{self.succeeded} answers of {reply.start}–{reply.stop - 1} bytes each should be {least}–{most} "
                f"bytes, but {self.data} came: some calls got a gRPC error or a wrong answer"
            )


def parse(text: str) -> Summary:
    """Read what h2load prints at its end. Raises BenchError when it is not that."""
    finished, requests, status, data, latency = (
        pattern.search(text) for pattern in (_FINISHED, _REQUESTS, _STATUS, _DATA, _LATENCY)
    )
    if not (finished and requests and status and data and latency):
        raise BenchError("h2load printed no summary: " + " / ".join(text.strip().splitlines()[-3:]))
    _total, started, _done, succeeded, failed, errored, timeout = map(int, requests.groups())
    fields = latency.groups()
    low, high, mean, deviation = (float(fields[i]) * _MICROSECONDS[fields[i + 1]] for i in range(0, 8, 2))
    return Summary(
        per_second=float(finished[1]),
        started=started,
        succeeded=succeeded,
        failed=failed + errored + timeout,
        # A call that is still open at the end may have its status counted already: 2xx can exceed `succeeded`.
        other_than_2xx=sum(int(count) for count in status.groups()[1:]),
        data=int(data[1]),
        min_us=low,
        max_us=high,
        mean_us=mean,
        sd_us=deviation,
    )


def parse_log(text: str) -> list[float]:
    """Latencies in microseconds from the file that `--log-file` writes: start, status, microseconds per line."""
    latencies = []
    for line in text.splitlines():
        _start, status, micros = line.split("\t")[:3]
        if status != "200":
            raise BenchError(f"a call ended with HTTP status {status}")
        latencies.append(float(micros))
    return latencies


def command(port: int, body: Path, load: Load, seconds: float, log: Path | None = None) -> list[str]:
    """The command line that sends the frame in `body` to ModelInfer for `seconds` (paced: as many calls as are due)."""
    arguments = [PROGRAM, "-c", str(load.connections), "-m", str(load.streams)]
    if load.per_second is None:
        arguments += ["-D", f"{round(seconds * 1000)}ms"]
    else:
        each = load.per_second / load.connections
        arguments += ["-n", str(max(1, round(each * seconds)) * load.connections), "--rps", f"{each:.3f}"]
        arguments += ["-r", str(math.ceil(load.connections / TICK_MS)), "--rate-period", "1ms"]
    arguments += ["-d", str(body)]
    for header in ("content-type: application/grpc", "te: trailers", "grpc-timeout: 5S"):
        arguments += ["-H", header]
    if log is not None:
        arguments += ["--log-file", str(log)]
    return [*arguments, f"http://127.0.0.1:{port}{METHOD}"]


def version() -> str | None:
    """What `h2load --version` says; None when it is not installed."""
    if shutil.which(PROGRAM) is None:
        return None
    printed = subprocess.run([PROGRAM, "--version"], check=False, capture_output=True, text=True).stdout
    return printed.strip().removeprefix(f"{PROGRAM} ")


class Run:
    """One h2load at work. As a context manager it is ended in any case."""

    def __init__(self, port: int, body: Path, load: Load, seconds: float, log: Path | None = None) -> None:
        self._limit = seconds + LATE
        self._process = subprocess.Popen(
            command(port, body, load, seconds, log), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def summary(self) -> Summary:
        """Wait for the end. Raises BenchError when it hangs or prints no summary."""
        try:
            text, _ = self._process.communicate(timeout=self._limit)
        except subprocess.TimeoutExpired:
            raise BenchError(f"h2load did not end within {self._limit:.0f} s") from None
        return parse(text)


def run(port: int, body: Path, load: Load, seconds: float, log: Path | None = None) -> Summary:
    """One whole run."""
    with Run(port, body, load, seconds, log) as running:
        return running.summary()
