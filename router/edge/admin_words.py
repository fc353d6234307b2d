"""The words of requests on the admin port: what they may be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from router.control.records import Order
from router.core.access import Actor
from router.core.split import Match
from router.core.standing import CaseKind
from router.core.table import ROLES
from router.edge.error_details import BadField
from router.pb.admin_pb2 import MetadataMatch

REASON: Final = 1000
ALIAS: Final = 100
ROUNDED: Final = 1e-9
"""Percents of several versions add up to 100 but for so much."""
NAME: Final = 255
"""Characters at most; models and versions are names of directories."""
MATCHES: Final = 100
"""Of one model at most: all of them are looked at for each request."""
VALUE: Final = 200
"""Characters of what metadata may hold, at most."""
DECLARED: Final = 1 << 20
"""Characters of a file of declared state, at most."""

_NUMBER: Final = re.compile(r"[1-9][0-9]*")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST: Final = re.compile(r"[0-9a-f]{12,64}")
_KEY: Final = re.compile(r"[0-9a-z_.-]{1,100}")
_PRINTABLE: Final = re.compile(r"[ -~]+")
"""What gRPC's metadata may hold."""
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


def order(actor: Actor, text: str) -> Order:
    """Who wants something, and why. Raises BadField."""
    return Order(actor.name, reason(text), actor.role)


def share(percent: float, field: str = "share") -> float:
    """Of the requests, in percent. Raises BadField for what there cannot be."""
    if not 0 <= percent <= 100:  # also what is no number
        raise BadField(field, f"a share of {percent:g} %: it is to lie from 0 to 100")
    return percent


def shares(given: Mapping[str, float]) -> dict[str, float]:
    """By version, the lowest first. Raises BadField where there cannot be one, or all of them."""
    numbers = sorted((number(each, "shares") for each in given), key=lambda each: (len(each), each))
    made = {each: share(given[each], "shares") for each in numbers}
    if sum(made.values()) > 100 + ROUNDED:
        told = ", ".join(f"version {each} {percent:g} %" for each, percent in made.items())
        raise BadField("shares", f"the shares are {sum(made.values()):g} % together ({told}): 100 % are all there are")
    return made


def matches(given: Iterable[MetadataMatch], of: str = "") -> list[Match]:
    """What metadata are a version's; `of` where they are all of one. Raises BadField."""
    made = [_match(each, of, f"matches[{place}]") for place, each in enumerate(given)]
    if len(made) > MATCHES:
        raise BadField("matches", f"{len(made)} matches: {MATCHES} are the most")
    for place, each in enumerate(made):
        if any((each.key, each.value) == (other.key, other.value) for other in made[:place]):
            raise BadField(f"matches[{place}]", f"{each.key}={shown(each.value)} stands there twice: once is meant")
    return made


def _match(given: MetadataMatch, of: str, field: str) -> Match:
    key = given.key.lower()
    if not _KEY.fullmatch(key) or key.endswith("-bin") or key.startswith("grpc-"):
        wrong = "letters, digits, dots and dashes are meant, neither grpc-… nor …-bin"
        raise BadField(f"{field}.key", f"{shown(given.key)} is no key of metadata: {wrong}")
    if not _PRINTABLE.fullmatch(given.value) or len(given.value) > VALUE:
        wrong = f"1 to {VALUE} printable ASCII characters are meant"
        raise BadField(f"{field}.value", f"{shown(given.value)} is no value of metadata: {wrong}")
    if of and given.version not in {"", of}:
        raise BadField(f"{field}.version", f"{shown(given.version)}: what is matched is to be version {of}'s")
    return Match(key, given.value, of or number(given.version, f"{field}.version"))


def case_id(given: int) -> int:
    """The number of a case. Raises BadField."""
    if not given:
        raise BadField("id", "the request names no case: `router cases` has their numbers")
    return given


def case_kind(text: str) -> str:
    """A kind of case, or nothing for all. Raises BadField."""
    if text and text not in set(CaseKind):
        raise BadField("kind", f"{shown(text)} is no kind of case: {', '.join(CaseKind)} are there")
    return text


def digest(text: str) -> str:
    """Of a version's files, or its first digits, or nothing. Raises BadField."""
    if text and not _DIGEST.fullmatch(text):
        raise BadField("digest", f"{shown(text)} is no digest of a version: its first 12 to 64 hexadecimal digits are")
    return text


def declared(text: str) -> str:
    """What a file declares. Raises BadField."""
    if not text.strip():
        raise BadField("text", "the request declares nothing: TOML is meant, such as [models.digits]")
    if len(text) > DECLARED:
        raise BadField("text", f"the text has {len(text)} characters: {DECLARED} are the most")
    return text
