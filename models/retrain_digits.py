"""Train a version of `digits` anew, on what a server has recorded: what `[retraining.digits] command` names.

python models/retrain_digits.py                              as a server runs it, told by its environment
python models/retrain_digits.py --first --out DIR            a first version, on the original rows alone

A server says which version is the parent, where the recordings are and where the new version belongs
(`ROUTER_MODEL_DIR`, `ROUTER_PARENT_VERSION`, `ROUTER_RECORDINGS`, `ROUTER_OUTPUT_DIR`). The network and its tuning are
the parent's, as its file declares them (`router.hyperparameter.…`): so the new version counts as its parent trained
anew. Of the recordings only those pictures are used of which it has come true what they show. While they are few, the
original rows are learned too.

Needs what the server needs and nothing more: the network is small enough for numpy. Seeded, on one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: the server beside us needs the other cores

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from router.control.recorded import Recordings
from router.core.features import Layout, columns
from router.core.reference import made
from router.core.reference_text import to_text
from router.errors import RouterError

Array = npt.NDArray[Any]

PIXELS: Final = 64
BLACK: Final = 16.0
CLASSES: Final = 10
GOLDEN_ROWS: Final = 8
LEAST: Final = 100
"""Labelled pictures, below which a recording teaches nothing."""
NAMED: Final = 3
"""Damaged files that are named."""
RECENT: Final = 400
"""Recorded pictures, the newest, which say what comes now: by them it is seen when something else does."""
ENOUGH: Final = 10_000
"""Labelled pictures, from which on the original rows are not needed beside them."""
TRAINING: Final = "training.npz"
"""What `models/train.py` has put beside the versions: no row of it is in the exam."""
OPSET: Final = 18
IR_VERSION: Final = 10
"""Pinned, as the operators are: a newer `onnx` shall not change what a file says of itself."""
PARENT: Final = "router.parent"
HYPERPARAMETER: Final = "router.hyperparameter."
ALGORITHM: Final = "one hidden layer, Adam"


class Refused(Exception):
    """Why there is nothing to train, in one line."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is declared kept from parent to child. `alpha` is the weight of the squares of all weights."""

    hidden: int = 64
    alpha: float = 1e-3
    rate: float = 0.01
    epochs: int = 200
    seed: int = 2024

    def declared(self) -> dict[str, str]:
        """As a file says it."""
        told = {"algorithm": ALGORITHM, **{name: repr(value) for name, value in asdict(self).items()}}
        return {HYPERPARAMETER + name: value for name, value in told.items()}


def tuning_of(model: Path) -> Tuning:
    """What a version's file declares. Raises Refused where it is not one that this program has made."""
    try:
        said = {entry.key: entry.value for entry in onnx.load(model, load_external_data=False).metadata_props}
    except (OSError, ValueError, DecodeError) as error:
        raise Refused(f"the parent's {model.name} cannot be read: {error}") from error
    algorithm = said.get(f"{HYPERPARAMETER}algorithm")
    if algorithm != ALGORITHM:
        declares = "no algorithm" if algorithm is None else f"another algorithm, {algorithm!r}"
        raise Refused(f"the parent declares {declares}: train its like with the program that made it, or --first")
    try:
        kinds: dict[str, Any] = {each.name: type(each.default) for each in fields(Tuning)}
        return Tuning(**{name: kind(said[HYPERPARAMETER + name]) for name, kind in kinds.items()})
    except (KeyError, ValueError) as error:
        raise Refused(f"the parent does not declare its whole tuning: {error} is missing or no number") from error


@dataclass(frozen=True, slots=True)
class Network:
    """Weights `[64, hidden]`, `[hidden]`, `[hidden, 10]`, `[10]`."""

    into: Array
    into_bias: Array
    out: Array
    out_bias: Array

    def probabilities(self, pixels: Array) -> Array:
        """Of each class, `[rows, 10]`, for pixels `[rows, 64]` from 0 to 16."""
        hidden = np.maximum(pixels / BLACK @ self.into + self.into_bias, 0.0)
        return _softmax(hidden @ self.out + self.out_bias)


