"""How a model's requests are divided: exact places, keys that stay where they are, shares that there cannot be."""

from __future__ import annotations

import math
import random
import uuid
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.split import NO_SPLIT, PER_CENT, PLACES, Interval, Match, Split, begun, first, key_of, moved, place
from router.errors import InvalidRequest

Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Those = np.ndarray[tuple[int], np.dtype[np.bool_]]

KEYS: Final = 100_000
Z_99: Final = 2.5758
"""Of the normal distribution: so many deviations hold 99 % of it."""
PREFIX: Final = "a-tenant-with-a-long-name/a-service-with-another/a-route-of-it/" * 3


def family(name: str) -> list[str]:
    """So many different keys of a kind, the same every time."""
    chance = random.Random(5)
    numbers = range(1, KEYS + 1)
    match name:
        case "users":
            return [f"user-{number}" for number in numbers]
        case "integers":
            return [str(number) for number in numbers]
        case "uuids":
            return [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in numbers]
        case "mail":
            return [f"{chance.choice(['ada', 'max', 'li'])}.{number}@{number % 7}.example.org" for number in numbers]
        case _:
            return [f"{PREFIX}{number}" for number in numbers]


FAMILIES: Final = ("users", "integers", "uuids", "mail", "prefix")


@pytest.fixture(scope="module")
def places() -> Mapping[str, Places]:
    """Where the keys of each family stand, for one model."""
    return {name: np.array([place("m", key.encode()) for key in family(name)]) for name in FAMILIES}


def has(split: Split, number: str, at: Places) -> Those:
    """Which of the places are a version's."""
    mine = np.zeros(len(at), np.bool_)
    for low, high, whose in split.intervals:
        if whose == number:
            mine |= (low <= at) & (at < high)
    return mine


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("share", [1.0, 5.0, 50.0])
def test_a_share_is_a_share_of_the_keys(places: Mapping[str, Places], name: str, share: float) -> None:
    """Of any kind of keys, however alike they look: within what chance would do in 99 of 100 cases."""
    mine = int(has(moved(NO_SPLIT, {"2": share}), "2", places[name]).sum())
    expected = KEYS * share / 100
    assert abs(mine - expected) <= Z_99 * math.sqrt(expected * (1 - share / 100))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_share_that_grows_moves_only_the_keys_that_it_must(places: Mapping[str, Places], name: str) -> None:
    """From 10 to 11 %: one percent of the keys, all of them to the challenger; and the same ones back."""
    ten = moved(NO_SPLIT, {"2": 10.0})
    eleven = moved(ten, {"2": 11.0})
    before, after = has(ten, "2", places[name]), has(eleven, "2", places[name])
    assert not (before & ~after).any()
    assert (after & ~before).sum() / KEYS == pytest.approx(0.01, abs=0.002)
    assert moved(eleven, {"2": 10.0}) == ten


def test_models_are_split_apart(places: Mapping[str, Places]) -> None:
    """Who is a challenger's in one model is so in another no more often than others are."""
    half = moved(NO_SPLIT, {"2": 50.0})
    other = np.array([place("n", key.encode()) for key in family("users")])
    both = int((has(half, "2", places["users"]) & has(half, "2", other)).sum())
    assert abs(both - KEYS / 4) <= Z_99 * math.sqrt(KEYS * 3 / 16)


@given(st.text(max_size=80), st.binary(max_size=300))
def test_a_digest_stands_where_its_key_does(model: str, key: bytes) -> None:
    """Digests compare as their places do; every place has one that is the first."""
    made = begun(model)
    made.update(key)
    at = place(model, key)
    assert 0 <= at < PLACES
    assert first(at) <= made.digest()
    assert at == PLACES - 1 or made.digest() < first(at + 1)


def test_places_are_exact() -> None:
    """Each from its first digest on, the one before belongs to the place before."""
    assert first(0) == bytes(8)
    for at in (1, 10_000, 499_999, 500_000, PLACES - 1):
        low = int.from_bytes(first(at))
        assert (low * PLACES >> 64, (low - 1) * PLACES >> 64) == (at, at - 1)


def test_a_key_stands_where_it_always_stood() -> None:
    """In every worker, after every restart and with every release: or callers would change their version."""
    assert [place("digits", key) for key in (b"user-1", b"user-2", b"")] == [520306, 686507, 11649]


def test_a_split_says_whose_a_place_is() -> None:
    """To the place."""
    split = Split((Interval(0, 10, "2"), Interval(20, 30, "3")))
    assert [split.at(each) for each in (0, 9, 10, 19, 20, 29, 30, PLACES - 1)] == [
        "2", "2", None, None, "3", "3", None, None,
    ]  # fmt: skip
    assert split.shares == {"2": 0.001, "3": 0.001}


