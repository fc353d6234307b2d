"""`router challenge` and `router split`: a version beside the champion, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from router.app.split import table
from router.app.version_name import _names
from router.edge import admin_words as words
from router.pb.admin_pb2 import MetadataMatch, ModelVersions, VersionInfo
from tests.fake_admin import Served, served
from tests.rendering import rendered


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own."""
    with served() as made:
        yield made


def test_a_challenger_is_told_with_all_that_it_has(service: Served) -> None:
    """Share, metadata, copies; the reason goes to the audit log."""
    told = service.router(
        "challenge", "a", "2", "--share", "12.5%", "--match", "x-cohort=beta", "--shadow", "--reason", "new"
    )
    assert (told.exit_code, told.output) == (
        0,
        "model 'a': version 2 is a challenger: 12.5 % of the requests, calls with x-cohort=beta, copies of what the"
        " champion is asked (generation 8)\n",
    )
    assert service.lifecycle.orders[0][1].reason == "new"
    route = service.lifecycle.table.routes["a"]
    assert (route.split.shares, [each.value for each in route.split.matches]) == ({"2": 12.5}, ["beta"])
    assert route.shadows == {"2"}
    assert "version 2 is a challenger: without a share" in service.router("challenge", "a:2", "--share", "0").output


def test_a_challenger_is_withdrawn(service: Served) -> None:
    """It is ready then; one that is none is refused in the server's words."""
    service.router("challenge", "a:2", "--shadow")
    told = service.router("challenge", "a:2", "--withdraw")
    assert told.output == "model 'a': version 2 is no challenger any more, it is ready (generation 9)\n"
    refused = service.router("challenge", "a:2", "--withdraw")
    assert (refused.exit_code, refused.output) == (1, "Error: version 2 of model 'a' is no challenger\n")


def test_an_alias_stands_for_a_version(service: Served) -> None:
    """Programs get the change alone."""
    service.router("alias", "a", "blue", "2")
    told = json.loads(service.router("challenge", "a:blue", "--share", "5", "--json").output)
    assert (told["generation"], told["champion"]) == (9, "1")
    assert service.lifecycle.table.routes["a"].split.shares == {"2": 5.0}


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (("challenge", "a"), "name a version: MODEL VERSION or MODEL:VERSION"),
        (("challenge", "a", "2"), "give --share PERCENT, --shadow or --match KEY=VALUE"),
        (("challenge", "a", "2", "--share", "101"), "'101' is no share: percent of the requests are meant"),
        (("challenge", "a", "2", "--share", "-1"), "from 0 to 100"),
        (("challenge", "a", "2", "--share", "nan"), "from 0 to 100"),
        (("challenge", "a", "2", "--share", "half"), "from 0 to 100"),
        (("challenge", "a", "2", "--match", "beta"), "'beta' is no match: KEY=VALUE is meant"),
        (("challenge", "a", "2", "--match", "k="), "KEY=VALUE is meant"),
        (("challenge", "a", "2", "--match", "x y=1"), "'x y' is no key of metadata"),
        (("challenge", "a", "2", "--withdraw", "--shadow"), "--withdraw goes with none of"),
        (("split", "a", "2"), "'2' is no share of a version: VERSION=PERCENT is meant, such as 3=5"),
        (("split", "a", "blue=5"), "VERSION=PERCENT is meant"),
        (("split", "a", "2=x"), "'x' is no share"),
        (("split", "a", "2=5", "2=6"), "each version has one share"),
        (("split", "a", "2=60", "3=50"), "the shares are 110 % together"),
        (("split",), "Missing argument 'MODEL'"),
        (("split", ""), "it is empty: name a model"),
        (("trial", ":latest"), "':latest' names no model: MODEL:VERSION is meant"),
        (("cases", ":latest"), "':latest' names no model"),
    ],
)
def test_what_is_typed_wrong(service: Served, typed: tuple[str, ...], line: str) -> None:
    """Exit code 2, in one line; nothing has changed."""
    wrong = service.router(*typed)
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1), wrong.output
    assert line in wrong.output
    assert service.lifecycle.orders == []


def test_requests_are_divided_and_shown(service: Served) -> None:
    """After the change the whole split is told: who is not named has no share any more."""
    service.router("challenge", "a", "3", "--share", "5")
    service.router("challenge", "a", "2", "--share", "5", "--match", "x-cohort=beta", "--shadow")
    told = service.router("split", "a", "2=12.5", "--reason", "more")
    assert told.exit_code == 0, told.output
    assert "a, generation 9" in told.output
    lines = [line for line in told.output.splitlines() if "│" in line]
    assert [word in lines[0] for word in ("1", "champion", "87.5 %")] == [True] * 3
    assert [word in lines[1] for word in ("2", "12.5 %", "x-cohort=beta", "shadow")] == [True] * 4
    assert len(lines) == 2
    assert service.lifecycle.orders[-1][1].reason == "more"
    shown = json.loads(service.router("split", "a", "--json").output)
    assert (shown["champion"], shown["shares"], shown["shadows"]) == ("1", {"2": 12.5}, ["2"])
    assert shown["matches"] == [{"key": "x-cohort", "value": "beta", "version": "2"}]
    assert service.router("split", "c").exit_code == 1


def test_of_several_challengers_none_is_the_challenger() -> None:
    """It is to be named by its number; one alone goes by its role."""
    several = [VersionInfo(number=number, stage="challenger") for number in ("4", "3")]
    assert "challenger" not in _names(ModelVersions(versions=several))
    assert _names(ModelVersions(versions=several[:1]))["challenger"] == "4"


def test_shares_of_all_requests_are_all() -> None:
    """Percents with decimals add up to 100 but for rounding."""
    given = {"2": 28.6, "3": 35.7, "4": 35.7}
    assert sum(given.values()) > 100
    assert words.shares(given) == given


def test_a_split_is_harmless_text() -> None:
    """Words of callers do not act on the terminal; a challenger without a part is shown all the same."""
    view = ModelVersions(
        model="[bold]m\x1b[2J",
        champion="1",
        shares={"2": 0.0001},
        matches=[MetadataMatch(key="k", value="[red]v", version="2")],
        versions=[VersionInfo(number=number, stage=stage) for number, stage in (("3", "challenger"), ("2", "ready"))],
    )
    shown = rendered(table(view, 4))
    assert "[bold]m" in shown
    assert "\x1b" not in shown
    assert "k=[red]v" in shown
    assert "99.9999 %" in shown
    assert "0.0001 %" in shown
    assert "challenger" in shown
