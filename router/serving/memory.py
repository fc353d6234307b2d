"""What one plan remembers of its model's answers, and what it answers from that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from router.core.fallback import Reason, Step
from router.core.question import CallersKey, Question
from router.errors import InvalidRequest

if TYPE_CHECKING:
    from router.serving.answers import Remembered, Source
    from router.serving.call import Call
    from router.serving.plan import Encoder

MAX_CACHE_KEY: Final = 256
"""Characters of a caller's own key."""


class Store(Protocol):
    """Where answers are kept (`serving/answers`)."""

    def often(self, mark: int, now_ns: int) -> bool:
        """Whether requests with this fingerprint were remembered enough for now."""

    def remember(self, question: Question, source: Source, nbytes: int, body: bytes) -> None:
        """Keep an answer."""

    def recall(self, key: bytes, max_age_s: float) -> Remembered | None:
        """The answer of a key, if it is at most so old."""


class Asked(NamedTuple):
    """A version whose answers will do, and the encoder of replies that carry them."""

    question: Question
    encoder: Callable[[Reason | None], Encoder]


class Memory:
    """The answers to one kind of request. `asked` begins with the version that serves; others will do as well.

    Where a caller gives a `cache_key` its answers are kept under that, apart from those of other callers; else under
    the input.
    """

    step = Step.CACHED

    def __init__(self, store: Store, asked: Sequence[Asked], max_age_s: float, fresh_s: float) -> None:
        self._store = store
        self._asked = asked
        self._max_age_s = max_age_s
        self.fresh_s = fresh_s
        """An answer at most so old is given without a run; 0: none is."""

    def wants(self, call: Call, mark: int, now_ns: int) -> bool:
        """Whether the answer to a call with this fingerprint is to be remembered. Callers' own keys have none."""
        return call.cache_key is not None or not self._store.often(mark, now_ns)

    def remember(self, call: Call, body: bytes) -> None:
        """Keep the model's answer to a call."""
        source: Source = call.elements if call.cache_key is None else call.cache_key
        self._store.remember(self._asked[0].question, source, call.nbytes, body)

    def answer(self, call: Call, reason: Reason) -> bytes | None:
        """The reply with what is remembered, for a model that has none."""
        for asked in self._asked:
            message = self._recalled(call, asked, self._max_age_s, reason)
            if message is not None:
                return message
        return None

    def fresh(self, call: Call) -> bytes | None:
        """The reply with what the version that serves has said just now."""
        return self._recalled(call, self._asked[0], self.fresh_s, None)

    def _recalled(self, call: Call, asked: Asked, max_age_s: float, reason: Reason | None) -> bytes | None:
        source: Source = call.elements if call.cache_key is None else call.cache_key
        found = self._store.recall(asked.question.key(source), max_age_s)
        if found is None:
            return None
        return asked.encoder(reason).remembered(call.id_field, round(found.age_s * 1e3), found.body)


def callers_key(client: str, given: object) -> CallersKey:
    """The key that a caller gives in the parameter `cache_key`. Raises InvalidRequest."""
    if not isinstance(given, str) or not 0 < len(given) <= MAX_CACHE_KEY:
        raise InvalidRequest(
            f"parameter 'cache_key' is {str(given)[:40]!r}: it takes a text of 1 to {MAX_CACHE_KEY} characters"
        )
    return CallersKey(client, given)
