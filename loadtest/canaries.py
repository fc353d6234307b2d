"""`make canaries`: a version turns bad in the middle of its canary; how soon is it sent back, and who was served by it?

A version like its champion gets half of 400 requests a second. Once the controller has compared both for a while, an
injected fault makes its runs fail, take twice as long, or answer with shifted numbers; nobody does anything about it.
Each fault has a server of its own. The requests have no key: they are split by chance.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from loadtest import bench_models, h2load
from loadtest.errors import BenchError
from loadtest.h2load import Load
from loadtest.servers import free_port, ours, started
from router.core.faults import Fault
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb import inference_pb2 as pb
from router.pb.admin_pb2 import Case

MODEL: Final = "value"
RATE: Final = 400.0
SHARE: Final = 50
CHECK_S: Final = 5.0
"""The default."""
WELL_S: Final = 12.0
"""It does well for so long: two checks find nothing."""
PATIENCE_S: Final = 60.0
SETTINGS: Final = f"""
[lifecycle]
initial_champion = 1
[canary]
steps = [{SHARE}, 100]
bake_seconds = 600
check_seconds = {CHECK_S:g}
"""
FAULTS: Final[Mapping[str, Fault]] = {
    "errors, some 5 % of the requests": Fault(kind="error", share=0.09, version="2"),
    "runs take twice as long": Fault(kind="slow", factor=2, version="2"),
    "outputs shifted by 1": Fault(kind="shift", by=1, version="2"),
}


def _make(repository: Path) -> Path:
    """One version, and a file like it as the next; a request without an id, as a file for h2load."""
    bench_models.make(repository, (MODEL,))
    shutil.copytree(repository / MODEL / "1", repository / MODEL / "2")
    (repository / MODEL / "model.toml").write_text(SETTINGS, encoding="utf-8")
    (question,) = bench_models.questions(repository, MODEL, 1)
    message = pb.ModelInferRequest.FromString(question.request)
    message.id = ""
    body = repository.with_name("body.frame")
    body.write_bytes(bench_models.frame(message.SerializeToString()))
    return body


def _rollout(client: AdminClient) -> Case:
    return client.cases(MODEL, kind="rollout", last=1)[0]


def measure(fault: Fault) -> dict[str, Any]:
    """One canary: seconds from the fault until the champion had all requests again, and what callers had till then."""
    with TemporaryDirectory(prefix="canary-") as scratch:
        repository = Path(scratch) / "models"
        body, admin = _make(repository), free_port()
        spec = ours("canary", 2, admin=admin, flags=("--allow-faults",))
        with started(spec, repository, (MODEL,)) as server, AdminClient(f"127.0.0.1:{admin}") as client:
            client.test(MODEL, "2", "for a canary")
            load = h2load.Run(server.port, body, Load.paced(RATE), WELL_S + PATIENCE_S)
            with load:
                client.promote(MODEL, "2", "a canary", strategy="canary")
                time.sleep(WELL_S)
                if _rollout(client).ended_seconds:
                    raise BenchError(f"it was sent back while it did well: {_rollout(client).text}")
                undone = threading.Event()
                at: list[float] = []

                def watch() -> None:
                    for event in client.watch(MODEL, PATIENCE_S):
                        if event.kind == "moved" and event.version == "2":
                            at.append(time.monotonic())
                            undone.set()
                            return

                watching = threading.Thread(target=watch, daemon=True)
                watching.start()
                client.set_faults(MODEL, [fault])
                began = time.monotonic()
                if not undone.wait(PATIENCE_S):
                    raise BenchError(f"it was not sent back within {PATIENCE_S:.0f} s")
                case = _rollout(client)
            (model,) = client.versions(MODEL).models
            served = json.loads(case.body).get("served", {})
            return {
                "seconds": at[0] - began,
                "champion": model.champion,
                "state": case.state,
                "text": case.text,
                "served": served,
            }


@click.command()
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("loadtest/results/canaries.json"))
def main(json_path: Path) -> None:
    """Measure; exit 1 when one is not sent back within a check and a second."""
    out = Console()
    found: dict[str, dict[str, Any]] = {}
    for name, fault in FAULTS.items():
        out.print(f"{name} …")
        try:
            found[name] = measure(fault)
        except (BenchError, RouterError) as error:
            raise click.ClickException(f"{name}: {error}") from error
    json_path.parent.mkdir(parents=True, exist_ok=True)
    document = {"rate": RATE, "share": SHARE, "check_seconds": CHECK_S, "canaries": found}
    json_path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    table = Table("fault", "sent back after", "what was found")
    for name, each in found.items():
        table.add_row(name, f"{each['seconds']:.2f} s", each["text"])
    out.print(table)
    out.print(f"written to {json_path}")
    if any(each["seconds"] > CHECK_S + 1 or each["champion"] != "1" for each in found.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
