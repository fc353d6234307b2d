"""What trial runs see of rows that reach each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from router.control.trial_rows import agree
from router.core.tensor import ANY, Signature, TensorSpec
from tests.control.row_graphs import session, signature
from tests.control.safe_graphs import SAFE
from tests.control.unsafe_graphs import GRAPH_RULES_ONLY, UNSAFE

Build = Callable[[], onnx.ModelProto]
Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]


def verdict(model: onnx.ModelProto) -> str:
    """Trial runs of the model in the real runtime."""
    loaded = session(model)
    return agree(lambda feeds: loaded.run(None, feeds), signature(loaded))


def spec(name: str, datatype: str = "FP32", *sizes: int, optional: bool = False) -> TensorSpec:
    """A tensor with a free first dimension."""
    return TensorSpec(name, datatype, (ANY, *sizes), optional=optional)


def one_to_one(datatype: str = "FP32", answer: str = "FP32") -> Signature:
    """x [batch, 4] to y [batch, …]."""
    return Signature((spec("x", datatype, 4),), (spec("y", answer, 4),))


@pytest.mark.parametrize("build", SAFE.values(), ids=SAFE.keys())
def test_rows_that_never_reach_each_other_agree(build: Build) -> None:
    """Every safe graph runs in the runtime, and its rows answer the same in company as alone."""
    assert verdict(build()) == ""


@pytest.mark.parametrize(
    "build", [pytest.param(build, id=name) for name, build in UNSAFE.items() if name not in GRAPH_RULES_ONLY]
)
def test_rows_that_reach_each_other_are_seen(build: Build) -> None:
    """Every cross-row graph that the runtime can run shows it."""
    why = verdict(build())
    assert why
    assert "\n" not in why


@pytest.mark.parametrize("name", [name for name, why in GRAPH_RULES_ONLY.items() if "kernel" not in why])
def test_what_only_the_graph_rules_see_is_known(name: str) -> None:
    """The cross-row graphs marked as caught by graph rules alone are just those."""
    assert verdict(UNSAFE[name]()) == ""


def test_a_row_that_changes_with_its_neighbours_is_named_with_numbers() -> None:
    """The reason holds the output, both numbers and the count of rows."""
    why = agree(lambda feeds: [feeds["x"] - feeds["x"].max()], one_to_one())
    assert why.startswith("output `y` of a row is ")
    assert "in a run of 2 and was" in why


def test_an_effect_of_large_batches_only_is_seen() -> None:
    """A run of 32 rows is among the trials."""
    assert agree(lambda feeds: [feeds["x"] + (len(feeds["x"]) > 20)], one_to_one())


def test_an_effect_of_the_place_in_the_batch_is_seen() -> None:
    """Rows are tried at several places."""
    assert agree(lambda feeds: [feeds["x"] + np.arange(len(feeds["x"]))[:, None] // 7], one_to_one())


def test_an_output_without_one_entry_for_each_row_is_refused() -> None:
    """A first dimension that is not the count of rows is a reason, even when it happens to fit one row."""
    assert (
        agree(lambda feeds: [feeds["x"][:1]], one_to_one())
        == "a batch of 2 rows that run alone fails: output `y` has 1 entries for 2 rows"
    )
    assert (
        agree(lambda feeds: [np.ones((7, 4), np.float32)], one_to_one())  # noqa: ARG005  (the same for all)
        == "trial runs failed: output `y` has 7 entries for 1 rows"
    )


def test_a_model_that_only_runs_alone_is_refused() -> None:
    """A batch that fails although each of its rows runs is a reason."""

    def run(feeds: Feeds) -> list[Array]:
        if len(feeds["x"]) > 1:
            raise RuntimeError("one row only")
        return [feeds["x"]]

    assert agree(run, one_to_one()) == "a batch of 2 rows that run alone fails: one row only"


def test_no_run_that_succeeds_is_a_reason() -> None:
    """A model that never runs is not batched; the reason holds what the runtime said, in one line."""

    def run(feeds: Feeds) -> list[Array]:
        raise ValueError(f"bad\n{next(iter(feeds))}")

    assert agree(run, one_to_one()) == "trial runs failed: bad x"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_places_in_a_short_table_are_found_by_trying_smaller_numbers(size: int) -> None:
    """Whole numbers out of range fail a row, not the trial."""
    table = np.arange(size, dtype=np.float32)

    assert agree(lambda feeds: [table[feeds["x"]]], one_to_one("INT64")) == ""
    assert agree(lambda feeds: [table[feeds["x"]] * len(feeds["x"]) + len(feeds["x"])], one_to_one("INT64"))


def test_free_dimensions_are_tried_until_one_runs() -> None:
    """A model that needs 16 features of a free count gets them, in both inputs."""
    free = Signature((spec("x", "FP32", ANY), spec("z", "FP32", ANY)), (spec("y", "FP32", 1),))
    weight = np.ones((16, 1), np.float32)
    assert agree(lambda feeds: [(feeds["x"] + feeds["z"]) @ weight], free) == ""


@pytest.mark.parametrize(("datatype", "noise"), [("FP32", 1e-5), ("FP16", 2e-3), ("FP64", 1e-5)])
def test_kernels_may_differ_by_the_roundings_of_their_type(datatype: str, noise: float) -> None:
    """A relative difference between batch sizes as small as kernels make it is no disagreement."""
    loud = one_to_one(datatype, datatype)

    def run(feeds: Feeds, factor: float) -> list[Array]:
        x = feeds["x"]
        return [(x.astype(np.float64) * (1 + factor * (len(x) > 1))).astype(x.dtype)]

    assert agree(lambda feeds: run(feeds, noise), loud) == ""
    assert agree(lambda feeds: run(feeds, 0.05), loud)


def test_a_steep_function_may_amplify_roundings() -> None:
    """What a few roundings of the input change in a row alone, a batch may change too."""

    def run(feeds: Feeds) -> list[Array]:
        x = feeds["x"].astype(np.float64)
        return [np.sin(20 * x * (1 + 2e-7 * (len(x) > 1))).astype(np.float32)]

    assert agree(run, one_to_one()) == ""


def test_labels_may_change_at_ties_only() -> None:
    """A label that a rounding of its own row changes may differ; one that a neighbour changes may not."""
    labels = Signature((spec("x", "FP32", 4),), (TensorSpec("label", "INT64", (ANY,)),))

    def steady(feeds: Feeds) -> list[Array]:
        return [feeds["x"].argmax(1)]

    def moved(feeds: Feeds) -> list[Array]:
        return [(feeds["x"] + feeds["x"].mean(0)).argmax(1)]

    assert agree(steady, labels) == ""
    assert "changes with the rows beside it" in agree(moved, labels)


def test_texts_and_truths_are_compared_exactly() -> None:
    """BYTES and BOOL outputs take part."""
    texts = one_to_one("BYTES", "BYTES")
    assert agree(lambda feeds: [feeds["x"]], texts) == ""
    assert agree(lambda feeds: [feeds["x"][::-1]], texts)
    truths = one_to_one("BOOL", "BOOL")
    assert agree(lambda feeds: [~feeds["x"]], truths) == ""
    assert agree(lambda feeds: [feeds["x"] ^ feeds["x"].any()], truths)


def test_a_row_longer_beside_a_longer_neighbour_is_seen() -> None:
    """An output whose other dimensions follow the batch is a reason."""

    def run(feeds: Feeds) -> list[Array]:
        return [np.zeros((len(feeds["x"]), 1 + int(abs(feeds["x"]).max())), np.float32)]

    assert "has another shape" in agree(run, one_to_one())


def test_nan_and_infinity_are_equal_to_themselves() -> None:
    """Rows whose answer is no number alone may be so in a batch."""

    def run(feeds: Feeds) -> list[Array]:
        with np.errstate(all="ignore"):
            return [np.log(feeds["x"])]

    assert agree(run, one_to_one()) == ""


def test_a_model_that_answers_otherwise_each_time_is_seen() -> None:
    """The same run twice must agree."""
    random = np.random.default_rng(1)
    assert agree(lambda feeds: [feeds["x"] + random.random()], one_to_one())


def test_inputs_that_need_not_be_given_are_left_out() -> None:
    """An optional input keeps the model's own value."""
    seen: set[str] = set()

    def run(feeds: Feeds) -> list[Array]:
        seen.update(feeds)
        return [feeds["x"]]

    assert agree(run, Signature((spec("x", "FP32", 4), spec("w", "FP32", 4, optional=True)), (spec("y"),))) == ""
    assert seen == {"x"}


def test_global_random_state_is_not_touched_and_a_seed_repeats_itself() -> None:
    """Two trials with one seed feed the same numbers, and numpy's own generator stays where it was."""
    before = np.random.get_state()[1].tobytes()
    fed: list[list[bytes]] = [[], []]
    for record in fed:

        def run(feeds: Feeds, record: list[bytes] = record) -> list[Array]:
            record.append(feeds["x"].tobytes())
            return [feeds["x"]]

        assert agree(run, one_to_one(), seed=3) == ""
    assert fed[0] == fed[1]
    assert np.random.get_state()[1].tobytes() == before
