"""What a file declares of the models, for Git: who is champion, who challenges it, names, switches, importance.

What a file does not name is left alone. `difference.py` says what is to be done about it.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from router.config import ImportanceName
from router.core.split import PER_CENT, Match
from router.core.table import ROLES
from router.errors import SettingsError
from router.settings import explain

LARGEST: Final = 256 * 1024
"""Bytes of a file's text: thousands of models."""
LONGEST_ALIAS: Final = 100
LONGEST_MATCH: Final = 200
"""Characters of a metadata value, and of its key."""
MOST_MATCHES: Final = 100
"""Of one model: all of them are looked at for each request."""

_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")
_KEY: Final = re.compile("[0-9a-z_.-]+")


def _number(value: object) -> object:
    if type(value) is not int or not 0 < value < 10**18:
        raise ValueError("a version is meant: a whole number such as 3, without quotes")
    return str(value)


def _numbered(value: str) -> str:
    if not _NUMBER.fullmatch(value):
        raise ValueError("a version is meant: a number such as 3")
    return value


def _alias(value: str) -> str:
    out = any(c in ":/" or c.isspace() or not c.isprintable() for c in value)
    if out or not 0 < len(value) <= LONGEST_ALIAS or value.isnumeric() or value.lower() in ROLES:
        raise ValueError(
            f"an alias is a name of at most {LONGEST_ALIAS} characters, without blanks, colons and slashes,"
            f" that is neither a number nor one of {', '.join(sorted(ROLES))}"
        )
    return value


def _key(value: str) -> str:
    if not _KEY.fullmatch(value) or len(value) > LONGEST_MATCH or value.endswith("-bin"):
        raise ValueError("a key of text metadata is meant, in lower case, such as x-cohort")
    return value


def _value(value: str) -> str:
    if not (0 < len(value) <= LONGEST_MATCH and value.isascii() and value.isprintable()):
        raise ValueError(f"a metadata value is meant: 1 to {LONGEST_MATCH} printable ASCII characters")
    return value


def _listed(value: object) -> object:
    if not isinstance(value, str | list) or not value:
        raise ValueError('a text is meant, or several such as ["beta", "friends"]')
    return [value] if isinstance(value, str) else value


def _table(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError("a table is meant, such as { … } or [models.digits]")
    return value


Number = Annotated[str, BeforeValidator(_number)]
Yes = Annotated[bool, Field(strict=True)]
Values = Annotated[tuple[Annotated[str, AfterValidator(_value)], ...], BeforeValidator(_listed)]
Table = BeforeValidator(_table)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_table(cls, value: object) -> object:
        return _table(value)


class DeclaredChallenger(_Settings):
    """`challengers.NUMBER`: what a challenger is given."""

    share: float = Field(0.0, strict=True, ge=0, le=100, allow_inf_nan=False)
    """Percent of the requests that name no version."""
    shadow: Yes = False
    """It runs copies of what the champion is asked."""
    match: Annotated[dict[Annotated[str, AfterValidator(_key)], Values], Table] = {}
    """Calls with one of these values of the metadata key are its, whatever their share."""

    @model_validator(mode="after")
    def _has_something(self) -> DeclaredChallenger:
        if not (round(self.share * PER_CENT) or self.shadow or self.match):
            raise ValueError("it is to challenge with nothing: give it a share, shadow = true or a match")
        return self


class DeclaredModel(_Settings):
    """`[models.NAME]`: None is what the file does not name."""

    champion: Number | None = None
    strategy: Literal["swap", "canary"] = "swap"
    """How a change of champion is made."""
    importance: ImportanceName | None = None
    frozen: Yes | None = None
    fallback: Yes | None = None
    aliases: Annotated[dict[Annotated[str, AfterValidator(_alias)], Number], Table] | None = None
    """All of them: others go."""
    challengers: Annotated[dict[Annotated[str, AfterValidator(_numbered)], DeclaredChallenger], Table] | None = None
    """All of them: others are withdrawn."""

    @model_validator(mode="after")
    def _matches_are_few(self) -> DeclaredModel:
        if (count := len(self.matches)) > MOST_MATCHES:
            raise ValueError(f"its challengers match {count} values: {MOST_MATCHES} are the most")
        return self

    @property
    def matches(self) -> tuple[Match, ...]:
        """What all challengers match, in the order of the file."""
        return tuple(self._matches())

    def _matches(self) -> Iterator[Match]:
        for number, each in (self.challengers or {}).items():
            for key, values in each.match.items():
                yield from (Match(key, value, number) for value in values)


class Declared(_Settings):
    """The whole file. `frozen` is of all models."""

    frozen: Yes | None = None
    models: Annotated[dict[str, DeclaredModel], Table] = {}


def declared(text: str) -> Declared:
    """What a TOML text declares. Raises SettingsError with one line, for a person who has the file."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > LARGEST:
        raise SettingsError(f"the file has {size} bytes: {LARGEST} are the most")
    try:
        tables: Mapping[str, object] = tomllib.loads(text)
    except RecursionError as error:
        raise SettingsError("the file is not TOML: nested too deeply") from error
    except ValueError as error:  # a TOMLDecodeError is one; so is a number of thousands of digits
        raise SettingsError(f"the file is not TOML: {short(str(error))}") from error
    try:
        return Declared.model_validate(tables)
    except ValidationError as error:
        raise SettingsError(explain(error, "the file")) from error


def fingerprint(text: str) -> str:
    """The SHA-256 of a file's text, in hexadecimal digits: that by which it is found again in Git."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def short(text: str) -> str:
    """Text from a file, fit for one line."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 80 else text[:79] + "…"
