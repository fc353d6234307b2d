"""Graphs of the shapes that exporters write, whose rows never reach each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from tests.control.row_graphs import graph, ints, weights

X = "(float[N,4] x) => (float[N,4] y)"
"""The signature of most."""

_ZERO, _ONE, _TWO = ints(0), ints(1), ints(2)
_LAST = np.int64(np.iinfo(np.int64).max)
_SCALE, _POINT = np.float32(0.05), np.uint8(128)


def nameless(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all free first dimensions left without a name, as many exporters write it."""
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim and value.type.tensor_type.shape.dim[0].dim_param:
            value.type.tensor_type.shape.dim[0].Clear()
    return model


def _tree(operator: str, opset: int = 3) -> onnx.ModelProto:
    """One tree of one split, for each of two trees."""
    common = {
        "nodes_treeids": [0, 0, 0, 1, 1, 1],
        "nodes_nodeids": [0, 1, 2, 0, 1, 2],
        "nodes_featureids": [0, 0, 0, 2, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
        "nodes_values": [0.5, 0.0, 0.0, 1.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
    }
    leaves = {"treeids": [0, 0, 1, 1], "nodeids": [1, 2, 1, 2], "ids": [0, 1, 0, 1], "weights": [0.3, 0.7, 0.1, 0.9]}
    if operator == "TreeEnsembleClassifier":
        own = {f"class_{name}": value for name, value in leaves.items()} | {"classlabels_int64s": [0, 1]}
        outputs = ["label", "scores"]
        infos = [
            helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 2]),
        ]
    else:
        own = {f"target_{name}": value for name, value in leaves.items()} | {"n_targets": 2}
        outputs = ["y"]
        infos = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 2])]
    node = helper.make_node(operator, ["x"], outputs, domain="ai.onnx.ml", **common, **own)
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4])]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", opset)]
    return helper.make_model(helper.make_graph([node], "g", inputs, infos), opset_imports=imports, ir_version=8)


def _transformer() -> onnx.ModelProto:
    """A block as PyTorch exports it: sizes from Shape, heads by Reshape and Transpose, a mask, learned positions."""
    return graph(
        """(int64[N,S] ids, int64[N,S] mask) => (float[N,S,8] y, float[N,8] pooled) {
        words = Gather(table, ids)
        shape = Shape(ids) n = Gather(shape, zero) s = Gather(shape, one)
        s1 = Unsqueeze(s, axis0) n1 = Unsqueeze(n, axis0)
        positions = Slice(places, axis0, s1, axis0)
        e = Add(words, positions) h = LayerNormalization<axis=-1>(e, gain, bias)
        q0 = MatMul(h, wq) k0 = MatMul(h, wk) v0 = MatMul(h, wv)
        split = Concat<axis=0>(n1, s1, heads, width)
        q1 = Reshape(q0, split) k1 = Reshape(k0, split) v1 = Reshape(v0, split)
        q = Transpose<perm=[0,2,1,3]>(q1) k = Transpose<perm=[0,2,3,1]>(k1) v = Transpose<perm=[0,2,1,3]>(v1)
        dots = MatMul(q, k) scaled = Div(dots, root)
        m4 = Unsqueeze(mask, axes12) mf = Cast<to=1>(m4) inverse = Sub(onef, mf) penalty = Mul(inverse, low)
        masked = Add(scaled, penalty) p = Softmax<axis=-1>(masked)
        mixed = MatMul(p, v) back = Transpose<perm=[0,2,1,3]>(mixed)
        joined_shape = Concat<axis=0>(n1, s1, hidden)
        joined = Reshape(back, joined_shape) out = MatMul(joined, wo) r = Add(out, e)
        n2 = LayerNormalization<axis=-1>(r, gain, bias)
        up = MatMul(n2, w1) half = Div(up, root2) erf = Erf(half) er1 = Add(erf, onef) gelu = Mul(up, er1)
        down = MatMul(gelu, w2) y = Add(down, r)
        first = Gather<axis=1>(y, zero) pooled = Tanh(first) }""",
        table=weights(50, 8),
        places=weights(512, 8),
        zero=np.int64(0),
        one=np.int64(1),
        axis0=_ZERO,
        axes12=ints(1, 2),
        heads=_TWO,
        width=ints(4),
        hidden=ints(8),
        root=np.float32(2),
        root2=np.float32(1.41421),
        onef=np.float32(1),
        low=np.float32(-10000),
        gain=weights(8),
        bias=weights(8),
        wq=weights(8, 8),
        wk=weights(8, 8) * 0.5,
        wv=weights(8, 8),
        wo=weights(8, 8),
        w1=weights(8, 16),
        w2=weights(16, 8),
    )


