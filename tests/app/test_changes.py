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
    Server,
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


def operate(server: Server, *words: str) -> Result:
    """An operator's command."""
    done = router(*words, "--admin", server.admin)
    assert done.exit_code == 0, done.stderr
    return done


def stages(server: Server, model: str) -> dict[str, str]:
    """Where the versions of a model stand."""
    (told,) = json.loads(operate(server, "versions", model, "--json").stdout)["models"]
    return {each["number"]: each["stage"] for each in told["versions"]}


@pytest.mark.story
def test_a_version_goes_from_a_file_to_champion_and_back(tmp_path: Path) -> None:
    """Found by itself, tested, promoted, rolled back, unloaded: each from one instant on, without a failed request."""
    models = tmp_path / "models"
    save(scale(1), models, "scale")
    with running(tmp_path, models=models, workers=2) as server:
        client = server.client()
        with Load(server, 4, "scale", **SCALE_X) as load:
            save(scale(2), models, "scale", version=2)
            eventually(lambda: stages(server, "scale") == {"2": "found", "1": "champion"})
            with pytest.raises(Unavailable, match="not tested"):
                client.infer("scale", SCALE_X, version="2", deadline=10)
            operate(server, "test", "scale:2")
            assert stages(server, "scale") == {"2": "ready", "1": "champion"}
            assert client.infer("scale", SCALE_X, version="2", deadline=10)["y"].item() == 2
            assert client.infer("scale", SCALE_X, deadline=10)["y"].item() == 1
            operate(server, "alias", "scale", "stable", "1")
            operate(server, "promote", "scale", "2", "--reason", "it is twice as good")
            reply = client.infer("scale", SCALE_X, deadline=10)
            assert (reply.version, reply["y"].item(), reply.generation) == ("2", 2.0, server.generation)
            assert client.infer("scale", SCALE_X, version="standby", deadline=10).version == "1"
            assert client.infer("scale", SCALE_X, version="stable", deadline=10).version == "1"
            load.more(100)
            operate(server, "rollback", "scale")
            assert client.infer("scale", SCALE_X, deadline=10).version == "1"
            load.more(100)
            operate(server, "unload", "scale", "2")
            eventually(lambda: stages(server, "scale") == {"2": "retired", "1": "champion"})
            save(unknown_operator(), models, "scale", version=3)
            eventually(lambda: "3" in stages(server, "scale"))
            failed = router("test", "scale:3", "--admin", server.admin)
            assert failed.exit_code == 3
            assert "Frobnicate" in failed.stdout
            operate(server, "rollback", "scale", "2")  # retired: it is loaded again first
            assert stages(server, "scale") == {"3": "failed", "2": "champion", "1": "standby"}
            load.more(50)
        assert load.failed == []
        assert monotonic(load)
        # What version 1 did still counts; so do the metrics of all versions together.
        (one,) = client.statistics("scale", "1", deadline=10)
        assert one.success.count > 0
        text = httpx.get(server.url + "/metrics", timeout=10).text
        answered = sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("nv_inference_request_success{")
        )
        assert answered >= load.answered
        acts = [
            (each["action"], each["version"])
            for each in json.loads(operate(server, "audit", "--json").stdout)["entries"]
        ]
        asked = [act for act in acts if act[0] in {"test", "alias", "promote", "rollback", "unload"}]
        assert asked == [
            ("test", "2"), ("alias", "1"), ("promote", "2"), ("rollback", "1"), ("unload", "2"),
            ("test", "3"), ("rollback", "2"),
        ]  # fmt: skip
        assert "whole" in operate(server, "audit", "--verify").stdout


@pytest.mark.story
def test_what_is_stored_serves_again(tmp_path: Path) -> None:
    """A restart serves exactly what served, standby included, whatever else lies in the repository by then."""
    models = put(tmp_path / "models", "digits:1", "wine")
    for _ in range(2):
        with running(tmp_path, models=models) as server:
            assert server.generation == 1
    shutil.copytree(MODELS / "digits/2", models / "digits/2")
    with running(tmp_path, models=models) as server:
        assert server.client().infer("digits", {"pixels": pixels()}, deadline=10).version == "1"
        assert stages(server, "digits") == {"2": "found", "1": "champion"}
        operate(server, "test", "digits:2")
        operate(server, "promote", "digits:2")
        generation = server.generation
    with running(tmp_path, models=models) as server:
        assert server.generation == generation
        assert stages(server, "digits") == {"2": "champion", "1": "standby"}
        assert server.client().infer("digits", {"pixels": pixels()}, version="1", deadline=10).version == "1"
        operate(server, "rollback", "digits")
        assert server.client().infer("digits", {"pixels": pixels()}, deadline=10).version == "1"


def test_files_that_change_under_a_number_serve_nowhere_anew(tmp_path: Path) -> None:
    """The version serves on from memory, marked; a worker that starts again cannot load it: another takes over."""
    models = tmp_path / "models"
    save(scale(1), models, "scale")
    save(scale(2), models, "scale", version=2, toml='versions = "all"\n')
    with running(tmp_path, models=models, workers=2) as server:
        assert stages(server, "scale") == {"2": "champion", "1": "ready"}
        shutil.rmtree(models / "scale/2")
        save(scale(3), models, "scale", version=2)
        eventually(lambda: "changed" in operate(server, "versions", "scale", "--json").stdout)
        assert server.client().infer("scale", SCALE_X, deadline=10)["y"].item() == 2
        old = server.worker(0)
        os.kill(old, signal.SIGKILL)
        server.back(worker_slot(0), old)
        clients = [server.client(i) for i in range(1, 7)]
        assert {client.infer("scale", SCALE_X, deadline=10)["y"].item() for client in clients} == {1.0}
        assert stages(server, "scale") == {"2": "failed", "1": "champion"}
        # The same with nothing that could take over: nobody serves it.
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
        client.load("digits", deadline=30)
        generation = server.generation
        assert client.infer("digits", {"pixels": pixels()}, deadline=10).generation == generation
        client.load("digits", deadline=30)
        assert server.generation == generation, "nothing had changed"
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
        operate(server, "test", "scale:2")
        operate(server, "promote", "scale:2")
        assert server.client().infer("scale", SCALE_X, deadline=10).served_by == "default"
    with running(tmp_path, models=models) as server:
        assert server.client().infer("scale", SCALE_X, deadline=10)["y"] == -1
        done = asked("fallback", "off", "scale")
        assert "the model answers" in done.stdout, done.stderr
        reply = server.client().infer("scale", SCALE_X, deadline=10)
        assert (reply["y"].item(), reply.served_by, reply.degraded) == (3, "champion", False)


@pytest.mark.story
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


@pytest.mark.story
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
