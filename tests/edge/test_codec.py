"""The codec says what protobuf says, whatever it remembers from messages that came before."""

from __future__ import annotations

import gc
import itertools
import math
import struct
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.core.request import Request
from router.core.tensor import DTYPES
from router.edge import codec
from router.edge.codec import Decoder
from router.edge.reply_encoder import varint
from router.errors import InvalidRequest
from router.pb.inference_pb2 import InferParameter, ModelInferRequest

FIELDS = {
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
    "BYTES": "bytes_contents",
}

# ---- what protobuf says ----


def typed(tensor: Any) -> list[Any] | None:
    """The elements of an input as protobuf has them; None when they do not fit the datatype and shape."""
    field = FIELDS.get(tensor.datatype)
    if field is None or any(name.name != field for name, _ in tensor.contents.ListFields()):
        return None
    values = list(getattr(tensor.contents, field))
    if all(size >= 0 for size in tensor.shape) and len(values) != math.prod(tensor.shape):
        return None
    if tensor.datatype == "BYTES":
        try:
            return [value.decode() for value in values]
        except UnicodeDecodeError:
            return None
    if tensor.datatype.startswith(("INT", "UINT")):
        limits = np.iinfo(DTYPES[tensor.datatype])
        if any(not limits.min <= value <= limits.max for value in values):
            return None
    return values


def expected(message: bytes) -> tuple[Any, ...] | None:
    """All that a message says, by protobuf's own parse; None when it has to be refused."""
    try:
        parsed = ModelInferRequest.FromString(message)
    except DecodeError:
        return None
    choices = {name: value.WhichOneof("parameter_choice") for name, value in parsed.parameters.items()}
    if None in choices.values() or any(len(tensor.shape) > 32 for tensor in parsed.inputs):
        return None
    raws: list[Any] = list(parsed.raw_input_contents)
    if raws:
        if len(raws) != len(parsed.inputs) or any(tensor.HasField("contents") for tensor in parsed.inputs):
            return None
    else:
        raws = [typed(tensor) for tensor in parsed.inputs]
        if any(each is None for each in raws):
            return None
    return (
        parsed.model_name,
        parsed.model_version,
        parsed.id,
        {name: getattr(parsed.parameters[name], choice) for name, choice in choices.items()},
        [(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in parsed.inputs],
        [output.name for output in parsed.outputs],
        raws,
        len(message),
    )


def said(request: Request) -> tuple[Any, ...]:
    """All that a decoded request says."""
    header = request.header
    return (
        header.model,
        header.version,
        ModelInferRequest.FromString(request.id_field).id,
        dict(request.parameters),
        [(each.name, each.datatype, each.shape) for each in header.inputs],
        list(header.outputs),
        [bytes(each) if isinstance(each, memoryview) else each.tolist() for each in request.elements],
        request.nbytes,
    )


def same(mine: object, theirs: object) -> bool:
    """Equal, where NaN equals NaN."""
    return repr(mine) == repr(theirs)


def agrees(decoder: Decoder, message: bytes, times: int = 1) -> None:
    """The decoder says what protobuf says, or refuses what has to be refused, with nothing but InvalidRequest."""
    want = expected(message)
    for _ in range(times):
        if want is None:
            with pytest.raises(InvalidRequest) as refused:
                decoder.decode(message)
            assert len(str(refused.value)) < 1000
        else:
            assert same(said(decoder.decode(message)), want)


# ---- messages as strangers may write them ----


def overlong(value: int, extra: int, most: int) -> bytes:
    """A varint with `extra` needless bytes, as far as protobuf allows."""
    plain = varint(value)
    extra = min(extra, most - len(plain))
    if not extra:
        return plain
    return plain[:-1] + bytes([plain[-1] | 0x80]) + b"\x80" * (extra - 1) + b"\x00"


def delimited(number: int, value: bytes, extra: tuple[int, int]) -> bytes:
    """A length-delimited field; `extra` needless bytes in its tag and in its length."""
    return overlong(number << 3 | 2, extra[0], 5) + overlong(len(value), extra[1], 5) + value


@st.composite
def unknown(draw: st.DrawFn) -> bytes:
    """A field that the protocol does not have, or has with another kind."""
    number = draw(st.sampled_from([1, 3, 5, 7, 8, 15, 16, 100, 2**29 - 1]))
    kind = draw(st.sampled_from([0, 1, 5, 3]) if number < 8 else st.sampled_from([0, 1, 2, 5, 3]))
    if kind == 0:
        body = overlong(draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 9)), 10)
    elif kind == 2:
        content = draw(st.binary(max_size=9))
        body = varint(len(content)) + content
    elif kind == 3:
        body = b"\x08\x01" + varint(number << 3 | 4)
    else:
        body = bytes(8 if kind == 1 else 4)
    return varint(number << 3 | kind) + body


