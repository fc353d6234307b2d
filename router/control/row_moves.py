"""Operators that move entries and compute nothing: where the batch stands after a Reshape, a Transpose or a Gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.control.row_values import (
    BATCH,
    ONE,
    Count,
    Element,
    Node,
    Plain,
    Rows,
    Rule,
    Shape,
    Size,
    broadcast_sizes,
    product,
)

TO_THE_END: Final = 2**31 - 1
"""From here on the end of a Slice means "all of it", as exporters write it."""


def _reshaped(node: Node, value: Rows, target: Sequence[Element], zero_copies: bool = True) -> tuple[Rows]:
    """The rows at the target's sizes: order in memory stays, so the axis of the batch is where as much lies before.

    Refused when no axis of the target is a whole multiple of the batch with the same entries before it.
    """
    sizes: list[Element] = list(target)
    hole: int | None = None
    for place, size in enumerate(sizes):
        if size is None and place == value.axis:
            raise node.refusal(f"{node.operator} to a shape that is not known")  # a 0 would copy the batch
        if size is None or size.factor > 0:
            continue
        if size.number == -1 and hole is None:
            hole, sizes[place] = place, None
        elif size.number == 0 and zero_copies and place < len(value.shape):
            sizes[place] = value.shape[place]
        else:
            raise node.refusal(f"{node.operator} to a shape that is not known")
    if hole is not None:
        others = [size for place, size in enumerate(sizes) if place != hole and size is not None]
        if len(others) == len(sizes) - 1:
            sizes[hole] = product(value.shape).over(product(others))
    carriers = [place for place, size in enumerate(sizes) if size is not None and size.counts_rows]
    if len(carriers) != 1:
        raise node.refusal(f"{node.operator} to a shape in which the batch has no axis of its own")
    if None not in sizes:
        made, had = product(size for size in sizes if size is not None).over(BATCH), product(value.shape).over(BATCH)
        if made is None or had is None or (made != had and None not in {made.number, had.number}):
            raise node.refusal(f"{node.operator} to a shape of another size")
    place = carriers[0]
    ahead = [size for size in sizes[:place] if size is not None]
    carrier = sizes[place]
    if len(ahead) != place or carrier is None:
        raise node.refusal(f"{node.operator} puts sizes that are not known before the batch")
    before = (product(value.shape[: value.axis]) * value.before).over(product(ahead))
    after = None if before is None else carrier.over(before * BATCH)
    if before is None or after is None:
        raise node.refusal(f"{node.operator} merges the batch with other axes")
    return (Rows.at(place, [next(node.fresh) if size is None else size for size in sizes], before, after),)


def reshape(node: Node) -> tuple[Rows]:
    """Reshape, with 0 and -1 as ONNX has them."""
    value, shape = node.rows(0), node.value(1)
    if isinstance(shape, Rows) or shape.elements is None:
        raise node.refusal("Reshape to a shape that is not known")
    return _reshaped(node, value, shape.elements, not int(node.attributes.get("allowzero", 0)))


def flatten(node: Node) -> tuple[Rows]:
    """Flatten: all axes before `axis` become one, all others another."""
    value = node.rows(0)
    cut = node.axis(len(value.shape), 1)
    return _reshaped(node, value, (product(value.shape[:cut]), product(value.shape[cut:])))


def transpose(node: Node) -> tuple[Rows]:
    """Transpose; without `perm` the axes are reversed."""
    value = node.rows(0)
    return (permuted(value, [int(axis) for axis in node.attributes.get("perm", range(len(value.shape))[::-1])]),)


def permuted(value: Rows, order: Sequence[int]) -> Rows:
    """Some or all axes in this order, the batch among them."""
    return value.like(order.index(value.axis), [value.shape[axis] for axis in order])


def squeeze(node: Node) -> tuple[Rows]:
    """Squeeze of named axes. Without axes it also drops the batch when there is one row."""
    value = node.rows(0)
    axes = node.axes(1, len(value.shape))
    if axes is None:
        raise node.refusal("Squeeze without axes drops the batch when it holds one row")
    if value.axis in axes:
        raise node.refusal("Squeeze of the batch axis")
    left = [axis for axis in range(len(value.shape)) if axis not in axes]
    return (permuted(value, left),)


def unsqueeze(node: Node) -> tuple[Rows]:
    """Unsqueeze."""
    value = node.rows(0)
    new = node.axes(1, 0) or ()
    rank = len(value.shape) + len(new)
    new = tuple(axis + rank if axis < 0 else axis for axis in new)
    old = iter(range(len(value.shape)))
    origin = [None if axis in new else next(old) for axis in range(rank)]
    return (value.like(origin.index(value.axis), [ONE if axis is None else value.shape[axis] for axis in origin]),)


def concat(node: Node) -> tuple[Rows]:
    """Concat along an axis that is not the batch; every part holds the rows at the same place."""
    first = node.rows(0)
    axis = node.axis(len(first.shape), 0)
    length: Element = ONE
    for index in range(len(node.inputs)):
        part = node.rows(index)
        node.keep_off(part, (axis,))
        if not _same_place(first, part):
            raise node.refusal("Concat of parts that hold the batch at different places")
        length = part.shape[axis] if index == 0 else _sum(length, part.shape[axis])
    return (first.like(first.axis, _put(first.shape, axis, length or next(node.fresh))),)


def _same_place(one: Rows, other: Rows) -> bool:
    return (one.axis, one.before, one.after) == (other.axis, other.before, other.after)


def _sum(left: Element, right: Size) -> Element:
    if left is None or left.number is None or right.number is None:
        return None
    return Size(left.number + right.number)


def _put(shape: Shape, axis: int, size: Size) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def split(node: Node) -> tuple[Rows, ...]:
    """Split along an axis that is not the batch."""
    value = node.rows(0)
    node.all_plain(1)
    axis = node.axis(len(value.shape), 0)
    node.keep_off(value, (axis,))
    lengths = tuple(node.attributes.get("split", ())) or tuple(
        None if size is None else size.number for size in node.constants(1) or ()
    )
    if len(lengths) != len(node.used):
        lengths = (None,) * len(node.used)
    return tuple(
        value.like(value.axis, _put(value.shape, axis, next(node.fresh) if length is None else Size(length)))
        for length in lengths
    )


def cut(node: Node) -> tuple[Rows]:
    """Slice; along the batch only when it takes all rows in their order."""
    value = node.rows(0)
    rank = len(value.shape)
    if "starts" in node.attributes:
        starts: Sequence[Element] = tuple(Size(int(start)) for start in node.attributes["starts"])
        ends: Sequence[Element] = tuple(Size(int(end)) for end in node.attributes["ends"])
        steps: Sequence[Element] = (ONE,) * len(starts)
        axes: Sequence[int] = node.axes(3, rank) or tuple(range(len(starts)))
    else:
        length = node.plain(1).shape
        if not length or length[0].number is None:
            raise node.refusal("Slice with a start that is not known")
        count = length[0].number
        axes = (node.axes(3, rank) if node.given(3) else None) or tuple(range(count))
        starts = node.constants(1) or (None,) * count
        ends = _ends(node, count)
        steps = (node.constants(4) or (None,) * count) if node.given(4) else (ONE,) * count
    shape = value.shape
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if axis != value.axis:
            if end is not None and end.counts_rows:
                raise node.refusal("the size of the batch is used as data by Slice")
            shape = _put(shape, axis, next(node.fresh))
        elif start != Size(0) or step != ONE or end is None or not (end == value.extent or _last(end)):
            raise node.refusal("Slice over the batch axis")
    return (value.like(value.axis, shape),)


def _last(end: Size) -> bool:
    return end.number is not None and end.number >= TO_THE_END


def _ends(node: Node, count: int) -> tuple[Element, ...]:
    value = node.value(2)
    if isinstance(value, Rows):
        raise node.refusal("the end of a Slice is made from the rows")
    return value.elements or (None,) * count


def gather(node: Node) -> tuple[Rows]:
    """Gather: from a table by the rows' indices, or constant places out of every row."""
    data, places = node.value(0), node.value(1)
    if isinstance(data, Count) or isinstance(places, Count):
        raise node.refusal("the size of the batch is used as data by Gather")
    if data.shape is None or places.shape is None:
        raise node.refusal("Gather from a tensor of unknown rank")
    axis = node.axis(len(data.shape), 0)
    shape = (*data.shape[:axis], *places.shape, *data.shape[axis + 1 :])
    if isinstance(data, Rows) and isinstance(places, Rows):
        raise node.refusal("Gather picks entries of all rows by the rows' indices")
    if isinstance(places, Rows):
        return (places.like(axis + places.axis, shape),)
    if isinstance(data, Plain):
        raise node.refusal("Gather without rows")
    node.keep_off(data, (axis,))
    return (data.like(data.axis + (len(places.shape) - 1 if data.axis > axis else 0), shape),)


