"""The trial process: `python -m router.app.inspect`. One JSON line in for each version, one JSON line out.

It loads a version the way a worker would, runs it once, and looks whether rows of different callers may share a run.
If a version takes this process with it, or never lets it go, that is the finding; router/control/inspection.py, the
parent, draws it.
"""

from __future__ import annotations

import ctypes
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from router.app import trial_manners
from router.app.reasons import explain, plain
from router.app.signature import check_types, declared, with_ranks
from router.control import artefact, rows, trial_rows
from router.control.inspection import OWNER, REPLY, SHOWN, Finding, Reply
from router.core.tensor import ANY, BYTES, DTYPES, Signature
from router.errors import ModelBroken, ModelFailed
from router.serving.session import check_providers

RUN_LIMIT_S: Final = 2.0
"""A version whose single run takes longer is not run again and again to look at its rows."""
TRIALS_LIMIT_S: Final = 20.0
"""All trial runs of one version together."""
FREE_SIZES: Final = (4, 1, 32, 224)
"""What free dimensions other than the batch are set to, tried in this order."""
ELEMENTS_LIMIT: Final = 4 << 20
"""No made-up input is larger."""

_BFLOAT16: Final = 16
"""TensorProto.DataType.BFLOAT16"""


def inspect(request: dict[str, Any], say: Callable[[Finding | None], None]) -> Finding:
    """What one version takes and gives, or why it cannot be served. Raises nothing over a broken version.

    `say` is told what stands even if this process does not survive the next step, None if nothing does.
    """
    directory = Path(request["directory"])
    try:
        model = artefact.read_model(directory / request["filename"])
        files = (request["filename"], *artefact.external_files(model, directory))
        sizes = [artefact.readable_file(directory, name).st_size for name in files]
    except ModelBroken as error:  # links and missing files are mended without a new digest: not to be remembered
        return Finding(ok=False, reason=str(error))
    except (OSError, ValueError) as error:
        return Finding(ok=False, reason=f"cannot be read: {plain(str(error), directory)}")
    try:
        check_providers(request["providers"])
    except ModelBroken as error:  # another build of the runtime may have it: not to be remembered
        return Finding(ok=False, reason=str(error))
    try:
        check_types(model)
        session = _load(directory / request["filename"], request["providers"])
        signature, unranked = declared(session, model)
    except ModelBroken as error:
        return Finding(ok=False, reason=str(error), lasting=True)
    except MemoryError:
        return Finding(ok=False, reason="there is not enough memory to load it")
    except Exception as error:  # noqa: BLE001 - the runtime has no base class for its errors; each becomes a reason
        reason = explain(error, directory)
        return Finding(ok=False, reason=reason, lasting="memory" not in reason.lower() and "alloc" not in reason)
    trial = Trial(session, signature)
    note = trial.first()
    if unranked:
        if not trial.outputs:
            reason = f"output `{artefact.shown(unranked[0])}` does not say how many dimensions it has, and {note}"
            return Finding(ok=False, reason=reason)
        signature = with_ranks(signature, unranked, trial.outputs)
    found = Finding(ok=True, signature=signature, file_bytes=sum(sizes), files=files, note=note)
    say(found)  # a graph that is too much for the proof may still be served
    joined = _joined(request, model, signature)
    if joined == SHOWN:
        say(None)  # one that fells the process with more rows may not
        joined = _agreed(trial, signature)
    return replace(found, joined=joined, lasting=not trial.slow)


class Trial:
    """Runs with made-up input, each ended when it takes too long."""

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        self._session = session
        self._signature = signature
        self._names = [spec.name for spec in signature.outputs]
        self._spent_s = 0.0
        self.slow = ""
        """Why there will be no more runs; empty as long as there may be."""
        self.outputs: list[np.ndarray] = []
        """Of the first run that succeeded."""

    def first(self) -> str:
        """One run, of batch 1. Returns why it failed, or nothing."""
        why = ""
        for size in FREE_SIZES:
            feeds = made_up(self._signature, size)
            if feeds is None:
                why = why or "its inputs are too large to be made up"
                continue
            try:
                self.outputs = self.run(feeds)
            except ModelFailed as error:
                why = why or str(error)
                if self.slow:
                    return self.slow
            else:
                return self.slow
        return f"a trial run with made-up input failed: {why}"

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs in the model's order. Raises ModelFailed, at once when the time for trials is used up."""
        if self.slow:
            raise ModelFailed(self.slow)
        options = ort.RunOptions()
        options.log_severity_level = 4

        def end() -> None:
            options.terminate = True

        timer = threading.Timer(RUN_LIMIT_S, end)
        timer.daemon = True
        started = time.monotonic()
        timer.start()
        try:
            outputs = self._outputs(feeds, options)
        except Exception as error:
            raise ModelFailed(plain(str(error), None)) from error
        finally:
            timer.cancel()
            took = time.monotonic() - started
            self._spent_s += took
            if took > RUN_LIMIT_S:
                self.slow = f"a single run takes more than {RUN_LIMIT_S:g} s"
            elif self._spent_s > TRIALS_LIMIT_S:
                self.slow = f"the trial runs take more than {TRIALS_LIMIT_S:g} s"
        return outputs

    def _outputs(self, feeds: dict[str, np.ndarray], options: ort.RunOptions) -> list[np.ndarray]:
        if not any(spec.datatype == "BF16" for spec in (*self._signature.inputs, *self._signature.outputs)):
            plain: list[np.ndarray] = self._session.run(self._names, feeds, options)
            return plain
        values = {}  # the runtime's plain interface does not know numpy's BF16
        for name, array in feeds.items():
            if array.dtype == DTYPES["BF16"]:
                bits = np.ascontiguousarray(array).view(np.uint16)
                values[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16)
            else:
                values[name] = ort.OrtValue.ortvalue_from_numpy(array)
        made = self._session.run_with_ort_values(self._names, values, options)
        return [_bfloats(value) if value.data_type() == "tensor(bfloat16)" else value.numpy() for value in made]


