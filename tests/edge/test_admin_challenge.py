"""Challengers, trials, canaries, approvals and declared state over a real connection."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from router.control.records import Order
from router.core.access import Actor, Register, Role, digest
from router.core.standing import CaseKind
from router.edge.access import Access, Doorkeeper
from router.edge.admin import Admin, serve_admin
from router.edge.admin_client import AdminClient, AdminError
from router.errors import Status
from router.pb import admin_pb2 as pb
from tests.fake_admin import FakeLifecycle, FakeQuarantine, Served, explain, served
from tests.server import free_port


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own for each test: they change it."""
    with served() as made:
        yield made


@pytest.fixture
def client(service: Served) -> Iterator[AdminClient]:
    """Of that service."""
    with AdminClient(service.address) as made:
        yield made


def test_a_challenger_comes_and_goes(service: Served, client: AdminClient) -> None:
    """With a share, as a shadow, by metadata in lower case: all of it is listed beside the versions."""
    match = pb.MetadataMatch(key="X-Cohort", value="beta")
    done = client.challenge("a", "2", 12.5, shadow=True, matches=[match], reason="new")
    assert (done.generation, done.champion, done.was_champion, done.HasField("opened")) == (8, "1", "1", False)
    (view,) = client.versions("a").models
    assert (dict(view.shares), list(view.shadows)) == ({"2": 12.5}, ["2"])
    assert list(view.matches) == [pb.MetadataMatch(key="x-cohort", value="beta", version="2")]
    assert client.withdraw("a", "2", "enough").generation == 9
    (view,) = client.versions("a").models
    assert (dict(view.shares), list(view.shadows), list(view.matches)) == ({}, [], [])
    assert [(what, order.reason) for what, order in service.lifecycle.orders] == [
        ("challenge", "new"),
        ("withdraw", "enough"),
    ]
    with pytest.raises(AdminError, match="version 3 cannot be a challenger"):
        client.challenge("a", "3")
    with pytest.raises(AdminError, match="version 2 of model 'a' is no challenger"):
        client.withdraw("a", "2")


def test_requests_are_divided(client: AdminClient) -> None:
    """Shares of all challengers at once; matches that are not named stay."""
    client.challenge("a", "2", 5, matches=[pb.MetadataMatch(key="k", value="v")])
    assert client.set_split("a", {"3": 20, "2": 10}).generation == 9
    (view,) = client.versions("a").models
    assert (dict(view.shares), [each.version for each in view.matches]) == ({"2": 10.0, "3": 20.0}, ["2"])
    client.set_split("a", {}, [pb.MetadataMatch(key="k", value="v", version="3")])
    (view,) = client.versions("a").models
    assert (dict(view.shares), [each.version for each in view.matches]) == ({}, ["3"])


def test_a_trial_begins_and_is_stopped(client: AdminClient) -> None:
    """As a case with its number, listed while it is open, kept when it has ended."""
    client.challenge("a", "2", shadow=True)
    begun = client.start_trial("a", "2", "better?")
    assert (begun.id, begun.kind, begun.model, begun.version, begun.actor) == (1, "trial", "a", "2", "local")
    assert (begun.began_seconds, begun.ended_seconds, begun.state) == (1.7e9, 0, "open")
    assert [each.id for each in client.versions("a").models[0].cases] == [1]
    with pytest.raises(AdminError, match="trial 1 of model 'a' is under way") as twice:
        client.start_trial("a", "2")
    assert twice.value.status is Status.ABORTED
    assert client.stop_trial("a").state == "stopped"
    assert not client.versions("a").models[0].cases
    assert [each.state for each in client.cases("a", "2", "trial")] == ["stopped"]
    with pytest.raises(AdminError, match="no trial of model 'a' is under way"):
        client.stop_trial("a")


def test_a_canary_leaves_the_champion(client: AdminClient) -> None:
    """The answer to a promotion is what was begun; it is undone by its stop."""
    changed = client.promote("a", "2", strategy="canary")
    assert (changed.champion, changed.was_champion, changed.generation) == ("1", "1", 7)
    assert (changed.opened.kind, changed.opened.version) == ("rollout", "2")
    assert client.stop_rollout("a", "worse").state == "stopped"
    assert client.promote("a", "2", strategy="swap").champion == "2"


