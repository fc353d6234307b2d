"""What an answer is remembered for: the key of a request's input, or of the key that a caller gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from router.core.request import Checked, Elements
from router.core.table import Version
from router.core.tensor import BYTES, encode_bytes

KEY_BYTES: Final = 16
"""BLAKE2b-128."""


class CallersKey(NamedTuple):
    """A caller's own name for what it asks. `client` says who it is: nobody reads an answer made for another."""

    client: str
    cache_key: str


class Question:
    """All of a key that is known before the elements: model, version (number and digest), inputs, outputs.

    Made once for each kind of request (model, version, shapes, outputs); immutable. `outputs` are in the order in
    which the reply has them. `refresh_ns` says for how long an answer need not be written again: a tenth of the
    shortest age `age_s` (seconds) at which anybody asks for it, at least a second. `rules` are the humility rules by
    which answers are given: those by other rules are other answers.
    """

    __slots__ = ("_by_input", "_by_name", "_feeds", "refresh_ns", "version")

    def __init__(self, version: Version, checked: Checked, age_s: float, rules: str = "") -> None:
        self.version = version.number
        self.refresh_ns = round(max(1.0, age_s / 10) * 1e9)
        self._feeds = tuple([(feed.position, feed.datatype) for feed in checked.feeds])
        asked = [version.model, version.number, version.digest]
        asked += [f"humility {rules}"] if rules else []
        asked += [str(len(checked.outputs))]
        asked += [spec.name for spec in checked.outputs]
        self._by_name = hashlib.blake2b(_fields(asked), digest_size=KEY_BYTES, person=b"callers key")
        for feed in checked.feeds:
            asked += [feed.name, feed.datatype, ",".join(map(str, feed.shape))]
        self._by_input = hashlib.blake2b(_fields(asked), digest_size=KEY_BYTES, person=b"input")

    def key(self, source: Sequence[Elements] | CallersKey) -> bytes:
        """The key of a request's elements, as `Plan.admit` left them, or of the key that its caller gave."""
        if isinstance(source, CallersKey):
            key = self._by_name.copy()
            key.update(_fields(source))
            return key.digest()
        key = self._by_input.copy()
        for position, datatype in self._feeds:
            given = source[position]
            if isinstance(given, np.ndarray):
                given = memoryview(encode_bytes(given) if datatype == BYTES else given.tobytes())
            key.update(given.nbytes.to_bytes(8, "little"))
            key.update(given)
        return key.digest()


def _fields(texts: Iterable[str]) -> bytes:
    """Texts one after the other, each behind its length: different texts never look alike."""
    return b"".join([len(raw).to_bytes(8, "little") + raw for raw in [text.encode() for text in texts]])
