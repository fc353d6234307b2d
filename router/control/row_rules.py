"""Operators that compute: where each of ONNX's own keeps rows apart, by the operators' definitions in the standard."""

from __future__ import annotations

from typing import Final

from router.control.row_moves import permuted
from router.control.row_products import einsum, gemm, matmul, quantized_matmul
from router.control.row_values import (
    BATCH,
    ONE,
    Node,
    Plain,
    Rows,
    Rule,
    Size,
    broadcast,
)

UNARY: Final = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
    "Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus "
    "Softsign Sqrt Swish Tan Tanh ThresholdedRelu Cast RegexFullMatch"
)
BROADCAST: Final = (
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min "
    "Mod Mul Or PRelu Pow StringConcat Sub Sum SwiGLU Where Xor"
)
REDUCTIONS: Final = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)


def alone(node: Node) -> tuple[Rows]:
    """Each entry by itself; further inputs are constants of one entry each."""
    value = node.rows(0)
    scalars(node, 1)
    return (value,)


def scalars(node: Node, start: int) -> None:
    """Demand that inputs from `start` on hold one entry each and nothing of the batch."""
    for index in range(start, len(node.inputs)):
        if node.given(index) and (node.plain(index).shape is None or set(node.plain(index).shape or ()) - {ONE}):
            raise node.refusal(f"input {index} of {node.operator} holds more than one entry")


def together(node: Node) -> tuple[Rows]:
    """Entry by entry with broadcasting."""
    return (broadcast(node, [node.value(index) for index in range(len(node.inputs))]),)


def cast_like(node: Node) -> tuple[Rows]:
    """CastLike looks at the second input's type only."""
    return (node.rows(0),)


def dropout(node: Node) -> tuple[Rows, Rows]:
    """Dropout as inference runs it."""
    if node.given(2) and not _is_false(node.plain(2)):
        raise node.refusal("Dropout in training mode draws random numbers")
    return node.rows(0), node.rows(0)


def _is_false(value: Plain) -> bool:
    return value.array is not None and not value.array.any()


def batch_normalization(node: Node) -> tuple[Rows]:
    """BatchNormalization with the statistics of the training."""
    value = node.samples(0)
    node.all_plain(1)
    if int(node.attributes.get("training_mode", 0)) or sum(node.used) > 1:
        raise node.refusal("BatchNormalization in training mode takes its mean from the whole batch")
    return (value,)


def per_sample(node: Node) -> tuple[Rows]:
    """The shape stays, axis 0 is kept apart, everything else is weights."""
    value = node.samples(0)
    node.all_plain(1)
    return (value,)


def convolution(node: Node) -> tuple[Rows]:
    """Conv and its family: [batch, channels, …] with constant weights."""
    value = node.samples(0)
    node.all_plain(1)
    return (value.like(0, (value.extent, *node.unknown(len(value.shape) - 1))),)


def pool(node: Node) -> tuple[Rows]:
    """A pool over a window. MaxPool's second output counts through the whole batch."""
    value = node.samples(0)
    if sum(node.used) > 1:
        raise node.refusal("the indices of MaxPool count through the whole batch")
    return (value.like(0, (value.extent, value.shape[1], *node.unknown(len(value.shape) - 2))),)


def global_pool(node: Node) -> tuple[Rows]:
    """A pool over all axes from 2 on."""
    value = node.rows(0)
    node.all_plain(1)
    node.keep_off(value, range(2, len(value.shape)))
    return (value.like(value.axis, (*value.shape[:2], *(ONE for _ in value.shape[2:]))),)


def layer_normalization(node: Node) -> tuple[Rows, ...]:
    """LayerNormalization and RMSNormalization: over `axis` and all after it."""
    value = node.rows(0)
    node.all_plain(1)
    rank = len(value.shape)
    start = node.axis(rank, -1)
    node.keep_off(value, range(start, rank))
    scaled = broadcast(node, [part for part in node.inputs if part is not None])
    if len(scaled.shape) != rank:
        raise node.refusal(f"the scale of {node.operator} has more axes than the tensor")
    statistics = value.like(value.axis, (*value.shape[:start], *(ONE for _ in value.shape[start:])))
    return value, statistics, statistics


def mean_variance(node: Node) -> tuple[Rows]:
    """MeanVarianceNormalization; its default axes hold axis 0."""
    value = node.rows(0)
    axes = [int(axis) for axis in node.attributes.get("axes", (0, 2, 3))]
    node.keep_off(value, [axis + len(value.shape) if axis < 0 else axis for axis in axes])
    return (value,)


def along(default: int) -> Rule:
    """An operator that works along one axis and keeps the shape."""

    def apply(node: Node) -> tuple[Rows]:
        value = node.rows(0)
        node.keep_off(value, (node.axis(len(value.shape), default),))
        return (value,)

    return apply


