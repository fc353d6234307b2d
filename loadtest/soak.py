"""`make soak`: does a worker's memory grow under load, and under calls that are cancelled, late or refused?

Drives `tiny` at 64 in flight for ten minutes, with a caller beside it whose calls all go wrong, and compares the
resident memory of each worker after the first minute with that at the end.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import grpc
import psutil
from rich.console import Console
from rich.progress import Progress

from loadtest import h2load
from loadtest.cpu import family
from loadtest.errors import BenchError
from loadtest.h2load import Load
from loadtest.measure import Bench
from loadtest.servers import ours
from router.pb import inference_pb2 as pb

MODEL: Final = "tiny"
LOAD: Final = Load(8, 8)
BOUND_BYTES: Final = 5_000_000
SETTLED_S: Final = 60.0
SLICE_S: Final = 10.0


class Trouble:
    """A caller whose calls are cancelled, too late, refused or cut off, until the end of the block."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port = port
        self._request = request
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.calls = 0

    def __enter__(self) -> Trouble:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        bad = pb.ModelInferRequest(model_name="nobody").SerializeToString()
        while not self._stop.is_set():
            with grpc.insecure_channel(f"127.0.0.1:{self._port}") as channel:
                infer: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
                for message in itertools.islice(itertools.cycle((self._request, bad, b"\xff", self._request)), 400):
                    self.calls += 1
                    call = infer.future(message, timeout=0.0005 if self.calls % 2 else 5)
                    if self.calls % 3 == 0:
                        call.cancel()
                    self._stop.wait(0.002)


def workers(pid: int) -> dict[int, int]:
    """Resident bytes of each worker below a supervisor."""
    found = {}
    for each in family([pid]):
        process = psutil.Process(each)
        if "router.app.worker" in process.cmdline():
            found[each] = int(process.memory_info().rss)
    return found


@click.command()
@click.option("--minutes", type=click.FloatRange(min=1.5), default=10.0, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("loadtest/results/soak.json"))
def main(minutes: float, json_path: Path) -> None:
    """Load for so many minutes; exit 1 when a worker grows by 5 MB or more."""
    out = Console()
    history: list[dict[str, Any]] = []
    with TemporaryDirectory() as scratch:
        bench = Bench.build(Path(scratch), (MODEL,))
        with bench.servers([ours("default", 2)]) as (server,), Progress(console=out, transient=True) as progress:
            (pid,) = server.pids
            request = bench.questions[MODEL][0].request
            task = progress.add_task("soak", total=minutes * 60)
            began = time.monotonic()
            served = 0
            with Trouble(server.port, request) as trouble:
                while (passed := time.monotonic() - began) < minutes * 60:
                    served += h2load.run(server.port, bench.bodies[MODEL], LOAD, SLICE_S).succeeded
                    history.append({"seconds": round(passed + SLICE_S), "resident": workers(pid)})
                    progress.update(task, completed=time.monotonic() - began)
            server.check_alive()
    settled = next(each for each in history if each["seconds"] >= SETTLED_S)["resident"]
    end = history[-1]["resident"]
    if set(settled) != set(end):
        raise BenchError("a worker was restarted during the soak")
    grown = {worker: end[worker] - settled[worker] for worker in end}
    json_path.parent.mkdir(parents=True, exist_ok=True)
    document = {"minutes": minutes, "served": served, "troubled": trouble.calls, "grown": grown, "history": history}
    json_path.write_text(json.dumps(document, indent=1) + "\n")
    for worker, size in grown.items():
        out.print(f"worker {worker}: {settled[worker] / 1e6:.1f} → {end[worker] / 1e6:.1f} MB ({size / 1e6:+.1f})")
    out.print(f"{served:,} calls answered, {trouble.calls:,} cancelled, late or refused; written to {json_path}")
    if max(grown.values()) >= BOUND_BYTES:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
