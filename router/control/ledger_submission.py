"""Actuals that somebody submits: whether they can be joined, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from router.control.ledger_file import Actual, Found
from router.core.prediction import Form, truth_of
from router.errors import InvalidRequest

REFUSED: Final = "refused"
OUTCOMES: Final = ("joined", "unknown", "repeated", "contradicting", "late", REFUSED)
"""What becomes of an actual: it is joined; no such prediction is kept; it says again what was joined, or something
else; it came beyond the time that the model allows; or its call could not be right, and nothing of it was taken."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of actuals. `joined` counts them, the others are ids of requests, each once.

    `unknown`: no such prediction is kept. `already`: it had an actual; `contradicting` are those of them that say
    something else. `late`: beyond the time that the model allows.
    """

    joined: int = 0
    unknown: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    contradicting: tuple[str, ...] = ()


def checked(place: int, actual: Actual, form: Form | None) -> Actual:
    """An actual in the words of the prediction. Raises InvalidRequest, which says which one it is."""
    try:
        if not actual.request_id:
            raise InvalidRequest("it names no request")
        if not 0 <= actual.row < 2**63:
            raise InvalidRequest(f"row {actual.row}: rows are counted from 0")
        truth = actual.truth if form is None else truth_of(form, actual.truth)
    except InvalidRequest as error:
        named = f" (request '{actual.request_id[:80]}')" if actual.request_id else ""
        raise InvalidRequest(f"actuals[{place}]{named}: {error}") from None
    return Actual(actual.request_id, actual.row, truth)


def submitted(found: Found) -> Submitted:
    """As whoever submitted them learns it."""
    return Submitted(
        len(found.joined),
        _ids(found.unknown),
        _ids(found.already),
        _ids(found.late),
        _ids(found.contradicting),
    )


def counted(found: Found) -> Mapping[str, int]:
    """How many actuals came to which of OUTCOMES, of a call that was taken."""
    contradicting = len(found.contradicting)
    return {
        "joined": len(found.joined),
        "unknown": len(found.unknown),
        "repeated": len(found.already) - contradicting,
        "contradicting": contradicting,
        "late": len(found.late),
    }


def _ids(actuals: Sequence[Actual]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([each.request_id for each in actuals]))


def told(done: Submitted) -> str:
    """In one line."""
    others = [("unknown", done.unknown), ("had one already", done.already)]
    others += [("contradict it", done.contradicting), ("late", done.late)]
    parts = [f"{done.joined} joined", *(f"{len(ids)} {what}" for what, ids in others if ids)]
    return "actuals: " + ", ".join(parts)
