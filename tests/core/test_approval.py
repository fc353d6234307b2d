"""A request: who may agree, what voids it, and that it comes back from the store as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.access import Actor, Role
from router.core.approval import ITSELF, Approval, Request, check_rejecter, request_of, shown
from router.core.audit import canonical
from router.core.gate import Outcome, Report, Verdict
from router.errors import Conflict, Denied, Refused, RouterError

DIGEST = "0123456789ab" + "c" * 52
REQUEST = Request(
    "a", "2", DIGEST, "ada", Role.OPERATOR, "better", "swap", False, "1", {"reports": [], "cases": []}, "high", 2,
    100.0, 200.0,
)  # fmt: skip
BOB = Actor("bob", Role.APPROVER)


def report(kind: str = "test", verdict: Verdict = Verdict.PASS, **more: Any) -> Report:
    """What a version was put through."""
    outcome = Outcome("exam", verdict, "well", True)
    return Report(kind, "a", "2", DIGEST, (outcome,), **{"began": 5.0, "took_s": 1.0, **more})


# ---- whose word counts ----


@pytest.mark.parametrize(
    ("who", "digest", "error", "line"),
    [
        (Actor("eve", Role.VIEWER), "", Denied, "request 7 needs the role approver, and 'eve' is viewer: have"),
        (Actor("eve", Role.OPERATOR), "", Denied, "request 7 needs the role approver, and 'eve' is operator: have"),
        (Actor("ada", Role.ADMIN), "", Denied, "request 7 was made by 'ada', and nobody approves what they asked for"),
        (Actor("carl", Role.APPROVER), "", Conflict, "'carl' has approved request 7 already: it has 1 of 2 approvals"),
        (BOB, "f" * 64, Refused, "request 7 is for version 2 of model 'a' with the digest 0123456789ab…, not fffffff"),
        (BOB, DIGEST[:11], Refused, "request 7 is for version 2 of model 'a' with the digest 0123456789ab…, not "),
        (BOB, DIGEST + "c", Refused, "request 7 is for version 2 of model 'a' with the digest 0123456789ab…, not "),
    ],
)
def test_whose_word_does_not_count(who: Actor, digest: str, error: type[RouterError], line: str) -> None:
    """Of a lower role, of who asked, of who has agreed already, of who was shown other files: one line says which."""
    request = replace(REQUEST, given=(Approval("carl", 110.0),))
    with pytest.raises(error) as refused:
        request.check_approver(7, who, digest)
    assert str(refused.value).startswith(line)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("digest", ["", DIGEST, DIGEST.upper(), DIGEST[:12], DIGEST[:30]])
@pytest.mark.parametrize("role", [Role.APPROVER, Role.ADMIN])
def test_whose_word_counts(role: Role, digest: str) -> None:
    """An approver's or an admin's, who was shown these files or does not say what."""
    REQUEST.check_approver(7, Actor("bob", role), digest)


@pytest.mark.parametrize("requester", ["local", "client", "ada"])
def test_where_nobody_is_known_nobody_is_another_person(requester: str) -> None:
    """A name of nobody in particular may be anybody's; what the router itself asks for, whoever has it may approve."""
    local = Actor("local", Role.ADMIN)
    with pytest.raises(Denied, match=r"was made by|may be anybody"):
        replace(REQUEST, requester=requester).check_approver(7, local)
    replace(REQUEST, requester=ITSELF).check_approver(7, local)
    replace(REQUEST, requester=requester).check_approver(7, BOB)


@pytest.mark.parametrize("role", list(Role))
def test_who_may_end_a_request(role: Role) -> None:
    """Approvers, and whoever asked."""
    check_rejecter(7, "ada", Actor("ada", role))
    if role >= Role.APPROVER:
        check_rejecter(7, "ada", Actor("bob", role))
    else:
        line = f"^request 7 was made by 'ada': to end it needs the role approver, and 'bob' is {role.word}$"
        with pytest.raises(Denied, match=line):
            check_rejecter(7, "ada", Actor("bob", role))


