"""The repository and the loaded models change while callers keep asking."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import grpc
import httpx
import numpy as np
import psutil
import pytest
from click.testing import Result

from router.app.board import CONTROLLER, worker_slot
from router.client import Client, InferenceError, Unavailable
from tests.server import (
    MODELS,
    Load,
    eventually,
    pixels,
    put,
    router,
    running,
)
from tests.slow_models import save, scale, slow, unknown_operator

X = {"x": np.ones((1, 1), np.float32)}
SCALE_X = {"x": np.ones(1, np.float32)}


def monotonic(load: Load) -> bool:
    """Whether no caller ever saw an older generation after a newer one."""
    return all(seen == sorted(seen) for seen in load.generations)


def answers(client: Client) -> bool:
    """Whether the controller answers through a worker."""
    try:
        return bool(client.index(deadline=5))
    except Unavailable:
        return False


def test_sighup_takes_in_what_came_and_what_went(tmp_path: Path) -> None:
    """A new version is served by all from one instant on, a version that goes is not, without a failed request."""
    models = tmp_path / "models"
    save(scale(1), models, "scale")
    with running(tmp_path, models=models, workers=2) as server:
        client, first = server.client(), server.generation
        with Load(server, 4, "scale", **SCALE_X) as load:
            save(scale(2), models, "scale", version=2)
            server.hang_up()
            server.refreshed(first + 1)
            load.more(100)
            reply = client.infer("scale", SCALE_X, deadline=10)
            assert (reply.version, reply["y"].item(), reply.generation) == ("2", 2.0, first + 1)
            shutil.rmtree(models / "scale/2")
            server.hang_up()
            server.refreshed(first + 2)
            load.more(100)
            reply = client.infer("scale", SCALE_X, deadline=10)
            assert (reply.version, reply["y"].item()) == ("1", 1.0)
            with pytest.raises(InferenceError) as raised:
                client.infer("scale", SCALE_X, version="2", deadline=10)
            assert raised.value.code is grpc.StatusCode.NOT_FOUND
            save(unknown_operator(), models, "scale", version=3)
            server.hang_up()
            server.refreshed(first + 3)
            load.more(50)
            assert client.infer("scale", SCALE_X, deadline=10).version == "1"
            server.hang_up()  # nothing has changed
            load.more(50)
        assert load.failed == []
        assert monotonic(load)
        assert server.generation == first + 3
        # What version 2 did still counts, although it is gone; so do the metrics of all versions together.
        (one,) = client.statistics("scale", "1", deadline=10)
        assert one.success.count > 0
        text = httpx.get(server.url + "/metrics", timeout=10).text
        answered = sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("nv_inference_request_success{")
        )
        assert answered >= load.answered


def test_a_table_that_is_stored_serves_again(tmp_path: Path) -> None:
    """A restart with the same repository keeps the generation; with another one it goes up."""
    models = put(tmp_path / "models", "digits:1", "wine")
    for _ in range(2):
        with running(tmp_path, models=models) as server:
            assert server.generation == 1
    shutil.copytree(MODELS / "digits/2", models / "digits/2")
    with running(tmp_path, models=models) as server:
        assert server.generation == 2
        assert server.client().infer("digits", {"pixels": pixels()}, deadline=10).version == "2"


def test_files_that_change_under_a_number_are_taken_in_by_all_or_none(tmp_path: Path) -> None:
    """A worker that starts again finds other files than were tried: they are tried anew, and all workers change."""
    models = tmp_path / "models"
    save(scale(1), models, "scale")
    with running(tmp_path, models=models, workers=2) as server:
        generation = server.generation
        shutil.rmtree(models / "scale/1")
        save(scale(3), models, "scale")
        old = server.worker(0)
        os.kill(old, signal.SIGKILL)
        server.back(worker_slot(0), old)
        assert server.generation == generation + 1
        clients = [server.client(i) for i in range(1, 7)]
        assert {client.infer("scale", SCALE_X, deadline=10)["y"].item() for client in clients} == {3.0}
        # The same with files that cannot be served: nobody serves them.
        shutil.rmtree(models / "scale/1")
        save(unknown_operator(), models, "scale")
        old = server.worker(1)
        os.kill(old, signal.SIGKILL)
        server.back(worker_slot(1), old)
        for client in clients:
            with pytest.raises(Unavailable):
                client.infer("scale", SCALE_X, deadline=10)


def test_models_are_loaded_when_they_are_asked_for(tmp_path: Path) -> None:
    """Nothing at the start but what `--load-model` names; load, unload, a broken one, and KServe's shape of both."""
    models = put(tmp_path / "models", "digits", "wine")
    save(unknown_operator(), models, "broken")
    flags = {"models": models, "model_control": "explicit", "load_model": ("wine",), "workers": 2}
    with running(tmp_path, **flags) as server:
        client = server.client()
        states = {each.name: each for each in client.index(deadline=10)}
        assert states["wine"].state == "READY"
        assert (states["digits"].state, states["digits"].reason) == ("UNAVAILABLE", "unloaded")
        generation = server.generation
        client.load("digits", deadline=30)
        assert client.infer("digits", {"pixels": pixels()}, deadline=10).generation == generation + 1
        client.load("digits", deadline=30)
        assert server.generation == generation + 1, "nothing had changed"
        with pytest.raises(InferenceError) as raised:
            client.load("broken", deadline=30)
        assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "Frobnicate" in raised.value.message
        states = {each.name: each for each in client.index(deadline=10)}
        assert states["broken"].state == "UNAVAILABLE"
        assert "Frobnicate" in states["broken"].reason
        # A load concerns its model only: a new version of another one is not served unasked.
        save(scale(1), models, "new")
        client.load("new", deadline=30)
        client.unload("new", deadline=30)
        with grpc.insecure_channel(server.grpc) as channel:  # KServe: the name is field 1

            def kserve(method: str) -> None:
                channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(b"\x0a\x03new", timeout=30)

            kserve("RepositoryModelLoad")
            assert client.infer("new", SCALE_X, deadline=10)["y"] == 1
            kserve("RepositoryModelUnload")
        with pytest.raises(Unavailable) as gone:
            client.infer("new", SCALE_X, deadline=10)
        assert "unloaded" in gone.value.message
        for ask in (client.load, client.unload):
            with pytest.raises(InferenceError) as raised:
                ask("nothing", deadline=10)
            assert raised.value.code is grpc.StatusCode.NOT_FOUND
        # The controller remembers what was loaded.
        old = server.controller
        os.kill(old, signal.SIGKILL)
        server.back(CONTROLLER, old)
        server.hang_up()
        eventually(lambda: answers(client))
        assert client.infer("digits", {"pixels": pixels()}, deadline=10).version == "2"
        assert client.model_ready("wine", deadline=5)


