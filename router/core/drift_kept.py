"""What of drift outlives the process that has seen it, as arrays and back: counts of windows, and rows of a reference
that is still being made. Nothing in them is trusted: they may have been written by another release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np

from router.core.features import MOST_FEATURES, TEXT, Array, Cells, Column, Take
from router.core.reference import Counts, Reference
from router.errors import RouterError

Arrays = Mapping[str, Array]

UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What is raised where arrays are read that are none of these."""


class Forgotten(RouterError):
    """What was kept cannot be read."""


# ---- counts ----


def packed(name: str, counts: Sequence[Counts]) -> dict[str, Array]:
    """The counts of several windows, by `name`. What one of them has let go of is nothing."""
    made: dict[str, Array] = {}
    for slot in Counts.__slots__:
        values = [np.asarray(getattr(each, slot)) for each in counts]
        whole = max(values, key=np.size, default=np.zeros(0))
        made[f"{name}.{slot}"] = np.array(
            [each if each.shape == whole.shape else np.zeros_like(whole) for each in values]
        )
    return made


def unpacked(name: str, arrays: Arrays, reference: Reference) -> list[Counts]:
    """That again. Raises what is UNREADABLE, also where they are of another reference."""
    made = []
    for at in range(len(arrays[f"{name}.rows"])):
        counts = Counts(reference)
        for slot in Counts.__slots__:
            value, plain = arrays[f"{name}.{slot}"][at], getattr(counts, slot)
            if isinstance(plain, int):
                setattr(counts, slot, int(value))
            elif value.size:  # else nobody asks for it any more
                if value.shape != plain.shape:
                    raise ValueError(slot)
                setattr(counts, slot, value.astype(plain.dtype))
        if counts.rows < 0:
            raise ValueError("rows")
        made.append(counts)
    return made


# ---- rows of a reference that is being made ----


def rows_packed(columns: Sequence[Column], pieces: Sequence[Cells]) -> dict[str, Array]:
    """Rows, in the pieces in which they came."""
    about = json.dumps([asdict(each) for each in columns]).encode()
    made: dict[str, Array] = {
        "columns": np.frombuffer(about, np.uint8),
        "lengths": np.array([len(each) for each in pieces], np.int64),
        "numbers": np.concatenate([each.numbers for each in pieces]),
    }
    for place in pieces[0].texts:
        texts = [text for each in pieces for text in each.texts[place]]
        made[f"text.{place}"] = np.frombuffer(b"".join(texts), np.uint8)
        made[f"sizes.{place}"] = np.array([len(text) for text in texts], np.uint8)
    return made


def rows_unpacked(arrays: Arrays) -> tuple[list[Column], list[Cells]]:
    """That again: columns and pieces, of which there is one at least. Raises Forgotten."""
    try:
        told = json.loads(arrays["columns"].tobytes())
        columns = [Column(**{**each, "take": Take(each["take"])}) for each in told]
        lengths, numbers = arrays["lengths"].tolist(), arrays["numbers"].astype(np.float64)
        texts = {
            place: _texts(arrays[f"text.{place}"].tobytes(), arrays[f"sizes.{place}"].tolist())
            for place, each in enumerate(columns)
            if each.text
        }
        whole = 0 < len(columns) <= MOST_FEATURES and numbers.shape == (sum(lengths), len(columns))
        if not whole or not lengths or min(lengths) < 1 or any(len(each) != len(numbers) for each in texts.values()):
            raise ValueError("rows")
        pieces, at = [], 0
        for length in lengths:
            cut = {place: each[at : at + length] for place, each in texts.items()}
            pieces.append(Cells(numbers[at : at + length], cut))
            at += length
        return columns, pieces
    except UNREADABLE as error:
        raise Forgotten("the rows of a reference that was being made cannot be read") from error


def _texts(joined: bytes, sizes: Sequence[int]) -> list[bytes]:
    made, at = [], 0
    for size in sizes:
        made.append(joined[at : at + size])
        at += size
    if at != len(joined) or max(sizes, default=0) > TEXT:
        raise ValueError("texts")
    return made
