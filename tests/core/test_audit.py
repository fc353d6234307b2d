"""The chain of the audit log: whatever is changed, removed, moved or put in is found."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.audit import GENESIS, Link, Verified, canonical, linked, verified

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ACTS = st.lists(st.dictionaries(st.text(max_size=5), PLAIN, max_size=3), min_size=1, max_size=8)


def log(acts: list[dict[str, object]]) -> list[Link]:
    """The acts as a whole log."""
    links: list[Link] = []
    for number, act in enumerate(acts, 1):
        links.append(linked(number, act, links[-1].hash if links else GENESIS))
    return links


@given(ACTS)
def test_a_whole_log_is_whole(acts: list[dict[str, object]]) -> None:
    """With every head that it ever had, too, however that is written."""
    links = log(acts)
    whole = Verified(True, len(acts), links[-1].hash)
    assert verified(links) == whole
    for each in links:
        assert verified(links, f" {each.hash.upper()}\n", (len(links), links[-1].hash)) == whole


def test_an_empty_log_is_whole() -> None:
    """Unless a head was noted, or something was written."""
    assert verified([]) == verified([], newest=(0, "")) == Verified(True, 0, "")
    assert "that was noted" in verified([], "ab").finding
    assert verified([], newest=(2, "ab")).finding == (
        "the log ends with record 0, and the last that was written is record 2: it was cut off"
    )


@given(ACTS, st.data())
def test_a_changed_record_is_found(acts: list[dict[str, object]], data: st.DataObject) -> None:
    """In what it says, and in its hashes."""
    links = log(acts)
    at = data.draw(st.integers(0, len(links) - 1))
    other = data.draw(
        st.dictionaries(st.text(max_size=5), PLAIN).filter(lambda act: canonical(act) != canonical(acts[at]))
    )
    for changed in (
        replace(links[at], act=other),
        replace(links[at], hash="0" * 64),
        replace(links[at], previous="1" * 64),
    ):
        found = verified([*links[:at], changed, *links[at + 1 :]])
        assert not found.whole
        assert f"record {at + 1}" in found.finding
        assert (found.records, found.head) == (at, links[at - 1].hash if at else "")


@given(ACTS, st.data())
def test_a_removed_record_is_found(acts: list[dict[str, object]], data: st.DataObject) -> None:
    """One before the last by what follows it, also where the numbers were closed up; the last by a noted head alone."""
    links = log(acts)
    at = data.draw(st.integers(0, len(links) - 1))
    left = [*links[:at], *links[at + 1 :]]
    closed = [replace(each, sequence=number) for number, each in enumerate(left, 1)]
    if at < len(links) - 1:
        assert verified(left).finding == f"record {at + 1} is missing"
        assert not verified(closed).whole
    else:
        assert verified(left).whole
        assert "cut off" in verified(left, links[-1].hash).finding
        assert "cut off" in verified(left, newest=(len(links), links[-1].hash)).finding


@given(ACTS, st.data())
def test_records_that_were_written_anew_are_found_by_a_noted_head(
    acts: list[dict[str, object]], data: st.DataObject
) -> None:
    """Whoever makes all later hashes anew has a whole log with another head."""
    links = log(acts)
    at = data.draw(st.integers(0, len(links) - 1))
    anew = log([*acts[:at], {**acts[at], "forged": True}, *acts[at + 1 :]])
    assert verified(anew).whole
    for each in links[at:]:
        assert f"no record has the head {each.hash[:12]}…" in verified(anew, each.hash).finding
    for each in links[:at]:
        assert verified(anew, each.hash).whole


def test_records_beyond_the_last_that_was_written_are_found() -> None:
    """Somebody has put one in; one that stands there twice, too; and several that are missing."""
    links = log([{"n": n} for n in range(5)])
    assert verified(links, newest=(4, links[3].hash)).finding == (
        "the log ends with record 5, and the last that was written is record 4: records were added past the router"
    )
    assert verified([*links, links[-1]]).finding == "record 5 stands there twice"
    assert verified([links[0], links[4]]).finding == "records 2 to 4 are missing"


def test_what_was_never_written_there_counts_as_a_change() -> None:
    """A value that JSON does not know."""
    assert "was changed" in verified([Link(1, {"actor": b"\xff"}, GENESIS, "a" * 64)]).finding


@given(PLAIN)
def test_canonical_json_can_be_read_and_is_stable(value: object) -> None:
    """Read and written again it is the same text, which is one line of ASCII."""
    text = canonical(value)
    assert text.isascii()
    assert text.isprintable()
    assert canonical(json.loads(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [1.5, None, True]}, '{"a":[1.5,null,true],"b":1}'),
        ((1, "ä"), '[1,"\\u00e4"]'),
        ({3, 1}, "[1,3]"),
        (math.nan, '"nan"'),
        (-math.inf, '"-inf"'),
    ],
)
def test_canonical_json(value: object, text: str) -> None:
    """Keys are sorted, what JSON does not know becomes text or a list."""
    assert canonical(value) == text


def test_the_hash_can_be_made_by_anybody() -> None:
    """It is the SHA-256 of this text; a release that made another one could not verify the logs before it."""
    link = linked(1, {"actor": "ada", "seconds": 5.0}, GENESIS)
    text = '{"act":{"actor":"ada","seconds":5.0},"previous":"' + "0" * 64 + '","sequence":1}'
    import hashlib

    assert link.hash == hashlib.sha256(text.encode()).hexdigest()
