"""`make watched`: what it costs the controller to watch two hundred models of fifty features, 2 000 requests a second.

One server: telemetry, health and drift are on; every model's reference is its first hundred rows, which are there after
some 45 seconds, and from then on windows of fifty rows are compared with it. Requests go to all models in turn, each
with rows of its own. Measured, second by second, are the share of a core that the controller takes and its resident
memory; and how long the admin port needs for an answer, asked ten times a second: no check of a bake is later than that
because of what the controller does beside it.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import Progress

from loadtest.errors import BenchError
from loadtest.servers import Server, free_port, ours, started
from loadtest.sla.core_client import Connection, connections
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb import inference_pb2 as pb
from router.pb.drift_pb2 import GetDriftRequest, GetDriftResponse
from router.pb.drift_pb2_grpc import DriftStub
from router.pb.health_report_pb2 import GetHealthRequest, HealthReport
from router.pb.health_report_pb2_grpc import ModelHealthReportStub

MODELS: Final = 200
FEATURES: Final = 50
CLASSES: Final = 3
RATE: Final = 2000.0
CONNECTIONS: Final = 4
ROWS: Final = 10
"""Different requests to each model."""
TIMEOUT_S: Final = 5.0
SLICE_S: Final = 0.001
ASK_S: Final = 0.1
SETTLE_S: Final = 5.0
MOST_BYTES: Final = 600e6
MOST_SHARE: Final = 0.20
LATEST_S: Final = 1.0
SETTINGS: Final = "[drift]\nreference_rows = 100\nmin_samples = 50\nwindow_s = 5\n"


def _names() -> tuple[str, ...]:
    return tuple([f"watched-{number:03}" for number in range(MODELS)])


def _make(repository: Path) -> None:
    """A linear classifier for each model, all alike: what is looked at is what goes in and comes out."""
    random = np.random.default_rng(7)
    weights = numpy_helper.from_array(random.standard_normal((FEATURES, CLASSES), dtype=np.float32), "w")
    bias = numpy_helper.from_array(random.standard_normal(CLASSES, dtype=np.float32), "b")
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(nodes, "watched", [takes], [gives], [weights, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for name in _names():
        path = repository / name / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        onnx.save(model, str(path))
        (repository / name / "model.toml").write_text(SETTINGS, encoding="utf-8")


def _messages() -> list[bytes]:
    """Requests to all models in turn."""
    random = np.random.default_rng(11)
    made = []
    for _ in range(ROWS):
        for name in _names():
            message = pb.ModelInferRequest(model_name=name)
            message.inputs.add(name="x", datatype="FP32", shape=(1, FEATURES))
            message.raw_input_contents.append(random.standard_normal(FEATURES, dtype=np.float32).tobytes())
            made.append(message.SerializeToString())
    return made


class Sending(threading.Thread):
    """Sends requests when they are due, whatever becomes of those before, until `stop` is set."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.sent = self.answered = self.failed = 0
        self._connections: list[Connection] = connections(target, range(CONNECTIONS))
        self._messages = _messages()

    def run(self) -> None:
        """Open loop."""
        began = time.monotonic()
        while not self.stop.is_set():
            due = int((time.monotonic() - began) * RATE)
            while self.sent < due:
                message = self._messages[self.sent % len(self._messages)]
                self._connections[self.sent % CONNECTIONS].send(self.sent, message, TIMEOUT_S)
                self.sent += 1
            self._take()
            time.sleep(SLICE_S)
        until = time.monotonic() + TIMEOUT_S
        while self.answered + self.failed < self.sent and time.monotonic() < until:
            self._take()
            time.sleep(SLICE_S)
        for each in self._connections:
            each.close()

    def _take(self) -> None:
        for connection in self._connections:
            while (answer := connection.receive()) is not None:
                self.answered += answer[1] == 0
                self.failed += answer[1] != 0


