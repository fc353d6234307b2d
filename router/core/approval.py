"""A promotion that waits until others agree: what exactly they agree to, whose word counts, and when it is void.

An approval is bound to what was shown: the files of the version, by their digest, and the reports, trials and rollouts
that there were of it, by the SHA-256 of them. What has changed since has not been approved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from router.core.access import Actor, Role
from router.core.audit import canonical
from router.core.gate import Report
from router.errors import Conflict, Denied, Refused, RouterError

APPROVER: Final = Role.APPROVER
SHORTEST_DIGEST: Final = 12
"""So many hexadecimal digits of a digest tell two sets of files apart: lists show no more."""

ANONYMOUS: Final = frozenset({"local", "client"})
"""Names of nobody in particular: whoever has one may be anybody who has another name as well."""
ITSELF: Final = "router"
"""Who asks when the server acts by its own settings: then it is enough that there is a person who agrees."""

Strategy = Literal["swap", "canary"]


@dataclass(frozen=True, slots=True)
class Approval:
    """One who agrees. `seconds` since 1970."""

    actor: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A promotion that somebody asks for, and who agrees so far.

    `expected` is the champion that it is to replace, empty for none. `digest` is the SHA-256 of the version's files.
    `shown` is the evidence that there is, as plain JSON. `approvals` others are needed. `began` and `expires` are in
    seconds since 1970. `outcome` says how it ended, in words.
    """

    model: str
    number: str
    digest: str
    requester: str
    role: Role
    reason: str
    strategy: Strategy
    override: bool
    expected: str
    shown: Mapping[str, Any]
    level: str
    approvals: int
    began: float
    expires: float
    given: tuple[Approval, ...] = ()
    outcome: str = ""

    @property
    def evidence(self) -> str:
        """The SHA-256 of what is shown."""
        return hashlib.sha256(canonical(self.shown).encode()).hexdigest()

    @property
    def missing(self) -> int:
        """So many more must agree."""
        return max(self.approvals - len(self.given), 0)

    @property
    def what(self) -> str:
        """What is asked for, in words."""
        against = ", against its gates" if self.override else ""
        by = " by canary" if self.strategy == "canary" else ""
        return f"version {self.number} of model '{self.model}' promoted{by}{against}"

    @property
    def count(self) -> str:
        """How many agree, in words."""
        return f"{len(self.given)} of {self.approvals} approval{'s' if self.approvals != 1 else ''}"

    def body(self) -> dict[str, Any]:
        """All that a case does not say elsewhere, as plain JSON."""
        return {
            "role": self.role.word,
            "reason": self.reason,
            "requester": self.requester,
            "strategy": self.strategy,
            "override": self.override,
            "expected": self.expected,
            "digest": self.digest,
            "shown": dict(self.shown),
            "evidence": self.evidence,
            "level": self.level,
            "approvals": self.approvals,
            "given": [{"actor": each.actor, "seconds": each.seconds, "reason": each.reason} for each in self.given],
            "expires": self.expires,
            "outcome": self.outcome,
        }

    # ---- whose word counts ----

    def check_approver(self, id_: int, who: Actor, digest: str = "") -> None:
        """Whether somebody's approval of request `id_` counts. `digest`: the files that they were shown.

        Raises Denied, Conflict, Refused; the request stands as it was.
        """
        if who.role < APPROVER:
            raise Denied(
                f"request {id_} needs the role {APPROVER.word}, and '{who.name[:80]}' is {who.role.word}: have"
                " somebody approve it who is"
            )
        if who.name == self.requester:
            raise Denied(
                f"request {id_} was made by '{who.name[:80]}', and nobody approves what they asked for themselves:"
                f" somebody else must, with the role {APPROVER.word}"
            )
        if who.name in ANONYMOUS and self.requester != ITSELF:
            raise Denied(
                f"request {id_} was made by '{self.requester[:80]}', and '{who.name}' may be anybody, the same person"
                " too: an approval needs people who are known (`router token create NAME --role approver`)"
            )
        if any(each.actor == who.name for each in self.given):
            raise Conflict(f"'{who.name[:80]}' has approved request {id_} already: it has {self.count}")
        if digest and not (len(digest) >= SHORTEST_DIGEST and self.digest.startswith(digest.lower())):
            raise Refused(
                f"request {id_} is for version {self.number} of model '{self.model}' with the digest"
                f" {self.digest[:SHORTEST_DIGEST]}…, not {digest[:SHORTEST_DIGEST]}…: look at it again"
                f" (`router cases {self.model}`)"
            )

    # ---- what has changed since ----

    def outdated(self, digest: str, shown: Mapping[str, Any] | None, champion: str) -> str:
        """Why nothing can come of it any more, in words; empty while something can.

        What is now: the version's `digest`, what would be `shown` of it (None: not looked at), the `champion`.
        """
        what = f"version {self.number} of model '{self.model}'"
        if champion != self.expected:
            now, then = _version(champion), _version(self.expected)
            return f"the champion of '{self.model}' is {now}, and was {then} when this was asked for: ask again"
        if digest != self.digest:
            return f"the files of {what} have changed: ask again"
        if shown is not None and canonical(shown) != canonical(self.shown):
            return f"the evidence of {what} has changed: ask again"
        return ""


