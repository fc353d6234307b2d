"""Arithmetic on numbers that become shapes: what exporters write between a Shape and the Reshape that uses it.

Every rule here takes inputs that hold no rows and gives the numbers of the output, or None when they are not known.
A count of rows survives only what keeps it a product; any other sum with it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.control.row_values import ONE, Count, Element, Node, Plain, Size, constant, numbers, product

WIDE: Final = {6, 7}
"""INT32 and INT64 of TensorProto: no size of a tensor changes on the way into them."""


def identity(node: Node) -> Plain | Count | None:
    """The same numbers."""
    value = node.value(0)
    return value if isinstance(value, Plain | Count) else None


def cast(node: Node) -> Plain | Count | None:
    """The same numbers in another type of whole numbers."""
    value, to = node.value(0), int(node.attributes["to"])
    if isinstance(value, Count):
        if to not in WIDE:
            raise node.refusal("the size of the batch is turned into another kind of number")
        return value
    if not isinstance(value, Plain) or value.elements is None or to not in WIDE or value.shape is None:
        return None
    return Plain(value.shape, value.elements)


def _operands(node: Node) -> tuple[list[tuple[Element, ...]], tuple[Size, ...]] | None:
    """All inputs' numbers at one common length, and the shape of the outcome."""
    columns: list[tuple[Element, ...]] = []
    for index in range(len(node.inputs)):
        value = node.value(index)
        if not isinstance(value, Plain | Count) or value.elements is None or value.shape is None:
            return None
        columns.append(value.elements)
    length = max(len(column) for column in columns)
    if any(len(column) not in {1, length} for column in columns):
        return None
    ranked = any(isinstance(value, Plain | Count) and value.shape for value in node.inputs)
    return [column * (length // len(column)) for column in columns], (Size(length),) if ranked else ()


def _elementwise(rule: Callable[[Node, tuple[Element, ...]], Element]) -> Callable[[Node], Plain | Count | None]:
    def apply(node: Node) -> Plain | Count | None:
        operands = _operands(node)
        if operands is None:
            return None
        columns, shape = operands
        return numbers(shape, [rule(node, items) for items in zip(*columns, strict=True)])

    return apply


def _unknown(node: Node, items: tuple[Element, ...]) -> Element:
    """A number that cannot be followed, unless the batch is in it."""
    if any(item is not None and item.counts_rows for item in items):
        raise node.refusal(f"the size of the batch is computed with by {node.operator}")
    return None


def _multiply(node: Node, items: tuple[Element, ...]) -> Element:
    known = [item for item in items if item is not None]
    return product(known) if len(known) == len(items) else _unknown(node, items)


def _divide(node: Node, items: tuple[Element, ...]) -> Element:
    top, bottom = items
    if top is not None and bottom is not None:
        exact = top.over(bottom)
        if exact is not None:
            return exact
        if top.number is not None and bottom.number is not None and top.number >= 0 and bottom.number > 0:
            return Size(top.number // bottom.number)
    return _unknown(node, items)


def _add(node: Node, items: tuple[Element, ...]) -> Element:
    found = [item.number for item in items if item is not None and item.number is not None]
    return Size(sum(found)) if len(found) == len(items) else _unknown(node, items)


def _subtract(node: Node, items: tuple[Element, ...]) -> Element:
    found = [item.number for item in items if item is not None and item.number is not None]
    return Size(found[0] - found[1]) if len(found) == len(items) else _unknown(node, items)


def _equal(node: Node, items: tuple[Element, ...]) -> Element:
    left, right = items
    if left is None or right is None:
        return _unknown(node, items)
    if left == right:
        return ONE
    if left.number is not None and right.number is not None:
        return Size(0)
    for number, size in ((left, right), (right, left)):
        if number.number is not None and number.number < 0 and size.factor > 0:
            return Size(0)  # a size is never negative
    return _unknown(node, items)


def _where(node: Node, items: tuple[Element, ...]) -> Element:
    condition, yes, no = items
    if condition is not None and condition.number is not None:
        return yes if condition.number else no
    return yes if yes == no else _unknown(node, items)


def _flat(node: Node) -> tuple[Element, ...] | None:
    value = node.value(0)
    return value.elements if isinstance(value, Plain | Count) else None


def unsqueeze(node: Node) -> Plain | Count | None:
    """A scalar becomes a vector of one."""
    value, elements = node.value(0), _flat(node)
    if elements is None or value.shape != () or node.axes(1, 1) != (0,):
        return None
    return numbers((ONE,), elements)


def squeeze(node: Node) -> Plain | Count | None:
    """A vector of one becomes a scalar."""
    value, elements = node.value(0), _flat(node)
    return numbers((), elements) if elements is not None and value.shape == (ONE,) else None


def reshape(node: Node) -> Plain | Count | None:
    """Numbers stay in their order when the outcome is a scalar or vector again."""
    elements, target = _flat(node), node.constants(1)
    if elements is None or target is None or len(target) > 1 or None in target:
        return None
    if target and target[0] not in {Size(-1), Size(len(elements))}:
        return None
    return numbers((Size(len(elements)),) if target else (), elements)


def concat(node: Node) -> Plain | Count | None:
    """Numbers one after another."""
    found: list[Element] = []
    for index in range(len(node.inputs)):
        value = node.value(index)
        if isinstance(value, Plain | Count) and value.elements is not None and value.shape is not None:
            found.extend(value.elements)
        elif isinstance(value, Plain) and value.shape is not None and len(value.shape) == 1:
            length = value.shape[0].number
            if length is None:
                return None
            found.extend([None] * length)
        else:
            return None
    return numbers((Size(len(found)),), found)


def gather(node: Node) -> Plain | Count | None:
    """Numbers picked by constant places."""
    elements, places = _flat(node), node.plain(1)
    if elements is None or places.elements is None or places.shape is None:
        return None
    found: list[Element] = []
    for place in places.elements:
        if place is None or place.number is None or not -len(elements) <= place.number < len(elements):
            return None
        found.append(elements[place.number])
    return numbers(places.shape, found)


def cut(node: Node) -> Plain | Count | None:
    """A slice between constant places."""
    elements = _flat(node)
    if elements is None:
        return None
    bounds = []
    for index, name in ((1, "starts"), (2, "ends"), (4, "steps")):
        if name in node.attributes:
            found: tuple[int, ...] = tuple(node.attributes[name])
        else:
            found = node.whole_numbers(index) if node.given(index) else (1,)
        if len(found) != 1:
            return None
        bounds.append(found[0])
    start, end, step = bounds
    if step < 1:
        return None
    kept = elements[slice(start, end, step)]
    return numbers((Size(len(kept)),), kept)


def reduce_product(node: Node) -> Plain | Count | None:
    """All numbers multiplied."""
    elements = _flat(node)
    if elements is None or None in elements or node.axes(1, 1) not in {None, (0,)}:
        return None
    keep = int(node.attributes.get("keepdims", 1))
    return numbers((ONE,) if keep else (), (product(element for element in elements if element is not None),))


def shape_of(node: Node) -> Plain | Count | None:
    """The sizes of a tensor, of rows too."""
    shape = node.value(0).shape
    if shape is None:
        return None
    start, end = int(node.attributes.get("start", 0)), int(node.attributes.get("end", len(shape)))
    kept = shape[slice(start, end)]
    return numbers((Size(len(kept)),), kept)


def size_of(node: Node) -> Plain | Count | None:
    """The count of a tensor's entries, of rows too."""
    shape = node.value(0).shape
    return None if shape is None else numbers((), (product(shape),))


def filled(node: Node) -> Plain | Count | None:
    """A short vector of one constant."""
    shape = node.value(0)
    target = shape.elements if isinstance(shape, Plain) else None
    fill = node.attributes.get("value")
    if target is None or len(target) != 1 or target[0] is None or target[0].number is None or target[0].number > 16:
        return None
    value = constant(fill) if fill is not None else None
    if value is None or value.elements is None:
        return None
    return Plain((target[0],), value.elements * target[0].number)


SIZE_RULES: dict[str, Callable[[Node], Plain | Count | None]] = {
    "Add": _elementwise(_add),
    "Cast": cast,
    "Concat": concat,
    "ConstantOfShape": filled,
    "Div": _elementwise(_divide),
    "Equal": _elementwise(_equal),
    "Gather": gather,
    "Identity": identity,
    "Mul": _elementwise(_multiply),
    "ReduceProd": reduce_product,
    "Reshape": reshape,
    "Slice": cut,
    "Squeeze": squeeze,
    "Sub": _elementwise(_subtract),
    "Unsqueeze": unsqueeze,
    "Where": _elementwise(_where),
}
"""Operators on numbers, in the domain of ONNX itself."""

SHAPE_READERS: dict[str, Callable[[Node], Plain | Count | None]] = {"Shape": shape_of, "Size": size_of}
"""Operators that read a shape and no entry."""