NAMES = st.sampled_from(["m", "model", "modèle", "模型", "", "n" * 127, "n" * 128, "n" * 300]) | st.text(max_size=8)
EXTRA = st.sampled_from(list(itertools.product([0, 0, 0, 0, 0, 1, 4], repeat=2)))
SHAPES = st.lists(st.integers(-1, 4) | st.sampled_from([2**62, -(2**63)]), max_size=4)


def _parameter(value: bool | int | float | str) -> InferParameter:
    if isinstance(value, bool):
        return InferParameter(bool_param=value)
    if isinstance(value, int):
        return InferParameter(int64_param=value) if value < 2**63 else InferParameter(uint64_param=value)
    return InferParameter(double_param=value) if isinstance(value, float) else InferParameter(string_param=value)


VALUES = st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    """Fields of a valid request in any order, and the number of each (0: not of the protocol)."""
    inputs = draw(st.lists(st.tuples(NAMES, st.sampled_from([*DTYPES, "FP99"]), SHAPES), min_size=1, max_size=3))
    raws = draw(st.lists(st.binary(max_size=200), min_size=len(inputs), max_size=len(inputs)))
    pieces = [(1, name.encode()) for name in draw(st.lists(NAMES, max_size=2))]
    pieces += [(2, name.encode()) for name in draw(st.lists(NAMES, max_size=2))]
    pieces += [(3, name.encode()) for name in draw(st.lists(NAMES, max_size=2))]
    for name, value in draw(st.lists(st.tuples(NAMES | st.just("route_key"), VALUES), max_size=2)):
        whole = ModelInferRequest(parameters={name: _parameter(value)}).SerializeToString()
        pieces.append((4, ModelInferRequest_entry(whole)))
    for name, datatype, shape in inputs:
        tensor = ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
        pieces.append((5, tensor.SerializeToString()))
    for name in draw(st.lists(NAMES, max_size=2)):
        pieces.append((6, ModelInferRequest.InferRequestedOutputTensor(name=name).SerializeToString()))
    pieces += [(7, raw) for raw in raws]
    fields = [(number, delimited(number, value, draw(EXTRA))) for number, value in pieces]
    if draw(st.integers(0, 3)) == 0:
        fields += [(0, field) for field in draw(st.lists(unknown(), max_size=2))]
    if draw(st.booleans()):
        fields = draw(st.permutations(fields))
    return [field for _, field in fields], [number for number, _ in fields]


def ModelInferRequest_entry(message: bytes) -> bytes:  # noqa: N802
    """The value of the only field of a message."""
    length, at = codec._read_varint(message, 1, 5)
    return message[at : at + length]


def message(
    *,
    name: str = "m",
    request_id: str = "1",
    raws: Sequence[bytes] = (b"\0\0\0\0",),
    shape: Sequence[int] = (1,),
    parameters: dict[str, InferParameter] | None = None,
    outputs: Sequence[str] = (),
    datatype: str = "FP32",
) -> bytes:
    """An ordinary request with inputs x0, x1, …"""
    request = ModelInferRequest(model_name=name, id=request_id, parameters=parameters)
    for index, raw in enumerate(raws):
        request.inputs.add(name=f"x{index}", datatype=datatype, shape=shape)
        request.raw_input_contents.append(raw)
    for output in outputs:
        request.outputs.add(name=output)
    return request.SerializeToString()


# ---- decoding ----


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(messages(), min_size=1, max_size=4), st.data())
def test_a_request_is_what_protobuf_says(found: list[tuple[list[bytes], list[int]]], data: st.DataObject) -> None:
    """Cold, through a template, through a known header and after many others: always protobuf's own reading."""
    decoder = Decoder()
    wires = [b"".join(fields) for fields, _ in found]
    for wire in wires * 2:
        agrees(decoder, wire)
    for fields, numbers in found:  # the same header with other raw elements: through the header's cache
        changed = [
            b"\x3a" + varint(len(new)) + new
            if number == 7 and (new := data.draw(st.binary(max_size=20))) is not None
            else field
            for field, number in zip(fields, numbers, strict=True)
        ]
        agrees(decoder, b"".join(changed))
    for wire in wires:
        agrees(decoder, wire)


