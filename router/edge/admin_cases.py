"""Cases as they travel, and how each stands in one line of words."""

from __future__ import annotations

from router.control.records import Case
from router.core.audit import canonical
from router.pb import admin_pb2 as pb


def to_message(case: Case) -> pb.Case:
    """A case as a message; its body travels as JSON."""
    return pb.Case(
        id=case.id,
        kind=case.kind,
        model=case.model,
        version=case.number,
        digest=case.digest,
        actor=case.actor,
        began_seconds=case.began,
        ended_seconds=case.ended,
        state=case.state,
        text=text(case),
        body=canonical(case.body),
    )


def text(case: Case) -> str:
    """How it stands, in words. What a body does not say is left out: it may be of another release."""
    return case.state
