"""The wire form of requests of `ModelInfer`.

Callers repeat themselves: two requests of one client differ in their id, their elements and the key by which they are
routed, seldom in anything else. So a message is compared with a *template* of one that came before: all the literal
bytes around the holes (the id, the elements, the text of the key), which also fix where the holes are. Only a message
that fits no template is scanned field by field, and only a header never seen before is parsed. The elements are viewed
in place, whatever their size: protobuf would copy them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from router.core.request import MAX_RANK, NO_PARAMETERS, Elements, Header, InputHeader, Parameters, Request
from router.core.split import ROUTE_KEY
from router.core.tensor import BYTES, DTYPES, texts
from router.errors import InvalidRequest
from router.pb.inference_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

_NAME, _VERSION, _ID, _PARAMETERS, _INPUTS, _OUTPUTS, _RAW = range(1, 8)
_KEY: Final = ROUTE_KEY.encode()
_KEY_ENTRY: Final = b"\x0a%c%b\x12" % (len(_KEY), _KEY)
"""How an entry of the parameters begins: its key, then the tag of its value,"""
_STRING: Final = b"\x1a"
"""in which a text has this tag."""
_LENGTH_DELIMITED: Final = 2
_MAX_CACHED: Final = 1024
"""Templates and headers kept; when full, all are forgotten and the living ones come back by themselves."""
_MAX_LITERAL: Final = 4096
"""Bytes of literals worth keeping."""
_MAX_FIELDS: Final = 8192
"""Top-level fields of a message: no model has so many inputs, and each costs the loop thread time."""
_NOT_OFFERED: Final = ("shared_memory_region", "classification")
_MAX_TEXT: Final = 200
"""Characters of a caller's name that an error repeats."""


class _Template:
    __slots__ = ("header", "holes", "id_hole", "key_hole", "literals", "parameters")

    def __init__(
        self,
        header: Header,
        parameters: Parameters,
        literals: tuple[tuple[int, int, bytes], ...],
        id_hole: tuple[int, int],
        key_hole: tuple[int, int] | None,
        holes: tuple[tuple[int, int], ...],
    ) -> None:
        self.header = header
        self.parameters = parameters
        self.literals = literals
        self.id_hole = id_hole
        self.key_hole = key_hole
        self.holes = holes


def _malformed(what: str) -> InvalidRequest:
    return InvalidRequest(f"the message is not a ModelInferRequest: {what}")