def _vision_transformer() -> onnx.ModelProto:
    """Patches by Conv, a class token expanded to the batch the way PyTorch writes expand(n, -1, -1), positions."""
    return graph(
        """(float[N,3,8,8] x) => (float[N,5] y) {
        p = Conv<kernel_shape=[4,4], strides=[4,4]>(x, wp)
        shape = Shape(p) n = Gather(shape, zero) n1 = Unsqueeze(n, axis0)
        flat_shape = Concat<axis=0>(n1, six, minus)
        flat = Reshape(p, flat_shape) tokens = Transpose<perm=[0,2,1]>(flat)
        wanted = Concat<axis=0>(n1, minus, minus)
        ones = ConstantOfShape<value = int64[1] {1}>(three) negative = Mul(ones, minus)
        same = Equal(wanted, negative) target = Where(same, ones, wanted)
        cls = Expand(token, target)
        all = Concat<axis=1>(cls, tokens) e = Add(all, places)
        m = ReduceMean<keepdims=0>(e, axis1) y = Gemm<transB=1>(m, w, b) }""",
        wp=weights(6, 3, 4, 4),
        zero=np.int64(0),
        axis0=_ZERO,
        axis1=_ONE,
        six=ints(6),
        minus=ints(-1),
        three=ints(3),
        token=weights(1, 1, 6),
        places=weights(1, 5, 6),
        w=weights(5, 6),
        b=weights(5),
    )


def _merged_heads() -> onnx.ModelProto:
    """Attention with the heads merged into the batch, [N*h,S,d], the sequence first, as older PyTorch exports it."""
    return graph(
        """(float[N,3,8] x) => (float[N,3,8] y) {
        t = Transpose<perm=[1,0,2]>(x)
        shape = Shape(x) n = Gather(shape, zero) nh = Mul(n, heads) nh1 = Unsqueeze(nh, axis0)
        split = Concat<axis=0>(three, nh1, width)
        q0 = MatMul(t, wq) q1 = Reshape(q0, split) q = Transpose<perm=[1,0,2]>(q1)
        k0 = MatMul(t, wk) k1 = Reshape(k0, split) k = Transpose<perm=[1,2,0]>(k1)
        v1 = Reshape(t, split) v = Transpose<perm=[1,0,2]>(v1)
        d = MatMul(q, k) p = Softmax<axis=-1>(d) m = MatMul(p, v)
        back = Transpose<perm=[1,0,2]>(m)
        rows = Reshape(back, flat) o = Gemm(rows, wo)
        n1 = Unsqueeze(n, axis0) final = Concat<axis=0>(three, n1, hidden)
        r = Reshape(o, final) y = Transpose<perm=[1,0,2]>(r) }""",
        zero=np.int64(0),
        heads=np.int64(2),
        axis0=_ZERO,
        three=ints(3),
        width=ints(4),
        hidden=ints(8),
        flat=ints(-1, 8),
        wq=weights(8, 8),
        wk=weights(8, 8) * 0.3,
        wo=weights(8, 8),
    )


def _lstm(last: bool) -> onnx.ModelProto:
    """Sequence first inside, states of zeros as large as the batch; every step's output or the last state."""
    tail = (
        ("(float[N,5,3] x) => (float[N,6] y) {", "y = Squeeze(h, axis0) }")
        if last
        else ("(float[N,5,3] x) => (float[N,5,6] y) {", "d = Squeeze(every, axis1) y = Transpose<perm=[1,0,2]>(d) }")
    )
    return graph(
        tail[0]
        + """ t = Transpose<perm=[1,0,2]>(x) n = Shape<start=0, end=1>(x)
        shape = Concat<axis=0>(one, n, hidden) h0 = ConstantOfShape(shape) c0 = Expand(zero, shape)
        every, h, c = LSTM<hidden_size=6>(t, w, r, , , h0, c0) """
        + tail[1],
        axis0=_ZERO,
        axis1=_ONE,
        one=_ONE,
        hidden=ints(6),
        zero=np.zeros((1, 1, 1), np.float32),
        w=weights(1, 24, 3),
        r=weights(1, 24, 6) * 0.3,
    )


