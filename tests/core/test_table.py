"""The table of routes: whom callers mean by a name, and which differences they would notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.core.table import Batching, Route, Version, VersionState, VersionTable
from router.core.tensor import Signature, TensorSpec
from router.model_settings import ModelSettings

READY = Version("m", "2", "d", "/2", VersionState.READY, signature=Signature((), (TensorSpec("y", "FP32", (1,)),)))
IDLE = Version("m", "1", "", "/1", VersionState.UNAVAILABLE, "new: not tested yet", left_out=True)
ROUTE = Route("m", "2", {"1": IDLE, "2": READY}, aliases={"stable": "1"})


@pytest.mark.parametrize(
    ("named", "meant"),
    [("", "2"), ("champion", "2"), ("standby", None), ("stable", "1"), ("1", "1"), ("9", "9"), ("nobody", "nobody")],
)
def test_whom_a_caller_means(named: str, meant: str | None) -> None:
    """A number, a role or an alias; a name that nobody knows comes back as it is."""
    assert ROUTE.number(named) == meant
    assert replace(ROUTE, champion=None).number("champion") is None
    assert replace(ROUTE, standby="1").number("standby") == "1"


@pytest.mark.parametrize(
    "changed",
    [
        {"reason": "unloaded"},
        {"state": VersionState.LOADING},
        {"left_out": False},
        {"digest": "e", "path": "/elsewhere"},
        {"declared": "max_batch_size: 1"},
    ],
)
def test_why_a_version_does_not_serve_makes_no_difference(changed: dict[str, Any]) -> None:
    """Callers are answered in the same way: no worker has to prepare another table."""
    other = replace(ROUTE, versions={**ROUTE.versions, "1": replace(IDLE, **changed)})
    assert ROUTE.answers_like(other)
    assert VersionTable(1, {"m": ROUTE}).answers_like({"m": other})


@pytest.mark.parametrize(
    "other",
    [
        replace(ROUTE, champion=None),
        replace(ROUTE, standby="1"),
        replace(ROUTE, switched=True),
        replace(ROUTE, aliases={}),
        replace(ROUTE, settings=ModelSettings(versions="all")),
        replace(ROUTE, versions={"2": READY}),
        replace(ROUTE, versions={"1": replace(IDLE, state=VersionState.READY), "2": READY}),
        replace(ROUTE, versions={"1": IDLE, "2": replace(READY, digest="e")}),
        replace(ROUTE, versions={"1": IDLE, "2": replace(READY, batching=Batching(8))}),
    ],
)
def test_what_callers_would_notice_makes_one(other: Route) -> None:
    """Who answers, by which name, with which settings; which versions there are."""
    assert not ROUTE.answers_like(other)
    assert not VersionTable(1, {"m": ROUTE}).answers_like({"m": other})


def test_another_model_makes_a_difference() -> None:
    """One more, one less; the generation makes none."""
    table = VersionTable(1, {"m": ROUTE})
    assert table.answers_like(VersionTable(7, {"m": ROUTE}).routes)
    assert not table.answers_like({})
    assert not table.answers_like({"m": ROUTE, "n": replace(ROUTE, model="n")})
