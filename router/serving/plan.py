"""What the router makes of a header, once: which lane runs it, how elements become arrays, how outputs go out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol
from zlib import crc32

import numpy as np

from router.core.contract import Contract
from router.core.fingerprint import SAMPLE, of_elements, of_feeds, of_version
from router.core.humility import Humility
from router.core.request import Checked, Elements, Parameters
from router.core.tensor import BYTES, DTYPES, TensorSpec, decode_bytes, encode_bytes
from router.errors import InvalidRequest, ModelFailed
from router.model_settings import DeadlineSettings
from router.serving.call import Call
from router.serving.humility import Doubts, Rules

if TYPE_CHECKING:
    from router.serving.fallback import Fallback
    from router.serving.lanes import Lane
    from router.serving.memory import Memory
    from router.serving.predictions import Notes
    from router.serving.remote import Remote

Array = np.ndarray[Any, Any]
NO_SLA: Final = DeadlineSettings()
Shapes = tuple[tuple[int, ...], ...]


class Encoder(Protocol):
    """Makes replies; the edge gives it."""

    def body(self, id_field: bytes, message: bytes) -> bytes:
        """What of a reply is the same for all callers and marks: its outputs."""

    def remembered(self, id_field: bytes, age_ms: int, body: bytes) -> bytes:
        """A reply with the outputs of another one, which was made so many milliseconds ago."""

    def marked(self, id_field: bytes, message: bytes, marks: Parameters) -> bytes:
        """The same reply with these marks beside its own; they are part of its body."""

    def replies(self, id_fields: Sequence[bytes], shapes: Shapes, elements: Sequence[Sequence[Any]]) -> list[bytes]:
        """One reply for each id; `elements` holds for each output the elements for each id."""


EncoderFactory = Callable[[str, str, Parameters, Sequence[TensorSpec]], Encoder]


class _Input:
    """How one input's elements become an array."""

    __slots__ = ("count", "datatype", "dtype", "name", "nbytes", "position", "shape", "tail")

    def __init__(self, name: str, datatype: str, position: int, shape: tuple[int, ...], nbytes: int) -> None:
        self.name = name
        self.datatype = datatype
        self.dtype = DTYPES[datatype]
        self.position = position
        self.shape = shape
        self.tail = shape[1:]
        self.nbytes = nbytes
        self.count = math.prod(shape)

    def wrong_size(self, given: int) -> InvalidRequest:
        return InvalidRequest(
            f"input '{self.name}' has {given} raw bytes, {self.datatype} of shape {list(self.shape)} needs"
            f" {self.nbytes}"
        )