def _bfloats(value: ort.OrtValue) -> np.ndarray:
    shape = tuple(value.shape())
    size_bytes = 2 * math.prod(shape)
    raw = ctypes.string_at(value.data_ptr(), size_bytes) if size_bytes else b""
    return np.frombuffer(raw, DTYPES["BF16"]).reshape(shape)


def made_up(signature: Signature, free: int) -> dict[str, np.ndarray] | None:
    """Input that fits: batch 1, other free sizes `free`; whole numbers 1, others around 0. None if too large."""
    random = np.random.default_rng(0)
    feeds: dict[str, np.ndarray] = {}
    for spec in signature.inputs:
        if spec.optional:
            continue
        shape = [free if size == ANY else size for size in spec.shape]
        if spec.shape and spec.shape[0] == ANY:
            shape[0] = 1
        if np.prod([float(size) for size in shape]) > ELEMENTS_LIMIT:
            return None
        if spec.datatype == BYTES:
            feeds[spec.name] = np.full(shape, "1", dtype=object)
        elif spec.datatype.startswith(("FP", "BF")):
            feeds[spec.name] = random.standard_normal(shape).astype(DTYPES[spec.datatype])
        else:
            feeds[spec.name] = np.ones(shape, dtype=DTYPES[spec.datatype])
    return feeds


def _load(path: Path, providers: Sequence[str]) -> ort.InferenceSession:
    """From the path: a load from bytes would hold the interpreter."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=list(providers))


def _joined(request: dict[str, Any], model: Any, signature: Signature) -> str:
    """SHOWN by the graph, OWNER, or the reason why rows of different callers do not share a run."""
    if request["never_joined"]:
        return str(request["never_joined"])
    if request["rows_independent"] is False:
        return "the owner says that rows are not independent"
    if all(spec.optional for spec in signature.inputs):
        return "it has no input that must be given"
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if not spec.optional and spec.shape[:1] != (ANY,):
                return f"the first dimension of {side} `{artefact.shown(spec.name)}` is not free"
    if request["rows_independent"]:
        return OWNER
    try:
        why: str = rows.independent(model)
    except Exception as error:  # noqa: BLE001 - a fault in the proof costs the joining of rows, not the model
        why = f"it could not be shown that rows are independent: {plain(str(error), None)}"
    return why or SHOWN


def _agreed(trial: Trial, signature: Signature) -> str:
    """SHOWN if runs with several rows say what the graph says, otherwise the reason why not."""
    if not trial.outputs:
        return trial.slow or "the trial run with made-up input failed, so nothing could be compared"
    try:
        why: str = "" if trial.slow else trial_rows.agree(trial.run, signature)
    except Exception as error:  # noqa: BLE001 - as above
        why = f"the trial runs could not be compared: {plain(str(error), None)}"
    return trial.slow or why or SHOWN


def main() -> None:
    """Answers until stdin ends."""
    begun = trial_manners.begin()
    if begun is None:
        return
    questions, answers = begun

    def answer(reply: Reply) -> None:
        answers.write(REPLY.dump_json(reply) + b"\n")
        answers.flush()

    answer(Reply())  # listening
    while True:
        request = json.loads(questions.get())
        try:
            finding = inspect(request, lambda so_far: answer(Reply(so_far=so_far)))
        except Exception as error:  # noqa: BLE001 - every question gets an answer
            reason = f"cannot be inspected: {plain(f'{type(error).__name__}: {error}', Path(request['directory']))}"
            finding = Finding(ok=False, reason=reason)
        answer(Reply(final=finding))


if __name__ == "__main__":
    main()
