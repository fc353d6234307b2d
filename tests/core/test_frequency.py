"""How often inputs came: never too few, hardly too many, and forgotten in time."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.frequency import MOST, Frequencies, memory_bytes

NEVER = 1 << 40
"""A window that is not filled here."""


def key(number: int) -> bytes:
    """Of an input."""
    return hashlib.blake2b(number.to_bytes(8, "little"), digest_size=16).digest()


def memory(width: int = 1024) -> np.ndarray:
    """Without a count."""
    return np.zeros(memory_bytes(width), np.uint8)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 300), max_size=60), max_size=6))
def test_nothing_is_counted_too_low(batches: list[list[int]]) -> None:
    """Whatever comes, together or one after the other, also where all share a few counters; up to the highest count."""
    counts = Frequencies(memory(64))
    came: Counter[int] = Counter()
    for batch in batches:
        counts.count([key(number) for number in batch], NEVER)
        came.update(batch)
    numbers = range(301)
    for number, found in zip(numbers, counts.of([key(number) for number in numbers]), strict=True):
        assert min(came[number], MOST) <= found <= MOST


def test_with_room_the_counts_are_right() -> None:
    """As many inputs as there are counters in a row, each once and a few more often."""
    counts = Frequencies(memory())
    counts.count([key(number) for number in range(1024)], NEVER)
    counts.count([key(number) for number in range(20)] * 4, NEVER)
    assert counts.of([key(number) for number in range(20)]) == [5] * 20
    others = counts.of([key(number) for number in range(20, 1024)])
    assert sum(each > 1 for each in others) < 20
    assert max(counts.of([key(number) for number in range(5000, 5020)])) <= 5
    assert counts.of([]) == []


def test_what_stays_away_is_forgotten() -> None:
    """Each window halves all counts; what goes on coming keeps its rank."""
    counts = Frequencies(memory())
    counts.count([key(1)] * 40, NEVER)
    counts.count([key(2)] * 10, 50)
    assert counts.of([key(1), key(2)]) == [20, 5]
    counts.count([key(2)] * 24, 50)
    assert counts.of([key(1)]) == [20]
    counts.count([key(2)], 50)
    assert counts.of([key(1)]) == [10]
    for _ in range(5):
        counts.count([key(2)] * 25, 50)
    first, second = counts.of([key(1), key(2)])
    assert (first, second > 20) == (0, True)


def test_others_see_the_same_counts() -> None:
    """They lie in the memory alone."""
    shared = memory()
    one, other = Frequencies(shared), Frequencies(shared)
    one.count([key(1)], NEVER)
    other.count([key(1)], NEVER)
    assert one.of([key(1)]) == other.of([key(1)]) == [2]


@pytest.mark.parametrize("byte", [0xFF, 0x80, MOST + 1])
def test_any_bytes_are_counts(byte: int) -> None:
    """Damage makes all look alike until some windows have passed."""
    counts = Frequencies(np.full(memory_bytes(1024), byte, np.uint8))
    for _ in range(10):
        counts.count([key(1)], 1)
    counts.count([key(2)] * 3, NEVER)
    assert counts.of([key(3), key(2)]) == [0, 3]
