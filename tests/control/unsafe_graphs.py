"""Graphs whose rows reach each other, each in another way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.control.row_graphs import graph, ints, weights

X = "(float[N,4] x) => (float[N,4] y)"
"""The signature of most."""

_ZERO, _ONE = ints(0), ints(1)
_LAST = np.int64(np.iinfo(np.int64).max)


def _no_rank() -> onnx.ModelProto:
    model = graph(f"{X} {{ y = Relu(x) }}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


UNSAFE: dict[str, Callable[[], onnx.ModelProto]] = {
    "softmax over rows": lambda: graph(f"{X} {{ y = Softmax<axis=0>(x) }}"),
    "softmax of operator set 11 from axis 0": lambda: graph(f"{X} {{ y = Softmax<axis=0>(x) }}", 11),
    "softmax of operator set 11 whose axis lies before the batch": lambda: graph(
        "(float[N,4,3] x) => (float[N,4,3] y) {"
        " t = Transpose<perm=[1,0,2]>(x) s = Softmax<axis=1>(t) y = Transpose<perm=[1,0,2]>(s) }",
        11,
    ),
    "hardmax over rows": lambda: graph(f"{X} {{ y = Hardmax<axis=0>(x) }}"),
    "softmax of a transposed": lambda: graph(
        f"{X} {{ t = Transpose(x) s = Softmax<axis=-1>(t) y = Transpose<perm=[1,0]>(s) }}"
    ),
    "minus the mean of the batch": lambda: graph(f"{X} {{ m = ReduceMean(x, a) y = Sub(x, m) }}", a=_ZERO),
    "divided by the maximum of everything": lambda: graph(f"{X} {{ m = ReduceMax(x) y = Div(x, m) }}"),
    "threshold from the mean of everything": lambda: graph(
        f"{X} {{ m = ReduceMean(x) g = Greater(x, m) z = Neg(x) y = Where(g, x, z) }}"
    ),
    "batch norm in training": lambda: graph(
        f"{X} {{ y, m, v = BatchNormalization<training_mode=1>(x, s, b, mean, var) }}",
        s=weights(4),
        b=weights(4),
        mean=weights(4),
        var=np.ones(4, np.float32),
    ),
    "running sum over rows": lambda: graph(f"{X} {{ y = CumSum(x, a) }}", a=np.int64(0)),
    "running sum over rows split in two": lambda: graph(
        f"{X} {{ r = Reshape(x, s) c = CumSum(r, a) y = Reshape(c, t) }}", s=ints(-1, 2), t=ints(-1, 4), a=np.int64(0)
    ),
    "attention over rows": lambda: graph(
        f"{X} {{ t = Transpose(x) q = MatMul(x, t) s = Softmax(q) y = MatMul(s, x) }}"
    ),
    "attention operator with rows as the sequence": lambda: graph(
        f"{X} {{ u = Unsqueeze(x, a) b = Attention<q_num_heads=1, kv_num_heads=1>(u, u, u) y = Squeeze(b, a) }}",
        23,
        a=_ZERO,
    ),
    "gram matrix by Gemm": lambda: graph(f"{X} {{ g = Gemm<transA=1>(x, x) y = MatMul(x, g) }}"),
    "best of the batch by TopK": lambda: graph(f"{X} {{ v, i = TopK<axis=0>(x, k) y = Sub(x, v) }}", k=_ONE),
    "place of the best row": lambda: graph(f"{X} {{ i = ArgMax<axis=0>(x) f = Cast<to=1>(i) y = Add(x, f) }}"),
    "plus row 0": lambda: graph(f"{X} {{ r = Gather(x, i) y = Add(x, r) }}", i=np.int64(0)),
    "row 0 for all": lambda: graph(f"{X} {{ r = Slice(x, z, o, z) s = Shape(x) y = Expand(r, s) }}", z=_ZERO, o=_ONE),
    "row 0 by GatherElements": lambda: graph(
        f"{X} {{ i = Cast<to=7>(x) z = Sub(i, i) y = GatherElements<axis=0>(x, z) }}"
    ),
    "row 0 by GatherND": lambda: graph(f"{X} {{ r = GatherND(x, i) y = Add(x, r) }}", i=np.array([[0]], np.int64)),
    "row 0 of a sequence": lambda: graph(
        f"{X} {{ s = SplitToSequence<axis=0>(x) r = SequenceAt(s, i) y = Add(x, r) }}", i=np.int64(0)
    ),
    "table indexed by position in the batch": lambda: graph(
        "(int64[N,2] x) => (float[N,2] y) { y = GatherElements<axis=1>(t, x) }", t=weights(64, 64)
    ),
    "rows reversed": lambda: graph(
        f"{X} {{ y = Slice(x, s, e, a, s) }}", s=ints(-1), e=ints(np.iinfo(np.int64).min), a=_ZERO
    ),
    "first rows only": lambda: graph(f"{X} {{ y = Slice(x, s, e, s) }}", s=_ZERO, e=ints(5)),
    "rows rolled": lambda: graph(
        f"{X} {{ a = Slice(x, o, e, z) b = Slice(x, z, o, z) y = Concat<axis=0>(a, b) }}",
        o=_ONE,
        z=_ZERO,
        e=ints(_LAST),
    ),
    "rows shifted by Pad and Slice": lambda: graph(
        f"{X} {{ p = Pad(x, w) y = Slice(p, z, e, z) }}", w=ints(1, 0, 0, 0), z=_ZERO, e=ints(-1)
    ),
    "row 0 written by ScatterND": lambda: graph(
        f"{X} {{ y = ScatterND(x, i, u) }}", i=np.array([[0]], np.int64), u=weights(1, 4)
    ),
    "row 0 written by ScatterElements": lambda: graph(
        f"{X} {{ y = ScatterElements<axis=0>(x, i, u) }}", i=np.zeros((1, 4), np.int64), u=weights(1, 4)
    ),
    "reshape merges all and sums": lambda: graph(
        f"{X} {{ r = Reshape(x, s) t = ReduceSum(r, a) y = Mul(x, t) }}", s=ints(1, -1), a=_ONE
    ),
    "reshape to the sizes in the other order": lambda: graph(
        f"{X} {{ s = Shape(x) p = Gather(s, i) r = Reshape(x, p) y = Transpose(r) }}", i=ints(1, 0)
    ),
    "reshape back without transposing back": lambda: graph(
        f"{X} {{ t = Transpose(x) y = Reshape(t, s) }}",
        s=ints(-1, 4),
    ),
    "halves of rows added in two orders": lambda: graph(
        "(float[N,2] x) => (float[N,2] y) { t = Transpose(x) a = Reshape(x, f) b = Reshape(t, f) c = Add(a, b)"
        " y = Reshape(c, s) }",
        f=ints(-1),
        s=ints(-1, 2),
    ),
    "rows repeated and cut again": lambda: graph(
        f"{X} {{ t = Tile(x, r) u = Reshape(t, s) y = ReduceMax<keepdims=0>(u, a) }}",
        r=ints(2, 1),
        s=ints(-1, 2, 4),
        a=_ONE,
    ),
    "reshape pairs rows": lambda: graph(
        f"{X} {{ r = Reshape(x, s) m = Softmax(r) y = Reshape(m, t) }}", s=ints(-1, 8), t=ints(-1, 4)
    ),
    "reshape with free feature sizes": lambda: graph(
        "(float[N,S,4] x) => (float[N,4] y) { r = Reshape(x, s) y = Reshape(r, t) }", s=ints(-1, 8), t=ints(-1, 4)
    ),
    "reshape splits by another input's size": lambda: graph(
        "(float[N,S] x, float[N,S] z) => (float[N,S] y) {"
        " s = Shape<start=1>(z) m = Constant<value_ints=[-1]>() t = Concat<axis=0>(m, s)"
        " r = Reshape(x, t) y = Softmax(r) }"
    ),
    "flatten of everything": lambda: graph(
        f"{X} {{ f = Flatten<axis=0>(x) s = Softmax(f) r = Reshape(s, t) y = Identity(r) }}", t=ints(-1, 4)
    ),
    "squeeze drops a single row": lambda: graph("(float[N,1,4] x) => (float[N,4] y) { y = Squeeze(x) }"),
    "quantized by the range of the batch": lambda: graph(
        f"{X} {{ q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z) }}"
    ),
    "dynamically quantized MatMul": lambda: graph(
        f"{X} {{ q, s, z = DynamicQuantizeLinear(x) m = MatMulInteger(q, w, z) f = Cast<to=1>(m) y = Mul(f, s) }}",
        w=np.arange(16, dtype=np.uint8).reshape(4, 4),
    ),
    "fused dynamically quantized MatMul": lambda: graph(
        f"{X} {{ y = com.microsoft.DynamicQuantizeMatMul(x, w, s) }}",
        w=np.arange(16, dtype=np.uint8).reshape(4, 4),
        s=np.float32(0.1),
    ),
    "numbered by Unique": lambda: graph("(int64[N] x) => (int64[N] y) { u, f, y, c = Unique(x) }"),
    "place of the last nonzero": lambda: graph(
        f"{X} {{ n = NonZero(x) m = ReduceMax<keepdims=0>(n) f = Cast<to=1>(m) y = Add(x, f) }}"
    ),
    "rows picked by Compress": lambda: graph(f"{X} {{ y = Compress<axis=0>(x, c) }}", c=np.array([True, False, True])),
    "boxes picked over the batch": lambda: graph(
        "(float[N,4] x) => (int64[N,3] y) { b = Unsqueeze(x, z) c = ReduceSum(b, a) s = Transpose<perm=[0,2,1]>(c)"
        " y = NonMaxSuppression(b, s, k) }",
        z=_ZERO,
        a=ints(2),
        k=np.int64(1),
    ),
    "scan over rows": lambda: graph(
        f"{X} {{ last, y = Scan<num_scan_inputs=1, body = b (float[4] s, float[4] r) => (float[4] t, float[4] o)"
        " { t = Add(s, r) o = Identity(t) }>(i, x) }",
        i=np.zeros(4, np.float32),
    ),
    "loop over rows": lambda: graph(
        f"{X} {{ d = Shape<start=0, end=1>(x) n = Squeeze(d) s, y = Loop<body = b (int64 i, bool c, float[4] s)"
        " => (bool k, float[4] t, float[4] o) { k = Identity(c) r = Gather(x, i) t = Add(s, r) o = Identity(t) }>"
        "(n, keep, zero) }",
        keep=np.array(True),
        zero=np.zeros(4, np.float32),
    ),
    "branch on the mean of the batch": lambda: graph(
        f"{X} {{ m = ReduceMean<keepdims=0>(x) c = Greater(m, h) y = If<then_branch = a () => (float[N,4] p)"
        " { p = Neg(x) }, else_branch = b () => (float[N,4] q) { q = Identity(x) }>(c) }",
        h=np.float32(0.0),
    ),
    "branch on a constant that hides a mean": lambda: graph(
        f"{X} {{ m = If<then_branch = a () => (float[1,4] p) {{ p = ReduceMean(x, z) }}, else_branch = b ()"
        " => (float[1,4] q) { q = Identity(w) }>(c) y = Sub(x, m) }",
        c=np.array(True),
        z=_ZERO,
        w=weights(1, 4),
    ),
    "divided by the count of rows": lambda: graph(
        f"{X} {{ s = Shape(x) n = Gather(s, i) f = Cast<to=1>(n) y = Div(x, f) }}", i=np.int64(0)
    ),
    "divided by the count of entries": lambda: graph(f"{X} {{ n = Size(x) f = Cast<to=1>(n) y = Div(x, f) }}"),
    "turned round when there are many rows": lambda: graph(
        f"{X} {{ s = Shape(x) n = Gather(s, i) c = Greater(n, h) z = Neg(x) y = Where(c, x, z) }}",
        i=np.int64(0),
        h=np.int64(4),
    ),
    "as many features as rows": lambda: graph(
        f"{X} {{ n = Shape<start=0, end=1>(x) p = Slice(x, z, n, a) t = ReduceSum(p, a) y = Add(x, t) }}",
        z=_ZERO,
        a=_ONE,
    ),
    "plus the row's number": lambda: graph(
        f"{X} {{ s = Shape(x) n = Gather(s, z) r = Range(z, n, o) f = Cast<to=1>(r) u = Unsqueeze(f, a)"
        " y = Add(x, u) }",
        z=np.int64(0),
        o=np.int64(1),
        a=_ONE,
    ),
    "plus the unit matrix": lambda: graph(f"{X} {{ e = EyeLike(x) y = Add(x, e) }}"),
    "triangle of the batch": lambda: graph(f"{X} {{ y = Trilu(x) }}"),
    "table with one entry for each place in the batch": lambda: graph(
        "(float[N,1] x) => (float[N,1] y) { t = Transpose(x) s = Add(t, x) y = ReduceMax(s, a) }", a=_ONE
    ),
    "outer sum": lambda: graph(
        "(float[N] x, float[N,1] z) => (float[N] y) { s = Add(x, z) y = ReduceMax<keepdims=0>(s, a) }", a=_ONE
    ),
    "einsum of rows with rows": lambda: graph(
        '(float[N,4] x) => (float[N,1] y) { g = Einsum<equation="ij,kj->ik">(x, x) y = ReduceSum(g, a) }', a=_ONE
    ),
    "einsum over rows": lambda: graph(f'{X} {{ s = Einsum<equation="ij->j">(x) y = Mul(x, s) }}'),
    "einsum that sums shared letters": lambda: graph(f'{X} {{ s = Einsum<equation="ij,ij">(x, x) y = Mul(x, s) }}'),
    "global pool with rows as space": lambda: graph(
        "(float[N,4,3] x) => (float[N,4,3] y) { t = Transpose<perm=[1,2,0]>(x) p = GlobalMaxPool(t)"
        " b = Transpose<perm=[2,0,1]>(p) y = Sub(x, b) }"
    ),
    "instance norm with rows as space": lambda: graph(
        "(float[N,4,3] x) => (float[N,4,3] y) { t = Transpose<perm=[1,2,0]>(x) p = InstanceNormalization(t, s, b)"
        " y = Transpose<perm=[2,0,1]>(p) }",
        s=weights(3),
        b=weights(3),
    ),
    "convolution over rows": lambda: graph(
        f"{X} {{ t = Transpose(x) u = Unsqueeze(t, z) c = Conv<pads=[1,1]>(u, w) s = Squeeze(c, z) y = Transpose(s) }}",
        z=_ZERO,
        w=weights(4, 4, 3),
    ),
    "resize over rows": lambda: graph(
        f'{X} {{ r = Resize<mode="linear">(x, , s) y = Slice(r, z, e, z, t) }}',
        s=np.array([2, 1], np.float32),
        z=_ZERO,
        e=ints(_LAST),
        t=ints(2),
    ),
    "places of a pool through the batch": lambda: graph(
        "(float[N,1,4,4] x) => (float[N,1,2,2] y, int64[N,1,2,2] i) {"
        " y, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }"
    ),
    "layer norm over rows": lambda: graph(
        "(float[N,4,3] x) => (float[N,4,3] y) { t = Transpose<perm=[1,0,2]>(x) l = LayerNormalization<axis=1>(t, s)"
        " y = Transpose<perm=[1,0,2]>(l) }",
        s=weights(3),
    ),
    "unit length over rows": lambda: graph(f"{X} {{ y = LpNormalization<axis=0>(x) }}"),
    "mean and variance over the default axes": lambda: graph(
        "(float[N,2,3,3] x) => (float[N,2,3,3] y) { y = MeanVarianceNormalization(x) }"
    ),
    "LSTM with rows as time": lambda: graph(
        "(float[N,2,3] x) => (float[N,1,2,5] y) { y, h, c = LSTM<hidden_size=5>(x, w, r) }",
        w=weights(1, 20, 3),
        r=weights(1, 20, 5),
    ),
    "reverse sequence through rows": lambda: graph(
        "(float[N,4,3] x) => (float[N,4,3] y) { s = Shape<start=0, end=1>(x) e = Expand(s, f)"
        " y = ReverseSequence<time_axis=0, batch_axis=1>(x, e) }",
        f=ints(4),
    ),
    "noise": lambda: graph(f"{X} {{ r = RandomNormalLike(x) y = Add(x, r) }}"),
    "one noise for all": lambda: graph(f"{X} {{ r = RandomNormal<shape=[1,4]>() y = Add(x, r) }}"),
    "coins": lambda: graph(f"{X} {{ s = Sigmoid(x) y = Bernoulli(s) }}"),
    "dropout in training": lambda: graph(f"{X} {{ y = Dropout(x, r, t) }}", r=np.float32(0.5), t=np.array(True)),
    "texts split to the longest": lambda: graph("(string[N] x) => (string[N,M] y) { y, n = StringSplit(x) }", 20),
    "stop words dropped": lambda: graph(
        '(string[N] x) => (string[N] y) { y = StringNormalizer<stopwords=["cat"], is_case_sensitive=1>(x) }'
    ),
    "words of all rows counted together": lambda: graph(
        '(int64[N] x) => (float[N] y) { y = TfIdfVectorizer<mode="TF", min_gram_length=1, max_gram_length=1,'
        " max_skip_count=0, ngram_counts=[0], ngram_indexes=[0,1,2], pool_int64s=[0,1,2]>(x) }"
    ),
    "one vector normalized": lambda: graph('(float[N] x) => (float[N] y) { y = ai.onnx.ml.Normalizer<norm="MAX">(x) }'),
    "feature of the whole vector": lambda: graph(
        "(float[N] x) => (float[N] y) { f = ai.onnx.ml.ArrayFeatureExtractor(x, i) s = Squeeze(f) y = Add(x, s) }",
        i=_ZERO,
    ),
    "mean inside a function": lambda: graph(
        f"{X} {{ y = own.centred(x) }}",
        functions='<domain: "own", opset_import: ["": 18]> centred (a) => (b)'
        " { z = Constant<value_ints=[0]>() m = ReduceMean(a, z) b = Sub(a, m) }",
    ),
    "operator nobody knows": lambda: graph(f"{X} {{ y = com.example.Mystery(x) }}"),
    "two inputs of different batches": lambda: graph(
        "(float[N,4] x, float[M,4] z) => (float[N,4] y) { m = ReduceMean(z, a) y = Add(x, m) }", a=_ZERO
    ),
    "the batch in two dimensions": lambda: graph("(float[N,N] x) => (float[N,N] y) { y = Relu(x) }"),
    "a fixed count of rows": lambda: graph("(float[4,4] x) => (float[4,4] y) { y = Relu(x) }"),
    "an input without rows": lambda: graph("(float[N,4] x, float t) => (float[N,4] y) { y = Mul(x, t) }"),
    "an output that is no row": lambda: graph(
        "(float[N,4] x) => (float[N,4] y, float[N,4] c) { y = Relu(x) c = Identity(w) }", w=weights(1, 4)
    ),
    "an output with the rows along axis 1": lambda: graph("(float[N,4] x) => (float[N,M] y) { y = Transpose(x) }"),
    "an output with two entries a row": lambda: graph(
        "(float[N,4] x) => (float[N,2] y) { y = Reshape(x, s) }", s=ints(-1, 2)
    ),
    "an output of unknown rank": _no_rank,
}

GRAPH_RULES_ONLY = {
    "operator nobody knows": "the runtime has no kernel for it",
    "an output of unknown rank": "its rows are independent; the graph does not say which axis they are",
    "the batch in two dimensions": "it needs as many features as rows",
    "reshape splits by another input's size": "it needs two inputs whose sizes contradict the graph",
}
"""Where trial runs see nothing, and why."""