def gather_elements(node: Node) -> tuple[Rows]:
    """GatherElements: each row's indices into that row, or into a table along the axis that the batch indexes."""
    data, places = node.value(0), node.rows(1)
    axis = node.axis(len(places.shape), 0)
    if isinstance(data, Rows):
        node.keep_off(data, (axis,))
        if _same_place(data, places):
            return (places,)
    elif node.plain(0) and axis == places.axis:
        return (places,)
    raise node.refusal("GatherElements lines a fixed axis up with the batch axis")


def scatter_elements(node: Node) -> tuple[Rows]:
    """ScatterElements: each row's updates into that row."""
    data, places, updates = node.rows(0), node.rows(1), node.rows(2)
    node.keep_off(data, (node.axis(len(data.shape), 0),))
    if not (_same_place(data, places) and _same_place(data, updates)):
        raise node.refusal("ScatterElements lines the batch axis up with another axis")
    return (data,)


def gather_nd(node: Node) -> tuple[Rows]:
    """GatherND: with `batch_dims` each row's indices into that row; without them into a table."""
    data, places = node.value(0), node.rows(1)
    aligned = int(node.attributes.get("batch_dims", 0))
    last = places.shape[-1].number
    if isinstance(data, Count) or data.shape is None or last is None or places.axis == len(places.shape) - 1:
        raise node.refusal("GatherND over the batch axis")
    shape = (*places.shape[:-1], *data.shape[aligned + last :])
    if isinstance(data, Plain) and places.axis >= aligned:
        return (places.like(places.axis, shape),)
    if isinstance(data, Rows) and data.axis < aligned and _same_place(data, places):
        return (places.like(places.axis, shape),)
    raise node.refusal("GatherND over the batch axis")


