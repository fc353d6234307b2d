"""The dossier of a version: what is in it, and that it is plain JSON whatever was stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.control import dossier
from router.control.database import FILE, Database
from router.control.dossier import Dossier
from router.control.records import Case, Change, Entry
from router.core.gate import Distribution, Outcome, Report, Verdict
from router.core.split import Match, Split, moved
from router.core.standing import EVERYTHING, CaseKind
from router.core.table import VersionTable
from router.edge.tables import from_text, to_text
from router.errors import NotFound
from tests.control.lifecycle_fakes import House, run, started

KEYS = {
    "format", "made_at", "router", "model", "version", "route", "importance", "settings", "digests", "history",
    "reports", "cases", "audit",
}  # fmt: skip
NAN, INF = float("nan"), float("inf")
TESTED = Report(
    "test", "a", "1", "d" * 64, (Outcome("exam", Verdict.WARN, "few rows", True, {"worst": NAN}),), 5.0, 2.5, "0",
    "c" * 64, "e" * 64,
)  # fmt: skip
WARMED = Report(
    "warm", "a", "1", "d" * 64, (), 4.0, 2.5, distributions=(Distribution("time", "ms", (-INF, 0.0, INF), (0, 3)),)
)


def act(action: str, number: str = "1", model: str = "a", **more: Any) -> Entry:
    """By ada."""
    return Entry(5.0, "ada", action, model, number, "why", **more)


ACTS = (
    act("began", "0", after={"champion": "0"}),
    act("test"),
    act("verdict", after={"stage": "ready", "why": "passed"}),
    act("canary", after={"state": "begun", "share": 5.0}),
    act("canary", after={"state": "stopped"}),
    act("trial", after={"case": 1}),
    act("trial", after={"case": 1, "verdict": "won"}),
    act("promote", before={"champion": "0"}, after={"champion": "1"}),
    act("alias", after={"blue": "1"}),
    act("freeze", "", EVERYTHING),
    act("promote", "2", before={"champion": "1"}, after={"champion": "2"}),
    act("promote", "2", "b", before={"champion": "1"}, after={"champion": "2"}),
    act("retire"),
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """One model of one version."""
    return House(tmp_path, "a")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """With a trial that has ended, one that has not, reports of both kinds and some acts."""
    made = Database(tmp_path / FILE, to_text, from_text)
    with closing(made):
        made.open()
        cases = (
            Case(1, CaseKind.TRIAL, "a", "1", "d" * 64, "ada", 1.0, 2.0, "won", {"low": NAN}),
            Case(2, CaseKind.ROLLOUT, "a", "1", "d" * 64, "bob", 3.0),
            Case(3, CaseKind.TRIAL, "a", "2", "f" * 64, "bob", 3.0),
        )
        made.save(Change(reports=(TESTED, WARMED), entries=ACTS, cases=cases))
        yield made


def evidence(house: House, database: Database, number: str = "1", **route: Any) -> dict[str, Any]:
    """Of a version while the server runs, as it is after its way through JSON."""
    made: list[dict[str, Any]] = []

    async def ask() -> None:
        lifecycle, _ = await started(house)
        changes, table = lifecycle._changes, lifecycle.table
        if route:
            routes = {**table.routes, "a": replace(table.routes["a"], **route)}
            changes.swap.table = VersionTable(table.generation, routes)
        made.append(await Dossier(changes, database).evidence("a", number))

    run(ask())
    return json.loads(json.dumps(made[0], allow_nan=False))  # type: ignore[no-any-return]


def test_all_that_is_known(house: House, database: Database) -> None:
    """The record, what serves, settings, digests, whole reports, cases from the oldest on."""
    house.toml("a", "[canary]\nbake_seconds = 7\n")
    house.importance = {"a": "high"}
    told = evidence(house, database)
    assert set(told) == KEYS
    assert (told["format"], told["model"], told["made_at"], told["importance"]) == (1, "a", house.now, "high")
    assert told["version"] == {
        **told["version"],
        "number": "1",
        "stage": "champion",
        "warmed": False,
    }
    assert len(told["version"]["digest"]) == 64
    assert told["digests"] == {"files": told["version"]["digest"], "champion": "c" * 64, "exam": "e" * 64}
    assert told["settings"]["canary"]["bake_seconds"] == 7
    assert [(each["kind"], each["passed"]) for each in told["reports"]] == [("warm", True), ("test", True)]
    assert told["reports"][1]["outcomes"][0]["figures"] == {"worst": "nan"}
    assert told["reports"][0]["distributions"][0]["bounds"] == ["-inf", 0.0, "inf"]
    assert [(each["id"], each["kind"], each["state"]) for each in told["cases"]] == [
        (1, "trial", "won"),
        (2, "rollout", "open"),
    ]
    assert told["cases"][0]["body"] == {"low": "nan"}


def test_how_requests_are_answered_now(house: House, database: Database) -> None:
    """Champion, shares, matches, shadows, names."""
    split = Split(moved(Split(), {"2": 12.5}).intervals, (Match("x-cohort", "beta", "2"),))
    told = evidence(house, database, split=split, shadows=frozenset({"4", "3"}), aliases={"blue": "1"})["route"]
    assert told == {
        "generation": told["generation"],
        "champion": "1",
        "standby": None,
        "shares": {"2": 12.5},
        "matches": [{"key": "x-cohort", "value": "beta", "number": "2"}],
        "shadows": ["3", "4"],
        "aliases": {"blue": "1"},
        "switched": False,
        "frozen": False,
    }


def test_acts_are_told_from_the_first_about_the_version_on(house: House, database: Database) -> None:
    """With their hashes; those of other models are not told. The history has the stages that they brought it to."""
    told = evidence(house, database)
    audit = told["audit"]
    assert [each["sequence"] for each in audit["records"]] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13]
    assert audit["records"][1]["previous"] == audit["records"][0]["hash"]
    assert (audit["complete"], audit["whole"], audit["checked"], audit["finding"]) == (True, True, 13, "")
    assert audit["head"] == audit["records"][-1]["hash"]
    assert [(each["action"], each["stage"]) for each in told["history"]] == [
        ("test", "loading"),
        ("verdict", "ready"),
        ("canary", "challenger"),
        ("canary", "ready"),
        ("trial", ""),
        ("trial", "ready"),
        ("promote", "champion"),
        ("alias", ""),
        ("promote", "standby"),
        ("retire", "retired"),
    ]


def test_a_long_log_is_cut_and_says_so(house: House, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest acts are told; so is that older ones were left out, or not even looked at."""
    monkeypatch.setattr(dossier, "TOLD", 3)
    audit = evidence(house, database)["audit"]
    assert ([each["sequence"] for each in audit["records"]], audit["complete"]) == ([10, 11, 13], False)
    monkeypatch.setattr(dossier, "TOLD", 2000)
    monkeypatch.setattr(dossier, "READ", 11)
    audit = evidence(house, database)["audit"]
    assert (len(audit["records"]), audit["complete"]) == (11, False)