@dataclass
class Seen:
    """What was measured, second by second."""

    shares: list[float] = field(default_factory=list)
    """Of a core, by the controller."""
    resident: list[int] = field(default_factory=list)
    """Bytes, of the controller."""
    workers: list[float] = field(default_factory=list)
    """Of a core, by the worker."""
    answers: list[float] = field(default_factory=list)
    """Seconds until the admin port had answered."""


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _look(server: Server, client: AdminClient, seconds: float, progress: Progress) -> Seen:
    seen = Seen()
    controller, worker = (server.process(f"router.app.{name}") for name in ("controller", "worker"))
    task = progress.add_task("watched", total=seconds)
    began = last = time.monotonic()
    before = (_spent(controller), _spent(worker))
    while (now := time.monotonic()) - began < seconds:
        client.status()
        seen.answers.append(time.monotonic() - now)
        if now - last >= 1.0:
            after = (_spent(controller), _spent(worker))
            seen.shares.append((after[0] - before[0]) / (now - last))
            seen.workers.append((after[1] - before[1]) / (now - last))
            seen.resident.append(int(controller.memory_info().rss))
            last, before = now, after
            progress.update(task, completed=now - began)
        time.sleep(ASK_S)
    server.check_alive()
    return seen


def measure(seconds: float, out: Console) -> dict[str, Any]:
    """All of it; `seconds` are those that are measured."""
    with TemporaryDirectory(prefix="watched-") as scratch, Progress(console=out, transient=True) as progress:
        repository, admin = Path(scratch) / "models", free_port()
        _make(repository)
        spec = ours("watched", 1, spin_us=0, admin=admin)
        with started(spec, repository, _names()) as server, AdminClient(f"127.0.0.1:{admin}") as client:
            idle = int(server.process("router.app.controller").memory_info().rss)
            sending = Sending(f"127.0.0.1:{server.port}")
            sending.start()
            try:
                time.sleep(SETTLE_S)
                seen = _look(server, client, seconds, progress)
                asked: Any = client.other(ModelHealthReportStub, "GetHealth", GetHealthRequest())
                report: HealthReport = asked
                told: Any = client.other(DriftStub, "GetDrift", GetDriftRequest())
                drift: GetDriftResponse = told
            finally:
                sending.stop.set()
                sending.join(2 * TIMEOUT_S)
    levels = [each.level for each in report.models]
    drifts = [each.status for each in drift.models]
    return {
        "models": MODELS,
        "features": FEATURES,
        "per_second": sending.answered / (seconds + SETTLE_S),
        "sent": sending.sent,
        "failed": sending.failed,
        "health": {level: levels.count(level) for level in sorted(set(levels))},
        "drift": {level: drifts.count(level) for level in sorted(set(drifts))},
        "drift_rows": sum(each.observed for each in drift.models),
        "drift_windows": sum(each.windows for each in drift.models),
        "drift_rows_missed": sum(each.missed for each in drift.models),
        "controller_share_of_a_core": statistics.mean(seen.shares),
        "controller_share_most": max(seen.shares),
        "controller_bytes_before": idle,
        "controller_bytes": max(seen.resident),
        "worker_share_of_a_core": statistics.mean(seen.workers),
        "admin_answer_seconds_median": statistics.median(seen.answers),
        "admin_answer_seconds_most": max(seen.answers),
        "shares": seen.shares,
        "resident": seen.resident,
    }


@click.command()
@click.option("--seconds", type=click.FloatRange(min=2), default=120.0, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("loadtest/results/watched.json"))
def main(seconds: float, json_path: Path) -> None:
    """Measure; exit 1 when the controller takes 600 MB, 20 % of a core, or keeps anybody waiting for 1 s."""
    out = Console()
    try:
        found = measure(seconds, out)
    except (BenchError, RouterError) as error:
        raise click.ClickException(str(error)) from error
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    out.print(
        f"{found['per_second']:.0f} requests/s to {MODELS} models, {found['failed']} failed, {found['drift_rows']} rows"
        f" looked at for drift in {found['drift_windows']} windows: the controller takes"
        f" {found['controller_share_of_a_core']:.1%} of a core ({found['controller_share_most']:.1%} in its busiest"
        f" second) and {found['controller_bytes'] / 1e6:.0f} MB ({found['controller_bytes_before'] / 1e6:.0f} before);"
        f" the admin port answers within {found['admin_answer_seconds_most'] * 1e3:.0f} ms"
    )
    out.print(f"written to {json_path}")
    too_much = found["controller_bytes"] >= MOST_BYTES or found["controller_share_of_a_core"] >= MOST_SHARE
    if too_much or found["admin_answer_seconds_most"] >= LATEST_S:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
