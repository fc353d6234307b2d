"""The words of requests on the admin port: what they may be."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from router.core.table import ROLES
from router.edge.error_details import BadField

REASON: Final = 1000
ALIAS: Final = 100
NAME: Final = 255
"""Characters at most; models and versions are names of directories."""

_NUMBER: Final = re.compile(r"[1-9][0-9]*")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_CONTROL: Final = frozenset({"Cc", "Zl", "Zp"})


def shown(text: str) -> str:
    """A text of a caller's as it is given back in an error: short, in one line, in quotes."""
    text = text if len(text) <= 80 else text[:79] + "…"
    return "'" + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text) + "'"


def model(name: str, field: str = "model") -> str:
    """The name of a model. Raises BadField for what can be none."""
    if not name:
        raise BadField(field, "the request names no model")
    return any_model(name, field)


def any_model(name: str, field: str = "model") -> str:
    """The name of a model, or nothing for all of them. Raises BadField."""
    if len(name) > NAME:
        raise BadField(field, f"{shown(name)} is no name of a model: {NAME} characters are the most")
    return name


def number(text: str, field: str = "version") -> str:
    """The number of a version. Raises BadField for what is none; roles and aliases are none, since they move."""
    if not text:
        raise BadField(field, "the request names no version")
    if len(text) > NAME or not _NUMBER.fullmatch(text):
        raise BadField(field, f"{shown(text)} is no version: a number is meant, such as 3")
    return text


def any_number(text: str, field: str = "version") -> str:
    """The number of a version, or nothing where that has a meaning of its own. Raises BadField."""
    return number(text, field) if text else ""


def reason(text: str) -> str:
    """Why something is done, for the audit log. Raises BadField."""
    if len(text) > REASON:
        raise BadField("reason", f"the reason has {len(text)} characters: {REASON} are the most")
    if any(unicodedata.category(c) in _CONTROL for c in text):
        raise BadField("reason", "the reason holds a control character or a line break: one line of text is meant")
    return text.strip()


def alias(name: str) -> str:
    """A name that an operator gives to a version. Raises BadField."""
    if not name:
        raise BadField("alias", "the request names no alias")
    if len(name) > ALIAS:
        raise BadField("alias", f"{shown(name)} is no alias: {ALIAS} characters are the most")
    if name.lower() in ROLES:
        roles = ", ".join(sorted(ROLES))
        raise BadField("alias", f"{shown(name)} is a role and no alias: choose a name other than {roles}")
    if name.isnumeric():
        raise BadField("alias", f"{shown(name)} is a number and no alias: choose a name with a letter in it")
    if any(c in ":/" or c.isspace() or not c.isprintable() for c in name):
        raise BadField("alias", f"{shown(name)} is no alias: blanks, colons, slashes and control characters are out")
    return name


def kind(text: str) -> str:
    """A kind of report, or nothing for both. Raises BadField."""
    if text not in {"", "test", "warm"}:
        raise BadField("kind", f"{shown(text)} is no kind of report: test or warm is meant")
    return text


def head(text: str) -> str:
    """The hash of an audit record, or nothing. Raises BadField."""
    if text and not _HASH.fullmatch(text):
        raise BadField("head", f"{shown(text)} is no hash of an audit record: 64 hexadecimal digits are meant")
    return text
