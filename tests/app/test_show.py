"""What `router models` and the banner show of each version."""

from __future__ import annotations

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from router.app import show
from router.app.show import routes_table
from router.core.table import Batching, Route, Version, VersionState
from router.core.tensor import Signature, TensorSpec
from tests.fake_admin import FakeLifecycle, served

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 3), ("n", None)),), (TensorSpec("y", "FP32", (-1,), ("n",)),))


def lines(switched: bool = False, **version: object) -> tuple[str, str]:
    """The line of version 1, in plain text and with colours."""
    made = Version("m", "1", "", "", **version)  # type: ignore[arg-type]
    table = routes_table([Route("m", None, {"1": made}, switched=switched)], "t")
    shown = []
    for colour in (None, "standard"):
        out = Console(file=io.StringIO(), width=200, color_system=colour, force_terminal=True)  # type: ignore[arg-type]
        out.print(table)
        shown.append(next(line for line in out.file.getvalue().splitlines() if " m " in line))  # type: ignore[attr-defined]
    return shown[0], shown[1]


@pytest.mark.parametrize("signature", [Signature((), ()), SIGNATURE])
def test_why_a_version_cannot_serve_is_shown(signature: Signature) -> None:
    """Also when it is known what the version takes and gives; in red, and markup in the reason is text."""
    plain, coloured = lines(state=VersionState.UNAVAILABLE, reason="no [bold]memory[/]", signature=signature)
    assert "unavailable" in plain
    assert "no [bold]memory[/]" in plain
    assert "\x1b[31munavailable" in coloured


@pytest.mark.parametrize(
    ("reason", "shown"), [("not loaded: versions = latest", "versions = latest"), ("unloaded",) * 2]
)
def test_a_version_that_nobody_asked_for_is_no_fault(reason: str, shown: str) -> None:
    """It says that it is not loaded and by which rule, and is not red."""
    plain, coloured = lines(state=VersionState.UNAVAILABLE, reason=reason, signature=SIGNATURE, left_out=True)
    cells = [cell.strip() for cell in plain.split("│")]
    assert cells[1:5] == ["m", "1", "not loaded", shown]
    assert "\x1b[31m" not in coloured


def test_a_model_that_is_switched_to_its_fallback_says_so() -> None:
    """Beside each version that could answer."""
    plain, coloured = lines(switched=True, state=VersionState.READY, signature=SIGNATURE)
    assert "ready, fallback on" in plain
    assert "\x1b[33mfallback on" in coloured
    assert "fallback" not in lines(switched=True, state=VersionState.UNAVAILABLE)[0]


def test_a_version_that_serves_shows_what_it_takes_and_gives() -> None:
    """Names, datatypes, shapes, and how many rows share a run."""
    plain, _ = lines(state=VersionState.READY, signature=SIGNATURE, batching=Batching(8, 0, "shown"))
    assert [cell.strip() for cell in plain.split("│")][3:7] == ["ready", "x FP32[?,3]", "y FP32[?]", "up to 8 rows"]


def test_models_of_a_server_that_starts() -> None:
    """One line, not a table without lines; programs see it in a field of its own."""
    with served(lifecycle=FakeLifecycle(started=False)) as service:
        told = CliRunner().invoke(show.models, ["digits", "--admin", service.address])
        assert (told.exit_code, told.output.count("\n")) == (0, 1)
        assert told.output.startswith("still loading")
        assert (
            json.loads(CliRunner().invoke(show.models, ["--json", "--admin", service.address]).output)["loading"]
            is True
        )
