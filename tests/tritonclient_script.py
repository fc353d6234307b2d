"""What users of Triton's client do, with the interpreter that has nothing but tritonclient and numpy.

`python tritonclient_script.py HOST:PORT [explicit]`; prints "all well" at the end.
"""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

target, explicit = sys.argv[1], sys.argv[2:] == ["explicit"]
client = triton.InferenceServerClient(target)
pixels = np.zeros((2, 64), np.float32)


def digits(rows: np.ndarray = pixels) -> list[triton.InferInput]:
    """Input for the digits models."""
    wanted = triton.InferInput("pixels", list(rows.shape), "FP32")
    wanted.set_data_from_numpy(rows)
    return [wanted]


def refused(call: object, *arguments: object, **more: object) -> str:
    """The status of a call that fails."""
    try:
        call(*arguments, **more)
    except InferenceServerException as error:
        if error.message():
            return error.status()
        raise AssertionError("no text") from error
    raise AssertionError(f"{call} was not refused")


def served() -> None:
    """Everything that asks and changes nothing."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")
    assert client.get_server_metadata().name == "inference-router"
    assert client.get_server_metadata(as_json=True)["name"] == "inference-router"
    about = client.get_model_metadata("digits")
    assert list(about.versions) == ["1", "2"]
    assert about.inputs[0].name == "pixels"
    config = client.get_model_config("digits", as_json=True)["config"]
    assert config["max_batch_size"] == 32
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {"name": "digits", "version": "2", "state": "READY"} in index

    # Infer: plain, with outputs, parameters, compression, a client's timeout.
    result = client.infer("digits", digits(), request_id="r1")
    assert result.get_response().id == "r1"
    assert result.as_numpy("probabilities").shape == (2, 10)
    assert result.get_response().parameters["served_by"].string_param == "champion"
    result = client.infer(
        "digits", digits(), model_version="1", outputs=[triton.InferRequestedOutput("label")], priority=1,
        timeout=5_000_000, client_timeout=10, sequence_id=0, parameters={"mine": "x"}, compression_algorithm="gzip",
    )  # fmt: skip
    assert result.as_numpy("probabilities") is None
    assert result.as_numpy("label").shape == (2,)
    assert result.get_response().model_version == "1"

    # Texts.
    about = client.get_model_metadata("wine")
    inputs = []
    for tensor in about.inputs:
        array = np.array([[b"pale"], [b"deep"]], object) if tensor.datatype == "BYTES" else np.ones((2, 1), np.float32)
        wanted = triton.InferInput(tensor.name, [2, 1], tensor.datatype)
        wanted.set_data_from_numpy(array)
        inputs.append(wanted)
    assert client.infer("wine", inputs).as_numpy("label").dtype == object

    # With a callback.
    answers: queue.Queue = queue.Queue()
    for _ in range(20):
        client.async_infer("digits", digits(), callback=lambda result, error: answers.put((result, error)))
    for _ in range(20):
        result, error = answers.get(timeout=10)
        assert error is None
        assert result.as_numpy("label").shape == (2,)

    # On a stream, where an error concerns one request.
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for i in range(10):
        client.async_stream_infer("digits" if i != 4 else "nothing", digits(), request_id=str(i))
    for i in range(10):
        result, error = answers.get(timeout=10)
        if i == 4:
            assert result is None
            assert "nothing" in error.message()
        else:
            assert error is None
            assert result.get_response().id == str(i)
    client.stop_stream()

    statistics = client.get_inference_statistics("digits", "2")
    assert statistics.model_stats[0].inference_stats.success.count >= 10
    assert client.get_inference_statistics(as_json=True)["model_stats"]

    # Errors.
    assert refused(client.infer, "nothing", digits()) == "StatusCode.NOT_FOUND"
    assert refused(client.infer, "digits", digits(pixels[:, :3])) == "StatusCode.INVALID_ARGUMENT"
    x = triton.InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.ones((1, 1), np.float32))
    client.infer("slow", [x])
    assert refused(client.infer, "slow", [x], client_timeout=0.01) == "StatusCode.DEADLINE_EXCEEDED"
    assert refused(client.infer, "slow", [x], timeout=10_000) == "StatusCode.DEADLINE_EXCEEDED"
    assert refused(client.get_model_metadata, "nothing") == "StatusCode.NOT_FOUND"
    assert refused(client.get_model_config, "nothing") == "StatusCode.NOT_FOUND"
    assert refused(client.get_inference_statistics, "nothing") == "StatusCode.NOT_FOUND"
    assert refused(client.load_model, "digits") == "StatusCode.FAILED_PRECONDITION"
    assert refused(client.get_system_shared_memory_status) == "StatusCode.UNIMPLEMENTED"
    assert refused(client.get_trace_settings) == "StatusCode.UNIMPLEMENTED"
    assert refused(client.get_log_settings) == "StatusCode.UNIMPLEMENTED"


def changed() -> None:
    """Loading and unloading."""
    assert not client.is_model_ready("digits")
    assert refused(client.infer, "digits", digits()) == "StatusCode.UNAVAILABLE"
    client.load_model("digits")
    assert client.is_model_ready("digits")
    assert client.infer("digits", digits()).as_numpy("label").shape == (2,)
    client.load_model("digits")
    assert refused(client.load_model, "nothing") == "StatusCode.NOT_FOUND"
    assert refused(client.load_model, "digits", config="{}") == "StatusCode.INVALID_ARGUMENT"
    client.unload_model("digits", unload_dependents=True)
    assert not client.is_model_ready("digits")
    states = client.get_model_repository_index(as_json=True)["models"]
    assert {"UNAVAILABLE"} == {each["state"] for each in states if each["name"] == "digits"}


(changed if explicit else served)()
client.close()
sys.stdout.write("all well\n")
