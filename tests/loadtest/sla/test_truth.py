"""The harness against a server that knows its own true times. `make prove` runs it: it needs a clock."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from loadtest.sla.requests import Pool
from loadtest.sla.result import verdict
from loadtest.sla.run import Run, run, subject
from loadtest.sla.scenario import parse
from tests.loadtest.sla.truthful_server import Deal, Truthful

pytestmark = pytest.mark.prove

TOLERANCE = 0.03
SHORTEST_S = 0.1
"""What the server takes at least, and the least that is measured."""
TRIES = 5

TEXT = """
title = "Truth"
deadline = "{deadline}"
connections = 2
check = "100%"
lag = "20ms"
[[mix]]
model = "m"
inputs = 1
[[phase]]
name = "it"
lasts = "{lasts}"
{arrivals}
[sla]
wrong = 20
duplicates = 20
"""
OPEN = 'arrivals = "poisson"\nrate = "400/s"'


def measure(server: Truthful, arrivals: str = OPEN, lasts: str = "10s", deadline: str = "5s") -> dict[str, Any]:
    """A run whose answers must be 0."""
    scenario = parse(TEXT.format(deadline=deadline, lasts=lasts, arrivals=arrivals), "it.toml")
    with server.serving(), subject(scenario, server.target) as found, TemporaryDirectory() as folder:
        message = b"\x0a\x01m"
        pool = Pool([message], {"1": [{"y": np.zeros(1, np.float32)}]})
        return Run(scenario, found, Path(folder), (pool,)).execute()


def truth(server: Truthful) -> dict[str, float]:
    """The percentiles of the server's own times."""
    took = np.array([went - came for came, went in server.times])
    return {name: float(np.quantile(took, share)) for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}


@pytest.mark.parametrize(
    "script",
    [
        lambda *_: Deal(0.1),
        lambda number, _: Deal(0.3 if number % 50 == 0 else 0.1),
        lambda _, seconds: Deal(max(0.1, 5.0 - seconds) if 3.0 <= seconds < 5.0 else 0.1),
    ],
    ids=["fixed", "bimodal", "stall"],
)
def test_percentiles_are_those_of_the_server(script: Any) -> None:
    """p50, p99 and p99.9 within three percent of its own true times.

    A sender that says itself that it lost its core for longer than the tolerance is no proof against it: once more.
    """
    for _ in range(TRIES):
        server = Truthful(script)
        document = measure(server)
        assert not document["invalid"]
        latency, true = document["measured"]["latency"], truth(server)
        close = {name: latency[name] == pytest.approx(value, rel=TOLERANCE) for name, value in true.items()}
        if all(close.values()) or document["measured"]["lag"]["max"] < TOLERANCE * SHORTEST_S:
            break
    assert all(close.values()), (latency, true)


def test_a_stall_is_hidden_by_a_closed_loop() -> None:
    """Two seconds in which nothing is answered: open loop says so, closed loop does not, and says that it hides it."""

    def script(_: int, seconds: float) -> Deal:
        return Deal(max(0.02, 5.0 - seconds) if 3.0 <= seconds < 5.0 else 0.02)

    opened, closed = (measure(Truthful(script), arrivals) for arrivals in (OPEN, 'arrivals = "closed"\nin_flight = 2'))
    assert opened["measured"]["latency"]["p99"] > 1.5
    assert closed["measured"]["latency"]["p99"] < 0.1
    assert (opened["closed_loop"], closed["closed_loop"]) == (False, True)


def test_every_kind_of_bad_answer_is_found() -> None:
    """As many dropped, duplicated, wrong, late and refused ones as the server has dealt."""
    dealt = dict.fromkeys(("dropped", "duplicated", "wrong", "late", "refused"), 0)
    kinds = {3: "dropped", 11: "duplicated", 23: "wrong", 31: "late", 43: "refused"}

    def script(number: int, _: float) -> Deal:
        kind = kinds.get(number % 50, "")
        if kind:
            dealt[kind] += 1
        return {
            "dropped": Deal(None),
            "duplicated": Deal(0.3, id=str(number - 11)),
            "wrong": Deal(0.0, value=1.0),
            "late": Deal(0.6),
            "refused": Deal(0.0, refused=True),
        }.get(kind, Deal(0.0))

    document = measure(Truthful(script), 'arrivals = "constant"\nrate = "200/s"', lasts="5s", deadline="500ms")
    counts = document["measured"]["counts"]
    assert min(dealt.values()) == 20
    assert counts["due"] == 1000
    assert counts["duplicates"] == dealt["duplicated"]
    assert counts["wrong"] == dealt["wrong"]
    assert counts["errors"]["DEADLINE_EXCEEDED"] == dealt["refused"]
    # What comes after the deadline and what never comes is one to a caller of gRPC: its own deadline ends both.
    assert counts["errors"]["DEADLINE_EXCEEDED (client's own)"] == dealt["dropped"] + dealt["late"]
    assert verdict(document)[0] == "PASS"


FAST = """
title = "Fast"
check = "0%"
[server]
models = "made"
workers = 1
[[mix]]
model = "tiny"
[[phase]]
name = "warm-up"
arrivals = "constant"
rate = "1000/s"
lasts = "1s"
measured = false
[[phase]]
name = "it"
arrivals = "constant"
rate = "8000/s"
lasts = "5s"
"""


def test_a_sender_keeps_its_schedule_at_eight_thousand_a_second() -> None:
    """One process, one core: everything is sent, half of it within a millisecond of its instant."""
    measured = run(parse(FAST, "fast.toml"), None)["measured"]
    assert (measured["counts"]["due"], measured["counts"]["unsent"]) == (40_000, 0)
    assert measured["lag"]["p50"] < 0.001
