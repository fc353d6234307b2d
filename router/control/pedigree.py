"""What an ONNX file says of where it comes from, and of how it is built."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from router.core.lineage import HYPERPARAMETER_PREFIX, PARENT_KEY, Pedigree

_LEARNED: Final = frozenset({"ai.onnx.ml"})
"""Operators of these domains keep what they have learned in lists among their attributes, as long as it may be."""
_NOTHING: Final[Mapping[str, tuple[str, ...]]] = {}


def pedigree(model: Any) -> Pedigree:
    """Of an `onnx.ModelProto`, whose weights need not be loaded."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    structure = _Structure()
    structure.graph(model.graph)
    for function in sorted(model.functions, key=lambda each: (each.domain, each.name)):
        structure.add("function", function.domain, function.name, *function.input, *function.output)
        structure.nodes(function.node)
    return Pedigree(
        parent=properties.get(PARENT_KEY, ""),
        structure=structure.digest(),
        operators={_domain(each.domain): each.version for each in model.opset_import},
        hyperparameters={
            key.removeprefix(HYPERPARAMETER_PREFIX): value
            for key, value in properties.items()
            if key.startswith(HYPERPARAMETER_PREFIX)
        },
        nodes=len(model.graph.node),
    )


class _Structure:
    """A digest of what a graph is built of. Values in between are numbered: exporters name them as they like."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._names: dict[str, str] = {}

    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, *parts: str | bytes) -> None:
        """Parts with their lengths before them, so that two different graphs never read the same."""
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            self._hash.update(len(raw).to_bytes(8, "big") + raw)
        self._hash.update(b"\0" * 8)

    def graph(self, graph: Any) -> None:
        """Inputs, outputs, nodes with what they are joined to, and weights by type and shape: no weight's value."""
        for side, infos in (("input", graph.input), ("output", graph.output)):
            for info in infos:
                tensor = info.type.tensor_type
                sizes = [str(size.dim_value) if size.HasField("dim_value") else "?" for size in tensor.shape.dim]
                self.add(side, info.name, str(tensor.elem_type), *sizes)
                self._names[info.name] = info.name
        weights = {
            weight.name: ("weight", str(weight.data_type), *map(str, weight.dims)) for weight in graph.initializer
        }
        weights |= {each.values.name: ("sparse weight", *map(str, each.dims)) for each in graph.sparse_initializer}
        self.nodes(graph.node, weights)

    def nodes(self, nodes: Iterable[Any], weights: Mapping[str, tuple[str, ...]] = _NOTHING) -> None:
        """Nodes in their order. A weight is told of where it is first read."""
        for node in nodes:
            domain = _domain(node.domain)
            for name in node.input:
                if name in weights and name not in self._names:
                    self.add(*weights[name])
            self.add("node", domain, node.op_type, *map(self._named, node.input), "to", *map(self._named, node.output))
            for attribute in sorted(node.attribute, key=lambda each: str(each.name)):
                self._attribute(attribute, learned=domain in _LEARNED)

    def _named(self, name: str) -> str:
        return self._names.setdefault(name, f"#{len(self._names)}") if name else ""

    def _attribute(self, attribute: Any, *, learned: bool) -> None:
        """By its value, of tensors the type and shape only; of learned lists no more than that they are there."""
        self.add("attribute", attribute.name, str(attribute.type))
        for graph in (attribute.g, *attribute.graphs):
            if graph.node or graph.output:
                self.graph(graph)
        for tensor in (attribute.t, *attribute.tensors):
            if tensor.data_type:
                self.add("tensor", str(tensor.data_type), *map(str, tensor.dims))
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            if sparse.dims:
                self.add("sparse tensor", *map(str, sparse.dims))
        self.add(repr((attribute.f, attribute.i, attribute.s, attribute.ref_attr_name)))
        if not learned:
            self.add(repr((list(attribute.floats), list(attribute.ints), list(attribute.strings))))


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
