"""Cases as they travel, and how each stands in one line of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.control.records import Case
from router.core.audit import canonical
from router.core.standing import CaseKind
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
    told = {CaseKind.REQUEST: _request}.get(case.kind, _said)(case)
    return " ".join(told.split())


def _said(case: Case) -> str:
    said = _word(case.body, "text")
    return said or ("under way" if case.open else case.state)


def _request(case: Case) -> str:
    body = case.body
    outcome = _word(body, "outcome")
    if not case.open:
        return outcome if outcome.startswith(case.state) else f"{case.state}: {outcome}" if outcome else case.state
    given = body.get("given")
    names = [_word(each, "actor") for each in given if isinstance(each, Mapping)] if isinstance(given, list) else []
    needed = body.get("approvals")
    known = isinstance(needed, int)
    count = f"{len(names)} of {needed} approval{'s' if needed != 1 else ''}" if known else f"{len(names)} approvals"
    parts = [count + (f" ({', '.join(names)})" if names else "")]
    parts += [f"to be promoted by {strategy}"] if (strategy := _word(body, "strategy")) else []
    parts += ["against its gates"] if body.get("override") is True else []
    parts += [f"importance {level}"] if (level := _word(body, "level")) else []
    return f"waits for approval: {', '.join(parts)}"


def _word(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""
