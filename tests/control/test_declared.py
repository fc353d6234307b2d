"""`router diff` and `router apply`: a file against a server, and what becomes of each step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from router.control.declared import Declarations
from router.control.records import Case, ModelView, Order, PromotionPlan, Swapped, VersionRecord
from router.core.access import Role
from router.core.declared import fingerprint
from router.core.difference import Difference
from router.core.split import NO_SPLIT, Match, moved
from router.core.standing import CaseKind
from router.core.table import Route, VersionTable
from router.core.version import Stage
from router.errors import Denied, NoRoom, Refused, RouterError, SettingsError
from router.model_settings import FallbackSettings, ModelSettings
from tests.control.lifecycle_fakes import run, settled

ADA = Order("ada", "as in Git", Role.ADMIN)
OPERATOR = Order("oli", "", Role.OPERATOR)
CHAIN = ModelSettings(fallback=FallbackSettings(chain=("cached",)))


class Server:
    """Models with versions, which does at once what it is told and remembers it."""

    def __init__(self, *models: str) -> None:
        stages = {"1": Stage.CHAMPION, "2": Stage.READY, "3": Stage.CHALLENGER, "4": Stage.READY, "5": Stage.FAILED}
        self.views = {
            model: ModelView(
                model,
                tuple(VersionRecord(model, number, number * 64, stage) for number, stage in stages.items()),
                {"stable": "1"},
                champion="1",
                split=moved(NO_SPLIT, {"3": 10.0}),
            )
            for model in models
        }
        self.table = VersionTable(7, {model: Route(model, "1", {}, CHAIN) for model in models})
        self.frozen: frozenset[str] = frozenset()
        self.importance: dict[str, str] = {}
        self.did: list[str] = []
        self.orders: list[Order] = []
        self.notes: list[tuple[str, str, Mapping[str, object]]] = []
        self.obstacles: list[str] = []
        self.refuses: dict[str, RouterError] = {}
        self.opens: CaseKind | None = None
        self.gate: asyncio.Event | None = None

    def versions(self, model: str = "") -> Sequence[ModelView]:
        """All of them."""
        return [view for view in self.views.values() if model in {"", view.model}]

    async def plan(self, model: str, number: str) -> PromotionPlan:
        """What stands in `obstacles` is in its way."""
        return PromotionPlan(model, number, tuple(self.obstacles), (), 0, 0, "1", None, "1", (), "")

    async def _do(self, what: str, order: Order) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.did.append(what)
        self.orders.append(order)
        error = self.refuses.get(what.split(maxsplit=1)[0])
        if error is not None:
            raise error

    def _put(self, model: str, **changed: Any) -> int:
        self.views[model] = replace(self.views[model], **changed)
        return 8

    def _moved(self, model: str, number: str, stage: Stage) -> tuple[VersionRecord, ...]:
        mine = self.views[model].records
        return tuple(replace(each, stage=stage) if each.number == number else each for each in mine)

    async def promote(
        self, model: str, number: str, order: Order, expected: str = "", override: bool = False, canary: bool = False
    ) -> Swapped | Case:
        """At once, or a case is opened."""
        await self._do(f"promote {model} {number} for {expected}{' by canary' if canary else ''}", order)
        assert not override
        if self.opens is not None:
            case = Case(17, self.opens, model, number, "", order.actor, 1.0)
            self._put(model, cases=(case,))
            return case
        self._put(model, records=self._moved(model, str(self.views[model].champion), Stage.STANDBY))
        self._put(model, records=self._moved(model, number, Stage.CHAMPION), champion=number)
        return Swapped(8, model, number, "1", "1", 0.1)

    async def challenge(
        self,
        model: str,
        number: str,
        order: Order,
        share: float = 0.0,
        shadow: bool = False,
        matches: Sequence[Match] = (),
    ) -> int:
        """A challenger more, or the same with copies."""
        await self._do(f"challenge {model} {number} {share:g} {shadow} {len(matches)}", order)
        view = self.views[model]
        split = moved(view.split, {**view.split.shares, number: share})
        split = replace(split, matches=(*(each for each in split.matches if each.number != number), *matches))
        shadows = view.shadows | {number} if shadow else view.shadows - {number}
        records = self._moved(model, number, Stage.CHALLENGER)
        return self._put(model, records=records, shadows=shadows, split=split)

    async def split(
        self, model: str, shares: Mapping[str, float], matches: Sequence[Match] | None, order: Order
    ) -> int:
        """As it is told."""
        told = " ".join(f"{number}={share:g}" for number, share in shares.items())
        await self._do(f"split {model} {told} {len(matches or ())}", order)
        return self._put(model, split=replace(moved(self.views[model].split, shares), matches=tuple(matches or ())))

    async def withdraw(self, model: str, number: str, order: Order) -> int:
        """A challenger less."""
        await self._do(f"withdraw {model} {number}", order)
        kept = self.views[model].split.kept(frozenset())
        return self._put(model, records=self._moved(model, number, Stage.READY), split=kept)

    async def set_alias(self, model: str, alias: str, number: str, order: Order) -> int:
        """A name, or one less."""
        await self._do(f"alias {model} {alias} {number or '-'}", order)
        aliases = {**self.views[model].aliases, alias: number}
        return self._put(model, aliases={name: at for name, at in aliases.items() if at})

    async def check_split(self, before: Route, after: Route) -> None:
        """Nobody else need agree."""

    async def check_alias(self, model: str, alias: str, number: str) -> None:
        """Nobody else need agree."""

    async def set_fallback(self, model: str, on: bool, order: Order) -> None:
        """The switch."""
        await self._do(f"fallback {model} {on}", order)
        routes = {**self.table.routes, model: replace(self.table.routes[model], switched=on)}
        self.table = VersionTable(8, routes)

    async def freeze(self, model: str, on: bool, order: Order) -> None:
        """No promotions."""
        await self._do(f"{'freeze' if on else 'thaw'} {model or 'all'}", order)
        self.frozen = self.frozen | {model} if on else self.frozen - {model}

    async def set_importance(self, model: str, level: str, order: Order) -> None:
        """A level."""
        await self._do(f"importance {model} {level}", order)
        self.importance[model] = level

    async def note(self, action: str, order: Order, facts: Mapping[str, object]) -> None:
        """Into the log."""
        self.notes.append((action, order.actor, facts))


WHOLE = """
[models.a]
champion = 2
importance = "high"
fallback = true
frozen = true
aliases = { new = 2 }
challengers = { 4 = { share = 20, shadow = true, match = { x-cohort = "beta" } } }
"""


def outcomes(plan: Difference) -> dict[str, str]:
    """What became of which step."""
    return {f"{each.action} {each.number or each.model or 'all'}": each.outcome for each in plan.steps}


def test_a_file_is_applied_once() -> None:
    """All steps in their order, by whoever asked, with one record that names the file; then there is no difference."""
    server = Server("a", "b")
    declarations = Declarations(server)

    async def test() -> None:
        planned = await declarations.diff(WHOLE)
        assert {each.outcome for each in planned.steps} == {""}
        assert server.did == []
        applied = await declarations.apply(WHOLE, ADA)
        assert [each.text for each in applied.steps] == [each.text for each in planned.steps]
        assert {each.outcome for each in applied.steps} == {"done"}
        assert server.did == [
            "importance a high",
            "fallback a True",
            "withdraw a 3",
            "promote a 2 for 1",
            "challenge a 4 20 True 1",
            "alias a new 2",
            "alias a stable -",
            "freeze a",
        ]
        assert set(server.orders) == {ADA}
        assert server.notes == [("apply", "ada", {"sha256": fingerprint(WHOLE), "steps": 8})]
        assert await declarations.diff(WHOLE) == Difference(())
        assert (await declarations.apply(WHOLE, ADA)).steps == ()
        assert len(server.notes) == 1, "nothing was done that could be recorded"

    run(test())


def test_who_gives_no_reason_has_applied_a_file() -> None:
    """The audit log says so at each step."""
    server = Server("a")

    async def test() -> None:
        await Declarations(server).apply("[models.a]\nfrozen = true", OPERATOR)
        assert server.orders == [Order("oli", "apply", Role.OPERATOR)]

    run(test())


@pytest.mark.parametrize(
    ("opens", "strategy", "told"),
    [
        (CaseKind.REQUEST, "swap", "waits for approval: `router approve 17`"),
        (CaseKind.ROLLOUT, "canary", "on its way: `router canary a` shows it"),
    ],
)
def test_a_promotion_that_is_not_done_yet(opens: CaseKind, strategy: str, told: str) -> None:
    """What does not depend on it goes on; a freeze and an alias for the new champion wait. Then nothing is left to
    do."""
    server, waits = Server("a", "b"), "waits until version 2 is champion: apply the file again then"
    server.opens = opens
    text = f"""
    frozen = true
    [models.a]
    champion = 2
    strategy = "{strategy}"
    frozen = true
    aliases = {{ new = 2, old = 1 }}
    challengers = {{}}
    [models.b]
    frozen = true
    """

    async def test() -> None:
        applied = await Declarations(server).apply(text, OPERATOR)
        assert outcomes(applied) == {
            "withdraw 3": "done",
            "promote 2": told,
            "alias 2": waits,
            "alias 1": "done",
            "alias a": "done",
            "freeze a": waits,
            "freeze b": "done",
            "freeze all": waits,
        }
        assert server.frozen == {"b"}
        again = await Declarations(server).diff(text)
        assert [each.outcome for each in again.steps] == [told, waits, waits, waits]
        assert (await Declarations(server).apply(text, OPERATOR)) == again
        server.opens = None
        server._put("a", cases=())
        await Declarations(server).apply(text, OPERATOR)
        assert server.frozen == {"a", "b", ""}
        assert (await Declarations(server).diff(text)).steps == ()

    run(test())


def test_a_step_that_is_refused_ends_it() -> None:
    """What was done is told, and what was not; the file can be applied again."""
    server = Server("a", "b")
    server.refuses["promote"] = NoRoom("version 2 needs 300 MB, 200 MB are free")
    text = "[models.a]\nfallback = true\nchampion = 2\naliases = {}\n[models.b]\nfrozen = true"

    async def test() -> None:
        applied = await Declarations(server).apply(text, OPERATOR)
        assert outcomes(applied) == {
            "fallback a": "done",
            "promote 2": "failed: version 2 needs 300 MB, 200 MB are free",
            "alias a": "not done",
            "freeze b": "not done",
        }
        server.refuses.clear()
        assert set(outcomes(await Declarations(server).apply(text, OPERATOR)).values()) == {"done"}

    run(test())


def test_conflicts_refuse_the_whole_file() -> None:
    """Those of the file and those that a plan of its promotions has; nothing is done, nothing recorded."""
    server = Server("a", "b")
    text = "[models.a]\nchampion = 5\n[models.b]\nfrozen = true"

    async def test() -> None:
        for told in (await Declarations(server).diff(text), await Declarations(server).apply(text, ADA)):
            (line,) = told.conflicts
            assert line == ("[models.a] champion = 5: version 5 of model 'a' has failed; `router test a 5` first")
            assert told.steps == ()
        server.obstacles.append("version 2 needs 300 MB, 200 MB are free")
        promotes = text.replace("5", "2")
        told = await Declarations(server).apply(promotes, ADA)
        assert told.conflicts == ("[models.a] champion = 2: version 2 needs 300 MB, 200 MB are free",)
        assert (server.did, server.notes) == ([], [])
        server.frozen = frozenset({"a"})
        thaws = promotes.replace("champion = 2", "champion = 2\nfrozen = false")
        assert (await Declarations(server).diff(thaws)).conflicts == (), "the plan would name the freeze itself"

    run(test())


def test_what_is_under_way_is_seen() -> None:
    """A trial of the challenger is in the way of a file that withdraws it."""
    server = Server("a")
    server._put("a", cases=(Case(4, CaseKind.TRIAL, "a", "3", "", "ada", 1.0),))

    async def test() -> None:
        told = await Declarations(server).diff("[models.a]\nchallengers = {}")
        assert "a trial of it is under way; `router trial a --stop` ends it" in told.conflicts[0]

    run(test())


def test_who_may_apply() -> None:
    """Operators, and what is for admins only them: nothing is done where a part would be denied."""
    server = Server("a")
    declarations = Declarations(server)
    text = '[models.a]\nfrozen = true\nimportance = "low"'

    async def test() -> None:
        with pytest.raises(Denied, match="apply needs the role operator, and 'vic' is viewer"):
            await declarations.apply(text, Order("vic", "", Role.VIEWER))
        with pytest.raises(Denied, match=r"\[models.a\] importance: this needs the role admin, and 'oli' is operator"):
            await declarations.apply(text, OPERATOR)
        assert (server.did, server.notes) == ([], [])
        server.importance["a"] = "low"
        assert outcomes(await declarations.apply(text, OPERATOR)) == {"freeze a": "done"}

    run(test())


def test_a_text_that_declares_nothing() -> None:
    """One line, for both."""
    declarations = Declarations(Server("a"))

    async def test() -> None:
        with pytest.raises(SettingsError, match="unknown key `modles`"):
            await declarations.diff("[modles.a]")
        with pytest.raises(SettingsError, match="the file is not TOML"):
            await declarations.apply("[models", ADA)

    run(test())


def test_what_cannot_be_recorded_is_not_done() -> None:
    """The act comes first in the log."""
    server = Server("a")

    async def fails(*_: object) -> None:
        raise Refused("the change was not made: the disk is full")

    server.note = fails  # type: ignore[method-assign]

    async def test() -> None:
        with pytest.raises(Refused, match="the disk is full"):
            await Declarations(server).apply("[models.a]\nfrozen = true", ADA)
        assert server.did == []

    run(test())


def test_files_are_applied_one_after_another() -> None:
    """Each to its end, also when whoever asked has gone away; the second sees what the first has done."""
    server = Server("a")
    declarations = Declarations(server)

    async def test() -> None:
        server.gate = asyncio.Event()
        first = asyncio.ensure_future(declarations.apply("[models.a]\nfrozen = true\naliases = {}", ADA))
        await settled(lambda: len(server.notes) == 1)
        second = asyncio.ensure_future(declarations.apply("[models.a]\nfrozen = true\nfallback = true", ADA))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.gate.set()
        assert outcomes(await second) == {"fallback a": "done"}
        assert server.did == ["alias a stable -", "freeze a", "fallback a True"]

    run(test())
