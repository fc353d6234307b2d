"""Whatever a server says in any of its texts: commands print it as text, and nothing of it acts on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.message import Message

from router.app.cli import LATER, main
from router.edge.admin_client import AdminClient
from router.pb import admin_pb2 as pb
from tests.hostile import HOSTILE, filled, harmless

COMMANDS = (
    "models",
    "status",
    "quarantine",
    "versions",
    "test m 2",
    "warm m 2 --no-wait",
    "report m",
    "challenge m 2 --share 5",
    "split m",
    "trial m",
    "plan promote m 2",
    "canary m",
    "approve 7",
    "reject 7 --reason no",
    "cases",
    "rollback m",
    "freeze m",
    "alias m live 2",
    "load m",
    "unload m",
    "fallback m on",
    "watch --for 1",
    "audit",
    "audit --verify",
    "explain --last 3",
    "faults",
    "evidence m 2",
    "webhook",
    "webhook --test",
    "health m",
    "drift m",
    "accuracy m",
    "retrain m",
    "recordings m",
)
OTHERS = {
    "infer",
    "promote",
    "diff",
    "apply",
    "thaw",
    "actuals",
    "reference",
    "dashboards",
    "demo",
    "token",
    "completion",
}
"""They show what is in a file, or the same as one of these."""
SILENT = {
    "webhook --test",
    "freeze m",
    "fallback m on",
    "load m",
    "unload m",
    "alias m live 2",
    "challenge m 2 --share 5",
    "evidence m 2",
}
"""They show nothing that a server said when all went well, or say it in JSON."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers whatever is asked, with nothing but hostile words."""

    def ask(self: AdminClient, method: Any, request: Message, *_: Any, **__: Any) -> Any:  # noqa: ARG001
        answer = filled(method._response_deserializer.__self__())
        if isinstance(answer, pb.ListModelsResponse):
            answer.loading = False
            answer.routes[0].ClearField("settings")
            for version in answer.routes[0].versions:
                version.state = "READY"
        if isinstance(answer, pb.ListFaultsResponse):
            fault = answer.models[0].faults[0]
            fault.Clear()
            fault.kind = "hang"
        return answer

    def watch(self: AdminClient, *_: Any, **__: Any) -> Iterator[pb.Event]:  # noqa: ARG001
        for kind in ("hello", HOSTILE, "gate", "progress"):
            event: pb.Event = filled(pb.Event())
            event.kind = kind
            yield event

    monkeypatch.setattr(AdminClient, "_ask", ask)
    monkeypatch.setattr(AdminClient, "watch", watch)


def squeezed(told: str) -> str:
    """Without what a table puts between words."""
    return "".join(c for c in told if c.isascii() and not c.isspace() and c != "|")


@pytest.mark.parametrize("line", [each for each in COMMANDS if each.split()[0] in {name for name, _, _ in LATER}])
@pytest.mark.usefixtures("served")
def test_what_a_server_says_is_text(line: str) -> None:
    """No control character, no markup, no emoji; a fault would show as a traceback."""
    result = CliRunner().invoke(main, line.split())
    assert result.exception is None or isinstance(result.exception, SystemExit), (line, result.exc_info)
    assert harmless(result.output), (line, result.output)
    if line not in SILENT:
        assert squeezed("[bold red]x[/]") in squeezed(result.output), (line, result.output)
        assert ":bomb:" in squeezed(result.output), (line, result.output)


def test_every_command_is_tried() -> None:
    """One that is new shows words of others too, sooner or later."""
    assert {name for name, _, _ in LATER} <= {line.split()[0] for line in COMMANDS} | OTHERS
