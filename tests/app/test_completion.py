"""Shell completion: commands, and models and versions of the server that runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from router.app import version_name
from router.app.cli import main
from router.control.records import Order
from router.core.standing import CaseKind
from router.core.table import Route
from tests.fake_admin import Served, served
from tests.server import free_port


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    """A service with a model whose name a shell would not take as it is."""
    with served() as made:
        made.lifecycle.table.routes["$(x) y"] = Route("$(x) y", None, {})  # type: ignore[index]
        yield made


def completed(address: str, *words: str) -> list[str]:
    """What a shell would be offered for the last of the words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROUTER_ADMIN", address)
        found = ShellComplete(main, {}, "router", "_ROUTER_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_commands_are_known_without_their_modules(service: Served) -> None:
    """Also those that are imported only when they are called, and their options."""
    assert {"promote", "plan"} <= set(completed(service.address, "p"))
    assert completed(service.address, "promote", "--ov") == ["--override"]
    assert completed(service.address, "plan", "") == ["promote"]


def test_models_and_versions_of_the_server(service: Served) -> None:
    """With their stage as help; names that a shell would act on are left out."""
    assert completed(service.address, "versions", "") == ["b", "a"]
    assert completed(service.address, "promote", "a", "") == ["3", "2", "1"]
    assert completed(service.address, "test", "a:") == ["a:3", "a:2", "a:1"]
    assert completed(service.address, "report", "a", "2") == ["2"]
    assert completed(service.address, "promote", "c", "") == []
    assert completed(service.address, "challenge", "a:") == ["a:3", "a:2", "a:1"]
    assert completed(service.address, "trial", "a", "") == ["3", "2", "1"]
    assert completed(service.address, "canary", "") == ["b", "a"]


def test_shares_and_requests_of_the_server(service: Served) -> None:
    """Versions that may have a share; requests that wait."""
    assert completed(service.address, "split", "a", "") == ["2="]
    assert completed(service.address, "approve", "") == []
    service.lifecycle.opened(CaseKind.REQUEST, "a", "2", Order())
    assert completed(service.address, "approve", "") == completed(service.address, "reject", "1") == ["1"]


def test_nothing_is_said_where_no_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is being typed is no place for errors; addresses that are none are one of them."""
    monkeypatch.setattr(version_name, "COMPLETE_S", 0.05)
    for address in (f"127.0.0.1:{free_port()}", "nowhere"):
        assert completed(address, "versions", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_given(shell: str) -> None:
    """A script that asks this program."""
    told = CliRunner().invoke(main, ["completion", shell])
    assert told.exit_code == 0
    assert f"_ROUTER_COMPLETE={shell}_complete" in told.output


def test_an_unknown_shell() -> None:
    """Exit code 2."""
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2
