"""`router actuals`: a table of what came true, submitted as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.app import actuals
from router.app.mistake import Wrong
from router.control.ledger_file import Actual
from tests.fake_admin import Served, served


@pytest.fixture
def service() -> Iterator[Served]:
    """Its ledger knows request `r`."""
    with served() as made:
        yield made


def test_a_table_is_submitted(service: Served, tmp_path: Path) -> None:
    """Text stays text, a row may be named; what became of it is told."""
    file = tmp_path / "true.csv"
    file.write_text('\ufeffrequest_id,note,truth,row\nr,x,07,\nr,y,3.5,2\n"a, [bold]b[/]",z,cat,0\n')
    told = service.router("actuals", "a", str(file))
    assert told.exit_code == 0
    assert told.output == "model 'a': 2 of 3 actuals joined\nunknown: a, [bold]b[/]\n"
    assert service.ledger.came == [Actual("r", 0, "07"), Actual("r", 2, "3.5"), Actual("a, [bold]b[/]", 0, "cat")]


def test_lines_of_json_are_submitted(service: Served, tmp_path: Path) -> None:
    """Each truth as it is, for programs as JSON."""
    file = tmp_path / "true.jsonl"
    truths = [3, 3.5, "cat", True, 2**64]
    lines = [json.dumps({"request_id": "r", "truth": truth, "row": row}) for row, truth in enumerate(truths)]
    file.write_text("\n\n".join(lines) + "\n")
    told = service.router("actuals", "a", str(file), "--json")
    assert json.loads(told.output) == {
        "model": "a", "actuals": 5, "joined": 5, "unknown": [], "already": [], "late": []
    }  # fmt: skip
    assert [each.truth for each in service.ledger.came] == [3, 3.5, "cat", 1, str(2**64)]


def test_a_long_table_goes_in_several_calls(service: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of the requests are named; when nothing was joined the exit code says so."""
    monkeypatch.setattr(actuals, "AT_ONCE", 3)
    file = tmp_path / "true.csv"
    file.write_text("request_id,truth\n" + "".join(f"x{number},1\n" for number in range(8)))
    told = service.router("actuals", "a", str(file))
    assert told.exit_code == 1
    assert told.output == "model 'a': 0 of 8 actuals joined\nunknown: x0, x1, x2, x3, x4, … (8 in all)\n"
    assert len(service.ledger.came) == 8


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "request_id,label\nr,1\n", "t.csv has no column 'truth'; it has request_id, label"),
        ("t.csv", "", "t.csv has no column 'request_id'; it has none"),
        ("t.csv", "request_id,truth\n", "t.csv holds no actuals"),
        ("t.csv", "request_id,truth\nr,1\nr\n", "t.csv line 3: expected 2 fields, as the first line has them"),
        ("t.csv", "request_id,truth\nr,1,2\n", "t.csv line 2: expected 2 fields, as the first line has them"),
        ("t.csv", "request_id,truth\nr,\n", "t.csv line 2: truth is '', expected a label or a number"),
        ("t.csv", "request_id,truth\n,1\n", "t.csv line 2: request_id is '', expected the id of a request"),
        ("t.csv", "request_id,truth,row\nr,1,x\n", "t.csv line 2: row is 'x', expected the number of a row, from 0"),
        ("t.csv", "request_id,truth,row\nr,1,-1\n", "t.csv line 2: row is '-1', expected the number of a row, from 0"),
        ("t.csv", 'request_id,truth\nr,"1\n', "t.csv line 2: unexpected end of data"),
        ("t.jsonl", '{"request_id": "r"}', "t.jsonl line 1 has no 'truth'; it has request_id"),
        ("t.jsonl", "[1]", "t.jsonl line 1: expected an object such as"),
        ("t.jsonl", "{", "t.jsonl line 1 is not JSON"),
        ("t.jsonl", "[" * 100_000, "t.jsonl line 1 is not JSON"),
        ("t.jsonl", '{"request_id": 5, "truth": 1}', "request_id is 5, expected the id of a request"),
        ("t.jsonl", '{"request_id": "r", "truth": [1]}', "truth is [1], expected a label or a number"),
        ("t.jsonl", '{"request_id": "r", "truth": 1, "row": null}', "row is None, expected the number of a row"),
        ("t.jsonl", '{"request_id": "r", "truth": 1, "row": 1.5}', "row is 1.5, expected the number of a row"),
        (
            "t.jsonl",
            '{"request_id": "r", "truth": 1, "row": 4294967296}',
            "row is 4294967296, expected the number of a",
        ),
        ("t.txt", "r 1", "t.txt: expected a file that ends in .csv or .jsonl"),
    ],
)
def test_a_mistake_in_the_table_names_its_line(
    service: Served, tmp_path: Path, name: str, text: str, said: str
) -> None:
    """Nothing of it is submitted; the exit code is that of a mistake."""
    file = tmp_path / name
    file.write_text(text)
    told = service.router("actuals", "a", str(file))
    assert told.exit_code == 2
    assert said in told.output
    assert service.ledger.came == []


def test_what_the_server_refuses_is_told_in_one_line(service: Served, tmp_path: Path) -> None:
    """As is a file that is no text, and one that is not there."""
    file = tmp_path / "true.csv"
    file.write_text("request_id,truth\nr,1\n")
    told = service.router("actuals", "nobody", str(file))
    assert (told.exit_code, told.output) == (1, "Error: unknown model 'nobody'\n")
    file.write_bytes(b"request_id,truth\n\xff,1\n")
    assert "true.csv is not UTF-8 text" in service.router("actuals", "a", str(file)).output
    assert service.router("actuals", "a", str(tmp_path / "missing.csv")).exit_code == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=80), ending=st.sampled_from(["csv", "jsonl"]))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str, ending: str) -> None:
    """In one line, whatever it is."""
    file = tmp_path / f"any.{ending}"
    file.write_text("request_id,truth\n" + text if ending == "csv" else text, newline="")
    try:
        found, said = list(actuals.read(file)), ""
    except Wrong as error:
        found, said = [], error.message
    assert said.isprintable()
    assert all(each.request_id and each.WhichOneof("truth") for each in found)