def test_the_fallback_switch(tmp_path: Path) -> None:
    """Under load, for a model by hand: not a request fails, replies are marked and counted; a restart keeps it."""
    toml = '[fallback]\nchain = ["default"]\ndefault = { y = -1.0 }\n'
    models = tmp_path / "models"
    save(scale(2), models, "scale", toml=toml)
    save(scale(1), models, "bare")

    def asked(*words: str) -> Result:
        return router(*words, "--admin", server.admin)

    with running(tmp_path, models=models, workers=2) as server:
        first = server.generation
        with Load(server, 4, "scale", **SCALE_X) as load:
            done = asked("fallback", "on", "scale")
            assert done.stdout == (f"model 'scale': its fallback answers, nothing is run (generation {first + 1})\n"), (
                done.stderr
            )
            load.more(50)
            reply = server.client().infer("scale", SCALE_X, deadline=10)
            assert reply["y"].item() == -1
            assert (reply.served_by, reply.degraded, reply.generation) == ("default", True, first + 1)
        assert load.failed == []
        assert "fallback on" in asked("models").stdout
        assert json.loads(asked("models", "scale", "--json").stdout)["routes"][0]["switched"] is True
        metrics = httpx.get(server.url + "/metrics", timeout=10).text
        (counted,) = re.findall(
            r'router_fallback_total{model="scale",reason="switched",step="default",version="1"} (\S+)', metrics
        )
        assert float(counted) >= 50
        assert "router_loop_taken_total 0.0" in metrics
        assert "router_hung_threads 0.0" in metrics
        for words, said in (
            (
                ("on", "bare"),
                "Error: model 'bare' has no fallback to switch to: set `fallback.chain` in its model.toml\n",
            ),
            (("on", "nothing"), "Error: unknown model 'nothing'\n"),
        ):
            done = asked("fallback", *words)
            assert (done.exit_code, done.stderr) == (1, said)
        save(scale(3), models, "scale", version=2)
        server.hang_up()
        server.refreshed(first + 2)
        assert server.client().infer("scale", SCALE_X, deadline=10).served_by == "default"
    with running(tmp_path, models=models) as server:
        assert server.client().infer("scale", SCALE_X, deadline=10)["y"] == -1
        done = asked("fallback", "off", "scale")
        assert "the model answers" in done.stdout, done.stderr
        reply = server.client().infer("scale", SCALE_X, deadline=10)
        assert (reply["y"].item(), reply.served_by, reply.degraded) == (3, "champion", False)


