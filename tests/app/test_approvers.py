"""Whether there are enough people for the approvals that models need."""

from __future__ import annotations

from typing import Any

import pytest

from router.app.approvers import needy, shortages
from router.config import ServerSettings


def settings(importance: dict[str, str], *people: str, **policy: dict[str, Any]) -> ServerSettings:
    """A server's, with tokens of `people`, each NAME:ROLE; a name with a star has a certificate as well."""
    tokens, certificates = {}, {}
    for at, each in enumerate(people):
        name, _, role = each.partition(":")
        tokens[name.rstrip("*")] = {"role": role, "sha256": f"{at:064x}"}
        if name.endswith("*"):
            certificates[name.rstrip("*")] = "admin"
    files = {f"admin_tls_{each}": each for each in ("cert", "key", "client_ca")} if certificates else {}
    given = {"tokens": tokens, "access": {"certificates": certificates}, "importance": importance, "policy": policy}
    return ServerSettings.model_validate({**given, **files})


@pytest.mark.parametrize(
    ("people", "level", "short"),
    [
        ((), "low", False),
        ((), "high", True),
        (("ada:operator",), "high", True),
        (("ada:operator", "bob:approver"), "high", False),
        (("bob:approver",), "high", True),
        (("bob:approver", "carl:viewer"), "high", True),
        (("bob:approver", "carl:admin"), "high", False),
        (("ada:operator", "bob:approver", "carl:approver"), "critical", True),
        (("dan:approver", "bob:approver", "carl:approver"), "critical", False),
        (("ada*:operator", "bob:approver", "carl:approver"), "critical", False),
    ],
)
def test_there_must_be_as_many_beside_whoever_asks(people: tuple[str, ...], level: str, short: bool) -> None:
    """A name that has a token and a certificate is one person, of the higher role."""
    assert bool(shortages(settings({"a": level}, *people))) is short


def test_a_shortage_is_one_line_with_the_mend() -> None:
    """Models by name, as many as must agree, how many could, and the rule with its place."""
    (line,) = map(str, shortages(settings({"b": "high", "a": "high"}, "bob:approver", high={"approvals": 3})))
    assert line == (
        "models of importance high ('a', 'b') need 3 approvals by others than who asks, and those known here are too"
        " few: 1 may approve: `router token create NAME --role approver --config FILE` makes somebody known, or change"
        " [policy.high] approvals = 3 in router.toml"
    )
    (many,) = map(str, shortages(settings({f"m{at}": "high" for at in range(9)})))
    assert "('m0', 'm1', 'm2', 'm3', 'm4', …) need 1 approval by others, and whoever asks here is 'local': " in many


def test_what_was_declared_goes_before_what_is_configured() -> None:
    """Both ways. The lowest level is that of all models that nobody names."""
    made = settings({"a": "critical"})
    assert needy(made) == {"critical": ["a"]}
    assert needy(made, {"a": "low", "b": "high"}) == {"high": ["b"]}
    assert needy(made, {"b": "unheard of"}) == {"critical": ["a", "b"]}
    everybody = settings({}, low={"approvals": 1})
    assert needy(everybody) == {"low": []}
    assert "(all that are not named)" in str(shortages(everybody)[0])
