"""Train the bundled models, or check that the committed ones still pass their exams.

python models/train.py [--out DIR]      writes DIR/<model>/<version>/model.onnx and the data beside it
python models/train.py --check          only reads; exit status 1 when a model falls below what it promises

The data come with scikit-learn: nothing is downloaded. Every step is seeded and runs on one thread, so that two runs
on one machine write the same bytes; another processor may round the last bits of the weights differently. What trains
is imported where it is used: to check needs none of it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from rich import box
from rich.console import Console
from rich.table import Table

Array = npt.NDArray[Any]

SEED = 2024
OPSET = {"": 18, "ai.onnx.ml": 3}
"""Pinned: a newer converter shall not change the operators of the bundled models."""
GOLDEN_ROWS = 8
IMAGE_ROW = 3
CULTIVARS = ("barolo", "grignolino", "barbera")
"""What `class_0` to `class_2` of the wine data stand for (Forina et al., PARVUS)."""


@dataclass(frozen=True, slots=True)
class Data:
    """Rows by input name, in the order of the model's inputs, and their labels `[rows]`.

    No model is ever trained on the rows of `exam`.
    """

    train: Mapping[str, Array]
    train_labels: Array
    exam: Mapping[str, Array]
    exam_labels: Array


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version of one model is made."""

    model: str
    version: int
    data: Callable[[], Data]
    estimator: Callable[[], Any]
    rows: int | None
    """Trained on this many rows of the training data; None: on all."""
    promise: float
    """The share of the exam that this version answers correctly, as measured when it was committed, rounded down."""
    shared: bool = False
    """Its training rows are put beside its versions too, for `models/retrain_digits.py`."""
    settings: str = ""
    """The model's `model.toml`, written where there is none: it belongs to the operator."""


def split(inputs: Mapping[str, Array], labels: Array, exam_rows: int) -> Data:
    """Set `exam_rows` rows aside, each label in its share."""
    from sklearn.model_selection import train_test_split

    train, exam = train_test_split(np.arange(len(labels)), test_size=exam_rows, stratify=labels, random_state=SEED)
    return Data(
        train={name: values[train] for name, values in inputs.items()},
        train_labels=labels[train],
        exam={name: values[exam] for name, values in inputs.items()},
        exam_labels=labels[exam],
    )


def digits() -> Data:
    """Handwritten digits of 8 × 8 pixels from 0 (white) to 16 (black): float32 `[rows, 64]`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return split({"pixels": bunch.data.astype(np.float32)}, bunch.target.astype(np.int64), exam_rows=400)


def wine() -> Data:
    """Four properties of a wine, each `[rows, 1]`: three measured, and its colour as a taster would name it."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    column = {name: bunch.data[:, [index]] for index, name in enumerate(bunch.feature_names)}
    shades = np.array(["pale", "medium", "deep"])
    inputs: dict[str, Array] = {name: column[name].astype(np.float32) for name in ("alcohol", "flavanoids", "proline")}
    inputs["color"] = shades[np.digitize(column["color_intensity"], [3.5, 6.0])]
    return split(inputs, np.array(CULTIVARS)[bunch.target], exam_rows=60)


def linear(**settings: Any) -> Any:
    """Logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**settings)


def layered() -> Any:
    """One hidden layer."""
    from sklearn.neural_network import MLPClassifier

    # alpha: the best of 0.01, 1 and 3 in a five-fold cross-validation of the training rows.
    return MLPClassifier((64,), alpha=1.0, max_iter=2000, random_state=SEED)


def wine_pipeline() -> Any:
    """Scale the numbers, spread the colour over one column each; a colour never seen counts for none."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer(
        [("numbers", StandardScaler(), [0, 1, 2]), ("color", OneHotEncoder(handle_unknown="ignore"), [3])]
    )
    return make_pipeline(columns, linear(max_iter=1000))


RECIPES = (
    Recipe(
        model="digits",
        version=1,
        data=digits,
        estimator=lambda: linear(C=0.001, max_iter=2000),
        rows=400,
        promise=0.91,
        settings='# Both versions are loaded: one can serve while the other is tried.\nversions = "all"\n',
    ),
    Recipe(
        model="digits",
        version=2,
        data=digits,
        estimator=layered,
        rows=None,
        promise=0.97,
        shared=True,
    ),
    Recipe(
        model="digits-small",
        version=1,
        data=digits,
        estimator=lambda: linear(C=0.01, max_iter=2000),
        rows=100,
        promise=0.86,
    ),
    Recipe(
        model="wine",
        version=1,
        data=wine,
        estimator=wine_pipeline,
        rows=None,
        promise=0.95,
    ),
)


def matrix(inputs: Mapping[str, Array]) -> Array:
    """The inputs side by side, `[rows, columns]`; of objects when one of them holds strings."""
    columns = list(inputs.values())
    if all(values.dtype.kind == "f" for values in columns):
        return np.hstack(columns)
    return np.hstack([values.astype(object) for values in columns])


