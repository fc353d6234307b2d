"""The store: what it has taken survives a kill, what it refuses leaves no trace, and damage is told."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from structlog.testing import capture_logs

from router.control import migrations
from router.control.database import FILE, KEPT_REPORTS, Database
from router.control.ended_cases import KEPT_CASES, KEPT_S
from router.control.records import Case, Change, Entry, Stored, VersionRecord
from router.control.schema import METADATA
from router.core.audit import GENESIS
from router.core.gate import Distribution, Outcome, Report, Verdict
from router.core.standing import EVERYTHING, CaseKind
from router.core.table import VersionTable
from router.core.version import Stage
from router.errors import Refused, RouterError, SettingsError


def to_text(table: VersionTable) -> str:
    """A table of which only the generation matters."""
    return f"generation {table.generation}"


def from_text(text: str) -> VersionTable:
    """The table in such a text."""
    word, _, number = text.partition(" ")
    if word != "generation":
        raise RouterError("the stored table of routes cannot be read")
    return VersionTable(int(number), {})


def store(path: Path, patience_s: float = 2.0) -> Database:
    """An open store."""
    database = Database(path, to_text, from_text, patience_s)
    database.open()
    return database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / FILE


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    """An open store, with nothing in it."""
    with closing(store(path, 0.05)) as made:
        yield made


def entry(action: str = "promote", model: str = "digits", seconds: float = 5.0) -> Entry:
    """An act."""
    return Entry(seconds, "ada", action, model, "2", "better", {"champion": "1"}, {"champion": "2", "share": 0.5})


def report(number: str = "1", kind: str = "test", began: float = 1.0, model: str = "digits") -> Report:
    """What a version was put through."""
    outcome = Outcome("speed", Verdict.WARN, "slow", True, {"p99_ms": 3.5}, {"provider": "CPU"})
    times = Distribution("time", "ms", (0.0, 1.0, 2.5), (7, 1))
    return Report(kind, model, number, "d" * 64, (outcome,), began, 2.5, "0", "c" * 64, "e" * 64, (times,))


def version(number: str = "1", stage: Stage = Stage.READY, **more: Any) -> VersionRecord:
    """Where a version stands."""
    return VersionRecord("digits", number, "d" * 64, stage, **more)


def case(number: int, version: str = "2", ended: float = 0.0, **more: Any) -> Case:
    """Something under way, or over."""
    given = {"kind": CaseKind.TRIAL, "model": "digits", "state": "won" if ended else "open", "body": {}, **more}
    return Case(number, number=version, digest="d" * 64, actor="ada", began=7.5, ended=ended, **given)


def everything(database: Database) -> tuple[object, ...]:
    """All that a store holds."""
    return database.load(), database.reports("digits", last=1000), database.audit(last=1000), database.cases()


def forge(path: Path, *statements: str) -> None:
    """Change the file past the program, as somebody would who knows SQLite."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for act in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS audit_no_{act}")
        for statement in statements:
            connection.execute(statement)


# ---- what is stored ----


def test_a_new_store_is_empty(database: Database, path: Path) -> None:
    """Generation 0, nothing else; only its owner may read the file."""
    assert database.load() == Stored(VersionTable(0, {}))
    assert everything(database)[1:] == ([], [], [])
    assert database.verify().whole
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_stored_is_there_in_the_next_process(database: Database, path: Path) -> None:
    """Table, versions with all that is known of them, frozen models, reports, audit."""
    one = version("1", Stage.CHAMPION, reason="first", since=3.5, actor="ada", memory_bytes=1 << 40, warmed=True)
    two = version("2", Stage.FAILED, mark="its files have changed")
    change = Change(VersionTable(3, {}), (one, two), (report(),), (entry(),), frozenset({"digits", EVERYTHING}))
    database.save(change)
    database.close()
    with closing(store(path)) as again:
        records = {("digits", "1"): one, ("digits", "2"): two}
        assert again.load() == Stored(VersionTable(3, {}), records, frozenset({"digits", ""}))
        assert again.reports("digits") == [report()]
        (kept,) = again.audit()
        assert (kept.sequence, kept.previous, kept.entry) == (1, GENESIS, entry())
        assert again.verify(kept.hash).head == kept.hash