SAFE: dict[str, Callable[[], onnx.ModelProto]] = {
    "nothing at all": lambda: graph(f"{X} {{ y = Identity(x) }}"),
    "MLP": lambda: graph(
        "(float[N,4] x) => (float[N,3] y) { a = Gemm(x, w1, b1) r = Relu(a) z = Gemm<transB=1>(r, w2, b2)"
        " y = Softmax(z) }",
        w1=weights(4, 16),
        b1=weights(16),
        w2=weights(3, 16),
        b2=weights(3),
    ),
    "MLP in FP16": lambda: graph(
        "(float16[N,4] x) => (float16[N,3] y) { a = MatMul(x, w1) r = Relu(a) y = MatMul(r, w2) }",
        w1=weights(4, 16, dtype="float16"),
        w2=weights(16, 3, dtype="float16"),
    ),
    "MLP in FP64": lambda: graph(
        "(double[N,4] x) => (double[N,3] y) { a = MatMul(x, w) y = Tanh(a) }", w=weights(4, 3, dtype="float64")
    ),
    "CNN with Flatten": lambda: graph(
        "(float[N,3,8,8] x) => (float[N,5] y) { c = Conv<pads=[1,1,1,1]>(x, w, b)"
        " n = BatchNormalization(c, s, b, mean, var) r = Relu(n) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)"
        " f = Flatten(p) y = Gemm(f, d) }",
        w=weights(4, 3, 3, 3),
        b=weights(4),
        s=weights(4),
        mean=weights(4),
        var=np.ones(4, np.float32),
        d=weights(64, 5),
    ),
    "CNN with Reshape to 0, -1": lambda: graph(
        "(float[N,3,H,W] x) => (float[N,4] y) { c = Conv(x, w) p = GlobalAveragePool(c) y = Reshape(p, s) }",
        w=weights(4, 3, 3, 3),
        s=ints(0, -1),
    ),
    "CNN with Reshape to -1, 36": lambda: graph(
        "(float[N,3,8,8] x) => (float[N,2] y) { c = Conv(x, w) p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(c)"
        " f = Reshape(p, s) y = MatMul(f, d) }",
        w=weights(4, 3, 3, 3),
        s=ints(-1, 36),
        d=weights(36, 2),
    ),
    "reshape by Shape, Gather, Concat": lambda: graph(
        "(float[N,3,4] x) => (float[N,12] y) { s = Shape(x) n = Gather(s, z) u = Unsqueeze(n, a)"
        " t = Concat<axis=0>(u, m) y = Reshape(x, t) }",
        z=np.int64(0),
        a=_ZERO,
        m=ints(-1),
    ),
    "reshape by a sliced Shape and a product": lambda: graph(
        "(float[N,3,4] x) => (float[N,12] y) { s = Shape(x) h = Slice(s, z, o, z) r = Slice(s, o, e, z)"
        " p = ReduceProd<keepdims=1>(r) t = Concat<axis=0>(h, p) y = Reshape(x, t) }",
        z=_ZERO,
        o=_ONE,
        e=ints(3),
    ),
    "reshape of operator set 11": lambda: graph(
        "(float[N,3,4] x) => (float[N,12] y) { s = Shape(x) h = Slice(s, z, o) i = Cast<to=7>(h)"
        " t = Concat<axis=0>(i, m) y = Reshape(x, t) }",
        11,
        z=_ZERO,
        o=_ONE,
        m=ints(-1),
    ),
    "transformer block": _transformer,
    "vision transformer": _vision_transformer,
    "attention with heads merged into the batch": _merged_heads,
    "attention operator inside a row": lambda: graph(
        "(float[N,3,8] x, bool[N,1,3,3] m) => (float[N,3,8] y) {"
        " y = Attention<q_num_heads=2, kv_num_heads=2>(x, x, x, m) }",
        23,
    ),
    "LSTM, last state": lambda: _lstm(True),
    "LSTM, every step": lambda: _lstm(False),
    "GRU of two directions with lengths": lambda: graph(
        "(float[N,5,3] x, bool[N,5] z) => (float[N,2,4] y) { c = Cast<to=6>(z) k = ReduceMax<keepdims=0>(c, a)"
        " l = Add(k, four) t = Transpose<perm=[1,0,2]>(x)"
        ' e, h = GRU<hidden_size=4, direction="bidirectional">(t, w, r, , l) y = Transpose<perm=[1,0,2]>(h) }',
        a=_ONE,
        four=np.int32(4),
        w=weights(2, 12, 3),
        r=weights(2, 12, 4),
    ),
    "embeddings averaged": lambda: graph(
        "(int64[N,S] x) => (float[N,6] y) { e = Gather(t, x) y = ReduceMean<keepdims=0>(e, a) }",
        t=weights(30, 6),
        a=_ONE,
    ),
    "tree classifier": lambda: _tree("TreeEnsembleClassifier"),
    "tree regressor": lambda: _tree("TreeEnsembleRegressor"),
    "columns of text and numbers": lambda: graph(
        "(string[N,1] color, float[N,2] size) => (int64[N] label, float[N,2] scores) {"
        ' e = ai.onnx.ml.LabelEncoder<keys_strings=["cat","dog"], values_floats=[1.0,2.0], default_float=0.5>(color)'
        " i = ai.onnx.ml.Imputer<imputed_value_floats=[0.5], replaced_value_float=0.0>(size)"
        " c = Concat<axis=1>(e, i) s = ai.onnx.ml.Scaler<offset=[0.1], scale=[2.0]>(c)"
        " label, raw = ai.onnx.ml.LinearClassifier<classlabels_ints=[0,1], coefficients=[1.0,2.0,-1.0,-1.0,0.5,1.0],"
        ' intercepts=[0.0,0.1], post_transform="LOGISTIC">(s)'
        ' scores = ai.onnx.ml.Normalizer<norm="L1">(raw) }'
    ),
    "categories to one-hot": lambda: graph(
        "(string[N,1] x) => (float[N,3] y) {"
        ' o = ai.onnx.ml.OneHotEncoder<cats_strings=["cat","dog","0"], zeros=1>(x) y = Reshape(o, s) }',
        s=ints(-1, 3),
    ),
    "label looked up as scikit-learn exports it": lambda: graph(
        "(float[N,4] x) => (int64[N] label, float[N,3] p) { l = MatMul(x, w) p = Softmax(l) i = ArgMax<axis=1>(p)"
        " f = ai.onnx.ml.ArrayFeatureExtractor(classes, i) r = Reshape(f, s) label = Cast<to=7>(r) }",
        w=weights(4, 3),
        classes=ints(10, 20, 30),
        s=ints(-1),
    ),
    "support vectors": lambda: graph(
        "(float[N,2] x) => (float[N,1] y) { y = ai.onnx.ml.SVMRegressor<coefficients=[1.0,-1.0],"
        ' kernel_params=[0.5,0.0,3.0], kernel_type="RBF", n_supports=2, rho=[0.1],'
        " support_vectors=[0.0,1.0,1.0,0.0]>(x) }"
    ),
    "words of each row counted": lambda: graph(
        '(int64[N,5] x) => (float[N,3] y) { y = TfIdfVectorizer<mode="TF", min_gram_length=1, max_gram_length=1,'
        " max_skip_count=0, ngram_counts=[0], ngram_indexes=[0,1,2], pool_int64s=[0,1,2]>(x) }"
    ),
    "distances to points": lambda: graph(
        '(float[N,4] x) => (float[N,3] y) { y = com.microsoft.CDist<metric="sqeuclidean">(x, p) }', p=weights(3, 4)
    ),
    "layer norm by hand": lambda: graph(
        f"{X} {{ m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<axes=[-1]>(q)"
        " a = Add(v, e) r = Sqrt(a) d = Div(c, r) g = Mul(d, s) y = Add(g, b) }",
        17,
        e=np.float32(1e-3),
        s=weights(4),
        b=weights(4) + 1,
    ),
    "instance and group norm": lambda: graph(
        "(float[N,4,3] x) => (float[N,4,3] y) { i = InstanceNormalization(x, s, b) z = Mul(i, i) w = Add(z, x)"
        " u = LpNormalization<axis=1>(w) y = PRelu(u, p) }",
        s=weights(4),
        b=weights(4),
        p=weights(4, 1),
    ),
    "static quantization": lambda: graph(
        "(float[N,4] x) => (float[N,3] y) { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
        " w = DequantizeLinear<axis=1>(wq, ws, wz) m = MatMul(d, w) r = Relu(m) q2 = QuantizeLinear(r, s, z)"
        " y = DequantizeLinear(q2, s, z) }",
        s=_SCALE,
        z=_POINT,
        wq=(weights(4, 3) * 30).astype(np.int8),
        ws=np.abs(weights(3)) * 0.1,
        wz=np.zeros(3, np.int8),
    ),
    "quantized matrices": lambda: graph(
        "(uint8[N,4] x) => (float[N,3] y, uint8[N,3] q) { m = MatMulInteger(x, w, z, z) f = Cast<to=1>(m)"
        " y = Mul(f, s) q = QLinearMatMul(x, s, z, w, s, z, s, z) }",
        w=np.arange(12, dtype=np.uint8).reshape(4, 3),
        s=_SCALE,
        z=np.uint8(3),
    ),
    "residual CNN": lambda: graph(
        "(float[N,3,H,W] x) => (float[N,3] y) { c = Conv<pads=[1,1,1,1]>(x, w) n = BatchNormalization(c, s, b, m, v)"
        " r = Relu(n) a = Add(r, x) p = GlobalAveragePool(a) y = Flatten(p) }",
        w=weights(3, 3, 3, 3),
        s=weights(3),
        b=weights(3),
        m=weights(3),
        v=np.ones(3, np.float32),
    ),
    "squeeze and unsqueeze": lambda: graph(
        f"{X} {{ u = Unsqueeze(x, a) s = Squeeze(u, b) t = Unsqueeze(s, c) y = Squeeze(t, c) }}",
        a=ints(0, 3),
        b=ints(-1, 0),
        c=_ONE,
    ),
    "where and clip": lambda: graph(
        f"{X} {{ c = Clip(x, l, h) g = Greater(x, t) n = Not(g) y = Where(n, c, t) }}",
        l=np.float32(-1),
        h=np.float32(1),
        t=weights(4),
    ),
    "split and concat of features": lambda: graph(
        f"{X} {{ a, b = Split<axis=1, num_outputs=2>(x) s = Sigmoid(b) y = Concat<axis=-1>(s, a) }}"
    ),
    "features reversed and padded": lambda: graph(
        "(float[N,4] x) => (float[N,6] y) { r = Slice(x, m, e, o, m) p = Pad(r, w) g = Gather<axis=1>(p, i)"
        " y = Concat<axis=1>(g, r) }",
        m=ints(-1),
        e=ints(np.iinfo(np.int64).min),
        o=_ONE,
        w=ints(0, 1, 0, 0),
        i=ints(0, 2),
    ),
    "einsum inside a row": lambda: graph(
        '(float[N,3,4] x, float[N,4,5] z) => (float[N,3,5] y) { m = Einsum<equation="bij,bjk->bik">(x, z)'
        ' y = Einsum<equation="...k, kl -> ...l">(m, w) }',
        w=weights(5, 5),
    ),
    "transposed convolution": lambda: graph(
        "(float[N,3,4,4] x) => (float[N,2,8,8] y) { y = ConvTranspose<kernel_shape=[2,2], strides=[2,2]>(x, w) }",
        w=weights(3, 2, 2, 2),
    ),
    "resize by constant scales": lambda: graph(
        '(float[N,2,4,4] x) => (float[N,2,8,8] y) { y = Resize<mode="linear">(x, , s) }',
        s=np.array([1, 1, 2, 2], np.float32),
    ),
    "resize to sizes that begin with the input's": lambda: graph(
        "(float[N,2,4,4] x) => (float[N,2,7,7] y) { s = Shape<end=2>(x) t = Concat<axis=0>(s, c)"
        ' y = Resize<mode="nearest">(x, , , t) }',
        c=ints(7, 7),
    ),
    "depth to space": lambda: graph(
        "(float[N,4,2,2] x) => (float[N,4,2,2] y) { d = DepthToSpace<blocksize=2>(x) y = SpaceToDepth<blocksize=2>(d) }"
    ),
    "best features": lambda: graph(
        "(float[N,6] x) => (float[N,2] y, int64[N] i) { y, p = TopK(x, k) i = ArgMax<axis=1, keepdims=0>(x) }", k=_TWO
    ),
    "one-hot places": lambda: graph(
        "(int64[N] x) => (float[N,10] y) { y = OneHot(x, d, v) }", d=np.int64(10), v=np.array([0, 1], np.float32)
    ),
    "running sum inside a row": lambda: graph(f"{X} {{ y = CumSum(x, a) }}", a=np.int64(-1)),
    "own entries by GatherElements": lambda: graph(
        f"{X} {{ v, i = TopK(x, k) g = GatherElements<axis=1>(x, i) y = ScatterElements<axis=1>(x, i, g) }}", k=ints(4)
    ),
    "own entries by GatherND": lambda: graph(
        "(float[N,4,2] x) => (float[N,2] y) { s = ReduceSum<keepdims=0>(x, t) i = ArgMax<axis=1>(s)"
        " y = GatherND<batch_dims=1>(x, i) }",
        t=_TWO,
    ),
    "sums of each row": lambda: graph(
        "(float[N,3,S] x) => (float[N] y) { s = ReduceSum<keepdims=0>(x, a) l = ReduceLogSumExp<keepdims=0>(x, a)"
        " y = Max(s, l) }",
        a=ints(1, 2),
    ),
    "softmax of operator set 11": lambda: graph("(float[N,3,4] x) => (float[N,3,4] y) { y = Softmax<axis=1>(x) }", 11),
    "sequence reversed by its own length": lambda: graph(
        "(float[N,4,3] x, bool[N] z) => (float[N,4,3] y) { c = Cast<to=7>(z) l = Add(c, t)"
        " y = ReverseSequence<batch_axis=0, time_axis=1>(x, l) }",
        t=_TWO,
    ),
    "features tiled": lambda: graph("(float[N,4] x) => (float[N,8] y) { y = Tile(x, r) }", r=ints(1, 2)),
    "start token tiled to the batch": lambda: graph(
        "(int64[N,2] x) => (int64[N,3] y) { n = Shape<end=1>(x) r = Concat<axis=0>(n, o) t = Tile(token, r)"
        " y = Concat<axis=1>(t, x) }",
        o=_ONE,
        token=np.array([[101]], np.int64),
    ),
    "dropout switched off": lambda: graph(
        f"{X} {{ d = Dropout(x, r, f) y = Relu(d) }}", r=np.float32(0.5), f=np.array(False)
    ),
    "a function": lambda: graph(
        f"{X} {{ y = own.squared(x) }}",
        functions='<domain: "own", opset_import: ["": 18]> squared (a) => (b) { b = Mul(a, a) }',
    ),
    "two inputs and two outputs": lambda: graph(
        "(float[N,4] x, int64[N] k) => (float[N,4] y, int64[N] z) { f = Cast<to=1>(k) u = Unsqueeze(f, a)"
        " y = Mul(x, u) z = Add(k, o) }",
        a=_ONE,
        o=np.int64(1),
    ),
    "matrix from the left": lambda: graph("(float[N,4,3] x) => (float[N,2,3] y) { y = MatMul(w, x) }", w=weights(2, 4)),
    "rows multiplied as columns": lambda: graph(
        "(float[N,4] x) => (float[N,3] y) { t = Transpose(x) m = MatMul(w, t) y = Transpose(m) }", w=weights(3, 4)
    ),
    "mask built from positions": lambda: graph(
        "(float[N,S,4] x) => (float[N,S,S] y) { s = Shape(x) l = Gather(s, one) r = Range(zero, l, one)"
        " a = Unsqueeze(r, z) b = Unsqueeze(r, o) c = LessOrEqual(a, b) t = Transpose<perm=[0,2,1]>(x)"
        " d = MatMul(x, t) m = Where(c, d, low) y = Softmax(m) }",
        zero=np.int64(0),
        one=np.int64(1),
        z=_ZERO,
        o=_ONE,
        low=np.float32(-1e4),
    ),
    "fused by the runtime": lambda: graph(
        f"{X} {{ f = com.microsoft.FusedMatMul<transB=1, alpha=0.5>(x, w) g = com.microsoft.Gelu(f)"
        " y = com.microsoft.BiasGelu(g, b) }",
        w=weights(4, 4),
        b=weights(4),
    ),
    "texts joined": lambda: graph(
        "(string[N] x, string[N] z) => (string[N] y, bool[N] m) { j = StringConcat(x, z) y = StringConcat(j, e)"
        ' m = RegexFullMatch<pattern="[a-z]+">(j) }',
        20,
        e=np.array("!", object),
    ),
    "slice to the end of the batch": lambda: graph(
        f"{X} {{ y = Slice(x, z, e, a) }}", z=ints(0, 0), e=ints(_LAST, _LAST), a=ints(0, 1)
    ),
    "a dimension without a name": lambda: nameless(graph(f"{X} {{ y = Relu(x) }}")),
    "two inputs without names": lambda: nameless(
        graph("(float[N,4] x, float[N,4] z) => (float[N,4] y) { y = Add(x, z) }")
    ),
}
