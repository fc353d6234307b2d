"""What a file declares: what it may say, and the one line about what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.declared import LARGEST, Declared, declared, fingerprint, short
from router.core.split import Match
from router.errors import SettingsError

WHOLE = """
frozen = false

[models.digits]
champion = 3
strategy = "canary"
importance = "high"
frozen = true
fallback = false
aliases = { stable = 2 }

[models.digits.challengers]
4 = { share = 10, shadow = true, match = { "x-cohort" = "beta" } }
5 = { share = 0.5, match = { "x-cohort" = ["friends", "staff"], "x-region" = "eu" } }

[models.iris]
"""


def test_all_that_a_file_may_say() -> None:
    """Numbers are versions; what is not named is None, and a challenger without anything has nothing."""
    file = declared(WHOLE)
    assert file.frozen is False
    digits, iris = file.models["digits"], file.models["iris"]
    assert (digits.champion, digits.strategy, digits.importance) == ("3", "canary", "high")
    assert (digits.frozen, digits.fallback, digits.aliases) == (True, False, {"stable": "2"})
    assert digits.challengers is not None
    assert {number: (each.share, each.shadow) for number, each in digits.challengers.items()} == {
        "4": (10.0, True),
        "5": (0.5, False),
    }
    assert digits.matches == (
        Match("x-cohort", "beta", "4"),
        Match("x-cohort", "friends", "5"),
        Match("x-cohort", "staff", "5"),
        Match("x-region", "eu", "5"),
    )
    assert {iris.champion, iris.importance, iris.frozen, iris.fallback, iris.aliases, iris.challengers} == {None}
    assert iris.strategy == "swap"
    assert declared("") == Declared()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("frost = true", "the file: unknown key `frost`; remove it or correct its spelling"),
        ("[models.a]\nchampoin = 3", "the file: unknown key `models.a.champoin`; remove it or correct its spelling"),
        ("[models.a.challengers.4]\nshares = 3", "the file: unknown key `models.a.challengers.4.shares`"),
        ("[models.a]\nchampion = '3'", "`models.a.champion` = '3': a version is meant: a whole number such as 3"),
        ("[models.a]\nchampion = true", "`models.a.champion` = True: a version is meant"),
        ("[models.a]\nchampion = 0", "`models.a.champion` = 0: a version is meant"),
        ("[models.a]\nchampion = 3.0", "`models.a.champion` = 3.0: a version is meant"),
        ("[models.a]\nchampion = 1" + "0" * 18, "a version is meant"),
        ("[models.a]\nstrategy = 'slow'", "`models.a.strategy` = 'slow': it should be 'swap' or 'canary'"),
        ("[models.a]\nimportance = 'huge'", "it should be 'low', 'moderate', 'high' or 'critical'"),
        ("[models.a]\nfrozen = 1", "`models.a.frozen` = 1: it should be a valid boolean"),
        ("[models.a]\naliases = { latest = 3 }", "an alias is a name of at most 100 characters"),
        ("[models.a]\naliases = { 7 = 3 }", "that is neither a number nor one of challenger, champion"),
        ("[models.a]\naliases = { 'a b' = 3 }", "without blanks, colons and slashes"),
        ("[models.a]\naliases = 3", "`models.a.aliases` = 3: a table is meant"),
        ("[models.a]\nchallengers = [4]", "`models.a.challengers` = [4]: a table is meant"),
        ("[models.a]\nchallengers = { x = { share = 1 } }", "`models.a.challengers.x` = 'x': a version is meant"),
        (
            "[models.a.challengers.4]\nshare = 0",
            "4` = {'share': 0}: it is to challenge with nothing",
        ),
        ("[models.a.challengers.4]\nshare = 0.00001", "it is to challenge with nothing"),
        ("[models.a.challengers.4]\nshare = 101", "`models.a.challengers.4.share` = 101: it should be less than"),
        ("[models.a.challengers.4]\nshare = -0.1", "it should be greater than or equal to 0"),
        ("[models.a.challengers.4]\nshare = nan", "it should be a finite number"),
        ("[models.a.challengers.4]\nshare = '10'", "it should be a valid number"),
        ("[models.a.challengers.4]\nmatch = { X-Cohort = 'b' }", "a key of text metadata is meant, in lower case"),
        ("[models.a.challengers.4]\nmatch = { x-bin = 'b' }", "a key of text metadata is meant"),
        ("[models.a.challengers.4]\nmatch = { x = 'ü' }", "a metadata value is meant: 1 to 200 printable ASCII"),
        ("[models.a.challengers.4]\nmatch = { x = [] }", "a text is meant, or several"),
        (
            "[models.a.challengers.4]\nmatch = { x = ['" + "', '".join(map(str, range(101))) + "'] }",
            "its challengers match 101 values: 100 are the most",
        ),
        ("models = 3", "`models` = 3: a table is meant"),
        ("[[models]]", "a table is meant"),
        ("[models.a", "the file is not TOML: "),
        ("a = " + "[" * 10_000, "the file is not TOML: nested too deeply"),
        ("a = " + "1" * 5000, "the file is not TOML: "),
        ("#" * (LARGEST + 1), f"the file has {LARGEST + 1} bytes: {LARGEST} are the most"),
    ],
)
def test_what_a_file_may_not_say(text: str, line: str) -> None:
    """One line that names the key, what it holds and what is meant."""
    with pytest.raises(SettingsError) as refused:
        declared(text)
    assert line in str(refused.value)
    assert str(refused.value).isprintable()


VALUES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
KEYS = st.sampled_from(["champion", "aliases", "challengers", "share", "match", "frozen", "importance", "x", "4", "a"])


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.lists(st.tuples(KEYS, VALUES), max_size=4))
def test_any_text_is_a_declaration_or_one_line(given_text: object) -> None:
    """Nothing else is raised, and the line can be shown as it is."""
    if not isinstance(given_text, str):
        pairs = given_text if isinstance(given_text, list) else []
        given_text = "[models.a]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in pairs)
    said = ""
    try:
        assert isinstance(declared(given_text), Declared)
    except SettingsError as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 400


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else "?" for c in value) + '"'
    return str(value).lower()


def test_a_file_has_its_fingerprint() -> None:
    """SHA-256 of its bytes, as `sha256sum` prints it."""
    assert fingerprint("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(fingerprint("\ud800")) == 64


def test_names_of_others_fit_in_a_line() -> None:
    """Short, and without what acts on a terminal."""
    assert short("digits") == "digits"
    assert short("a\nb") == "a\\nb"
    assert len(short("x" * 200)) == 80