def test_a_change_changes_only_what_it_names(database: Database) -> None:
    """The table and the frozen models stay when it says None; records replace those of the same version."""
    database.save(Change(VersionTable(3, {}), (version("1"), version("2")), frozen=frozenset({"digits"})))
    database.save(Change(records=(version("2", Stage.FAILED),)))
    stored = database.load()
    assert (stored.table.generation, stored.frozen) == (3, {"digits"})
    assert [each.stage for each in stored.records.values()] == [Stage.READY, Stage.FAILED]
    database.save(Change(frozen=frozenset()))
    assert database.load().frozen == frozenset()


def test_numbers_of_the_audit_log_follow_each_other_whatever_the_clock_does(database: Database) -> None:
    """It may go back: the order is that of the acts."""
    for seconds in (9.0, 5.0, 1e12):
        database.save(Change(entries=(entry(seconds=seconds), entry("freeze", EVERYTHING, seconds))))
    kept = database.audit()
    assert [each.sequence for each in kept] == [1, 2, 3, 4, 5, 6]
    assert [each.entry.seconds for each in kept] == [9.0, 9.0, 5.0, 5.0, 1e12, 1e12]
    assert [each.previous for each in kept[1:]] == [each.hash for each in kept[:-1]]
    assert database.verify().whole


def test_the_newest_records_of_the_audit_log(database: Database) -> None:
    """Of all models or of one; what concerned all models concerned it too. The oldest stands first."""
    for model in ("digits", "iris", EVERYTHING, "digits", "iris"):
        database.save(Change(entries=(entry(model=model),)))
    assert [each.sequence for each in database.audit(last=2)] == [4, 5]
    assert [each.sequence for each in database.audit("digits")] == [1, 3, 4]
    assert [each.sequence for each in database.audit("digits", last=1)] == [4]


def test_who_has_been_champion(database: Database) -> None:
    """By the audit log, the latest first, each once: who began, was promoted or gone back to, who succeeded another."""

    def act(action: str, number: str, after: dict[str, object], model: str = "digits") -> Entry:
        return Entry(5.0, "ada", action, model, number, "", {"champion": "1"}, after)

    acts = (
        act("began", "1", {"champion": "1"}),
        act("promote", "2", {"champion": "2"}),
        act("succeeded", "3", {}),
        act("rollback", "1", {"champion": "1"}),
        act("request", "4", {"request": 1}),
        act("challenge", "5", {"shares": {"5": 100.0}}),
        act("promote", "6", {"champion": "6"}, "iris"),
        act("freeze", "", {}),
    )
    database.save(Change(entries=acts))
    assert database.champions("digits") == ["1", "3", "2"]
    assert database.champions("iris") == ["6"]
    assert database.champions("nobody") == []


def test_each_head_goes_to_the_log(database: Database) -> None:
    """There it is out of reach of whoever changes the file."""
    with capture_logs() as lines:
        database.save(Change(entries=(entry(), entry("freeze"))))
    heads = [each.hash for each in database.audit()]
    assert [(line["event"], line["head"]) for line in lines] == [("audit", heads[0]), ("audit", heads[1])]
    assert lines[0]["sequence"] == 1
    assert (lines[0]["action"], lines[0]["actor"], lines[0]["model"], lines[0]["version"]) == (
        "promote", "ada", "digits", "2",
    )  # fmt: skip


