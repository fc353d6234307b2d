"""Whether rows of different callers may share one run of a model, read off its graph.

The graph is interpreted abstractly (Cousot & Cousot 1977) over the values of `row_values`: the first axis of every
input is the batch, and each operator's rule says where the batch stands in its outputs, or that rows may mix. What
no rule covers mixes. The rules hold for graphs whose shapes are what the operators' definitions make of them; trial
runs (`trial_rows`) check the same model from the other side, and a model is batched only when both agree.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference
from onnx import numpy_helper

from router.control.row_ml_rules import CLASSICAL, FUSED, TEXT
from router.control.row_moves import MOVES
from router.control.row_rules import COMPUTE, RANDOM
from router.control.row_sizes import SHAPE_READERS, SIZE_RULES
from router.control.row_values import (
    SMALL,
    Node,
    Plain,
    Rows,
    RowsMix,
    Rule,
    Shape,
    Size,
    Value,
    constant,
)

RULES: Final[Mapping[str, Mapping[str, Rule]]] = {
    "": {**COMPUTE, **MOVES, **TEXT},
    "ai.onnx.ml": CLASSICAL,
    "com.microsoft": FUSED,
}
"""The rules of each domain."""

OLDEST: Final = 7
"""Before this operator set broadcasting was an attribute."""

NEWEST: Final = {"": 28, "ai.onnx.ml": 5, "com.microsoft": 1}
"""The newest operator set of each domain that the rules were written for."""


def independent(model: onnx.ModelProto) -> str:
    """ "" when output row i depends on input rows i only, otherwise one line that says why that cannot be shown.

    Every input that is not an initializer and every output must have a free first dimension, and no two of them
    different names for it. Where it has no name, rows are joined only if all inputs of a request have as many.
    The model is not changed. Errors: none; a graph that cannot be understood is a reason.
    """
    try:
        _check_signature(model.graph)
        light = _without_weights(model)
        _check_domains(light)
        # Without propagation of data: it aborts the process on graphs that contradict themselves (onnx 1.23).
        with_shapes = onnx.shape_inference.infer_shapes(light)
        _Interpreter(model, with_shapes).run()
    except RowsMix as mix:
        return _line(str(mix))
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
        return _line(f"the graph's shapes cannot be worked out: {error}")
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return _line(f"the graph cannot be understood: {error}")
    return ""


def _line(text: str) -> str:
    """One line, of a length that a person reads."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:299]}…"


def _check_signature(graph: onnx.GraphProto) -> None:
    """Refuse unless all inputs and outputs begin with a free dimension of one name or none, and name it once."""
    weights = {weight.name for weight in graph.initializer} | {
        weight.values.name for weight in graph.sparse_initializer
    }
    names: dict[str, str] = {}
    rests: list[tuple[str, list[onnx.TensorShapeProto.Dimension]]] = []
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs or not graph.output:
        raise RowsMix("the model has no input or no output")
    for kind, value in [("input", value) for value in inputs] + [("output", value) for value in graph.output]:
        place = f"{kind} `{value.name}`"
        if value.type.WhichOneof("value") != "tensor_type":
            raise RowsMix(f"{place} is not a tensor")
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or not tensor.shape.dim:
            raise RowsMix(f"{place} has no first dimension")
        first, *rest = tensor.shape.dim
        if first.HasField("dim_value"):
            raise RowsMix(f"{place} has a fixed first dimension")
        if first.dim_param:  # many exporters leave it out; the graph has to show that it holds the rows
            names[first.dim_param] = place
        if len(names) > 1:
            (one, here), (two, there) = names.items()
            raise RowsMix(f"the first dimensions of {here} and {there} have different names, {one} and {two}")
        rests.append((place, rest))
    for place, rest in rests:
        if any(size.dim_param in names for size in rest if size.dim_param):
            raise RowsMix(f"{place} has the batch in two dimensions")