def _softmax(scores: Array) -> Array:
    raised: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def fit(tuning: Tuning, pixels: Array, labels: Array) -> Network:
    """Learn pixels `[rows, 64]` and labels `[rows]`: cross-entropy, all rows in each step (Adam, Kingma & Ba 2015)."""
    random = np.random.default_rng(tuning.seed)
    rows, shown = len(pixels), pixels.astype(np.float64) / BLACK
    truth = np.eye(CLASSES)[labels]
    weights = [
        random.normal(0.0, np.sqrt(2.0 / PIXELS), (PIXELS, tuning.hidden)),  # He et al. 2015
        np.zeros(tuning.hidden),
        random.normal(0.0, np.sqrt(2.0 / tuning.hidden), (tuning.hidden, CLASSES)),
        np.zeros(CLASSES),
    ]
    means, squares = [np.zeros_like(each) for each in weights], [np.zeros_like(each) for each in weights]
    for step in range(1, tuning.epochs + 1):
        into, into_bias, out, out_bias = weights
        before = shown @ into + into_bias
        hidden = np.maximum(before, 0.0)
        wrong = (_softmax(hidden @ out + out_bias) - truth) / rows
        back = (wrong @ out.T) * (before > 0.0)
        slopes = [
            shown.T @ back + tuning.alpha * into,
            back.sum(axis=0),
            hidden.T @ wrong + tuning.alpha * out,
            wrong.sum(axis=0),
        ]
        for each, slope in enumerate(slopes):
            means[each] = 0.9 * means[each] + 0.1 * slope
            squares[each] = 0.999 * squares[each] + 0.001 * slope * slope
            root = np.sqrt(squares[each] / (1 - 0.999**step)) + 1e-8
            weights[each] = weights[each] - tuning.rate * means[each] / (1 - 0.9**step) / root
    return Network(*(each.astype(np.float32) for each in weights))


def to_onnx(network: Network, tuning: Tuning, parent: str) -> bytes:
    """The file: `pixels` `[N, 64]` in, `label` `[N]` and `probabilities` `[N, 10]` out. `parent` empty: it has none."""
    weights = {
        "black": np.array(BLACK, np.float32),
        "into": network.into,
        "into_bias": network.into_bias,
        "out": network.out,
        "out_bias": network.out_bias,
    }
    nodes = [
        helper.make_node("Div", ["pixels", "black"], ["shown"]),
        helper.make_node("MatMul", ["shown", "into"], ["weighed"]),
        helper.make_node("Add", ["weighed", "into_bias"], ["before"]),
        helper.make_node("Relu", ["before"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "out"], ["added_up"]),
        helper.make_node("Add", ["added_up", "out_bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", PIXELS])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="retrain_digits",
    )
    helper.set_model_props(model, {**tuning.declared(), **({PARENT: parent} if parent else {})})
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def write(out: Path, network: Network, tuning: Tuning, parent: str, rows: Array) -> None:
    """A version's directory: the model, and golden rows with the outputs that the trainer itself computes."""
    (out / "golden").mkdir(parents=True, exist_ok=True)
    golden = rows[:GOLDEN_ROWS].astype(np.float32)
    expected = network.probabilities(golden).astype(np.float32)
    arrays: Mapping[str, Array] = {
        "input:pixels": golden,
        "output:label": expected.argmax(axis=1),
        "output:probabilities": expected,
    }
    np.savez(out / "golden" / "smoke.npz", allow_pickle=False, **arrays)
    fresh = out / ".model.onnx"
    fresh.write_bytes(to_onnx(network, tuning, parent))
    fresh.replace(out / "model.onnx")  # last, and whole: who finds it finds all of the version


def write_reference(out: Path, pixels: Array) -> None:
    """What the version is made for, as the server compares with it what comes: `reference/inputs.json`."""
    found, _ = columns({"pixels": pixels})
    (out / "reference").mkdir(parents=True, exist_ok=True)
    text = to_text(made(found, Layout(found).cells({"pixels": pixels}, len(pixels))))
    (out / "reference" / "inputs.json").write_text(text, encoding="utf-8")


