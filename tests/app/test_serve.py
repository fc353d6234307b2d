"""A real server, from the outside: every method of the protocol, on both transports, with two workers."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client.parser import text_string_to_metric_families

from router.client import Client, DeadlineExceeded, InferenceError, Reply, Request, Unavailable
from router.pb import inference_pb2 as pb
from tests.server import ROOT, Server, eventually, pixels, put, router, running
from tests.slow_models import escaping, picky, save, slow, unknown_operator

TRITON = ROOT / ".venv-triton"
SERVICE = "inference.GRPCInferenceService"
INTERNAL = re.compile(r"0x[0-9a-fA-F]{4,}|Traceback|(?<![\w.`])/\w+/|\.py\b|onnxruntime::|line \d+")
"""What no text for a caller may hold."""

LABELS = ("process", "model", "version", "reason", "le")


def repository(root: Path) -> Path:
    """The bundled models, slow and picky ones, and broken ones."""
    models = put(root / "models", "digits", "wine")
    save(slow(25), models, "slow", toml="[batch]\nmax_size = 1\n")
    save(picky(), models, "picky")
    save(unknown_operator(), models, "unknown")
    save(escaping("../../wine/1/model.onnx"), models, "escape")
    (models / "text" / "1").mkdir(parents=True)
    (models / "text" / "1" / "model.onnx").write_text("this is no model")
    return models


@pytest.fixture(scope="module", params=["core", "aio"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of this file, on each transport."""
    folder = tmp_path_factory.mktemp("server")
    with running(folder, models=repository(folder), transport=request.param, workers=2) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    """One connection."""
    return server.client()


def raw(server: Server, method: str, message: bytes, deadline: float = 10) -> bytes:
    """Bytes to bytes. Raises grpc.RpcError."""
    with grpc.insecure_channel(server.grpc) as channel:
        return bytes(channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=deadline))


def refused(server: Server, method: str, message: bytes = b"") -> tuple[grpc.StatusCode, str]:
    """Code and text of a call that fails."""
    with pytest.raises(grpc.RpcError) as raised:
        raw(server, method, message)
    return raised.value.code(), raised.value.details()


def scraped(server: Server) -> dict[str, dict[tuple[str, ...], float]]:
    """The metrics: values by the labels' values, by name."""
    text = httpx.get(server.url + "/metrics", timeout=10).text
    values: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = tuple(sample.labels[name] for name in LABELS if name in sample.labels)
            values.setdefault(sample.name, {})[key] = sample.value
    return values


def ports(pid: int) -> set[int]:
    """The local ports of a process's connections."""
    return {each.laddr.port for each in psutil.Process(pid).net_connections("tcp") if each.laddr}


# ---- starting ----


