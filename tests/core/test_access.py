"""Who may do what: every method and every role, as a table."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import AccessSettings, RoleName, TokenSettings
from router.core.access import (
    LOCAL,
    METHODS,
    NOBODY,
    Actor,
    Caller,
    Failures,
    Register,
    Role,
    bearer,
    certified,
    digest,
    needed,
    permit,
)
from router.errors import Denied, Unauthenticated
from router.pb import (
    accuracy_pb2,
    admin_pb2,
    drift_pb2,
    health_report_pb2,
    inference_pb2,
    recording_pb2,
    retraining_pb2,
    webhook_pb2,
)

ADMIN = [method.name for method in admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods]
OTHERS = [
    method.name
    for each in (accuracy_pb2, drift_pb2, health_report_pb2, recording_pb2, retraining_pb2, webhook_pb2)
    for service in each.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
"""Of the services that stand beside it."""
ON_8001 = ("RepositoryModelLoad", "RepositoryModelUnload")
MAY = {
    "viewer": [
        *("GetStatus", "ListModels", "ListVersions", "ListReports", "ListFaults", "ListQuarantine", "ListAudit"),
        *("VerifyAudit", "PlanPromotion", "Explain", "Watch", "ListCases", "Diff", "GetEvidence"),
        *("GetRecording", "GetHealth", "GetDrift", "GetAccuracy", "GetWebhook", "ListRetrainings"),
    ],
    "operator": [
        *("LoadModel", "UnloadModel", "TestVersion", "WarmVersion", "Promote", "Rollback", "Freeze", "SetAlias"),
        *("SetFallback", "SubmitActuals", "Challenge", "SetSplit", "Withdraw", "StartTrial", "StopTrial"),
        *("StopRollout", "Reject", "Apply", *ON_8001),
        *("SetReference", "ResetBaseline", "TestWebhook", "RetryWebhook", "Retrain", "StopRetraining"),
    ],
    "approver": ["Approve"],
    "admin": ["SetFaults", "ClearQuarantine"],
}
"""What each role may do beyond the one before it."""


def may(role: Role, method: str, override: bool = False) -> bool:
    """Whether somebody of this role is let through."""
    try:
        permit(Actor("ada", role), method, override)
    except Denied:
        return False
    return True


def test_every_method_has_a_rule() -> None:
    """A new one needs its own, in the rules and in this table."""
    services = inference_pb2.DESCRIPTOR.services_by_name
    on_8001 = {method.name for service in services.values() for method in service.methods}
    assert set(ON_8001) <= on_8001
    assert {*ADMIN, *OTHERS, *ON_8001} == set(METHODS) == {method for methods in MAY.values() for method in methods}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_role_may_what_it_and_lower_ones_may(method: str, role: Role) -> None:
    """And nothing else."""
    words = [each.word for each in Role]
    allowed = [method for word in words[: words.index(role.word) + 1] for method in MAY[word]]
    assert may(role, method) is (method in allowed)


def test_the_roles_are_those_of_the_settings() -> None:
    """In the same order, so that each word has a role."""
    from typing import get_args

    assert tuple(role.word for role in Role) == get_args(RoleName)
    assert TokenSettings(role="admin", sha256="a" * 64).role == "admin"
    assert AccessSettings().certificates == {}


def test_only_an_approver_goes_against_the_gates() -> None:
    """The line names the role that is needed, and whose is too low."""
    assert [may(role, "Promote", override=True) for role in Role] == [False, False, True, True]
    with pytest.raises(Denied) as error:
        permit(Actor("ada", Role.OPERATOR), "Promote", override=True)
    assert str(error.value) == "Promote against the gates needs the role approver, and 'ada' is operator"
    with pytest.raises(Denied, match=r"^Rollback needs the role operator, and 'bob' is viewer$"):
        permit(Actor("bob", Role.VIEWER), "Rollback")


def test_a_method_without_a_rule_is_for_admins() -> None:
    """One that was forgotten is closed, not open."""
    assert needed("Forgotten") is Role.ADMIN
    assert needed("SetFaults", override=True) is Role.ADMIN


REGISTER = Register(
    {digest("rt_ada"): Actor("ada", Role.OPERATOR), digest("rt_bob"): Actor("bob", Role.VIEWER)},
    {"ada.example": Actor("ada.example", Role.APPROVER)},
)


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        (Caller(digest("rt_ada")), "ada"),
        (Caller(digest("rt_bob")), "bob"),
        (Caller(names=("ada.example",)), "ada.example"),
        (Caller(names=("other", "ada.example")), "ada.example"),
        (Caller(digest("rt_bob"), ("ada.example",)), "bob"),  # a token that is shown decides
    ],
)
def test_who_somebody_is(caller: Caller, name: str) -> None:
    """By token, or by certificate."""
    assert REGISTER.actor(caller, "Promote").name == name


@pytest.mark.parametrize(
    ("caller", "line"),
    [
        (
            NOBODY,
            "Promote needs the role operator: send `authorization: Bearer TOKEN` (`router token create` makes one)",
        ),
        (Caller(digest("rt_eve")), "the token is not known here; Promote needs the role operator"),
        (Caller(digest("rt_eve"), ("ada.example",)), "the token is not known here; Promote needs the role operator"),
        (Caller(names=("eve",)), "no role is given to the certificate of 'eve'; Promote needs the role operator"),
        (Caller("é"), "the token is not known here; Promote needs the role operator"),
    ],
)
def test_who_is_not_known(caller: Caller, line: str) -> None:
    """The line names the role that is needed."""
    with pytest.raises(Unauthenticated if caller.token or not caller.names else Denied) as error:
        REGISTER.actor(caller, "Promote")
    assert str(error.value) == line


@given(st.text(), st.lists(st.text(), max_size=3))
def test_nobody_is_let_in_by_chance(token: str, names: list[str]) -> None:
    """Whatever is sent."""
    with pytest.raises((Unauthenticated, Denied)):
        REGISTER.actor(Caller(token, tuple(names)), "GetStatus")


def test_an_empty_register_is_open() -> None:
    """Whatever somebody shows."""
    assert Register().open
    assert Register().actor(Caller("x", ("y",)), "SetFaults") is LOCAL
    assert not REGISTER.open
    assert not Register(certificates=REGISTER.certificates).open


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ([], None),
        ([("x", "Bearer rt_ada")], None),
        ([("authorization", "Bearer rt_ada")], "rt_ada"),
        ([("Authorization", b"bearer   rt_ada ")], "rt_ada"),
        ([("authorization", "Basic rt_ada")], "Basic rt_ada"),
        ([("authorization", "rt_ada")], "rt_ada"),
        ([("authorization", "")], ""),
        ([("authorization", "Bearer a"), ("authorization", "Bearer rt_ada")], "a"),
    ],
)
def test_the_token_of_a_call(metadata: list[tuple[str, str | bytes]], token: str | None) -> None:
    """What is no bearer token counts as one that nobody has."""
    assert bearer(metadata) == ("" if token is None else digest(token))


@given(st.lists(st.tuples(st.sampled_from(["authorization", "x"]), st.text() | st.binary())))
def test_whatever_is_sent_has_a_digest(metadata: list[tuple[str, str | bytes]]) -> None:
    """Or none."""
    made = bearer(metadata)
    assert made == "" or (len(made) == 64 and made.isascii())


def test_a_digest_is_plain_sha_256() -> None:
    """So that it can be made by other means."""
    assert digest("rt_x") == hashlib.sha256(b"rt_x").hexdigest()


def test_names_of_a_certificate() -> None:
    """Each once, in their order, whatever bytes they are."""
    assert certified([b"ada", b"", b"b\xff", b"ada"]) == ("ada", "b\ufffd")


@given(st.lists(st.floats(0, 10), min_size=1))
def test_the_log_is_told_of_failures_once_in_a_while(steps: list[float]) -> None:
    """The first at once; then at most one line a second, which counts those that were not told."""
    failures, now, told, last = Failures(1.0), 1e6, 0, None
    for step in steps:
        now += step
        times = failures.note(now)
        if times:
            assert last is None or now - last >= 1.0
            told, last = told + times, now
        else:
            assert last is not None
    assert told <= len(steps)
    assert told + failures.note(now + 1.0) == len(steps) + 1
