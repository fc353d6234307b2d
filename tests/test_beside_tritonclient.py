"""The client in one process with another client library of the same protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_inference import FakeServer, serving

OTHER = Path(__file__).parents[1] / ".venv-triton"
PARTS = ("tritonclient", "rapidjson*.so", "packaging")

OURS = """
from router.client import Client
"""
THEIRS = """
import tritonclient.grpc
"""
BOTH = """
import sys

import numpy as np

target, array = sys.argv[1], np.arange(6, dtype=np.float32).reshape(2, 3)
for _ in range(2):
    with Client(target) as ours:
        np.testing.assert_array_equal(ours.infer("echo", {"x": array}, deadline=10)["x"], array)
    theirs = tritonclient.grpc.InferenceServerClient(target)
    wanted = tritonclient.grpc.InferInput("x", array.shape, "FP32")
    wanted.set_data_from_numpy(array)
    result = theirs.infer("echo", [wanted], client_timeout=10, priority=1, timeout=1000)
    np.testing.assert_array_equal(result.as_numpy("x"), array)
    theirs.close()

from google.protobuf import descriptor_pool
from router.pb import POOL
from router.pb import inference_pb2 as ours
from tritonclient.grpc import service_pb2 as theirs

assert descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest") is not None
assert ours.ModelInferRequest.DESCRIPTOR.file.pool is POOL
assert theirs.ModelInferRequest.DESCRIPTOR.file.pool is not POOL
request = ours.ModelInferRequest(model_name="m", raw_input_contents=[b"x"])
assert theirs.ModelInferRequest.FromString(request.SerializeToString()).raw_input_contents == [b"x"]
print("both answered")
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with the other library and what only it needs, without its own protobuf, grpc and numpy."""
    (site,) = OTHER.glob("lib/python3*/site-packages") if (OTHER / "installed").exists() else (None,)
    if site is None:
        pytest.skip("`make .venv-triton/installed` makes the other library's environment")
    for part in PARTS:
        (found,) = site.glob(part)
        (tmp_path / found.name).symlink_to(found)
    return tmp_path


@pytest.mark.parametrize("imports", [OURS + THEIRS, THEIRS + OURS], ids=["ours first", "theirs first"])
def test_both_clients_work_in_one_process(theirs: Path, imports: str) -> None:
    """Whichever is imported first, both infer; the messages of the same names live in pools of their own."""
    with serving(FakeServer()) as target:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", imports + BOTH, target],
            env={**os.environ, "PYTHONPATH": str(theirs)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "both answered\n"), done.stderr
