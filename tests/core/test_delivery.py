"""What an answer means, and how long to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.delivery import ASKED_S, LONGEST_S, Fate, asked, fate, pause


@pytest.mark.parametrize(
    ("means", "statuses"),
    [
        (Fate.DELIVERED, (200, 201, 202, 204, 299)),
        (Fate.LATER, (0, 100, 408, 425, 429, 500, 502, 503, 504, 599, 700)),
        (Fate.REFUSED, (300, 301, 302, 307, 308, 400, 401, 403, 404, 410, 413, 422)),
    ],
)
def test_what_a_status_means(means: Fate, statuses: tuple[int, ...]) -> None:
    """A receiver in trouble is waited for; one that does not want an event has refused it. A redirect is a refusal."""
    assert {fate(status) for status in statuses} == {means}


@given(failures=st.integers(0, 10**6), chance=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_bounded_and_fully_jittered(failures: int, chance: float) -> None:
    """From 0 to what the back-off allows, which doubles to its bound."""
    assert 0 <= pause(failures, chance) <= min(LONGEST_S, 2.0 ** min(failures, 10))
    assert pause(failures, 0.0) == 0.0


def test_pauses_double() -> None:
    """1, 2, 4 … seconds at most, never more than a minute."""
    assert [pause(n, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("99999999999999999999", ASKED_S),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("Tue, 14 Nov 2090 22:13:10 GMT", ASKED_S),
        ("-5", 0.0),
        ("soon", 0.0),
        ("٣", 0.0),
    ],
)
def test_a_receiver_may_ask_for_a_pause(words: str, seconds: float) -> None:
    """In seconds or by a date; never for more than an hour."""
    assert asked(words, 1_700_000_000.0) == seconds


@given(st.text(max_size=80) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,9} \d\d:\d\d:\d\d .{0,6}"))
def test_whatever_a_receiver_writes_there_is_a_bounded_pause(words: str) -> None:
    """Nothing is raised."""
    assert 0 <= asked(words, 1_700_000_000.0) <= ASKED_S