def test_loads_under_load_lose_nothing(tmp_path: Path) -> None:
    """Models come and go thirty times, from several callers at once, while others are served without a failure."""
    models = put(tmp_path / "models", "digits")
    for name in ("a", "b", "c"):
        save(scale(1), models, name)
    flags = {"models": models, "model_control": "explicit", "load_model": ("digits",), "workers": 2}
    with running(tmp_path, **flags) as server:
        failed: list[Exception] = []

        def change(index: int, name: str) -> None:
            try:
                for _ in range(5):
                    server.client(index).load(name, deadline=60)
                    server.client(index).unload(name, deadline=60)
            except Exception as error:  # noqa: BLE001  # told below
                failed.append(error)

        server.client(4)
        with Load(server, 2) as load:
            changers = [threading.Thread(target=change, args=(i, name)) for i, name in enumerate("abc", start=1)]
            for changer in changers:
                changer.start()
            for changer in changers:
                changer.join(60)
        assert failed == []
        assert load.failed == []
        assert monotonic(load)
        assert server.generation >= 31


def test_tritonclient_loads_and_unloads(tmp_path: Path) -> None:
    """The same with other people's client."""
    triton = Path(__file__).parents[2] / ".venv-triton"
    if not (triton / "installed").exists():
        pytest.skip("`make .venv-triton/installed` makes the other library's environment")
    models = put(tmp_path / "models", "digits")
    with running(tmp_path, models=models, model_control="explicit") as server:
        script = Path(__file__).parents[1] / "tritonclient_script.py"
        done = subprocess.run(
            [str(triton / "bin/python"), str(script), server.grpc, "explicit"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_memory_stays_when_versions_come_and_go(tmp_path: Path) -> None:
    """A dozen swaps of a 4 MB model leave a worker about as large as two did: retired sessions are given back."""
    models = tmp_path / "models"
    with_weights = slow(0, size=1000)
    save(with_weights, models, "big", toml="[batch]\nmax_size = 1\n")
    with running(tmp_path, models=models, model_control="explicit") as server:
        client = server.client()

        def swap(times: int) -> int:
            for _ in range(times):
                client.load("big", deadline=30)
                client.infer("big", X, deadline=30)
                client.unload("big", deadline=30)
            time.sleep(1.5)  # retired sessions linger for a second
            return int(psutil.Process(server.worker(0)).memory_info().rss)

        swap(3)
        few = swap(2)
        assert swap(12) - few < 20e6
