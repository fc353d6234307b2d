"""Who may do what: roles in their order, which method needs which, and who somebody is that asks.

A token is 256 bits of chance, so its plain SHA-256 is what is kept: nobody finds such a token by trying, however fast
the hash is. A slow hash is for passwords, which people choose, and would only make every call slow.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from router.errors import Denied, Unauthenticated

TOKEN_PREFIX: Final = "rt_"  # noqa: S105  # what tokens begin with, so that people and scanners know one when they see it
TOKEN_BYTES: Final = 32


class Role(IntEnum):
    """A higher one may do all that a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    APPROVER = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """As it stands in settings and messages."""
        return self.name.lower()


METHODS: Final[Mapping[str, Role]] = {
    "GetStatus": Role.VIEWER,
    "ListModels": Role.VIEWER,
    "ListVersions": Role.VIEWER,
    "ListReports": Role.VIEWER,
    "ListFaults": Role.VIEWER,
    "ListQuarantine": Role.VIEWER,
    "ListAudit": Role.VIEWER,
    "VerifyAudit": Role.VIEWER,
    "PlanPromotion": Role.VIEWER,
    "Explain": Role.VIEWER,
    "Watch": Role.VIEWER,
    "LoadModel": Role.OPERATOR,
    "UnloadModel": Role.OPERATOR,
    "TestVersion": Role.OPERATOR,
    "WarmVersion": Role.OPERATOR,
    "Promote": Role.OPERATOR,
    "Rollback": Role.OPERATOR,
    "Freeze": Role.OPERATOR,
    "Challenge": Role.OPERATOR,
    "SetSplit": Role.OPERATOR,
    "Withdraw": Role.OPERATOR,
    "StartTrial": Role.OPERATOR,
    "StopTrial": Role.OPERATOR,
    "StopRollout": Role.OPERATOR,
    "Retrain": Role.OPERATOR,
    "StopRetraining": Role.OPERATOR,
    "ListRetrainings": Role.VIEWER,
    "Approve": Role.APPROVER,
    "Reject": Role.OPERATOR,  # of what they asked for themselves; else it takes an approver (core.approval)
    "ListCases": Role.VIEWER,
    "Diff": Role.VIEWER,
    "Apply": Role.OPERATOR,
    "GetEvidence": Role.VIEWER,
    "SetAlias": Role.OPERATOR,
    "SetFallback": Role.OPERATOR,
    "SubmitActuals": Role.OPERATOR,
    "GetHealth": Role.VIEWER,
    "GetRecording": Role.VIEWER,
    "GetAccuracy": Role.VIEWER,
    "ResetBaseline": Role.OPERATOR,
    "GetWebhook": Role.VIEWER,
    "TestWebhook": Role.OPERATOR,
    "RetryWebhook": Role.OPERATOR,
    "GetDrift": Role.VIEWER,
    "SetReference": Role.OPERATOR,
    "SetFaults": Role.ADMIN,
    "ClearQuarantine": Role.ADMIN,
    # Of the inference protocol, on its own port.
    "RepositoryModelLoad": Role.OPERATOR,
    "RepositoryModelUnload": Role.OPERATOR,
}
"""What a method needs; one that is not named needs `admin`."""
OVERRIDE: Final = Role.APPROVER
"""What a promotion needs that goes against the gates."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody whose name is known, and what they may do."""

    name: str
    role: Role


LOCAL: Final = Actor("local", Role.ADMIN)
"""Whoever asks where nothing is configured: the port is open to this machine only."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What somebody has shown. `token` is the SHA-256 of a bearer token in hexadecimal digits, empty without one.

    `names` are those that a certificate proves.
    """

    token: str = ""
    names: tuple[str, ...] = ()


NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class Register:
    """Who is known: actors by the SHA-256 of their tokens (hexadecimal digits), and by a name in their certificate."""

    tokens: Mapping[str, Actor] = field(default_factory=dict)
    certificates: Mapping[str, Actor] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Nothing is configured: whoever asks may do everything."""
        return not self.tokens and not self.certificates

    def actor(self, caller: Caller, method: str) -> Actor:
        """Who a caller is. A token that is shown decides; without one the certificate does.

        Raises Unauthenticated; Denied for a certificate that has no role.
        """
        if self.open:
            return LOCAL
        if caller.token:
            found, shown = None, caller.token.encode("ascii", "replace")
            for known, actor in self.tokens.items():  # all of them, so that the time tells nothing
                if hmac.compare_digest(known.encode(), shown):
                    found = actor
            if found is None:
                raise Unauthenticated(f"the token is not known here; {_needs(method)}")
            return found
        for name in caller.names:
            if name in self.certificates:
                return self.certificates[name]
        if caller.names:
            raise Denied(f"no role is given to the certificate of '{caller.names[0][:80]}'; {_needs(method)}")
        raise Unauthenticated(f"{_needs(method)}: send `authorization: Bearer TOKEN` (`router token create` makes one)")


def _needs(method: str) -> str:
    return f"{method} needs the role {needed(method).word}"


def needed(method: str, override: bool = False) -> Role:
    """The lowest role that may do it. `override`: although the gates say no."""
    role = METHODS.get(method, Role.ADMIN)
    return max(role, OVERRIDE) if override else role


def permit(actor: Actor, method: str, override: bool = False) -> None:
    """Whether an actor may do it. Raises Denied."""
    role = needed(method, override)
    if actor.role < role:
        what = f"{method} against the gates" if override else method
        raise Denied(f"{what} needs the role {role.word}, and '{actor.name[:80]}' is {actor.role.word}")


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


def bearer(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The digest of the token that came with a call, empty without one. What is no bearer token is one unknown."""
    for key, value in metadata:
        if key.lower() == "authorization":
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            scheme, _, token = text.strip().partition(" ")
            return digest(token.strip() if scheme.lower() == "bearer" else text)
    return ""


def certified(names: Sequence[bytes]) -> tuple[str, ...]:
    """The names that a certificate proves, as texts, each once."""
    return tuple(dict.fromkeys(name.decode("utf-8", "replace") for name in names if name))


class Failures:
    """Counts refusals, so that somebody who tries and tries does not fill the log. Not for several threads."""

    def __init__(self, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._told = -every_s
        self._untold = 0

    def note(self, now: float) -> int:
        """Another one at `now` (seconds, monotonic). How many the log is to be told of; 0: not now."""
        self._untold += 1
        if now - self._told < self._every_s:
            return 0
        untold, self._untold, self._told = self._untold, 0, now
        return untold
