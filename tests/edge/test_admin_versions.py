"""The life of versions over a real connection: what there is, what is done, what was kept."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest

from router.control.ledger_file import Actual
from router.edge.admin_client import AdminClient, AdminError
from router.edge.reports import from_message, to_message
from router.errors import NotReady, Status
from router.pb import admin_pb2 as pb
from tests.fake_admin import HEAD, FakeLifecycle, Served, report, served


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


def test_versions_are_listed_with_their_newest_reports(client: AdminClient) -> None:
    """All models or one: stages, roles, verdicts."""
    answer = client.versions()
    assert (answer.generation, answer.frozen, [view.model for view in answer.models]) == (7, False, ["b", "a"])
    (view,) = client.versions("a").models
    assert (view.champion, view.standby, view.frozen) == ("1", "", False)
    assert [(each.number, each.stage) for each in view.versions] == [
        ("3", "found"),
        ("2", "ready"),
        ("1", "champion"),
    ]
    third, second, first = view.versions
    assert [(each.kind, each.passed) for each in third.reports] == [("warm", False)]
    assert [(each.kind, each.passed, each.seconds) for each in second.reports] == [("test", True, 1.7e9)]
    assert (first.digest, first.actor, first.reason, first.since_seconds) == ("1" * 64, "ada", "first", 1.7e9)


def test_a_promotion_and_the_way_back(service: Served, client: AdminClient) -> None:
    """The answer says what serves, what did, and what stands by; who asked and why reach the lifecycle."""
    done = client.promote("a", "2", " better ", expected="1")
    assert (done.generation, done.model, done.champion, done.standby, done.was_champion) == (8, "a", "2", "1", "1")
    assert done.took_ms == pytest.approx(34)
    back = client.rollback("a", reason="worse")
    assert (back.generation, back.champion, back.standby) == (9, "1", "2")
    assert client.rollback("a", "2", expected="1").champion == "2"
    assert [(what, order.actor, order.reason) for what, order in service.lifecycle.orders] == [
        ("promote", "local", "better"),
        ("rollback", "local", "worse"),
        ("rollback", "local", ""),
    ]


def test_tests_and_warm_ups_give_their_report(client: AdminClient) -> None:
    """Whole, with distributions and what is no number, whatever the verdict."""
    passed = client.test("a", "2")
    assert passed.passed
    assert from_message(passed) == report("a", "2")
    failed = client.warm("a", "3")
    assert not failed.passed
    assert [each.name for each in failed.distributions] == ["difference"]
    assert math.isnan(failed.outcomes[-1].figures["worst"])


def test_a_report_is_the_same_after_its_way() -> None:
    """Infinite bounds too."""
    there = report("a", "2", "warm")
    assert from_message(pb.Report.FromString(to_message(there).SerializeToString())) == there


def test_a_plan_says_what_would_be(client: AdminClient) -> None:
    """Possible where nothing is in the way."""
    plan = client.plan("a", "2")
    assert (plan.possible, list(plan.obstacles), plan.champion, plan.standby_after) == (True, [], "1", "1")
    assert (plan.memory_needed_bytes, plan.memory_free_bytes) == (3_000_000, 2_500_000_000)
    assert [(each.kind, each.passed) for each in plan.evidence] == [("test", True)]
    assert not client.plan("a", "3").possible


def test_promotions_are_frozen_and_thawed(service: Served, client: AdminClient) -> None:
    """Of one model, or of all."""
    client.freeze("a", True, "holidays")
    assert [view.frozen for view in client.versions().models] == [False, True]
    with pytest.raises(AdminError, match="promotions of 'a' are frozen"):
        client.promote("a", "2")
    client.freeze("", True)
    assert client.versions().frozen
    client.freeze("", False)
    client.freeze("a", False)
    assert client.promote("a", "2").champion == "2"
    assert service.lifecycle.orders[0][1].reason == "holidays"


def test_an_alias_comes_and_goes(client: AdminClient) -> None:
    """The generation says from when on it is so."""
    assert client.set_alias("a", "stable", "1").generation == 8
    assert dict(client.versions("a").models[0].aliases) == {"stable": "1"}
    assert client.set_alias("a", "stable", "").generation == 9
    assert not client.versions("a").models[0].aliases


def test_loads_and_unloads_say_what_serves_then(client: AdminClient) -> None:
    """Refusals keep their status: no room, not while it is champion."""
    assert client.load("a", "2").champion == "1"
    assert client.unload("a", "2").standby == ""
    with pytest.raises(AdminError, match="needs 300 MB") as room:
        client.load("a", "3")
    with pytest.raises(AdminError, match="promote another first") as champion:
        client.unload("a", "1")
    assert (room.value.status, champion.value.status) == (Status.RESOURCE_EXHAUSTED, Status.FAILED_PRECONDITION)


def test_reports_are_found_by_version_and_kind(client: AdminClient) -> None:
    """None is no error; an unknown model or version is."""
    assert [(each.version, each.kind) for each in client.reports("a")] == [("2", "test"), ("3", "warm")]
    assert [each.version for each in client.reports("a", kind="warm")] == ["3"]
    assert client.reports("a", "1") == client.reports("b") == []
    with pytest.raises(AdminError, match="unknown model 'c'"):
        client.reports("c")
    with pytest.raises(AdminError, match="model 'a' has no version 9"):
        client.reports("a", "9")


def test_the_audit_log(service: Served, client: AdminClient) -> None:
    """All, or what concerns a model; the head is that of the whole log. A broken chain is found."""
    answer = client.audit()
    assert [(each.sequence, each.actor, each.action) for each in answer.entries] == [
        (1, "ada", "promote"),
        (2, "bob", "freeze"),
    ]
    assert (answer.entries[0].before, answer.entries[0].after) == ('{"champion":"1"}', '{"champion":"2","x":1}')
    assert answer.head == HEAD
    assert [each.sequence for each in client.audit("b", 5).entries] == [2]
    with pytest.raises(AdminError, match="unknown model 'c'"):
        client.audit("c")
    assert client.verify_audit(HEAD) == pb.VerifyAuditResponse(whole=True, records=2, head=HEAD)
    assert "noted" in client.verify_audit("cd" * 32).finding
    service.database.broken = True
    assert client.verify_audit().finding == "record 2 was changed"


def test_actuals_reach_the_ledger(service: Served, client: AdminClient) -> None:
    """As integers, numbers and texts; ids that nobody knows come back. What says nothing is refused as a whole."""
    sent = [pb.Actual(request_id="r", label=3), pb.Actual(request_id="r", row=1, value=0.5)]
    done = client.submit_actuals("a", [*sent, pb.Actual(request_id="x", text="cat")])
    assert (done.joined, list(done.unknown)) == (2, ["x"])
    assert service.ledger.came == [Actual("r", 0, 3), Actual("r", 1, 0.5), Actual("x", 0, "cat")]
    with pytest.raises(AdminError, match=r"actuals\[1\] says nothing") as raised:
        client.submit_actuals("a", [sent[0], pb.Actual(request_id="r")])
    assert raised.value.field == "actuals[1].truth"
    assert len(service.ledger.came) == 3


def test_while_a_server_starts_nothing_is_changed() -> None:
    """UNAVAILABLE in the server's own words, not those for a server that is gone."""
    with served(lifecycle=FakeLifecycle(started=False)) as service, AdminClient(service.address) as client:
        for ask in (client.versions, lambda: client.promote("a", "2"), lambda: client.freeze("", True)):
            with pytest.raises(AdminError, match="has just started") as raised:
                ask()  # type: ignore[operator]
            assert (raised.value.status, raised.value.reason) == (Status.UNAVAILABLE, "NOT_READY")
        assert service.lifecycle.orders == []


def test_a_change_whose_answer_does_not_come() -> None:
    """It may have been made: the line says how to find out."""
    with served() as service, AdminClient(service.address) as client:
        client.versions()
        service.lifecycle.gate.clear()

        def stop_when_it_has_come() -> None:
            """Once the change waits."""
            service.lifecycle.waits.wait(30)
            service.loop.call_soon_threadsafe(lambda: service.loop.create_task(service._server.stop(0.05)))

        threading.Thread(target=stop_when_it_has_come, daemon=True).start()
        with pytest.raises(NotReady, match="whether the change was made, `router versions` tells"):
            client.promote("a", "2")