def test_the_banner_says_what_serves_and_a_line_that_works(server: Server) -> None:
    """Models, states and ports are printed, and the line to try works as it stands."""
    out = eventually(lambda: server.out if "try it" in server.out else "")
    for word in ("digits", "wine", "champion", "unavailable", server.grpc):
        assert word in out
    line = out.partition("try it in a second terminal:")[2].strip().splitlines()[0]
    done = subprocess.run(line.split(), capture_output=True, text=True, timeout=30, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "label" in done.stdout


def test_all_workers_and_the_controller_beat_and_serve(server: Server) -> None:
    """Each process has its place on the board and keeps beating."""
    board = server.board()
    before = [board.slot(i).beats for i in range(3)]
    eventually(lambda: all(board.slot(i).beats > before[i] for i in range(3)))
    assert {board.slot(i).restarts for i in range(3)} == {0}


# ---- every method ----


def test_live_ready_and_metadata(client: Client) -> None:
    """The server says that it lives, is ready, and what it is."""
    assert client.live(deadline=5)
    assert client.ready(deadline=5)
    about = client.metadata(deadline=5)
    assert about.name == "inference-router"
    assert "statistics" in about.extensions


def test_a_model_is_ready_when_it_can_answer(client: Client, server: Server) -> None:
    """Ready for a champion and its versions, not ready for a broken one, NOT_FOUND for an unknown one."""
    assert client.model_ready("digits", deadline=5)
    assert client.model_ready("digits", "1", deadline=5)
    assert not client.model_ready("unknown", deadline=5)
    for name, version in (("nothing", ""), ("digits", "77")):
        code, text = refused(server, "ModelReady", pb.ModelReadyRequest(name=name, version=version).SerializeToString())
        assert code is grpc.StatusCode.NOT_FOUND
        assert name in text


def test_model_metadata(client: Client) -> None:
    """Inputs, outputs and the versions that answer."""
    about = client.model_metadata("digits", deadline=5)
    assert about.versions == ("1", "2")
    assert [(t.name, t.datatype, t.shape) for t in about.inputs] == [("pixels", "FP32", (-1, 64))]
    assert [t.name for t in about.outputs] == ["label", "probabilities"]
    assert client.model_metadata("digits", "1", deadline=5).versions == ("1",)


def test_model_config(server: Server) -> None:
    """The configuration names backend, tensors without their batch dimension, and the batch size."""
    message = raw(server, "ModelConfig", pb.ModelConfigRequest(name="digits").SerializeToString())
    config = pb.ModelConfigResponse.FromString(message).config
    assert (config.name, config.backend) == ("digits", "onnxruntime")
    assert config.max_batch_size == 32
    assert list(config.input[0].dims) == [64]


def test_infer_answers_with_marks(client: Client) -> None:
    """The champion answers; the reply says who did, the version and the generation."""
    reply = client.infer("digits", {"pixels": pixels(3)}, id="a-1", deadline=10)
    assert reply["probabilities"].shape == (3, 10)
    assert (reply.id, reply.version, reply.served_by, reply.degraded) == ("a-1", "2", "champion", False)
    assert reply.parameters["model_version"] == "2"
    assert reply.generation is not None
    assert reply.generation >= 1


def test_infer_a_version_and_some_outputs(client: Client) -> None:
    """A version that is named answers; only the outputs asked for come back."""
    reply = client.infer("digits", {"pixels": pixels()}, version="1", outputs=["label"], deadline=10)
    assert (reply.version, list(reply.outputs)) == ("1", ["label"])


def test_infer_text(client: Client) -> None:
    """BYTES go in and come out."""
    golden = np.load(ROOT / "models/wine/1/golden/smoke.npz")
    names = [each.name for each in client.model_metadata("wine", deadline=5).inputs]
    arrays = {name: next(golden[key] for key in golden.files if key.endswith(name)) for name in names}
    arrays = {name: array.astype(object) if array.dtype.kind in "US" else array for name, array in arrays.items()}
    reply = client.infer("wine", arrays, deadline=10)
    assert all(isinstance(label, bytes) for label in reply["label"])


def test_a_stream_answers_in_order_and_an_error_concerns_its_request_only(client: Client) -> None:
    """Many requests of one stream, fast and slow models, good and bad: order is kept, the stream lives on."""
    requests = []
    for i in range(300):
        if i % 50 == 7:
            requests.append(Request("digits", {"wrong": pixels()}, id=str(i)))
        elif i % 100 == 11:
            requests.append(Request("slow", {"x": np.ones((1, 1), np.float32)}, id=str(i)))
        else:
            requests.append(Request("digits", {"pixels": pixels()}, id=str(i)))
    answers = list(client.stream(requests, deadline=30))
    assert len(answers) == 300
    for i, answer in enumerate(answers):
        if i % 50 == 7:
            assert isinstance(answer, InferenceError)
            assert answer.request_id == str(i)
            assert "wrong" in answer.message
        else:
            assert isinstance(answer, Reply)
            assert answer.id == str(i)


def test_a_stream_takes_a_burst(client: Client) -> None:
    """A caller that sends thousands of requests before it reads has them all answered: the server slows it down."""
    answers = list(
        client.stream([Request("digits", {"pixels": pixels()}, id=str(i)) for i in range(3000)], deadline=60)
    )
    assert [answer.id for answer in answers if isinstance(answer, Reply)] == [str(i) for i in range(3000)]


def test_index_lists_broken_models_with_their_reason(client: Client) -> None:
    """What cannot be served is listed UNAVAILABLE with why; the rest is READY; no reason tells of paths."""
    index = {(each.name, each.version): each for each in client.index(deadline=10)}
    assert index["digits", "2"].state == "READY"
    for name, word in (("unknown", "Frobnicate"), ("escape", "leaves"), ("text", "ONNX")):
        each = index[name, "1"]
        assert each.state == "UNAVAILABLE"
        assert word.lower() in each.reason.lower(), each.reason
        assert not INTERNAL.search(each.reason), each.reason
    assert {each.state for each in client.index(ready=True, deadline=10)} == {"READY"}


def test_a_broken_model_answers_unavailable_with_its_reason(client: Client) -> None:
    """Who asks for it learns why it does not answer."""
    with pytest.raises(Unavailable) as raised:
        client.infer("unknown", {"x": np.ones(1, np.float32)}, deadline=10)
    assert "Frobnicate" in raised.value.message


def test_load_and_unload_are_refused_without_explicit_control(client: Client) -> None:
    """FAILED_PRECONDITION that names the mend."""
    for ask in (client.load, client.unload):
        with pytest.raises(InferenceError) as raised:
            ask("digits", deadline=10)
        assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "--model-control explicit" in raised.value.message


@pytest.mark.parametrize(
    "method", ["SystemSharedMemoryStatus", "CudaSharedMemoryRegister", "TraceSetting", "LogSettings", "Frobnicate"]
)
def test_what_is_not_offered_says_so(server: Server, method: str) -> None:
    """Shared memory, traces, logs and unknown methods answer UNIMPLEMENTED with a text."""
    code, text = refused(server, method)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert text


@pytest.mark.parametrize(
    "method",
    [
        "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig", "ModelInfer",
        "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
    ],
)  # fmt: skip
def test_a_message_that_is_none_is_refused(server: Server, method: str) -> None:
    """Bytes that are no message give INVALID_ARGUMENT, and no internals."""
    code, text = refused(server, method, b"\x0a\xff\xff")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert not INTERNAL.search(text)


def test_errors_name_what_was_wrong_and_tell_no_internals(client: Client) -> None:
    """Each kind of mistake has its code, and its text no path, address or traceback."""
    x, i = np.ones(3, np.float32), np.array([9], np.int64)
    cases: list[tuple[str, dict[str, Any], dict[str, Any], grpc.StatusCode]] = [
        ("nothing", {"x": x}, {}, grpc.StatusCode.NOT_FOUND),
        ("digits", {"pixels": pixels()}, {"version": "9"}, grpc.StatusCode.NOT_FOUND),
        ("digits", {}, {}, grpc.StatusCode.INVALID_ARGUMENT),
        ("digits", {"pixels": pixels().astype(np.float64)}, {}, grpc.StatusCode.INVALID_ARGUMENT),
        ("digits", {"pixels": pixels()[:, :5]}, {}, grpc.StatusCode.INVALID_ARGUMENT),
        ("digits", {"pixels": pixels()}, {"outputs": ["nope"]}, grpc.StatusCode.INVALID_ARGUMENT),
        ("digits", {"pixels": pixels()}, {"parameters": {"timeout": -1}}, grpc.StatusCode.INVALID_ARGUMENT),
        ("picky", {"x": x, "i": i}, {}, grpc.StatusCode.INTERNAL),
        ("text", {"x": x}, {}, grpc.StatusCode.UNAVAILABLE),
    ]
    for model, inputs, more, code in cases:
        with pytest.raises(InferenceError) as raised:
            client.infer(model, inputs, deadline=10, **more)
        assert raised.value.code is code, raised.value
        assert not INTERNAL.search(raised.value.message), raised.value.message
    assert client.infer("digits", {"pixels": pixels()}, deadline=10).version == "2"


# ---- time ----


def test_the_deadline_is_kept_while_the_model_runs(client: Client) -> None:
    """A timeout shorter than a run that has begun: DEADLINE_EXCEEDED by then; the next call is fine."""
    x = {"x": np.ones((1, 1), np.float32)}
    took = []
    for _ in range(5):  # others may have the cores meanwhile: the shortest is the model's own time
        began = time.monotonic()
        client.infer("slow", x, deadline=20)
        took.append(time.monotonic() - began)
    run_s = min(took)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded) as raised:
        client.infer("slow", x, parameters={"timeout": int(run_s * 0.5e6)}, deadline=20)
    assert not raised.value.by_client
    assert time.monotonic() - began < run_s * 0.5 + 1.0
    with pytest.raises(DeadlineExceeded):
        client.infer("slow", x, deadline=run_s * 0.5)
    assert client.infer("slow", x, deadline=20)["y"] == 1