def softmax(node: Node) -> tuple[Rows]:
    """Softmax, LogSoftmax, Hardmax. Before operator set 13 all axes from `axis` on are one."""
    value = node.rows(0)
    rank = len(value.shape)
    axis = node.axis(rank, -1 if node.version >= 13 else 1)
    node.keep_off(value, (axis,) if node.version >= 13 else range(axis, rank))
    return (value,)


def running(node: Node) -> tuple[Rows]:
    """CumSum and CumProd along a constant axis."""
    value = node.rows(0)
    rank = len(value.shape)
    (axis,) = node.whole_numbers(1)
    node.keep_off(value, (axis % rank,))
    return (value,)


def reduction(node: Node) -> tuple[Rows]:
    """Reduce… over named axes; without axes over all."""
    value = node.rows(0)
    axes = node.axes(1, len(value.shape))
    if not axes:
        if int(node.attributes.get("noop_with_empty_axes", 0)):
            return (value,)
        axes = tuple(range(len(value.shape)))
    return (_reduced(node, value, axes),)


def extreme_place(node: Node) -> tuple[Rows]:
    """ArgMax and ArgMin."""
    value = node.rows(0)
    return (_reduced(node, value, (node.axis(len(value.shape), 0),)),)


def _reduced(node: Node, value: Rows, axes: tuple[int, ...]) -> Rows:
    node.keep_off(value, axes)
    if int(node.attributes.get("keepdims", 1)):
        return value.like(value.axis, [ONE if axis in axes else size for axis, size in enumerate(value.shape)])
    return permuted(value, [axis for axis in range(len(value.shape)) if axis not in axes])


def top_k(node: Node) -> tuple[Rows, Rows]:
    """TopK along an axis that is not the batch."""
    value = node.rows(0)
    node.all_plain(1)
    axis = node.axis(len(value.shape), -1)
    node.keep_off(value, (axis,))
    best = value.like(value.axis, (*value.shape[:axis], next(node.fresh), *value.shape[axis + 1 :]))
    return best, best


def quantize(node: Node) -> tuple[Rows]:
    """QuantizeLinear and DequantizeLinear with constant scales: one, or one for each entry of another axis."""
    value = node.rows(0)
    node.all_plain(1)
    scale = node.plain(1).shape
    if scale is None or len(scale) > 1 or int(node.attributes.get("block_size", 0)):
        raise node.refusal(f"{node.operator} by blocks")
    if set(scale) - {ONE}:
        node.keep_off(value, (node.axis(len(value.shape), 1),))
    return (value,)


def resize(node: Node) -> tuple[Rows]:
    """Resize and Upsample of other axes than the batch, by constants or to sizes that name the batch's own."""
    value = node.rows(0)
    rank = len(value.shape)
    if node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise node.refusal("Resize cuts a part out of the batch")
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refusal("Resize takes one scale for all axes")
    axes = [int(axis) % rank for axis in node.attributes.get("axes", range(rank))]
    for index in (1, 2, 3):
        if node.given(index) and (index < 3 or value.axis not in axes):
            node.plain(index)
    if value.axis in axes:
        place = axes.index(value.axis)
        scales = 1 if node.operator == "Upsample" or node.version < 11 else 2
        if not (_scale_is_one(node, scales, place) or _size_is_batch(node, value, place)):
            raise node.refusal("Resize over the batch axis")
    sizes = [next(node.fresh) if axis in axes else size for axis, size in enumerate(value.shape)]
    return (value.like(value.axis, sizes),)


def _scale_is_one(node: Node, index: int, place: int) -> bool:
    if "scales" in node.attributes:
        return float(node.attributes["scales"][place]) == 1.0
    array = node.plain(index).array if node.given(index) else None
    return array is not None and array.size > place and float(array[place]) == 1.0


def _size_is_batch(node: Node, value: Rows, place: int) -> bool:
    if not node.given(3):
        return False
    sizes = node.value(3)
    elements = None if isinstance(sizes, Rows) else sizes.elements
    if elements is None:
        return False
    others = [size for other, size in enumerate(elements) if other != place]
    return elements[place] == value.extent and not any(size is not None and size.counts_rows for size in others)


