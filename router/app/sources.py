"""What a file, standard input or a text of JSON holds: an array, nested lists, or a mapping of those by name."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from router.app.mistake import Wrong

DELIMITERS: Final = (";", "\t", ",")
"""Of a table of numbers, the first that occurs in it; otherwise blanks."""


class NoSource(Wrong):
    """Neither a file nor JSON."""


def read(source: str, notes: list[str]) -> Any:
    """The values. What a reader should know of them goes into `notes`. Raises Wrong."""
    if source == "-":
        return _json(_text(sys.stdin.buffer.read(), "standard input"), "standard input")
    if os.path.exists(source):  # which, other than Path.exists, takes a text of any length
        return _load(Path(source), notes)
    if source.lstrip()[:1] in {"[", "{", '"'}:
        return _json(source, repr(source[:40]))
    try:
        return json.loads(source)
    except ValueError:
        raise NoSource(f"no file {source[:200]!r}, and it is not JSON either") from None


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Wrong(f"{where} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def _json(text: str, where: str) -> Any:
    if not text.strip():
        raise Wrong(f"{where} is empty: give JSON, for example [[1, 2], [3, 4]]")
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, where))
    except RecursionError as error:
        raise Wrong(f"{where} is nested too deeply: give lists with as many levels as the input has sizes") from error
    except ValueError as error:
        raise Wrong(f"{where} is not JSON: {error}") from error


def _once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    _unique([name for name, _ in pairs], where)
    return dict(pairs)


def _unique(names: list[str], where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise Wrong(f"{where} holds {name[:80]!r} twice: give each input once")


def _load(path: Path, notes: list[str]) -> Any:
    try:
        match path.suffix.lower():
            case ".npy" | ".npz":
                return _arrays(path)
            case ".json":
                return _json(_text(path.read_bytes(), path.name), path.name)
            case ".csv" | ".txt":
                return _table(_text(path.read_bytes(), path.name), path.name, notes)
    except Wrong:
        raise
    except MemoryError as error:
        raise Wrong(f"cannot read {path.name}: it claims to hold more than memory can; is it damaged?") from error
    except OSError as error:
        raise Wrong(f"cannot read {path.name}: {error.strerror or error}") from error
    except Exception as error:  # readers of archives and of arrays raise whatever the damage leads them to
        raise Wrong(f"cannot read {path.name}: it is damaged, or not what its name says") from error
    raise Wrong(f"{path.name}: give a .npy, .npz, .json, .csv or .txt file")


def _arrays(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            _unique(loaded.files, path.name)
            return {name: loaded[name] for name in loaded.files}
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise Wrong(f"cannot read {path.name}: it holds no plain array; save numbers or text with np.save") from error


# Tables of numbers


def _table(text: str, where: str, notes: list[str]) -> list[Any]:
    """Rows of numbers; one row, or one column, is a single list. Nothing is guessed where a field is no number."""
    delimiter = next((each for each in DELIMITERS if each in text), None)
    numbered = ((number, line.partition("#")[0].strip(" \r")) for number, line in enumerate(text.splitlines(), 1))
    lines = [(number, _fields(line, delimiter)) for number, line in numbered if line.strip()]
    if not lines:
        raise Wrong(f"cannot read {where}: it is empty")
    if not any(_is_number(field.replace(",", ".")) for field in lines[0][1]):
        notes.append(f"took the first line of {where} for a heading")
        del lines[0]
        if not lines:
            raise Wrong(f"cannot read {where}: there are no numbers in it")
    rows = [
        [_number(field, f"{where}, line {number}, field {place}") for place, field in enumerate(fields, 1)]
        for number, fields in lines
    ]
    for (number, _), row in zip(lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise Wrong(f"{where}, line {number}: {len(row)} numbers, the first line has {len(rows[0])}")
    if len(rows) == 1:
        return rows[0]
    return [row[0] for row in rows] if len(rows[0]) == 1 else rows


def _fields(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _number(field: str, where: str) -> int | float:
    if re.fullmatch(r"[+-]?[0-9]{1,300}", field):
        return int(field)  # exact, however large
    if _is_number(field):
        return float(field)
    if not field:
        raise Wrong(f"{where} is empty: put a number there, nan if there is none")
    mend = "; write numbers with a decimal point" if re.fullmatch(r"[+-]?[0-9]*,[0-9]+", field) else ""
    raise Wrong(f"{where}: {field[:40]!r} is no number{mend}")
