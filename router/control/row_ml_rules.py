"""Operators outside ONNX's own domain: classical models (`ai.onnx.ml`) and what onnxruntime fuses (`com.microsoft`)."""

from __future__ import annotations

from typing import Final

from router.control.row_products import factors, multiplied
from router.control.row_rules import alone, each, refused, together
from router.control.row_values import (
    BATCH,
    ONE,
    Node,
    Rows,
    Rule,
    Size,
    broadcast,
    product,
)

LABELS: Final = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")
"""Where classifiers keep their labels."""


def _table(node: Node, index: int = 0) -> Rows:
    """An input [batch, features]. One axis alone would be read as the features of one row."""
    value = node.samples(index)
    if len(value.shape) != 2:
        raise node.refusal(f"{node.operator} takes rows of features, [batch, features]")
    return value


def scores(node: Node) -> tuple[Rows]:
    """A regressor or vectorizer: [batch, features] to [batch, numbers]."""
    value = _table(node)
    node.all_plain(1)
    targets = int(node.attributes.get("n_targets", node.attributes.get("targets", 0)))
    return (value.like(0, (value.extent, Size(targets) if targets > 0 else next(node.fresh))),)


def classes(node: Node) -> tuple[Rows, Rows]:
    """A classifier: a label for each row, and [batch, scores]."""
    value = _table(node)
    node.all_plain(1)
    labels = max(len(node.attributes.get(name, ())) for name in LABELS)
    if node.operator == "LinearClassifier":
        planes = len(node.attributes.get("intercepts", ()))
        count = 2 if planes == 1 and labels == 2 else planes
    else:
        count = 0 if node.operator == "SVMClassifier" else labels
    columns = Size(count) if count else next(node.fresh)
    return value.like(0, (value.extent,)), value.like(0, (value.extent, columns))


def features(node: Node) -> tuple[Rows]:
    """Each row's features by constants for each feature."""
    value = _table(node)
    node.all_plain(1)
    return (value,)


def feature_vectorizer(node: Node) -> tuple[Rows]:
    """Tables side by side."""
    tables = [_table(node, index) for index in range(len(node.inputs))]
    if len({(value.before, value.after) for value in tables}) > 1:
        raise node.refusal("FeatureVectorizer of different batches")
    return (tables[0].like(0, (tables[0].extent, *node.unknown(1))),)


def one_hot_encoder(node: Node) -> tuple[Rows]:
    """A new last axis of categories."""
    value = node.rows(0)
    return (value.like(value.axis, (*value.shape, *node.unknown(1))),)


def array_feature_extractor(node: Node) -> tuple[Rows]:
    """Entries of the last axis at constant places; or entries of one constant vector at the rows' places, [1, rows]."""
    data, places = node.value(0), node.value(1)
    if isinstance(data, Rows):
        node.plain(1)
        if len(data.shape) < 2 or data.axis == len(data.shape) - 1:
            raise node.refusal("ArrayFeatureExtractor over the batch axis")
        return (data.like(data.axis, (*data.shape[:-1], *node.unknown(1))),)
    table = node.plain(0).shape
    if table is None or not isinstance(places, Rows):
        raise node.refusal("ArrayFeatureExtractor of a tensor of unknown rank")
    before = product(places.shape[: places.axis]) * places.before
    after = product(places.shape[places.axis + 1 :]) * places.after
    shape = (*table[:-1], BATCH) if len(table) > 1 else (ONE, BATCH)
    return (Rows.at(len(shape) - 1, shape, before, after),)


def string_normalizer(node: Node) -> tuple[Rows]:
    """Letters changed entry by entry; stop words would drop entries of some rows."""
    if node.attributes.get("stopwords"):
        raise node.refusal("StringNormalizer drops entries that are stop words")
    return (node.rows(0),)


def distances(node: Node) -> tuple[Rows]:
    """CDist from each row to constant points."""
    value = _table(node)
    node.plain(1)
    return (value.like(0, (value.extent, *node.unknown(1))),)


