"""A request in the router's own words, and the check of a request against a model's signature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.errors import InvalidRequest

Parameters = Mapping[str, bool | int | float | str]
"""What a caller adds to a request: `timeout`, `priority`, …"""

Elements = memoryview | np.ndarray[Any, Any]
"""A tensor's elements: raw bytes as they came, or an array built from typed contents."""

NO_PARAMETERS: Parameters = {}

MAX_RANK = 32
"""numpy of the oldest supported release holds no more."""

MAX_EMPTY = 1 << 24
"""An empty tensor carries no bytes, whatever its other sizes claim: a model must not make a large output of them."""


@dataclass(frozen=True, slots=True)
class InputHeader:
    """What a request says of one input before its elements."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Header:
    """All of a request but its id, parameters and elements. Callers repeat themselves: headers are interned.

    Headers are told apart by identity. `kept` ones come again, so what is made of them is worth keeping.
    """

    __slots__ = ("__weakref__", "inputs", "kept", "model", "outputs", "version")

    def __init__(
        self,
        model: str,
        version: str,
        inputs: tuple[InputHeader, ...],
        outputs: tuple[str, ...],
        *,
        kept: bool = False,
    ) -> None:
        self.model = model
        self.version = version
        self.inputs = inputs
        self.outputs = outputs
        self.kept = kept

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for headers that say the same."""
        return (self.model, self.version, self.inputs, self.outputs)


class Request:
    """A decoded request. `id_field` is the id as it travels (tag, length, text); `nbytes` the size of the message."""

    __slots__ = ("__weakref__", "elements", "header", "id_field", "nbytes", "parameters")

    def __init__(
        self, header: Header, id_field: bytes, parameters: Parameters, nbytes: int, elements: list[Elements]
    ) -> None:
        self.header = header
        self.id_field = id_field
        self.parameters = parameters
        self.nbytes = nbytes
        self.elements = elements


def id_of(id_field: bytes) -> bytes:
    """The text of an id, from its field as it travels; empty where there is none."""
    if not id_field:
        return b""
    start = 2
    while id_field[start - 1] > 0x7F:  # the length goes on
        start += 1
    return id_field[start:]


@dataclass(frozen=True, slots=True)
class Feed:
    """One input of a checked request: the place of its elements among the request's, and how to read them."""

    name: str
    datatype: str
    position: int
    shape: tuple[int, ...]
    nbytes: int  # -1: BYTES, whose length only the elements tell


@dataclass(frozen=True, slots=True)
class Checked:
    """A header that fits a signature. `rows` is the size of the first dimension that all inputs share.

    It is None when they share none: sizes differ, an input is a scalar, or there are no inputs.
    """

    feeds: tuple[Feed, ...]
    outputs: tuple[TensorSpec, ...]
    rows: int | None


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(str(size) for size in shape) + "]"


def _check_input(given: InputHeader, spec: TensorSpec, position: int) -> Feed:
    if given.datatype != spec.datatype:
        known = "" if given.datatype in DTYPES else " (which is no datatype of the protocol)"
        raise InvalidRequest(
            f"input '{given.name}' has datatype {given.datatype[:40]!r}{known}, the model takes {spec.datatype}"
        )
    if len(given.shape) > MAX_RANK:
        raise InvalidRequest(f"input '{given.name}' has {len(given.shape)} dimensions, at most {MAX_RANK} are served")
    if any(size < 0 for size in given.shape):
        raise InvalidRequest(f"input '{given.name}' has shape {_shape(given.shape)}: a size cannot be negative")
    if not spec.accepts(given.shape):
        raise InvalidRequest(
            f"input '{given.name}' has shape {_shape(given.shape)}, the model takes {_shape(spec.shape)}"
            + (" (-1: any size)" if ANY in spec.shape else "")
        )
    if 0 in given.shape and math.prod(size for size in given.shape if size) > MAX_EMPTY:
        raise InvalidRequest(
            f"input '{given.name}' has shape {_shape(given.shape)}: the other sizes of an empty tensor must multiply to"
            f" at most {MAX_EMPTY}"
        )
    nbytes = -1 if spec.datatype == BYTES else math.prod(given.shape) * DTYPES[spec.datatype].itemsize
    return Feed(spec.name, spec.datatype, position, given.shape, nbytes)


def _check_symbols(feeds: tuple[Feed, ...], specs: Mapping[str, TensorSpec]) -> None:
    sizes: dict[str, tuple[int, str]] = {}
    for feed in feeds:
        for size, symbol in zip(feed.shape, specs[feed.name].symbols, strict=False):
            if symbol is None:
                continue
            first, where = sizes.setdefault(symbol, (size, feed.name))
            if first != size and where == feed.name:
                raise InvalidRequest(
                    f"input '{where}' has shape {_shape(feed.shape)}: its dimensions '{symbol}' must have one size"
                )
            if first != size:
                raise InvalidRequest(
                    f"inputs '{where}' and '{feed.name}' share the dimension '{symbol}', but it is {first} in the one"
                    f" and {size} in the other"
                )


def expected(checked: Checked, signature: Signature, *, rows: bool) -> tuple[TensorSpec, ...]:
    """The outputs that answer a checked request: sizes that the request fixes by their symbols are filled in.

    `rows`: every output has one row for each row of the inputs, whatever its symbols say.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    sizes = {
        symbol: size
        for feed in checked.feeds
        for symbol, size in zip(specs[feed.name].symbols, feed.shape, strict=False)
        if symbol is not None
    }
    outputs = []
    for spec in checked.outputs:
        symbols = spec.symbols or (None,) * len(spec.shape)
        shape = [
            size if symbol is None else sizes.get(symbol, size)
            for size, symbol in zip(spec.shape, symbols, strict=True)
        ]
        if rows and checked.rows is not None and shape and shape[0] == ANY:
            shape[0] = checked.rows
        outputs.append(replace(spec, shape=tuple(shape)))
    return tuple(outputs)


def check(header: Header, signature: Signature) -> Checked:
    """Whether the header fits the signature. Raises InvalidRequest, which names the tensor at fault."""
    specs = {spec.name: spec for spec in signature.inputs}
    feeds: dict[str, Feed] = {}
    for position, given in enumerate(header.inputs):
        spec = specs.get(given.name)
        if spec is None:
            wanted = ", ".join(f"'{name}'" for name in specs)
            raise InvalidRequest(f"unknown input '{given.name[:200]}'; the model takes {wanted or 'no inputs'}")
        if given.name in feeds:
            raise InvalidRequest(f"input '{given.name}' is given twice")
        feeds[given.name] = _check_input(given, spec, position)
    for spec in signature.inputs:
        if spec.name not in feeds and not spec.optional:
            raise InvalidRequest(f"input '{spec.name}' is missing ({spec.datatype} {_shape(spec.shape)})")
    ordered = tuple(feeds[spec.name] for spec in signature.inputs if spec.name in feeds)
    _check_symbols(ordered, specs)

    known = {spec.name: spec for spec in signature.outputs}
    outputs: list[TensorSpec] = []
    for name in header.outputs:
        if name not in known:
            have = ", ".join(f"'{output}'" for output in known)
            raise InvalidRequest(f"unknown output '{name[:200]}'; the model gives {have}")
        if known[name] in outputs:
            raise InvalidRequest(f"output '{name}' is asked for twice")
        outputs.append(known[name])
    firsts = {feed.shape[0] if feed.shape else None for feed in ordered}
    return Checked(ordered, tuple(outputs) or signature.outputs, firsts.pop() if len(firsts) == 1 else None)