def test_a_log_that_cannot_be_written_does_not_undo_the_change(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is durable by then: who asked for it must not be told otherwise."""

    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("router.control.database.log", SimpleNamespace(info=broken))
    database.save(Change(VersionTable(4, {}), entries=(entry(),)))
    assert database.load().table.generation == 4


def test_reports_are_told_newest_first(database: Database) -> None:
    """All, those of a version, of a kind; without a number the newest of each kind and version. The clock may jump."""
    database.save(Change(reports=(report("1", began=9), report("1", began=5), report("1", "warm", 4))))
    database.save(Change(reports=(report("2", began=1), report("1", model="iris"))))

    def told(*asked: Any) -> list[tuple[str, str, float]]:
        return [(each.number, each.kind, each.began) for each in database.reports("digits", *asked)]

    assert told("", "", 9) == [("2", "test", 1), ("1", "warm", 4), ("1", "test", 5), ("1", "test", 9)]
    assert told() == [("2", "test", 1), ("1", "warm", 4), ("1", "test", 5)]
    assert told("1", "test") == [("1", "test", 5)]
    assert told("1", "test", 1) == [("1", "test", 5)]
    assert told("3") == []


def test_the_last_reports_of_a_version_are_kept(database: Database) -> None:
    """Of each version for itself; one that is stored again takes its own place."""
    for began in range(KEPT_REPORTS + 5):
        database.save(Change(reports=(report("1", began=began), report("2", began=began))))
        database.save(Change(reports=(report("1", began=began),)))
    for number in ("1", "2"):
        began = [each.began for each in database.reports("digits", number, last=1000)]
        assert began == list(range(5, KEPT_REPORTS + 5))[::-1]


def test_what_is_under_way_is_there_in_the_next_process(database: Database, path: Path) -> None:
    """Open cases with all that is known of them; one that has ended is only listed. No number is given twice."""
    body = {"steps": [5, 25.5, 100], "given": [{"actor": "bob", "seconds": 1e9}], "why": None, "late": False}
    going = case(3, kind=CaseKind.ROLLOUT, body=body)
    database.save(Change(cases=(case(1), going)))
    database.save(Change(cases=(case(1, ended=9.5), case(4, "3", ended=9.0, model="iris"))))
    database.close()
    with closing(store(path)) as again:
        stored = again.load()
        assert stored.cases == (going,)
        assert stored.cases[0].open
        assert stored.last_case == 4
        assert again.cases() == [case(4, "3", ended=9.0, model="iris"), going, case(1, ended=9.5)]


def test_of_ended_cases_the_newest_are_kept(database: Database) -> None:
    """Of each model and kind; open ones stay, and what says where a version that answers comes from."""
    database.save(
        Change(
            records=(version("7", Stage.CHAMPION), version("8", Stage.FAILED)),
            cases=(
                case(1, "7", 1.0, kind=CaseKind.RETRAINING),
                case(2, "8", 1.0, kind=CaseKind.RETRAINING),
                case(3, kind=CaseKind.TRIAL),
                case(4, "7", 1.0, kind=CaseKind.TRIAL),
            ),
        )
    )
    many = range(5, KEPT_CASES + 5)
    database.save(Change(cases=tuple(case(each, "", 2.0, kind=CaseKind.RETRAINING) for each in many)))
    assert [each.id for each in database.cases()] == [*reversed(many), 4, 3, 1]
    database.save(Change(cases=tuple(case(1000 + each, "7", 2.0) for each in range(KEPT_CASES))))
    assert [each.id for each in database.cases(kind="trial")][-2:] == [1000, 3]


def test_cases_that_ended_long_ago_go_whoever_they_are_about(database: Database) -> None:
    """A model may be gone. The highest number stays, that it is not given again, and so do open ones."""
    old = [case(each, ended=9.0, model=f"gone {each}") for each in (1, 2)]
    database.save(Change(cases=(*old, case(3, model="open"), case(4, ended=10.0, model="young"))))
    database.save(Change(cases=(case(5, ended=KEPT_S + 9.5),)))
    assert [each.id for each in database.cases()] == [5, 4, 3]
    database.save(Change(cases=(case(3, ended=3 * KEPT_S, model="open"),)))
    assert [each.id for each in database.cases()] == [5, 3]
    assert database.load().last_case == 5


def test_cases_are_told_newest_first(database: Database) -> None:
    """All, those of a model, of a version, of a kind; open and ended, or the last of them."""
    kinds = [CaseKind.TRIAL, CaseKind.ROLLOUT, CaseKind.REQUEST, CaseKind.TRIAL, CaseKind.TRIAL]
    made = [case(at, str(at % 2 + 1), ended=at % 2 * 5.0, kind=kind) for at, kind in enumerate(kinds, 1)]
    database.save(Change(cases=(*made, case(9, model="iris"))))

    def told(*asked: Any, **more: Any) -> list[int]:
        return [each.id for each in database.cases(*asked, **more)]

    assert told() == [9, 5, 4, 3, 2, 1]
    assert told("digits") == [5, 4, 3, 2, 1]
    assert told("digits", "2") == [5, 3, 1]
    assert told("digits", "2", "trial") == [5, 1]
    assert told("digits", kind="trial", last=2) == [5, 4]
    assert told(last=1) == [9]
    assert told("digits", "7") == told("nobody") == []


def test_what_was_declared_of_models_replaces_what_was_declared_before(database: Database, path: Path) -> None:
    """As a whole; None leaves it as it is."""
    database.save(Change(importance={"digits": "high", "iris": "low"}))
    database.save(Change(VersionTable(2, {}), (version(),), cases=(case(1),)))
    database.close()
    with closing(store(path)) as again:
        assert again.load().importance == {"digits": "high", "iris": "low"}
        again.save(Change(importance={"wine": "critical"}))
        assert again.load().importance == {"wine": "critical"}
        again.save(Change(importance={}))
        assert again.load().importance == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cases SET body = 'no JSON' WHERE id = 1",
        "UPDATE cases SET kind = 'holiday' WHERE id = 1",
        "UPDATE cases SET body = x'ff00' WHERE id = 1",
        "UPDATE cases SET body = '[1]' WHERE id = 1",
    ],
)
def test_a_case_that_cannot_be_read_is_told(path: Path, statement: str) -> None:
    """By its number to whoever lists them; a server cannot go on from one that is open."""
    with closing(store(path)) as database:
        database.save(Change(cases=(case(1), case(2))))
    forge(path, statement)
    with closing(store(path)) as database:
        with pytest.raises(RouterError, match=r"^case 1 of the store cannot be read$"):
            database.cases()
        assert [each.id for each in database.cases(last=1)] == [2]
        with pytest.raises(SettingsError, match=r"is damaged \(case 1 of the store cannot be read\); put back a copy"):
            database.load()


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    TEXTS,
    TEXTS,
    st.dictionaries(TEXTS, st.none() | st.floats() | st.integers() | TEXTS, max_size=3),
    st.floats(0, 1e12),
)
def test_any_text_can_be_stored(
    database: Database, name: str, reason: str, figures: dict[str, Any], seconds: float
) -> None:
    """And is told as it was given; the log stays whole."""
    act = Entry(seconds, name, reason, name, reason, name, figures, {"list": list(figures)})
    record = VersionRecord(name, reason, name, Stage.FOUND, reason, seconds)
    body = {key: value for key, value in figures.items() if not isinstance(value, float) or math.isfinite(value)}
    going = Case(1, CaseKind.REQUEST, name, reason, name, name, seconds, 0.0, reason, body)
    declared = {name: reason}
    database.save(Change(None, (record,), (), (act,), frozenset({name, reason}), (going,), declared))
    stored = database.load()
    assert (stored.records[name, reason], stored.cases, stored.importance) == (record, (going,), declared)
    (kept,) = database.audit(last=1)
    assert (kept.entry.actor, kept.entry.reason, kept.entry.seconds) == (name, name, seconds)
    assert database.verify().whole


def test_it_may_be_read_while_it_is_written(database: Database) -> None:
    """Readers on other threads see whole changes, and never an older one after a newer."""
    seen: list[str] = []
    done = threading.Event()

    def read() -> None:
        last = 0
        while not done.is_set():
            stored = database.load()
            number = stored.table.generation
            if number < last or (number and stored.records["digits", "1"].since != number):
                seen.append(f"{number} after {last}")
            last = number

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 51):
        database.save(Change(VersionTable(number, {}), (version(since=number),)))
    done.set()
    for thread in threads:
        thread.join(30)
    assert not seen


# ---- what cannot be stored ----


def hook(database: Database, *pragmas: str) -> None:
    """Every connection from now on has these settings."""
    database.close()
    event.listen(
        database._engine, "connect", lambda made, _: [made.execute(f"PRAGMA {each}").close() for each in pragmas]
    )


def big(number: int) -> Change:
    """A change of every kind, 100 KB large."""
    return Change(
        VersionTable(number, {}),
        (version(reason="x" * 100_000),),
        (report(began=number),),
        (entry(),),
        frozenset({"a"}),
        (case(number, body={"why": "x" * 100_000}),),
        {"digits": "high"},
    )


def refused(database: Database, change: Change) -> str:
    """The line; nothing has changed, and the log is whole."""
    before = everything(database)
    with pytest.raises(Refused) as error:
        database.save(change)
    assert everything(database) == before
    assert database.verify().whole
    line = str(error.value)
    assert line.isprintable()
    assert "/" not in line
    return line


def test_a_full_disk(database: Database, path: Path) -> None:
    """The change is refused, and taken when there is room again."""
    database.save(Change(VersionTable(1, {}), entries=(entry(),)))
    pages = path.stat().st_size // 4096
    hook(database, f"max_page_count = {pages + 5}")
    assert refused(database, big(2)) == (
        "the change was not made: the disk is full; make room for the state directory, then try again"
    )
    hook(database, "max_page_count = 100000")
    database.save(big(2))
    assert database.load().table.generation == 2
    assert database.audit()[-1].sequence == 2


def test_a_store_that_another_program_holds(database: Database, path: Path) -> None:
    """The wait for it is bounded; reading goes on meanwhile."""
    database.save(Change(VersionTable(1, {}), entries=(entry(),)))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert refused(database, big(2)) == (
            "the change was not made: another program holds the store; let it finish or end it, then try again"
        )
        other.execute("ROLLBACK")
    database.save(big(2))
    assert database.audit()[-1].sequence == 2


def test_a_store_that_can_only_be_read(database: Database) -> None:
    """As on a disk that the system has turned read-only."""
    hook(database, "query_only = ON")
    assert "the store can only be read; let this user write the state directory" in refused(database, big(2))


def test_a_change_that_breaks_off_in_the_middle(database: Database) -> None:
    """An error of another kind is raised as it is, and nothing of the change is kept."""
    before = everything(database)
    broken = Entry(1.0, "ada", "promote", before={"what": object()})
    with pytest.raises(TypeError):
        database.save(Change(VersionTable(7, {}), (version(),), (report(),), (entry(), broken)))
    assert everything(database) == before


SAVES = """
import resource, signal, structlog, sys
from pathlib import Path
from tests.control.test_database import entry, report, store, version
from router.control.records import Change
from router.core.table import VersionTable
from router.errors import Refused
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
database = store(Path(sys.argv[1]))
number = database.load().table.generation
if len(sys.argv) > 2:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
while True:
    number += 1
    try:
        database.save(Change(VersionTable(number, {}), (version(since=number),), (report(began=number),), (entry(),)))
    except Refused as error:
        print(error, flush=True)
        break
    print(number, flush=True)
"""


def saving(path: Path, *more: str) -> subprocess.Popen[str]:
    """A process that saves until it is killed, and says each number when it has it."""
    command = [sys.executable, "-c", SAVES, str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def consistent(path: Path) -> int:
    """The number of the last change; all its parts are there."""
    with closing(store(path)) as database:
        stored = database.load()
        number = stored.table.generation
        assert stored.records["digits", "1"].since == number
        assert database.reports("digits", last=1)[0].began == number
        verified = database.verify()
        assert (verified.whole, verified.records) == (True, number)
        return number


def test_a_killed_process_loses_nothing_that_it_had_stored(path: Path) -> None:
    """What it was just about to store is there as a whole, or not at all."""
    for round_ in range(3):
        with saving(path) as process:
            assert process.stdout is not None
            said = [int(process.stdout.readline()) for _ in range(5 + round_ * 7)][-1]
            process.send_signal(signal.SIGKILL)
            said = max([said, *map(int, process.stdout.read().split())])
        assert consistent(path) in {said, said + 1}


def test_a_process_that_may_write_no_more(path: Path) -> None:
    """The system refuses in the middle of a write: one line, and the change before it is what the store holds."""
    with closing(store(path)) as database:
        database.save(Change(VersionTable(0, {})))
    limit = 200_000  # bytes that a file may have; the write-ahead log comes to that
    with saving(path, str(limit)) as process:
        assert process.stdout is not None
        *numbers, line = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert len(numbers) > 3
    assert line == (
        "the change was not made: the disk does not take it; look at the disk and its quotas, then try again"
    )
    assert consistent(path) == int(numbers[-1])


# ---- files that cannot be used ----


def unusable(path: Path) -> str:
    """The line that says so."""
    database = Database(path, to_text, from_text, 0.05)

    def start() -> None:
        database.open()
        database.load()

    with closing(database), pytest.raises(SettingsError) as error:
        start()
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path.parent) + "/", "")


def filled(path: Path) -> None:
    """A store with something in it, closed."""
    with closing(store(path)) as database:
        for number in range(1, 40):
            database.save(Change(VersionTable(number, {}), reports=(report(began=number),), entries=(entry(),)))


def cut(path: Path) -> None:
    """The half is gone."""
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    """All is gone."""
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    """Something else was written into the middle."""
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096 * 5)


def other(path: Path) -> None:
    """It is some other file."""
    path.write_text("[server]\n" * 2000)


def another_database(path: Path) -> None:
    """SQLite's, but not ours."""
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE cats (name)")


def table_changed(path: Path) -> None:
    """What is in it is not what was put there."""
    forge(path, "UPDATE serving SET routes = 'nonsense'")


def stage_changed(path: Path) -> None:
    """A stage that no version was ever in."""
    forge(path, "INSERT INTO versions VALUES ('m', '1', '', 'asleep', '', 0, '', '', 0, 0)")


@pytest.mark.parametrize(
    "damage",
    [cut, emptied, overwritten, other, another_database, table_changed, stage_changed],
    ids=lambda d: d.__name__,
)
def test_a_damaged_file_is_refused(path: Path, damage: Callable[[Path], None]) -> None:
    """When it is opened or loaded, with the mend; it is left as it is, and once it is away the server can start."""
    filled(path)
    damage(path)
    content = path.read_bytes()
    line = unusable(path)
    assert line.startswith(f"the store {FILE} is damaged (")
    assert "put back a copy of it, or move it away to begin with an empty one" in line
    if damage is not table_changed and damage is not another_database:  # SQLite turns a sound file to WAL
        assert path.read_bytes() == content
    path.rename(path.with_name("moved"))
    with closing(store(path)) as database:
        assert database.load() == Stored(VersionTable(0, {}))


def test_what_is_left_of_a_file_that_was_moved_away_is_no_part_of_the_next(path: Path) -> None:
    """A killed process leaves its write-ahead log behind; a new file beside it does not take it in."""
    with saving(path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert path.with_name(f"{FILE}-wal").stat().st_size
    path.unlink()
    path.with_name(f"{FILE}.new").write_text("half made")
    with closing(store(path)) as database:
        assert database.load() == Stored(VersionTable(0, {}))


def test_a_file_of_a_newer_program_is_refused(path: Path) -> None:
    """It is not touched: that program can go on with it."""
    filled(path)
    forge(path, "UPDATE alembic_version SET version_num = '9999'")
    assert unusable(path) == (
        f"the store {FILE} was written by a newer router (its schema is 9999, this program knows {migrations.HEAD});"
        " start that one, or use another state directory with --state DIR"
    )


def test_a_place_that_cannot_hold_a_store(path: Path) -> None:
    """A directory of its name, a directory that is not there, another program that has it."""
    assert "cannot be used: No such file or directory" in unusable(path / "nowhere" / FILE)
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        line = "cannot be used: another program holds the store; let it finish or end it, then try again"
        assert line in unusable(path)
    path.unlink()
    path.mkdir()
    assert "cannot be used: the store cannot be opened; let this user write" in unusable(path)


# ---- the audit log, tampered with ----


@pytest.fixture
def acts(path: Path) -> list[str]:
    """Six acts in the store at `path`, which is closed; the heads."""
    with closing(store(path)) as database:
        for number in range(6):
            database.save(Change(entries=(entry(f"act {number}"),)))
        return [each.hash for each in database.audit()]


def finding(path: Path, head: str = "") -> str:
    """What a verification finds."""
    with closing(store(path)) as database:
        found = database.verify(head)
        assert found.whole is (not found.finding)
        return found.finding


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        (
            "UPDATE audit SET actor = 'eve' WHERE sequence = 3",
            "record 3 was changed: its hash does not fit what it says",
        ),
        ("UPDATE audit SET seconds = seconds + 1e-6 WHERE sequence = 1", "record 1 was changed"),
        ("""UPDATE audit SET "before" = '{}' WHERE sequence = 6""", "record 6 was changed"),
        ("UPDATE audit SET hash = previous WHERE sequence = 2", "record 2 was changed"),
        ("UPDATE audit SET reason = x'ff00' WHERE sequence = 4", "record 4 was changed"),
        ("DELETE FROM audit WHERE sequence = 4", "record 4 is missing"),
        ("DELETE FROM audit WHERE sequence IN (1, 2)", "records 1 to 2 are missing"),
        (
            "DELETE FROM audit WHERE sequence > 4",
            "ends with record 4, and the last that was written is record 6: it was",
        ),
        ("DELETE FROM audit", "the log ends with record 0, and the last that was written is record 6"),
        ("UPDATE audit SET sequence = 9 WHERE sequence = 6", "records 6 to 8 are missing"),
        (
            "INSERT INTO audit SELECT 7, seconds, actor, action, model, number, reason, before, after, hash, hash"
            " FROM audit WHERE sequence = 6",
            "record 7 was changed",
        ),
    ],
)
def test_tampering_is_found(path: Path, acts: list[str], statement: str, line: str) -> None:
    """A record that was changed, removed, cut off, moved or put in."""
    assert not finding(path, acts[-1])
    forge(path, statement)
    assert line in finding(path)
    assert finding(path, acts[-1])