def test_a_log_that_was_changed_is_told(house: House, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the verification."""
    whole = database.verify()
    monkeypatch.setattr(database, "verify", lambda _: replace(whole, whole=False, finding="record 3 was changed"))
    audit = evidence(house, database)["audit"]
    assert (audit["whole"], audit["finding"]) == (False, "record 3 was changed")


def test_a_version_of_which_nothing_is_kept(house: House, tmp_path: Path) -> None:
    """It has a dossier all the same; one that is not there has none."""
    with closing(Database(tmp_path / "empty.db", to_text, from_text)) as empty:
        empty.open()
        told = evidence(house, empty)
        assert (told["reports"], told["cases"], told["history"], told["audit"]["records"]) == ([], [], [], [])
        assert told["digests"]["exam"] == ""

        async def unknown() -> None:
            lifecycle, _ = await started(house)
            with pytest.raises(NotFound, match="model 'a' has no version '9'"):
                await Dossier(lifecycle._changes, empty).evidence("a", "9")

        run(unknown())


def test_nothing_is_changed(house: House, database: Database) -> None:
    """Neither stored nor made visible."""

    async def ask() -> None:
        lifecycle, _ = await started(house)
        before = (house.generation, list(house.events), lifecycle.table)
        await Dossier(lifecycle._changes, database).evidence("a", "1")
        assert (house.generation, house.events, lifecycle.table) == before

    run(ask())
    assert len(database.audit(last=100)) == len(ACTS)