def to_onnx(estimator: Any, recipe: Recipe, inputs: Mapping[str, Array]) -> bytes:
    """The trained estimator as an ONNX model with the outputs `label` `[N]` and `probabilities` `[N, classes]`."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = [
        (name, (StringTensorType if values.dtype.kind == "U" else FloatTensorType)([None, values.shape[1]]))
        for name, values in inputs.items()
    ]
    # A fixed name: the converter makes up a random one otherwise.
    model = convert_sklearn(
        estimator,
        name=f"{recipe.model}-{recipe.version}",
        initial_types=types,
        target_opset=OPSET,
        options={id(estimator): {"zipmap": False}},
    )
    # The converter may list a domain twice.
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    for domain, version in sorted(opsets.items()):
        model.opset_import.add(domain=domain, version=version)
    # One symbol for all first dimensions says that they are the same number: rows.
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    if [value.name for value in model.graph.output] != ["label", "probabilities"]:
        raise RuntimeError(f"the converter named the outputs of {recipe.model} otherwise than expected")
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def save(path: Path, **arrays: Array) -> None:
    """Write an .npz. Not compressed: its bytes then do not depend on the version of zlib."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, **arrays)


def named_inputs(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """`input:NAME` for each input, as the files spell it."""
    return {f"input:{name}": values for name, values in inputs.items()}


def train(recipe: Recipe, out: Path) -> None:
    """Write one version, its golden rows and its model's exam below `out`."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

    data, estimator = recipe.data(), recipe.estimator()
    with threadpool_limits(1):  # of the libraries that are loaded by now: never before the estimator's
        _train(recipe, out, data, estimator)


def _train(recipe: Recipe, out: Path, data: Data, estimator: Any) -> None:
    home = out / recipe.model
    directory = home / str(recipe.version)

    estimator.fit(matrix(data.train)[: recipe.rows], data.train_labels[: recipe.rows])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(to_onnx(estimator, recipe, data.train))

    # The expected outputs are scikit-learn's own, so they test the conversion too. Their rows are never the exam's:
    # whoever trains may see what lies in a version directory.
    golden = {name: values[:GOLDEN_ROWS] for name, values in data.train.items()}
    rows = matrix(golden)
    expected = {
        "output:label": estimator.predict(rows),
        "output:probabilities": estimator.predict_proba(rows).astype(np.float32),
    }
    save(directory / "golden" / "smoke.npz", **named_inputs(golden), **expected)
    save(home / "exam" / "exam.npz", **named_inputs(data.exam), label=data.exam_labels)
    if "pixels" in data.train:  # one picture, to try the model with
        np.save(home / "image.npy", data.train["pixels"][IMAGE_ROW].reshape(8, 8))
    if recipe.shared:
        rows, labels = data.train["pixels"].astype(np.uint8), data.train_labels.astype(np.uint8)
        save(home / "training.npz", pixels=rows, label=labels)
    settings = home / "model.toml"
    if recipe.settings and not settings.exists():
        settings.write_text(recipe.settings, encoding="utf-8")


def wilson(correct: int, rows: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share, `(low, high)` (Wilson 1927, "Probable inference", JASA 22)."""
    share = correct / rows
    middle = share + z * z / (2 * rows)
    spread = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return (middle - spread) / (1 + z * z / rows), (middle + spread) / (1 + z * z / rows)


def exam(model: Path, questions: Path) -> tuple[int, int]:
    """Let a model answer an exam: `(correct, rows)`. Raises FileNotFoundError where one of the two is missing."""
    with np.load(questions, allow_pickle=False) as file:
        arrays = dict(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    feed = {name.removeprefix("input:"): values for name, values in arrays.items() if name.startswith("input:")}
    (answers,) = session.run(["label"], feed)
    return int(np.sum(answers == arrays["label"])), len(arrays["label"])


def report(out: Path, console: Console) -> bool:
    """Examine the models below `out` and print a table. True when each keeps its promise."""
    table = Table(title="Exam of the bundled models, on rows they were not trained on", box=box.SIMPLE, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("version", "accuracy", "95 % interval", "promise", "rows", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    kept = True
    for recipe in RECIPES:
        home = out / recipe.model
        model = home / str(recipe.version) / "model.onnx"
        correct, rows = exam(model, home / "exam" / "exam.npz")
        low, high = wilson(correct, rows)
        passed = correct / rows >= recipe.promise
        kept = kept and passed
        table.add_row(
            recipe.model,
            str(recipe.version),
            f"{correct / rows:.1%}",
            f"{low * 100:.1f}–{high:.1%}",
            f"{recipe.promise:.0%}" if passed else f"[bold red]{recipe.promise:.0%}, broken[/]",
            str(rows),
            f"{model.stat().st_size / 1024:.0f} KiB",
        )
    console.print(table)
    return kept


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="the model repository")
    parser.add_argument("--check", action="store_true", help="train nothing; only examine the models in DIR")
    chosen = parser.parse_args(arguments)
    if not chosen.check:
        for recipe in RECIPES:
            train(recipe, chosen.out)
    try:
        return 0 if report(chosen.out, Console()) else 1
    except FileNotFoundError as error:
        print(f"{error.filename} is missing; run models/train.py without --check to make it", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
