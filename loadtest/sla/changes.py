"""Changes to a scenario from the command line: `KEY=VALUE`, a variant without a file of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from loadtest.errors import ScenarioError


def change(table: dict[str, Any], changes: Iterable[str]) -> None:
    """Lay changes over a scenario as TOML gives it.

    The key is a path with dots; an entry of a list is named by its number or, of `phase` and `mix`, by its name. The
    value is TOML; what is not is a text. Raises ScenarioError.
    """
    for each in changes:
        key, equals, text = each.partition("=")
        if not equals or not all(key.split(".")):
            raise ScenarioError(f"--set {each}: a key and a value are meant, such as phase.tail.rate=300/s")
        _put(table, key, _value(text))


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(table: Any, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        if isinstance(table, dict):
            table = table.setdefault(part, {})
        elif isinstance(table, list):
            table = table[_index(table, part, key)]
        else:
            break
    if isinstance(table, dict):
        table[last] = value
    elif isinstance(table, list):
        table[_index(table, last, key)] = value
    else:
        raise ScenarioError(f"--set {key}: what stands before {last!r} is a single value")


def _index(entries: list[Any], part: str, key: str) -> int:
    names = [str(_name(each, number)) for number, each in enumerate(entries)]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(entries):
        return int(part)
    raise ScenarioError(f"--set {key}: there is no {part!r}; there are {', '.join(names) or 'none'}")


def _name(entry: Any, number: int) -> Any:
    return entry.get("name", entry.get("model", number)) if isinstance(entry, dict) else number
