"""A report as the text that is stored."""

from __future__ import annotations

import json
from dataclasses import asdict

from router.core.gate import Distribution, Outcome, Report, Verdict
from router.errors import RouterError


def to_text(report: Report) -> str:
    """The report as JSON; figures that are NaN or infinite stay so, in Python's own words for them."""
    return json.dumps(asdict(report))


def from_text(text: str) -> Report:
    """The report in a text. Raises RouterError when it is none."""
    try:
        told = json.loads(text)
        outcomes = tuple(Outcome(**{**each, "verdict": Verdict(each["verdict"])}) for each in told.pop("outcomes"))
        distributions = tuple(
            Distribution(each["name"], each["unit"], tuple(each["bounds"]), tuple(each["counts"]))
            for each in told.pop("distributions")
        )
        return Report(outcomes=outcomes, distributions=distributions, **told)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RouterError("a stored report cannot be read") from error