def test_a_promotion_that_waits_is_approved_or_rejected(service: Served, client: AdminClient) -> None:
    """Of the version that the approver was shown, and by a number that there is."""
    service.lifecycle.asks = {"a", "b"}
    asked = client.promote("a", "2", strategy="canary").opened
    assert (asked.kind, json.loads(asked.body)["strategy"]) == ("request", "canary")
    with pytest.raises(AdminError, match="another digest"):
        client.approve(asked.id, "3" * 64)
    assert client.approve(asked.id, asked.digest).state == "approved"
    with pytest.raises(AdminError, match="request 1 has ended: approved"):
        client.approve(asked.id)
    other = client.promote("b", "1").opened
    assert client.reject(other.id, "not today").state == "rejected"
    with pytest.raises(AdminError, match="no request 9") as unknown:
        client.approve(9)
    assert unknown.value.status is Status.NOT_FOUND


def test_cases_are_found(service: Served, client: AdminClient) -> None:
    """Newest first, by model, version and kind, so many of them, or those that are open; none is no error."""
    house, order = service.lifecycle, Order()
    for number in ("1", "2", "3"):
        house.ended(house.opened(CaseKind.TRIAL, "a", number, order), "undecided")
    house.opened(CaseKind.ROLLOUT, "a", "2", order)
    house.opened(CaseKind.ROLLOUT, "b", "1", order)
    assert [each.id for each in client.cases()] == [5, 4, 3, 2, 1]
    assert [each.id for each in client.cases("a", last=2)] == [4, 3]
    assert [each.id for each in client.cases("a", "2")] == [4, 2]
    assert [each.id for each in client.cases(kind="rollout")] == [5, 4]
    assert [each.id for each in client.cases(only_open=True)] == [5, 4]
    assert [each.id for each in client.cases("a", kind="trial", only_open=True)] == []
    with pytest.raises(AdminError, match="unknown model 'c'"):
        client.cases("c")
    with pytest.raises(AdminError, match="model 'a' has no version 9"):
        client.cases("a", "9")


def test_declared_state_is_compared_and_applied(service: Served, client: AdminClient) -> None:
    """A comparison does nothing; each step has its outcome after it was applied."""
    (step,) = client.diff("[models.a]").steps
    assert (step.action, step.model, step.version, step.outcome) == ("promote", "a", "2", "")
    assert service.lifecycle.orders == []
    done = client.apply("[models.a]", "from Git")
    assert ([each.outcome for each in done.steps], done.generation) == (["done"], 7)
    assert [order.reason for _, order in service.lifecycle.orders] == ["from Git"]
    assert list(client.diff("fight").conflicts) == [
        "a canary of [bold]digits[/] is under way: `router canary digits --stop` first"
    ]


def test_evidence_travels_as_json(client: AdminClient) -> None:
    """Of a version that there is."""
    assert json.loads(client.evidence("a", "2"))["version"]["stage"] == "ready"
    with pytest.raises(AdminError, match="model 'a' has no version 9"):
        client.evidence("a", "9")


def test_orders_carry_the_role_of_whoever_asks() -> None:
    """Policies decide by it."""
    register = Register({digest(f"rt_{role.word}"): Actor(f"{role.word}'s", role) for role in Role})
    with served(access=Access(Doorkeeper(register, sleep=_at_once))) as service:
        service.lifecycle.asks = {"a"}
        for role in (Role.OPERATOR, Role.APPROVER):
            with AdminClient(service.address, token=f"rt_{role.word}") as client:
                client.set_split("a", {})
                client.set_alias("a", "blue", "1")
        assert [(order.actor, order.role) for _, order in service.lifecycle.orders] == [
            (f"{role.word}'s", role) for role in (Role.OPERATOR, Role.APPROVER) for _ in range(2)
        ]
        with AdminClient(service.address, token="rt_operator") as client:
            asked = client.promote("a", "2").opened
            with pytest.raises(AdminError, match="Approve needs the role approver"):
                client.approve(asked.id)


async def _at_once(_: float) -> None:
    pass


def test_without_a_database_there_are_open_cases_only(service: Served) -> None:
    """Those that have ended are refused with the mend."""
    lifecycle = FakeLifecycle()
    lifecycle.opened(CaseKind.TRIAL, "a", "2", Order())
    address = f"127.0.0.1:{free_port()}"
    admin = Admin(lifecycle, pb.Status, explain, FakeQuarantine())  # type: ignore[arg-type]
    server = service.run(serve_admin(address, admin))
    with AdminClient(address) as client:
        assert [each.id for each in client.cases(only_open=True)] == [1]
        with pytest.raises(AdminError, match="ask for those that are open"):
            client.cases()
    service.run(server.stop(0))
