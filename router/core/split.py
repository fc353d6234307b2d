"""How a model's requests are divided between its champion and its challengers: sticky by key, or by metadata.

A key's place is a hash of it, the same in every worker and after every restart. Challengers own intervals of places,
the champion what is left. A share that moves takes places from the champion or gives them back to it: no other key
changes its version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from router.errors import InvalidRequest

PLACES: Final = 1_000_000
"""So many places there are: a share is exact to a ten-thousandth of a percent."""
PER_CENT: Final = PLACES // 100
ROUTE_KEY: Final = "route_key"
"""The request parameter whose text or number is the key; without it the request's id is."""


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


def place(model: str, key: bytes) -> int:
    """Where a key of a model's callers stands, from 0 to PLACES - 1. Splits of two models do not depend on each other.

    BLAKE2b (RFC 7693), as a fast hash without structure: keys that differ in a digit are as far apart as any two.
    """
    digest = hashlib.blake2b(key, digest_size=8, key=model.encode("utf-8", "surrogatepass")[:64]).digest()
    return int.from_bytes(digest) * PLACES >> 64


def moved(split: Split, shares: Mapping[str, float]) -> Split:
    """The split with these shares in percent, of all its versions that are to have one; what is matched stays.

    Raises InvalidRequest for shares that there cannot be.
    """
    wanted = {number: _places(number, share) for number, share in shares.items()}
    if sum(wanted.values()) > PLACES:
        told = ", ".join(f"version {number} {share:g} %" for number, share in shares.items())
        raise InvalidRequest(f"the shares are {sum(shares.values()):g} % together ({told}): 100 % are all there are")
    kept = [each for number, places in wanted.items() for each in _shrunk(split.intervals, number, places)]
    for number, places in wanted.items():
        missing = places - sum([high - low for low, high, mine in kept if mine == number])
        for low, high in list(_free(kept)):
            if missing <= 0:
                break
            taken = min(missing, high - low)
            kept.append(Interval(low, low + taken, number))
            missing -= taken
    return Split(_joined(kept), split.matches)


def _places(number: str, share: float) -> int:
    if not 0 <= share <= 100:  # also what is no number
        raise InvalidRequest(f"a share of {share:g} % for version {number}: it is to lie from 0 to 100")
    return round(share * PER_CENT)


def _shrunk(intervals: Sequence[Interval], number: str, places: int) -> Iterator[Interval]:
    """The first `places` of what a version has."""
    for low, high, mine in intervals:
        if mine == number and places > 0:
            yield Interval(low, min(high, low + places), number)
            places -= high - low


def _free(intervals: Sequence[Interval]) -> Iterator[tuple[int, int]]:
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
