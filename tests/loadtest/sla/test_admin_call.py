"""Calls of the admin service, as actions."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from loadtest.errors import BenchError, Lacking
from loadtest.sla import admin_call
from loadtest.sla.actions import AdminAction
from loadtest.sla.admin_call import Done, call, check
from router.pb import admin_pb2 as pb
from tests.fake_admin import served

NOW = threading.Event()


def action(method: str, within: str = "30s", **request: Any) -> AdminAction:
    """A call of it."""
    return AdminAction.model_validate({"at": "0s", "do": "admin", "call": method, "request": request, "within": within})


def test_a_change_tells_the_generation_that_serves_since() -> None:
    """By which its flip is found; what has none tells none."""
    with served() as server:
        done = call(action("Promote", model="a", version="2"), server.address, NOW)
        assert done.generation == 8
        assert json.loads(done.detail)["champion"] == "2"
        assert call(action("Freeze", model="a", frozen=True), server.address, NOW) == Done("{}")


def test_what_the_server_refuses_is_told() -> None:
    """In its words."""
    with served() as server, pytest.raises(BenchError, match="model 'a' has no standby"):
        call(action("Rollback", model="a"), server.address, NOW)


def test_what_came_in_the_way_of_another_change_is_tried_again() -> None:
    """Until the other one is through, or there is no time left."""
    with served() as server:
        conflict = action("Promote", "300ms", model="a", version="2", expected_champion="2")
        with pytest.raises(BenchError, match="ABORTED: ada made version 1 champion"):
            call(conflict, server.address, NOW)
        tried = threading.Thread(target=call, args=(action("Promote", **conflict.request), server.address, NOW))
        tried.start()
        call(action("Promote", model="a", version="2"), server.address, NOW)
        tried.join(10)
        assert server.lifecycle.table.generation == 9


def test_a_test_tells_its_verdict_and_its_figures() -> None:
    """Those that are numbers, by gate; of one that failed the reason."""
    with served() as server:
        passed = call(action("TestVersion", model="a", version="2"), server.address, NOW)
        failed = call(action("TestVersion", model="a", version="3"), server.address, NOW)
    assert passed.detail == "test passed"
    assert passed.figures["exam.accuracy"] == 0.9712
    assert failed.detail == "test failed, contract: NaN in [red]y[/]"
    assert "contract.worst" not in failed.figures
    json.dumps(dict(failed.figures), allow_nan=False)


def test_a_warm_up_tells_how_many_copies_were_executed() -> None:
    """Of those whose turn it was, the dropped ones included, by reason."""
    figures = {
        "live_requests": 950.0, "offered_requests": 1000.0, "sent_requests": 960.0, "dropped_full_requests": 40.0,
        "dropped_rate_requests": 0.0,
    }  # fmt: skip
    samples = pb.Outcome(gate="samples", verdict="pass", reason="950 live requests within 60 s", figures=figures)
    done = admin_call._done(pb.Report(kind="warm", passed=True, outcomes=[samples]))
    assert done.detail == (
        "warm passed, 950 live requests within 60 s; 95.0% of 1000 copies executed, 40 dropped (full)"
    )
    assert done.figures["executed_share"] == 0.95
    samples.figures["offered_requests"] = 900.0  # the workers' last word came before the version's last runs
    assert admin_call._done(pb.Report(outcomes=[samples])).figures["executed_share"] == pytest.approx(950 / 990)


def test_an_abandoned_call_is_given_up() -> None:
    """The run is over, or its own time is."""
    abandoned = threading.Event()
    with served() as server:
        server.lifecycle.gate.clear()
        abandoned.set()
        with pytest.raises(BenchError, match="the run ended first"):
            call(action("WarmVersion", model="a", version="2"), server.address, abandoned)
        with pytest.raises(BenchError, match="DEADLINE_EXCEEDED"):
            call(action("WarmVersion", "50ms", model="a", version="2"), server.address, NOW)


def test_a_stream_is_no_action() -> None:
    """It would never be done."""
    with pytest.raises(Lacking, match="calls 'Watch', which the server lacks"):
        check(0, action("Watch"))
