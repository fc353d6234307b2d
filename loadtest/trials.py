"""`make trials`: what twenty trials at once, on twenty models, cost the requests that are served meanwhile.

One server, whose models keep the ledger that a trial needs, under 2 000 requests a second over all models. By turns
nothing is on trial; each model has a challenger on trial that runs copies of the champion's requests; each has one that
answers a tenth of them. What was first is last in the next round. Measured is how much of a core the worker takes, all
of its threads together: throughput depends on who else has the cores, and two servers are never quite alike.

Copies are bounded however many requests there are, so what shadows take of a core is what they take of its capacity.
What shares take grows with the requests: that is told as a part of what a request takes.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress

from loadtest import bench_models, h2load
from loadtest.errors import BenchError
from loadtest.h2load import Load
from loadtest.ratio import interval
from loadtest.servers import Server, free_port, ours, started
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb import inference_pb2 as pb

MODELS: Final = tuple(f"tiny-{number:02}" for number in range(20))
LOAD: Final = Load.paced(100.0)
"""For each model."""
SHARE: Final = 10.0
"""In percent."""
SETTLE_S: Final = 4.0
MOST: Final = 2.0
"""Percent of a core that shadows may take."""
SETTINGS: Final = "[lifecycle]\ninitial_champion = 1\n[ledger]\nenabled = true\n"
NOTHING, SHADOWS, SHARES = STATES = ("nothing on trial", "20 trials of shadows", "20 trials of shares")


def _make(repository: Path) -> None:
    """Twenty models of two versions."""
    plain = repository.with_name("plain")
    for version in ("1", "2"):
        bench_models.make(plain, ("tiny",), version)
    for name in MODELS:
        shutil.copytree(plain / "tiny", repository / name)
        (repository / name / "model.toml").write_text(SETTINGS, encoding="utf-8")


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


def _set(client: AdminClient, state: str) -> None:
    """End what is on trial, and begin what is to be."""
    for case in client.cases(kind="trial", only_open=True):
        client.stop_trial(case.model, "another turn")
    if state == NOTHING:
        return
    shadow = state == SHADOWS
    for name in MODELS:
        client.challenge(name, "2", 0.0 if shadow else SHARE, shadow=shadow, reason="is it better?")
        client.start_trial(name, "2", "is it better?")


def _taken(server: Server, bodies: list[Path], seconds: float) -> tuple[float, float]:
    """Seconds of the worker's CPU time for each second, and for each request; all requests answered."""
    worker = server.process("router.app.worker")
    before, began = worker.cpu_times(), time.monotonic()
    with ExitStack() as stack:
        runs = [stack.enter_context(h2load.Run(server.port, body, LOAD, seconds)) for body in bodies]
        found = [run.summary() for run in runs]
    after, passed = worker.cpu_times(), time.monotonic() - began
    server.check_alive()
    lost = sum(each.failed + each.other_than_2xx for each in found)
    if lost:
        raise BenchError(f"{lost} requests were not answered\n{server.tail()}")
    spent = after.user + after.system - before.user - before.system
    return spent / passed, spent / sum(each.succeeded for each in found)


def measure(rounds: int, seconds: float, out: Console) -> dict[str, list[tuple[float, float]]]:
    """What the worker takes in each state, round by round."""
    taken: dict[str, list[tuple[float, float]]] = {state: [] for state in STATES}
    with TemporaryDirectory(prefix="trials-") as scratch, Progress(console=out, transient=True) as progress:
        repository, admin = Path(scratch) / "models", free_port()
        repository.mkdir()
        _make(repository)
        bodies = _bodies(Path(scratch), repository)
        spec = ours("trials", 1, spin_us=0, admin=admin)
        with started(spec, repository, MODELS) as server, AdminClient(f"127.0.0.1:{admin}") as client:
            for name in progress.track(MODELS, description="versions are tested"):
                client.test(name, "2", "to be a challenger")
            task = progress.add_task("rounds", total=rounds * len(STATES))
            for turn in range(rounds):
                for state in (*STATES[turn % len(STATES) :], *STATES[: turn % len(STATES)]):
                    _set(client, state)
                    _taken(server, bodies, SETTLE_S)  # not counted: sessions are loaded, copies begin
                    taken[state].append(_taken(server, bodies, seconds))
                    if state != NOTHING and len(client.cases(kind="trial", only_open=True)) != len(MODELS):
                        raise BenchError("not all trials went on to the end of a turn")
                    progress.advance(task)
    return taken


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.2), default=3.0, show_default=True, help="Of each measurement.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("loadtest/results/trials.json"))
def main(rounds: int, seconds: float, json_path: Path) -> None:
    """Measure; exit 1 when trials of shadows take more than 2 % of a core."""
    out = Console()
    try:
        taken = measure(rounds, seconds, out)
    except (BenchError, RouterError) as error:
        raise click.ClickException(str(error)) from error
    core = {
        state: interval([100.0 * (mine[0] - bare[0]) for mine, bare in zip(taken[state], taken[NOTHING], strict=True)])
        for state in (SHADOWS, SHARES)
    }
    request = {
        state: interval([mine[1] / bare[1] for mine, bare in zip(taken[state], taken[NOTHING], strict=True)])
        for state in (SHADOWS, SHARES)
    }
    document = {
        "models": len(MODELS),
        "rounds": rounds,
        "seconds": seconds,
        "taken": taken,
        "percent_of_a_core": {state: [each.median, each.low, each.high] for state, each in core.items()},
        "times_a_request": {state: [each.median, each.low, each.high] for state, each in request.items()},
    }
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for state, more in core.items():
        out.print(f"{state}: {more} percent of a core more, a request takes {request[state]} times as much")
    out.print(f"written to {json_path}")
    if core[SHADOWS].median > MOST:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
