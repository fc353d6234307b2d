"""`router test` and `router warm`: the way to a verdict, the verdict, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from router.core.table import Route
from tests.fake_admin import Served, served


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own."""
    with served() as made:
        yield made


@pytest.mark.parametrize("named", [("a", "2"), ("a:2",)])
def test_a_version_that_passes(service: Served, named: tuple[str, ...]) -> None:
    """Exit code 0; what happens meanwhile, then the gates with their figures."""
    told = service.router("test", *named, "--reason", "new")
    assert told.exit_code == 0, told.output
    story, _, after = told.output.partition("passed: test of a 2")
    assert "a 2: version 2 is tested" in story
    assert "a 2: exam: pass" in story
    assert "samples" not in story  # progress is for terminals
    assert "accuracy 0.9712" in after
    assert "p99 is [bold]near[/] its limit" in after
    assert service.lifecycle.orders[0][1].reason == "new"


def test_a_version_that_fails(service: Served) -> None:
    """Exit code 3 and the reason; a warm-up shows its distributions as bars."""
    told = service.router("warm", "a:3")
    assert told.exit_code == 3
    assert "failed: warm-up of a 3" in told.output
    assert "NaN in [red]y[/]" in told.output
    assert "difference, ms: 152 values" in told.output
    assert "120 (78.9 %)" in told.output
    assert "█" in told.output


def test_programs_get_the_report_alone(service: Served) -> None:
    """One JSON object; what is no number is null. The exit code is the same."""
    told = service.router("warm", "a", "3", "--json")
    assert told.exit_code == 3
    report = json.loads(told.output)
    assert report["passed"] is False
    assert report["outcomes"][-1]["figures"] == {"worst": None}
    assert report["distributions"][0]["bounds"][0] is None


def test_a_role_or_an_alias_stands_for_a_version(service: Served) -> None:
    """What has no version now is told with what there is."""
    assert "test of a 3" in service.router("test", "a:latest").output
    assert "test of a 1" in service.router("test", "a", "champion").output
    service.router("alias", "a", "blue", "2")
    assert "test of a 2" in service.router("test", "a:blue").output
    for name in ("standby", "green"):
        missing = service.router("test", "a", name)
        assert missing.exit_code == 1
        assert f"model 'a' has no version, role or alias '{name}'; there is 3 (found), 2 (ready)" in missing.output
        assert "blue (2)" in missing.output


@pytest.mark.parametrize("words", [["test"], ["test", "a"], ["test", ":2"], ["warm", "a:"], ["test", "a", "2", "3"]])
def test_what_is_typed_wrong(service: Served, words: list[str]) -> None:
    """Exit code 2, in one line; nothing is asked."""
    told = service.router(*words)
    assert (told.exit_code, told.output.count("\n")) == (2, 1)
    assert service.lifecycle.orders == []


def test_an_unknown_version(service: Served) -> None:
    """Exit code 1 in the server's words."""
    told = service.router("test", "a:9")
    assert (told.exit_code, told.output) == (1, "Error: model 'a' has no version 9\n")


def test_an_interrupt_leaves_it_to_the_server(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends at once, and says how to go on; the test ends in the server."""
    from router.app import story

    service.lifecycle.gate.clear()

    def interrupted(self: story.Story, event: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    monkeypatch.setattr(story.Story, "tell", interrupted)
    told = service.router("test", "a:2")
    assert told.exit_code == 130
    assert told.output == "testing goes on in the server: `router watch a` and `router report` tell of it\n"


def test_one_need_not_wait(service: Served) -> None:
    """The command ends when it has begun, with a line on how to go on; a refusal is told all the same."""
    service.lifecycle.gate.clear()
    told = service.router("warm", "a:2", "--no-wait")
    assert told.exit_code == 0
    assert "warming up has begun: `router watch a` and `router report a:2` tell of it" in told.output
    assert json.loads(service.router("test", "a:3", "--no-wait", "--json").output)["begun"] is True
    assert service.router("test", "a:9", "--no-wait").exit_code == 1


def test_a_story_is_told_also_when_nobody_may_watch(service: Served) -> None:
    """Without the story, that is: the test is done all the same."""
    service.lifecycle.events.close()
    told = service.router("test", "a:2")
    assert told.exit_code == 0
    assert told.output.startswith("passed: test of a 2")


def test_names_that_would_act_on_a_terminal(service: Served) -> None:
    """They are shown, and do nothing."""
    bad = "x\x1b[31m[bold]"
    service.lifecycle.table.routes[bad] = Route(bad, None, {})  # type: ignore[index]
    told = service.router("test", bad, "2")
    assert "\x1b" not in told.output
    assert "[bold]" in told.output
