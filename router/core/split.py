"""How a model's requests are divided between its champion and its challengers: sticky by key, or by metadata.

A key's place is a hash of it, the same in every worker and after every restart. Challengers own intervals of places,
the champion what is left. A share that grows takes places from shares that shrink with it, then from the champion; what
nobody takes is the champion's again. So no key changes its version that need not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Final, NamedTuple

from router.core.request import Parameters
from router.errors import InvalidRequest

PLACES: Final = 1_000_000
"""So many places there are: a share is exact to a ten-thousandth of a percent."""
PER_CENT: Final = PLACES // 100
DIGEST_BYTES: Final = 8
_EXACT: Final = 1e-9
"""Sums of shares are as exact as this."""
ROUTE_KEY: Final = "route_key"
"""The request parameter whose text or whole number is the key; without it the request's id is."""


class Interval(NamedTuple):
    """The places from `low` up to, not including, `high` are the version's."""

    low: int
    high: int
    number: str


@dataclass(frozen=True, slots=True)
class Match:
    """Calls whose metadata hold `value` under `key` (lower case) are the version's, whatever their place."""

    key: str
    value: str
    number: str


@dataclass(frozen=True, slots=True)
class Split:
    """Who has which places: `intervals` in their order, none over another. Of several `matches` the first decides."""

    intervals: tuple[Interval, ...] = ()
    matches: tuple[Match, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.intervals or self.matches)

    def at(self, place: int) -> str | None:
        """The challenger that has a place; None: the champion."""
        return next((number for low, high, number in self.intervals if low <= place < high), None)

    @property
    def numbers(self) -> frozenset[str]:
        """The versions that it names."""
        return frozenset([each.number for each in self.intervals]) | {each.number for each in self.matches}

    @property
    def shares(self) -> Mapping[str, float]:
        """By version, in percent; those that have only matches are not among them."""
        made: dict[str, int] = {}
        for low, high, number in self.intervals:
            made[number] = made.get(number, 0) + high - low
        return {number: places / PER_CENT for number, places in made.items()}

    def kept(self, numbers: frozenset[str]) -> Split:
        """Without the versions that are not among these: their callers are the champion's again."""
        return Split(
            tuple([each for each in self.intervals if each.number in numbers]),
            tuple([each for each in self.matches if each.number in numbers]),
        )


NO_SPLIT: Final = Split()


def begun(model: str) -> blake2s:
    """The hash of a model's keys, before any key: `update` a copy of it. Its digest says where a key stands.

    BLAKE2s (RFC 7693), as a fast hash without structure: keys that differ in a digit are as far apart as any two. It is
    personal to the model, so that the splits of two models do not depend on each other; the RFC's secret key would do
    the same for twice the time.
    """
    name = blake2s(model.encode("utf-8", "surrogatepass"), digest_size=blake2s.PERSON_SIZE)
    return blake2s(digest_size=DIGEST_BYTES, person=name.digest())


def first(place: int) -> bytes:
    """The first digest that stands at a place, from 0 to PLACES - 1: digests compare as their places do."""
    return (-(-(place << 8 * DIGEST_BYTES) // PLACES)).to_bytes(DIGEST_BYTES)


def place(model: str, key: bytes) -> int:
    """Where a key of a model's callers stands, from 0 to PLACES - 1."""
    made = begun(model)
    made.update(key)
    return int.from_bytes(made.digest()) * PLACES >> 8 * DIGEST_BYTES


def key_of(parameters: Parameters) -> bytes:
    """The key that a caller gives in `route_key`, empty where there is none. 7 and "7" are the same.

    Raises InvalidRequest for another kind of value.
    """
    given = parameters.get(ROUTE_KEY, "")
    if isinstance(given, str):
        return given.encode("utf-8", "surrogatepass")
    if isinstance(given, bool) or not isinstance(given, int):
        raise InvalidRequest(f"parameter '{ROUTE_KEY}' is {str(given)[:40]!r}: it takes a text or a whole number")
    return b"%d" % given


def moved(split: Split, shares: Mapping[str, float]) -> Split:
    """The split with these shares in percent, of all its versions that are to have one; what is matched stays.

    Raises InvalidRequest for shares that there cannot be.
    """
    missing = _places(shares)
    kept: list[Interval] = []
    free: list[tuple[int, int]] = []
    for low, high, number in split.intervals:
        end = low + min(high - low, missing.get(number, 0))
        if low < end:
            kept.append(Interval(low, end, number))
            missing[number] -= end - low
        if end < high:
            free.append((end, high))
    free += _of_champion(split.intervals)
    free.reverse()
    for number, places in missing.items():
        left = places
        while left > 0:
            low, high = free.pop()
            end = min(high, low + left)
            kept.append(Interval(low, end, number))
            left -= end - low
            if end < high:
                free.append((end, high))
    return Split(_joined(kept), split.matches)


def _places(shares: Mapping[str, float]) -> dict[str, int]:
    """How many places each version is to have. Raises InvalidRequest."""
    for number, share in shares.items():
        if not 0 <= share <= 100:  # also what is no number
            raise InvalidRequest(f"a share of {share:g} % for version {number}: it is to lie from 0 to 100")
    together = sum(shares.values())
    if together > 100 + _EXACT:
        told = ", ".join(f"version {number} {share:g} %" for number, share in shares.items())
        raise InvalidRequest(f"the shares are {together:.9g} % together ({told}): 100 % are all there are")
    wanted = {number: round(share * PER_CENT) for number, share in shares.items()}
    over = sum(wanted.values()) - PLACES
    if over > 0:  # by rounding
        wanted[max(wanted, key=wanted.__getitem__)] -= over
    return wanted


def _of_champion(intervals: Sequence[Interval]) -> Iterator[tuple[int, int]]:
    """What no challenger has."""
    at = 0
    for low, high, _ in sorted(intervals):
        if low > at:
            yield at, low
        at = high
    if at < PLACES:
        yield at, PLACES


def _joined(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    made: list[Interval] = []
    for each in sorted(intervals):
        if made and made[-1].high == each.low and made[-1].number == each.number:
            made[-1] = made[-1]._replace(high=each.high)
        else:
            made.append(each)
    return tuple(made)