@settings(max_examples=100, deadline=None)
@given(
    st.text(min_size=1, max_size=6),
    st.lists(st.binary(min_size=3, max_size=3), min_size=2, max_size=2),
    st.text(min_size=1, max_size=6),
)
def test_a_template_takes_id_and_elements_from_the_message_at_hand(first: str, raws: list[bytes], second: str) -> None:
    """Messages that differ in the text of the id and in the elements alone share a template and stay themselves."""
    decoder = Decoder()
    for request_id in (first, second, first[::-1]):
        for order in (raws, raws[::-1]):
            agrees(decoder, message(request_id=request_id, raws=order))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=8), st.booleans(), st.booleans())
def test_a_template_takes_the_route_key_from_the_message_at_hand(keys: list[str], more: bool, twice: bool) -> None:
    """Texts of one length share a template, whatever else is given; one that is given twice or is no text is read."""
    decoder = Decoder()
    for key in keys:
        parameters = {"route_key": _parameter(key)} | ({"timeout": _parameter(5)} if more else {})
        wire = message(parameters=parameters)
        entry = ModelInferRequest(parameters={"route_key": _parameter(key[::-1])}).SerializeToString()
        agrees(decoder, wire + entry * twice, times=2)
        bad = wire.replace(key.encode(), b"\xff" * len(key.encode()))
        agrees(decoder, bad)


def test_callers_who_give_another_route_key_each_time_are_known_again() -> None:
    """One template for all of them: nothing is learned anew."""
    decoder = Decoder()
    for number in range(100, 120):
        request = decoder.decode(message(request_id=str(number), parameters={"route_key": _parameter(f"k{number}")}))
        assert request.parameters == {"route_key": f"k{number}"}
        assert len(decoder._templates) == 1
    (template,) = decoder._templates.values()
    assert template.parameters == {"route_key": "k100"}
    values: list[int | float | str] = [7, True, 0.5, ""]
    for value in values:
        agrees(decoder, message(parameters={"route_key": _parameter(value)}), times=2)


def test_repeated_messages_share_their_header() -> None:
    """The header of a message that came before is the same object, whatever the id and the elements."""
    decoder = Decoder()
    first = decoder.decode(message(request_id="a", raws=[b"1234"]))
    assert first.header.kept
    assert decoder.decode(message(request_id="b", raws=[b"5678"])).header is first.header  # by the template
    assert decoder.decode(message(request_id="long", raws=[b"9"])).header is first.header  # by the scan
    assert decoder.decode(message(name="other", raws=[b"9"])).header is not first.header


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages(), st.binary(min_size=24, max_size=24))
def test_a_message_is_never_read_by_the_wrong_template(found: tuple[list[bytes], list[int]], changes: bytes) -> None:
    """A message that differs from a known one in a byte, by one byte less or one more is read for itself."""
    decoder = Decoder()
    wire = b"".join(found[0])
    agrees(decoder, wire)
    for place, byte in struct.iter_unpack("<Hc", changes):
        at = place % len(wire)
        for other in (wire[:at] + byte + wire[at + 1 :], wire[:at] + wire[at + 1 :], wire[:at] + byte + wire[at:]):
            agrees(decoder, other, times=2)
    agrees(decoder, wire)


def test_every_byte_of_an_ordinary_message_counts() -> None:
    """Each byte of a message changed in turn, against a decoder that knows the message as it was."""
    parameters = {"timeout": InferParameter(int64_param=5)}
    keyed = {"route_key": _parameter("ab")}
    for each in (parameters, keyed):
        wire = message(request_id="abc", raws=[b"12", b"34"], parameters=each, outputs=["y"])
        for at in range(len(wire)):
            for change in (1, 2, 8, 0x10, 0x80):
                decoder = Decoder()
                decoder.decode(wire)
                agrees(decoder, wire[:at] + bytes([wire[at] ^ change]) + wire[at + 1 :])
                agrees(decoder, wire)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_read_as_protobuf_reads_them_or_refused(junk: bytes) -> None:
    """Whatever arrives, the only error is InvalidRequest."""
    decoder = Decoder()
    agrees(decoder, junk)
    agrees(decoder, message()[:20] + junk)
    agrees(decoder, message() + junk)