def test_a_log_that_was_cut_off_with_care_needs_a_head_that_was_noted(path: Path, acts: list[str]) -> None:
    """Whoever also sets back what stands beside the log leaves one that is whole in itself."""
    forge(
        path,
        "DELETE FROM audit WHERE sequence > 4",
        f"UPDATE audit_head SET sequence = 4, hash = '{acts[3]}'",
    )
    assert not finding(path)
    assert not finding(path, acts[3])
    for head in acts[4:]:
        assert f"no record has the head {head[:12]}… that was noted: the log was cut off" in finding(path, head)


def test_a_cut_stays_visible_when_the_server_goes_on(path: Path, acts: list[str]) -> None:
    """The next record leaves a gap; a plain SQL statement is refused to begin with."""
    assert acts
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("DELETE FROM audit WHERE sequence > 4", "UPDATE audit SET actor = 'eve'"):
            with pytest.raises(sqlite3.IntegrityError, match="the audit log is append-only"):
                connection.execute(statement)
    forge(path, "DELETE FROM audit WHERE sequence > 4")
    with closing(store(path)) as database:
        database.save(Change(entries=(entry("next"),)))
    assert finding(path) == "records 5 to 6 are missing"


def test_a_record_that_cannot_be_read_is_told(path: Path, acts: list[str]) -> None:
    """By its number, to whoever lists the log."""
    assert acts
    forge(path, "UPDATE audit SET after = 'no JSON' WHERE sequence = 2")
    with closing(store(path)) as database, pytest.raises(RouterError, match="record 2 of the audit log cannot be read"):
        database.audit()