def _read_varint(message: bytes, at: int, most: int) -> tuple[int, int]:
    """A variable-length integer of at most `most` bytes, and where it ends."""
    value = shift = 0
    for index in range(at, min(at + most, len(message))):
        byte = message[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise _malformed("it is cut off or holds a broken length")


def _fields(message: bytes) -> list[tuple[int, int, int, int]] | None:
    """Each top-level field as (number, start of its tag, start of its value, end); None if it holds groups.

    Numbers outside the protocol come as 0: protobuf skips or judges them. Raises InvalidRequest.
    """
    found: list[tuple[int, int, int, int]] = []
    at, end = 0, len(message)
    while at < end:
        start = at
        tag = message[at]
        at += 1
        if tag > 0x7F:
            tag, at = _read_varint(message, start, 5)
        kind = tag & 7
        if kind != _LENGTH_DELIMITED:
            if kind == 0:
                _, at = _read_varint(message, at, 10)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                return None
            if at > end:
                raise _malformed("it is cut off")
            found.append((0, start, start, at))
        else:
            if at < end and message[at] <= 0x7F:
                length = message[at]
                at += 1
            else:
                length, at = _read_varint(message, at, 5)
            if length > end - at:
                raise _malformed("it is cut off")
            number = tag >> 3
            found.append((number if number <= _RAW else 0, start, at, at + length))
            at += length
        if len(found) > _MAX_FIELDS:
            raise InvalidRequest(f"the message has more than {_MAX_FIELDS} fields")
    return found


def _parse(message: bytes) -> ModelInferRequest:
    try:
        return ModelInferRequest.FromString(message)
    except DecodeError:
        raise _malformed("protobuf cannot read it") from None


def parameter(value: InferParameter) -> bool | int | float | str:
    """The value that is set. Raises InvalidRequest when none is."""
    kind = value.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidRequest("a parameter has no value")
    chosen: bool | int | float | str = getattr(value, kind)
    return chosen


def _parameters(message: ModelInferRequest) -> Parameters:
    if not message.parameters:
        return NO_PARAMETERS
    return {name: parameter(value) for name, value in message.parameters.items()}


def _key_text(message: bytes, about: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Where the text of the parameter `route_key` stands: where it is given once, in the form in which all write it."""
    found = [field for field in about if _KEY in message[field[0] : field[1]]]
    if len(found) != 1:
        return None
    at, end = found[0]
    for _ in range(2):  # the tag of the field and its length
        _, at = _read_varint(message, at, 5)
    if not message.startswith(_KEY_ENTRY, at):
        return None
    length, at = _read_varint(message, at + len(_KEY_ENTRY), 5)
    if length != end - at or not message.startswith(_STRING, at):
        return None
    length, at = _read_varint(message, at + 1, 5)
    return (at, end) if length == end - at else None


_TYPED: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def typed(tensor: ModelInferRequest.InferInputTensor | ModelInferResponse.InferOutputTensor) -> np.ndarray[Any, Any]:
    """The elements of one tensor from its typed contents, flat. Raises InvalidRequest."""
    name = tensor.name[:_MAX_TEXT]
    field = _TYPED.get(tensor.datatype)
    if field is None:
        if tensor.datatype in DTYPES:
            raise InvalidRequest(f"input '{name}': {tensor.datatype} travels in raw_input_contents only")
        raise InvalidRequest(f"input '{name}' has datatype {tensor.datatype[:40]!r}, which the protocol does not know")
    for descriptor, _ in tensor.contents.ListFields():
        if descriptor.name != field:
            raise InvalidRequest(
                f"input '{name}' of datatype {tensor.datatype} has its elements in {descriptor.name},"
                f" they belong in {field}"
            )
    values = getattr(tensor.contents, field)
    count = math.prod(tensor.shape)
    if len(values) != count and all(size >= 0 for size in tensor.shape):  # a negative size has an error of its own
        raise InvalidRequest(
            f"input '{name}' has {len(values)} elements in {field}, its shape {list(tensor.shape)} needs {count}"
        )
    if tensor.datatype == BYTES:
        return texts(name, values)
    wide = np.array(values, dtype=DTYPES[tensor.datatype] if tensor.datatype not in _NARROW else np.int64)
    if tensor.datatype in _NARROW:
        limits = np.iinfo(DTYPES[tensor.datatype])
        if wide.size and (wide.min() < limits.min or wide.max() > limits.max):
            raise InvalidRequest(f"input '{name}' has an element outside of {tensor.datatype}'s range")
        wide = wide.astype(DTYPES[tensor.datatype])
    return wide


_NARROW: Final = frozenset({"INT8", "INT16", "UINT8", "UINT16"})


def _check_raw(parsed: ModelInferRequest) -> None:
    """Raw elements leave no place for typed ones."""
    if any(tensor.HasField("contents") for tensor in parsed.inputs):
        raise InvalidRequest("raw_input_contents and typed contents are mixed: use one of them for all inputs")


def _check_offered(parsed: ModelInferRequest) -> None:
    """Some extensions change where the elements are or what an answer means: not to know them would be wrong."""
    for kind, tensors in (("input", parsed.inputs), ("output", parsed.outputs)):
        for tensor in tensors:
            for name in _NOT_OFFERED:
                if name in tensor.parameters:
                    raise InvalidRequest(
                        f"{kind} '{tensor.name[:_MAX_TEXT]}' has the parameter '{name}', which this server does not"
                        " offer"
                    )


def _weight(header: Header) -> int:
    """About how many bytes a header takes on the wire."""
    names = sum([len(each.name) + len(each.datatype) + 10 * len(each.shape) + 16 for each in header.inputs])
    return len(header.model) + len(header.version) + names + sum([len(name) + 16 for name in header.outputs])


def _check_count(header: Header, raws: int) -> None:
    if raws != len(header.inputs):
        raise InvalidRequest(
            f"raw_input_contents has {raws} entries for {len(header.inputs)} inputs: one is needed for each"
        )


class Decoder:
    """Decodes `ModelInferRequest` messages. Used by one thread."""

    def __init__(self) -> None:
        self._templates: dict[tuple[int, bytes], _Template] = {}
        self._headers: dict[object, Header] = {}

    def decode(self, message: bytes) -> Request:
        """The request in `message`. Raises InvalidRequest with a text for the caller."""
        if len(message) > 2:
            template = self._templates.get((len(message), message[: message[1] + 2]))
            if template is not None:
                for start, end, literal in template.literals:
                    if message[start:end] != literal:
                        break
                else:
                    start, end = template.id_hole
                    id_field = message[start:end]
                    parameters = template.parameters
                    if template.key_hole is not None:
                        start, end = template.key_hole
                        key = message[start:end]
                        if not key.isascii():
                            return self._scan(message)
                        parameters = {**parameters, ROUTE_KEY: key.decode()}
                    if id_field.isascii():
                        view = memoryview(message)
                        return Request(
                            template.header,
                            id_field,
                            parameters,
                            len(message),
                            [view[start:end] for start, end in template.holes],
                        )
        return self._scan(message)

    def _scan(self, message: bytes) -> Request:
        fields = _fields(message)
        if fields is None:
            return self._decode_whole(message)
        raws = [(start, end) for number, _, start, end in fields if number == _RAW]
        if not raws:
            return self._decode_whole(message)
        ids = [(start, end) for number, start, _, end in fields if number == _ID]
        about = [(start, end) for number, start, _, end in fields if number == _PARAMETERS]
        rest = b"".join(
            message[start:end] for number, start, _, end in fields if number not in (_ID, _PARAMETERS, _RAW)
        )
        header = self._headers.get(rest)
        if header is None:
            parsed = _parse(rest)
            _check_raw(parsed)
            header = self._intern(parsed)
            if header.kept and len(rest) <= _MAX_LITERAL:
                self._remember(self._headers, rest, header)
        _check_count(header, len(raws))
        id_field = b"".join([message[start:end] for start, end in ids])
        if not id_field.isascii():
            _parse(id_field)
        if len(ids) > 1:
            id_field = message[ids[-1][0] : ids[-1][1]]
        parameters = NO_PARAMETERS
        if about:
            parameters = _parameters(_parse(b"".join(message[start:end] for start, end in about)))
        if header.kept and len(ids) <= 1:
            self._learn(message, header, parameters, ids[0] if ids else (0, 0), _key_text(message, about), raws)
        view = memoryview(message)
        return Request(header, id_field, parameters, len(message), [view[start:end] for start, end in raws])

    def _learn(
        self,
        message: bytes,
        header: Header,
        parameters: Parameters,
        id_field: tuple[int, int],
        key: tuple[int, int] | None,
        raws: list[tuple[int, int]],
    ) -> None:
        if message[0] != (_NAME << 3 | _LENGTH_DELIMITED) or message[1] > 0x7F:
            return
        literals = []
        at = 0
        # The id's tag and length are literal (they fix where the next literal starts), only its text is a hole.
        id_text = id_field
        if id_field[1]:
            _, text = _read_varint(message, id_field[0], 5)
            _, text = _read_varint(message, text, 5)
            id_text = (text, id_field[1])
        holes = [*raws, *([id_text] if id_field[1] else []), *([] if key is None else [key])]
        for start, end in sorted(holes):
            literals.append((at, start, message[at:start]))
            at = end
        literals.append((at, len(message), message[at:]))
        if sum(len(literal) for _, _, literal in literals) <= _MAX_LITERAL:
            template = _Template(header, parameters, tuple(literals), id_field, key, tuple(raws))
            self._remember(self._templates, (len(message), message[: message[1] + 2]), template)

    def _decode_whole(self, message: bytes) -> Request:
        """Leave all to protobuf: a message without raw elements, or with things that the protocol does not know."""
        parsed = _parse(message)
        raws = parsed.raw_input_contents
        if raws:
            _check_raw(parsed)
        header = self._intern(parsed)
        elements: list[Elements]
        if raws:
            _check_count(header, len(raws))
            elements = [memoryview(raw) for raw in raws]
        else:
            elements = [typed(tensor) for tensor in parsed.inputs]
        id_field = b"" if not parsed.id else ModelInferRequest(id=parsed.id).SerializeToString()
        return Request(header, id_field, _parameters(parsed), len(message), elements)

    def _intern(self, parsed: ModelInferRequest) -> Header:
        """The header of a message, the same object for messages that say the same. Raises InvalidRequest."""
        for tensor in parsed.inputs:
            if len(tensor.shape) > MAX_RANK:
                raise InvalidRequest(
                    f"input '{tensor.name[:_MAX_TEXT]}' has {len(tensor.shape)} dimensions, at most {MAX_RANK} are"
                    " served"
                )
        _check_offered(parsed)
        header = Header(
            parsed.model_name,
            parsed.model_version,
            tuple([InputHeader(t.name, t.datatype, tuple(t.shape)) for t in parsed.inputs]),
            tuple([t.name for t in parsed.outputs]),
        )
        if _weight(header) > _MAX_LITERAL:
            return header
        known = self._headers.get(header.key)
        if known is None:
            known = header
            known.kept = True
            self._remember(self._headers, header.key, header)
        return known

    @staticmethod
    def _remember(cache: dict[Any, Any], key: object, value: object) -> None:
        if len(cache) >= _MAX_CACHED:
            cache.clear()
        cache[key] = value