def reverse_sequence(node: Node) -> tuple[Rows]:
    """ReverseSequence of each row by its own length."""
    value, lengths = node.rows(0), node.value(1)
    batch_axis, time_axis = int(node.attributes.get("batch_axis", 1)), int(node.attributes.get("time_axis", 0))
    node.keep_off(value, (time_axis,))
    if value.axis == batch_axis and not (isinstance(lengths, Rows) and lengths.whole and value.whole):
        raise node.refusal("ReverseSequence takes the lengths of fixed rows")
    if value.axis != batch_axis and not isinstance(lengths, Plain):
        raise node.refusal("ReverseSequence lines the batch axis up with another axis")
    return (value,)


def expand(node: Node) -> tuple[Rows]:
    """Expand to a shape that has the batch where the tensor has it, or where the tensor has one entry."""
    value, target = node.value(0), node.value(1)
    if isinstance(target, Rows) or isinstance(value, Count) or target.elements is None or value.shape is None:
        raise node.refusal("Expand to a shape that is not known")
    wanted = [next(node.fresh) if size is None else size for size in target.elements]
    if any(size.factor < 1 for size in wanted):
        raise node.refusal("Expand to a shape that is not known")
    return (spread(node, value, wanted),)


def spread(node: Node, value: Plain | Rows, wanted: Sequence[Size]) -> Rows:
    """A broadcast to sizes of which one may be the batch."""
    shape = value.shape or ()
    rights = {right for right in range(1, len(wanted) + 1) if wanted[-right].counts_rows}
    before, after = ONE, ONE
    if isinstance(value, Rows):
        before, after = value.before, value.after
        rights.add(len(shape) - value.axis)
    if len(rights) != 1:
        raise node.refusal(f"{node.operator} to a shape that holds the size of the batch in more than one place")
    (right,) = rights
    for sizes in (shape, wanted):
        held = sizes[-right] if len(sizes) >= right else ONE
        if isinstance(value, Plain) and held.counts_rows:
            exact = held.over(BATCH)
            if exact is None or exact.counts_rows:
                raise node.refusal("a size is not known")
            after = exact
        elif held not in {ONE, before * BATCH * after}:
            raise node.refusal(f"{node.operator} lines a fixed axis up with the batch axis")
    sizes = broadcast_sizes(node, [shape, tuple(wanted)])
    return Rows.at(len(sizes) - right, sizes, before, after)


