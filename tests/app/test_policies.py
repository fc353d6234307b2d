"""What router.toml says of models and cannot come about is found, with the mend."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from router.app.policies import Idle, idle
from router.config import ServerSettings
from router.control.repository import FoundModel
from router.model_settings import ModelSettings
from tests.hostile import HOSTILE


def found(retraining: dict[str, Any], model: dict[str, Any] | None = None, **tables: Any) -> list[Idle]:
    """With one model, `digits`."""
    settings = ServerSettings.model_validate({"models": "models", "retraining": retraining, **tables})
    there = FoundModel("digits", settings=ModelSettings.model_validate(model or {}))
    return list(idle(settings, {"digits": there}))


def test_policies_of_a_model_that_is_not_there() -> None:
    """Each table is named, and what was probably meant."""
    slips = found({"digit": {}, "wine": {}}, importance={"digits": "low", "wein": "high"})
    assert [each.of for each in slips] == ["importance 'wein'", "retraining 'digit'", "retraining 'wine'"]
    assert slips[1].what == "[retraining] names 'digit', and models has no such model"
    assert slips[1].mend == "correct its name in router.toml ('digits' is there), or put it there"
    assert slips[2].mend == "correct its name in router.toml, or put it there"
    (odd,) = found({HOSTILE: {}})
    assert (odd.of + odd.what + odd.mend).isprintable()


@pytest.mark.parametrize(
    ("policy", "model", "tables", "told"),
    [
        ({"command": [sys.executable, "-V"]}, {}, {}, ""),
        ({"command": ["no such program"]}, {}, {}, "names the program 'no such program', which is not found"),
        ({"on_accuracy": "red"}, {"ledger": {"enabled": True}}, {}, ""),
        ({"on_accuracy": "red"}, {}, {}, "keeps no ledger"),
        ({"on_drift": "red"}, {}, {}, ""),
        ({"on_drift": "red"}, {"drift": {"enabled": False}}, {}, "drift of the model is switched off"),
        ({"webhook": True}, {}, {}, "nobody is told when"),
        ({"webhook": True}, {}, {"webhook": {"url": "http://h", "secret_env": "S"}}, ""),
        ({"webhook": True}, {}, {"webhook": {"url": "http://h", "secret_env": "S", "events": ["drift"]}}, "nobody is"),
    ],
)
def test_a_policy_of_retraining_that_can_never_act(
    policy: dict[str, Any], model: dict[str, Any], tables: dict[str, Any], told: str
) -> None:
    """Its trigger is looked at by nobody, or nobody hears of it; one that can act is not named."""
    slips = found({"digits": policy}, model, **tables)
    assert [each.of for each in slips] == (["retraining 'digits'"] if told else [])
    assert all(told in each.what and each.mend for each in slips)
