"""`router plan promote`: what would happen, before it does."""

from __future__ import annotations

import json

from tests.fake_admin import served


def test_what_would_be_done() -> None:
    """Evidence, memory, what moves, the way back; exit code 0, and nothing is done."""
    with served() as service:
        told = service.router("plan", "promote", "a", "2")
        assert told.exit_code == 0, told.output
        for words in (
            "promotion of a 2: can be done",
            "test of 2023-11-1",
            "passed",
            "3 MB needed in all workers, 2.5 GB free",
            "champion 1, standby –",
            "champion 2, standby 1",
            "all requests go from version 1 to version 2",
            "router rollback a",
        ):
            assert words in told.output
        assert service.lifecycle.orders == []
        assert json.loads(service.router("plan", "promote", "a:2", "--json").output)["possible"] is True


def test_what_would_be_refused() -> None:
    """Exit code 1 with what is in its way, as it was said."""
    with served() as service:
        told = service.router("plan", "promote", "a:3")
        assert told.exit_code == 1
        assert "would be refused" in told.output
        assert "version 3 has [bold]not[/] passed its gates" in told.output
        assert "neither tested nor warmed up" in told.output
        assert json.loads(service.router("plan", "promote", "a:3", "--json").output)["possible"] is False
        wrong = service.router("plan", "promote", "a", "latest")
    assert (wrong.exit_code, wrong.output) == (2, "Error: 'latest' is no version: a number is meant, such as 3\n")