def skip_normalization(node: Node) -> tuple[Rows, ...]:
    """(Skip)LayerNormalization over the last axis of the sum of two tensors."""
    value = node.rows(0)
    node.keep_off(value, (len(value.shape) - 1,))
    total = broadcast(node, [part for part in node.inputs if part is not None])
    if len(total.shape) != len(value.shape) or node.attributes.get("axis", -1) != -1:
        raise node.refusal(f"{node.operator} over other axes than the last")
    for index in range(2, len(node.inputs)):
        if node.given(index):
            node.plain(index)
    statistics = value.like(value.axis, (*value.shape[:-1], ONE))
    return value, statistics, statistics, value


def fused_matmul(node: Node) -> tuple[Rows]:
    """MatMul of tensors perhaps turned first."""
    if int(node.attributes.get("transBatchA", 0)) or int(node.attributes.get("transBatchB", 0)):
        raise node.refusal("FusedMatMul moves the batch axis")
    return (multiplied(node, *factors(node)),)


def heads(node: Node) -> tuple[Rows]:
    """MultiHeadAttention of [batch, sequence, hidden] with no more than a bias."""
    for index in range(len(node.inputs)):
        if index < 3 and not (node.given(index) and node.samples(index).whole and len(node.samples(index).shape) == 3):
            raise node.refusal("MultiHeadAttention of packed inputs")
        if index > 3 and node.given(index):
            raise node.refusal("MultiHeadAttention with a mask or a memory")
    if len(node.inputs) < 3 or sum(node.used) > 1:
        raise node.refusal("MultiHeadAttention with a mask or a memory")
    if node.given(3):
        node.plain(3)
    query = node.rows(0)
    return (query.like(0, (*query.shape[:2], *node.unknown(1))),)


def self_attention(node: Node) -> tuple[Rows]:
    """com.microsoft Attention of [batch, sequence, hidden] with weights and a bias, no mask, no memory."""
    value = node.samples(0)
    if len(value.shape) != 3 or not value.whole or sum(node.used) > 1:
        raise node.refusal("Attention with a mask or a memory")
    for index in range(1, len(node.inputs)):
        if node.given(index):
            node.plain(index)
            if index > 2:
                raise node.refusal("Attention with a mask or a memory")
    return (value.like(0, (*value.shape[:2], *node.unknown(1))),)


def quantized_together(node: Node) -> tuple[Rows]:
    """QLinearAdd and QLinearMul: A, its scale and zero point, B, its own, and those of the outcome."""
    for index in (1, 2, 4, 5, 6, 7):
        shape = node.plain(index).shape if node.given(index) else ()
        if shape is None or set(shape) - {ONE}:
            raise node.refusal(f"input {index} of {node.operator} is not one number")
    return (broadcast(node, [node.value(0), node.value(3)]),)


CLASSICAL: Final[dict[str, Rule]] = {
    **each("LinearRegressor SVMRegressor TreeEnsembleRegressor TreeEnsemble", scores),
    **each("LinearClassifier SVMClassifier TreeEnsembleClassifier", classes),
    **each("Scaler Normalizer Imputer", features),
    **each("Binarizer LabelEncoder CategoryMapper", alone),
    **each("ZipMap DictVectorizer CastMap", refused("makes maps and no tensor")),
    "ArrayFeatureExtractor": array_feature_extractor,
    "FeatureVectorizer": feature_vectorizer,
    "OneHotEncoder": one_hot_encoder,
}
"""Operators of `ai.onnx.ml`."""

TEXT: Final[dict[str, Rule]] = {"StringNormalizer": string_normalizer, "TfIdfVectorizer": scores}
"""Operators of ONNX itself on text."""

FUSED: Final[dict[str, Rule]] = {
    **each("Gelu QuickGelu", alone),
    **each("FastGelu BiasGelu", together),
    **each("QLinearAdd QLinearMul", quantized_together),
    **each("QLinearSigmoid QLinearLeakyRelu", alone),
    **each("SkipLayerNormalization SkipSimplifiedLayerNormalization", skip_normalization),
    **each(
        "DynamicQuantizeMatMul DynamicQuantizeLSTM MatMulIntegerToFloat",
        refused("may take a scale from the whole batch"),
    ),
    "Attention": self_attention,
    "CDist": distances,
    "FusedMatMul": fused_matmul,
    "MultiHeadAttention": heads,
    "Tokenizer": refused("pads to the longest text of the batch"),
}
"""Operators of `com.microsoft`."""
