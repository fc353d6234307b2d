"""What all settings share: tables that refuse what they do not know, TOML files, and mistakes told in one line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from router.errors import SettingsError

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def _path(value: Path) -> Path:
    if "\0" in str(value):
        raise ValueError("a path holds no NUL character")
    return value


Number = Annotated[float, Field(allow_inf_nan=False)]
Value = bool | int | Number | str
File = Annotated[Path, AfterValidator(_path)]


class Settings(BaseModel):
    """A table: it never changes, and a key that it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def explain(error: ValidationError, where: str, options: Mapping[str, str] = _NONE) -> str:
    """One line that names the key, the value and what is allowed. `options` has what keys of the command line are
    called there."""
    first = error.errors()[0]
    key = shown(".".join(str(part) for part in first["loc"] if part != "[key]"))
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key `{key}`; remove it or correct its spelling"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    message = message[0].lower() + message[1:]
    if first["loc"] == ("webhook",) or first["loc"][-1:] in {("sha256",), ("url",)}:  # a token, a password
        return f"{where}: `{key}`: {message}"
    if not key:  # of several keys, which the message names
        return message
    top, value = str(first["loc"][0]), shown(repr(first["input"]))
    if top in options:
        return f"{options[top]} {value}: {message}"
    return f"{where}: `{key}` = {value}: {message}"


def shown(text: str) -> str:
    """Text from a file, fit for one line."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 80 else text[:79] + "…"


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises SettingsError with one line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{what} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{what} cannot be read: is not UTF-8 text") from error
    except RecursionError as error:
        raise SettingsError(f"{what} is not TOML: nested too deeply") from error
    except ValueError as error:  # a TOMLDecodeError is one; so is a number of thousands of digits
        raise SettingsError(f"{what} is not TOML: {shown(str(error))}") from error
