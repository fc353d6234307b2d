"""`make trials`: what twenty trials at once, on twenty models, cost the requests that are served meanwhile.

Four servers take turns under the same load, 2 000 requests a second over all models: one where nothing is on trial, one
that keeps the ledger which a trial needs, one where each model has a challenger on trial that runs copies of the
champion's requests, and one where each has a challenger on trial that answers a tenth of them. Whoever went first goes
last in the next round. What is measured is how many requests the worker answers with a second of its CPU time, all of
its threads together: throughput depends on who else has the cores. The figures are ratios of the same round.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import psutil
from rich.console import Console
from rich.progress import Progress

from loadtest import bench_models, h2load
from loadtest.cpu import family
from loadtest.errors import BenchError
from loadtest.h2load import Load
from loadtest.ratio import Ratio, ratio
from loadtest.servers import Place, Server, ServerSpec, free_port, started
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb import inference_pb2 as pb

MODELS: Final = tuple(f"tiny-{number:02}" for number in range(20))
LOAD: Final = Load.paced(100.0)
"""For each model."""
SHARE: Final = 10.0
"""In percent."""
SHADOWS: Final = "trials of shadows to ledgers"
LEAST: Final = 0.98
"""Of the requests that a server with ledgers alone answers."""
FIRST: Final = "[lifecycle]\ninitial_champion = 1\n"
LEDGER: Final = f"{FIRST}[ledger]\nenabled = true\n"
SERVERS: Final = {
    "nothing on trial": FIRST,
    "ledgers": LEDGER,
    "20 trials of shadows": LEDGER,
    "20 trials of shares": LEDGER,
}


def _spec(title: str, admin: int) -> ServerSpec:
    def commands(place: Place) -> list[list[str]]:
        command = [sys.executable, "-m", "router.app.cli", "serve", "--models", str(place.models), "--workers", "1"]
        for flag, port in (("--grpc", place.port), ("--http", free_port()), ("--admin", admin)):
            command += [flag, f"127.0.0.1:{port}"]
        return [[*command, "--state", str(place.scratch / "state"), "--spin", "0"]]

    return ServerSpec(title, title, commands, listeners=1)


def _make(repository: Path, settings: str) -> None:
    """Twenty models of two versions."""
    plain = repository.with_name("plain")
    for version in ("1", "2"):
        bench_models.make(plain, ("tiny",), version)
    for name in MODELS:
        shutil.copytree(plain / "tiny", repository / name)
        (repository / name / "model.toml").write_text(settings, encoding="utf-8")


def _bodies(folder: Path, repository: Path) -> list[Path]:
    """A request for each model, as a file for h2load. Its id is its model's name."""
    (question,) = bench_models.questions(repository.with_name("plain"), "tiny", 1)
    made = []
    for name in MODELS:
        message = pb.ModelInferRequest.FromString(question.request)
        message.model_name = message.id = name
        made.append(folder / f"{name}.frame")
        made[-1].write_bytes(bench_models.frame(message.SerializeToString()))
    return made


@contextmanager
def _on_trial(admin: int, progress: Progress, share: float) -> Iterator[None]:
    """Each model's version 2 is tested, has a share or, without one, runs copies, and is on trial."""
    with AdminClient(f"127.0.0.1:{admin}") as client:
        for name in progress.track(MODELS, description="trials begin"):
            client.test(name, "2", "to be a challenger")
            client.challenge(name, "2", share, shadow=not share, reason="is it better?")
            client.start_trial(name, "2", "is it better?")
        yield
        going = client.cases(kind="trial", only_open=True)
        if len(going) != len(MODELS):
            raise BenchError(f"{len(going)} of {len(MODELS)} trials went on to the end")


def _worker(server: Server) -> int:
    """The worker's process id."""
    for pid in family(server.pids):
        if "router.app.worker" in psutil.Process(pid).cmdline():
            return pid
    raise BenchError(f"{server.spec.title}: it has no worker\n{server.tail()}")


def _answered(server: Server, bodies: list[Path], seconds: float) -> float:
    """Requests of all models together for a second of the worker's CPU time; all of them answered."""
    worker = psutil.Process(_worker(server))
    before = worker.cpu_times()
    with ExitStack() as stack:
        runs = [stack.enter_context(h2load.Run(server.port, body, LOAD, seconds)) for body in bodies]
        found = [run.summary() for run in runs]
    after = worker.cpu_times()
    server.check_alive()
    lost = sum(each.failed + each.other_than_2xx for each in found)
    if lost:
        raise BenchError(f"{server.spec.title}: {lost} requests were not answered\n{server.tail()}")
    spent = after.user + after.system - before.user - before.system
    return sum(each.succeeded for each in found) / spent


def measure(rounds: int, seconds: float, out: Console) -> dict[str, list[float]]:
    """Requests for a second of CPU time, by server, round by round."""
    rates: dict[str, list[float]] = {title: [] for title in SERVERS}
    with TemporaryDirectory(prefix="trials-") as scratch, ExitStack() as stack:
        progress = stack.enter_context(Progress(console=out, transient=True))
        servers: list[Server] = []
        bodies: list[Path] = []
        for title, settings in SERVERS.items():
            repository = Path(scratch) / str(len(servers)) / "models"
            repository.mkdir(parents=True)
            _make(repository, settings)
            bodies = bodies or _bodies(Path(scratch), repository)
            admin = free_port()
            servers.append(stack.enter_context(started(_spec(title, admin), repository, MODELS)))
            if "trials" in title:
                stack.enter_context(_on_trial(admin, progress, SHARE if "shares" in title else 0.0))
        for server in servers:
            _answered(server, bodies, seconds)  # not counted
        task = progress.add_task("rounds", total=rounds * len(servers))
        for turn in range(rounds):
            first = turn % len(servers)
            for server in itertools.chain(servers[first:], servers[:first]):
                rates[server.spec.name].append(_answered(server, bodies, seconds))
                progress.advance(task)
    return rates


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.2), default=3.0, show_default=True, help="Of each measurement.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("loadtest/results/trials.json"))
def main(rounds: int, seconds: float, json_path: Path) -> None:
    """Measure; exit 1 when trials of shadows take more than 2 %."""
    out = Console()
    try:
        rates = measure(rounds, seconds, out)
    except (BenchError, RouterError) as error:
        raise click.ClickException(str(error)) from error
    nothing, ledgers, shadows, shares = rates.values()
    ratios: dict[str, Ratio] = {
        "ledgers to nothing": ratio(ledgers, nothing),
        SHADOWS: ratio(shadows, ledgers),
        "trials of shares to ledgers": ratio(shares, ledgers),
    }
    document = {
        "models": len(MODELS),
        "rounds": rounds,
        "seconds": seconds,
        "per_cpu_second": rates,
        "ratios": {name: [each.median, each.low, each.high] for name, each in ratios.items()},
    }
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for name, each in ratios.items():
        out.print(f"{name}: {each}")
    out.print(f"written to {json_path}")
    if not ratios[SHADOWS].meets(LEAST):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