class Plan:
    """Everything about a header that can be known before its elements. Immutable.

    `rows` is the size of the first dimension that all inputs share, 1 where there is none or it is 0. Calls join a
    run when their plans have the same `batch_key`; None joins with nobody. `special`: not every call is simply run.
    `outputs` go to the caller, `wanted` is what the model is asked for: humility rules may look at more.
    """

    __slots__ = (
        "__weakref__",
        "_asked_rows",
        "_begun",
        "_convert",
        "_encoder",
        "_fingerprint",
        "_hedge_encoder",
        "_inputs",
        "_lone",
        "_sizes",
        "_text",
        "batch_key",
        "contract",
        "fallback",
        "generation",
        "lane",
        "memory",
        "notes",
        "outputs",
        "remote",
        "reserve_s",
        "rows",
        "rules",
        "served_by",
        "sla_s",
        "special",
        "switched",
        "wanted",
    )

    def __init__(
        self,
        lane: Lane,
        checked: Checked,
        batch_key: object,
        encoder: Encoder,
        fallback: Fallback,
        deadline: DeadlineSettings = NO_SLA,
        switched: bool = False,
        contract: Contract | None = None,
        hedge_encoder: Encoder | None = None,
        memory: Memory | None = None,
        generation: int = 0,
        served_by: str = "champion",
        remote: Remote | None = None,
        notes: Notes | None = None,
        humility: Humility | None = None,
    ) -> None:
        self.lane = lane
        self.generation = generation
        self.served_by = served_by
        self.fallback = fallback
        self.switched = switched
        self.sla_s = deadline.sla_ms / 1e3 if deadline.sla_ms is not None else None
        self.reserve_s = deadline.reserve_ms / 1e3
        self.rows = checked.rows or 1
        self.batch_key = batch_key
        self.outputs = [spec.name for spec in checked.outputs]
        self._encoder = encoder
        self._hedge_encoder = hedge_encoder or encoder
        self.memory = memory
        self.remote = remote
        self.notes = notes
        self.contract = None if contract is None else contract.of(self.outputs)
        self.rules = None if humility is None else Rules(humility, self.outputs, lane.version.model)
        self.wanted = self.outputs if self.rules is None else self.rules.outputs
        self.special = switched or memory is not None
        self._asked_rows = 1 if checked.rows is None else checked.rows
        self._inputs = tuple(
            _Input(feed.name, feed.datatype, feed.position, feed.shape, feed.nbytes) for feed in checked.feeds
        )
        self._sizes = tuple((each.position, each.nbytes) for each in self._inputs if each.datatype != BYTES)
        self._convert = tuple(each for each in self._inputs if each.datatype in (BYTES, "BOOL"))
        self._text = tuple(spec.datatype == BYTES for spec in checked.outputs)
        small = 0 <= max([feed.nbytes for feed in checked.feeds], default=0) <= SAMPLE and not self._convert
        self._fingerprint = (of_version(lane.version), of_feeds(checked.feeds), small)
        self._begun = self._fingerprint[1]
        self._lone = self._fingerprint[0] if small and len(checked.feeds) == 1 else 0  # one small input: the usual

    def admit(self, elements: list[Elements]) -> None:
        """Check the elements' sizes and make those of BYTES and BOOL fit to run, in place. Raises InvalidRequest."""
        for position, nbytes in self._sizes:
            if elements[position].nbytes != nbytes:
                for each in self._inputs:
                    if each.position == position:
                        raise each.wrong_size(elements[position].nbytes)
        for each in self._convert:
            given = elements[each.position]
            if isinstance(given, np.ndarray):
                continue
            if each.datatype == BYTES:
                elements[each.position] = decode_bytes(each.name, given, each.count)
            else:  # any byte but zero is true
                elements[each.position] = np.frombuffer(given, np.uint8) != 0 if given.nbytes else np.zeros(0, np.bool_)

    def given(self, elements: Sequence[Elements]) -> list[tuple[str, str, tuple[int, ...], Elements]]:
        """Of each input its name, datatype, shape and elements."""
        return [(each.name, each.datatype, each.shape, elements[each.position]) for each in self._inputs]

    def fingerprint(self, elements: Sequence[Any]) -> int:
        """What a request with these elements, once admitted, is known by."""
        version, begun, small = self._fingerprint
        if small:  # `of_elements` without its price
            for each in elements:
                begun = crc32(each, begun)
            return version | begun
        return version | of_elements(elements, begun)

    def fingerprints(self, calls: Sequence[Call]) -> list[int]:
        """Those of the calls of one run."""
        lone, begun = self._lone, self._begun
        if not lone:
            return [call.fingerprint() for call in calls]
        return [
            lone | crc32(call.elements[0], begun) if call.plan is self else call.fingerprint()  # type: ignore[arg-type]
            for call in calls
        ]

    def feeds(self, calls: Sequence[Call]) -> dict[str, Array]:
        """The arrays of one run for all calls, whose plans have the same batch key: rows in the calls' order."""
        if len(calls) == 1:
            elements = calls[0].elements
            return {each.name: _array(elements[each.position], each.shape, each.dtype) for each in self._inputs}
        rows = sum([call.plan.rows for call in calls])
        feeds = {}
        for index, each in enumerate(self._inputs):
            parts: list[Any] = [call.elements[call.plan._inputs[index].position] for call in calls]  # noqa: SLF001  # its own kind
            if each.datatype == BYTES:
                feeds[each.name] = np.concatenate(parts).reshape((rows, *each.tail))
            else:
                feeds[each.name] = np.ndarray((rows, *each.tail), each.dtype, b"".join(parts))
        return feeds

    def broken(self, calls: Sequence[Call], outputs: Sequence[Array]) -> list[str] | None:
        """For each call how its outputs break the model's contract, empty where they keep it; None when all do."""
        contract = self.contract
        if contract is None:
            return None
        sizes = [call.plan._asked_rows for call in calls]  # noqa: SLF001  # its own kind
        reasons = contract.broken_parts(outputs, sizes)
        return reasons if any(reasons) else None

    def doubts(self, calls: Sequence[Call], feeds: dict[str, Array], outputs: Sequence[Array]) -> Doubts | None:
        """What the model's humility rules say of a run that was asked for the `wanted` outputs; None for nothing."""
        assert self.rules is not None
        sizes = [call.plan._asked_rows for call in calls]  # noqa: SLF001  # its own kind
        return self.rules.doubts(calls, sizes, feeds, outputs)

    def doubted_replies(self, calls: Sequence[Call], doubts: Doubts, *, hedge: bool) -> list[bytes]:
        """The replies of a run of which rules said something: with what they put in, and their marks."""
        encoder = self._hedge_encoder if hedge else self._encoder
        made = self.replies(calls, doubts.outputs, hedge=hedge)
        for at, call in enumerate(calls):
            doubt = doubts.calls.get(call)
            if doubt is not None:
                made[at] = encoder.marked(call.id_field, made[at], doubt.marks)
        return made

    def remember(
        self, calls: Sequence[Call], replies: Sequence[bytes], marks: Sequence[int], now_ns: int, *, hedge: bool
    ) -> None:
        """Keep the model's answers, to calls with these fingerprints, for the day on which it has none."""
        memory = self.memory
        if memory is not None:
            encoder = self._hedge_encoder if hedge else self._encoder
            _, _, whole = self._fingerprint  # else requests that share one for ever may differ
            for call, reply, mark in zip(calls, replies, marks, strict=True):
                if not whole or memory.wants(call, mark, now_ns):
                    memory.remember(call, encoder.body(call.id_field, reply))

    def replies(self, calls: Sequence[Call], outputs: Sequence[Array], *, hedge: bool = False) -> list[bytes]:
        """The replies of one run, in the calls' order. Raises ModelFailed when the outputs cannot be split."""
        encoder = self._hedge_encoder if hedge else self._encoder
        if len(calls) == 1:
            return encoder.replies(
                (calls[0].id_field,), tuple([o.shape for o in outputs]), [(e,) for e in self.elements(outputs)]
            )
        per_call = [call.plan.rows for call in calls]
        total = sum(per_call)
        for output in outputs:
            if not output.shape or output.shape[0] != total:
                raise ModelFailed("the model did not give one row for each row")
        rows = per_call[0]
        if per_call.count(rows) != len(per_call):
            return self._uneven_replies(encoder, calls, outputs, per_call)
        elements: list[Sequence[Any]] = []
        for output, text in zip(outputs, self._text, strict=True):
            if text:
                elements.append([encode_bytes(output[at : at + rows]) for at in range(0, total, rows)])
            else:
                raw = output.tobytes()
                size = len(raw) // len(calls)
                elements.append(
                    [raw[at : at + size] for at in range(0, len(raw), size)] if size else [b""] * len(calls)
                )
        shapes = tuple([(rows, *output.shape[1:]) for output in outputs])
        return encoder.replies([call.id_field for call in calls], shapes, elements)

    def _uneven_replies(
        self, encoder: Encoder, calls: Sequence[Call], outputs: Sequence[Array], per_call: list[int]
    ) -> list[bytes]:
        made = []
        at = 0
        for call, rows in zip(calls, per_call, strict=True):
            own = [output[at : at + rows] for output in outputs]
            made += encoder.replies((call.id_field,), tuple([o.shape for o in own]), [(e,) for e in self.elements(own)])
            at += rows
        return made

    def elements(self, outputs: Sequence[Array]) -> list[Any]:
        """The elements of each output as they travel."""
        return [
            encode_bytes(output) if text else np.ascontiguousarray(output)
            for output, text in zip(outputs, self._text, strict=True)
        ]


def _array(elements: Elements, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if isinstance(elements, np.ndarray):
        return elements.reshape(shape)
    return np.ndarray(shape, dtype, elements)
