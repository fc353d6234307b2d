"""Humility rules in a model.toml: what each kind takes, and what cannot be meant, in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import SettingsError
from router.humility_settings import HumilitySettings
from router.model_settings import ModelSettings, model_settings

FAR = 'name = "far"\nkind = "outlying"\ninput = "x"\n'
TORN = 'name = "torn"\nkind = "uncertain"\noutput = "p"\n'
NEW = 'name = "new"\nkind = "low_observation"\ninput = "x"\n'


def read(folder: Path, *rules: str) -> HumilitySettings:
    """The settings of a model.toml with these rules."""
    path = folder / "model.toml"
    path.write_text("".join(f"[[humility.rules]]\n{rule}\n" for rule in rules))
    return model_settings(path).humility


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('name = "A b"\nkind = "uncertain"', "model.toml: `humility.rules.0.name` = 'A b': "),
        ('name = "a"\nkind = "doubtful"', "`humility.rules.0.kind` = 'doubtful': it should be 'uncertain', 'outlying'"),
        (FAR + "low = 1\nthen = 'stop'", "`humility.rules.0.then` = 'stop': it should be 'override', 'error' or "),
        (FAR, "the kind `outlying` needs `low`, `high` or both: else it can never fire"),
        (FAR + "low = 2\nhigh = 1", "`low` = 2.0: at most `high`, which is 1.0"),
        (FAR + "low = [0, 2]\nhigh = 1", "`low` = 2.0: at most `high`, which is 1.0"),
        (FAR + "low = [0, 2]\nhigh = [1, 2, 3]", "`low` has 2 bounds and `high` has 3: one for each element of a row"),
        (FAR + "low = inf", "-inf and inf bound nothing: it can never fire"),
        (FAR + "low = [inf, 0]", "`low` = inf: at most `high`, which is inf"),
        (FAR + "low = nan", "`humility.rules.0.low` = nan: nan: a bound is a number"),
        (FAR + "low = []", "`humility.rules.0.low."),
        (FAR + "low = [0, 1]\nfeature = 1", "with `feature` there is one element: its bounds are single numbers"),
        (FAR + "low = 0\nfeature = -1", "`humility.rules.0.feature` = -1: "),
        (FAR + "low = 0\nknown = [1]", "the kind `outlying` takes no `known`: remove it"),
        (FAR + "low = 0\noutput = 'p'", "the kind `outlying` takes no `output`: remove it"),
        (TORN, "the kind `uncertain` needs `low`, `low` and `high`, or `margin`: else it can never fire"),
        (TORN + "high = 1", "`high` alone says nothing of doubt: give `low` too"),
        (TORN + "low = [1]", "`low` of the kind `uncertain` is one number"),
        (TORN + "low = 1\nhigh = inf", "`high` of the kind `uncertain` is one number"),
        (TORN + "low = 1\nhigh = 0.5", "`low` = 1.0: at most `high`, which is 0.5"),
        (TORN + "margin = 0", "`humility.rules.0.margin` = 0: "),
        ('name = "a"\nkind = "uncertain"\nmargin = 1', "the kind `uncertain` needs `output`"),
        (NEW, "the kind `low_observation` needs `known`"),
        (NEW + "known = []", "`humility.rules.0.known` = []: "),
        (NEW + "known = [1.5]", "`humility.rules.0.known.0."),
        (NEW + "known = [true]", "`humility.rules.0.known.0."),
        (FAR + "low = 0\nthen = 'override'", 'then = "override" and values in `override` go together'),
        (FAR + "low = 0\noverride = { y = 1 }", 'then = "override" and values in `override` go together'),
        (FAR + "low = 0\nwhy = 1", "model.toml: unknown key `humility.rules.0.why`"),
    ],
)
def test_a_mistake_in_a_rule_is_told(tmp_path: Path, rule: str, said: str) -> None:
    """With the key, what was given and what is allowed."""
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, rule)
    assert said in str(refused.value)
    assert str(refused.value).isprintable()


def test_rules_are_told_apart_and_are_few(tmp_path: Path) -> None:
    """By their names, in replies and metrics."""
    with pytest.raises(SettingsError, match="two rules are named 'far': replies and metrics could not tell them apart"):
        read(tmp_path, FAR + "low = 0", FAR + "high = 1")
    many = [f'name = "r{at}"\nkind = "outlying"\ninput = "x"\nlow = 0' for at in range(33)]
    assert len(read(tmp_path, *many[:32]).rules) == 32
    with pytest.raises(SettingsError, match=r"`humility.rules`.* at most 32 items"):
        read(tmp_path, *many)


def test_rules_that_are_meant(tmp_path: Path) -> None:
    """All that a rule may say."""
    far, torn, new = read(
        tmp_path,
        FAR + "low = [0, -inf]\nhigh = [1, 2]\nthen = 'override'\noverride = { label = -1, p = [0.5, 0.5] }",
        TORN + "low = 0.4\nhigh = 0.6\nmargin = 0.1\nthen = 'error'",
        NEW + "known = [1, 'a']\nfeature = 3",
    ).rules
    assert (far.low, far.high, far.override) == ((0, -math.inf), (1, 2), {"label": -1, "p": [0.5, 0.5]})
    assert (torn.low, torn.high, torn.margin, torn.then) == (0.4, 0.6, 0.1, "error")
    assert (new.known, new.feature, new.then) == ((1, "a"), 3, "note")


BOUND = st.one_of(st.floats(allow_nan=False), st.sampled_from([-math.inf, 0.1]))


@given(low=st.one_of(BOUND, st.lists(BOUND, min_size=2, max_size=3)), known=st.lists(st.integers() | st.text()))
def test_workers_have_the_same_rules(low: Any, known: list[int | str]) -> None:
    """Whatever is set survives its way as JSON, infinities too."""
    rules: list[dict[str, Any]] = [{"name": "n", "kind": "low_observation", "input": "x", "known": ["a", 1, *known]}]
    lows = low if isinstance(low, list) else [low]
    if max(lows) < math.inf and max(lows) > -math.inf:
        rules.append({"name": "o", "kind": "outlying", "input": "x", "low": low})
    settings = ModelSettings.model_validate({"humility": {"rules": rules}})
    assert ModelSettings.model_validate_json(settings.model_dump_json(exclude_unset=True)) == settings