def test_a_message_cut_anywhere_is_refused_or_is_another_whole_one() -> None:
    """Truncation is noticed wherever it cuts a field."""
    wire = message(request_id="ü", raws=[b"1234", b"5678"], outputs=["y"])
    decoder = Decoder()
    decoder.decode(wire)
    for end in range(len(wire)):
        agrees(decoder, wire[:end])


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"a\x80"])
@pytest.mark.parametrize("field", [b"\x0a", b"\x12", b"\x1a"])
def test_text_that_is_not_utf8_is_refused(bad: bytes, field: bytes) -> None:
    """In the id, the model's name and its version; also by a decoder with a template of the same lengths."""
    decoder = Decoder()
    good = b"\x0a\x01m" + field + varint(len(bad)) + b"a" * len(bad) + message()[3:]
    decoder.decode(good)
    with pytest.raises(InvalidRequest):
        decoder.decode(good.replace(field + varint(len(bad)) + b"a" * len(bad), field + varint(len(bad)) + bad))
    agrees(decoder, good)


@pytest.mark.parametrize("place", ["id", "name"])
def test_an_earlier_of_several_texts_has_to_be_utf8_too(place: str) -> None:
    """The last one wins, but protobuf refuses the message for any."""
    tag = b"\x1a" if place == "id" else b"\x0a"
    with pytest.raises(InvalidRequest):
        Decoder().decode(tag + b"\x01\xff" + tag + b"\x01a" + message())


def test_of_several_ids_only_the_last_is_sent_back() -> None:
    """A caller cannot make a reply longer than its last id."""
    request = Decoder().decode(b"\x1a\x02ab" * 100 + message(request_id="last"))
    assert request.id_field == b"\x1a\x04last"


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("extra", range(7))
def test_varints_are_as_long_as_protobuf_allows_and_no_longer(number: int, extra: int) -> None:
    """Needless bytes in the tag and in the length of every field: read or refused as protobuf does."""
    value = {4: b"\x0a\x01k\x12\x02\x10\x01", 5: b"\x0a\x01x", 6: b"\x0a\x01y"}.get(number, b"7")
    inputs = b"" if number == 5 else b"\x2a\x03\x0a\x01x"
    raws = b"" if number == 7 else b"\x3a\x017"
    tag, length = number << 3 | 2, len(value)
    for field in (
        overlong(tag, extra, 9) + varint(length) + value,
        varint(tag) + overlong(length, extra, 9) + value,
        overlong(tag, 4, 5)[:4] + b"\x10" + varint(length) + value,  # more than 32 bits
    ):
        decoder = Decoder()
        agrees(decoder, inputs + field + raws)
        agrees(decoder, inputs + field + raws)


def test_fields_without_end_are_refused() -> None:
    """A message of millions of tiny fields would keep the loop thread busy for seconds."""
    with pytest.raises(InvalidRequest, match="more than 8192 fields"):
        Decoder().decode(b"\x2a\x00" * 1_000_000)


@pytest.mark.parametrize("raw", [True, False])
def test_a_shape_of_too_many_dimensions_is_refused_at_once(raw: bool) -> None:
    """Its product would take the loop thread minutes."""
    request = ModelInferRequest(model_name="m")
    request.inputs.add(name="x" * 5000, datatype="INT32", shape=[2**62] * 100_000)
    if raw:
        request.raw_input_contents.append(b"")
    with pytest.raises(InvalidRequest, match="has 100000 dimensions, at most 32 are served") as refused:
        Decoder().decode(request.SerializeToString())
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("raws", [0, 1, 3])
def test_one_raw_entry_for_each_input(raws: int) -> None:
    """Raw elements for some inputs only are refused, with both counts."""
    request = ModelInferRequest(model_name="m")
    for name in ("a", "b"):
        request.inputs.add(name=name, datatype="FP32", shape=[1])
    request.raw_input_contents.extend([b"1234"] * raws)
    with pytest.raises(InvalidRequest, match=f"{raws} entries for 2 inputs" if raws else "input 'a' has 0 elements"):
        Decoder().decode(request.SerializeToString())