def _check_domains(model: onnx.ModelProto) -> None:
    """Refuse operator sets that the rules were not written for."""
    for imported in model.opset_import:
        domain = _domain(imported.domain)
        if domain == "" and imported.version < OLDEST:
            raise RowsMix(f"operator set {imported.version} is older than the rules, which begin at {OLDEST}")
        if imported.version > NEWEST.get(domain, imported.version):
            raise RowsMix(f"operator set {domain} {imported.version} is newer than the rules")


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with its functions inlined, where large initializers are inputs and only inputs state a shape.

    Shapes that the model states of its own tensors could be wrong, and the weights could be gigabytes.
    """
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    known = {value.name for value in graph.input}
    for value in model.graph.output:
        kept = graph.output.add(name=value.name)
        kept.type.tensor_type.elem_type = value.type.tensor_type.elem_type
    for weight in model.graph.initializer:
        if _count(weight.dims) <= SMALL and not weight.external_data:
            graph.initializer.append(weight)
        elif weight.name not in known:
            graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    for sparse in model.graph.sparse_initializer:
        graph.input.append(
            onnx.helper.make_tensor_value_info(sparse.values.name, sparse.values.data_type, list(sparse.dims))
        )
    return onnx.inliner.inline_local_functions(light) if light.functions else light


def _count(dims: Iterable[int]) -> int:
    count = 1
    for size in dims:
        count *= size
    return count


class _Interpreter:
    """One pass over the nodes in their order."""

    def __init__(self, model: onnx.ModelProto, light: onnx.ModelProto) -> None:
        self._graph = light.graph
        self._versions = {_domain(imported.domain): imported.version for imported in light.opset_import}
        self._fresh = (Size(1, (f"?{number}",)) for number in itertools.count())
        self._values: dict[str, Value] = {}
        self._inferred = {
            value.name: value.type.tensor_type.shape
            for value in [*self._graph.value_info, *self._graph.output]
            if value.type.tensor_type.HasField("shape")
        }
        weights = {weight.name: list(weight.dims) for weight in model.graph.initializer}
        weights |= {weight.values.name: list(weight.dims) for weight in model.graph.sparse_initializer}
        for value in self._graph.input:
            dims = value.type.tensor_type.shape.dim
            if value.name in weights:
                self._values[value.name] = Plain(tuple(Size(size) for size in weights[value.name]))
            else:
                # Each input's free sizes are its own: nothing at run time holds two inputs to one name's size.
                sizes = [
                    Size(dim.dim_value) if dim.HasField("dim_value") else Size(1, (f"{value.name}:{axis}",))
                    for axis, dim in enumerate(dims)
                ]
                self._values[value.name] = Rows.at(0, sizes)
        for weight in self._graph.initializer:
            self._values[weight.name] = constant(numpy_helper.to_array(weight))

    def run(self) -> None:
        """Go through the graph; RowsMix when rows may mix."""
        for place, proto in enumerate(self._graph.node):
            for name, held in zip(proto.output, self._outputs(proto, place), strict=False):
                if name:
                    self._values[name] = held
        for output in self._graph.output:
            value = self._values.get(output.name)
            if not isinstance(value, Rows):
                raise RowsMix(f"output `{output.name}` does not follow the rows")
            if value.axis != 0 or not value.whole:
                raise RowsMix(f"output `{output.name}` does not have one entry for each row along its first dimension")

    def _outputs(self, proto: onnx.NodeProto, place: int) -> list[Value]:
        """What the node's outputs hold."""
        node = self._node(proto, place)
        _check_subgraphs(node, proto)
        if node.domain not in RULES or node.operator in RANDOM:
            raise node.refusal(f"operator {node.operator} is not known to keep rows apart")
        reads: list[Value] = [value for value in node.inputs if value is not None]
        reads += [self._value(name, node) for name in sorted(_captured(proto))]
        rule = RULES[node.domain].get(node.operator)
        sizes: Value | None
        held: list[Value]
        if node.domain == "" and node.operator in SHAPE_READERS:
            sizes = SHAPE_READERS[node.operator](node)
            held = [Plain(self._shape(proto.output[0])) if sizes is None else sizes]
        elif all(isinstance(value, Plain) for value in reads):
            return self._from_plain(node, proto)
        elif (sizes := self._sizes(node, reads)) is not None:
            held = [sizes]
        elif rule is not None:
            held = list(rule(node))
        else:
            raise node.refusal(f"operator {node.operator} is not known to keep rows apart")
        for name in proto.output[len(held) :]:
            if name and any(not isinstance(value, Plain) for value in reads):
                raise node.refusal(f"an output of {node.operator} is not known to keep rows apart")
        return [self._refined(name, value, node) for name, value in zip(proto.output, held, strict=False)]

    def _from_plain(self, node: Node, proto: onnx.NodeProto) -> list[Value]:
        """Outputs of a node that reads nothing of the batch."""
        if node.operator == "Constant" and node.domain == "":
            return [_constant(node)]
        if node.operator == "Dropout" and node.given(2):
            raise node.refusal("Dropout of weights may draw random numbers")
        sizes = None
        if node.domain == "" and node.operator in SIZE_RULES:
            with contextlib.suppress(RowsMix):  # what is not known of a constant is no reason yet
                sizes = SIZE_RULES[node.operator](node)
        return [sizes] if sizes is not None else [Plain(self._shape(name)) for name in proto.output]

    def _sizes(self, node: Node, reads: list[Value]) -> Value | None:
        """The outcome of arithmetic with the count of rows, when it is that."""
        if node.domain != "" or node.operator not in SIZE_RULES or any(isinstance(value, Rows) for value in reads):
            return None
        return SIZE_RULES[node.operator](node)

    def _node(self, proto: onnx.NodeProto, place: int) -> Node:
        name = f"node `{proto.name}`" if proto.name else f"node {place} ({proto.op_type})"
        domain = _domain(proto.domain)
        node = Node(
            proto.op_type,
            domain,
            self._versions.get(domain, 1),
            name,
            {attribute.name: _attribute(attribute) for attribute in proto.attribute},
            (),
            tuple(bool(output) for output in proto.output),
            self._fresh,
        )
        return replace(node, inputs=tuple(self._value(read, node) if read else None for read in proto.input))

    def _value(self, name: str, node: Node) -> Value:
        if name not in self._values:
            raise node.refusal(f"`{name}` is read before it is made")
        return self._values[name]

    def _shape(self, name: str) -> Shape | None:
        """The inferred shape of a tensor that holds nothing of the batch."""
        shape = self._inferred.get(name)
        if shape is None:
            return None
        return tuple(Size(dim.dim_value) if dim.HasField("dim_value") else next(self._fresh) for dim in shape.dim)

    def _refined(self, name: str, value: Value, node: Node) -> Value:
        """The rows with the sizes that ONNX's own shape inference knows; refused when the two contradict."""
        shape = self._inferred.get(name)
        if not isinstance(value, Rows) or shape is None:
            return value
        sizes = list(value.shape)
        known = [dim.dim_value if dim.HasField("dim_value") else None for dim in shape.dim]
        if len(known) != len(sizes) or known[value.axis] is not None:
            raise node.refusal("ONNX's shape inference contradicts the rules")
        for axis, number in enumerate(known):
            if number is not None and sizes[axis].number not in {None, number}:
                raise node.refusal("ONNX's shape inference contradicts the rules")
            if number is not None:
                sizes[axis] = Size(number)
        return replace(value, shape=tuple(sizes))


