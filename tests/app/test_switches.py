"""Small changes by hand: freeze and thaw, aliases, loads, the fallback."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.fake_admin import Served, served


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own."""
    with served() as made:
        yield made


def test_freeze_and_thaw(service: Served) -> None:
    """One model or all; the reason goes to the audit log."""
    told = service.router("freeze", "a", "--reason", "holidays")
    assert told.output == "model 'a': promotions are frozen; `router thaw` lets them go on\n"
    assert service.router("promote", "a", "2").exit_code == 1
    assert service.router("thaw", "a").output == "model 'a': promotions go on\n"
    assert service.router("freeze").output.startswith("all models: promotions are frozen")
    assert json.loads(service.router("thaw", "--json").output) == {"model": "", "frozen": False}
    assert service.lifecycle.orders[0][1].reason == "holidays"
    assert service.router("freeze", "c").exit_code == 1


def test_an_alias(service: Served) -> None:
    """Made, shown, moved to what a role stands for, removed."""
    assert service.router("alias", "a", "blue", "2").output == "model 'a': 'blue' is version 2 (generation 8)\n"
    assert service.router("alias", "a", "blue").output == "model 'a': 'blue' is version 2\n"
    assert json.loads(service.router("alias", "a", "blue", "latest", "--json").output)["version"] == "3"
    assert json.loads(service.router("alias", "a", "blue", "--json").output)["version"] == "3"
    assert "stands for nothing any more (generation 10)" in service.router("alias", "a", "blue", "--remove").output
    missing = service.router("alias", "a", "blue")
    assert (missing.exit_code, "`router alias a blue VERSION` makes it" in missing.output) == (1, True)
    for words in (("alias", "a", "12", "2"), ("alias", "a", "latest", "2"), ("alias", "a", "x", "2", "--remove")):
        assert service.router(*words).exit_code == 2


def test_load_and_unload(service: Served) -> None:
    """What serves then; refusals in the server's words."""
    loaded = service.router("load", "a:2", "--reason", "soon")
    assert loaded.exit_code == 0
    assert "model 'a': version 1 is champion, standby – (generation 7" in loaded.output
    assert json.loads(service.router("unload", "a", "2", "--json").output)["champion"] == "1"
    assert service.router("load", "b").exit_code == 0
    refused = service.router("unload", "a", "1")
    assert (refused.exit_code, refused.output) == (1, "Error: version 1 is champion: promote another first\n")
    assert service.router("load", "a", "champion").exit_code == 2
    assert service.lifecycle.orders[0][1].reason == "soon"


def test_the_fallback(service: Served) -> None:
    """On and off; a model without one says how to make one."""
    told = service.router("fallback", "on", "a", "--reason", "fault")
    assert told.output == "model 'a': its fallback answers, nothing is run (generation 7)\n"
    assert json.loads(service.router("fallback", "off", "a", "--json").output) == {"generation": 7}
    assert service.lifecycle.switched == [("a", True), ("a", False)]
    assert service.router("fallback", "on", "b").exit_code == 1