def test_versions_that_are_gone_leave_their_callers_to_the_champion() -> None:
    """Nobody else's move."""
    match = Match("x-cohort", "beta", "3")
    split = Split(moved(NO_SPLIT, {"2": 10, "3": 20}).intervals, (match, Match("x-cohort", "alpha", "2")))
    assert split.numbers == {"2", "3"}
    kept = split.kept(frozenset({"3"}))
    assert kept == Split((Interval(100_000, 300_000, "3"),), (match,))
    assert not kept.kept(frozenset())


NUMBERS: Final = ("2", "3", "4", "5")


@st.composite
def shares(draw: st.DrawFn) -> dict[str, float]:
    """Shares of some versions, of 100 % together at most, now and then of all."""
    cuts = sorted(draw(st.lists(st.one_of(st.integers(0, 100), st.floats(0, 100)), min_size=1, max_size=4)))
    numbers = draw(st.permutations(NUMBERS))
    return {number: float(high - low) for number, (low, high) in zip(numbers, pairwise((0, *cuts)), strict=False)}


def owners(split: Split) -> dict[tuple[int, int], str]:
    """Whose each range is, the champion's too; fails where two have one place."""
    found: dict[tuple[int, int], str] = {}
    at = 0
    for low, high, number in split.intervals:
        assert at <= low < high <= PLACES
        if at < low:
            found[at, low] = ""
        found[low, high] = number
        at = high
    if at < PLACES:
        found[at, PLACES] = ""
    return found


def gained(before: Split, after: Split) -> Counter[str]:
    """How many places each has that it had not."""
    found: Counter[str] = Counter()
    old = owners(before)
    for (low, high), number in owners(after).items():
        had = sum(max(0, min(high, end) - max(low, start)) for (start, end), whose in old.items() if whose == number)
        found[number] += high - low - had
    return found


@given(st.lists(shares(), min_size=1, max_size=8))
def test_whatever_moves_no_more_than_it_must(moves: list[dict[str, float]]) -> None:
    """Each version has its share to the place, and gains no place beyond what its share has grown by, champion too."""
    split = Split((), (Match("x-cohort", "beta", "9"),))
    for wanted in moves:
        after = moved(split, wanted)
        places = {number: round(share * PER_CENT) for number, share in wanted.items()}
        assert after.matches == split.matches
        sizes: Counter[str] = Counter()
        had: Counter[str] = Counter()
        for side, each in ((sizes, after), (had, split)):
            for (low, high), number in owners(each).items():
                side[number] += high - low
        for number, size in places.items():
            assert abs(sizes[number] - size) <= 2  # of 100 % together, rounding leaves a place more or less
        for number, places_gained in gained(split, after).items():
            assert places_gained == max(0, sizes[number] - had[number])
        assert moved(after, wanted) == after
        split = after


@given(
    shares(),
    st.sampled_from(NUMBERS),
    st.one_of(
        st.just(math.nan), st.floats(max_value=-1e-9), st.floats(min_value=100.001), st.just(math.inf), st.just(-1)
    ),
)
def test_a_share_that_cannot_be_is_refused(before: dict[str, float], number: str, share: float) -> None:
    """Above 100, below 0, or no number: in one line that names the version; the split stays what it was."""
    split = moved(NO_SPLIT, before)
    was = split.intervals
    with pytest.raises(InvalidRequest) as raised:
        moved(split, {**before, number: share})
    assert str(raised.value).endswith(f"for version {number}: it is to lie from 0 to 100")
    assert split.intervals is was


def test_shares_of_more_than_all_are_refused() -> None:
    """The line has them; what is only rounded to more than all is all."""
    with pytest.raises(InvalidRequest) as raised:
        moved(NO_SPLIT, {"2": 60, "3": 40.0001})
    assert str(raised.value) == (
        "the shares are 100.0001 % together (version 2 60 %, version 3 40.0001 %): 100 % are all there are"
    )
    whole = moved(NO_SPLIT, {"2": 12.50005, "3": 87.49995})
    assert sum(whole.shares.values()) == 100
    assert whole.at(PLACES - 1) == "3"


@pytest.mark.parametrize(("given_", "key"), [("a", b"a"), ("ä", "ä".encode()), (7, b"7"), (-7, b"-7"), ("", b"")])
def test_the_key_that_a_caller_gives(given_: str | int, key: bytes) -> None:
    """A text, or a whole number as it is written; an empty one is none."""
    assert key_of({"route_key": given_}) == key
    assert key_of({"priority": 1}) == b""


@pytest.mark.parametrize("wrong", [True, False, 1.5, math.nan])
def test_a_key_of_another_kind_is_refused(wrong: object) -> None:
    """It would seem to be one, and hold nobody."""
    with pytest.raises(InvalidRequest, match="it takes a text or a whole number"):
        key_of({"route_key": wrong})  # type: ignore[dict-item]
