"""From an answer to its accuracy: a real server, its workers and its controller, whatever dies in between."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from router.app.board import CONTROLLER, worker_slot
from router.control.ledger import FILE
from router.edge.admin_client import AdminClient, AdminError
from router.errors import Status
from router.pb.admin_pb2 import Actual, SubmitActualsResponse
from tests.server import ROOT, Server, eventually, pixels, put, router, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers; `digits` keeps a ledger, `wine` does not."""
    folder = tmp_path_factory.mktemp("ledger")
    models = put(folder / "models", "digits:1", "wine")
    with (models / "digits/model.toml").open("a") as settings:
        settings.write("\n[ledger]\nenabled = true\n")
    with running(folder, models=models, workers=2) as started:
        yield started


def asked(server: Server, *ids: str, rows: int = 1) -> list[int]:
    """The labels that the model gives, over several connections, so that all workers are asked."""
    labels = []
    for number, name in enumerate(ids):
        reply = server.client(number % 4).infer("digits", {"pixels": pixels(rows)}, id=name, deadline=10)
        labels.append(int(reply.outputs["label"][-1]))
    return labels


def submit(server: Server, *actuals: Actual, model: str = "digits") -> SubmitActualsResponse:
    """On the admin port."""
    with AdminClient(server.admin) as client:
        return client.submit_actuals(model, actuals)


def test_what_was_answered_can_be_joined_at_once(server: Server) -> None:
    """Whichever worker answered: once; again it is repeated, and what was never asked is unknown."""
    ids = [f"at once {number}" for number in range(12)]
    labels = asked(server, *ids)
    actuals = [Actual(request_id=name, label=label) for name, label in zip(ids, labels, strict=True)]
    done = submit(server, *actuals, Actual(request_id="never asked", label=1))
    assert (done.joined, list(done.unknown), list(done.already)) == (12, ["never asked"], [])
    done = submit(server, *actuals[:2])
    assert (done.joined, list(done.already)) == (0, ids[:2])


def test_each_row_has_its_own_actual(server: Server) -> None:
    """By its place in the request; text that means a number will do."""
    (last,) = asked(server, "rows", rows=3)
    done = submit(server, Actual(request_id="rows", row=2, text=str(last)), Actual(request_id="rows", row=3, label=1))
    assert (done.joined, list(done.unknown)) == (1, ["rows"])


def test_a_table_is_submitted_as_the_readme_shows(server: Server, tmp_path: Path) -> None:
    """Its file, its command, and what that says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```csv\n(.*?)```", readme, re.DOTALL)
    (command, said) = re.findall(r"\$ (router actuals [^\n]*)\n(.*?)```", readme, re.DOTALL)[0]
    asked(server, "r1", "r2")
    (tmp_path / "true.csv").write_text(table)
    words = command.replace("true.csv", str(tmp_path / "true.csv")).split()[1:]
    assert router(*words, "--admin", server.admin).output == said


def test_requests_without_an_id_are_not_kept(server: Server) -> None:
    """Figures tell how many were kept, of which none is lost."""

    def kept() -> dict[str, float]:
        text = httpx.get(server.url + "/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("router_predictions_total{")]
        return {line.split('outcome="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}

    submit(server, Actual(request_id="have all handed over", label=1))
    before = kept()
    server.client().infer("digits", {"pixels": pixels()}, deadline=10)
    asked(server, "with an id")
    assert submit(server, Actual(request_id="with an id", label=1)).joined == 1
    eventually(lambda: kept()["kept"] == before.get("kept", 0) + 1)
    assert kept()["lost"] == 0


@pytest.mark.parametrize(
    ("model", "actual", "status", "said"),
    [
        ("wine", Actual(request_id="a", label=1), Status.FAILED_PRECONDITION, "keeps no ledger of its predictions"),
        ("nobody", Actual(request_id="a", label=1), Status.NOT_FOUND, "unknown model 'nobody'"),
        ("digits", Actual(request_id="a", text="seven"), Status.INVALID_ARGUMENT, "the truth is 'seven': expected an"),
        ("digits", Actual(request_id="a", value=0.5), Status.INVALID_ARGUMENT, "the truth is 0.5: expected an integer"),
    ],
)
def test_a_submission_that_cannot_be_right_is_refused(
    server: Server, model: str, actual: Actual, status: Status, said: str
) -> None:
    """With one line and a code; nothing is joined."""
    with pytest.raises(AdminError) as refused:
        submit(server, actual, model=model)
    assert refused.value.status is status
    assert said in str(refused.value)


def test_predictions_outlive_the_controller(server: Server) -> None:
    """What workers answer while there is none is joined when it is back, and what it had before too."""
    asked(server, "before")
    assert submit(server, Actual(request_id="have all handed over", label=1)).joined == 0
    old = server.controller
    os.kill(old, signal.SIGKILL)
    during = [f"during {number}" for number in range(6)]
    asked(server, *during)
    server.back(CONTROLLER, old)
    eventually(lambda: server.serving)
    done = submit(server, *[Actual(request_id=name, label=1) for name in ("before", *during)])
    assert (done.joined, list(done.unknown)) == (7, [])


def test_a_worker_that_dies_takes_nothing_that_it_had_handed_over(server: Server) -> None:
    """Its successor goes on."""
    ids = [f"killed {number}" for number in range(8)]
    asked(server, *ids)
    submit(server, Actual(request_id="have all handed over", label=1))
    old = [server.worker(index) for index in range(2)]
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    for index, pid in enumerate(old):
        server.back(worker_slot(index), pid)
    assert submit(server, *[Actual(request_id=name, label=1) for name in ids]).joined == 8
    eventually(lambda: server.serving)


def test_a_stop_keeps_what_was_answered_just_before(server: Server) -> None:
    """A worker that drains hands over, a controller that stops writes: their successors know it."""
    for slot, pid in [*((worker_slot(index), server.worker(index)) for index in range(2)), (CONTROLLER, 0)]:
        ids = [f"before {slot} stopped {number}" for number in range(4)]
        asked(server, *ids)
        old = pid or server.controller
        os.kill(old, signal.SIGTERM)
        server.back(slot, old)
        eventually(lambda: server.serving)
        assert submit(server, *[Actual(request_id=name, label=1) for name in ids]).joined == 4
    assert (server.state / FILE).stat().st_mode & 0o777 == 0o600
