"""The same question has the same key however it is sent; different ones never share one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.question import KEY_BYTES, CallersKey, Question
from router.core.request import Checked, Elements, Feed
from router.core.table import Version, VersionState
from router.core.tensor import BYTES, DTYPES, TensorSpec, decode_bytes, encode_bytes, texts

TEXT = st.text(st.sampled_from("ab,1\0"), max_size=3)
FEEDS = st.lists(
    st.tuples(TEXT, st.sampled_from(["INT8", "UINT8", "FP32"]), st.lists(st.integers(0, 12), max_size=2), st.binary()),
    max_size=3,
)
ASKED = st.tuples(TEXT, TEXT, TEXT, FEEDS, st.lists(TEXT, max_size=2))


def question(
    model: str = "m",
    number: str = "1",
    digest: str = "d",
    feeds: Any = (("x", "FP32", [2]),),
    outputs: Any = ("y",),
    age_s: float = 60,
) -> Question:
    """What a plan makes of a header."""
    checked = Checked(
        tuple([Feed(name, kind, at, tuple(shape), -1) for at, (name, kind, shape, *_) in enumerate(feeds)]),
        tuple([TensorSpec(name, "FP32", ()) for name in outputs]),
        None,
    )
    return Question(Version(model, number, digest, "", VersionState.READY), checked, age_s)


def key(asked: tuple[Any, ...]) -> bytes:
    """Of everything that a request says."""
    *_, feeds, _ = asked
    return question(*asked).key([memoryview(raw) for *_, raw in feeds])


@given(ASKED, ASKED)
def test_keys_are_equal_when_all_is_equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Model, number, digest, each input's name, datatype, shape and bytes, outputs: no part runs into the next."""
    assert (key(one) == key(other)) == (one == other)
    assert len(key(one)) == KEY_BYTES


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {BYTES}))
def test_raw_and_typed_elements_have_one_key(datatype: str) -> None:
    """An array says the same as its bytes."""
    asks = question(feeds=[("x", datatype, [3])])
    array = np.array([0, 1, 1]).astype(DTYPES[datatype])
    raw: Elements = memoryview(array.tobytes())
    assert asks.key([array]) == asks.key([raw])
    assert asks.key([array]) != asks.key([array[::-1]])


@given(st.lists(st.text(), max_size=4))
def test_texts_have_one_key_raw_and_typed(values: list[str]) -> None:
    """Also empty ones, and those that would look alike one after the other."""
    asks = question(feeds=[("x", BYTES, [len(values)])])
    typed = texts("x", [value.encode() for value in values])
    raw = memoryview(encode_bytes(typed))
    assert asks.key([typed]) == asks.key([decode_bytes("x", raw, len(values))]) == asks.key([raw])
    joined = texts("x", ["".join(values).encode()])
    assert (asks.key([typed]) == asks.key([joined])) == (values == ["".join(values)])


def test_the_order_of_the_inputs_in_the_message_is_nothing() -> None:
    """Feeds stand in the model's order and say where their elements are."""
    a, b = memoryview(b"aaaa"), memoryview(b"bbbb")
    version = Version("m", "1", "d", "", VersionState.READY)
    keys = set()
    for first, elements in ((0, [a, b]), (1, [b, a])):
        feeds = (Feed("a", "FP32", first, (1,), 4), Feed("b", "FP32", 1 - first, (1,), 4))
        keys.add(Question(version, Checked(feeds, (), 1), 60).key(elements))
    assert len(keys) == 1


@given(st.tuples(TEXT, TEXT), st.tuples(TEXT, TEXT))
def test_a_callers_key_is_the_callers_alone(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Client and key together; whatever the input."""
    asks, wider = question(), question(feeds=[("x", "FP32", [9])])
    assert (asks.key(CallersKey(*one)) == wider.key(CallersKey(*other))) == (one == other)


def test_a_callers_key_belongs_to_a_version_and_its_outputs() -> None:
    """And is never the key of an input."""
    given = CallersKey("client", "key")
    keys = {
        each.key(given)
        for each in (question(), question("n"), question(number="2"), question(digest="e"), question(outputs=()))
    }
    keys.add(question(feeds=()).key([]))
    assert len(keys) == 6


@pytest.mark.parametrize(("age_s", "refresh_s"), [(0, 1), (1, 1), (60, 6), (3600, 360)])
def test_an_answer_is_written_again_after_a_tenth_of_its_age(age_s: float, refresh_s: float) -> None:
    """At least a second."""
    assert question(age_s=age_s).refresh_ns == refresh_s * 1e9
