"""Products: which axes of a MatMul, a Gemm or an Einsum may hold the batch, and which are summed over."""

from __future__ import annotations

from router.control.row_moves import permuted
from router.control.row_values import ONE, Node, Plain, Rows, Rule, Size, Value, broadcast, broadcast_sizes


def matmul(node: Node) -> tuple[Rows]:
    """MatMul as numpy has it."""
    return (multiplied(node, node.value(0), node.value(1)),)


def multiplied(node: Node, left: Value, right: Value) -> Rows:
    """Matrices multiplied: the batch may be a leading axis of both, or an axis of one that is not summed over."""
    for side in (left, right):
        if not isinstance(side, Plain | Rows) or side.shape is None:
            raise node.refusal(f"{node.operator} of a tensor of unknown rank")
        if not side.shape or (isinstance(side, Rows) and len(side.shape) == 1):
            raise node.refusal(f"{node.operator} sums over the batch axis")
    assert isinstance(left, Plain | Rows)
    assert isinstance(right, Plain | Rows)
    a, b = left.shape or (), right.shape or ()
    vectors = (len(a) == 1, len(b) == 1)
    a, b = ((ONE, *a) if vectors[0] else a), ((*b, ONE) if vectors[1] else b)
    if (isinstance(left, Rows) and left.axis == len(a) - 1) or (isinstance(right, Rows) and right.axis == len(b) - 2):
        raise node.refusal(f"{node.operator} sums over the batch axis")
    inner = (a[-2], b[-1])
    rows_of_left = isinstance(left, Rows) and left.axis == len(a) - 2
    columns_of_right = isinstance(right, Rows) and right.axis == len(b) - 1
    if rows_of_left or columns_of_right:
        carrier, other = (left, right) if rows_of_left else (right, left)
        if isinstance(other, Rows) or not isinstance(carrier, Rows):
            raise node.refusal(f"{node.operator} multiplies every row with every row")
        sizes = [*broadcast_sizes(node, (a[:-2], b[:-2])), *inner]
        out = carrier.like(len(sizes) - (2 if rows_of_left else 1), sizes)
    else:
        parts = [
            side.like(side.axis, sizes[:-2]) if isinstance(side, Rows) else Plain(sizes[:-2])
            for side, sizes in ((left, a), (right, b))
        ]
        leading = broadcast(node, parts)
        out = leading.like(leading.axis, (*leading.shape, *inner))
    rank = len(out.shape)
    dropped = {rank - 2 + index for index, vector in enumerate(vectors) if vector}
    return permuted(out, [axis for axis in range(rank) if axis not in dropped])


def factors(node: Node) -> tuple[Value, Value]:
    """The two matrices of a product, turned when `transA` or `transB` says so."""
    left, right = (
        turned(node.value(index)) if int(node.attributes.get(name, 0)) else node.value(index)
        for index, name in ((0, "transA"), (1, "transB"))
    )
    return left, right


def turned(value: Value) -> Value:
    """A matrix with its last two axes exchanged."""
    if isinstance(value, Rows):
        rank = len(value.shape)
        return permuted(value, [*range(rank - 2), rank - 1, rank - 2])
    if isinstance(value, Plain) and value.shape is not None:
        return Plain((*value.shape[:-2], value.shape[-1], value.shape[-2]))
    return value


def gemm(node: Node) -> tuple[Rows]:
    """Gemm: A·B + C, each of A and B perhaps turned."""
    left, right = factors(node)
    if not isinstance(left, Rows) and not isinstance(right, Rows):
        raise node.refusal("Gemm adds the rows to a constant product")
    out = multiplied(node, left, right)
    return (broadcast(node, [out, node.value(2)]) if node.given(2) else out,)


def quantized_matmul(zero_points: tuple[int, ...], left: int, right: int) -> Rule:
    """MatMulInteger and QLinearMatMul: scales and zero points are constants, one for the side that holds rows."""

    def apply(node: Node) -> tuple[Rows]:
        for index in range(len(node.inputs)):
            if index in {left, right} or not node.given(index):
                continue
            shape = node.plain(index).shape
            per_column = index in zero_points and isinstance(node.value(right), Plain) and len(shape or (ONE, ONE)) == 1
            if shape is None or (set(shape) - {ONE} and not per_column):
                raise node.refusal(f"input {index} of {node.operator} is not one number")
        return (multiplied(node, node.value(left), node.value(right)),)

    return apply


def einsum(node: Node) -> tuple[Rows]:
    """Einsum: the batch is one letter, in every input that holds rows and in the output."""
    inputs, arrow, output = str(node.attributes["equation"]).replace(" ", "").partition("->")
    terms = [_letters(node, term, node.value(index)) for index, term in enumerate(inputs.split(","))]
    sizes: dict[str, list[Size]] = {}
    carriers: dict[tuple[str, Size, Size], Rows] = {}
    for index, term in enumerate(terms):
        value = node.value(index)
        for letter, size in zip(term, value.shape or (), strict=True):
            sizes.setdefault(letter, []).append(size)
        if isinstance(value, Rows):
            carriers[term[value.axis], value.before, value.after] = value
    ellipsis = sorted((letter for letter in sizes if not letter.isalpha()), reverse=True)
    if arrow:
        wanted = _spelled(output, ellipsis)
    else:
        every = [letter for term in terms for letter in term]
        wanted = ellipsis + sorted(letter for letter in sizes if letter.isalpha() and every.count(letter) == 1)
    if len(carriers) != 1:
        raise node.refusal("Einsum multiplies every row with every row")
    ((letter, _, _),) = carriers
    (value,) = carriers.values()
    if any(size != value.extent for size in sizes[letter]) or any(term.count(letter) > 1 for term in terms):
        raise node.refusal("Einsum lines a fixed axis up with the batch axis")
    if wanted.count(letter) != 1:
        raise node.refusal("Einsum sums over the batch axis")
    return (value.like(wanted.index(letter), [_widest(node, sizes[name]) for name in wanted]),)


def _letters(node: Node, term: str, value: Value) -> list[str]:
    if isinstance(value, Plain | Rows) and value.shape is not None:
        missing = len(value.shape) - len(term.replace("...", ""))
        return _spelled(term, [str(place) for place in range(missing, 0, -1)])
    raise node.refusal("Einsum of a tensor of unknown rank")


def _spelled(term: str, ellipsis: list[str]) -> list[str]:
    head, dots, tail = term.partition("...")
    return [*head, *(ellipsis if dots else ()), *tail]


def _widest(node: Node, sizes: list[Size]) -> Size:
    return broadcast_sizes(node, [(size,) for size in sizes])[0]