def filled(node: Node) -> tuple[Rows]:
    """ConstantOfShape: every row gets the same."""
    target = node.value(0)
    if not isinstance(target, Count):
        raise node.refusal("ConstantOfShape of a shape that is made from the rows")
    return (spread(node, Plain(()), [next(node.fresh) if size is None else size for size in target.elements]),)


def tile(node: Node) -> tuple[Rows]:
    """Tile of each row, or of one entry for as many rows as there are."""
    value, repeats = node.value(0), node.value(1)
    if isinstance(repeats, Rows) or isinstance(value, Count) or repeats.elements is None or value.shape is None:
        raise node.refusal("Tile by numbers that are not known")
    pairs = list(zip(value.shape, repeats.elements, strict=True))
    shape = [next(node.fresh) if times is None else size * times for size, times in pairs]
    if isinstance(value, Rows):
        if repeats.elements[value.axis] != ONE or isinstance(repeats, Count):
            raise node.refusal("Tile over the batch axis")
        return (value.like(value.axis, shape),)
    if any(times is not None and times.counts_rows and size != ONE for size, times in pairs):
        raise node.refusal("Tile of several entries as often as there are rows")
    return (spread(node, Plain(()), shape),)


def pad(node: Node) -> tuple[Rows]:
    """Pad along other axes than the batch."""
    value = node.rows(0)
    node.all_plain(1)
    rank = len(value.shape)
    axes = tuple(range(rank))
    if node.given(3):
        axes = node.axes(3, rank) or axes
    amounts: Sequence[Element] | None = node.constants(1)
    for name in ("pads", "paddings"):
        if name in node.attributes:
            amounts = tuple(Size(int(amount)) for amount in node.attributes[name])
    if amounts is None or len(amounts) != 2 * len(axes):
        raise node.refusal("Pad by numbers that are not known")
    shape = value.shape
    for place, axis in enumerate(axes):
        if amounts[place] == amounts[place + len(axes)] == Size(0):
            continue
        node.keep_off(value, (axis,))
        shape = _put(shape, axis, next(node.fresh))
    return (value.like(value.axis, shape),)


def one_hot(node: Node) -> tuple[Rows]:
    """OneHot of each entry, along a new axis."""
    value = node.rows(0)
    node.all_plain(1)
    axis = node.axis(len(value.shape) + 1, -1)
    depth = (node.constants(1) or (None,))[0] or next(node.fresh)
    shape = (*value.shape[:axis], depth, *value.shape[axis:])
    return (value.like(value.axis + (value.axis >= axis), shape),)


def blocks(node: Node) -> tuple[Rows]:
    """DepthToSpace and SpaceToDepth: inside a sample."""
    value = node.samples(0)
    return (value.like(0, (value.extent, *node.unknown(len(value.shape) - 1))),)


def triangle(node: Node) -> tuple[Rows]:
    """Trilu of matrices in the last two axes."""
    value = node.rows(0)
    node.all_plain(1)
    node.keep_off(value, (len(value.shape) - 1, len(value.shape) - 2))
    return (value,)


MOVES: Final[dict[str, Rule]] = {
    "Concat": concat,
    "ConstantOfShape": filled,
    "DepthToSpace": blocks,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "Pad": pad,
    "Reshape": reshape,
    "ReverseSequence": reverse_sequence,
    "ScatterElements": scatter_elements,
    "Slice": cut,
    "SpaceToDepth": blocks,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": triangle,
    "Unsqueeze": unsqueeze,
}
"""Operators of ONNX itself that move entries."""