def original(file: Path) -> tuple[Array, Array]:
    """The rows that the first version was trained on. Raises Refused."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return kept["pixels"].astype(np.float32), kept["label"].astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise Refused(f"the original rows in {file} cannot be read: {error}") from error


def recorded(folder: Path) -> tuple[Array, Array]:
    """The pictures in the recordings of which it came true what they show. Raises Refused.

    What is no digit, or no picture, teaches nothing and is left out; so is a file that cannot be read, and it is named.
    """
    found = Recordings(folder)
    try:
        pixels, labels = found.labelled("pixels")
    except (OSError, RouterError) as error:
        raise Refused(f"the recordings cannot be read: {error}") from error
    if found.damaged:
        more = ", …" if len(found.damaged) > NAMED else ""
        print(f"files of recordings that cannot be read are left out: {', '.join(found.damaged[:NAMED])}{more}")
    if pixels.shape[1:] != (PIXELS,) or labels.dtype.kind not in "iuf":
        return np.empty((0, PIXELS), np.float32), np.empty(0, np.int64)
    good = np.isin(labels, np.arange(CLASSES)) & np.isfinite(pixels).all(axis=1)
    return pixels[good].astype(np.float32), labels[good].astype(np.int64)


def once(pixels: Array, labels: Array) -> tuple[Array, Array]:
    """Each picture once, with what was said of it last; in the order in which they first came."""
    last: dict[bytes, int] = {}
    for row, picture in enumerate(pixels):
        last[picture.tobytes()] = row
    rows = list(last.values())
    return pixels[rows], labels[rows]


def learned(recorded: tuple[Array, Array], first: tuple[Array, Array]) -> tuple[Array, Array]:
    """What is trained on: the recorded pictures, and beside them the original rows while they are few.

    Raises Refused where they are too few to teach anything.
    """
    pixels, labels = once(*recorded)
    if len(pixels) < LEAST:
        raise Refused(
            f"the recordings hold {len(pixels)} different pictures of which it came true what they show,"
            f" and {LEAST} are needed: hand in more with `router actuals`, or record for longer"
        )
    if len(pixels) >= ENOUGH:
        return pixels, labels
    return np.concatenate([pixels, first[0]]), np.concatenate([labels, first[1]])


@dataclass(frozen=True, slots=True)
class Told:
    """What the server says in the environment of the command."""

    parent: str
    model: Path
    recordings: Path
    out: Path


def told(environment: Mapping[str, str]) -> Told:
    """Raises Refused for what is missing."""
    names = ("ROUTER_PARENT_VERSION", "ROUTER_MODEL_DIR", "ROUTER_RECORDINGS", "ROUTER_OUTPUT_DIR")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise Refused(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set: `router retrain` starts this"
            " program; or give --first"
        )
    parent, model, recordings, out = (environment[name] for name in names)
    return Told(parent, Path(model), Path(recordings), Path(out))


def retrain(given: Told, training: Path | None) -> str:
    """The new version, and what was done, in one line. Raises Refused."""
    tuning = tuning_of(given.model / given.parent / "model.onnx")
    first = original(training or given.model / TRAINING)
    seen = recorded(given.recordings)
    pixels, labels = learned(seen, first)
    network = fit(tuning, pixels, labels)
    write_reference(given.out, seen[0][-RECENT:])
    write(given.out, network, tuning, given.parent, pixels)
    beside = f" and {len(first[0])} original ones" if len(pixels) > len(once(*seen)[0]) else ""
    return f"version {given.parent} trained anew on {len(once(*seen)[0])} recorded pictures{beside}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", action="store_true", help="a first version, without a parent or recordings")
    parser.add_argument("--out", type=Path, metavar="DIR", help="with --first: the version's directory")
    parser.add_argument(
        "--training", type=Path, metavar="FILE", help=f"the original rows; without it {TRAINING} beside the versions"
    )
    chosen = parser.parse_args(arguments)
    if chosen.first != (chosen.out is not None):
        parser.error("--first and --out DIR go together")
    try:
        if not chosen.first:
            print(retrain(told(os.environ), chosen.training))
            return 0
        tuning = Tuning()
        pixels, labels = original(chosen.training or Path(__file__).parent / "digits" / TRAINING)
        write(chosen.out, fit(tuning, pixels, labels), tuning, "", pixels)
    except (Refused, OSError) as error:
        print(f"nothing was trained: {error}", file=sys.stderr)
        return 1
    print(f"a first version, trained on {len(pixels)} original pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
