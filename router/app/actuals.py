"""`router actuals`: say what came true for earlier predictions, from a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import click

from router.app.admin_reach import AdminReach, admin_option, mistake
from router.app.mistake import Wrong
from router.app.terminal import json_option, print_json, say
from router.app.version_name import model_argument
from router.errors import RouterError
from router.pb.admin_pb2 import Actual

AT_ONCE: Final = 5000
"""Actuals in one call."""
NAMED: Final = 5
"""Requests that are named; --json has all."""
ID, TRUTH, ROW = "request_id", "truth", "row"
_KINDS: Final = {"unknown": "unknown", "already": "had one already", "late": "too late"}


@click.command()
@model_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@admin_option
@json_option
def actuals(model: str, file: Path, reach: AdminReach, as_json: bool) -> None:
    """Say what came true for earlier requests to MODEL, and tell what became of it.

    FILE is .csv with the columns request_id, truth and, for requests of several rows, row (from 0); or .jsonl with an
    object of these in each line. The truth is a label or a number, as the model predicts it. What was submitted before
    is not counted twice. Exit code 1: nothing was joined.
    """
    total = sum(1 for _ in read(file))  # all of it is right before any of it goes
    if not total:
        raise Wrong(f"{file.name} holds no actuals")
    joined = 0
    others: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    coming = read(file)
    with reach.asked() as client:
        while batch := list(islice(coming, AT_ONCE)):
            try:
                done = client.submit_actuals(model, batch)
            except RouterError as error:
                failed = mistake(error)
                raise type(failed)(f"{failed} ({joined} were joined before)" if joined else str(failed)) from error
            joined += done.joined
            for kind in others:
                others[kind] += getattr(done, kind)
    if as_json:
        print_json({"model": model, "actuals": total, "joined": joined, **others})
    else:
        say(f"model '{model}': {joined} of {total} actuals joined")
        for kind, ids in others.items():
            if ids:
                more = f", … ({len(ids)} in all)" if len(ids) > NAMED else ""
                say(f"{_KINDS[kind]}: {', '.join(ids[:NAMED])}{more}")
    if not joined and not others["already"]:
        raise SystemExit(1)


def read(file: Path) -> Iterator[Actual]:
    """The actuals of a file, one after the other. Raises Wrong, which names the line."""
    suffix = file.suffix.lower()
    if suffix not in {".csv", ".jsonl"}:
        raise Wrong(f"{file.name}: expected a file that ends in .csv or .jsonl")
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            yield from _csv(opened, file.name) if suffix == ".csv" else _jsonl(opened, file.name)
    except UnicodeDecodeError as error:
        raise Wrong(f"{file.name} is not UTF-8 text") from error
    except OSError as error:
        raise Wrong(f"{file.name} cannot be read: {error.strerror}") from error


def _csv(opened: TextIO, name: str) -> Iterator[Actual]:
    rows = csv.DictReader(opened, strict=True)
    try:
        columns = rows.fieldnames or []
        for needed in (ID, TRUTH):
            if needed not in columns:
                raise Wrong(f"{name} has no column '{needed}'; it has {', '.join(columns)[:200] or 'none'}")
        for row in rows:
            where = f"{name} line {rows.line_num}"
            if None in row or None in row.values():  # where a line is long or short
                raise Wrong(f"{where}: expected {len(columns)} fields, as the first line has them")
            yield _actual(row[ID], row[TRUTH], row.get(ROW) or "0", where)
    except csv.Error as error:
        raise Wrong(f"{name} line {rows.reader.line_num}: {error}") from error


def _jsonl(opened: TextIO, name: str) -> Iterator[Actual]:
    for number, line in enumerate(opened, start=1):
        where = f"{name} line {number}"
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Wrong(f"{where} is not JSON") from error
        if not isinstance(given, Mapping):
            raise Wrong(f'{where}: expected an object such as {{"{ID}": "a", "{TRUTH}": 3}}')
        for needed in (ID, TRUTH):
            if needed not in given:
                raise Wrong(f"{where} has no '{needed}'; it has {', '.join(map(str, given))[:200] or 'nothing'}")
        yield _actual(given[ID], given[TRUTH], given.get(ROW, 0), where)


def _actual(request_id: Any, truth: Any, row: Any, where: str) -> Actual:
    """Text stays text: the server reads it as what the model predicts."""
    if not isinstance(request_id, str) or not request_id:
        raise Wrong(f"{where}: {ID} is {request_id!r:.80}, expected the id of a request")
    made = Actual(request_id=request_id)
    try:
        made.row = int(row) if isinstance(row, str) else row
    except (ValueError, TypeError) as error:
        raise Wrong(f"{where}: {ROW} is {row!r:.80}, expected the number of a row, from 0") from error
    match truth:
        case str() if truth:
            made.text = truth
        case int() if -(2**63) <= truth < 2**63:  # also true and false
            made.label = int(truth)
        case int():
            made.text = str(truth)
        case float():
            made.value = truth
        case _:
            raise Wrong(f"{where}: {TRUTH} is {truth!r:.80}, expected a label or a number")
    return made
