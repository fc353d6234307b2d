"""Events as CloudEvents: valid whatever they hold, and of bounded size."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router.control.cloud_event import BODY, FACTS, PART, TEXT, Told, body

HOSTILE = (
    "",
    "digits",
    "</script><script>alert(1)</script>",
    "[bold red]no[/] [link=file:///x]markup[/link] :bomb:",
    "\x1b[2J\x1b]0;title\x07",
    "two\nlines\r\n\u2028three",
    "\"'`\\ {{}} %s %(x)s ${x}",
    "\u202eright to left\u200f\u2066",
    "half a pair: \ud83d",
    "\ufffe\uffff\ufdd0\U0001fffe",
    "\x00\x7f\x85\x9f",
)
"""Names and texts that somebody may give, to see what becomes of them elsewhere."""
names = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=3,
)


def refuse(constant: str) -> Any:
    """Python reads more than JSON is."""
    raise AssertionError(f"{constant} is no JSON")


def allowed(words: str) -> bool:
    """What the type String of CloudEvents may hold, by the words of the specification."""
    return not any(
        ord(c) <= 0x1F
        or 0x7F <= ord(c) <= 0x9F
        or 0xD800 <= ord(c) <= 0xDFFF
        or 0xFDD0 <= ord(c) <= 0xFDEF
        or ord(c) & 0xFFFF in {0xFFFE, 0xFFFF}
        for c in words
    )


@settings(max_examples=60)
@given(model=names, number=names, text=names, facts=st.dictionaries(names, plain, max_size=3), seconds=st.floats())
def test_an_event_is_a_valid_cloud_event_whatever_it_holds(
    model: str, number: str, text: str, facts: dict[str, Any], seconds: float
) -> None:
    """Strict JSON, ASCII, one line, bounded; attributes as the specification wants them; no half of a pair anywhere."""
    told = Told("an id", seconds, "drift", model, number, text, facts, 3)
    made = body(told, "/router")
    assert made.isascii()
    assert made.isprintable()
    assert len(made) <= BODY
    event = json.loads(made, parse_constant=refuse)
    made.encode().decode("utf-8", "strict")
    json.dumps(event, ensure_ascii=False).encode("utf-8", "strict")  # no half of a pair
    assert {name: event[name] for name in ("specversion", "id", "source", "type", "datacontenttype")} == {
        "specversion": "1.0",
        "id": "an id",
        "source": "/router",
        "type": "router.drift",
        "datacontenttype": "application/json",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    attributes = {name: value for name, value in event.items() if name != "data"}
    assert all(isinstance(value, str) and value and allowed(value) for value in attributes.values())
    assert ("subject" in event) is bool(model)


def test_what_an_event_tells() -> None:
    """The subject is model and version; names stand in the data as they are, with control characters too."""
    told = Told("7", 1_700_000_000.25, "health", "a\nb", "2", "it is red", {"status": "red", "p99_ms": 12.5}, 4, 9)
    event = json.loads(body(told, "/here"))
    assert event["time"] == "2023-11-14T22:13:20.250Z"
    assert event["subject"] == "a\ufffdb:2"
    assert event["data"] == {
        "kind": "health",
        "model": "a\nb",
        "version": "2",
        "text": "it is red",
        "generation": 4,
        "audit": 9,
        "facts": {"status": "red", "p99_ms": 12.5},
    }


def test_what_is_too_long_is_cut_and_said_to_be() -> None:
    """A text loses its end; an event of too many bytes comes without its facts."""
    long = json.loads(body(Told("7", 1.0, "gate", text="x" * 9000, facts={"a": "b"}), "/here"))["data"]
    assert (len(long["text"]), long["text"][-1], long["facts"]) == (TEXT, "…", {"a": "b"})
    heavy = Told("7", 1.0, "gate", "digits", text="it failed", facts={str(i): "é" * 400 for i in range(FACTS)})
    data = json.loads(body(heavy, "/here"))["data"]
    assert (data["facts"], data["cut"], data["text"]) == ({}, True, "it failed")


def test_a_fact_that_is_made_of_others_keeps_them() -> None:
    """Each cut for itself: a program finds what it looks for, however long a reason is."""
    after = {"why": "x" * 900, "parent": "3", "window": [1.5, 2.5], "more": {"deep": "y" * 900}}
    facts = json.loads(body(Told("7", 1.0, "retraining", facts={"after": after}), "/here"))["data"]["facts"]
    assert (facts["after"]["parent"], facts["after"]["window"]) == ("3", [1.5, 2.5])
    assert [len(facts["after"][name]) for name in ("why", "more")] == [PART, PART]


def test_the_longest_event_is_bounded() -> None:
    """Of characters that take twelve bytes each, in every place."""
    long = "\U0001f4a3" * 10_240
    made = body(Told("7" * 36, 1.0, "gate", long, long, long, {long: long}), "/" * 200)
    assert len(made) <= BODY
    assert json.loads(made)["data"]["model"].startswith("\U0001f4a3")
