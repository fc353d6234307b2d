"""New versions that go their way by themselves: to a trial, to a promotion, or to what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.config import PolicySettings
from router.control.records import Case, Order, VersionRecord
from router.core.gate import Outcome, Report, Verdict
from router.core.lineage import LINEAGE, NEW, RETRAINED
from router.core.standing import CaseKind
from router.core.version import Stage
from router.errors import Refused, RouterError
from tests.control.lifecycle_fakes import ADA, House, champions, run, settled, stage, started

LEDGER = "[ledger]\nenabled = true\n[trial]\nwithin = 0.5\n"


class Family(House):
    """A house whose gates find of each version that it is its parent trained anew, or what `path` says."""

    path = RETRAINED

    def test(self, *given: Any, **named: Any) -> Report:
        """With a lineage."""
        report = super().test(*given, **named)
        lineage = Outcome(LINEAGE, Verdict.PASS, "as it was built", facts={"path": self.path})
        return replace(report, outcomes=(*report.outcomes, lineage))


@pytest.fixture
def house(tmp_path: Path) -> Family:
    """One model with a champion, whose warm-ups end well."""
    made = Family(tmp_path, "a")
    made.warmth.set()
    return made


def toml(house: House, lifecycle: str, more: str = LEDGER) -> None:
    """What is wanted of new versions."""
    house.toml("a", f"[lifecycle]\n{lifecycle}\n{more}")


def told(lifecycle: Any) -> Callable[[], list[str]]:
    """What the courses have told from now on."""
    words: list[str] = []

    async def listen() -> None:
        async for event in lifecycle.events.watch():
            words.extend([event.text] if event.kind == "course" else [])

    task = asyncio.ensure_future(listen())

    def so_far() -> list[str]:
        assert not task.done()
        return words

    return so_far


def case(house: House, kind: CaseKind) -> Case | None:
    """The newest of a kind."""
    return next(iter(house.cases("a", "", kind)), None)


@pytest.mark.parametrize(("share", "how"), [("0.0", "as a shadow"), ("5.0", "with 5 % of the requests")])
def test_a_new_version_challenges_by_itself(house: Family, share: str, how: str) -> None:
    """Through its gates and its warm-up, as a shadow or with the share that is set; and its trial begins."""

    async def test() -> None:
        toml(house, f'on_new_version = "challenge"\nchallenge_share = {share}')
        lifecycle, _ = await started(house)
        words = told(lifecycle)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: case(house, CaseKind.TRIAL) is not None, lambda: bool(words()))
        route = lifecycle.table.routes["a"]
        assert stage(lifecycle, "a", "2") == "challenger"
        assert (route.shadows, dict(route.split.shares)) == (
            (frozenset({"2"}), {}) if share == "0.0" else (frozenset(), {"2": 5.0})
        )
        assert words() == [f"version 2 challenges {how}: trial 1 has begun"]
        assert champions(lifecycle) == {"a": "1"}
        assert [entry.actor for entry in house.entries if entry.action in {"challenge", "trial"}] == ["router"] * 2

    run(test())


def test_without_what_a_trial_needs_it_challenges_all_the_same(house: Family) -> None:
    """And says what the trial needs."""

    async def test() -> None:
        toml(house, 'on_new_version = "challenge"', "")
        lifecycle, _ = await started(house)
        words = told(lifecycle)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: bool(words()))
        assert words()[0].startswith("version 2 challenges as a shadow, without a trial: model 'a' keeps no ledger")

    run(test())


@pytest.mark.parametrize("by", ["swap", "canary"])
def test_a_retrained_version_is_promoted_by_itself(house: Family, by: str) -> None:
    """At once, or step by step."""

    async def test() -> None:
        toml(house, f'on_new_version = "promote"\npromote_by = "{by}"')
        lifecycle, _ = await started(house)
        words = told(lifecycle)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: bool(words()))
        if by == "swap":
            assert champions(lifecycle) == {"a": "2"}
            assert words() == ["version 2 is the champion"]
        else:
            rollout = case(house, CaseKind.ROLLOUT)
            assert rollout is not None
            assert (rollout.number, rollout.actor, rollout.open) == ("2", "router", True)
            assert words() == ["version 2 is being promoted by canary"]

    run(test())


@pytest.mark.parametrize("path", [NEW, ""])
def test_a_new_model_challenges_where_a_promotion_is_wanted(house: Family, path: str) -> None:
    """Whoever is not like its parent is promoted by nobody but people, or by a trial."""

    async def test() -> None:
        house.path = path
        toml(house, 'on_new_version = "promote"')
        lifecycle, _ = await started(house)
        words = told(lifecycle)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: bool(words()))
        assert stage(lifecycle, "a", "2") == "challenger"
        assert "it is not promoted by itself, as it is no parent's copy trained anew (as it was built)" in words()[0]

    run(test())


def test_a_version_that_fails_goes_no_further(house: Family) -> None:
    """At its gates, or in its warm-up."""

    async def test() -> None:
        toml(house, 'on_new_version = "promote"')
        lifecycle, _ = await started(house)
        house.failing["a/2"], house.failing["warm a/3"] = "too slow", "other answers"
        for number in (2, 3):
            house.put("a", number)
            await lifecycle.refresh()
            await settled(lambda number=number: stage(lifecycle, "a", str(number)) == "failed")
        await lifecycle.look()
        assert champions(lifecycle) == {"a": "1"}

    run(test())


def test_a_frozen_model_waits_and_says_so(house: Family) -> None:
    """Once, not with every look; it goes on by itself when it is thawed."""

    async def test() -> None:
        toml(house, 'on_new_version = "promote"\npromote_by = "swap"')
        lifecycle, _ = await started(house)
        words = told(lifecycle)
        await lifecycle.freeze("a", True, ADA)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: bool(words()))
        for _ in range(3):
            await lifecycle.look()
        assert words() == ["version 2 is ready, and waits: the model is frozen, `router thaw a` lets it go on"]
        await lifecycle.freeze("a", False, ADA)
        await lifecycle.look()
        assert champions(lifecycle) == {"a": "2"}

    run(test())


def test_a_frozen_model_may_have_a_shadow(house: Family) -> None:
    """Which has no callers: only a share waits."""

    async def test() -> None:
        toml(house, 'on_new_version = "challenge"')
        lifecycle, _ = await started(house)
        await lifecycle.freeze("", True, ADA)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: stage(lifecycle, "a", "2") == "challenger")

    run(test())


def test_one_at_a_time_is_compared_with_the_champion(house: Family) -> None:
    """A version that comes while another is on trial waits for its end; an older one gives way to a newer."""

    async def test() -> None:
        toml(house, 'on_new_version = "challenge"')
        lifecycle, _ = await started(house)
        words = told(lifecycle)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: case(house, CaseKind.TRIAL) is not None, lambda: bool(words()))
        for number in (3, 4):
            house.put("a", number)
            await lifecycle.refresh()
            await settled(lambda number=number: len(words()) == number - 1)
        why = "version 2 is on trial, and one at a time is compared with the champion"
        assert words()[1:] == [f"version {each} is ready, and waits: {why}" for each in (3, 4)]
        await lifecycle.stop_trial("a", ADA)
        await lifecycle.look()
        await settled(lambda: stage(lifecycle, "a", "4") == "challenger")
        assert [stage(lifecycle, "a", each) for each in ("2", "3")] == ["ready", "ready"]

    run(test())


def test_what_somebody_else_does_with_it_is_left_to_them(house: Family) -> None:
    """A version that waits and is unloaded, or made the champion by hand, goes no way of its own."""

    async def test() -> None:
        toml(house, 'on_new_version = "promote"\npromote_by = "swap"')
        lifecycle, _ = await started(house)
        await lifecycle.freeze("a", True, ADA)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: stage(lifecycle, "a", "2") == "ready")
        await lifecycle.unload("a", "2", ADA)
        await lifecycle.freeze("a", False, ADA)
        await lifecycle.look()
        assert champions(lifecycle) == {"a": "1"}

    run(test())


def test_a_promotion_that_others_must_agree_to_is_asked_for(house: Family) -> None:
    """Nobody is asked twice, though the controller begins anew."""

    async def test() -> None:
        toml(house, 'on_new_version = "promote"')
        more = {"policy": {"high": PolicySettings(approvals=1)}, "importance": {"a": "high"}}
        lifecycle, crew = await started(house, **more)
        words = told(lifecycle)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: bool(words()))
        request = case(house, CaseKind.REQUEST)
        assert request is not None
        assert words() == [f"the promotion of version 2 waits for approval: `router approve {request.id}`"]
        await lifecycle.reject(request.id, Order("eve", "not now"))
        again = house.lifecycle(**more)
        await again.start()
        for worker in crew:
            await again.join(worker)
        await again.look()
        assert len(house.cases("a", "", CaseKind.REQUEST)) == 1
        assert stage(again, "a", "2") == "ready"

    run(test())


@pytest.mark.parametrize("at", ["gates", "ready"])
def test_a_controller_that_begins_anew_goes_on(house: Family, at: str) -> None:
    """Whether the version was in its gates or waited when it ended."""

    async def test() -> None:
        toml(house, 'on_new_version = "promote"\npromote_by = "swap"')
        lifecycle, crew = await started(house)
        house.put("a", 2)
        if at == "gates":
            house.records["a", "2"] = VersionRecord("a", "2", "", Stage.TESTING, actor="router")
        else:
            await lifecycle.freeze("a", True, ADA)
            await lifecycle.refresh()
            await settled(lambda: stage(lifecycle, "a", "2") == "ready")
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        await again.freeze("a", False, ADA)
        await again.look()
        await settled(lambda: champions(again) == {"a": "2"})

    run(test())


def test_what_a_retraining_wanted_goes_on_however_many_others_there_were(house: Family) -> None:
    """The controller begins anew: what its own run wanted of a version holds, not what the settings want of others."""

    async def test() -> None:
        toml(house, 'on_new_version = "warm"\npromote_by = "swap"')
        lifecycle, crew = await started(house)
        await lifecycle.freeze("a", True, ADA)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: stage(lifecycle, "a", "2") == "ready")
        house.every_case[1] = Case(
            1, CaseKind.RETRAINING, "a", "2", "d", "router", 1.0, 2.0, "done", {"then": "promote"}
        )
        house.every_case |= {
            each: Case(each, CaseKind.RETRAINING, "b", "", "", "router", 1.0, 2.0, "failed") for each in range(2, 300)
        }
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        await again.look()
        assert champions(again) == {"a": "1"}
        await again.freeze("a", False, ADA)
        await again.look()
        assert champions(again) == {"a": "2"}

    run(test())


def test_a_store_that_cannot_be_read_does_not_end_the_way(house: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, and said once."""

    async def test() -> None:
        toml(house, 'on_new_version = "promote"\npromote_by = "swap"')
        lifecycle, _ = await started(house)
        await lifecycle.freeze("a", True, ADA)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: stage(lifecycle, "a", "2") == "ready")
        await lifecycle.look()
        await lifecycle.freeze("a", False, ADA)

        def locked(*_: object) -> list[Report]:
            raise RouterError("the store cannot be read: it is locked")

        with monkeypatch.context() as patched, capture_logs() as said:
            patched.setattr(house, "reports", locked)
            for _ in range(3):
                await lifecycle.look()
        assert len([line for line in said if line["event"] == "a version cannot go on"]) == 1
        await lifecycle.look()
        assert champions(lifecycle) == {"a": "2"}

    run(test())


def test_what_is_refused_leaves_it_ready(house: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason; it is not tried again and again."""

    async def test() -> None:
        toml(house, 'on_new_version = "promote"')
        lifecycle, _ = await started(house)
        words, asked = told(lifecycle), 0

        async def refused(*_: object, **__: object) -> None:
            nonlocal asked
            asked += 1
            raise Refused("it needs 3 GB, 2 GB are free")

        monkeypatch.setattr(lifecycle, "promote", refused)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: bool(words()))
        await lifecycle.look()
        assert words() == ["version 2 is ready, and stays so: it needs 3 GB, 2 GB are free"]
        assert asked == 1

    run(test())
