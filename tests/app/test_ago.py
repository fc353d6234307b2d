"""Times on the command line: a number and a unit."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.app.ago import Ago


@pytest.mark.parametrize(("said", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86_400), ("1.5d", 129_600)])
def test_what_is_meant(said: str, seconds: float) -> None:
    """In seconds."""
    assert Ago().convert(said, None, None) == seconds


@given(st.sampled_from(["", "0h", "-1h", "h", "1", "1w", "1e3s", "nan", "inf s", "٣h"]) | st.text(max_size=12))
def test_what_is_no_time(said: str) -> None:
    """It is a positive number of seconds, or refused in one line."""
    try:
        seconds = Ago().convert(said, None, None)
    except click.BadParameter as refused:
        seconds = float("such as 24h" in str(refused))
    assert seconds > 0