def test_a_timeout_that_leaves_no_time_is_refused_unrun(client: Client) -> None:
    """What cannot be run in time is not run: it is counted as failed and there is no run more."""
    x = {"x": np.ones((1, 1), np.float32)}
    for _ in range(3):
        client.infer("slow", x, deadline=20)
    (before,) = client.statistics("slow", deadline=10)
    for _ in range(5):
        with pytest.raises(DeadlineExceeded):
            client.infer("slow", x, parameters={"timeout": 2000}, deadline=20)
    (after,) = client.statistics("slow", deadline=10)
    assert after.fail.count - before.fail.count == 5
    assert after.execution_count - before.execution_count <= 2  # one may be a probe of whether it is still that slow


def test_cancelled_work_leaves_the_queue(server: Server) -> None:
    """Calls that wait for a slow model and are cancelled are not run."""
    x = pb.ModelInferRequest(model_name="slow", raw_input_contents=[np.ones(1, "<f4").tobytes()])
    x.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message = x.SerializeToString()
    with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        first = ask.future(message, timeout=30)
        waiting = [ask.future(message, timeout=30) for _ in range(40)]
        began = time.monotonic()
        for each in waiting:
            each.cancel()
        ask(message, timeout=30)
        took = time.monotonic() - began
        assert first.result()
        began = time.monotonic()
        ask(message, timeout=30)
        run_s = time.monotonic() - began
    assert took < 15 * run_s + 0.5