def recurrent(node: Node) -> tuple[Rows, ...]:
    """RNN, GRU, LSTM: the batch is axis 1 of the sequence, or axis 0 with layout 1."""
    value = node.rows(0)
    layout = int(node.attributes.get("layout", 0))
    batch = 0 if layout else 1
    if value.axis != batch or len(value.shape) != 3:
        raise node.refusal(f"{node.operator} runs through the batch as through time")
    states = (5, 6) if node.operator == "LSTM" else (5,)
    for index in range(1, len(node.inputs)):
        if index in states and node.given(index):
            if node.rows(index).axis != batch or node.rows(index).extent != value.extent:
                raise node.refusal(f"an initial state of {node.operator} has the batch at another axis")
        elif index == 4 and node.given(index):
            if node.rows(index).axis != 0 or node.rows(index).extent != value.extent:
                raise node.refusal(f"the lengths of {node.operator} are not those of the rows")
        elif node.given(index):
            node.plain(index)
    if not value.whole:
        raise node.refusal(f"{node.operator} over a batch merged with other axes")
    directions = Size(2 if node.attributes.get("direction") == "bidirectional" else 1)
    hidden = Size(int(node.attributes["hidden_size"])) if "hidden_size" in node.attributes else next(node.fresh)
    steps = value.shape[1 if layout else 0]
    last = (BATCH, directions, hidden) if layout else (directions, BATCH, hidden)
    every = (BATCH, steps, directions, hidden) if layout else (steps, directions, BATCH, hidden)
    return Rows.at(0 if layout else 2, every), Rows.at(batch, last), Rows.at(batch, last)


def attention(node: Node) -> tuple[Rows, ...]:
    """Attention inside a row (operator set 23): queries, keys and values all hold the batch at axis 0."""
    query = node.samples(0)
    for index in (1, 2, 4, 5, 6):
        if node.given(index):
            node.samples(index)
    if node.given(3) and isinstance(node.value(3), Rows):
        if len(node.samples(3).shape) != 4:
            raise node.refusal("the mask of Attention has the batch at another axis")
    elif node.given(3):
        mask = node.plain(3).shape
        if mask is None or (len(mask) > 3 and mask[0] != ONE):
            raise node.refusal("the mask of Attention is for a fixed batch")
    if not all(value.whole for value in node.inputs if isinstance(value, Rows)):
        raise node.refusal("Attention over a batch merged with other axes")
    cache = Rows.at(0, (BATCH, *node.unknown(3)))
    return Rows.at(0, (BATCH, *node.unknown(len(query.shape) - 1))), cache, cache, cache


def grid_sample(node: Node) -> tuple[Rows]:
    """GridSample: each row's grid on that row's image."""
    value, grid = node.samples(0), node.samples(1)
    if value.extent != grid.extent or not value.whole:
        raise node.refusal("GridSample over a batch merged with other axes")
    return (Rows.at(0, (BATCH, value.shape[1], *grid.shape[1:-1])),)


def determinant(node: Node) -> tuple[Rows]:
    """Det of matrices in the last two axes."""
    value = node.rows(0)
    rank = len(value.shape)
    node.keep_off(value, (rank - 2, rank - 1))
    return (value.like(value.axis, value.shape[:-2]),)


def refused(why: str) -> Rule:
    """An operator that mixes rows whatever its axis."""

    def apply(node: Node) -> tuple[Rows, ...]:
        raise node.refusal(f"{node.operator} {why}")

    return apply


RANDOM: Final = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
"""Operators that answer otherwise each time, whatever they are given."""


def each(names: str, rule: Rule) -> dict[str, Rule]:
    """One rule for all of the names."""
    return dict.fromkeys(names.split(), rule)


COMPUTE: Final[dict[str, Rule]] = {
    **each(UNARY, alone),
    **each(BROADCAST, together),
    **each(REDUCTIONS, reduction),
    **each("Softmax LogSoftmax Hardmax", softmax),
    **each("AveragePool MaxPool LpPool", pool),
    **each("GlobalAveragePool GlobalMaxPool GlobalLpPool", global_pool),
    **each("Conv ConvTranspose ConvInteger QLinearConv", convolution),
    **each("InstanceNormalization GroupNormalization LRN", per_sample),
    **each("LayerNormalization RMSNormalization", layer_normalization),
    **each("ArgMax ArgMin", extreme_place),
    **each("CumSum CumProd", running),
    **each("RNN GRU LSTM", recurrent),
    **each("QuantizeLinear DequantizeLinear", quantize),
    **each("Resize Upsample", resize),
    **each("If Loop Scan", refused("runs a subgraph on the rows")),
    **each("NonZero Unique Compress StringSplit", refused("makes a size from the values of all rows")),
    "Attention": attention,
    "BatchNormalization": batch_normalization,
    "CastLike": cast_like,
    "Clip": alone,
    "Det": determinant,
    "Dropout": dropout,
    "DynamicQuantizeLinear": refused("takes its scale from the whole batch"),
    "Einsum": einsum,
    "Gemm": gemm,
    "GridSample": grid_sample,
    "LpNormalization": along(-1),
    "MatMul": matmul,
    "MatMulInteger": quantized_matmul((3,), 0, 1),
    "MeanVarianceNormalization": mean_variance,
    "NonMaxSuppression": refused("picks boxes over the whole batch"),
    "QLinearMatMul": quantized_matmul((4, 5), 0, 3),
    "ScatterND": refused("writes to rows by their number"),
    "TopK": top_k,
}
"""Operators of ONNX itself that compute."""