def test_raw_and_typed_contents_are_not_mixed() -> None:
    """Neither in one input nor among inputs, also when groups make protobuf read the message."""
    request = ModelInferRequest(model_name="m", raw_input_contents=[b"1234", b"1234"])
    request.inputs.add(name="a", datatype="FP32", shape=[1])
    request.inputs.add(name="b", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
    for wire in (request.SerializeToString(), request.SerializeToString() + b"\x7b\x7c"):
        with pytest.raises(InvalidRequest, match="mixed"):
            Decoder().decode(wire)


@pytest.mark.parametrize(("kind", "name"), [("inputs", "shared_memory_region"), ("outputs", "classification")])
def test_parameters_that_would_change_the_answers_meaning_are_refused(kind: str, name: str) -> None:
    """Shared memory and classification are not offered; ignoring them would give a wrong answer."""
    request = ModelInferRequest.FromString(message(outputs=["y"]))
    getattr(request, kind)[0].parameters[name].string_param = "z"
    with pytest.raises(InvalidRequest, match=f"parameter '{name}'"):
        Decoder().decode(request.SerializeToString())


def test_a_parameter_without_a_value_is_refused() -> None:
    """It says nothing; to guess would be worse."""
    with pytest.raises(InvalidRequest, match="a parameter has no value"):
        Decoder().decode(message(parameters={"timeout": InferParameter()}))


# ---- typed contents ----

TYPED = {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "FP32": [0.5, -math.inf],
    "FP64": [0.1, 1e300],
    "BYTES": [b"", "ü\0".encode()],
}


def typed_message(datatype: str, field: str, values: Sequence[Any], shape: Sequence[int]) -> bytes:
    """A request with typed contents."""
    request = ModelInferRequest(model_name="m", id="7")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    getattr(tensor.contents, field).extend(values)
    return request.SerializeToString()


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_of_every_datatype(datatype: str) -> None:
    """The extreme values arrive, in the numpy type of the datatype; headers are shared with raw messages."""
    values = TYPED[datatype]
    decoder = Decoder()
    request = decoder.decode(typed_message(datatype, FIELDS[datatype], values, [2, 1]))
    array = request.elements[0]
    assert isinstance(array, np.ndarray)
    assert array.dtype == DTYPES[datatype]
    assert array.tolist() == (["", "ü\0"] if datatype == "BYTES" else values)
    raw = ModelInferRequest(model_name="m", raw_input_contents=[b""])
    raw.inputs.add(name="x", datatype=datatype, shape=[2, 1])
    assert decoder.decode(raw.SerializeToString()).header is request.header


@pytest.mark.parametrize("datatype", ["INT8", "INT16", "UINT8", "UINT16"])
def test_typed_elements_out_of_range_are_refused(datatype: str) -> None:
    """A wide field carries narrow datatypes: what does not fit is an error, not another number."""
    limits = np.iinfo(DTYPES[datatype])
    for value in (limits.max + 1, *([limits.min - 1] if limits.min else [])):
        with pytest.raises(InvalidRequest, match=f"input 'x' has an element outside of {datatype}'s range"):
            Decoder().decode(typed_message(datatype, FIELDS[datatype], [0, value], [2]))


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_elements_in_the_wrong_field_are_refused(datatype: str) -> None:
    """The text says where they are and where they belong."""
    wrong = "fp64_contents" if datatype != "FP64" else "fp32_contents"
    with pytest.raises(InvalidRequest, match=f"in {wrong}, they belong in {FIELDS[datatype]}"):
        Decoder().decode(typed_message(datatype, wrong, [1.0], [1]))


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_travel_raw_only(datatype: str) -> None:
    """Typed contents have no field for them."""
    with pytest.raises(InvalidRequest, match=f"{datatype} travels in raw_input_contents only"):
        Decoder().decode(typed_message(datatype, "fp32_contents", [1.0], [1]))


def test_typed_contents_have_as_many_elements_as_the_shape_says() -> None:
    """Fewer and more are refused with the numbers."""
    for count in (0, 1, 3):
        with pytest.raises(InvalidRequest, match=f"input 'x' has {count} elements in int_contents, its shape .* needs"):
            Decoder().decode(typed_message("INT32", "int_contents", [1] * count, [2]))
    assert Decoder().decode(typed_message("INT32", "int_contents", [], [0, 3])).elements[0].nbytes == 0


def test_typed_text_has_to_be_utf8() -> None:
    """ONNX knows text only; the element at fault is named."""
    with pytest.raises(InvalidRequest, match="input 'x': element 1 is not UTF-8"):
        Decoder().decode(typed_message("BYTES", "bytes_contents", [b"a", b"\xff"], [2]))


def test_an_unknown_datatype_is_refused_briefly() -> None:
    """The caller's text is repeated within bounds."""
    with pytest.raises(InvalidRequest, match="which the protocol does not know") as refused:
        Decoder().decode(typed_message("F" * 10_000, "fp32_contents", [1.0], [1]))
    assert len(str(refused.value)) < 400


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_typed_contents_are_what_protobuf_says(data: st.DataObject) -> None:
    """Any field for any datatype with any values: read like protobuf, or refused."""
    request = ModelInferRequest(model_name="m")
    for name in "ab"[: data.draw(st.integers(1, 2))]:
        datatype = data.draw(st.sampled_from([*FIELDS, "FP16"]))
        tensor = request.inputs.add(name=name, datatype=datatype, shape=data.draw(SHAPES))
        field = FIELDS.get(datatype, "fp32_contents")
        kinds: dict[str, st.SearchStrategy[Any]] = {
            "bool_contents": st.booleans(),
            "int_contents": st.integers(-(2**31), 2**31 - 1) | st.integers(-129, 300),
            "int64_contents": st.integers(-(2**63), 2**63 - 1),
            "uint_contents": st.integers(0, 2**32 - 1) | st.integers(0, 300),
            "uint64_contents": st.integers(0, 2**64 - 1),
            "fp32_contents": st.floats(width=32),
            "fp64_contents": st.floats(),
            "bytes_contents": st.binary(max_size=3),
        }
        count = math.prod(tensor.shape)
        count = count if 0 <= count < 20 else data.draw(st.integers(0, 3))
        getattr(tensor.contents, field).extend(data.draw(st.lists(kinds[field], min_size=count, max_size=count)))
    decoder = Decoder()
    agrees(decoder, request.SerializeToString())
    agrees(decoder, request.SerializeToString())


# ---- memory ----


def test_what_a_decoder_remembers_is_bounded() -> None:
    """Thousands of different headers and lengths: the caches stay within their number of entries."""
    decoder = Decoder()
    for index in range(3 * codec._MAX_CACHED):
        decoder.decode(message(name=f"m{index}"))
        decoder.decode(message(raws=[bytes(index)]))
        decoder.decode(typed_message("INT32", "int_contents", [], [0, index]))
        assert len(decoder._templates) <= codec._MAX_CACHED
        assert len(decoder._headers) <= codec._MAX_CACHED
    agrees(decoder, message(name="m1"))


@pytest.mark.parametrize("raw", [True, False])
def test_large_headers_are_not_remembered(raw: bool) -> None:
    """Long names, many inputs and long unknown fields are read each time: memory is no gift to callers."""
    decoder = Decoder()
    one, many = ModelInferRequest(), ModelInferRequest()
    for request, count in ((one, 1), (many, 1000)):
        for each in range(count):
            request.inputs.add(name=f"{each}", datatype="BYTES", shape=[0])
            if raw:
                request.raw_input_contents.append(b"")
    rest = [request.SerializeToString() for request in (one, many)]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for index in range(20):
            names = (f"{index}" + "n" * 100_000, f"{index}")
            for name, inputs in zip(names, rest, strict=True):
                wire = ModelInferRequest(model_name=name).SerializeToString() + inputs
                assert not decoder.decode(wire).header.kept
            decoder.decode(message(name=f"k{index}", raws=[b""]) + b"\x42" + varint(100_000) + bytes(100_000))
        assert tracemalloc.get_traced_memory()[0] - before < 1_000_000
    finally:
        tracemalloc.stop()


def test_requests_die_by_reference_counting_alone() -> None:
    """With the collector off, nothing of a decoded or refused message stays."""
    import weakref

    decoder = Decoder()
    decoder.decode(message())
    gc.disable()
    try:
        for wire in (message(request_id="2"), message(request_id="ü"), typed_message("INT8", "int_contents", [1], [1])):
            request = decoder.decode(wire)
            gone = weakref.ref(request)
            del request
            assert gone() is None
        gc.collect()
        before = sum(isinstance(each, InvalidRequest) for each in gc.get_objects())
        for _ in range(20):
            for bad in (b"\xff", message() + b"\x1a", message()[:10]):
                with pytest.raises(InvalidRequest):
                    decoder.decode(bad)
        assert sum(isinstance(each, InvalidRequest) for each in gc.get_objects()) == before
    finally:
        gc.enable()