def test_how_many_are_missing() -> None:
    """Never less than none."""
    assert (REQUEST.missing, REQUEST.count) == (2, "0 of 2 approvals")
    more = replace(REQUEST, approvals=1, given=(Approval("bob", 1.0), Approval("carl", 2.0)))
    assert (more.missing, more.count) == (0, "2 of 1 approval")
    assert REQUEST.what == "version 2 of model 'a' promoted"
    against = replace(REQUEST, strategy="canary", override=True)
    assert against.what == "version 2 of model 'a' promoted by canary, against its gates"


# ---- what it is bound to ----


@pytest.mark.parametrize(
    ("digest", "told", "champion", "line"),
    [
        (DIGEST, None, "1", ""),
        (DIGEST, {"cases": [], "reports": []}, "1", ""),
        ("d" * 64, None, "1", "the files of version 2 of model 'a' have changed: ask again"),
        (DIGEST, {"cases": [], "reports": [1]}, "1", "the evidence of version 2 of model 'a' has changed: ask again"),
        (DIGEST, None, "3", "the champion of 'a' is version 3, and was version 1 when this was asked for: ask again"),
        (DIGEST, None, "", "the champion of 'a' is none, and was version 1 when this was asked for: ask again"),
    ],
)
def test_what_voids_a_request(digest: str, told: dict[str, Any] | None, champion: str, line: str) -> None:
    """Other files, other evidence, another champion."""
    assert REQUEST.outdated(digest, told, champion) == line


def test_any_new_evidence_is_other_evidence() -> None:
    """A verdict, a report, when it was made, what it was compared with, the end of a trial; not their order."""
    end = {"id": 3, "kind": "trial", "state": "won", "ended": 9.0}
    known = shown([report(), report("warm")], [end])
    assert canonical(known) == canonical(shown([report("warm"), report()], [end]))
    others = [
        shown([report()], [end]),
        shown([report(), report("warm")], []),
        shown([report(), report("warm")], [{**end, "state": "undecided"}]),
        shown([report(), report("warm", Verdict.WARN)], [end]),
        shown([report(), report("warm", began=6.0)], [end]),
        shown([report(), report("warm", champion="1")], [end]),
        shown([report(), report("warm", exam_digest="e" * 64)], [end]),
    ]
    digests = {replace(REQUEST, shown=each).evidence for each in [known, *others]}
    assert len(digests) == len(others) + 1
    assert all(len(each) == 64 for each in digests)


# ---- in the store ----

TEXT = st.text(st.characters(codec="utf-8"), max_size=9)
REQUESTS = st.builds(
    Request,
    *[TEXT] * 4,
    st.sampled_from(Role),
    TEXT,
    st.sampled_from(["swap", "canary"]),
    st.booleans(),
    TEXT,
    st.dictionaries(TEXT, st.none() | st.integers(-(2**53), 2**53) | TEXT | st.lists(st.booleans()), max_size=3),
    TEXT,
    st.integers(0, 10),
    st.floats(0, 1e12),
    st.floats(0, 1e12),
    st.lists(st.builds(Approval, TEXT, st.floats(0, 1e12), TEXT), max_size=3).map(tuple),
    TEXT,
)


def back(request: Request, body: Any) -> Request:
    """The request that a stored case of it holds."""
    return request_of(request.model, request.number, request.digest, request.began, body)


@given(REQUESTS)
def test_a_request_comes_back_as_it_was(request: Request) -> None:
    """Through the JSON of the store."""
    assert back(request, json.loads(canonical(request.body()))) == request


@given(
    st.sampled_from(sorted(REQUEST.body())),
    st.none() | st.integers() | st.floats() | TEXT | st.lists(TEXT) | st.dictionaries(TEXT, TEXT) | st.just(...),
)
def test_a_body_that_is_none_is_told(key: str, value: object) -> None:
    """In one line, by model and version; nothing else is raised, and what is shown is what its hash says."""
    body = {name: each for name, each in {**REQUEST.body(), key: value}.items() if each is not ...}
    told = "a request for version 2 of model 'a' "
    try:
        assert back(REQUEST, body).evidence == body["evidence"]
    except RouterError as error:
        told = str(error)
    assert told.startswith("a request for version 2 of model 'a' ")
    assert told.isprintable()
