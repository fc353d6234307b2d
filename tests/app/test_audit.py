"""`router audit`: who did what, and whether the log of it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from router.app.audit import change
from router.pb.admin_pb2 import AuditEntry
from tests.fake_admin import HEAD, Served, served


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own."""
    with served() as made:
        yield made


def test_the_newest_acts(service: Served) -> None:
    """Who, what, why, and what is different; the head is to be noted elsewhere."""
    told = service.router("audit")
    assert told.exit_code == 0
    line = next(line for line in told.output.splitlines() if "ada" in line)
    assert all(words in line for words in ("promote", "[bold]better[/]", "champion: 1 → 2"))
    assert HEAD in told.output
    assert len(json.loads(service.router("audit", "a", "--last", "1", "--json").output)["entries"]) == 1
    assert service.router("audit", "c").exit_code == 1


def test_a_whole_log_and_a_broken_one(service: Served) -> None:
    """Exit code 1 with what is wrong."""
    assert service.router("audit", "--verify").output == f"the audit log is whole: 2 records, head {HEAD}\n"
    assert service.router("audit", "--verify", "--head", HEAD).exit_code == 0
    cut = service.router("audit", "--verify", "--head", "cd" * 32)
    assert (cut.exit_code, "the head that was noted is not in the log" in cut.output) == (1, True)
    service.database.broken = True
    assert service.router("audit", "--verify").output == "Error: the audit log is not whole: record 2 was changed\n"
    told = service.router("audit", "--verify", "--json")
    assert (told.exit_code, json.loads(told.output)["whole"]) == (1, False)


@pytest.mark.parametrize("words", [("--head", HEAD), ("--verify", "--head", "xyz"), ("--last", "0"), ("--last", "x")])
def test_what_is_typed_wrong(service: Served, words: tuple[str, ...]) -> None:
    """Exit code 2, in one line."""
    told = service.router("audit", *words)
    assert (told.exit_code, told.output.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ('{"champion": "1", "share": 5}', '{"champion": "2", "share": 5}', "champion: 1 → 2"),
        ('{"champion": "1"}', '{"champion": null}', "champion: 1 → –"),
        ("{}", '{"names": ["a"], "on": true}', 'names: ["a"], on: true'),
        (
            '{"found": []}',
            '{"found": [{"text": "5 % failed", "chance": 0}, {"text": "slow"}]}',
            "found: – → 5 % failed; slow",
        ),
        ("{}", '{"found": [{"text": 3}]}', 'found: [{"text": 3}]'),
        ("", "", ""),
        ("no JSON", "[1]", ": no JSON → [1]"),
    ],
)
def test_what_is_different_after_an_act(before: str, after: str, line: str) -> None:
    """Key by key; what is the same is left out."""
    assert change(AuditEntry(before=before, after=after)) == line