def _constant(node: Node) -> Plain:
    """The value of a Constant."""
    for name, value in node.attributes.items():
        if name == "sparse_value":
            return Plain(tuple(Size(size) for size in value.dims))
        array = np.asarray(value)
        return constant(array.astype(np.float32) if name in {"value_float", "value_floats"} else array)
    return Plain(None)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    """The value as Python has it: texts as str, tensors as arrays, all else as it is."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _subgraphs(proto: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [attribute.g for attribute in proto.attribute if attribute.type == onnx.AttributeProto.GRAPH] + [
        graph for attribute in proto.attribute for graph in attribute.graphs
    ]


def _captured(proto: onnx.NodeProto) -> set[str]:
    """The names that a node's subgraphs read from outside."""
    found: set[str] = set()
    for graph in _subgraphs(proto):
        made = {value.name for value in graph.input} | {weight.name for weight in graph.initializer}
        made |= {weight.values.name for weight in graph.sparse_initializer}
        for inner in graph.node:
            found |= {name for name in (*inner.input, *_captured(inner)) if name and name not in made}
            made.update(inner.output)
        found |= {value.name for value in graph.output} - made
    return found


def _check_subgraphs(node: Node, proto: onnx.NodeProto) -> None:
    """Refuse subgraphs in which something other than their inputs decides."""
    for graph in _subgraphs(proto):
        for inner in graph.node:
            draws = inner.op_type in RANDOM or (inner.op_type == "Dropout" and len(inner.input) > 2)
            if draws or _domain(inner.domain) not in RULES:
                raise node.refusal(f"operator {inner.op_type} is not known to keep rows apart")
            _check_subgraphs(node, inner)