def check_files(model: str, number: str, digest: str, agreed: str) -> None:
    """Whether files, by their `digest`, are those that were `agreed` to; empty: any are. Raises Conflict."""
    if agreed not in {"", digest}:
        raise Conflict(
            f"the files of version {number} of model '{model[:200]}' have the digest {digest[:SHORTEST_DIGEST]}…, and"
            f" {agreed[:SHORTEST_DIGEST]}… was agreed to: ask again"
        )


def check_rejecter(id_: int, requester: str, who: Actor) -> None:
    """Whether somebody may end request `id_`: approvers may, and whoever asked. Raises Denied."""
    if who.role < APPROVER and who.name != requester:
        raise Denied(
            f"request {id_} was made by '{requester[:80]}': to end it needs the role {APPROVER.word}, and"
            f" '{who.name[:80]}' is {who.role.word}"
        )


def _version(number: str) -> str:
    return f"version {number}" if number else "none"


def shown(reports: Iterable[Report], ended: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The evidence of a version, as plain JSON: its newest reports of each kind, its trials and rollouts that are over.

    What is still under way is no evidence yet: its end is.
    """
    told = [
        {
            "kind": each.kind,
            "digest": each.digest,
            "began": each.began,
            "passed": each.passed,
            "verdicts": {outcome.gate: str(outcome.verdict) for outcome in each.outcomes},
            "champion": each.champion,
            "champion_digest": each.champion_digest,
            "exam_digest": each.exam_digest,
        }
        for each in reports
    ]
    told.sort(key=lambda each: (each["kind"], each["began"]))
    return {"reports": told, "cases": sorted((dict(each) for each in ended), key=lambda each: int(each["id"]))}


def request_of(model: str, number: str, digest: str, began: float, body: Mapping[str, Any]) -> Request:
    """The request that a case holds, by its `body`. Raises RouterError where that is none."""
    try:
        made = Request(
            model,
            number,
            digest,
            str(body["requester"]),
            Role[str(body["role"]).upper()],
            str(body["reason"]),
            "canary" if body["strategy"] == "canary" else "swap",
            bool(body["override"]),
            str(body["expected"]),
            dict(body["shown"]),
            str(body["level"]),
            int(body["approvals"]),
            began,
            float(body["expires"]),
            tuple([Approval(str(e["actor"]), float(e["seconds"]), str(e["reason"])) for e in body["given"]]),
            str(body["outcome"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise RouterError(f"a request for version {number} of model '{model[:200]}' cannot be read") from error
    if made.evidence != body.get("evidence"):
        raise RouterError(f"a request for version {number} of model '{model[:200]}' is not as it was made")
    return made