# ---- what concerns all workers ----


def test_statistics_and_metrics_are_the_sum_over_workers(server: Server) -> None:
    """Requests that went to different workers are all counted, at once, by statistics and by the metrics."""
    clients = [server.client(i) for i in range(1, 9)]
    before = {each.version: each for each in clients[0].statistics("digits", deadline=10)}
    known = scraped(server)
    for client in clients:
        for rows in (1, 2, 2):
            client.infer("digits", {"pixels": pixels(rows)}, deadline=10)
        with pytest.raises(InferenceError):
            client.infer("digits", {"pixels": pixels()}, parameters={"timeout": 1}, deadline=10)
    after = {each.version: each for each in clients[0].statistics("digits", deadline=10)}
    assert after["2"].success.count - before["2"].success.count == 24
    assert after["2"].inference_count - before["2"].inference_count == 40
    assert after["1"].success.count == before["1"].success.count
    assert sum(b.batch_size * b.compute_infer.count for b in after["2"].batches) == after["2"].inference_count
    now = scraped(server)
    key = ("digits", "2")
    assert now["nv_inference_request_success"][key] - known["nv_inference_request_success"][key] == 24
    assert now["nv_inference_count"][key] - known["nv_inference_count"][key] == 40
    assert (
        now["nv_inference_request_failure"][*key, "OTHER"] - known["nv_inference_request_failure"][*key, "OTHER"] == 8
    )
    assert now["router_request_seconds_count"][key] == now["nv_inference_request_success"][key]
    port = int(server.grpc.rpartition(":")[2])
    busy = [
        pid for pid in (server.worker(0), server.worker(1))
        if any(c.laddr.port == port and c.raddr for c in psutil.Process(pid).net_connections("tcp"))
    ]  # fmt: skip
    assert len(busy) == 2, "all connections went to one worker: the sum was not tested"


def test_the_metrics_have_the_names_that_dashboards_know(server: Server) -> None:
    """Every name of Triton's, and the project's own."""
    values = scraped(server)
    known = {
        f"nv_{name}"
        for name in (
            "inference_request_success", "inference_request_failure", "inference_count", "inference_exec_count",
            "inference_pending_request_count", "inference_request_duration_us", "inference_queue_duration_us",
            "inference_compute_input_duration_us", "inference_compute_infer_duration_us",
            "inference_compute_output_duration_us", "model_load_duration_secs",
        )
    }  # fmt: skip
    assert known <= set(values)
    assert values["router_generation"][()] == server.generation
    assert values["router_process_serving"] == {("worker-0",): 1, ("worker-1",): 1, ("controller",): 1}
    assert {reason for *_, reason in values["nv_inference_request_failure"]} == {
        "REJECTED", "CANCELED", "BACKEND", "OTHER",
    }  # fmt: skip


