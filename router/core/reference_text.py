"""A reference as text, as it is stored, sent, and brought by a version. Whoever may have written it: it is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from router.core.features import MOST_FEATURES, NAME, TEXT, Column, Take
from router.core.reference import CATEGORIES, QUANTILES, Bins, Reference
from router.errors import RouterError


def to_text(reference: Reference) -> str:
    """As it is stored and sent, in JSON."""
    features = [_plain(each) for each in reference.features]
    return json.dumps({"rows": reference.rows, "features": features}, allow_nan=False, separators=(",", ":"))


def _plain(feature: Bins) -> dict[str, Any]:
    known: list[Any] | None = None
    if feature.known is not None:
        known = [each.decode("utf-8", "surrogateescape") if isinstance(each, bytes) else each for each in feature.known]
    return {**asdict(feature), "known": known}


class UnreadableReference(RouterError):
    """A text that is none of `to_text`."""


def from_text(text: str) -> Reference:
    """The reference in a text. Raises UnreadableReference for what is none, whoever wrote it."""
    try:
        told = json.loads(text)
        features = [_feature(each) for each in told["features"]]
        rows = told["rows"]
        if not 0 < len(features) <= MOST_FEATURES or any(sum(each.counts) != rows for each in features):
            raise ValueError("counts")
        if type(rows) is not int or rows < 1:
            raise ValueError("counts")
        return Reference(features, rows)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise UnreadableReference("the reference cannot be read: it was made by another release") from error


def _feature(told: Mapping[str, Any]) -> Bins:
    """One feature. Raises ValueError, TypeError, KeyError."""
    column = Column(**{**told["column"], "take": Take(told["column"]["take"])})
    counts = tuple(_whole(each) for each in told["counts"])
    edges, centers = (tuple(float(each) for each in told[name]) for name in ("edges", "centers"))
    mean, deviation, effect = (float(told[name]) for name in ("mean", "deviation", "effect"))
    numbers = np.array([*edges, *centers, mean, deviation, effect])
    known = told["known"]
    if known is not None:
        known = tuple(each.encode("utf-8", "surrogateescape") if column.text else float(each) for each in known)
        right = len(counts) == len(known) + 2 and len(set(known)) == len(known) <= CATEGORIES and not edges
        right = right and all(len(each) <= TEXT if isinstance(each, bytes) else np.isfinite(each) for each in known)
    else:
        right = not column.text and len(counts) == len(edges) + 2 == len(centers) + 1 and len(edges) <= QUANTILES + 2
        right = right and all(low < high for low, high in pairwise(edges))
    if not (right and np.isfinite(numbers).all() and deviation > 0 and effect >= 1):
        raise ValueError("bins")
    if not (isinstance(column.name, str) and isinstance(column.tensor, str) and type(column.place) is int):
        raise TypeError("column")
    if column.place < 0 or len(column.name) > NAME:
        raise ValueError("column")
    column.name.encode()  # half a character cannot be sent: UnicodeEncodeError is a ValueError
    return Bins(column, counts, edges, centers, known, mean, deviation, effect)


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError("count")
    return value