# ---- schemas ----


def shape(path: Path) -> list[tuple[str, str]]:
    """Names and kinds of all that a file holds."""
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute("SELECT name, type FROM sqlite_master").fetchall())


def test_the_migrations_lead_to_the_tables_of_today(path: Path, tmp_path: Path) -> None:
    """From nothing, step by step, what comes out is what a new store has."""
    store(path).close()
    stepwise = Database(tmp_path / "stepwise.db", to_text, from_text)
    with stepwise._writing() as connection:
        migrations.upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    stepwise.close()
    assert shape(tmp_path / "stepwise.db") == shape(path)
    stepwise.open()
    stepwise.save(big(1))
    stepwise.close()


TODAY, NEXT = migrations.HEAD, f"{int(migrations.HEAD) + 1:04}"


def of_revision(path: Path, revision: str) -> None:
    """A new store as a program of that revision made it."""
    from alembic import command

    database = Database(path, to_text, from_text)
    with closing(database), database._writing() as connection:
        command.upgrade(migrations.config(connection), revision)


def test_the_first_release_s_store_is_brought_up_to_date(path: Path) -> None:
    """With all that it holds; nothing is under way in it, and nothing was declared. Then it takes what is new."""
    of_revision(path, "0001")
    with closing(Database(path, to_text, from_text)) as before:
        before.save(
            Change(VersionTable(3, {}), (version(),), (report(),), (entry(), entry("freeze")), frozenset({"digits"}))
        )
        audit = before.audit()
    with closing(store(path)) as database:
        stored = database.load()
        assert stored == Stored(VersionTable(3, {}), {("digits", "1"): version()}, frozenset({"digits"}))
        assert database.reports("digits") == [report()]
        assert database.audit() == audit
        assert database.verify(audit[-1].hash).whole
        assert database.cases() == []
        database.save(big(4))
        assert database.load().cases[0].id == 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(TODAY,)]


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with one more revision; gives its file."""
    revision = tmp_path / "v0003_more.py"
    revision.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '{NEXT}'\ndown_revision = '{migrations.HEAD}'\n"
        "def upgrade():\n    op.add_column('frozen', sa.Column('more', sa.Text))\n"
    )
    plain = migrations.config

    def config(connection: Any) -> Any:
        made = plain(connection)
        here = Path(migrations.__file__).parent / "versions"
        made.set_main_option("path_separator", "newline")
        made.set_main_option("version_locations", f"{here}\n{tmp_path}")
        return made

    monkeypatch.setattr(migrations, "config", config)
    monkeypatch.setattr(migrations, "HEAD", NEXT)
    return revision


def test_an_older_store_is_brought_up_to_date(path: Path, next_release: Path) -> None:
    """At the start, with all that it holds; the program before it then refuses it."""
    assert next_release
    with pytest.MonkeyPatch.context() as before:
        before.setattr(migrations, "HEAD", TODAY)
        filled(path)
    with closing(store(path)) as database:
        assert database.load().table.generation == 39
        assert database.verify().records == 39
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(NEXT,)]
        assert "more" in [column[1] for column in connection.execute("PRAGMA table_info(frozen)")]
    with pytest.MonkeyPatch.context() as before:
        before.setattr(migrations, "HEAD", TODAY)
        assert "was written by a newer router" in unusable(path)


def test_a_migration_that_fails_leaves_the_store_as_it_was(path: Path, next_release: Path) -> None:
    """All of it is one transaction."""
    with pytest.MonkeyPatch.context() as before:
        before.setattr(migrations, "HEAD", TODAY)
        filled(path)
        was = shape(path)
    next_release.write_text(next_release.read_text() + "    op.execute('CREATE TABLE t (a)')\n    raise RuntimeError\n")
    database = Database(path, to_text, from_text)
    with pytest.raises(RuntimeError):
        database.open()
    database.close()
    assert shape(path) == was
    with pytest.MonkeyPatch.context() as before, closing(Database(path, to_text, from_text)) as again:
        before.setattr(migrations, "HEAD", TODAY)
        again.open()
        assert again.load().table.generation == 39


def test_alembic_is_not_imported_without_need(path: Path) -> None:
    """It takes its time, and the controller that starts has none."""
    program = (
        "import sys; from pathlib import Path; from router.control.database import Database\n"
        "made = Database(Path(sys.argv[1]), str, str); made.open(); made.load(); made.close(); made.open()\n"
        "import json; print(json.dumps([name for name in sys.modules if name.startswith('alembic')]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