def test_lines_of_the_http_library_are_json_too(server: Server) -> None:
    """What it says of bytes that are no HTTP is one line of the log, with the process."""
    host, _, port = server.addresses["http"].rpartition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        while connection.recv(4096):
            pass
    told = eventually(lambda: [line for line in server.log if "Invalid HTTP" in line["event"]])
    assert (told[0]["process"], told[0]["level"]) == ("controller", "warning")
    assert server.err.count("Invalid HTTP") == len(told)


def test_health_and_ready_over_http(server: Server) -> None:
    """Both answer 200; anything else is 404."""
    for path, code in (("/healthz", 200), ("/readyz", 200), ("/nope", 404)):
        assert httpx.get(server.url + path, timeout=5).status_code == code


# ---- health and reflection ----


def test_health_check_and_watch(server: Server) -> None:
    """The server, the service and each model by name; an unknown name is NOT_FOUND, and watched SERVICE_UNKNOWN."""
    status = health_pb2.HealthCheckResponse
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        def check(name: str) -> int:
            return int(health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status)

        for name in ("", SERVICE, "digits"):
            assert check(name) == status.SERVING
        assert check("unknown") == status.NOT_SERVING
        with pytest.raises(grpc.RpcError) as raised:
            check("nothing")
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        for name, expected in (("", status.SERVING), ("unknown", status.NOT_SERVING), ("x", status.SERVICE_UNKNOWN)):
            watch = health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert next(watch).status == expected
            watch.cancel()


def test_reflection_describes_every_service(server: Server) -> None:
    """A tool such as grpcurl finds the services and their messages."""
    with grpc.insecure_channel(server.grpc) as channel:
        found = ProtoReflectionDescriptorDatabase(channel)
        names = set(found.get_services())
        assert {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= names
        file = found.FindFileContainingSymbol(f"{SERVICE}.ModelInfer")
        assert "ModelInferRequest" in [message.name for message in file.message_type]
        assert "model_config.proto" in list(file.dependency)
        assert found.FindFileByName("model_config.proto").message_type
        with pytest.raises(KeyError):
            found.FindFileContainingSymbol("no.such.Thing")


# ---- other people's client, people's tools ----


def test_tritonclient_works_unchanged(server: Server) -> None:
    """Live, ready, metadata, config, statistics, infer in all its ways, index, mapped errors."""
    if not (TRITON / "installed").exists():
        pytest.skip("`make .venv-triton/installed` makes the other library's environment")
    done = subprocess.run(
        [str(TRITON / "bin/python"), str(ROOT / "tests/tritonclient_script.py"), server.grpc],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "all well"


def test_the_tools_of_people(server: Server) -> None:
    """infer, models and status print something readable, and one JSON object for programs."""
    image = str(ROOT / "models/digits/image.npy")
    assert "label" in router("infer", "digits", "--input", image, "--target", server.grpc).stdout
    told = json.loads(router("infer", "digits", "--input", image, "--target", server.grpc, "--json").stdout)
    assert told["model"] == "digits"
    assert "champion" in router("models", "--admin", server.admin).stdout
    assert "Frobnicate" in router("models", "unknown", "--admin", server.admin).stdout
    listed = json.loads(router("models", "--admin", server.admin, "--json").stdout)
    assert {"digits", "wine", "slow"} <= {route["model"] for route in listed["routes"]}
    missing = router("models", "nothing", "--admin", server.admin)
    assert (missing.exit_code, missing.stderr) == (1, "Error: unknown model 'nothing'\n")
    state = router("status", "--admin", server.admin)
    assert state.exit_code == 0
    assert "worker-1" in state.stdout
    status = json.loads(router("status", "--admin", server.admin, "--json").stdout)
    assert status["ready"] is True
    assert status["generation"] == server.generation
    assert {each["name"] for each in status["processes"]} == {"supervisor", "controller", "worker-0", "worker-1"}


def test_a_worker_is_small(server: Server) -> None:
    """Below 150 MB resident, also after all this."""
    for index in range(2):
        assert psutil.Process(server.worker(index)).memory_info().rss < 150e6


def test_an_idle_server_uses_no_core(server: Server) -> None:
    """All processes together use a small part of one core while nobody asks anything."""

    def seconds() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in server.family())

    def idle() -> bool:
        before = seconds()
        time.sleep(1.0)
        return seconds() - before < 0.15

    eventually(idle, "an idle server is busy")
