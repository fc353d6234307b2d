"""`router versions`: where versions stand, for people and for programs."""

from __future__ import annotations

import json

from router.app.versions import table
from router.pb.admin_pb2 import ListVersionsResponse, MetadataMatch, ModelVersions, ReportSummary, VersionInfo
from tests.fake_admin import served
from tests.rendering import rendered

VIEW = ModelVersions(
    model="digits",
    champion="1",
    frozen=True,
    aliases={"stable": "1", "blue": "1"},
    versions=[
        VersionInfo(number="2", stage="failed", reason="[bold]NaN[/]\x1b[2J", mark="files changed", digest="f" * 64),
        VersionInfo(number="1", stage="champion", reports=[ReportSummary(kind="test", passed=True)]),
    ],
)


def test_stages_names_verdicts_and_what_is_wrong() -> None:
    """Markup and control characters from the server are text."""
    shown = rendered(table(ListVersionsResponse(generation=4, frozen=True, models=[VIEW])))
    assert "generation 4, all promotions are frozen" in shown
    second, first = (next(line for line in shown.splitlines() if f"│ {number} " in line) for number in "21")
    assert "digits (frozen)" in second
    assert "files changed; [bold]NaN[/]" in second
    assert "ffffffffffff" in second
    assert "f" * 13 not in second
    assert "blue, stable" in first
    assert "passed" in first
    assert "\x1b[2J" not in shown


def test_what_a_challenger_is_asked() -> None:
    """Its share, what metadata hold, whether it runs copies."""
    match = MetadataMatch(key="k", value="[red]v", version="2")
    versions = [VersionInfo(number="2", stage="challenger"), VersionInfo(number="1", stage="champion")]
    view = ModelVersions(model="m", champion="1", versions=versions, shares={"2": 12.5}, shadows=["2"], matches=[match])
    shown = rendered(table(ListVersionsResponse(models=[view])))
    assert "challenger, 12.5 %, k=[red]v, shadow" in shown
    assert "champion  " in shown


def test_over_a_connection() -> None:
    """All models or one; JSON has all fields."""
    with served() as service:
        shown = service.router("versions")
        assert shown.exit_code == 0
        assert all(word in shown.output for word in ("champion", "ready", "found", "failed", "generation 7"))
        told = json.loads(service.router("versions", "b", "--json").output)
        assert [view["model"] for view in told["models"]] == ["b"]
        assert told["models"][0]["versions"][0]["stage"] == "champion"
        unknown = service.router("versions", "c")
    assert (unknown.exit_code, unknown.output) == (1, "Error: unknown model 'c'\n")
