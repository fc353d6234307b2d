"""What a server costs below its capacity, and what one model does to another's tail.

Both reports drive at a constant rate (open loop): h2load sends a call when it is due, however long others take, so
slow answers do not thin out the load that would show them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from loadtest import h2load
from loadtest.cells import BESIDE_TARGET, CONNECTIONS
from loadtest.cpu import CpuMeter
from loadtest.h2load import Load
from loadtest.measure import Bench
from loadtest.plan import Plan
from loadtest.ratio import Ratio, interval, percentile
from loadtest.servers import DEFAULT_WORKERS, Server, ServerSpec, ours

SHARES: Final = (0.1, 0.5)
IDLE_SECONDS: Final = 5.0
FULL: Final = Load(CONNECTIONS, 8)
"""Closed loop: what a server can do at most."""
PROBE_PER_SECOND: Final = 500.0
"""The low rate at which the tail of `tiny` is watched."""
BESIDE_SECONDS: Final = 4.0
"""At least so long, for 2 000 calls: their p99 is the 20 slowest."""
LEAD: Final = 0.5
"""Seconds by which the neighbour's load begins before the watching and ends after it."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """At a constant rate (requests/s): CPU µs per request and latencies in µs, medians over rounds."""

    server: str
    model: str
    offered: float
    achieved: float
    cpu_us: float
    mean_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class CpuReport:
    """CPU of our server with spinning and without; idle CPU in percent of one core."""

    capacity: dict[str, float]
    costs: list[Cost]
    idle_percent: dict[str, float]


@dataclass(frozen=True, slots=True)
class BesideReport:
    """p99 of `tiny` in µs, alone and beside `mid` at half of its capacity (medians over rounds)."""

    server: str
    mid_per_second: float
    alone_us: float
    beside_us: float
    ratio: Ratio

    @property
    def meets(self) -> bool:
        """Whether the tail stays within the target."""
        return self.ratio.median <= BESIDE_TARGET


def cpu_report(bench: Bench, plan: Plan, progress: Progress) -> CpuReport:
    """Our default server with spinning on and off: idle, and at shares of its capacity."""
    specs = [ours("spin on", DEFAULT_WORKERS), ours("spin off", DEFAULT_WORKERS, spin_us=0)]
    with bench.servers(specs) as servers:
        idle = {}
        for server in servers:
            progress(f"{server.spec.name}: idle")
            idle[server.spec.name] = _idle(server)
        capacity = {}
        costs = []
        for model in plan.models:
            for server in servers:
                bench.compare(server, model)
            progress(f"{servers[0].spec.name}: capacity of {model}")
            capacity[model] = _capacity(bench, servers[0], model, plan.seconds)
            for share in SHARES:
                rate = capacity[model] * share
                seen: dict[str, list[Cost]] = {server.spec.name: [] for server in servers}
                for number in range(plan.rounds):
                    for server in _turned(servers, number):
                        progress(f"round {number + 1}: {server.spec.name}, {model} at {share:.0%}")
                        seen[server.spec.name].append(_cost(bench, server, model, rate, plan.seconds))
                costs += [_middle(each) for each in seen.values()]
    return CpuReport(capacity, costs, idle)


def beside_report(bench: Bench, plan: Plan, spec: ServerSpec, progress: Progress) -> BesideReport:
    """The tail of `tiny` alone and beside a loaded `mid`, in turns."""
    seconds = max(plan.seconds, BESIDE_SECONDS)
    load = Load.paced(PROBE_PER_SECOND)
    with bench.servers([spec]) as (server,):
        for model in ("tiny", "mid"):
            bench.compare(server, model)
        progress(f"{spec.name}: capacity of mid")
        rate = _capacity(bench, server, "mid", seconds) / 2
        neighbour = Load.paced(rate)
        alone, beside = [], []
        for number in range(plan.rounds):
            progress(f"round {number + 1}: {spec.name}, tiny alone")
            alone.append(_p99(bench, server, "tiny", load, seconds))
            progress(f"round {number + 1}: {spec.name}, tiny beside mid")
            with h2load.Run(server.port, bench.bodies["mid"], neighbour, seconds + 2 * LEAD) as running:
                time.sleep(LEAD)
                beside.append(_p99(bench, server, "tiny", load, seconds))
                running.summary().check(neighbour, bench.reply_sizes(server, "mid"))
    ratio = interval([slow / fast for slow, fast in zip(beside, alone, strict=True)])
    return BesideReport(spec.name, rate, median(alone), median(beside), ratio)


def _idle(server: Server) -> float:
    before = CpuMeter.read(server.pids)
    time.sleep(IDLE_SECONDS)
    return CpuMeter.read(server.pids).seconds_since(before) / IDLE_SECONDS * 100


def _capacity(bench: Bench, server: Server, model: str, seconds: float) -> float:
    bench.warm(server, model, FULL)
    return bench.run(server, model, FULL, seconds)[0].per_second


def _cost(bench: Bench, server: Server, model: str, rate: float, seconds: float) -> Cost:
    load = Load.paced(rate)
    with TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        summary, cpu, compared = bench.run(server, model, load, seconds, log)
        latencies = h2load.parse_log(log.read_text())
    return Cost(
        server=server.spec.name,
        model=model,
        offered=rate,
        achieved=summary.per_second,
        cpu_us=cpu * 1e6 / (summary.succeeded + compared),
        mean_us=summary.mean_us,
        p99_us=percentile(latencies, 0.99),
    )


def _p99(bench: Bench, server: Server, model: str, load: Load, seconds: float) -> float:
    with TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        bench.run(server, model, load, seconds, log)
        return percentile(h2load.parse_log(log.read_text()), 0.99)


def _middle(costs: list[Cost]) -> Cost:
    return replace(
        costs[0],
        achieved=median(cost.achieved for cost in costs),
        cpu_us=median(cost.cpu_us for cost in costs),
        mean_us=median(cost.mean_us for cost in costs),
        p99_us=median(cost.p99_us for cost in costs),
    )


def _turned(servers: list[Server], number: int) -> list[Server]:
    start = number % len(servers)
    return servers[start:] + servers[:start]
